//! The table is complete, and the check speaks of each field by name.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::api::apps::v1::DaemonSetSpec;
use k8s_openapi::api::batch::v1::{CronJobSpec, JobSpec};
use k8s_openapi::api::core::v1::{NodeSpec, PersistentVolumeClaimSpec, PodSpec};
use serde::de::{Deserialize, DeserializeSeed, Deserializer, IntoDeserializer, MapAccess, SeqAccess, Visitor, value};
use serde_json::json;

use super::*;
use crate::api::Kind;

/// Struct → its fields → the struct each holds, as the types themselves tell a deserializer.
type Shapes = BTreeMap<&'static str, BTreeMap<&'static str, Option<&'static str>>>;

/// A deserializer that answers every question with the simplest value, one element per list and map, and notes which structs are asked for.
#[derive(Clone, Copy)]
struct Probe<'a> {
    shapes: &'a RefCell<Shapes>,
    at: Option<(&'static str, &'static str)>,
}

impl<'de> Deserializer<'de> for Probe<'_> {
    type Error = value::Error;

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Self::Error> {
        if let Some((owner, field)) = self.at {
            self.shapes.borrow_mut().entry(owner).or_default().insert(field, Some(name));
        }
        let known = self.shapes.borrow().contains_key(name);
        {
            let mut shapes = self.shapes.borrow_mut();
            let shape = shapes.entry(name).or_default();
            for field in fields {
                shape.entry(*field).or_insert(None);
            }
        }
        // A struct seen before is not entered again: some hold themselves.
        let fields = if known { &[][..] } else { fields };
        visitor.visit_map(Fields { probe: self, name, fields, next: 0 })
    }
    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Self::Error> {
        visitor.visit_some(self)
    }
    fn deserialize_newtype_struct<V: Visitor<'de>>(self, _: &'static str, visitor: V) -> Result<V::Value, Self::Error> {
        visitor.visit_newtype_struct(self)
    }
    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Self::Error> {
        visitor.visit_seq(One { probe: self, left: 1 })
    }
    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Self::Error> {
        visitor.visit_map(One { probe: self, left: 1 })
    }
    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Self::Error> {
        visitor.visit_i64(0)
    }
    fn deserialize_str<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Self::Error> {
        visitor.visit_str("2020-01-01T00:00:00Z")
    }
    fn deserialize_string<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Self::Error> {
        self.deserialize_str(visitor)
    }
    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Self::Error> {
        visitor.visit_bool(false)
    }
    serde::forward_to_deserialize_any! {
        i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char bytes byte_buf unit unit_struct tuple tuple_struct enum identifier ignored_any
    }
}

struct Fields<'a> {
    probe: Probe<'a>,
    name: &'static str,
    fields: &'static [&'static str],
    next: usize,
}

impl<'de> MapAccess<'de> for Fields<'_> {
    type Error = value::Error;
    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, Self::Error> {
        let Some(field) = self.fields.get(self.next) else { return Ok(None) };
        seed.deserialize(IntoDeserializer::<value::Error>::into_deserializer(*field)).map(Some)
    }
    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, Self::Error> {
        let field = self.fields[self.next];
        self.next += 1;
        seed.deserialize(Probe { at: Some((self.name, field)), ..self.probe })
    }
}

struct One<'a> {
    probe: Probe<'a>,
    left: usize,
}

impl<'de> SeqAccess<'de> for One<'_> {
    type Error = value::Error;
    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>, Self::Error> {
        if self.left == 0 {
            return Ok(None);
        }
        self.left = 0;
        seed.deserialize(self.probe).map(Some)
    }
}

impl<'de> MapAccess<'de> for One<'_> {
    type Error = value::Error;
    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, Self::Error> {
        if self.left == 0 {
            return Ok(None);
        }
        self.left = 0;
        seed.deserialize(IntoDeserializer::<value::Error>::into_deserializer("key")).map(Some)
    }
    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, Self::Error> {
        seed.deserialize(self.probe)
    }
}

fn shapes() -> Shapes {
    fn probe<T: for<'de> Deserialize<'de>>(shapes: &RefCell<Shapes>) {
        let probed: Result<T, value::Error> = T::deserialize(Probe { shapes, at: None });
        if let Err(error) = probed {
            panic!("{}: {error}", std::any::type_name::<T>());
        }
    }
    let shapes = RefCell::default();
    probe::<DaemonSetSpec>(&shapes);
    probe::<JobSpec>(&shapes);
    probe::<CronJobSpec>(&shapes);
    probe::<PodSpec>(&shapes);
    probe::<NodeSpec>(&shapes);
    probe::<PersistentVolumeClaimSpec>(&shapes);
    shapes.into_inner()
}

#[test]
fn every_field_of_the_real_types_has_a_row_and_every_row_a_field() {
    let shapes = shapes();
    assert!(shapes.len() > 60 && shapes["PodSpec"].len() > 35, "the probe sees the types: {}", shapes.len());
    let (mut missing, mut seen, mut queue) =
        (Vec::new(), BTreeSet::new(), vec!["DaemonSetSpec", "JobSpec", "CronJobSpec", "PodSpec", "NodeSpec", "PersistentVolumeClaimSpec"]);
    while let Some(owner) = queue.pop() {
        if !seen.insert(owner) {
            continue;
        }
        for (field, holds) in &shapes[owner] {
            let Some(row) = row(owner, field) else {
                missing.push(format!("{owner}.{field}"));
                continue;
            };
            if !row.inner.is_empty() {
                assert_eq!(Some(row.inner), *holds, "{owner}.{field} holds another struct");
                assert_eq!(row.status, Status::Honoured, "{owner}.{field}: a field that is not honoured speaks for all below it");
                queue.push(row.inner);
            }
        }
    }
    assert!(missing.is_empty(), "no row for {missing:?}");
    for row in table() {
        assert!(shapes.get(row.owner).is_some_and(|s| s.contains_key(row.field)), "{}.{} is no field", row.owner, row.field);
        assert!(seen.contains(row.owner), "{} is never reached", row.owner);
        assert_eq!(
            row.status == Status::Honoured,
            row.reason.is_empty(),
            "{}.{} needs a reason exactly if it is not honoured",
            row.owner,
            row.field
        );
    }
    let unique: BTreeSet<_> = table().iter().map(|r| (r.owner, r.field)).collect();
    assert_eq!(unique.len(), table().len(), "a field has two rows");
}

fn checked(kind: Kind, json: serde_json::Value) -> Vec<(Severity, String)> {
    let object = Object::from_json(kind, json.to_string().as_bytes()).expect("an object of the kind");
    check(&object).into_iter().map(|f| (f.severity, f.field)).collect()
}

#[test]
fn each_field_is_reported_by_name_with_its_severity() {
    let spec = json!({
        "serviceAccountName": "x", "hostUsers": false, "shareProcessNamespace": false, "imagePullSecrets": [{"name": "r"}],
        "securityContext": {"seccompProfile": {"type": "Localhost"}, "seLinuxOptions": {}, "runAsUser": 1000},
        "affinity": {"podAntiAffinity": {}, "nodeAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": []}},
        "containers": [
            {"name": "a", "env": [{"name": "A", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}, {"name": "B", "valueFrom": {"fileKeyRef": {"volumeName": "s", "key": "k", "path": "p"}}}]},
            {"name": "b", "livenessProbe": {"exec": {"command": ["true"]}}, "volumeMounts": [{"name": "v", "mountPath": "/v", "subPath": "x"}, {"name": "w", "mountPath": "/w", "subPath": ""}]},
        ],
        "initContainers": [{"name": "s", "restartPolicy": "Always"}, {"name": "r", "restartPolicyRules": [{"action": "Restart"}, {"action": "RestartAllContainers"}]}],
        "volumes": [{"name": "v", "projected": {"sources": [{"configMap": {"name": "c"}}, {"serviceAccountToken": {"path": "t"}}]}}, {"name": "w", "emptyDir": {"medium": "Memory"}}, {"name": "h", "gitRepo": {"repository": "r"}}],
    });
    let job = json!({"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "j"}, "spec": {"managedBy": "example.com/queue", "podFailurePolicy": {"rules": []}, "podReplacementPolicy": "Failed", "template": {"spec": spec}}});
    let mut found = checked(Kind::Job, job);
    found.sort_by(|a, b| a.1.cmp(&b.1));
    let expected = [
        (Severity::Error, "spec.managedBy"),
        (Severity::Info, "spec.template.spec.affinity.podAntiAffinity"),
        (Severity::Error, "spec.template.spec.containers[0].env[1].valueFrom.fileKeyRef"),
        (Severity::Info, "spec.template.spec.serviceAccountName"),
        (Severity::Error, "spec.template.spec.volumes[0].projected.sources[1].serviceAccountToken"),
        (Severity::Error, "spec.template.spec.volumes[2].gitRepo"),
    ];
    assert_eq!(found, expected.map(|(s, f)| (s, f.to_owned())));
}

#[test]
fn what_is_honoured_is_not_mentioned() {
    let pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"}, "spec": {
        "hostNetwork": true, "tolerations": [{"operator": "Exists"}], "os": {"name": "linux"}, "nodeSelector": {"a": "b"},
        "securityContext": {"runAsNonRoot": true, "supplementalGroups": [1]},
        "containers": [{"name": "c", "image": "i", "tty": true, "stdin": true, "stdinOnce": true, "restartPolicyRules": [{"action": "RestartAllContainers"}], "securityContext": {"privileged": true, "procMount": "Default", "seccompProfile": {"type": "RuntimeDefault"}}, "resources": {"limits": {"cpu": "1"}}}],
        "volumes": [{"name": "h", "hostPath": {"path": "/", "type": "Directory"}}, {"name": "e", "emptyDir": {"sizeLimit": "1Gi"}}, {"name": "c", "configMap": {"name": "c"}},
            {"name": "i", "image": {"reference": "r"}},
            {"name": "s", "secret": {"secretName": "s", "optional": true}}, {"name": "p", "persistentVolumeClaim": {"claimName": "p"}}],
        "overhead": {"cpu": "10m"},
    }});
    assert_eq!(checked(Kind::StaticPod, pod), []);
    assert_eq!(
        checked(
            Kind::Node,
            json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": "n"}, "spec": {"taints": [], "podCIDR": "10.0.0.0/24"}})
        ),
        [(Severity::Info, "spec.podCIDR".to_owned())]
    );
    let spec = json!({"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}, "dataSource": {"kind": "VolumeSnapshot", "name": "x"}});
    assert_eq!(
        checked(
            Kind::PersistentVolumeClaim,
            json!({"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": "p"}, "spec": spec})
        ),
        [(Severity::Error, "spec.dataSource".to_owned()), (Severity::Info, "spec.resources".to_owned())]
    );
}

#[test]
fn security_is_honoured_or_refused_and_never_warned_about() {
    let rows = table().iter().filter(|r| ["PodSecurityContext", "SecurityContext", "SeccompProfile", "AppArmorProfile"].contains(&r.owner));
    let statuses: Vec<(&str, Status)> = rows.map(|r| (r.field, r.status)).collect();
    assert!(statuses.len() >= 28, "{statuses:?}");
    let refused: Vec<&str> = statuses.iter().filter(|(_, s)| *s != Status::Honoured).map(|(field, _)| *field).collect();
    assert_eq!(refused, ["seLinuxChangePolicy", "windowsOptions", "windowsOptions"]);
    assert!(statuses.iter().all(|(_, s)| matches!(s, Status::Honoured | Status::Refused)), "{statuses:?}");
}

#[test]
fn apparmor_annotations_count_and_those_of_seccomp_are_refused() {
    let apparmor = |name: &str| format!("container.apparmor.security.beta.kubernetes.io/{name}");
    let annotations = json!({apparmor("a"): "runtime/default", apparmor("b"): "unconfined", apparmor("c"): "localhost/p", apparmor("d"): "mine",
        "x": "y", "seccomp.security.alpha.kubernetes.io/pod": "runtime/default"});
    let daemon_set = json!({"apiVersion": "apps/v1", "kind": "DaemonSet", "metadata": {"name": "d"}, "spec": {"selector": {}, "template": {
        "metadata": {"annotations": annotations},
        "spec": {"containers": []},
    }}});
    let at = |key: &str| (Severity::Error, format!("spec.template.metadata.annotations[{key}]"));
    assert_eq!(checked(Kind::DaemonSet, daemon_set), [at(&apparmor("d")), at("seccomp.security.alpha.kubernetes.io/pod")]);
}
