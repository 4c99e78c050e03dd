//! Pod addresses through the built-in bridge, and ports on the host.

use std::time::Duration;

use crate::rig::{Rig, phase};

const WAIT: Duration = Duration::from_secs(40);

#[test]
fn pods_reach_each_other_and_a_host_port_answers() {
    let rig = Rig::new();
    rig.write(
        "server.yaml",
        r#"
apiVersion: v1
kind: Pod
metadata: {name: server}
spec:
  terminationGracePeriodSeconds: 0
  containers:
  - name: web
    image: busybox
    command: [sh, -c, "mkdir /www && echo served > /www/index.html && exec httpd -f -p 8080 -h /www"]
"#,
    );
    rig.wait("the server has an address", WAIT, |r| r.pods().iter().any(|p| phase(p) == "Running" && p["status"]["podIP"].is_string()));
    let ip = rig.pods()[0]["status"]["podIP"].as_str().unwrap().to_owned();
    rig.write(
        "client.yaml",
        &format!("apiVersion: batch/v1\nkind: Job\nmetadata: {{name: client}}\nspec:\n  template:\n    spec:\n      restartPolicy: OnFailure\n      containers:\n      - {{name: c, image: busybox, command: [sh, -c, \"wget -q -O - http://{ip}:8080/\"]}}\n"),
    );
    rig.wait("the client was served", WAIT, |r| {
        r.pods().iter().any(|p| p["metadata"]["name"].as_str().unwrap().starts_with("client") && phase(p) == "Succeeded")
    });
    let client = rig.pods().iter().find(|p| p["metadata"]["name"].as_str().unwrap().starts_with("client")).unwrap()["metadata"]["name"]
        .as_str()
        .unwrap()
        .to_owned();
    assert_eq!(rig.cli(&["logs", &client]).trim(), "served");
    rig.close();
}

#[test]
fn a_host_port_that_is_taken_makes_the_second_pod_wait() {
    let rig = Rig::new();
    let pod = |name: &str| {
        format!(
            "apiVersion: v1\nkind: Pod\nmetadata: {{name: {name}}}\nspec:\n  hostNetwork: true\n  terminationGracePeriodSeconds: 0\n  containers:\n  - {{name: m, image: busybox, command: [sleep, \"1000\"], ports: [{{containerPort: 34567}}]}}\n"
        )
    };
    rig.write("a.yaml", &pod("a"));
    rig.wait("the first runs", WAIT, |r| r.pods().iter().any(|p| phase(p) == "Running"));
    rig.write("b.yaml", &pod("b"));
    rig.wait("the second waits", WAIT, |r| {
        r.pods().iter().any(|p| p.to_string().contains("node(s) didn't have free ports for the requested pod ports"))
    });
    rig.remove("a.yaml");
    rig.wait("the second runs when the first is gone", WAIT, |r| r.pods().len() == 1 && phase(&r.pods()[0]) == "Running");
    rig.close();
}
