//! Which pods a drain stops, which stay, and what stands in its way (staging/src/k8s.io/kubectl/pkg/drain/filters.go). Pure.
//!
//! Two things are told apart otherwise than in a cluster: a pod that has ended stays (there its logs would go with the node; here they are looked
//! for afterwards), and a pod from a Pod manifest counts as one without a controller (no kubelet would start it again at once).

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::Pod;

use crate::pod::phase;

const DAEMON_SET_FATAL: &str = "cannot delete DaemonSet-managed Pods (use --ignore-daemonsets to ignore)";
const DAEMON_SET_WARNING: &str = "ignoring DaemonSet-managed Pods";
const LOCAL_STORAGE_FATAL: &str = "cannot delete Pods with local storage (use --delete-emptydir-data to override)";
const LOCAL_STORAGE_WARNING: &str = "deleting Pods with local storage";
const UNMANAGED_FATAL: &str = "cannot delete Pods that declare no controller (use --force to override)";
const UNMANAGED_WARNING: &str = "deleting Pods that declare no controller";

/// What the user allows.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Options {
    pub(super) force: bool,
    pub(super) ignore_daemonsets: bool,
    pub(super) delete_emptydir_data: bool,
}

/// What becomes of a node's pods.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Choice {
    /// To be evicted, in the order given.
    pub(super) evict: Vec<Pod>,
    /// `message: ns/pod, ns/pod`.
    pub(super) warnings: Vec<String>,
    /// Likewise; with one of them nothing may be evicted.
    pub(super) errors: Vec<String>,
}

enum Verdict {
    Evict,
    EvictAndWarn(&'static str),
    Stay,
    StayAndWarn(&'static str),
    Refuse(&'static str),
}

/// Judges the pods on the node called `node`.
pub(super) fn choose(pods: Vec<Pod>, node: &str, options: Options) -> Choice {
    let (mut choice, mut warnings, mut errors) = (Choice::default(), BTreeMap::new(), BTreeMap::new());
    for pod in pods {
        if pod.spec.as_ref().and_then(|s| s.node_name.as_deref()) != Some(node) {
            continue;
        }
        let name =
            format!("{}/{}", pod.metadata.namespace.as_deref().unwrap_or_default(), pod.metadata.name.as_deref().unwrap_or_default());
        let (evict, told) = match judge(&pod, options) {
            Verdict::Evict => (true, None),
            Verdict::Stay => (false, None),
            Verdict::EvictAndWarn(message) => (true, Some((&mut warnings, message))),
            Verdict::StayAndWarn(message) => (false, Some((&mut warnings, message))),
            Verdict::Refuse(message) => (false, Some((&mut errors, message))),
        };
        if let Some((list, message)) = told {
            list.entry(message).or_insert_with(Vec::new).push(name);
        }
        choice.evict.extend(evict.then_some(pod));
    }
    let lines = |list: BTreeMap<&str, Vec<String>>| list.into_iter().map(|(m, names)| format!("{m}: {}", names.join(", "))).collect();
    (choice.warnings, choice.errors) = (lines(warnings), lines(errors));
    choice
}

fn judge(pod: &Pod, options: Options) -> Verdict {
    if phase::is_terminal(phase::of(pod)) {
        return Verdict::Stay;
    }
    let owner = pod.metadata.owner_references.iter().flatten().find(|o| o.controller == Some(true)).map(|o| o.kind.as_str());
    if owner == Some("DaemonSet") {
        return if options.ignore_daemonsets { Verdict::StayAndWarn(DAEMON_SET_WARNING) } else { Verdict::Refuse(DAEMON_SET_FATAL) };
    }
    let local = pod.spec.iter().flat_map(|s| s.volumes.iter().flatten()).any(|v| v.empty_dir.is_some());
    if local && !options.delete_emptydir_data {
        return Verdict::Refuse(LOCAL_STORAGE_FATAL);
    }
    match (owner.is_none_or(|kind| kind == "Pod"), options.force) {
        (true, false) => Verdict::Refuse(UNMANAGED_FATAL),
        (true, true) => Verdict::EvictAndWarn(UNMANAGED_WARNING),
        (false, _) if local => Verdict::EvictAndWarn(LOCAL_STORAGE_WARNING),
        (false, _) => Verdict::Evict,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn pod(name: &str, owner: &str, spec: Value) -> Pod {
        let owners = if owner.is_empty() {
            json!([])
        } else {
            json!([{"apiVersion": "v1", "kind": owner, "name": "o", "uid": "o", "controller": true}])
        };
        let mut spec = spec;
        spec["nodeName"] = json!("n");
        spec["containers"] = json!([]);
        serde_json::from_value(json!({"metadata": {"name": name, "namespace": "ns", "ownerReferences": owners}, "spec": spec})).unwrap()
    }

    fn pods() -> Vec<Pod> {
        let mut done = pod("done", "Job", json!({}));
        done.status = Some(serde_json::from_value(json!({"phase": "Succeeded"})).unwrap());
        let mut elsewhere = pod("elsewhere", "Job", json!({}));
        elsewhere.spec.as_mut().unwrap().node_name = None;
        let volumes = json!({"volumes": [{"name": "v", "emptyDir": {}}]});
        vec![
            pod("job", "Job", json!({})),
            pod("data", "Job", volumes),
            pod("ds", "DaemonSet", json!({})),
            pod("bare", "", json!({})),
            pod("file", "Pod", json!({})),
            done,
            elsewhere,
        ]
    }

    fn names(choice: &Choice) -> Vec<&str> {
        choice.evict.iter().filter_map(|p| p.metadata.name.as_deref()).collect()
    }

    #[test]
    fn without_flags_all_that_stands_in_the_way_is_named() {
        let choice = choose(pods(), "n", Options::default());
        let expected = [
            "cannot delete DaemonSet-managed Pods (use --ignore-daemonsets to ignore): ns/ds",
            "cannot delete Pods that declare no controller (use --force to override): ns/bare, ns/file",
            "cannot delete Pods with local storage (use --delete-emptydir-data to override): ns/data",
        ];
        assert_eq!(choice.errors, expected);
        assert_eq!(names(&choice), ["job"]);
    }

    #[test]
    fn with_all_flags_everything_goes_but_daemons_and_what_has_ended() {
        let choice = choose(pods(), "n", Options { force: true, ignore_daemonsets: true, delete_emptydir_data: true });
        assert_eq!((names(&choice), choice.errors.len()), (vec!["job", "data", "bare", "file"], 0));
        let expected = [
            "deleting Pods that declare no controller: ns/bare, ns/file",
            "deleting Pods with local storage: ns/data",
            "ignoring DaemonSet-managed Pods: ns/ds",
        ];
        assert_eq!(choice.warnings, expected);
    }
}
