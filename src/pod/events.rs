//! The kubelet's events, in its words (pkg/kubelet/events/event.go, kuberuntime_container.go, images/image_manager.go of v1.36).
//!
//! What is about one of the Pod's containers says so ([`of_container`]): the words alone are the same for all of them.

use k8s_openapi::api::core::v1::Pod;

use super::attempt::{Role, containers, format_pod};
use crate::api::{Key, Kind};
use crate::controllers::EventDraft;

/// An event about the Pod.
pub fn draft(pod: &Pod, warning: bool, reason: &str, message: String) -> EventDraft {
    let meta = &pod.metadata;
    let about = Key::new(Kind::Pod, meta.namespace.clone().unwrap_or_default(), meta.name.clone().unwrap_or_default());
    EventDraft::new("kubelet", about, meta.uid.clone().unwrap_or_default(), warning, reason, message)
}

/// An event about the Pod's container of this name, as long as it has one (pkg/kubelet/container/ref.go GenerateContainerRef).
pub fn of_container(pod: &Pod, name: &str, warning: bool, reason: &str, message: String) -> EventDraft {
    let field = containers(pod).find(|(_, c)| c.name == name).map(|(role, _)| match role {
        Role::Main => "containers",
        Role::Init | Role::Sidecar => "initContainers",
    });
    EventDraft { field_path: field.map(|field| format!("spec.{field}{{{name}}}")), ..draft(pod, warning, reason, message) }
}

/// An event about the image that the container of this name asks for; where it is one that is mounted as a volume, about the Pod
/// (kubelet_volumes.go asks for those without a container).
pub fn of_image(pod: &Pod, name: &str, image: &str, warning: bool, reason: &str, message: String) -> EventDraft {
    match containers(pod).any(|(_, c)| c.name == name && c.image.as_deref() == Some(image)) {
        true => of_container(pod, name, warning, reason, message),
        false => draft(pod, warning, reason, message),
    }
}

/// A pull has begun.
pub fn pulling(pod: &Pod, name: &str, image: &str) -> EventDraft {
    of_image(pod, name, image, false, "Pulling", format!("Pulling image {image:?}"))
}

/// How far a pull is (ours).
pub fn progress_words(image: &str, done: u64, total: u64) -> String {
    let percent = done.saturating_mul(100).checked_div(total).unwrap_or_default();
    let tenths = |bytes: u64| (bytes / 1024).saturating_mul(10) / 1024;
    let mebibytes = |bytes: u64| format!("{}.{}", tenths(bytes) / 10, tenths(bytes) % 10);
    format!("Pulling image {image:?}: {percent}%, {} of {} MiB", mebibytes(done), mebibytes(total))
}

/// Pull secrets that are not there (pkg/kubelet/kubelet.go getPullSecretsForPod).
pub fn missing_pull_secrets(pod: &Pod, names: &[String]) -> EventDraft {
    let names = names.join(", ");
    let message = format!("Unable to retrieve some image pull secrets ({names}); attempting to pull the image may not succeed.");
    draft(pod, true, "FailedToRetrieveImagePullSecret", message)
}

/// The image was pulled, in so many milliseconds.
pub fn pulled(pod: &Pod, name: &str, image: &str, millis: u128, size: u64) -> EventDraft {
    let took = if millis < 1000 { format!("{millis}ms") } else { format!("{}.{:03}s", millis / 1000, millis % 1000) };
    let message = format!("Successfully pulled image {image:?} in {took} ({took} including waiting). Image size: {size} bytes.");
    of_image(pod, name, image, false, "Pulled", message)
}

/// The image was there.
pub fn present(pod: &Pod, name: &str, image: &str) -> EventDraft {
    let message = format!("Container image {image:?} already present on machine and can be accessed by the pod");
    of_image(pod, name, image, false, "Pulled", message)
}

/// A container was created.
pub fn created(pod: &Pod, name: &str) -> EventDraft {
    of_container(pod, name, false, "Created", "Container created".to_owned())
}

/// A container was started.
pub fn started(pod: &Pod, name: &str) -> EventDraft {
    of_container(pod, name, false, "Started", "Container started".to_owned())
}

/// A container is being ended.
pub fn killing(pod: &Pod, name: &str, message: String) -> EventDraft {
    of_container(pod, name, false, "Killing", message)
}

/// A probe has failed (pkg/kubelet/prober/prober.go).
pub fn unhealthy(pod: &Pod, name: &str, probe: &str, output: &str) -> EventDraft {
    of_container(pod, name, true, "Unhealthy", format!("{probe} probe failed: {output}"))
}

/// A probe could not be run.
pub fn probe_errored(pod: &Pod, name: &str, probe: &str, error: &str) -> EventDraft {
    of_container(pod, name, true, "Unhealthy", format!("{probe} probe errored and resulted in unknown state: {error}"))
}

/// A probe passed, but not quite.
pub fn probe_warning(pod: &Pod, name: &str, probe: &str, output: &str) -> EventDraft {
    of_container(pod, name, true, "ProbeWarning", format!("{probe} probe warning: {output}"))
}

/// A postStart hook failed; its words stay out, they may hold secrets.
pub fn failed_post_start(pod: &Pod, name: &str) -> EventDraft {
    of_container(pod, name, true, "FailedPostStartHook", "PostStartHook failed".to_owned())
}

/// A preStop hook failed.
pub fn failed_pre_stop(pod: &Pod, name: &str) -> EventDraft {
    of_container(pod, name, true, "FailedPreStopHook", "PreStopHook failed".to_owned())
}

/// A hook with scheme HTTPS was answered in HTTP (pkg/kubelet/lifecycle/handlers.go).
pub fn hook_fell_back(pod: &Pod, host: &str) -> EventDraft {
    let message = format!("request to HTTPS lifecycle hook {host} got HTTP response, retry with HTTP succeeded");
    draft(pod, true, "LifecycleHTTPFallback", message)
}

/// A container waits before it is restarted.
pub fn back_off(pod: &Pod, container: &str) -> EventDraft {
    let message = format!("Back-off restarting failed container {container} in pod {}", format_pod(pod));
    of_container(pod, container, true, "BackOff", message)
}

/// A pull waits before it is tried again.
pub fn back_off_pulling(pod: &Pod, name: &str, image: &str) -> EventDraft {
    of_image(pod, name, image, false, "BackOff", format!("Back-off pulling image {image:?}"))
}

/// A container could not be had, made or started.
pub fn failed(pod: &Pod, name: &str, message: &str) -> EventDraft {
    of_container(pod, name, true, "Failed", format!("Error: {message}"))
}

/// A Pod seen for the first time that counts on a cluster's DNS, which there is none of (pkg/kubelet/network/dns/dns.go).
pub fn missing_cluster_dns(pod: &Pod) -> Option<EventDraft> {
    let spec = pod.spec.as_ref()?;
    let policy = spec.dns_policy.as_deref().unwrap_or("ClusterFirst");
    let counts_on_it = policy == "ClusterFirstWithHostNet" || (policy == "ClusterFirst" && spec.host_network != Some(true));
    let first_time = pod.status.as_ref().is_none_or(|s| s.start_time.is_none());
    let message = format!(
        "pod: {:?}. kubelet does not have ClusterDNS IP configured and cannot create Pod using {policy:?} policy. Falling back to \"Default\" policy.",
        format_pod(pod)
    );
    (counts_on_it && first_time).then(|| draft(pod, true, "MissingClusterDNS", message))
}

/// The network of a running Pod is not as it was made (kuberuntime_manager.go has this reason for a sandbox that cannot be looked at).
pub fn sandbox_unwell(pod: &Pod, error: &str) -> EventDraft {
    draft(pod, true, "FailedPodSandBoxStatus", format!("Unable to get pod sandbox status: {error}"))
}

/// What the Pod held cannot be given back (pkg/kubelet/kubelet.go SyncTerminatingPod, container/sync_result.go).
pub fn failed_kill(pod: &Pod, error: &str) -> EventDraft {
    let uid = pod.metadata.uid.as_deref().unwrap_or_default();
    let message = format!("error killing pod: failed to \"KillPodSandbox\" for {uid:?} with KillPodSandboxError: {error:?}");
    draft(pod, true, "FailedKillPod", message)
}

/// The host was rebooted: the namespaces are made anew.
pub fn sandbox_changed(pod: &Pod) -> EventDraft {
    draft(pod, false, "SandboxChanged", "Pod sandbox changed, it will be killed and re-created.".to_owned())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_is_about_a_container_says_which() {
        let container = |name: &str| json!({"name": name, "image": format!("{name}:1")});
        let side = json!({"name": "side", "image": "side:1", "restartPolicy": "Always"});
        let spec = json!({"initContainers": [container("init"), side], "containers": [container("a"), container("b")]});
        let pod: Pod = serde_json::from_value(json!({"metadata": {"name": "p", "namespace": "d"}, "spec": spec})).unwrap();
        let path = |event: EventDraft| event.field_path.unwrap_or_default();
        assert_eq!(path(created(&pod, "a")), "spec.containers{a}");
        assert_eq!(path(killing(&pod, "init", String::new())), "spec.initContainers{init}");
        assert_eq!(path(unhealthy(&pod, "side", "Liveness", "")), "spec.initContainers{side}");
        assert_eq!(path(started(&pod, "gone")), "");
        assert_eq!(path(pulling(&pod, "b", "b:1")), "spec.containers{b}");
        assert_eq!(path(pulling(&pod, "b", "mounted:1")), "", "an image that is a volume is the pod's");
        assert_eq!(path(sandbox_changed(&pod)), "");
    }
}
