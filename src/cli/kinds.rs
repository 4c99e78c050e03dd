//! Resource names as kubectl takes and prints them: `pods`, `po`, `job.batch/pi`.

use crate::api::Kind;

/// What a resource may be called, without the plural of [`Kind::plural`].
const NAMES: &[(Kind, &[&str])] = &[
    (Kind::Pod, &["pod", "po"]),
    (Kind::DaemonSet, &["daemonset", "ds"]),
    (Kind::CronJob, &["cronjob", "cj"]),
    (Kind::Job, &["job"]),
    (Kind::Node, &["node", "no"]),
    (Kind::Event, &["event", "ev"]),
    (Kind::ConfigMap, &["configmap", "cm"]),
    (Kind::Secret, &["secret"]),
    (Kind::PersistentVolumeClaim, &["persistentvolumeclaim", "pvc"]),
    (Kind::ControllerRevision, &["controllerrevision"]),
];

/// What `all` stands for, in kubectl's order.
const ALL: &[Kind] = &[Kind::Pod, Kind::DaemonSet, Kind::CronJob, Kind::Job];

/// The kind called `name`, in any case and with or without its group. Errors: kubectl's words.
pub fn parse(name: &str) -> Result<Kind, String> {
    let lower = name.to_lowercase();
    let (resource, group) = lower.split_once('.').map_or((lower.as_str(), None), |(resource, group)| (resource, Some(group)));
    let called = |(kind, names): &&(Kind, &[&str])| kind.plural() == resource || names.contains(&resource);
    let found = NAMES.iter().find(called).map(|(kind, _)| *kind);
    let in_group =
        |kind: &Kind| group.is_none_or(|g| g == self::group(*kind) || g.strip_suffix(self::group(*kind)).is_some_and(|v| v.ends_with('.')));
    found.filter(in_group).ok_or_else(|| format!("the server doesn't have a resource type \"{name}\""))
}

fn group(kind: Kind) -> &'static str {
    kind.api_version().split_once('/').map_or("", |(group, _)| group)
}

/// The kinds a comma list names; `all` among them.
pub fn parse_list(text: &str) -> Result<Vec<Kind>, String> {
    let mut kinds = Vec::new();
    for name in text.split(',').filter(|name| !name.is_empty()) {
        let named = if name == "all" { ALL.to_vec() } else { vec![parse(name)?] };
        kinds.extend(named.into_iter().filter(|kind| !kinds.contains(kind)).collect::<Vec<_>>());
    }
    Ok(kinds)
}

/// `pod/web`, `job.batch/pi`: as `-o name` and the messages of apply and delete print it.
pub fn slashed(kind: Kind, name: &str) -> String {
    let singular = kind.shown().to_lowercase();
    match group(kind) {
        "" => format!("{singular}/{name}"),
        group => format!("{singular}.{group}/{name}"),
    }
}

/// `pod "web"`, `job.batch "pi"`: as delete prints it.
pub fn quoted(kind: Kind, name: &str) -> String {
    slashed(kind, "").trim_end_matches('/').to_owned() + &format!(" \"{name}\"")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_short_names_groups_and_case() {
        for (name, kind) in [
            ("po", Kind::Pod),
            ("PODS", Kind::Pod),
            ("cj", Kind::CronJob),
            ("jobs.batch", Kind::Job),
            ("daemonset.v1.apps", Kind::DaemonSet),
            ("no", Kind::Node),
            ("pvc", Kind::PersistentVolumeClaim),
        ] {
            assert_eq!(parse(name), Ok(kind), "{name}");
        }
        assert_eq!(parse("svc").unwrap_err(), "the server doesn't have a resource type \"svc\"");
        assert!(parse("jobs.apps").is_err());
        assert!(parse("staticpods").is_err());
    }

    #[test]
    fn lists_name_each_kind_once() {
        assert_eq!(parse_list("po,jobs,pods"), Ok(vec![Kind::Pod, Kind::Job]));
        assert_eq!(parse_list("all,no"), Ok(vec![Kind::Pod, Kind::DaemonSet, Kind::CronJob, Kind::Job, Kind::Node]));
    }

    #[test]
    fn printed_forms() {
        assert_eq!(slashed(Kind::Pod, "a"), "pod/a");
        assert_eq!(slashed(Kind::StaticPod, "a"), "pod/a");
        assert_eq!(slashed(Kind::DaemonSet, "a"), "daemonset.apps/a");
        assert_eq!(quoted(Kind::Job, "a"), "job.batch \"a\"");
    }
}
