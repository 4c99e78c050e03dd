//! What can be wrong with a pod and what it asks for: it says so with Kubernetes' reason and an event and is tried again; its neighbour goes on.

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;
use std::time::Duration;

use serde_json::Value;

use crate::lab::image::{Node, OciImage, busybox_layer, tar};
use crate::registry::{Login, Registry};
use crate::rig::{Rig, phase, pod_name};

const WAIT: Duration = Duration::from_secs(60);

/// A rig where a healthy pod runs beside whatever is wrong.
struct Street {
    rig: Rig,
    neighbour: i32,
}

impl Street {
    fn new() -> Street {
        Street::on(Rig::new())
    }

    fn on(rig: Rig) -> Street {
        rig.write("neighbour.yaml", &pod("neighbour", "", "{name: neighbour, image: busybox, command: [sleep, \"100000\"]}"));
        rig.wait("the neighbour runs", WAIT, |r| status(r, "neighbour")["containerStatuses"][0]["state"]["running"].is_object());
        let neighbour = rig.container_pid("neighbour");
        Street { rig, neighbour }
    }

    /// The neighbour was not touched; nothing is left.
    fn close(self) {
        assert_eq!(self.rig.container_pid("neighbour"), self.neighbour);
        assert_eq!(status(&self.rig, "neighbour")["containerStatuses"][0]["restartCount"], 0);
        self.rig.close();
    }

    /// Waits until the pod's only container waits for this reason with these words, and events of these reasons tell of the pod at least twice.
    fn waits(&self, pod: &str, reason: &str, words: &str, events: &[&str]) {
        self.rig.wait("it waits", WAIT, |r| {
            let waiting = status(r, pod)["containerStatuses"][0]["state"]["waiting"].clone();
            waiting["reason"] == reason && waiting["message"].as_str().unwrap_or_default().contains(words)
        });
        for reason in events {
            self.rig.wait("it is tried again", WAIT, |r| count(r, pod, reason) >= 2);
        }
    }
}

/// A pod with one container called `main` or as `container` says, and more of a spec.
fn pod(name: &str, spec: &str, container: &str) -> String {
    format!(
        "apiVersion: v1\nkind: Pod\nmetadata: {{name: {name}}}\nspec:\n  terminationGracePeriodSeconds: 0\n{spec}  containers:\n  - {container}\n"
    )
}

fn status(rig: &Rig, pod: &str) -> Value {
    rig.get(&format!("pod/{}", pod_name(pod)))["status"].clone()
}

/// Those of the pod; of one reason, or all.
fn events(rig: &Rig, pod: &str, reason: &str) -> Vec<Value> {
    let about = pod_name(pod);
    rig.list("events")
        .into_iter()
        .filter(|e| (reason.is_empty() || e["reason"] == reason) && e["involvedObject"]["name"] == about.as_str())
        .collect()
}

/// How often events of this reason tell of the pod.
fn count(rig: &Rig, pod: &str, reason: &str) -> u64 {
    events(rig, pod, reason).iter().map(|e| e["count"].as_u64().unwrap_or(1)).sum()
}

fn tells(rig: &Rig, pod: &str, reason: &str, words: &str) -> bool {
    events(rig, pod, reason).iter().any(|e| e["message"].as_str().unwrap_or_default().contains(words))
}

fn runs(rig: &Rig, pod: &str) -> bool {
    phase_of(rig, pod) == "Running"
}

fn phase_of(rig: &Rig, pod: &str) -> String {
    phase(&rig.get(&format!("pod/{}", pod_name(pod)))).to_owned()
}

#[test]
fn a_config_map_that_grows_too_large_leaves_its_pods_what_they_have() {
    let street = Street::new();
    let rig = &street.rig;
    let map = |text: &str| format!("apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: m}}\ndata: {{f: {text}}}\n");
    rig.write("m.yaml", &map("small"));
    let script = "{name: main, image: busybox, command: [sh, -c, \"while :; do cat /m/f; echo; sleep 0.3; done\"], volumeMounts: [{name: m, mountPath: /m}]}";
    rig.write("p.yaml", &pod("p", "  volumes: [{name: m, configMap: {name: m}}]\n", script));
    let last = |r: &Rig| r.cli(&["logs", "--tail=2", &pod_name("p")]).trim().to_owned();
    rig.wait("it reads", WAIT, |r| runs(r, "p") && last(r).contains("small"));
    let pid = rig.container_pid("main");
    rig.write("m.yaml", &map(&"x".repeat((1 << 20) + 1)));
    let told = |r: &Rig| {
        r.list("events").iter().any(|e| {
            let words = e["message"].as_str().unwrap_or_default();
            e["reason"] == "FailedValidation"
                && e["involvedObject"]["name"] == "m"
                && words.contains("Too long: may not be more than 1048576 bytes")
        })
    };
    rig.wait("it is told", WAIT, told);
    assert_eq!(rig.get("configmap/m")["data"]["f"], "small");
    assert!(last(rig).contains("small") && rig.container_pid("main") == pid);
    rig.write("m.yaml", &map("smaller"));
    rig.wait("it follows again", WAIT, |r| last(r).contains("smaller"));
    street.close();
}

#[test]
fn a_sub_path_that_is_a_link_out_of_its_volume_and_a_host_path_of_another_type() {
    let street = Street::new();
    let rig = &street.rig;
    let dir = rig.dir("shared");
    std::os::unix::fs::symlink("/etc", dir.join("out")).unwrap();
    std::fs::write(dir.join("file"), "").unwrap();
    let main = |mount: &str| {
        format!("{{name: main, image: busybox, command: [sleep, \"1000\"], volumeMounts: [{{name: v, mountPath: /v{mount}}}]}}")
    };
    let volume = |path: &str, kind: &str| format!("  volumes: [{{name: v, hostPath: {{path: {}{path}, type: {kind}}}}}]\n", dir.display());
    rig.write("link.yaml", &pod("link", &volume("", "Directory"), &main(", subPath: out")));
    rig.write("kind.yaml", &pod("kind", &volume("/file", "Directory"), &main("")));
    let refused = "failed to prepare subPath for volumeMount \"v\" of container \"main\"";
    street.waits("link", "CreateContainerConfigError", refused, &["Failed"]);
    assert!(tells(rig, "link", "Failed", &format!("Error: {refused}")));
    street.waits("kind", "ContainerCreating", "", &["FailedMount"]);
    let wrong =
        format!("MountVolume.SetUp failed for volume \"v\" : hostPath type check failed: {}/file is not a directory", dir.display());
    assert!(tells(rig, "kind", "FailedMount", &wrong), "{:?}", events(rig, "kind", "FailedMount"));
    // Once they are right, both run by themselves.
    std::fs::remove_file(dir.join("out")).unwrap();
    std::fs::create_dir(dir.join("out")).unwrap();
    std::fs::remove_file(dir.join("file")).unwrap();
    std::fs::create_dir(dir.join("file")).unwrap();
    rig.wait("both run", WAIT, |r| runs(r, "link") && runs(r, "kind"));
    street.close();
}

#[test]
fn a_port_that_another_pod_or_program_has() {
    let street = Street::new();
    let rig = &street.rig;
    let theirs = std::net::TcpListener::bind("0.0.0.0:0").unwrap();
    let taken = theirs.local_addr().unwrap().port();
    let ours = std::net::TcpListener::bind("0.0.0.0:0").unwrap().local_addr().unwrap().port();
    let serve =
        |port: u16, more: &str| format!("{{name: main, image: busybox, command: [sh, -c, \"exec nc -ll -p {port} -e echo pod\"]{more}}}");
    // With the host's network the program itself fails on a foreign program's port, as under a kubelet.
    rig.write("foreign.yaml", &pod("foreign", "  hostNetwork: true\n", &serve(taken, &format!(", ports: [{{containerPort: {taken}}}]"))));
    let published = format!(", ports: [{{containerPort: 80, hostPort: {ours}}}]");
    rig.write("first.yaml", &pod("first", "", &serve(80, &published)));
    rig.wait("the first has the port", WAIT, |r| runs(r, "first"));
    rig.write("second.yaml", &pod("second", "", &serve(80, &published)));
    rig.wait("the second waits", WAIT, |r| {
        let waits = "node(s) didn't have free ports for the requested pod ports";
        phase_of(r, "second") == "Pending" && tells(r, "second", "FailedScheduling", waits)
    });
    let failed = |r: &Rig| status(r, "foreign")["containerStatuses"][0].clone();
    rig.wait("the foreign one backs off", WAIT, |r| {
        failed(r)["state"]["waiting"]["reason"] == "CrashLoopBackOff"
            && failed(r)["restartCount"].as_u64() >= Some(1)
            && count(r, "foreign", "BackOff") > 0
    });
    assert!(
        rig.cli(&["logs", &pod_name("foreign")]).contains("Address already in use")
            || failed(rig)["lastState"]["terminated"]["exitCode"] == 1
    );
    rig.remove("first.yaml");
    rig.wait("the second has it now", WAIT, |r| runs(r, "second"));
    drop(theirs);
    rig.wait("so has the foreign one", WAIT, |r| runs(r, "foreign") && failed(r)["state"]["running"].is_object());
    street.close();
}

#[test]
fn a_probe_that_never_answers() {
    let street = Street::new();
    let rig = &street.rig;
    // It accepts, and says nothing.
    let main = "{name: main, image: busybox, command: [sh, -c, \"exec nc -ll -p 8080 -e sleep 1000\"], livenessProbe: {httpGet: {port: 8080, path: /healthz}, timeoutSeconds: 1, periodSeconds: 1, failureThreshold: 2}}";
    rig.write("p.yaml", &pod("p", "", main));
    let container = |r: &Rig| status(r, "p")["containerStatuses"][0].clone();
    rig.wait("it backs off", WAIT, |r| container(r)["state"]["waiting"]["reason"] == "CrashLoopBackOff");
    assert!(container(rig)["restartCount"].as_u64() >= Some(1), "{}", container(rig));
    let silent = "/healthz\": context deadline exceeded (Client.Timeout exceeded while awaiting headers)";
    assert!(tells(rig, "p", "Unhealthy", silent) && tells(rig, "p", "Unhealthy", "Liveness probe failed: Get \"http://10."));
    let rounds = || format!("two rounds of two failures: {}\n{:#?}", container(rig), events(rig, "p", ""));
    assert!(count(rig, "p", "Unhealthy") >= 4, "{}", rounds());
    assert!(tells(rig, "p", "Killing", "Container main failed liveness probe, will be restarted") && count(rig, "p", "BackOff") > 0);
    street.close();
}

#[test]
fn images_for_another_machine_that_reach_out_or_that_one_may_not_have() {
    let registry = Registry::start();
    registry.push_index("other", "1", &OciImage::busybox(), vec![crate::registry::other_platform()]);
    let files = BTreeMap::from([("a/.wh...".to_owned(), Node::File(0o644, Vec::new()))]);
    registry.push("escape", "1", &OciImage::new(&[busybox_layer(), tar(&files)], true));
    let private = Registry::start();
    private.push("app", "1", &OciImage::busybox());
    private.admit(Login::Basic("me", "hunter22"));
    let street = Street::new();
    let rig = &street.rig;
    let login = serde_json::json!({"auths": {private.address.clone(): {"username": "me", "password": "wrong-pw-1"}}}).to_string();
    rig.write(
        "s.yaml",
        &format!("apiVersion: v1\nkind: Secret\nmetadata: {{name: login}}\ntype: kubernetes.io/dockerconfigjson\nstringData: {{.dockerconfigjson: '{login}'}}\n"),
    );
    let main = |image: &str| format!("{{name: main, image: {image:?}, imagePullPolicy: IfNotPresent, command: [sleep, \"1000\"]}}");
    let cases = [
        ("other", format!("{}/other:1", registry.address), "no match for platform in manifest: linux/"),
        ("escape", format!("{}/escape:1", registry.address), "whiteout"),
        ("login", format!("{}/app:1", private.address), "pull access denied"),
    ];
    for (name, image, _) in &cases {
        let spec = if *name == "login" { "  imagePullSecrets: [{name: login}]\n" } else { "" };
        rig.write(&format!("{name}.yaml"), &pod(name, spec, &main(image)));
    }
    for (name, image, words) in &cases {
        street.waits(name, "ImagePullBackOff", words, &["Failed", "BackOff"]);
        assert!(count(rig, name, "Pulling") > 0);
        assert!(
            tells(rig, name, "Failed", &format!("Failed to pull image {image:?}: ")) && tells(rig, name, "Failed", "Error: ErrImagePull")
        );
    }
    let told = rig.log() + &rig.cli(&["get", "events", "-A"]) + &rig.cli(&["get", "pods", "-A", "-o", "yaml"]);
    assert!(!told.contains("wrong-pw-1") && !told.contains("hunter22"), "a password is told");
    street.close();
}

#[test]
fn a_disk_that_is_full_in_the_middle_of_a_pull() {
    let registry = Registry::start();
    let mut state = 1u64;
    let noise: Vec<u8> = std::iter::repeat_with(|| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 56) as u8
    })
    .take(24 << 20)
    .collect();
    registry.push(
        "big",
        "1",
        &OciImage::new(&[busybox_layer(), tar(&BTreeMap::from([("noise".to_owned(), Node::File(0o644, noise))]))], false),
    );
    let street = Street::on(Rig::with_small_images(16));
    let rig = &street.rig;
    let main = format!("{{name: main, image: \"{}/big:1\", imagePullPolicy: IfNotPresent, command: [sleep, \"1000\"]}}", registry.address);
    rig.write("p.yaml", &pod("p", "", &main));
    street.waits("p", "ImagePullBackOff", "no space left on device", &["Pulling", "Failed", "BackOff"]);
    // Others start meanwhile, and it does when there is room.
    rig.write("q.yaml", &pod("q", "", "{name: other, image: busybox, command: [sleep, \"1000\"]}"));
    rig.wait("another pod starts", WAIT, |r| runs(r, "q"));
    rig.resize_images(128);
    rig.wait("it runs", Duration::from_secs(120), |r| runs(r, "p"));
    street.close();
}

#[test]
fn a_cni_plugin_that_hangs_one_that_prints_garbage_and_one_that_takes_nothing_back() {
    let hangs = format!("sleep 7{}", std::process::id());
    let rig = Rig::with(|rig| {
        let bin = rig.dir("bin");
        let plugin = format!(
            "#!/bin/sh\ncase \"$CNI_COMMAND $CNI_ARGS\" in\n\
             \"ADD \"*POD_NAME=hangs-*) exec {hangs};;\n\
             \"ADD \"*POD_NAME=garbage-*) echo garbage; exit 0;;\n\
             \"DEL \"*POD_NAME=stuck-*) test -e {0}/open || {{ echo '{{\"code\":11,\"msg\":\"busy\"}}'; exit 1; }};;\n\
             \"CHECK \"*POD_NAME=stuck-*) echo '{{\"code\":100,\"msg\":\"rules are gone\"}}'; exit 1;;\n\
             \"STATUS \"*) exit 0;;\n\
             \"GC \"*) cat >{0}/gc; exit 0;;\nesac\n\
             # Debian's plugins do not speak 1.1 yet.\n\
             sed 's/\"cniVersion\":\"1.1.0\"/\"cniVersion\":\"1.0.0\"/' | /usr/lib/cni/ptp\n",
            bin.display()
        );
        std::fs::write(bin.join("odd"), plugin).unwrap();
        std::fs::set_permissions(bin.join("odd"), std::fs::Permissions::from_mode(0o755)).unwrap();
        let ipam = serde_json::json!({"type": "host-local", "dataDir": bin.join("ipam"), "ranges": [[{"subnet": "10.99.77.0/24"}], [{"subnet": "fd00:99:77::/64"}]]});
        let list = serde_json::json!({"cniVersion": "1.1.0", "name": "odd", "plugins": [{"type": "odd", "ipam": ipam}]});
        std::fs::write(rig.dir("cni").join("10-odd.conflist"), list.to_string()).unwrap();
        vec!["--cni-bin-dir".into(), bin.display().to_string(), "--cni-bin-dir".into(), "/usr/lib/cni".into()]
    });
    let mut street = Street::on(rig);
    let sleeper = "{name: main, image: busybox, command: [sleep, \"1000\"]}";
    for name in ["hangs", "garbage"] {
        street.rig.write(&format!("{name}.yaml"), &pod(name, "", sleeper));
    }
    street.rig.write("stuck.yaml", &pod("stuck", "", "{name: stuck, image: busybox, command: [sleep, \"1000\"]}"));
    street.waits("garbage", "ContainerCreating", "", &["FailedCreatePodSandBox"]);
    let garbage = "Failed to create pod sandbox: CNI plugin \"odd\" failed (ADD): printed no CNI result: ";
    assert!(tells(&street.rig, "garbage", "FailedCreatePodSandBox", garbage));
    street.rig.wait("it runs", WAIT, |r| runs(r, "stuck"));
    let ips = status(&street.rig, "stuck")["podIPs"].clone();
    let families: Vec<bool> = ips.as_array().unwrap().iter().map(|ip| ip["ip"].as_str().unwrap().contains(':')).collect();
    assert_eq!((families, &ips[0]["ip"]), (vec![false, true], &status(&street.rig, "stuck")["podIP"]));
    // The next agent asks once whether all is well, and leaves what runs alone whatever it hears.
    let pid = street.rig.container_pid("stuck");
    street.rig.kill_agent();
    street.rig.start_agent();
    let unwell = "Unable to get pod sandbox status: CNI plugin \"odd\" failed (CHECK): rules are gone (code 100)";
    street.rig.wait("it is told", WAIT, |r| tells(r, "stuck", "FailedPodSandBoxStatus", unwell));
    let gc = street.rig.dir("bin").join("gc");
    let uids = ["stuck", "neighbour"].map(|name| street.rig.get(&format!("pod/{}", pod_name(name)))["metadata"]["uid"].clone());
    street.rig.wait("plugins are told which attachments there are", WAIT, |_| {
        let told = std::fs::read_to_string(&gc).unwrap_or_default();
        uids.iter().all(|uid| told.contains(uid.as_str().unwrap()))
    });
    assert!(events(&street.rig, "neighbour", "FailedPodSandBoxStatus").is_empty());
    assert_eq!((street.rig.container_pid("stuck"), status(&street.rig, "stuck")["podIPs"].clone()), (pid, ips));
    // A DEL that fails is tried again and holds nothing up for ever.
    street.rig.remove("stuck.yaml");
    let busy = "KillPodSandboxError: \"CNI plugin \\\"odd\\\" failed (DEL): busy (code 11)\"";
    street.rig.wait("it is told", WAIT, |r| tells(r, "stuck", "FailedKillPod", busy) && count(r, "stuck", "FailedKillPod") >= 2);
    street.rig.wait("it goes all the same", WAIT, |r| r.get(&format!("pod/{}", pod_name("stuck"))).is_null());
    let hung = "Failed to create pod sandbox: CNI plugin \"odd\" failed (ADD): killed: no answer within 60 s";
    street.rig.wait("the other is given up", Duration::from_secs(120), |r| tells(r, "hangs", "FailedCreatePodSandBox", hung));
    assert_eq!(phase_of(&street.rig, "hangs"), "Pending");
    let held = || std::fs::read_dir(street.rig.dir("state").join("cni")).unwrap().count();
    std::fs::write(street.rig.dir("bin").join("open"), "").unwrap();
    for name in ["hangs", "garbage"] {
        street.rig.remove(&format!("{name}.yaml"));
    }
    street.rig.wait("the address is given back", Duration::from_secs(120), |_| held() == 1);
    let left = Command::new("pgrep").args(["-f", &hangs]).output().unwrap();
    assert!(left.stdout.is_empty(), "{}", String::from_utf8_lossy(&left.stdout));
    street.close();
}
