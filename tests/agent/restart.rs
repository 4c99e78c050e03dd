//! Restarts of agent and containerd: what runs is adopted untouched.

use std::time::Duration;

use crate::rig::{Rig, condition, phase};

const WAIT: Duration = Duration::from_secs(40);
const SLEEPER: &str = "apiVersion: v1\nkind: Pod\nmetadata: {name: p}\nspec:\n  terminationGracePeriodSeconds: 0\n  containers:\n  - {name: main, image: busybox, command: [sh, -c, \"echo started; exec sleep 100000\"]}\n";

#[test]
fn running_containers_are_adopted_untouched() {
    let mut rig = Rig::new();
    rig.write("p.yaml", SLEEPER);
    rig.wait("it runs", WAIT, |r| r.pods().iter().any(|p| phase(p) == "Running"));
    let (before, pid) = (rig.pods()[0].clone(), rig.container_pid("main"));
    rig.kill_agent();
    rig.start_agent();
    rig.settle();
    rig.kill_containerd();
    rig.start_containerd();
    rig.settle();
    let after = rig.pods()[0].clone();
    assert_eq!(rig.container_pid("main"), pid);
    assert_eq!(after["status"]["containerStatuses"], before["status"]["containerStatuses"]);
    assert_eq!(rig.cli(&["logs", &format!("p-{}", Rig::NODE)]).trim(), "started");
    rig.signal_container("main", 9);
    rig.wait("an exit is still seen", WAIT, |r| r.pods()[0]["status"]["containerStatuses"][0]["restartCount"] == 1);
    rig.close();
}

#[test]
fn exits_while_agent_and_containerd_were_away_are_recorded_once() {
    let mut rig = Rig::new();
    let out = rig.dir("out");
    rig.write("j.yaml", &format!(
        "apiVersion: batch/v1\nkind: Job\nmetadata: {{name: j}}\nspec:\n  template:\n    spec:\n      restartPolicy: Never\n      containers:\n      - name: main\n        image: busybox\n        command: [sh, -c, \"echo run >> /out/runs; until test -e /out/go; do sleep 0.05; done\"]\n        volumeMounts: [{{name: out, mountPath: /out}}]\n      volumes: [{{name: out, hostPath: {{path: {}}}}}]\n",
        out.display()
    ));
    rig.wait("it runs", WAIT, |_| out.join("runs").exists());
    rig.kill_agent();
    rig.kill_containerd();
    std::fs::write(out.join("go"), "").unwrap();
    std::thread::sleep(Duration::from_millis(300));
    rig.start_containerd();
    rig.start_agent();
    rig.wait("the Job is Complete", WAIT, |r| condition(&r.get("job/j"), "Complete") == "True");
    assert_eq!(std::fs::read_to_string(out.join("runs")).unwrap(), "run\n");
    assert_eq!(rig.get("job/j")["status"]["succeeded"], 1);
    rig.close();
}

#[test]
fn an_agent_at_rest_rests() {
    let rig = Rig::new();
    rig.write("p.yaml", SLEEPER);
    rig.wait("it runs", WAIT, |r| r.pods().iter().any(|p| phase(p) == "Running"));
    rig.settle();
    let before = rig.agent_ticks();
    std::thread::sleep(Duration::from_secs(5));
    let used = rig.agent_ticks() - before;
    assert!(used <= 5, "{used} ticks of CPU in 5 s with nothing to do");
    rig.close();
}
