//! Which namespaces the container joins, makes or shares with the host.
//!
//! No pause container: network, UTS, IPC and, with `hostUsers: false`, the user namespace that owns them are joined by the paths of the pod's
//! sandbox; the PID namespace is the container's own, unless the pod shares its processes.

use oci_spec::runtime::{LinuxIdMapping, LinuxIdMappingBuilder, LinuxNamespace, LinuxNamespaceBuilder, LinuxNamespaceType as Type};

use super::Inputs;
use crate::api::user_namespace::IdRange;
use crate::host::CgroupVersion;
use crate::network::{Namespace, Sandbox};
use crate::pod::attempt::{hostname, kernel_hostname};

/// linux.namespaces: what is not listed is the host's.
pub(super) fn namespaces(inputs: &Inputs) -> Vec<LinuxNamespace> {
    let mut out = vec![own(Type::Mount)];
    let sandbox = inputs.sandbox;
    if !inputs.spec().and_then(|s| s.host_pid).unwrap_or(false) {
        let mut pid = own(Type::Pid);
        pid.set_path(sandbox.pid.clone());
        out.push(pid);
    }
    for (kind, namespace) in [(Type::Network, &sandbox.network), (Type::Ipc, &sandbox.ipc), (Type::Uts, &sandbox.uts)] {
        if let Namespace::Pinned(path) = namespace {
            let mut joined = own(kind);
            joined.set_path(Some(path.clone()));
            out.push(joined);
        }
    }
    if let Some(users) = &sandbox.user {
        let mut joined = own(Type::User);
        joined.set_path(Some(users.path.clone()));
        out.push(joined);
    }
    // On v1 a cgroup namespace would only hide what the read-only mount shows anyway, and CRI makes none.
    if inputs.host.cgroup_version == CgroupVersion::V2 {
        out.push(own(Type::Cgroup));
    }
    out
}

/// The ids of the pod's user namespace, for users and groups alike; none where it is the host's.
pub(super) fn id_mappings(sandbox: &Sandbox) -> Option<Vec<LinuxIdMapping>> {
    let ids = sandbox.user.as_ref()?.ids;
    let mapping = LinuxIdMappingBuilder::default().container_id(0_u32).host_id(ids.first()).size(IdRange::LENGTH).build();
    Some(vec![mapping.expect("every field of a mapping is given")])
}

/// A new namespace.
fn own(kind: Type) -> LinuxNamespace {
    LinuxNamespaceBuilder::default().typ(kind).build().expect("every field of a namespace has a default")
}

/// The hostname: only where the UTS namespace is the pod's.
pub(super) fn own_hostname(inputs: &Inputs) -> Option<String> {
    match inputs.sandbox.uts {
        Namespace::Host => None,
        // A full name that is too long is refused with the pod's namespaces, before any container is made.
        Namespace::Pinned(_) => Some(kernel_hostname(inputs.pod).unwrap_or_else(|_| hostname(inputs.pod))),
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::Case;
    use super::*;

    fn names(case: &Case) -> Vec<String> {
        let shown = |n: &LinuxNamespace| match n.path() {
            Some(path) => format!("{}={}", n.typ(), path.display()),
            None => n.typ().to_string(),
        };
        namespaces(&case.inputs()).iter().map(shown).collect()
    }

    #[test]
    fn own_joined_and_the_hosts() {
        let joined = ["net=/run/ns/net", "ipc=/run/ns/ipc", "uts=/run/ns/uts"];
        assert_eq!(names(&Case::new("{}")), [&["mnt", "pid"][..], &joined].concat());
        assert_eq!(names(&Case::new("{}").pod("{hostPID: true}")), [&["mnt"][..], &joined].concat());
        assert_eq!(names(&Case::new("{}").host_network()), ["mnt", "pid", "ipc=/run/ns/ipc"]);
        let mut shared = Case::new("{}");
        shared.sandbox.pid = Some("/run/ns/pid".into());
        assert_eq!(names(&shared), [&["mnt", "pid=/run/ns/pid"][..], &joined].concat());
        let own_users = [&["mnt", "pid"][..], &joined, &["user=/run/ns/user"]].concat();
        assert_eq!(names(&Case::new("{}").own_users()), own_users);
        let mut v2 = Case::new("{}");
        v2.host.cgroup_version = CgroupVersion::V2;
        assert_eq!(names(&v2), [&["mnt", "pid"][..], &joined, &["cgroup"]].concat());
    }

    #[test]
    fn hostname_is_the_specs_or_the_name_cut_to_63() {
        let hostname = |pod: &str| Case::new("{}").pod(pod).build().hostname().clone();
        assert_eq!(hostname("{}").as_deref(), Some("web"));
        assert_eq!(hostname("{hostname: db}").as_deref(), Some("db"));
        let mut long = Case::new("{}");
        long.pod.metadata.name = Some(format!("{}-{}", "x".repeat(62), "y".repeat(40)));
        assert_eq!(long.build().hostname().as_deref(), Some("x".repeat(62).as_str()));
    }
}
