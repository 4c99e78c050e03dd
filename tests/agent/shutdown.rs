//! The host goes down under a running agent: pods end by their grace, critical ones last, and none counts as crashed.

use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use crate::rig::{Rig, condition, phase};

const WAIT: Duration = Duration::from_secs(60);

/// From now on systemd says, or no longer says, that the host goes down.
fn goes_down(rig: &Rig, does: bool) {
    let systemctl = rig.dir("front").join("systemctl");
    if !does {
        return std::fs::remove_file(systemctl).unwrap();
    }
    std::fs::write(&systemctl, "#!/bin/sh\n[ \"$*\" = is-system-running ] && echo stopping\nexit 1\n").unwrap();
    std::fs::set_permissions(&systemctl, std::fs::Permissions::from_mode(0o755)).unwrap();
}

/// A pod template's spec that writes what happens to it into /out.
fn spec(name: &str, policy: &str, class: &str, script: &str, out: &std::path::Path) -> String {
    format!(
        "{{restartPolicy: {policy}, {class} terminationGracePeriodSeconds: 10, containers: [{{name: {name}, image: busybox, command: [sh, -c, '{script}'], volumeMounts: [{{name: out, mountPath: /out}}]}}], volumes: [{{name: out, hostPath: {{path: {}}}}}]}}",
        out.display()
    )
}

#[test]
fn pods_end_in_order_and_come_back_uncounted() {
    let mut rig = Rig::new();
    let out = rig.dir("out");
    let trap = |word: &str, end: &str| {
        format!("trap \"{end}echo {word} >>/out/log; exit 0\" TERM; echo {word}-runs >>/out/log; while :; do sleep 0.1; done")
    };
    let daemon = spec("web", "Always", "", &trap("web", "sleep 1; "), &out);
    rig.write("d.yaml", &format!("apiVersion: apps/v1\nkind: DaemonSet\nmetadata: {{name: d}}\nspec:\n  selector: {{matchLabels: {{a: b}}}}\n  template: {{metadata: {{labels: {{a: b}}}}, spec: {daemon}}}\n"));
    let vital = spec("vital", "Always", "priorityClassName: system-node-critical,", &trap("vital", ""), &out);
    rig.write("p.yaml", &format!("apiVersion: v1\nkind: Pod\nmetadata: {{name: v}}\nspec: {vital}\n"));
    let job = spec("job", "Never", "", "echo job-runs >>/out/log; test -e /out/go || sleep 1000", &out);
    rig.write(
        "j.yaml",
        &format!("apiVersion: batch/v1\nkind: Job\nmetadata: {{name: j}}\nspec: {{backoffLimit: 0, template: {{spec: {job}}}}}\n"),
    );
    let log = || std::fs::read_to_string(out.join("log")).unwrap_or_default();
    rig.wait("all run", WAIT, |_| ["web", "vital", "job"].iter().all(|n| log().contains(&format!("{n}-runs"))));
    rig.settle();
    let uid = rig.get("job/j")["metadata"]["uid"].clone();

    goes_down(&rig, true);
    rig.stop_agent();
    assert_eq!(rig.tasks(), 0, "{}", rig.log());
    let ends: Vec<String> = log().lines().filter(|l| !l.ends_with("-runs")).map(str::to_owned).collect();
    assert_eq!(ends, ["web", "vital"], "each could finish, the critical one last");

    goes_down(&rig, false);
    std::fs::write(out.join("go"), "").unwrap();
    rig.start_agent();
    rig.wait("the Job is Complete", WAIT, |r| condition(&r.get("job/j"), "Complete") == "True");
    let job = rig.get("job/j");
    assert_eq!((&job["metadata"]["uid"], &job["status"]["succeeded"]), (&uid, &1.into()));
    assert!(job["status"]["failed"].is_null(), "{job}");
    rig.wait("the others run anew", WAIT, |r| r.pods().iter().filter(|p| phase(p) == "Running").count() == 2);
    let restarts = |p: &serde_json::Value| p["status"]["containerStatuses"][0]["restartCount"].as_u64();
    assert!(rig.pods().iter().all(|p| restarts(p) == Some(0)));
    rig.close();
}

#[test]
fn an_agent_that_is_merely_stopped_ends_nothing() {
    let mut rig = Rig::new();
    let out = rig.dir("out");
    let pod = spec("p", "Always", "", "trap \"touch /out/asked\" TERM; while :; do sleep 0.1; done", &out);
    rig.write("p.yaml", &format!("apiVersion: v1\nkind: Pod\nmetadata: {{name: p}}\nspec: {pod}\n"));
    rig.wait("it runs", WAIT, |r| r.pods().iter().any(|p| phase(p) == "Running"));
    rig.stop_agent();
    assert_eq!((rig.tasks(), out.join("asked").exists()), (1, false));
    rig.start_agent();
    rig.close();
}
