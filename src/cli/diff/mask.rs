//! Secrets' values covered up, so that one still sees which differ (kubectl diff's Masker). Pure.

use serde_json::{Map, Value};

use crate::api::well_known::LAST_APPLIED;

const SAME: &str = "***";
const BEFORE: &str = "*** (before)";
const AFTER: &str = "*** (after)";

/// Both sides without values. `stringData` too: it is `data` in another spelling; and what `kubectl apply` noted of both.
pub(super) fn mask(mut old: Option<Value>, mut new: Value) -> (Option<Value>, Value) {
    for part in ["data", "stringData"] {
        let values = |side: &Value| side[part].as_object().cloned().unwrap_or_default();
        let (was, is) = (old.as_ref().map(values).unwrap_or_default(), values(&new));
        if let Some(side) = old.as_mut().and_then(|old| old.get_mut(part)) {
            *side = covered(&was, &is, BEFORE);
        }
        if let Some(side) = new.get_mut(part) {
            *side = covered(&is, &was, AFTER);
        }
    }
    for side in old.iter_mut().chain([&mut new]) {
        if let Some(noted) = side.pointer_mut("/metadata/annotations").and_then(|annotations| annotations.get_mut(LAST_APPLIED)) {
            *noted = Value::from(SAME);
        }
    }
    (old, new)
}

fn covered(values: &Map<String, Value>, others: &Map<String, Value>, differs: &str) -> Value {
    let cover = |(name, value): (&String, &Value)| {
        let differ = others.get(name).is_some_and(|other| other != value);
        (name.clone(), Value::from(if differ { differs } else { SAME }))
    };
    Value::Object(values.iter().map(cover).collect())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn no_value_is_left_and_what_differs_still_does() {
        let old = json!({"data": {"same": "s3cret", "changed": "s3cret", "gone": "s3cret"}});
        let new = json!({"data": {"same": "s3cret", "changed": "s3cret2", "new": "s3cret"}});
        let (old, new) = mask(Some(old), new);
        assert_eq!(old.unwrap(), json!({"data": {"same": "***", "changed": "*** (before)", "gone": "***"}}));
        assert_eq!(new, json!({"data": {"same": "***", "changed": "*** (after)", "new": "***"}}));
        let noted = |value: &str| json!({"metadata": {"annotations": {LAST_APPLIED: value, "mine": "m"}}});
        let (old, new) = mask(Some(noted("s3cret")), noted("s3cret2"));
        assert_eq!((old.unwrap(), new), (noted("***"), noted("***")));
        assert_eq!(mask(None, json!({"data": {"k": "s3cret"}})).1, json!({"data": {"k": "***"}}));
    }
}
