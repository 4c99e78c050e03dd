//! The rows of a timeline: events as they are told, and what changed in the objects (phases, conditions, back-offs, removals).

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::Pod;

use crate::api::{Key, Kind, Object};
use crate::controllers::pods;

/// One thing that happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Since the start.
    pub elapsed: SignedDuration,
    /// What the wall clock showed.
    pub time: Timestamp,
    /// The object it is about.
    pub about: Key,
    /// `Normal` or `Warning` (events), `Exit`, `Waiting`, `Phase`, `Condition`, `Deleted`, `Change`.
    pub kind: &'static str,
    /// CamelCase: the event's reason, the phase, the condition's type.
    pub reason: String,
    /// Kubernetes' words.
    pub message: String,
}

/// What of a change from `old` to `new` is worth a row: (kind, reason, message).
pub(super) fn differences(old: Option<&Object>, new: &Object) -> Vec<(&'static str, String, String)> {
    match new {
        Object::Pod(pod) => of_pod(old.and_then(Object::as_pod), pod),
        Object::Job(job) => {
            let before = old.and_then(Object::as_job).and_then(|j| j.status.as_ref()).and_then(|s| s.conditions.as_deref());
            let after = job.status.as_ref().and_then(|s| s.conditions.as_deref()).unwrap_or_default();
            let known = |kind: &str, status: &str| before.unwrap_or_default().iter().any(|c| c.type_ == kind && c.status == status);
            let news = after.iter().filter(|c| !known(&c.type_, &c.status));
            let shown = |reason: &Option<String>, message: &Option<String>| {
                format!("{}: {}", reason.as_deref().unwrap_or_default(), message.as_deref().unwrap_or_default())
            };
            news.map(|c| ("Condition", format!("{}={}", c.type_, c.status), shown(&c.reason, &c.message))).collect()
        }
        _ => Vec::new(),
    }
}

fn of_pod(old: Option<&Pod>, new: &Pod) -> Vec<(&'static str, String, String)> {
    let mut rows = Vec::new();
    for status in new.status.iter().flat_map(|s| s.init_container_statuses.iter().flatten().chain(s.container_statuses.iter().flatten())) {
        let waiting = |pod: &Pod| {
            let found = crate::pod::attempt::status_of(pod, &status.name).and_then(|s| s.state.as_ref()?.waiting.clone());
            found.filter(|w| matches!(w.reason.as_deref(), Some("CrashLoopBackOff" | "ErrImagePull" | "ImagePullBackOff")))
        };
        if let Some(now) = waiting(new).filter(|now| old.and_then(waiting).is_none_or(|before| before.reason != now.reason)) {
            rows.push(("Waiting", now.reason.unwrap_or_default(), now.message.unwrap_or_default()));
        }
    }
    let (before, after) = (old.map_or("Pending", pods::phase), pods::phase(new));
    if before != after {
        let message = new.status.as_ref().and_then(|s| s.message.clone()).unwrap_or_default();
        rows.push(("Phase", after.to_owned(), message));
    }
    rows
}

/// Whether an event tells nothing that another row does not.
pub(super) fn is_noise(reason: &str) -> bool {
    matches!(reason, "Scheduled" | "MissingClusterDNS")
}

/// A duration as Go prints it, to the millisecond: `1.5s`, `9m6s`, `2h0m0s`.
pub fn elapsed(duration: SignedDuration) -> String {
    let (whole, millis) = (duration.as_secs().max(0), duration.subsec_millis().max(0));
    let fraction = if millis == 0 { String::new() } else { format!(".{millis:03}").trim_end_matches('0').to_owned() };
    let seconds = format!("{}{fraction}s", whole % 60);
    match whole {
        0..60 => seconds,
        60..3600 => format!("{}m{seconds}", whole / 60),
        _ => format!("{}h{}m{seconds}", whole / 3600, whole % 3600 / 60),
    }
}

/// What is shown of an object's key: `job/pi`.
impl std::fmt::Display for Entry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let kind = if self.about.kind == Kind::StaticPod { "pod".to_owned() } else { self.about.kind.as_str().to_lowercase() };
        let (at, message) = (elapsed(self.elapsed), self.message.replace(['\t', '\n'], " "));
        write!(f, "{at}\t{}\t{}\t{kind}/{}\t{message}", self.kind, self.reason, self.about.name)
    }
}
