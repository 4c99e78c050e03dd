//! What pods go without on this host, said once at start: a sentence each, none where nothing is missing. Pure.

use super::{CgroupVersion, HostFacts, capabilities};

/// The sentences about the host, then `network`'s own (`CniNetwork::describe`).
pub fn describe(facts: &HostFacts, network: &[String]) -> Vec<String> {
    let mut said = Vec::new();
    if !facts.sys_resource {
        said.push(format!(
            "no CAP_SYS_RESOURCE: no container gets an oom_score_adj below {} (Guaranteed and critical pods are killed for memory like others) or a raised rlimit",
            facts.min_oom_score_adj
        ));
    }
    for (controller, lost) in [
        ("cpu", "cpu requests and limits have no effect"),
        ("memory", "memory limits have no effect and OOM kills are not told apart"),
        ("pids", "process limits have no effect"),
        ("cpuset", "containers cannot be bound to CPUs"),
        ("hugetlb", "hugepages limits have no effect"),
    ] {
        if !facts.controllers.iter().any(|c| c == controller) {
            said.push(format!("no {controller} cgroup controller: {lost}"));
        }
    }
    if facts.cgroup_version == CgroupVersion::V1 {
        said.push(
            "cgroup v1: the kernel kills one process of a container that is out of memory, not all of them (memory.oom.group is v2's)"
                .into(),
        );
    }
    if !facts.seccomp {
        said.push("no seccomp in this kernel: pods that ask for a seccomp profile are refused".into());
    }
    if !facts.apparmor {
        said.push("AppArmor is off: pods that ask for a profile are refused, others run without".into());
    }
    if let Err(why) = &facts.user_namespaces {
        said.push(format!("no user namespaces: pods with hostUsers: false are rejected: {why}"));
    }
    let lacking: Vec<_> = capabilities::lacking(&facts.capabilities);
    if !lacking.is_empty() {
        said.push(format!("containers cannot be given {}, privileged ones neither", lacking.join(", ")));
    }
    said.extend(network.iter().cloned());
    said
}

#[cfg(test)]
mod tests {
    use super::*;

    fn complete() -> HostFacts {
        HostFacts {
            cgroup_version: CgroupVersion::V2,
            controllers: ["cpu", "cpuset", "hugetlb", "memory", "pids"].map(String::from).to_vec(),
            min_oom_score_adj: -1000,
            sys_resource: true,
            capabilities: capabilities::names(u64::MAX),
            apparmor: true,
            ..HostFacts::for_tests()
        }
    }

    #[test]
    fn a_complete_host_has_nothing_to_say() {
        assert_eq!(describe(&complete(), &[]), Vec::<String>::new());
    }

    #[test]
    fn what_is_missing_is_named_once() {
        let mut facts = complete();
        facts.sys_resource = false;
        facts.min_oom_score_adj = 0;
        facts.user_namespaces = Err("runc has no idmapped mounts".to_owned());
        facts.controllers.retain(|c| c != "pids");
        facts.capabilities = capabilities::names(0x1ff_feff_ffff);
        let said = describe(&facts, &["no bridge".to_owned()]);
        assert_eq!(said.len(), 5);
        assert!(said[0].contains("oom_score_adj below 0"), "{said:?}");
        assert_eq!(said[1], "no pids cgroup controller: process limits have no effect");
        assert_eq!(said[2], "no user namespaces: pods with hostUsers: false are rejected: runc has no idmapped mounts");
        assert_eq!(said[3], "containers cannot be given CAP_SYS_RESOURCE, privileged ones neither");
        assert_eq!(said[4], "no bridge");
    }
}
