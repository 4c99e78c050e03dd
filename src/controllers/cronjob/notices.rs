//! What was said already, so that it is said once: an annotation with the subject (a slot, or the spec's generation) and the reasons given for it.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use crate::controllers::pods;

/// Annotation on a CronJob: `<subject> <reason>…`.
const ANNOTATION: &str = "minik8s.io/cronjob-notices";

/// The subject "the spec as it is now".
pub(super) fn of_spec(meta: &ObjectMeta) -> String {
    format!("generation-{}", meta.generation.unwrap_or(0))
}

/// Whether `reason` is given for `subject` for the first time; remembers it.
pub(super) fn first(meta: &mut ObjectMeta, subject: &str, reason: &str) -> bool {
    let said = pods::annotation(meta, ANNOTATION).unwrap_or_default().to_owned();
    let mut words = said.split(' ');
    let same_subject = words.next() == Some(subject);
    if same_subject && words.any(|w| w == reason) {
        return false;
    }
    let text = if same_subject { format!("{said} {reason}") } else { format!("{subject} {reason}") };
    pods::annotate(meta, ANNOTATION, Some(text))
}
