//! May a container that ended run again: its own rules by exit code, its own policy, the Pod's (pkg/api/v1/pod/util.go, ContainerShouldRestart).

use k8s_openapi::api::core::v1::{Container, Pod};

use super::attempt::Role;

/// Whether a container that ended with `exit_code` is to run again. An init container that succeeded is done under every policy.
pub fn should_restart(pod: &Pod, role: Role, container: &Container, exit_code: i32) -> bool {
    if role == Role::Init && exit_code == 0 {
        return false;
    }
    if rule_for(container, exit_code).is_some() {
        return true;
    }
    let of_pod = pod.spec.as_ref().and_then(|s| s.restart_policy.as_deref());
    match container.restart_policy.as_deref().or(of_pod) {
        Some("Never") => false,
        Some("OnFailure") => exit_code != 0,
        _ => true,
    }
}

/// Whether a container may run again after some failure: for what its events promise (IsContainerRestartable).
pub fn may_restart(pod: &Pod, container: &Container) -> bool {
    let of_pod = pod.spec.as_ref().and_then(|s| s.restart_policy.as_deref());
    let ruled = container.restart_policy_rules.as_ref().is_some_and(|rules| !rules.is_empty());
    ruled || container.restart_policy.as_deref().or(of_pod) != Some("Never")
}

/// The action that restarts all containers of the Pod, [`super::restart_all`].
pub(super) const ALL: &str = "RestartAllContainers";

/// What the container's restartPolicyRules say of this code; the first that matches decides (FindMatchingContainerRestartRule).
pub(super) fn rule_for(container: &Container, exit_code: i32) -> Option<&str> {
    let matches = |rule: &&k8s_openapi::api::core::v1::ContainerRestartRule| {
        rule.exit_codes.as_ref().is_some_and(|codes| {
            let listed = codes.values.iter().flatten().any(|v| *v == exit_code);
            match codes.operator.as_str() {
                "In" => listed,
                "NotIn" => !listed,
                _ => false,
            }
        })
    };
    container.restart_policy_rules.iter().flatten().find(matches).map(|rule| rule.action.as_str())
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::{ContainerRestartRule, ContainerRestartRuleOnExitCodes, PodSpec};

    use super::*;

    fn pod(policy: &str) -> Pod {
        Pod { spec: Some(PodSpec { restart_policy: Some(policy.into()), ..PodSpec::default() }), ..Pod::default() }
    }

    #[test]
    fn the_three_policies_by_exit_code() {
        let c = Container::default();
        for (policy, code, want) in [
            ("Always", 0, true),
            ("Always", 1, true),
            ("OnFailure", 0, false),
            ("OnFailure", 1, true),
            ("Never", 0, false),
            ("Never", 1, false),
        ] {
            assert_eq!(should_restart(&pod(policy), Role::Main, &c, code), want, "{policy} {code}");
        }
        assert!(!should_restart(&pod("Always"), Role::Init, &c, 0), "an init container that succeeded is done");
        assert!(should_restart(&pod("Always"), Role::Init, &c, 1));
    }

    #[test]
    fn the_containers_rules_come_before_its_policy_and_that_before_the_pods() {
        let mut c = Container { restart_policy: Some("Never".into()), ..Container::default() };
        assert!(!should_restart(&pod("Always"), Role::Main, &c, 42));
        c.restart_policy_rules = Some(vec![ContainerRestartRule {
            action: "Restart".into(),
            exit_codes: Some(ContainerRestartRuleOnExitCodes { operator: "In".into(), values: Some(vec![42]) }),
        }]);
        assert!(should_restart(&pod("Never"), Role::Main, &c, 42));
        assert!(!should_restart(&pod("Always"), Role::Main, &c, 43));
    }
}
