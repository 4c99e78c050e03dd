//! CHECK, GC, STATUS, and pins that were lost.

use std::os::unix::fs::MetadataExt;
use std::process::Command;
use std::time::{Duration, Instant};

use minik8s::network::{CniNetwork, Network, NetworkError};
use serde_json::{Value, json};

use crate::lab::{Lab, sh, spec};

const RESULT: &str = r#"[ $CNI_COMMAND = ADD ] && echo '{"ips":[{"address":"10.9.8.7/24"}]}'"#;

/// A lab with one pod attached by the plugins `one` and `two`, which do `script` for anything but ADD.
async fn attached(lab: &Lab, fields: &Value, script: &str) {
    for name in ["one", "two"] {
        lab.plugin(name, &format!("{RESULT} && exit 0\n{script}"));
    }
    let mut list = json!({"name": "lab", "plugins": [{"type": "one"}, {"type": "two"}]});
    list.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
    lab.list(&list);
    lab.network.create(&spec("a")).await.unwrap();
    lab.network.attach(&spec("a")).await.unwrap();
}

fn called(lab: &Lab, command: &str) -> Vec<String> {
    lab.log().iter().filter(|l| l.contains(&format!(" {command} "))).map(|l| l.split(' ').next().unwrap().to_owned()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn check_has_the_result_and_stops_at_what_is_wrong() {
    let lab = Lab::new(19);
    attached(&lab, &json!({"cniVersion": "0.4.0"}), "exit 0").await;
    lab.network.check("a").await.unwrap();
    assert_eq!(called(&lab, "CHECK"), ["one", "two"], "as ADD: forwards");
    assert_eq!(lab.read("one.CHECK")["prevResult"]["ips"][0]["address"], "10.9.8.7/24");
    lab.plugin("one", "[ $CNI_COMMAND = CHECK ] || exit 0; echo '{\"code\":100,\"msg\":\"rules are gone\"}'; exit 1");
    let error = lab.network.check("a").await.unwrap_err().to_string();
    assert_eq!(error, "CNI plugin \"one\" failed (CHECK): rules are gone (code 100)");
    assert_eq!(called(&lab, "CHECK"), ["one", "two", "one"]);
    // One that knows no CHECK says nothing about the pod.
    lab.plugin("one", "[ $CNI_COMMAND = CHECK ] || exit 0; echo '{\"code\":4,\"msg\":\"unknown CNI_COMMAND: CHECK\"}'; exit 1");
    lab.network.check("a").await.unwrap();
    // Nor is anything asked of a pod without a network of its own.
    lab.network.check("nobody").await.unwrap();
    lab.network.remove("a").await.unwrap();
    lab.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn check_is_not_called_where_it_must_not_be_and_one_that_hangs_is_ended() {
    for (number, fields) in [(20, json!({"cniVersion": "0.3.1"})), (21, json!({"cniVersion": "1.0.0", "disableCheck": true}))] {
        let lab = Lab::new(number);
        attached(&lab, &fields, "exit 0").await;
        lab.network.check("a").await.unwrap();
        assert_eq!(called(&lab, "CHECK"), Vec::<String>::new(), "{fields}");
        lab.network.remove("a").await.unwrap();
        lab.finish().await;
    }
    let mut lab = Lab::new(22);
    lab.config.plugin_timeout = Duration::from_secs(1);
    lab.network = CniNetwork::new(lab.config.clone()).unwrap();
    attached(&lab, &json!({"cniVersion": "1.0.0"}), "[ $CNI_COMMAND = CHECK ] && sleep 1000; exit 0").await;
    let began = Instant::now();
    assert!(lab.network.check("a").await.unwrap_err().to_string().ends_with("killed: no answer within 1 s"));
    assert!(began.elapsed() < Duration::from_secs(10));
    lab.network.remove("a").await.unwrap();
    lab.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn gc_is_told_of_all_there_is_and_only_where_nobody_else_is_there() {
    let lab = Lab::new(23);
    attached(&lab, &json!({"cniVersions": ["0.4.0", "1.1.0"]}), "exit 0").await;
    lab.network.create(&spec("b")).await.unwrap();
    lab.network.collect().await.unwrap();
    assert_eq!(called(&lab, "GC"), ["one", "two"]);
    let told = lab.read("one.GC");
    let ids = |key: &str| {
        let mut ids: Vec<String> = told[key].as_array().unwrap().iter().map(|a| a["containerID"].as_str().unwrap().to_owned()).collect();
        ids.sort();
        ids.dedup();
        ids
    };
    assert_eq!((ids("cni.dev/valid-attachments"), told["cniVersion"].as_str()), (vec!["a".to_owned(), "b".to_owned()], Some("1.1.0")));
    assert_eq!(told["cni.dev/valid-attachments"][0]["ifname"], "eth0");
    // Another runtime's attachment, as libcni remembers it: it is not in our list, so nobody may take ours for all.
    std::fs::create_dir(&lab.config.foreign_results).unwrap();
    std::fs::write(lab.config.foreign_results.join("lab-0123abc-eth0"), "{}").unwrap();
    lab.network.collect().await.unwrap();
    std::fs::remove_dir_all(&lab.config.foreign_results).unwrap();
    for fields in [json!({"cniVersion": "1.1.0", "disableGC": true}), json!({"cniVersion": "1.0.0"})] {
        let mut list = json!({"name": "lab", "plugins": [{"type": "one"}, {"type": "two"}]});
        list.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
        lab.list(&list);
        lab.network.collect().await.unwrap();
    }
    assert_eq!(called(&lab, "GC").len(), 2, "not once more");
    // A plugin that fails keeps no other from being asked.
    lab.list(&json!({"cniVersion": "1.1.0", "name": "lab", "plugins": [{"type": "one"}, {"type": "two"}]}));
    lab.plugin("one", "[ $CNI_COMMAND = GC ] || exit 0; echo '{\"code\":11,\"msg\":\"busy\"}'; exit 1");
    assert_eq!(lab.network.collect().await.unwrap_err().to_string(), "CNI plugin \"one\" failed (GC): busy (code 11)");
    assert_eq!(called(&lab, "GC"), ["one", "two", "one", "two"]);
    for uid in ["a", "b"] {
        lab.network.remove(uid).await.unwrap();
    }
    lab.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_network_that_is_not_ready_is_said_so_and_asked_again() {
    let lab = Lab::new(24);
    let status = |answer: &str| lab.plugin("one", &format!("{RESULT} && exit 0\n[ $CNI_COMMAND = STATUS ] || exit 0\n{answer}"));
    status("echo '{\"code\":50,\"msg\":\"no route yet\"}'; exit 1");
    lab.list(&json!({"cniVersion": "1.1.0", "name": "lab", "plugins": [{"type": "one"}]}));
    for uid in ["a", "b"] {
        lab.network.create(&spec(uid)).await.unwrap();
    }
    let error = lab.network.attach(&spec("a")).await.unwrap_err();
    assert!(matches!(error, NetworkError::NotReady(_)));
    let words = "network is not ready: container runtime network not ready: NetworkReady=false reason:NetworkPluginNotReady \
                 message:Network plugin returns error: CNI plugin \"one\" failed (STATUS): no route yet (code 50)";
    assert_eq!(error.to_string(), words);
    assert_eq!(called(&lab, "ADD"), Vec::<String>::new());
    assert!(lab.network.describe_readiness().await.unwrap().ends_with("no route yet (code 50)"));
    status("exit 0");
    let again = lab.network.attach(&spec("b")).await.unwrap_err();
    assert_eq!(
        (again.to_string().as_str(), called(&lab, "STATUS").len()),
        (words, 1),
        "what was refused a moment ago is not asked for again"
    );
    let deadline = Instant::now() + Duration::from_secs(20);
    while lab.network.attach(&spec("a")).await.is_err() {
        assert!(Instant::now() < deadline, "nobody asks again");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    lab.network.attach(&spec("b")).await.unwrap();
    assert_eq!(called(&lab, "STATUS").len(), 2, "one refusal, and one answer for both pods: {:?}", lab.log());
    for uid in ["a", "b"] {
        lab.network.remove(uid).await.unwrap();
    }
    lab.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_pin_is_made_again_from_a_process_of_the_pod() {
    let lab = Lab::new(25);
    lab.network.create(&spec("a")).await.unwrap();
    let ips = lab.network.attach(&spec("a")).await.unwrap();
    let dir = lab.netns("a").parent().unwrap().to_owned();
    let inode = |kind: &str| std::fs::metadata(dir.join(kind)).unwrap().ino();
    let before = ["net", "uts", "ipc"].map(inode);
    let enter = ["net", "uts", "ipc"].map(|kind| format!("--{kind}={}", dir.join(kind).display()));
    let mut process = Command::new("nsenter").args(enter).args(["sleep", "1000"]).spawn().unwrap();
    // nsenter is itself until it becomes sleep.
    let deadline = Instant::now() + Duration::from_secs(10);
    while std::fs::read_to_string(format!("/proc/{}/comm", process.id())).unwrap().trim() != "sleep" {
        assert!(Instant::now() < deadline, "nsenter did not enter");
        tokio::task::yield_now().await;
    }
    assert!(!lab.network.keep(&spec("a"), process.id()).await.unwrap(), "nothing is lost yet");
    sh(&format!("umount {0}/net {0}/uts {0}/ipc", dir.display()));
    let kept = lab.network.keep(&spec("a"), process.id()).await;
    let after = ["net", "uts", "ipc"].map(inode);
    process.kill().unwrap();
    process.wait().unwrap();
    assert!(kept.unwrap());
    assert_eq!(after, before);
    assert_eq!(lab.network.attach(&spec("a")).await.unwrap(), ips, "with its address");
    lab.network.check("a").await.unwrap();
    lab.network.remove("a").await.unwrap();
    lab.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn plugins_that_a_killed_agent_had_called_are_ended() {
    let lab = Lab::new(27);
    attached(&lab, &json!({"cniVersion": "1.0.0"}), "exit 0").await;
    // As the kernel leaves them when the agent is killed: nobody's children, in the middle of an ADD.
    let dirs: Vec<_> = lab.config.plugin_dirs.iter().map(|d| d.display().to_string()).collect();
    let plugin = |uid: &str| {
        let mut command = Command::new("sleep");
        command.arg("1000").env("CNI_COMMAND", "ADD").env("CNI_CONTAINERID", uid).env("CNI_PATH", dirs.join(":"));
        command.spawn().unwrap()
    };
    let (mut ours, mut theirs) = (plugin("a"), plugin("another-runtime-s"));
    // Until it is `sleep`, it has this test's environment.
    let called = |pid: u32| std::fs::read(format!("/proc/{pid}/environ")).is_ok_and(|e| e.windows(4).any(|w| w == b"CNI_"));
    let deadline = Instant::now() + Duration::from_secs(10);
    while !(called(ours.id()) && called(theirs.id())) {
        assert!(Instant::now() < deadline);
        tokio::task::yield_now().await;
    }
    let next = CniNetwork::new(lab.config.clone()).unwrap();
    let ended = ours.wait().unwrap();
    let untouched = theirs.try_wait().unwrap();
    theirs.kill().unwrap();
    theirs.wait().unwrap();
    assert_eq!(std::os::unix::process::ExitStatusExt::signal(&ended), Some(9));
    assert!(untouched.is_none());
    next.remove("a").await.unwrap();
    lab.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_killed_agent_had_asked_of_the_network_is_ended_without_any_pod() {
    let lab = Lab::new(28);
    // What is left of a GC in the middle when only the agent is killed: nobody ends the plugin's group then.
    lab.plugin("one", "[ $CNI_COMMAND = GC ] || exit 0\nsetsid sleep 1000 </dev/null >/dev/null 2>&1 &\necho $! >$lab/left");
    lab.list(&json!({"cniVersion": "1.1.0", "name": "lab", "plugins": [{"type": "one"}]}));
    lab.network.collect().await.unwrap();
    let left = std::fs::read_to_string(lab.dir.path().join("left")).unwrap().trim().to_owned();
    let stat = || std::fs::read_to_string(format!("/proc/{left}/stat")).unwrap_or_default();
    let lives = || !stat().is_empty() && !stat().contains(") Z ");
    assert!(lives());
    drop(CniNetwork::new(lab.config.clone()).unwrap());
    let deadline = Instant::now() + Duration::from_secs(10);
    while lives() {
        if Instant::now() > deadline {
            sh(&format!("kill -9 {left}"));
            panic!("nobody ended {left}");
        }
        tokio::task::yield_now().await;
    }
    lab.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn gc_and_status_that_hang_hold_others_up_for_a_bounded_time() {
    let lab = Lab::new(29);
    lab.plugin("one", &format!("{RESULT} && exit 0\ncase $CNI_COMMAND in GC|STATUS) exec sleep 1000;; esac"));
    lab.list(&json!({"cniVersion": "1.1.0", "name": "lab", "plugins": [{"type": "one"}]}));
    let began = Instant::now();
    assert_eq!(lab.network.describe().await, Vec::<String>::new());
    assert!(began.elapsed() < Duration::from_secs(5), "what is said at the start waits for no plugin");
    let (refused, collected) = tokio::join!(lab.network.describe_readiness(), lab.network.collect());
    assert!(refused.unwrap().ends_with("CNI plugin \"one\" failed (STATUS): killed: no answer within 10 s"));
    assert!(collected.unwrap_err().to_string().ends_with("failed (GC): killed: no answer within 10 s"));
    assert!(began.elapsed() < Duration::from_secs(25), "ADD would be given 30 s");
    lab.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn lost_pins_of_a_pod_with_a_user_namespace_are_all_made_again() {
    const FIRST: u32 = 1_000_000_000 / 65536 * 65536;
    let lab = Lab::new(30);
    // Its ids are written here, as newuidmap need not be there.
    let unshare = ["--user", "--net", "--uts", "--ipc", "--pid", "--fork", "--kill-child", "sleep", "1000"];
    let mut outer = Command::new("unshare").args(unshare).spawn().unwrap();
    let deadline = Instant::now() + Duration::from_secs(10);
    let inner = loop {
        let children = std::fs::read_to_string(format!("/proc/{0}/task/{0}/children", outer.id())).unwrap();
        let pid = children.split_whitespace().find_map(|pid| pid.parse::<u32>().ok());
        match pid.filter(|pid| std::fs::read_to_string(format!("/proc/{pid}/comm")).is_ok_and(|name| name.trim() == "sleep")) {
            Some(pid) => break pid,
            None => assert!(Instant::now() < deadline, "unshare did not start it"),
        }
        tokio::task::yield_now().await;
    };
    std::fs::write(format!("/proc/{inner}/uid_map"), format!("0 {FIRST} 65536")).unwrap();
    let ids = |first| minik8s::api::user_namespace::IdRange::starting_at(first);
    let with = |first| minik8s::network::SandboxSpec { share_processes: true, ids: ids(first), ..spec("a") };
    let dir = lab.netns("a").parent().unwrap().to_owned();
    let foreign = lab.network.keep(&with(FIRST + 65536), inner).await;
    let unpinned = std::fs::exists(dir.join("user"));
    let kept = lab.network.keep(&with(FIRST), inner).await;
    let same = ["net", "uts", "ipc", "pid", "user"].map(|kind| {
        std::fs::metadata(dir.join(kind)).unwrap().ino() == std::fs::metadata(format!("/proc/{inner}/ns/{kind}")).unwrap().ino()
    });
    let again = lab.network.keep(&with(FIRST), inner).await;
    outer.kill().unwrap();
    outer.wait().unwrap();
    assert!(foreign.unwrap_err().to_string().contains("has other ids") && !unpinned.unwrap());
    assert_eq!((kept.unwrap(), same, again.unwrap()), (true, [true; 5], false));
    lab.network.remove("a").await.unwrap();
    lab.finish().await;
}
