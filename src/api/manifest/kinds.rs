//! Which kinds and versions are read, and what is said of the others.

use crate::api::fault::Severity;
use crate::api::object::Kind;
use crate::api::suggest;

/// What a document's apiVersion and kind mean here.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Meaning {
    /// An object of ours, perhaps in an old version.
    Object(Kind, Option<&'static Old>),
    /// A list; the kind and version its items have if they name none.
    List(Option<Kind>),
    /// Passed over, with these words.
    Ignored(Severity, String),
    /// Refused: the field and the words.
    Refused(&'static str, String),
}

/// A version that Kubernetes had once.
#[derive(Debug, PartialEq)]
pub(super) struct Old {
    /// The apiVersion.
    pub version: &'static str,
    kind: Kind,
    deprecated: &'static str,
    removed: &'static str,
}

/// Old versions with the releases that deprecated and removed them (`zz_generated.prerelease-lifecycle.go` of each group).
const OLD: &[Old] = &[
    Old { version: "extensions/v1beta1", kind: Kind::DaemonSet, deprecated: "v1.8", removed: "v1.16" },
    Old { version: "apps/v1beta1", kind: Kind::DaemonSet, deprecated: "v1.9", removed: "v1.16" },
    Old { version: "apps/v1beta2", kind: Kind::DaemonSet, deprecated: "v1.9", removed: "v1.16" },
    Old { version: "batch/v1beta1", kind: Kind::CronJob, deprecated: "v1.21", removed: "v1.25" },
    Old { version: "batch/v2alpha1", kind: Kind::CronJob, deprecated: "v1.8", removed: "v1.21" },
];

/// The kinds read from files.
pub(super) const READ: &[Kind] =
    &[Kind::DaemonSet, Kind::Job, Kind::CronJob, Kind::StaticPod, Kind::ConfigMap, Kind::Secret, Kind::PersistentVolumeClaim, Kind::Node];

/// Kinds that run something in a cluster, and what to use in their place.
const WORKLOADS: &[(&str, &str)] = &[
    ("Deployment", "it is not run; on a node alone use a DaemonSet (one Pod on each node that matches) or a Pod"),
    ("StatefulSet", "it is not run; on a node alone use a DaemonSet or a Pod with a hostPath volume or a PersistentVolumeClaim"),
    ("ReplicaSet", "it is not run; on a node alone use a DaemonSet"),
    ("ReplicationController", "it is not run; on a node alone use a DaemonSet"),
    ("PodTemplate", "it is not run; on a node alone use a Pod"),
];

/// Kubernetes' words for an old version (`apiserver/pkg/endpoints/deprecation`).
impl Old {
    pub fn warning(&self) -> String {
        let kind = self.kind.shown();
        let (deprecated, removed, now) = (self.deprecated, self.removed, self.kind.api_version());
        format!("{} {kind} is deprecated in {deprecated}+, unavailable in {removed}+; use {now} {kind}", self.version)
    }
}

/// What `api_version` and `kind` mean.
pub(super) fn meaning(api_version: &str, kind: &str) -> Meaning {
    if let Some(item) = kind.strip_suffix("List") {
        let item_kind = READ.iter().copied().find(|k| k.shown() == item);
        if (item.is_empty() && api_version == "v1") || item_kind.is_some_and(|k| serves(k, api_version)) {
            return Meaning::List(item_kind);
        }
    }
    if let Some(ours) = READ.iter().copied().find(|k| k.shown() == kind) {
        return of_ours(ours, api_version);
    }
    if in_core_group(api_version) {
        if let Some((_, advice)) = WORKLOADS.iter().find(|(name, _)| *name == kind) {
            return Meaning::Ignored(Severity::Warning, format!("ignored: kind {kind}: {advice}"));
        }
        let shown = READ.iter().map(|k| k.shown());
        if let Some(near) = suggest::nearest(kind, shown).filter(|n| close(kind, n)) {
            return Meaning::Refused("kind", format!("no matches for kind {kind:?} in version {api_version:?}: did you mean {near:?}?"));
        }
    }
    Meaning::Ignored(Severity::Info, format!("ignored: kind {kind} means nothing on a node alone"))
}

fn of_ours(kind: Kind, api_version: &str) -> Meaning {
    if api_version == kind.api_version() {
        return Meaning::Object(kind, None);
    }
    if let Some(old) = OLD.iter().find(|o| o.kind == kind && o.version == api_version) {
        return Meaning::Object(kind, Some(old));
    }
    let (shown, right) = (kind.shown(), kind.api_version());
    match api_version {
        "" => Meaning::Refused("apiVersion", format!("Required value: apiVersion not set: did you mean {right:?}?")),
        other if in_core_group(other) => {
            Meaning::Refused("apiVersion", format!("no matches for kind {shown:?} in version {other:?}: did you mean {right:?}?"))
        }
        other => Meaning::Ignored(Severity::Info, format!("ignored: kind {shown} of {other} means nothing on a node alone")),
    }
}

fn serves(kind: Kind, api_version: &str) -> bool {
    kind.api_version() == api_version || OLD.iter().any(|o| o.kind == kind && o.version == api_version)
}

/// Whether the group is one that kinds of ours, or their misspellings, may stand in: Kubernetes' own without a domain.
fn in_core_group(api_version: &str) -> bool {
    match api_version.split_once('/') {
        Some((group, _)) => !group.contains('.'),
        None => true,
    }
}

/// Near in letters and in length: `Daemonset`, `CronJobs`, not another word.
fn close(written: &str, near: &str) -> bool {
    let same = |a: &str, b: &str| a.eq_ignore_ascii_case(b);
    same(written, near) || (near.len() >= 6 && written.len().abs_diff(near.len()) <= 1) || same(written.trim_end_matches('s'), near)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_are_read_refused_or_passed_over() {
        assert_eq!(meaning("apps/v1", "DaemonSet"), Meaning::Object(Kind::DaemonSet, None));
        assert_eq!(meaning("v1", "Pod"), Meaning::Object(Kind::StaticPod, None));
        assert_eq!(meaning("v1", "List"), Meaning::List(None));
        assert_eq!(meaning("batch/v1", "JobList"), Meaning::List(Some(Kind::Job)));
        assert!(matches!(meaning("batch/v1beta1", "CronJob"), Meaning::Object(Kind::CronJob, Some(_))));
        for (version, kind, part) in [
            ("apps/v1", "Job", "did you mean \"batch/v1\"?"),
            ("", "Job", "apiVersion not set"),
            ("apps/v1", "Daemonset", "did you mean \"DaemonSet\"?"),
            ("batch/v1", "Cronjobs", "did you mean \"CronJob\"?"),
            ("v1", "pod", "did you mean \"Pod\"?"),
        ] {
            assert!(matches!(meaning(version, kind), Meaning::Refused(_, m) if m.contains(part)), "{version} {kind}");
        }
        let others = [("v1", "Service"), ("stable.example.com/v1", "CronTab"), ("batch.volcano.sh/v1", "Job"), ("v1", "Endpoints")];
        for (version, kind) in others.into_iter().chain([("v1", "ServiceList"), ("v1", "Event"), ("apps/v1", "ControllerRevision")]) {
            assert!(matches!(meaning(version, kind), Meaning::Ignored(Severity::Info, _)), "{version} {kind}");
        }
        assert!(matches!(meaning("apps/v1", "Deployment"), Meaning::Ignored(Severity::Warning, _)));
    }
}
