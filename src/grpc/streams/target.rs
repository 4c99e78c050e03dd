//! Which container of which pod is meant, and whether it runs; in the words of kubectl, the API server and the kubelet. Pure.
//!
//! After `pkg/registry/core/pod/strategy.go` (streamLocation) and `staging/src/k8s.io/kubectl/pkg/cmd/exec/exec.go`.

use k8s_openapi::api::core::v1::{Container, Pod};
use tonic::Status;

use crate::api::{Key, Kind};
use crate::grpc::status::not_found;
use crate::pod::{attempt, phase};
use crate::store::Store;

/// A running container.
#[derive(Debug)]
pub(super) struct Target {
    pub(super) pod: Pod,
    pub(super) container: Container,
    /// The runtime's id of the attempt that runs.
    pub(super) id: String,
    /// Its number.
    pub(super) attempt: u32,
}

/// The pod of this name.
pub(super) fn pod(store: &dyn Store, namespace: &str, name: &str) -> Result<Pod, Status> {
    let object = store.get(&Key::new(Kind::Pod, namespace, name)).ok_or_else(|| not_found(Kind::Pod, name))?;
    object.as_pod().cloned().ok_or_else(|| not_found(Kind::Pod, name))
}

/// The running container of this name. `deed` is what is wanted of it: `exec into`, `attach`.
///
/// Errors: INVALID_ARGUMENT where the pod has no such container, FAILED_PRECONDITION where it does not run.
pub(super) fn running(pod: Pod, container: &str, deed: &str) -> Result<Target, Status> {
    let pod_name = pod.metadata.name.clone().unwrap_or_default();
    if let Some(phase) = phase::of(&pod).filter(|phase| phase::is_terminal(Some(phase))) {
        return Err(Status::failed_precondition(format!("cannot {deed} a container in a completed pod; current phase is {phase}")));
    }
    let all: Vec<&Container> = attempt::containers(&pod).map(|(_, c)| c).collect();
    let found = match (container, all.as_slice()) {
        ("", [only]) => Some(*only),
        ("", _) => {
            let names: Vec<&str> = all.iter().map(|c| c.name.as_str()).collect();
            let message = format!("a container name must be specified for pod {pod_name}, choose one of: [{}]", names.join(" "));
            return Err(Status::invalid_argument(message));
        }
        (name, _) => all.iter().find(|c| c.name == name).copied(),
    };
    let container =
        found.cloned().ok_or_else(|| Status::invalid_argument(format!("container {container} is not valid for pod {pod_name}")))?;
    let status = attempt::status_of(&pod, &container.name).filter(|status| phase::running(status));
    let Some((id, count)) = status.and_then(|s| Some((attempt::bare_id(s.container_id.as_deref()?).to_owned(), s.restart_count))) else {
        return Err(Status::failed_precondition(format!("unable to upgrade connection: container not found (\"{}\")", container.name)));
    };
    Ok(Target { container, id, attempt: u32::try_from(count).unwrap_or_default(), pod })
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};
    use tonic::Code;

    use super::*;

    fn of(phase: &str, statuses: Value, container: &str) -> Result<Target, (Code, String)> {
        let pod = json!({
            "metadata": {"name": "p", "namespace": "default"},
            "spec": {"containers": [{"name": "a"}, {"name": "b"}]},
            "status": {"phase": phase, "containerStatuses": statuses},
        });
        running(serde_json::from_value(pod).unwrap(), container, "exec into").map_err(|s| (s.code(), s.message().to_owned()))
    }

    fn status(state: Value) -> Value {
        json!([{"name": "a", "image": "i", "imageID": "", "ready": true, "restartCount": 2, "containerID": "containerd://abc", "state": state}])
    }

    #[test]
    fn a_running_container_is_found() {
        let target = of("Running", status(json!({"running": {}})), "a").unwrap();
        assert_eq!((target.id.as_str(), target.attempt, target.container.name.as_str()), ("abc", 2, "a"));
    }

    #[test]
    fn kubernetes_words_for_what_cannot_be() {
        let why = |phase, state, container| of(phase, status(state), container).unwrap_err();
        let ended = "cannot exec into a container in a completed pod; current phase is Succeeded";
        assert_eq!(why("Succeeded", json!({"running": {}}), "a"), (Code::FailedPrecondition, ended.to_owned()));
        assert_eq!(why("Running", json!({"running": {}}), "x"), (Code::InvalidArgument, "container x is not valid for pod p".to_owned()));
        let not_there = (Code::FailedPrecondition, "unable to upgrade connection: container not found (\"a\")".to_owned());
        assert_eq!(why("Pending", json!({"waiting": {}}), "a"), not_there);
        let choose = (Code::InvalidArgument, "a container name must be specified for pod p, choose one of: [a b]".to_owned());
        assert_eq!(why("Running", json!({"running": {}}), ""), choose);
        assert!(of("Running", json!([]), "b").is_err());
    }
}
