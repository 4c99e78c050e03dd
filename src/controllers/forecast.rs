//! What a workload's manifest means for a node, before anything is created: may its pods start, may they go on, and everything that decided it.
//!
//! Guarantees: the same functions decide as in the controllers and in binding. A pod that could never fit on the empty node should not run:
//! it would wait for ever.

mod change;
mod rehearsal;

use k8s_openapi::api::core::v1::{Node, Pod, PodSpec};

use crate::admission::{self, Verdict};
use crate::api::quantity::pod_requests;
use crate::api::{Key, Object};

pub use change::{Change, Known, foresee};

/// What one workload would do.
#[derive(Clone, Debug, PartialEq)]
pub struct Row {
    /// Which.
    pub key: Key,
    /// May it run here.
    pub verdict: Verdict,
    /// What the agent would change; `None` where no agent is asked.
    pub change: Option<Change>,
}

/// The rows of the workloads among `objects`, for `node` alone.
pub fn offline(objects: &[Object], node: &Node) -> Vec<Row> {
    let row = |object: &Object| Some(Row { key: object.key(), verdict: verdict(object, node)?, change: None });
    objects.iter().filter_map(row).collect()
}

/// The verdict on a DaemonSet, Job, CronJob or Pod; `None` for what runs nothing.
pub fn verdict(object: &Object, node: &Node) -> Option<Verdict> {
    let mut spec = template(object)?.clone();
    let mut verdict = match object {
        Object::DaemonSet(_) => {
            admission::daemon_tolerations(&mut spec);
            admission::eligible(&spec, node)
        }
        Object::StaticPod(_) => {
            let reasons = admission::placement_reasons(&spec, node);
            Verdict { should_run: reasons.is_empty(), should_continue: reasons.is_empty(), reasons }
        }
        _ => admission::eligible(&spec, node),
    };
    let pod = Pod { spec: Some(spec), ..Pod::default() };
    if let Err(lacking) = admission::fits(&pod, &[], node) {
        verdict.should_run = false;
        verdict.reasons.extend(lacking.into_iter().map(|reason| with_amounts(reason, &pod, node)));
    }
    Some(verdict)
}

fn template(object: &Object) -> Option<&PodSpec> {
    match object {
        Object::DaemonSet(ds) => ds.spec.as_ref()?.template.spec.as_ref(),
        Object::Job(job) => job.spec.as_ref()?.template.spec.as_ref(),
        Object::CronJob(cron) => cron.spec.job_template.spec.as_ref()?.template.spec.as_ref(),
        Object::StaticPod(pod) => pod.spec.as_ref(),
        _ => None,
    }
}

/// `Insufficient cpu (the pod requests 2500m, the node has 2)`.
fn with_amounts(reason: String, pod: &Pod, node: &Node) -> String {
    let Some(name) = reason.strip_prefix("Insufficient ") else { return reason };
    let requested = pod.spec.as_ref().and_then(|spec| pod_requests(spec).get(name).copied()).unwrap_or(0);
    let shown = match (name, requested % 1000) {
        ("cpu", 0) => (requested / 1000).to_string(),
        ("cpu", _) => format!("{requested}m"),
        _ => requested.to_string(),
    };
    let allocatable = node.status.as_ref().and_then(|s| s.allocatable.as_ref()?.get(name)).map_or("none", |q| q.0.as_str());
    format!("{reason} (the pod requests {shown}, the node has {allocatable})")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::api::Kind;

    fn object(kind: Kind, spec: serde_json::Value) -> Object {
        let template = json!({"spec": spec});
        let value = json!({"metadata": {"name": "x"}, "spec": {"selector": {}, "template": template}});
        Object::from_json(kind, value.to_string().as_bytes()).unwrap()
    }

    #[test]
    fn every_taint_term_and_resource_is_named() {
        let node: Node = serde_json::from_value(json!({
            "metadata": {"name": "n", "labels": {"disk": "hdd"}},
            "spec": {"unschedulable": true, "taints": [{"key": "a", "effect": "NoSchedule"}, {"key": "b", "value": "1", "effect": "NoExecute"}]},
            "status": {"allocatable": {"cpu": "2", "memory": "1Gi"}},
        }))
        .unwrap();
        let containers = json!([{"name": "c", "resources": {"requests": {"cpu": "2500m"}}}]);
        let spec = json!({"containers": containers, "nodeSelector": {"disk": "ssd", "zone": "a"}});
        let job = verdict(&object(Kind::Job, spec.clone()), &node).unwrap();
        assert_eq!((job.should_run, job.should_continue), (false, false));
        assert_eq!(
            job.reasons,
            [
                "node(s) didn't match Pod's node affinity/selector (disk=ssd: the node has disk=hdd; zone=a: the node has no such label)",
                "node(s) were unschedulable",
                "node(s) had untolerated taint {a: }",
                "node(s) had untolerated taint {b: 1}",
                "Insufficient cpu (the pod requests 2500m, the node has 2)",
            ]
        );
        let daemon = verdict(&object(Kind::DaemonSet, spec), &node).unwrap();
        assert!(!daemon.reasons.iter().any(|r| r.contains("unschedulable")), "daemon pods tolerate it: {:?}", daemon.reasons);
    }

    #[test]
    fn no_schedule_lets_what_runs_go_on() {
        let node: Node =
            serde_json::from_value(json!({"metadata": {"name": "n"}, "spec": {"taints": [{"key": "a", "effect": "NoSchedule"}]}})).unwrap();
        let job = verdict(&object(Kind::Job, json!({"containers": [{"name": "c"}]})), &node).unwrap();
        assert_eq!((job.should_run, job.should_continue), (false, true));
    }
}
