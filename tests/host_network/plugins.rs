//! Plugins in a row, and plugins that hang, fail, talk nonsense or were cut off.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use minik8s::network::{CniNetwork, Network, NetworkError, PortMapping};

use crate::lab::{Lab, sh, spec};

const RESULT: &str = r#"echo '{"cniVersion":"1.0.0","ips":[{"address":"10.9.8.7/24"}]}'"#;

#[tokio::test(flavor = "multi_thread")]
async fn plugins_are_chained_forwards_and_undone_backwards() {
    let lab = Lab::new(7);
    lab.plugin("one", &format!("[ $CNI_COMMAND = ADD ] && {RESULT}; exit 0"));
    let both = r#"echo '{"ips":[{"address":"fd00::5/64"},{"address":"10.9.8.7/24"}]}'"#;
    lab.plugin("two", &format!("[ $CNI_COMMAND = ADD ] && {both}; exit 0"));
    std::fs::write(lab.dir.path().join("net.d/00-bad.conflist"), "{").unwrap();
    lab.conflist("10-lab.conflist", &["one", "two"]);
    lab.conflist("20-other.conflist", &["absent"]);
    let mut pod = spec("a");
    pod.ports = vec![PortMapping { protocol: "TCP".into(), container_port: 80, host_port: 8080, host_ip: "127.0.0.1".into() }];
    lab.network.create(&pod).await.unwrap();
    let ips = lab.network.attach(&pod).await.unwrap();
    assert_eq!(ips, ["10.9.8.7".parse::<IpAddr>().unwrap(), "fd00::5".parse().unwrap()]);
    assert_eq!(lab.read("two.ADD")["prevResult"]["ips"][0]["address"], "10.9.8.7/24");
    assert_eq!(lab.read("one.ADD")["runtimeConfig"]["portMappings"][0]["hostIP"], "127.0.0.1");
    lab.network.remove("a").await.unwrap();
    let netns = lab.netns("a");
    let expected = ["one ADD", "two ADD", "two DEL", "one DEL"].map(|c| format!("{c} netns={}", netns.display()));
    assert_eq!(lab.log(), expected);
    assert_eq!(lab.read("one.DEL")["prevResult"]["ips"][0]["address"], "fd00::5/64");
    lab.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plugin_that_hangs_is_killed_with_its_children() {
    let mut lab = Lab::new(8);
    lab.config.plugin_timeout = Duration::from_millis(1500);
    lab.network = CniNetwork::new(lab.config.clone()).unwrap();
    lab.plugin("hangs", "[ $CNI_COMMAND = DEL ] && exit 0\nsleep 1000 & echo $! >$lab/child\nwait");
    lab.conflist("10.conflist", &["hangs"]);
    lab.network.create(&spec("a")).await.unwrap();
    let error = lab.network.attach(&spec("a")).await.unwrap_err();
    assert!(
        matches!(&error, NetworkError::Plugin { command: "ADD", message, .. } if message == "killed: no answer within 1.5 s"),
        "{error}"
    );
    let child = std::fs::read_to_string(lab.dir.path().join("child")).unwrap();
    let gone = || std::fs::read_to_string(format!("/proc/{}/stat", child.trim())).map_or(true, |s| s.contains(") Z "));
    let deadline = Instant::now() + Duration::from_secs(5);
    while !gone() && Instant::now() < deadline {
        tokio::task::yield_now().await;
    }
    assert!(gone(), "the plugin's child {child} lives");
    assert_eq!(lab.log().len(), 2, "undone at once: {:?}", lab.log());
    lab.network.remove("a").await.unwrap();
    lab.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn garbage_and_failures_are_told_in_the_plugin_s_words() {
    let lab = Lab::new(9);
    let add = |script: &str| lab.plugin("odd", &format!("[ $CNI_COMMAND = DEL ] && exit 0\n{script}"));
    lab.conflist("10.conflist", &["odd"]);
    lab.network.create(&spec("a")).await.unwrap();
    let cases = [
        ("echo hello", "printed no CNI result"),
        ("true", "printed no CNI result"),
        ("echo '{}'", "no address for the pod"),
        ("head -c 3000000 /dev/zero", "printed more than"),
        ("echo '{\"code\":7,\"msg\":\"bad config\",\"details\":\"no subnet\"}'; exit 1", "bad config; no subnet (code 7)"),
        ("echo oops >&2; exit 3", "netplugin failed: \"oops\""),
        ("kill -9 $$", "netplugin failed with no error message: signal: 9"),
    ];
    for (script, words) in cases {
        add(script);
        let error = lab.network.attach(&spec("a")).await.unwrap_err().to_string();
        assert!(error.starts_with("CNI plugin \"odd\" failed (ADD): ") && error.contains(words), "{script}: {error}");
    }
    add(RESULT);
    assert_eq!(lab.network.attach(&spec("a")).await.unwrap().len(), 1);
    lab.network.remove("a").await.unwrap();
    lab.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_add_that_was_cut_off_is_found_and_undone() {
    let lab = Lab::new(10);
    lab.plugin("slow", "[ $CNI_COMMAND = DEL ] && exit 0\nsleep 1000");
    lab.conflist("10.conflist", &["slow"]);
    lab.network.create(&spec("a")).await.unwrap();
    {
        let pod = spec("a");
        let attaching = lab.network.attach(&pod);
        tokio::pin!(attaching);
        // Killed (dropped) once the plugin runs; its process group goes with it.
        while lab.log().is_empty() {
            assert!(tokio::time::timeout(Duration::from_millis(10), &mut attaching).await.is_err());
        }
    }
    let restarted = CniNetwork::new(lab.config.clone()).unwrap();
    assert_eq!(restarted.list().await.unwrap(), ["a"]);
    // The pin is gone too, as after a reboot: the plugin is told so.
    sh(&format!("umount {}", lab.netns("a").display()));
    restarted.remove("a").await.unwrap();
    assert_eq!(lab.log(), [format!("slow ADD netns={}", lab.netns("a").display()), "slow DEL netns=".to_owned()]);
    lab.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_result_older_than_its_namespace_is_not_believed() {
    let lab = Lab::new(11);
    lab.plugin("one", &format!("[ $CNI_COMMAND = ADD ] && {RESULT}; exit 0"));
    lab.conflist("10.conflist", &["one"]);
    lab.network.create(&spec("a")).await.unwrap();
    lab.network.attach(&spec("a")).await.unwrap();
    // A reboot: /run is empty, /var/lib is not.
    let pins = lab.netns("a").parent().unwrap().display().to_string();
    sh(&format!("umount {pins}/*; rm -r {pins}"));
    lab.network.create(&spec("a")).await.unwrap();
    lab.network.attach(&spec("a")).await.unwrap();
    let commands: Vec<_> = lab.log().iter().map(|l| l.split(" netns").next().unwrap().to_owned()).collect();
    assert_eq!(commands, ["one ADD", "one DEL", "one ADD"]);
    lab.network.remove("a").await.unwrap();
    lab.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failing_del_is_kept_for_later_and_stops_nothing_else() {
    let lab = Lab::new(12);
    lab.plugin("one", &format!("[ $CNI_COMMAND = ADD ] && {RESULT}; exit 0"));
    lab.plugin("two", &format!("[ $CNI_COMMAND = ADD ] && {RESULT} && exit 0; echo '{{\"code\":11,\"msg\":\"busy\"}}'; exit 1"));
    lab.conflist("10.conflist", &["one", "two"]);
    lab.network.create(&spec("a")).await.unwrap();
    lab.network.attach(&spec("a")).await.unwrap();
    let error = lab.network.remove("a").await.unwrap_err().to_string();
    assert_eq!(error, "CNI plugin \"two\" failed (DEL): busy (code 11)");
    assert!(lab.log().last().unwrap().starts_with("one DEL"), "the other plugin was called all the same");
    assert!(!lab.netns("a").exists());
    assert_eq!(lab.network.list().await.unwrap(), ["a"]);
    lab.plugin("two", "exit 0");
    lab.network.remove("a").await.unwrap();
    lab.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_missing_is_named() {
    let lab = Lab::new(13);
    lab.network.create(&spec("a")).await.unwrap();
    lab.conflist("10.conflist", &["absent"]);
    let error = lab.network.attach(&spec("a")).await.unwrap_err();
    let named = matches!(&error, NetworkError::PluginMissing { plugin, dirs } if plugin == "absent" && dirs.ends_with(", /usr/lib/cni"));
    assert!(named, "{error}");
    assert!(lab.network.describe().await[0].contains("pods without hostNetwork cannot start: CNI plugin \"absent\" not found"));
    std::fs::write(lab.dir.path().join("net.d/10.conflist"), "{}").unwrap();
    let error = lab.network.attach(&spec("a")).await.unwrap_err().to_string();
    assert!(error.starts_with("CNI configuration ") && error.ends_with("10.conflist: no 'name'"), "{error}");
    lab.network.remove("a").await.unwrap();
    lab.finish().await;
}
