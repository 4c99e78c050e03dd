//! `hostUsers: false`: where the kernel and the OCI runtime can, root in the pod is nobody on the host, and yet all files are whose they should be;
//! where they cannot, the pod is rejected and says why. Which of the two this machine must do is asked of the runtime itself.

use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use serde_json::Value;

use crate::rig::{Rig, all_run};

const WAIT: Duration = Duration::from_secs(60);
const RANGE: &str = "minik8s.io/user-namespace";

/// Whether the `runc` that the shims find has idmapped mounts, and the kernel those of tmpfs.
fn able() -> bool {
    let features = Command::new("runc").arg("features").output().expect("a runc on PATH");
    let features: Value = serde_json::from_slice(&features.stdout).unwrap_or_default();
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap();
    let version: Vec<u32> = release.split('.').take(2).map(|n| n.parse().unwrap()).collect();
    features["linux"]["mountExtensions"]["idmap"]["enabled"] == true && version >= vec![6, 3]
}

fn name(pod: &str) -> String {
    format!("{pod}-{}", Rig::NODE)
}

fn pod(rig: &Rig, name_: &str) -> Value {
    rig.pods().into_iter().find(|p| p["metadata"]["name"] == name(name_).as_str()).unwrap_or_default()
}

fn running(rig: &Rig, name: &str, containers: usize) -> bool {
    all_run(&pod(rig, name), containers)
}

fn range(rig: &Rig, name: &str) -> u32 {
    pod(rig, name)["metadata"]["annotations"][RANGE].as_str().unwrap_or_default().parse().unwrap_or_default()
}

fn manifest(name: &str, spec: &str) -> String {
    format!(
        "apiVersion: v1\nkind: Pod\nmetadata: {{name: {name}, annotations: {{{RANGE}: '0'}}}}\nspec:\n  hostUsers: false\n  terminationGracePeriodSeconds: 1\n{spec}"
    )
}

/// Every kind of file that a pod has, told by owner; what it makes; what its root may do.
const FILES: &str = r#"
  containers:
  - name: files
    image: busybox
    command:
    - sh
    - -c
    - |
      cat /proc/self/uid_map /proc/self/gid_map | tr -s ' '
      for f in / /bin/busybox /etc/hosts /etc/hostname /etc/resolv.conf /dev/termination-log /dev/shm /dev/mqueue /cm/key /secret/key \
        /projected/key /downward/name /empty /memory /claim /claim/theirs /host/theirs; do stat -L -c '%n %u:%g' $f; done
      for d in / /empty /memory /claim /host /tmp /dev/shm; do touch $d/mine; done
      chown 1000:1001 /claim/mine && mkdir /claim/sub && stat -c '%n %u:%g' /claim/mine /claim/sub /mine
      hostname; cat /secret/key; echo
      hostname renamed && hostname
      cat /proc/sys/net/ipv4/ip_unprivileged_port_start
      echo by name >/dev/stdout
      sh -c 'echo last words >/dev/termination-log'
      mkdir /m; mount -t tmpfs none /m && echo mounted; chown 70000 /m 2>/dev/null || echo no such id
      echo done; sleep 1000
    securityContext: {capabilities: {add: [SYS_ADMIN]}}
    volumeMounts:
    - {name: cm, mountPath: /cm}
    - {name: secret, mountPath: /secret}
    - {name: projected, mountPath: /projected}
    - {name: downward, mountPath: /downward}
    - {name: empty, mountPath: /empty}
    - {name: memory, mountPath: /memory}
    - {name: claim, mountPath: /claim}
    - {name: host, mountPath: /host}
    - {name: claim, mountPath: /tmp, subPath: a/b}
  securityContext: {sysctls: [{name: net.ipv4.ip_unprivileged_port_start, value: '80'}]}
  volumes:
  - {name: cm, configMap: {name: c}}
  - {name: secret, secret: {secretName: s, defaultMode: 0400}}
  - {name: projected, projected: {sources: [{secret: {name: s}}]}}
  - {name: downward, downwardAPI: {items: [{path: name, fieldRef: {fieldPath: metadata.name}}]}}
  - {name: empty, emptyDir: {}}
  - {name: memory, emptyDir: {medium: Memory}}
  - {name: claim, persistentVolumeClaim: {claimName: data}}
  - {name: host, hostPath: {path: HOST}}
"#;

const SAID: &str = " 0 FIRST 65536
 0 FIRST 65536
/ 0:0
/bin/busybox 0:0
/etc/hosts 0:0
/etc/hostname 0:0
/etc/resolv.conf 0:0
/dev/termination-log 0:0
/dev/shm 0:0
/dev/mqueue 0:0
/cm/key 0:0
/secret/key 0:0
/projected/key 0:0
/downward/name 0:0
/empty 0:0
/memory 0:0
/claim 0:0
/claim/theirs 33:34
/host/theirs 7:8
/claim/mine 1000:1001
/claim/sub 0:0
/mine 0:0
files-lab-node
hunter2
renamed
80
by name
mounted
no such id
done
";

/// Processes shared, nothing of /proc hidden, a user that is not root with files of its group.
const OTHERS: &str = r#"
  shareProcessNamespace: true
  securityContext: {runAsUser: 1234, runAsGroup: 65535, fsGroup: 4321}
  containers:
  - name: open
    image: busybox
    securityContext: {procMount: Unmasked, runAsUser: 0}
    command: [sh, -c, "grep -c ' /proc/' /proc/self/mountinfo; touch /w/root; until [ -e /w/user ]; do sleep 0.1; done; stat -c '%n %u:%g' /w /w/user; stat -c '%u' /proc/1; sleep 1000"]
    volumeMounts: [{name: w, mountPath: /w}]
  - name: user
    image: busybox
    command: [sh, -c, "id -u; id -g; id -G; touch /w/user; grep -q ' /proc/sys ' /proc/self/mountinfo && echo hidden; echo by name >/dev/stderr; sleep 1000"]
    volumeMounts: [{name: w, mountPath: /w}]
  volumes: [{name: w, emptyDir: {}}]
"#;

fn put_objects(rig: &Rig) -> std::path::PathBuf {
    rig.write("c.yaml", "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: c}\ndata: {key: v}\n");
    rig.write("s.yaml", "apiVersion: v1\nkind: Secret\nmetadata: {name: s}\nstringData: {key: hunter2}\n");
    rig.write(
        "claim.yaml",
        "apiVersion: v1\nkind: PersistentVolumeClaim\nmetadata: {name: data}\nspec: {accessModes: [ReadWriteOnce], resources: {requests: {storage: 1Gi}}}\n",
    );
    let (claim, host) = (rig.dir("state").join("claims/default/data"), rig.dir("host"));
    std::fs::create_dir_all(&claim).unwrap();
    for (path, uid, gid) in [(claim.join("theirs"), 33, 34), (host.join("theirs"), 7, 8)] {
        std::fs::write(&path, "").unwrap();
        std::os::unix::fs::chown(&path, Some(uid), Some(gid)).unwrap();
    }
    host
}

/// The host's ids of a container's first process.
fn ids(rig: &Rig, container: &str) -> (String, String) {
    let status = std::fs::read_to_string(format!("/proc/{}/status", rig.container_pid(container))).unwrap();
    let field = |name: &str| status.lines().find_map(|l| l.strip_prefix(name)).unwrap().split_whitespace().next().unwrap().to_owned();
    (field("Uid:"), field("Gid:"))
}

fn owner(path: &Path) -> (u32, u32) {
    let found = std::fs::metadata(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    (found.uid(), found.gid())
}

#[test]
fn root_in_the_pod_is_nobody_on_the_host_or_the_pod_is_rejected() {
    let rig = Rig::new();
    let host = put_objects(&rig);
    rig.write("files.yaml", &manifest("files", &FILES.replace("HOST", host.to_str().unwrap())));
    if able() { honoured(rig, &host) } else { rejected(rig) }
}

fn rejected(rig: Rig) {
    rig.wait("it is rejected", WAIT, |r| pod(r, "files")["status"]["phase"] == "Failed");
    let found = pod(&rig, "files");
    let words = "can't set `spec.hostUsers: false`, runtime does not support user namespaces: ";
    let said = found["status"]["message"].as_str().unwrap_or_default();
    assert_eq!(found["status"]["reason"], "UserNamespacesNotSupported", "{found}");
    assert!(said.starts_with(&format!("Pod was rejected: {words}")) && said.len() > words.len() + 30, "{said}");
    let event = rig.list("events").into_iter().find(|e| e["reason"] == "UserNamespacesNotSupported").unwrap();
    assert!(event["type"] == "Warning" && event["message"].as_str().unwrap().starts_with(words), "{event}");
    assert!(rig.log().contains("no user namespaces: pods with hostUsers: false are rejected"), "{}", rig.log());
    assert!(rig.containers().is_empty());
    rig.close();
}

fn honoured(mut rig: Rig, host: &Path) {
    rig.write("others.yaml", &manifest("others", OTHERS));
    rig.wait("both run", WAIT, |r| running(r, "files", 1) && running(r, "others", 2));
    rig.wait("all is said", WAIT, |r| r.cli(&["logs", &name("files")]).ends_with("done\n"));
    let (first, second) = (range(&rig, "files"), range(&rig, "others"));
    assert!(first >= 65536 && second >= 65536 && first != second, "{first} {second}");
    assert_eq!(rig.cli(&["logs", &name("files")]), SAID.replace("FIRST", &first.to_string()));
    assert_eq!(ids(&rig, "files"), (first.to_string(), first.to_string()), "root in the pod");
    assert_eq!(ids(&rig, "user"), ((second + 1234).to_string(), (second + 65535).to_string()));

    // On the host's disks are the owners that the pod sees: another pod, or one without a user namespace, sees the same.
    let claim = rig.dir("state").join("claims/default/data");
    assert_eq!((owner(&claim.join("mine")), owner(&claim.join("sub")), owner(&host.join("mine"))), ((1000, 1001), (0, 0), (0, 0)));
    assert!(claim.join("a/b/mine").exists(), "the subPath");

    let others = |container: &str| rig.cli(&["logs", &name("others"), "-c", container]);
    rig.wait("the others have spoken", WAIT, |r| r.cli(&["logs", &name("others"), "-c", "open"]).lines().count() == 4);
    assert_eq!(others("open"), "0\n/w 0:4321\n/w/user 1234:4321\n65535\n");
    assert_eq!(others("user"), "1234\n65535\n65535 4321\nhidden\nby name\n");
    let said = rig.cli(&["exec", &name("files"), "--", "sh", "-c", "id -u; echo by name >/dev/stdout; cat /proc/self/uid_map | tr -s ' '"]);
    assert_eq!(said, format!("0\nby name\n 0 {first} 65536\n"));

    // What is remembered is what runs on; a range is free again with its pod, and only then.
    rig.kill_agent();
    rig.start_agent();
    rig.write("third.yaml", &manifest("third", "  containers: [{name: third, image: busybox, command: [sleep, '1000']}]\n"));
    rig.wait("the third runs beside them", WAIT, |r| running(r, "third", 1));
    assert_eq!((range(&rig, "files"), range(&rig, "others")), (first, second));
    assert!(![0, first, second].contains(&range(&rig, "third")));
    let restarts: Vec<Value> = rig.pods().iter().map(|p| p["status"]["containerStatuses"][0]["restartCount"].clone()).collect();
    assert_eq!(restarts, [0, 0, 0]);
    rig.signal_container("third", 9);
    rig.wait("it runs again, with the ids it had", WAIT, |r| {
        pod(r, "third")["status"]["containerStatuses"][0]["restartCount"] == 1 && running(r, "third", 1)
    });
    assert_eq!(ids(&rig, "third").0, range(&rig, "third").to_string());
    rig.remove("files.yaml");
    rig.wait("the first is gone", WAIT, |r| r.pods().len() == 2);
    rig.write("fourth.yaml", &manifest("fourth", "  containers: [{name: fourth, image: busybox, command: [sleep, '1000']}]\n"));
    rig.wait("its range is another's", WAIT, |r| running(r, "fourth", 1) && range(r, "fourth") == first);
    rig.close();
}

/// What a create that is killed leaves, whether or not this machine can give a container layers of its own.
#[test]
fn layers_that_a_killed_agent_left_mounted_go_with_the_container_or_when_the_next_one_starts() {
    let mut rig = Rig::new();
    let layers = rig.dir("run").join("layers");
    let leave = |id: &str| {
        let at = layers.join(id).join("0");
        std::fs::create_dir_all(&at).unwrap();
        assert!(Command::new("mount").args(["-t", "tmpfs", "left"]).arg(&at).status().unwrap().success());
    };
    rig.write("p.yaml", "{apiVersion: v1, kind: Pod, metadata: {name: p}, spec: {terminationGracePeriodSeconds: 0, containers: [{name: main, image: busybox, command: [sleep, '1000']}]}}");
    rig.wait("it runs", WAIT, |r| running(r, "p", 1));
    leave(&rig.containers()[0]);
    rig.remove("p.yaml");
    rig.wait("they have gone with it", WAIT, |r| r.pods().is_empty() && layers.read_dir().unwrap().next().is_none());
    rig.kill_agent();
    leave("nobodys");
    rig.start_agent();
    rig.wait("nothing is left", WAIT, |_| layers.read_dir().unwrap().next().is_none());
    rig.close();
}
