//! A node that runs short, and pods that take more disk than they may.

use std::time::Duration;

use crate::rig::{Rig, condition, phase};

const WAIT: Duration = Duration::from_secs(60);

/// A Job's pod, since the pod of a Pod manifest is critical and never evicted.
fn job(name: &str, container: &str) -> String {
    format!(
        "apiVersion: batch/v1\nkind: Job\nmetadata: {{name: {name}}}\nspec:\n  backoffLimit: 0\n  template:\n    spec:\n      restartPolicy: Never\n      terminationGracePeriodSeconds: 1\n{container}"
    )
}

fn pod_of<'a>(pods: &'a [serde_json::Value], job: &str) -> Option<&'a serde_json::Value> {
    pods.iter().find(|p| p["metadata"]["labels"]["job-name"] == job)
}

#[test]
fn under_disk_pressure_the_greediest_pod_goes_and_new_ones_wait() {
    let rig = Rig::with_small_state_and_thresholds("nodefs.available<50%");
    rig.write("modest.yaml", &job("modest", "      containers: [{name: main, image: busybox, command: [sleep, \"1000\"]}]\n"));
    rig.write(
        "greedy.yaml",
        &job(
            "greedy",
            "      containers:\n      - {name: main, image: busybox, command: [sh, -c, \"dd if=/dev/zero of=/d/f bs=1M count=11; sleep 1000\"], volumeMounts: [{name: d, mountPath: /d}]}\n      volumes: [{name: d, emptyDir: {}}]\n",
        ),
    );
    rig.wait("the greedy one is evicted", WAIT, |r| pod_of(&r.pods(), "greedy").is_some_and(|p| phase(p) == "Failed"));
    let pods = rig.pods();
    let status = &pod_of(&pods, "greedy").unwrap()["status"];
    let message = status["message"].as_str().unwrap();
    assert_eq!(status["reason"], "Evicted");
    assert!(message.starts_with("The node was low on resource: ephemeral-storage. Threshold quantity: 8Mi, available: "), "{message}");
    let disrupted = status["conditions"].as_array().unwrap().iter().find(|c| c["type"] == "DisruptionTarget").unwrap();
    assert_eq!((disrupted["status"].as_str(), disrupted["reason"].as_str()), (Some("True"), Some("TerminationByKubelet")));
    assert_eq!(phase(pod_of(&pods, "modest").unwrap()), "Running", "one that takes nothing stays");
    rig.wait("the node says so", WAIT, |r| condition(&r.get("node lab-node"), "DiskPressure") == "True");
    let node = rig.get("node lab-node");
    let taints = node["spec"]["taints"].as_array().unwrap();
    assert!(taints.iter().any(|t| t["key"] == "node.kubernetes.io/disk-pressure" && t["effect"] == "NoSchedule"), "{taints:?}");
    let reasons: Vec<String> = rig.list("events").iter().map(|e| e["reason"].as_str().unwrap_or_default().to_owned()).collect();
    for wanted in ["EvictionThresholdMet", "NodeHasDiskPressure", "Evicted"] {
        assert!(reasons.iter().any(|r| r == wanted), "{wanted} in {reasons:?}");
    }
    rig.write("late.yaml", &job("late", "      containers: [{name: main, image: busybox, command: [\"true\"]}]\n"));
    rig.wait("a new one waits", WAIT, |r| {
        let why = r.get("job late")["metadata"]["annotations"]["minik8s.io/not-admitted"].clone();
        why == "node(s) had untolerated taint {node.kubernetes.io/disk-pressure: }"
    });
    assert!(pod_of(&rig.pods(), "late").is_none());
    rig.close();
}

#[test]
fn a_container_that_writes_more_than_its_ephemeral_storage_is_evicted() {
    let rig = Rig::new();
    let write = |what: &str| {
        format!(
            "      containers:\n      - {{name: main, image: busybox, command: [sh, -c, \"{what}; sleep 1000\"], resources: {{limits: {{ephemeral-storage: 2Mi}}}}}}\n      - {{name: other, image: busybox, command: [sleep, \"1000\"], resources: {{limits: {{ephemeral-storage: 100Mi}}}}}}\n"
        )
    };
    rig.write("layer.yaml", &job("layer", &write("dd if=/dev/zero of=/f bs=1M count=4")));
    rig.write("within.yaml", &job("within", &write("dd if=/dev/zero of=/f bs=1M count=1")));
    rig.wait("it is evicted", WAIT, |r| pod_of(&r.pods(), "layer").is_some_and(|p| phase(p) == "Failed"));
    let pods = rig.pods();
    let status = &pod_of(&pods, "layer").unwrap()["status"];
    let message = "Container main exceeded its local ephemeral storage limit \"2Mi\". ";
    assert_eq!((status["reason"].as_str(), status["message"].as_str()), (Some("Evicted"), Some(message)));
    assert_eq!(phase(pod_of(&pods, "within").unwrap()), "Running");
    rig.close();
}
