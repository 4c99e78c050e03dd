//! What a stored object would be once its manifest says something else, for those who want to know beforehand (`diff`, `plan`).

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde_json::Value;

use super::merge;
use crate::api::well_known::MANIFEST_HASH;
use crate::api::{Object, defaults};
use crate::controllers::{job, pods};

/// What becomes of an object.
#[derive(Clone, Debug, PartialEq)]
pub enum Outcome {
    /// It is not stored yet.
    Created,
    /// The manifest is the stored one.
    Unchanged,
    /// It is changed in place.
    Configured,
    /// It is deleted and made anew: a field that cannot change would.
    Replaced,
    /// It stays as it is: why (`immutable: true`).
    Refused(String),
}

/// What would become of `old` with the manifest `desired`, and the two as they compare: with every default, and without what tells nothing about the
/// manifest (identity, status, what the agent noted, and the labels a Job gets from its own uid where that would be another).
pub fn preview(old: Option<&Object>, desired: &Object, now: Timestamp) -> (Outcome, Option<Value>, Value) {
    let Some(old) = old else { return (Outcome::Created, None, plain(desired.clone(), true)) };
    let hash = |o: &Object| pods::annotation(o.meta(), MANIFEST_HASH).map(str::to_owned);
    if hash(old).is_some() && hash(old) == hash(desired) {
        let same = plain(old.clone(), false);
        return (Outcome::Unchanged, Some(same.clone()), same);
    }
    if let Some(why) = merge::forbidden(old, desired) {
        let same = plain(old.clone(), false);
        return (Outcome::Refused(why), Some(same.clone()), same);
    }
    if merge::must_replace(old, desired) {
        return (Outcome::Replaced, Some(plain(old.clone(), true)), plain(desired.clone(), true));
    }
    let new = plain(merge::in_place(old, desired, now), false);
    let old = plain(old.clone(), false);
    (if old == new { Outcome::Unchanged } else { Outcome::Configured }, Some(old), new)
}

fn plain(mut object: Object, fresh: bool) -> Value {
    defaults::apply(&mut object);
    if let Object::Job(job) = &mut object {
        job::prepare_for_comparison(job, fresh);
    }
    let meta = object.meta_mut();
    (meta.uid, meta.resource_version, meta.creation_timestamp, meta.finalizers) = (None, None, None, None);
    (meta.owner_references, meta.deletion_timestamp, meta.deletion_grace_period_seconds, meta.managed_fields) = (None, None, None, None);
    if fresh {
        meta.generation = None;
    }
    let noted: BTreeMap<_, _> =
        meta.annotations.take().into_iter().flatten().filter(|(name, _)| !name.starts_with("minik8s.io/")).collect();
    meta.annotations = Some(noted).filter(|annotations| !annotations.is_empty());
    let mut json = object.to_json();
    if let Some(map) = json.as_object_mut() {
        map.shift_remove("status");
    }
    json
}

/// The fields of the spec, or the data, that differ: `spec.parallelism: 1 → 3`, `spec.template`. Values are told where they are single words, and
/// never those of Secrets.
pub fn changed_fields(old: &Value, new: &Value) -> Vec<String> {
    let mut found = Vec::new();
    for part in ["metadata", "spec", "data", "binaryData"] {
        let (old, new) = (fields(&old[part]), fields(&new[part]));
        for name in old.keys().chain(new.keys().filter(|name| !old.contains_key(*name))) {
            let (was, is) = (old.get(name).copied(), new.get(name).copied());
            if was != is && (part, name.as_str()) != ("metadata", "generation") {
                found.push(told(&format!("{part}.{name}"), was, is, part == "spec"));
            }
        }
    }
    found
}

fn fields(part: &Value) -> BTreeMap<&String, &Value> {
    part.as_object().into_iter().flatten().collect()
}

fn told(path: &str, was: Option<&Value>, is: Option<&Value>, values: bool) -> String {
    let word = |value: Option<&Value>| match value {
        None => Some("none".to_owned()),
        Some(Value::String(text)) => Some(text.clone()),
        Some(value @ (Value::Bool(_) | Value::Number(_))) => Some(value.to_string()),
        Some(_) => None,
    };
    match (word(was), word(is)) {
        (Some(was), Some(is)) if values => format!("{path}: {was} → {is}"),
        _ => path.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::tests::job;
    use super::*;
    use crate::api::Kind;
    use crate::controllers::world::{World, object};

    /// The Job of this spec as it is stored.
    fn stored(spec: Value) -> Object {
        let mut world = World::new("2026-01-01T00:00:00Z");
        super::super::tests::sync(&mut world, &[&job(spec)], &[]);
        (*world.objects[&super::super::tests::key()]).clone()
    }

    #[test]
    fn nothing_spurious_for_what_is_stored_and_the_changed_field_alone_for_what_changes() {
        let now = Timestamp::UNIX_EPOCH;
        let old = stored(json!({"parallelism": 1}));
        assert_eq!(preview(Some(&old), &job(json!({"parallelism": 1})), now).0, Outcome::Unchanged);
        // Another text of the same manifest: a default written out.
        assert_eq!(preview(Some(&old), &job(json!({"parallelism": 1, "backoffLimit": 6})), now).0, Outcome::Unchanged);
        let (outcome, was, is) = preview(Some(&old), &job(json!({"parallelism": 3})), now);
        assert_eq!((outcome, changed_fields(&was.unwrap(), &is)), (Outcome::Configured, vec!["spec.parallelism: 1 → 3".to_owned()]));
        let (outcome, was, is) = preview(Some(&old), &job(json!({"parallelism": 1, "completions": 5})), now);
        assert_eq!((outcome, changed_fields(&was.unwrap(), &is)), (Outcome::Replaced, vec!["spec.completions: none → 5".to_owned()]));
        assert_eq!(preview(None, &job(json!({})), now).0, Outcome::Created);
    }

    #[test]
    fn an_immutable_config_map_is_refused_and_values_of_data_are_not_told() {
        let map = |value: &str| {
            object(Kind::ConfigMap, json!({"metadata": {"name": "m", "namespace": "default"}, "immutable": true, "data": {"k": value}}))
        };
        let (outcome, ..) = preview(Some(&map("a")), &map("b"), Timestamp::UNIX_EPOCH);
        assert_eq!(outcome, Outcome::Refused("data: Forbidden: field is immutable when `immutable` is set".into()));
        assert_eq!(changed_fields(&map("secret").to_json(), &map("other").to_json()), ["data.k"]);
    }
}
