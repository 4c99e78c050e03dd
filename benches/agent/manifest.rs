//! The manifests that are measured with: one container with limits and the marks' directory.

use serde_json::Value;

use crate::marks::{INSIDE, Marks};
use crate::stage::{IMAGE, Stage};

impl Stage {
    /// A pod's spec, as JSON: one container with limits and the marks' directory.
    pub fn pod_spec(&self, host_network: bool, command: &[&str], restart: &str) -> Value {
        serde_json::json!({
            "hostNetwork": host_network, "restartPolicy": restart, "terminationGracePeriodSeconds": 0,
            "containers": [{
                "name": "main", "image": IMAGE, "imagePullPolicy": "IfNotPresent", "command": command,
                "resources": {"limits": {"cpu": "1", "memory": "64Mi"}, "requests": {"cpu": "1m", "memory": "1Mi"}},
                "volumeMounts": [{"name": "out", "mountPath": INSIDE}],
            }],
            "volumes": [{"name": "out", "hostPath": {"path": self.marks.dir()}}],
        })
    }

    /// The manifest of a pod that tells when it runs.
    pub fn pod(&self, name: &str, host_network: bool) -> Value {
        let spec = self.pod_spec(host_network, &["sh", "-c", &Marks::script(name)], "Always");
        serde_json::json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": spec})
    }
}
