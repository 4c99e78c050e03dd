//! RestartAllContainers on real containers, with the agent killed half-way.

use std::time::Duration;

use crate::rig::{Rig, condition, phase};

const WAIT: Duration = Duration::from_secs(60);

#[test]
fn all_containers_of_a_pod_begin_anew_in_the_same_place() {
    let mut rig = Rig::new();
    rig.write(
        "p.yaml",
        r#"
apiVersion: v1
kind: Pod
metadata: {name: p}
spec:
  restartPolicy: Never
  initContainers:
  - {name: init, image: busybox, command: [sh, -c, "echo x >> /data/rounds"], volumeMounts: [{name: data, mountPath: /data}]}
  containers:
  - name: main
    image: busybox
    restartPolicy: Never
    restartPolicyRules: [{action: RestartAllContainers, exitCodes: {operator: In, values: [42]}}]
    command: [sh, -c, "until test -e /data/up; do sleep 0.1; done; test $(wc -l < /data/rounds) = 2 || exit 42"]
    volumeMounts: [{name: data, mountPath: /data}]
  - name: other
    image: busybox
    command: [sh, -c, "trap 'sleep 1000' TERM; touch /data/up; test $(wc -l < /data/rounds) = 2 || sleep 100000 & wait; test $(wc -l < /data/rounds) = 2 && echo second"]
    volumeMounts: [{name: data, mountPath: /data}]
  volumes: [{name: data, emptyDir: {}}]
"#,
    );
    rig.wait("all are being restarted", WAIT, |r| r.pods().iter().any(|p| condition(p, "AllContainersRestarting") == "True"));
    let before = rig.pods()[0].clone();
    rig.kill_agent();
    rig.start_agent();
    rig.wait("it is over", WAIT, |r| r.pods().iter().any(|p| phase(p) == "Succeeded"));
    let pod = rig.pods()[0].clone();
    assert_eq!((&pod["metadata"]["uid"], &pod["status"]["podIP"]), (&before["metadata"]["uid"], &before["status"]["podIP"]));
    let status = &pod["status"];
    for one in status["containerStatuses"].as_array().unwrap().iter().chain(status["initContainerStatuses"].as_array().unwrap()) {
        assert_eq!((one["restartCount"].as_i64(), one["state"]["terminated"]["exitCode"].as_i64()), (Some(1), Some(0)), "{one}");
    }
    let last = |name: &str| {
        let all = status["containerStatuses"].as_array().unwrap();
        all.iter().find(|c| c["name"] == name).unwrap()["lastState"]["terminated"]["exitCode"].as_i64()
    };
    assert_eq!((last("main"), last("other")), (Some(42), Some(137)), "no grace but two seconds");
    assert_eq!(rig.cli(&["logs", "p-lab-node", "-c", "other"]), "second\n");
    assert_eq!(condition(&pod, "AllContainersRestarting"), "False");
    rig.close();
}
