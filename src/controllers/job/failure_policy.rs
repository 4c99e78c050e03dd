//! What a pod's failure means to its Job: the first matching rule of podFailurePolicy (pkg/controller/job/pod_failure_policy.go).
//!
//! Ours: a pod that the host's shutdown ended is no failure, unless a rule names the condition that says so: exit codes of such a pod say nothing
//! about the program.

use k8s_openapi::api::batch::v1::{PodFailurePolicy, PodFailurePolicyOnExitCodesRequirement, PodFailurePolicyRule};
use k8s_openapi::api::core::v1::{ContainerStateTerminated, ContainerStatus, Pod};

use crate::controllers::pods;

/// What to do about one failed pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// It counts towards the limits, as without a policy.
    Counted,
    /// It is replaced and counts towards no limit; the back-off still grows.
    Ignored,
    /// It counts, and its index has failed for good.
    IndexFailed,
    /// It counts, and the whole Job fails with this message.
    JobFailed(String),
    /// The host ended it: replaced at once, counted nowhere.
    Excused,
}

impl Outcome {
    /// Whether the pod counts as failed in the Job's status and towards its limits.
    pub(super) fn counts(&self) -> bool {
        !matches!(self, Outcome::Ignored | Outcome::Excused)
    }
}

/// The outcome of `pod`, which has failed. A rule with an action that is not known is passed over.
pub(super) fn judge(policy: Option<&PodFailurePolicy>, pod: &Pod) -> Outcome {
    let rules = policy.map(|p| p.rules.as_slice()).unwrap_or_default();
    let decided = rules.iter().enumerate().find_map(|(index, rule)| {
        let cause = cause(rule, pod)?;
        match rule.action.as_str() {
            "Ignore" => Some(Outcome::Ignored),
            "Count" => Some(Outcome::Counted),
            "FailIndex" => Some(Outcome::IndexFailed),
            "FailJob" => Some(Outcome::JobFailed(format!("{cause} matching FailJob rule at index {index}"))),
            _ => None,
        }
    });
    decided.unwrap_or(if ended_by_host(pod) { Outcome::Excused } else { Outcome::Counted })
}

fn ended_by_host(pod: &Pod) -> bool {
    pods::phase(pod) == "Failed" && pods::interrupted(pod)
}

/// In words, what of the pod the rule matches.
fn cause(rule: &PodFailurePolicyRule, pod: &Pod) -> Option<String> {
    let name = || format!("{}/{}", pod.metadata.namespace.as_deref().unwrap_or_default(), pod.metadata.name.as_deref().unwrap_or_default());
    if let Some(codes) = &rule.on_exit_codes {
        let (container, end) = exit(pod, codes).filter(|_| !ended_by_host(pod))?;
        return Some(format!("Container {} for pod {} failed with exit code {}", container.name, name(), end.exit_code));
    }
    let conditions = pod.status.as_ref()?.conditions.as_deref().unwrap_or_default();
    let patterns = rule.on_pod_conditions.as_deref().unwrap_or_default();
    let wanted = |status: Option<&str>| status.filter(|s| !s.is_empty()).unwrap_or("True").to_owned();
    let found = conditions.iter().find(|c| patterns.iter().any(|p| p.type_ == c.type_ && wanted(p.status.as_deref()) == c.status))?;
    Some(format!("Pod {} has condition {}", name(), found.type_))
}

/// The first container that ended with a matching code; main containers before init containers. Code 0 never matches.
fn exit<'p>(pod: &'p Pod, codes: &PodFailurePolicyOnExitCodesRequirement) -> Option<(&'p ContainerStatus, &'p ContainerStateTerminated)> {
    let status = pod.status.as_ref()?;
    let all = status.container_statuses.iter().flatten().chain(status.init_container_statuses.iter().flatten());
    let ended = all.filter_map(|c| Some((c, c.state.as_ref()?.terminated.as_ref()?)));
    let meant = |name: &str| codes.container_name.as_deref().is_none_or(|wanted| wanted == name);
    let matches = |code: i32| match codes.operator.as_str() {
        "In" => codes.values.contains(&code),
        "NotIn" => !codes.values.contains(&code),
        _ => false,
    };
    ended.into_iter().find(|(container, end)| meant(&container.name) && end.exit_code != 0 && matches(end.exit_code))
}
