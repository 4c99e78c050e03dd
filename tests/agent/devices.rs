//! What a pod asks of the node beside cpu and memory: devices, processes, huge pages.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use serde_json::Value;

use crate::rig::{Rig, condition, phase, pod_name};

const WAIT: Duration = Duration::from_secs(60);

/// A device node of the test's own, which containers may not open by themselves.
fn mknod(dir: &Path, name: &str, minor: &str) -> PathBuf {
    let path = dir.join(name);
    assert!(Command::new("mknod").arg(&path).args(["c", "10", minor]).status().unwrap().success());
    path
}

fn sleeper(name: &str) -> String {
    format!(
        r#"apiVersion: v1
kind: Pod
metadata: {{name: {name}}}
spec:
  terminationGracePeriodSeconds: 0
  containers:
  - name: {name}
    image: busybox
    command: [sh, -c, "stat -c '%t:%T' /dev/tun; (exec 3<>/dev/tun) && echo opened $GPU; cat /gpu/lib; exec sleep 100000"]
    resources: {{limits: {{a.com/tun: 1}}}}
"#
    )
}

fn pod(rig: &Rig, name: &str) -> Value {
    rig.pods().into_iter().find(|p| p["metadata"]["name"] == pod_name(name)).unwrap_or_default()
}

fn runs(rig: &Rig, name: &str) -> bool {
    phase(&pod(rig, name)) == "Running" && rig.cli(&["logs", &pod_name(name)]).contains("lib")
}

/// What the pod was given, as noted on it.
fn assigned(rig: &Rig, name: &str) -> String {
    pod(rig, name)["metadata"]["annotations"]["minik8s.io/assigned-devices"].as_str().unwrap_or_default().to_owned()
}

fn log(rig: &Rig, name: &str) -> String {
    rig.cli(&["logs", &pod_name(name)])
}

/// Misc devices: 10:200 is tun, 10:229 is fuse; 0xc8 and 0xe5.
#[test]
fn each_device_is_one_pod_s_and_stays_it_over_restarts() {
    let mut rig = Rig::with(|rig| vec!["--cdi-spec-dir".into(), rig.dir("cdi").display().to_string()]);
    let (nodes, cdi) = (rig.dir("nodes"), rig.dir("cdi"));
    let tun = mknod(&nodes, "tun0", "200");
    let fuse = mknod(&nodes, "fuse", "229");
    rig.write(
        "node.yaml",
        &format!(
            "apiVersion: v1\nkind: Node\nmetadata:\n  name: {}\n  annotations:\n    minik8s.io/devices: |\n      a.com/tun:\n      - {{path: {}, containerPath: /dev/tun}}\n      - v.com/tun=1\n",
            Rig::NODE,
            tun.display()
        ),
    );
    let capacity = |r: &Rig| r.get(&format!("node/{}", Rig::NODE))["status"]["capacity"]["a.com/tun"].clone();
    rig.wait("the node has two", WAIT, |r| capacity(r) == "2");
    rig.write("a.yaml", &sleeper("a"));
    rig.wait("the first runs", WAIT, |r| phase(&pod(r, "a")) == "Running" && log(r, "a").contains("opened"));
    assert_eq!(log(&rig, "a").lines().take(2).collect::<Vec<_>>(), ["a:c8", "opened"]);

    // A broken file is told on the pod that needs it, and mended.
    std::fs::write(cdi.join("tun.json"), "{").unwrap();
    rig.write("b.yaml", &sleeper("b"));
    let waiting = |r: &Rig| pod(r, "b")["status"]["containerStatuses"][0]["state"]["waiting"].clone();
    rig.wait("it is told why", WAIT, |r| waiting(r)["reason"] == "CreateContainerError");
    let message = waiting(&rig)["message"].as_str().unwrap().to_owned();
    assert!(message.starts_with("CDI device injection failed: unresolvable CDI devices v.com/tun=1 (failed to load CDI Spec"), "{message}");
    assert!(rig.list("events").iter().any(|e| e["reason"] == "Failed" && e["message"] == format!("Error: {message}").as_str()));
    let (lib, hooked) = (rig.dir("lib"), rig.dir("out").join("hooked"));
    std::fs::write(lib.join("lib"), "the lib\n").unwrap();
    let edits = serde_json::json!({
        "env": ["GPU=one"],
        "deviceNodes": [{"path": "/dev/tun", "hostPath": fuse}],
        "mounts": [{"hostPath": lib, "containerPath": "/gpu", "options": ["ro", "bind"]}],
        "hooks": [{"hookName": "createRuntime", "path": "/bin/sh", "args": ["sh", "-c", format!("echo hook >>{}", hooked.display())]}],
    });
    let spec = serde_json::json!({"cdiVersion": "0.5.0", "kind": "v.com/tun", "devices": [{"name": "1", "containerEdits": edits}]});
    std::fs::write(cdi.join("tun.json"), spec.to_string()).unwrap();
    rig.wait("the second runs", WAIT, |r| runs(r, "b"));
    assert_eq!(log(&rig, "b"), "a:e5\nopened one\nthe lib\n");
    assert_eq!(std::fs::read_to_string(&hooked).unwrap(), "hook\n");

    rig.write("c.yaml", &sleeper("c"));
    rig.wait("the third waits", WAIT, |r| condition(&pod(r, "c"), "PodScheduled") == "False");
    let conditions = pod(&rig, "c")["status"]["conditions"].clone();
    let told = conditions.as_array().unwrap().iter().find(|c| c["type"] == "PodScheduled").unwrap();
    assert_eq!(told["message"], "0/1 nodes are available: 1 Insufficient a.com/tun.");

    let before = ["a", "b"].map(|name| assigned(&rig, name));
    rig.kill_agent();
    rig.start_agent();
    rig.signal_container("a", 9);
    let container = |r: &Rig| pod(r, "a")["status"]["containerStatuses"][0].clone();
    rig.wait("it runs again", WAIT, |r| container(r)["restartCount"] == 1 && container(r)["state"]["running"].is_object());
    rig.wait("with its own device", WAIT, |r| log(r, "a").starts_with("a:c8\nopened"));
    assert_eq!(["a", "b"].map(|name| assigned(&rig, name)), before);
    assert_eq!(assigned(&rig, "c"), "");

    rig.remove("b.yaml");
    rig.wait("what was freed is the third's", WAIT, |r| runs(r, "c"));
    assert_eq!((log(&rig, "c").as_str(), assigned(&rig, "c")), ("a:e5\nopened one\nthe lib\n", before[1].replace("\"b\"", "\"c\"")));
    rig.close();
}

#[test]
fn a_device_that_is_not_there_is_waited_for() {
    let rig = Rig::new();
    let nodes = rig.dir("nodes");
    let path = nodes.join("tun0");
    rig.write(
        "node.yaml",
        &format!(
            "apiVersion: v1\nkind: Node\nmetadata:\n  name: {}\n  annotations:\n    minik8s.io/devices: 'a.com/tun: [{{path: {}, containerPath: /dev/tun}}]'\n",
            Rig::NODE,
            path.display()
        ),
    );
    rig.write("a.yaml", &sleeper("a"));
    let waiting = |r: &Rig| pod(r, "a")["status"]["containerStatuses"][0]["state"]["waiting"].clone();
    let message = format!("failed to add device {path:?}: No such file or directory (os error 2)");
    rig.wait("it is told why", WAIT, |r| waiting(r)["reason"] == "CreateContainerError" && waiting(r)["message"] == message.as_str());
    mknod(&nodes, "tun0", "200");
    rig.wait("it runs", WAIT, |r| phase(&pod(r, "a")) == "Running" && log(r, "a").starts_with("a:c8\nopened"));
    // The same device by another name is no second one.
    let link = nodes.join("by-id");
    std::os::unix::fs::symlink(&path, &link).unwrap();
    let units = format!("minik8s.io/devices=a.com/tun: [{}, {}]", path.display(), link.display());
    rig.cli(&["annotate", "node", Rig::NODE, "--overwrite", &units]);
    rig.write("b.yaml", &sleeper("b"));
    let told = |r: &Rig| {
        pod(r, "b")["status"]["conditions"].as_array().into_iter().flatten().any(|c| {
            c["message"]
                == format!("0/1 nodes are available: 1 Insufficient a.com/tun (named twice: {} is {}).", link.display(), path.display())
        })
    };
    rig.wait("it waits, and is told why", WAIT, told);
    assert_eq!(assigned(&rig, "b"), "");
    let refused = rig.cli_fails(&["annotate", "node", Rig::NODE, "--overwrite", "minik8s.io/devices=a.com/tun: [/dev//null]"]);
    assert!(refused.contains("a.com/tun[0].path: must be written \"/dev/null\""), "{refused}");
    rig.remove("b.yaml");
    let units = "minik8s.io/devices=a.com/tun: [/dev/null, /dev/zero]";
    rig.cli(&["annotate", "node", Rig::NODE, "--overwrite", units]);
    let capacity = |r: &Rig| r.get(&format!("node/{}", Rig::NODE))["status"]["capacity"]["a.com/tun"].clone();
    rig.wait("an edit counts at once", WAIT, |r| capacity(r) == "2");
    let refused = rig.cli_fails(&["annotate", "node", Rig::NODE, "--overwrite", "minik8s.io/devices=a.com/tun: [dev/x]"]);
    assert!(refused.contains("metadata.annotations[minik8s.io/devices]: Invalid value: a.com/tun[0]: must be a path"), "{refused}");
    rig.close();
}

#[test]
fn a_fork_bomb_is_held_and_others_run_on() {
    const MOST: u64 = 24;
    let rig = Rig::with(|_| vec!["--pod-max-pids".into(), MOST.to_string()]);
    let manifest = |name: &str, policy: &str, command: &str| {
        format!(
            "apiVersion: v1\nkind: Pod\nmetadata: {{name: {name}}}\nspec:\n  restartPolicy: {policy}\n  terminationGracePeriodSeconds: 0\n  containers:\n  - {{name: {name}, image: busybox, command: [sh, -c, '{command}']}}\n"
        )
    };
    rig.write("bomb.yaml", &manifest("bomb", "Never", "b() { b | b & }; b & exec sleep 100000"));
    rig.wait("it runs", WAIT, |r| phase(&pod(r, "bomb")) == "Running");
    let container = pids_of(rig.container_pid("bomb"));
    let dir = container.parent().unwrap().to_owned();
    let read = |file: &str| std::fs::read_to_string(dir.join(file)).unwrap();
    assert_eq!(read("pids.max").trim(), MOST.to_string(), "{}", dir.display());
    // v1 counts a refused fork where it was tried, v2 where the limit is.
    let events = |dir: &Path| std::fs::read_to_string(dir.join("pids.events")).unwrap();
    let refused = |text: String| text.lines().find_map(|l| l.strip_prefix("max ")?.parse::<u64>().ok()).unwrap_or(0);
    rig.wait("it is held", WAIT, |_| refused(events(&container)) + refused(events(&dir)) > 0);
    rig.write("other.yaml", &manifest("other", "Never", "true | true; echo fine"));
    rig.wait("another runs", WAIT, |r| phase(&pod(r, "other")) == "Succeeded");
    assert_eq!(rig.cli(&["logs", &pod_name("other")]), "fine\n");
    assert!(read("pids.current").trim().parse::<u64>().unwrap() <= MOST);
    assert_eq!(phase(&pod(&rig, "bomb")), "Running");
    rig.close();
}

/// A process' cgroup in the hierarchy that counts processes.
fn pids_of(pid: i32) -> PathBuf {
    let text = std::fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap();
    let (mount, line) = match text.lines().find(|l| l.split(':').nth(1) == Some("pids")) {
        Some(line) => ("/sys/fs/cgroup/pids", line),
        None => ("/sys/fs/cgroup", text.lines().find(|l| l.starts_with("0::")).unwrap()),
    };
    let path = line.splitn(3, ':').nth(2).unwrap().trim_start_matches('/');
    Path::new(mount).join(path)
}

#[test]
fn huge_pages_are_what_the_host_has_set_aside() {
    let rig = Rig::new();
    let sizes = std::fs::read_dir("/sys/kernel/mm/hugepages").unwrap().flatten();
    let sizes: Vec<(u64, u64)> = sizes
        .map(|entry| {
            let size = entry.file_name().to_str().unwrap().trim_start_matches("hugepages-").trim_end_matches("kB").parse::<u64>().unwrap();
            let count = std::fs::read_to_string(entry.path().join("nr_hugepages")).unwrap();
            (size << 10, count.trim().parse().unwrap())
        })
        .collect();
    let status = rig.get(&format!("node/{}", Rig::NODE))["status"].clone();
    let bytes = |text: &Value| minik8s::api::quantity::parse(text.as_str().unwrap()).unwrap().value();
    for (size, count) in &sizes {
        let name = if *size == 2 << 20 { "hugepages-2Mi".to_owned() } else { format!("hugepages-{}Gi", size >> 30) };
        assert_eq!(u64::try_from(bytes(&status["allocatable"][&name])).unwrap(), size * count, "{name}: {status}");
    }
    let more = sizes.iter().find(|(size, _)| *size == 2 << 20).map_or(0, |(_, count)| *count) + 1;
    rig.write("p.yaml", &format!(
        "apiVersion: v1\nkind: Pod\nmetadata: {{name: p}}\nspec:\n  containers: [{{name: p, image: busybox, resources: {{limits: {{cpu: 10m, hugepages-2Mi: {}Mi}}}}}}]\n",
        more * 2
    ));
    rig.wait("it waits", WAIT, |r| condition(&pod(r, "p"), "PodScheduled") == "False");
    let conditions = pod(&rig, "p")["status"]["conditions"].clone();
    let told = conditions.as_array().unwrap().iter().find(|c| c["type"] == "PodScheduled").unwrap();
    assert_eq!(told["message"], "0/1 nodes are available: 1 Insufficient hugepages-2Mi.");
    rig.close();
}
