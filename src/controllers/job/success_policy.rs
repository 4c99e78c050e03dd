//! Whether the indexes that have succeeded are enough: the first matching rule of successPolicy (pkg/controller/job/success_policy.go).

use k8s_openapi::api::batch::v1::{SuccessPolicy, SuccessPolicyRule};

use super::indexes::Intervals;

/// The message of the first rule that `succeeded` fulfils.
pub(super) fn fulfilled(policy: &SuccessPolicy, succeeded: &Intervals) -> Option<String> {
    if succeeded.total() == 0 {
        return None;
    }
    let index = policy.rules.iter().position(|rule| holds(rule, succeeded))?;
    Some(format!("Matched rules at index {index}"))
}

/// All of succeededIndexes, or succeededCount of them; without succeededIndexes, succeededCount of any.
fn holds(rule: &SuccessPolicyRule, succeeded: &Intervals) -> bool {
    let enough = |there: i32| rule.succeeded_count.is_some_and(|count| there >= count);
    let Some(text) = &rule.succeeded_indexes else { return enough(succeeded.total()) };
    let wanted = Intervals::parse(text);
    let there = wanted.overlap(succeeded);
    wanted.total() > 0 && (there == wanted.total() || enough(there))
}
