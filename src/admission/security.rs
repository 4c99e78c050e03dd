//! What a node refuses a pod for after it was bound to it, by the rights the pod asks for: the kubelet's admit handlers AppArmor and sysctl
//! (pkg/security/apparmor/validate.go, pkg/kubelet/sysctl/allowlist.go), user namespaces, and what it is told that the host goes without.

use k8s_openapi::api::core::v1::{Container, Pod};

use crate::api::user_namespace;
use crate::api::well_known::SAFE_SYSCTLS;
use crate::host::HostFacts;

/// The annotation that was AppArmor's field before Kubernetes 1.30; the container's name follows.
pub const APPARMOR_ANNOTATION: &str = "container.apparmor.security.beta.kubernetes.io/";

/// Why a pod that is bound here cannot run here: it ends as Failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rejection {
    /// `AppArmor`, `SysctlForbidden`, `UserNamespacesNotSupported`, `UnexpectedAdmissionError`.
    pub reason: &'static str,
    /// The kubelet's words.
    pub message: String,
}

/// The first thing that the host cannot give the pod, in the kubelet's order of admit handlers.
pub fn rejection(pod: &Pod, host: &HostFacts) -> Option<Rejection> {
    sysctl(pod).or_else(|| apparmor(pod, host)).or_else(|| user_namespace(pod, host))
}

/// The kubelet's words (pkg/kubelet/userns GetOrCreateUserNamespaceMappings); there the pod's sandbox fails for ever, here the pod does at once.
fn user_namespace(pod: &Pod, host: &HostFacts) -> Option<Rejection> {
    let why = host.user_namespaces.as_ref().err().filter(|_| user_namespace::wanted(pod))?;
    let message = format!("can't set `spec.hostUsers: false`, runtime does not support user namespaces: {why}");
    Some(Rejection { reason: "UserNamespacesNotSupported", message })
}

/// What the pod asks for that the runtime passes over on this host, as upstream; to be told.
pub fn passed_over(pod: &Pod, host: &HostFacts) -> Option<String> {
    let spec = pod.spec.as_ref()?;
    let pods = spec.security_context.as_ref().and_then(|c| c.se_linux_options.as_ref());
    let own = containers(pod).filter_map(|c| c.security_context.as_ref()?.se_linux_options.as_ref());
    let asked = own.chain(pods).any(|o| [&o.level, &o.role, &o.type_, &o.user].iter().any(|v| v.as_deref().is_some_and(|v| !v.is_empty())));
    let message = "seLinuxOptions are passed over: SELinux is not enabled on the host";
    (asked && !host.selinux).then(|| message.to_owned())
}

fn containers(pod: &Pod) -> impl Iterator<Item = &Container> {
    pod.spec.iter().flat_map(|s| s.init_containers.iter().flatten().chain(&s.containers))
}

fn apparmor(pod: &Pod, host: &HostFacts) -> Option<Rejection> {
    let refuses = |why: &str| Some(Rejection { reason: "AppArmor", message: format!("Cannot enforce AppArmor: {why}") });
    match containers(pod).any(|c| wants_profile(pod, c)) && !host.apparmor {
        true => refuses("AppArmor is not enabled on the host"),
        false => None,
    }
}

/// Whether a container is to be confined: by its own field, the pod's, or the annotation of old.
fn wants_profile(pod: &Pod, container: &Container) -> bool {
    let own = container.security_context.as_ref().and_then(|c| c.app_armor_profile.as_ref());
    let pods = || pod.spec.as_ref()?.security_context.as_ref()?.app_armor_profile.as_ref();
    match own.or_else(pods) {
        Some(profile) => profile.type_ != "Unconfined",
        None => {
            let annotation = pod.metadata.annotations.as_ref().and_then(|a| a.get(&format!("{APPARMOR_ANNOTATION}{}", container.name)));
            annotation.is_some_and(|profile| !profile.is_empty() && profile != "unconfined")
        }
    }
}

fn sysctl(pod: &Pod) -> Option<Rejection> {
    let spec = pod.spec.as_ref()?;
    let wanted = spec.security_context.as_ref()?.sysctls.as_ref()?;
    let why = wanted.iter().find_map(|sysctl| {
        let name = sysctl.name.replace('/', ".");
        match SAFE_SYSCTLS.contains(&name.as_str()) {
            false => Some(format!("{name:?} not allowlisted")),
            true if name.starts_with("net.") && spec.host_network == Some(true) => {
                Some(format!("{name:?} not allowed with host net enabled"))
            }
            true if name.starts_with("kernel.") && spec.host_ipc == Some(true) => {
                Some(format!("{name:?} not allowed with host ipc enabled"))
            }
            true => None,
        }
    })?;
    Some(Rejection { reason: "SysctlForbidden", message: format!("forbidden sysctl: {why}") })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn pod(annotations: Value, spec: Value) -> Pod {
        let mut full = json!({"containers": [{"name": "a"}, {"name": "b"}]});
        full.as_object_mut().unwrap().extend(spec.as_object().unwrap().clone());
        serde_json::from_value(json!({"metadata": {"annotations": annotations}, "spec": full})).unwrap()
    }

    fn host(apparmor: bool, selinux: bool) -> HostFacts {
        HostFacts { apparmor, selinux, ..HostFacts::for_tests() }
    }

    #[test]
    fn apparmor_is_not_asked_for_in_vain() {
        let context = |profile: Value| json!({"securityContext": {"appArmorProfile": profile}});
        let of_container =
            |profile: &str| json!({"containers": [{"name": "a", "securityContext": {"appArmorProfile": {"type": profile}}}]});
        let mut overridden = of_container("Unconfined");
        overridden["securityContext"] = json!({"appArmorProfile": {"type": "RuntimeDefault"}});
        let annotated = |name: &str, profile: &str| json!({format!("{APPARMOR_ANNOTATION}{name}"): profile});
        for (annotations, spec, refused) in [
            (json!({}), json!({}), false),
            (json!({}), context(json!({"type": "RuntimeDefault"})), true),
            (json!({}), context(json!({"type": "Localhost", "localhostProfile": "p"})), true),
            (json!({}), context(json!({"type": "Unconfined"})), false),
            (json!({}), of_container("RuntimeDefault"), true),
            (json!({}), overridden, false),
            (annotated("b", "runtime/default"), json!({}), true),
            (annotated("b", "unconfined"), json!({}), false),
            (annotated("nobody", "runtime/default"), json!({}), false),
            (annotated("b", "runtime/default"), context(json!({"type": "Unconfined"})), false),
            (annotated("i", "localhost/p"), json!({"initContainers": [{"name": "i"}]}), true),
        ] {
            let pod = pod(annotations, spec);
            let found = rejection(&pod, &host(false, false));
            let message = "Cannot enforce AppArmor: AppArmor is not enabled on the host".to_owned();
            assert_eq!(found, refused.then_some(Rejection { reason: "AppArmor", message }), "{pod:?}");
            assert_eq!(rejection(&pod, &host(true, false)), None);
        }
    }

    #[test]
    fn only_safe_sysctls_in_namespaces_of_the_pods_own() {
        for (name, more, said) in [
            ("net.ipv4.tcp_syncookies", json!({}), None),
            ("net/ipv4/tcp_syncookies", json!({}), None),
            ("kernel.msgmax", json!({}), Some("forbidden sysctl: \"kernel.msgmax\" not allowlisted")),
            ("vm.swappiness", json!({}), Some("forbidden sysctl: \"vm.swappiness\" not allowlisted")),
            (
                "net.ipv4.tcp_syncookies",
                json!({"hostNetwork": true}),
                Some("forbidden sysctl: \"net.ipv4.tcp_syncookies\" not allowed with host net enabled"),
            ),
            (
                "kernel.shm_rmid_forced",
                json!({"hostIPC": true}),
                Some("forbidden sysctl: \"kernel.shm_rmid_forced\" not allowed with host ipc enabled"),
            ),
        ] {
            let mut spec = json!({"securityContext": {"sysctls": [{"name": name, "value": "1"}]}});
            spec.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            let found = rejection(&pod(json!({}), spec), &host(false, false));
            assert_eq!(found, said.map(|m| Rejection { reason: "SysctlForbidden", message: m.to_owned() }), "{name}");
        }
    }

    #[test]
    fn a_user_namespace_is_given_or_the_pod_is_refused() {
        let able = host(false, false);
        let unable = HostFacts { user_namespaces: Err("runc has no idmapped mounts".to_owned()), ..able.clone() };
        let of = |host_users: Value| pod(json!({}), json!({"hostUsers": host_users}));
        let found = rejection(&of(json!(false)), &unable).unwrap();
        assert_eq!(found.reason, "UserNamespacesNotSupported");
        let words = "can't set `spec.hostUsers: false`, runtime does not support user namespaces: runc has no idmapped mounts";
        assert_eq!(found.message, words);
        assert_eq!(rejection(&of(json!(false)), &able), None);
        assert_eq!((rejection(&of(json!(true)), &unable), rejection(&of(json!(null)), &unable)), (None, None));
    }

    #[test]
    fn selinux_options_are_passed_over_aloud() {
        let asks = pod(json!({}), json!({"containers": [{"name": "a", "securityContext": {"seLinuxOptions": {"type": "spc_t"}}}]}));
        assert!(passed_over(&asks, &host(false, false)).unwrap().contains("SELinux is not enabled on the host"));
        assert_eq!(passed_over(&asks, &host(false, true)), None);
        assert_eq!(passed_over(&pod(json!({}), json!({"securityContext": {"seLinuxOptions": {}}})), &host(false, false)), None);
    }
}
