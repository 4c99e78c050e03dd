//! Field paths and the words of field errors: `staging/src/k8s.io/apimachinery/pkg/util/validation/field/{path,errors}.go`.

use serde_json::Value;

use crate::api::fault::FieldFault;

/// A field's path as Kubernetes writes it (`spec.containers[0].resources.limits[cpu]`).
#[derive(Clone, Debug)]
pub(super) struct Path(String);

impl Path {
    /// A path of one or more names.
    pub(super) fn new(name: &str) -> Path {
        Path(name.to_owned())
    }

    /// `self.name`.
    pub(super) fn child(&self, name: &str) -> Path {
        self.followed_by(&[".", name])
    }

    /// `self[index]`.
    pub(super) fn index(&self, index: usize) -> Path {
        self.followed_by(&["[", &index.to_string(), "]"])
    }

    /// `self[key]`.
    pub(super) fn key(&self, key: &str) -> Path {
        self.followed_by(&["[", key, "]"])
    }

    /// Every field that is looked at makes one: cheaper than by `format!`.
    fn followed_by(&self, parts: &[&str]) -> Path {
        let mut text = String::with_capacity(self.0.len() + parts.iter().map(|part| part.len()).sum::<usize>());
        text.push_str(&self.0);
        parts.iter().for_each(|part| text.push_str(part));
        Path(text)
    }
}

/// The errors found so far, all of them.
#[derive(Default)]
pub(super) struct Faults(Vec<FieldFault>);

impl Faults {
    /// What was found, in the order found.
    pub(super) fn into_vec(self) -> Vec<FieldFault> {
        self.0
    }

    /// Whether nothing was found.
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Takes over what another check found.
    pub(super) fn extend(&mut self, other: Faults) {
        self.0.extend(other.0);
    }

    fn push(&mut self, path: &Path, head: String, detail: &str) {
        let message = if detail.is_empty() { head } else { format!("{head}: {detail}") };
        self.0.push(FieldFault::error(path.0.clone(), message));
    }

    /// `Required value`, with a detail or "".
    pub(super) fn required(&mut self, path: &Path, detail: &str) {
        self.push(path, "Required value".to_owned(), detail);
    }

    /// `Invalid value: <JSON>: <detail>`.
    pub(super) fn invalid(&mut self, path: &Path, value: impl Into<Value>, detail: &str) {
        self.push(path, format!("Invalid value: {}", value.into()), detail);
    }

    /// One `Invalid value` for each message.
    pub(super) fn invalid_each(&mut self, path: &Path, value: &str, messages: Vec<String>) {
        for message in messages {
            self.invalid(path, value, &message);
        }
    }

    /// `Invalid value: <detail>`: where the value is left out.
    pub(super) fn invalid_omitted(&mut self, path: &Path, detail: &str) {
        self.push(path, "Invalid value".to_owned(), detail);
    }

    /// `Unsupported value: <JSON>: supported values: "A", "B"`.
    pub(super) fn not_supported(&mut self, path: &Path, value: impl Into<Value>, supported: &[&str]) {
        let supported: Vec<String> = supported.iter().map(|s| format!("{s:?}")).collect();
        self.push(path, format!("Unsupported value: {}", value.into()), &format!("supported values: {}", supported.join(", ")));
    }

    /// `Duplicate value: <JSON>`.
    pub(super) fn duplicate(&mut self, path: &Path, value: impl Into<Value>) {
        self.duplicate_because(path, value, "");
    }

    /// `Duplicate value: <JSON>: <detail>`.
    pub(super) fn duplicate_because(&mut self, path: &Path, value: impl Into<Value>, detail: &str) {
        self.push(path, format!("Duplicate value: {}", value.into()), detail);
    }

    /// `Not found: <JSON>`, with a detail or "".
    pub(super) fn not_found(&mut self, path: &Path, value: impl Into<Value>, detail: &str) {
        self.push(path, format!("Not found: {}", value.into()), detail);
    }

    /// `Forbidden: <detail>`.
    pub(super) fn forbidden(&mut self, path: &Path, detail: &str) {
        self.push(path, "Forbidden".to_owned(), detail);
    }

    /// `Too long: may not be more than <max> bytes`.
    pub(super) fn too_long(&mut self, path: &Path, max: usize) {
        self.push(path, "Too long".to_owned(), &format!("may not be more than {max} bytes"));
    }

    /// `Too many: <actual>: must have at most <max> items`.
    pub(super) fn too_many(&mut self, path: &Path, actual: usize, max: usize) {
        self.push(path, format!("Too many: {actual}"), &format!("must have at most {max} items"));
    }

    /// `must be greater than or equal to 0` (ValidateNonnegativeField), where the value is set.
    pub(super) fn non_negative(&mut self, path: &Path, value: Option<impl Into<i64>>) {
        if let Some(value) = value.map(Into::into).filter(|v| *v < 0) {
            self.invalid(path, value, "must be greater than or equal to 0");
        }
    }

    /// Each of these texts is `Required value` where it is empty.
    pub(super) fn required_texts(&mut self, path: &Path, texts: &[(&str, &str)]) {
        for (name, _) in texts.iter().filter(|(_, text)| text.is_empty()) {
            self.required(&path.child(name), "");
        }
    }

    /// A text that must be one of a few; empty is `Required value`.
    pub(super) fn one_of(&mut self, path: &Path, value: Option<&str>, supported: &[&str]) {
        match value.unwrap_or_default() {
            "" => self.required(path, ""),
            value if supported.contains(&value) => {}
            value => self.not_supported(path, value, supported),
        }
    }
}

/// A Kubernetes value as JSON, for `Invalid value`.
pub(super) fn shown(value: &impl serde::Serialize) -> Value {
    serde_json::to_value(value).unwrap_or(Value::Null)
}
