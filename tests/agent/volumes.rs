//! Volumes on real mounts: propagation, recursive read-only, memory and size limits.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use crate::rig::{Rig, phase, pod_name};

const WAIT: Duration = Duration::from_secs(40);

fn mount_tmpfs(at: &Path) {
    std::fs::create_dir_all(at).unwrap();
    assert!(Command::new("mount").args(["-t", "tmpfs", "tmpfs"]).arg(at).status().unwrap().success());
}

#[test]
fn read_only_may_be_recursive_and_mounts_of_the_host_arrive_where_asked() {
    let rig = Rig::new();
    let dir = rig.dir("shared");
    mount_tmpfs(&dir);
    assert!(Command::new("mount").arg("--make-rshared").arg(&dir).status().unwrap().success());
    mount_tmpfs(&dir.join("below"));
    rig.write(
        "p.yaml",
        &format!(
            r#"
apiVersion: v1
kind: Pod
metadata: {{name: p}}
spec:
  terminationGracePeriodSeconds: 1
  containers:
  - name: main
    image: busybox
    command: [sh, -c, "touch /ro/x || echo ro; touch /ro/below/x && echo below; touch /rro/below/y || echo rro; while :; do test -e /slave/late/f && echo slave && test ! -e /ro/late/f && echo private; sleep 0.2; done"]
    volumeMounts:
    - {{name: v, mountPath: /ro, readOnly: true}}
    - {{name: v, mountPath: /rro, readOnly: true, recursiveReadOnly: Enabled}}
    - {{name: v, mountPath: /slave, mountPropagation: HostToContainer}}
  volumes: [{{name: v, hostPath: {{path: {}, type: Directory}}}}]
"#,
            dir.display()
        ),
    );
    rig.wait("it runs", WAIT, |r| r.pods().iter().any(|p| phase(p) == "Running"));
    let said =
        |r: &Rig| r.cli(&["logs", &pod_name("p")]).lines().filter(|l| !l.starts_with("touch")).map(str::to_owned).collect::<Vec<_>>();
    rig.wait("it tried", WAIT, |r| said(r).len() >= 3);
    assert_eq!(said(&rig), ["ro", "below", "rro"]);
    mount_tmpfs(&dir.join("late"));
    std::fs::write(dir.join("late/f"), "").unwrap();
    rig.wait("the mount arrives", WAIT, |r| said(r).iter().any(|l| l == "private"));
    rig.remove("p.yaml");
    rig.wait("it is gone", WAIT, |r| r.pods().is_empty());
    assert!(dir.join("below/x").exists() && !dir.join("below/y").exists());
    assert!(Command::new("umount").arg("-R").arg(&dir).status().unwrap().success());
    rig.close();
}

#[test]
fn an_empty_dir_has_the_size_it_is_given() {
    let rig = Rig::new();
    rig.write(
        "p.yaml",
        r#"
apiVersion: v1
kind: Pod
metadata: {name: p}
spec:
  restartPolicy: Never
  terminationGracePeriodSeconds: 1
  containers:
  - name: main
    image: busybox
    command: [sh, -c, "dd if=/dev/zero of=/mem/f bs=1M count=4 2>/dev/null || wc -c < /mem/f; dd if=/dev/zero of=/disk/f bs=1M count=3 2>/dev/null; sleep 1000"]
    volumeMounts: [{name: mem, mountPath: /mem}, {name: disk, mountPath: /disk}]
  volumes: [{name: mem, emptyDir: {medium: Memory, sizeLimit: 1Mi}}, {name: disk, emptyDir: {sizeLimit: 2Mi}}]
"#,
    );
    rig.wait("it is evicted", WAIT, |r| r.pods().iter().any(|p| phase(p) == "Failed"));
    let status = rig.pods()[0]["status"].clone();
    let message = "Usage of EmptyDir volume \"disk\" exceeds the limit \"2Mi\". ";
    assert_eq!((status["reason"].as_str(), status["message"].as_str()), (Some("Evicted"), Some(message)), "{status}");
    assert_eq!(rig.cli(&["logs", &pod_name("p")]).trim(), (1 << 20).to_string(), "memory ends at its limit");
    assert!(rig.list("events").iter().any(|e| e["reason"] == "Evicted" && e["message"] == message));
    rig.close();
}
