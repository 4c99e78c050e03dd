//! `--field-selector`: objects by the fields Kubernetes can select by. Pure.

use serde_json::Value;

use crate::api::{Kind, Object};

/// Fields of every kind.
const ALL: [&str; 2] = ["metadata.name", "metadata.namespace"];
/// Fields of Pods beside those (pkg/apis/core/v1/conversion.go, AddFieldLabelConversionsForPod; those that mean something here).
const POD: [&str; 4] = ["spec.nodeName", "spec.restartPolicy", "status.phase", "status.podIP"];

/// Fields and what they are to be.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FieldSelector(Vec<Term>);

#[derive(Clone, Debug, PartialEq, Eq)]
struct Term {
    field: String,
    value: String,
    equal: bool,
}

impl FieldSelector {
    /// Reads `a=b,c==d,e!=f`. The error is for the user (apimachinery/pkg/fields/selector.go, ParseSelector).
    pub fn parse(text: &str) -> Result<FieldSelector, String> {
        let term = |part: &str| {
            let split = part.split_once("!=").map(|(field, value)| (field, value, false));
            let split = split.or_else(|| part.split_once("==").or_else(|| part.split_once('=')).map(|(field, value)| (field, value, true)));
            let (field, value, equal) = split.ok_or_else(|| format!("invalid selector: '{text}'; can't understand '{part}'"))?;
            Ok(Term { field: field.to_owned(), value: value.to_owned(), equal })
        };
        text.split(',').filter(|part| !part.is_empty()).map(term).collect::<Result<_, _>>().map(FieldSelector)
    }

    /// Whether objects of this kind can be selected so. The error is for the user.
    pub fn check(&self, kind: Kind) -> Result<(), String> {
        let pods: &[&str] = if kind == Kind::Pod { &POD } else { &[] };
        let unknown = self.0.iter().find(|term| !ALL.iter().chain(pods).any(|known| *known == term.field));
        unknown.map_or(Ok(()), |term| {
            let known: Vec<&str> = ALL.iter().chain(pods).copied().collect();
            Err(format!("field label not supported: {:?} of {}; known are {}", term.field, kind.plural(), known.join(", ")))
        })
    }

    /// Whether the object has these fields; one that is not set is "".
    pub fn matches(&self, object: &Object) -> bool {
        if self.0.is_empty() {
            return true;
        }
        let json = object.to_json();
        self.0.iter().all(|term| {
            let found = json.pointer(&format!("/{}", term.field.replace('.', "/"))).and_then(Value::as_str).unwrap_or_default();
            (found == term.value) == term.equal
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_equal_and_unequal() {
        let json = r#"{"metadata": {"name": "web", "namespace": "default"}, "status": {"phase": "Running"}}"#;
        let pod = Object::from_json(Kind::Pod, json.as_bytes()).unwrap();
        let table = [
            ("", true),
            ("status.phase=Running", true),
            ("status.phase==Running,metadata.name!=x", true),
            ("status.phase!=Running", false),
            ("spec.nodeName=", true),
        ];
        for (text, expected) in table {
            let selector = FieldSelector::parse(text).unwrap();
            assert_eq!((selector.check(Kind::Pod), selector.matches(&pod)), (Ok(()), expected), "{text}");
        }
        assert_eq!(FieldSelector::parse("x"), Err("invalid selector: 'x'; can't understand 'x'".to_owned()));
        let phase = FieldSelector::parse("status.phase=Running").unwrap();
        assert!(phase.check(Kind::Job).unwrap_err().starts_with("field label not supported: \"status.phase\" of jobs"));
    }
}
