//! Whatever a manifest holds, it is judged: no panic, the same verdict each time, and defaults that change nothing the second time.

use proptest::prelude::*;

use super::*;

/// A pod's spec with something in nearly every field that has a rule.
fn full_spec() -> Value {
    serde_json::from_str(include_str!("full_spec.json")).unwrap_or_else(|e| panic!("{e}"))
}

fn meta(name: &str) -> Value {
    let annotations = json!({"controller.kubernetes.io/pod-deletion-cost": "1", "scheduler.alpha.kubernetes.io/tolerations": "[]", "container.apparmor.security.beta.kubernetes.io/c": "unconfined"});
    json!({"name": name, "namespace": "n", "labels": {"a": "b"}, "annotations": annotations, "finalizers": ["orphan"], "ownerReferences": [{"apiVersion": "v1", "kind": "A", "name": "b", "uid": "u", "controller": true}]})
}

fn full(kind: Kind) -> Value {
    let template = json!({"metadata": meta("t"), "spec": full_spec()});
    let job = json!({
        "parallelism": 2, "completions": 3, "completionMode": "Indexed", "backoffLimit": 1, "backoffLimitPerIndex": 1, "maxFailedIndexes": 1, "activeDeadlineSeconds": 1, "ttlSecondsAfterFinished": 1,
        "managedBy": "a.b/c", "suspend": false, "selector": {"matchLabels": {"a": "b"}}, "manualSelector": true, "podReplacementPolicy": "Failed",
        "podFailurePolicy": {"rules": [{"action": "FailIndex", "onExitCodes": {"operator": "In", "values": [1, 2], "containerName": "c"}}, {"action": "Count", "onPodConditions": [{"type": "a", "status": "True"}]}]},
        "successPolicy": {"rules": [{"succeededIndexes": "0,1-2", "succeededCount": 1}]}, "template": template,
    });
    let spec = match kind {
        Kind::DaemonSet => {
            json!({"selector": {"matchLabels": {"a": "b"}}, "template": template, "minReadySeconds": 1, "revisionHistoryLimit": 1, "updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": "10%", "maxSurge": 0}}})
        }
        Kind::Job => job,
        Kind::CronJob => {
            json!({"schedule": "* * * * *", "timeZone": "Europe/Berlin", "concurrencyPolicy": "Allow", "startingDeadlineSeconds": 1, "successfulJobsHistoryLimit": 1, "failedJobsHistoryLimit": 1, "jobTemplate": {"metadata": meta("j"), "spec": job}})
        }
        Kind::Node => json!({"taints": [{"key": "k", "value": "v", "effect": "NoSchedule"}], "podCIDRs": ["10.0.0.0/8"]}),
        Kind::PersistentVolumeClaim => {
            json!({"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}, "limits": {"storage": "1.00005"}}, "storageClassName": "s", "volumeMode": "Block"})
        }
        _ => full_spec(),
    };
    let mut object = json!({"apiVersion": kind.api_version(), "kind": kind.shown(), "metadata": meta("m")});
    match kind {
        Kind::ConfigMap => overlay(&mut object, &json!({"data": {"a": "b"}, "binaryData": {"c": "eA=="}, "immutable": true})),
        Kind::Secret => overlay(
            &mut object,
            &json!({"type": "kubernetes.io/dockerconfigjson", "data": {".dockerconfigjson": "e30="}, "stringData": {"a": "b"}}),
        ),
        _ => overlay(&mut object, &json!({"spec": spec})),
    }
    object
}

const KINDS: [Kind; 8] =
    [Kind::DaemonSet, Kind::Job, Kind::CronJob, Kind::StaticPod, Kind::ConfigMap, Kind::Secret, Kind::Node, Kind::PersistentVolumeClaim];

/// Every value below `value`, by where it stands.
fn pointers(value: &Value, at: &str, found: &mut Vec<String>) {
    match value {
        Value::Object(fields) => fields.iter().for_each(|(key, v)| {
            let at = format!("{at}/{}", key.replace('~', "~0").replace('/', "~1"));
            found.push(at.clone());
            pointers(v, &at, found);
        }),
        Value::Array(items) => items.iter().enumerate().for_each(|(i, v)| {
            found.push(format!("{at}/{i}"));
            pointers(v, &format!("{at}/{i}"), found);
        }),
        _ => {}
    }
}

/// What a value may become, by its type.
#[derive(Clone, Debug)]
struct Nasty {
    number: i64,
    text: String,
    empty: bool,
}

impl Nasty {
    fn replace(self, value: &mut Value) {
        match value {
            Value::Number(_) => *value = self.number.into(),
            Value::String(_) => *value = self.text.into(),
            Value::Bool(old) => *value = (!*old).into(),
            Value::Array(items) if self.empty => items.clear(),
            Value::Array(items) => items.extend(items.clone()),
            Value::Object(fields) if self.empty => fields.clear(),
            Value::Object(_) | Value::Null => *value = Value::Null,
        }
    }
}

fn nasty() -> impl Strategy<Value = Nasty> {
    let small = prop::sample::select(vec![i32::MIN, i32::MAX, -1, 0, 1, 101, 65_536]).prop_map(i64::from);
    let number = prop_oneof![8 => small, 1 => Just(i64::MIN), 1 => Just(i64::MAX)];
    let texts = [
        "",
        "é\u{0}𝄞\u{202e}",
        "..",
        "%",
        "999999999999999999999999999%",
        "1e999999999",
        "-9223372036854775809Ei",
        "0-0,-,9-",
        "[[[[[[[[{\"",
        "metadata.labels['",
        "TZ=",
        "a/b/c",
        "Always",
        "Localhost",
    ];
    let text = prop_oneof![8 => prop::sample::select(texts.map(str::to_owned).to_vec()), 1 => Just("x".repeat(70_000)), 4 => "\\PC{0,20}"];
    (number, text, any::<bool>()).prop_map(|(number, text, empty)| Nasty { number, text, empty })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_value_anywhere_makes_the_rules_panic(kind in prop::sample::select(&KINDS[..]), changes in prop::collection::vec((any::<prop::sample::Index>(), nasty()), 1..6)) {
        let mut manifest = full(kind);
        for (which, nasty) in changes {
            let mut found = Vec::new();
            pointers(&manifest, "", &mut found);
            let place = found.get(which.index(found.len().max(1))).and_then(|at| manifest.pointer_mut(at));
            place.into_iter().for_each(|value| nasty.clone().replace(value));
        }
        // What is not of the type at all (a number that does not fit) is decoding's to refuse: a few, or the test fails for want of cases.
        let read = Object::from_json(kind, manifest.to_string().as_bytes());
        prop_assume!(read.is_ok());
        let Ok(mut object) = read else { return Ok(()) };
        defaults::apply(&mut object);
        let once = object.clone();
        defaults::apply(&mut object);
        prop_assert_eq!(&object, &once, "defaults are idempotent");
        prop_assert_eq!(validate(&object), validate(&once));
        let _ = crate::api::support::check(&object);
    }
}

#[test]
fn the_full_manifests_are_of_their_types() {
    for kind in KINDS {
        let mut found = Vec::new();
        pointers(&full(kind), "", &mut found);
        assert!(found.len() > 15, "{kind:?}");
        Object::from_json(kind, full(kind).to_string().as_bytes()).unwrap_or_else(|e| panic!("{kind:?}: {e}"));
    }
}
