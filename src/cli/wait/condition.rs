//! What `wait --for` waits for (kubectl's pkg/cmd/wait: conditionFuncFor, checkCondition, checkJSONPath). Pure.

use serde_json::Value;

use super::path::Path;

/// What an object is to be.
#[derive(Clone, Debug, PartialEq)]
pub enum Condition {
    /// There.
    Create,
    /// Gone.
    Delete,
    /// With this condition in its status, in any case of letters.
    Is {
        /// The condition's type.
        name: String,
        /// Its status.
        status: String,
    },
    /// With something at a path.
    At {
        /// The path.
        path: Path,
        /// What is there, as text; `None`: anything.
        value: Option<String>,
    },
}

impl Condition {
    /// Reads a condition. Errors: kubectl's words.
    pub fn parse(text: &str) -> Result<Condition, String> {
        match text.to_lowercase().as_str() {
            "create" => return Ok(Condition::Create),
            "delete" => return Ok(Condition::Delete),
            _ => {}
        }
        if let Some(condition) = text.strip_prefix("condition=") {
            let (name, status) = condition.split_once('=').unwrap_or((condition, "true"));
            return Ok(Condition::Is { name: name.to_owned(), status: status.to_owned() });
        }
        match text.strip_prefix("jsonpath=") {
            Some(input) => at(input),
            None => Err(format!("unrecognized condition: {text:?}")),
        }
    }

    /// Whether the object, which is there, is as it should. Errors: the path leads to what cannot be compared.
    pub fn met(&self, object: &Value) -> Result<bool, String> {
        match self {
            Condition::Create => Ok(true),
            Condition::Delete => Ok(false),
            Condition::Is { name, status } => Ok(holds(object, name, status)),
            Condition::At { path, value } => match (path.find(object)?, value) {
                (None, _) => Ok(false),
                (Some(_), None) => Ok(true),
                (Some(found), Some(value)) => Ok(text_of(found)?.trim() == value.trim()),
            },
        }
    }
}

/// A condition told of an older generation than the object's counts for nothing.
fn holds(object: &Value, name: &str, status: &str) -> bool {
    let same = |text: &Value, wanted: &str| text.as_str().is_some_and(|text| text.to_lowercase() == wanted.to_lowercase());
    let conditions = object.pointer("/status/conditions").and_then(Value::as_array).into_iter().flatten();
    let Some(found) = conditions.filter(|c| c["status"].is_string()).find(|c| same(&c["type"], name)) else { return false };
    let observed = found["observedGeneration"].as_i64().or_else(|| object.pointer("/status/observedGeneration")?.as_i64());
    let generation = object.pointer("/metadata/generation").and_then(Value::as_i64);
    let stale = observed.zip(generation).is_some_and(|(observed, generation)| observed < generation);
    !stale && same(&found["status"], status)
}

fn text_of(value: &Value) -> Result<String, String> {
    match value {
        Value::Object(_) | Value::Array(_) => Err("jsonpath leads to a nested object or list which is not supported".to_owned()),
        Value::String(text) => Ok(text.clone()),
        Value::Null => Ok("<nil>".to_owned()),
        other => Ok(other.to_string()),
    }
}

/// `{PATH}` or `{PATH}=VALUE`; a double `==` belongs to the path.
fn at(input: &str) -> Result<Condition, String> {
    let parts = split(input);
    let (path, value) = match parts.as_slice() {
        [path] => (path, None),
        [path, value] => (path, Some(value.trim_matches(['\'', '"']).to_owned())),
        _ => {
            return Err(
                "jsonpath wait format must be --for=jsonpath='{.status.readyReplicas}'=3 or --for=jsonpath='{.status.readyReplicas}'"
                    .to_owned(),
            );
        }
    };
    if value.as_deref() == Some("") {
        return Err("jsonpath wait has to have a value after equal sign, like --for=jsonpath='{.status.readyReplicas}'=3".to_owned());
    }
    Ok(Condition::At { path: Path::parse(path)?, value })
}

fn split(input: &str) -> Vec<String> {
    let mut parts = vec![String::new()];
    let mut rest = input.chars().peekable();
    while let Some(c) = rest.next() {
        let part = parts.last_mut();
        match (c, part) {
            ('=', Some(part)) if rest.next_if_eq(&'=').is_some() => part.push_str("=="),
            ('=', _) => parts.push(String::new()),
            (c, Some(part)) => part.push(c),
            (_, None) => {}
        }
    }
    parts
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn met(condition: &str, object: &Value) -> Result<bool, String> {
        Condition::parse(condition)?.met(object)
    }

    #[test]
    fn conditions_in_any_case_and_of_this_generation() {
        let object = json!({"metadata": {"generation": 2}, "status": {"conditions": [
            {"type": "Complete", "status": "True"}, {"type": "Ready", "status": "False"}, {"type": "Old", "status": "True", "observedGeneration": 1}]}});
        for (condition, expected) in [
            ("condition=complete", true),
            ("condition=Complete=true", true),
            ("condition=Ready", false),
            ("condition=Ready=false", true),
            ("condition=failed", false),
            ("condition=Old", false),
            ("Create", true),
            ("delete", false),
        ] {
            assert_eq!(met(condition, &object), Ok(expected), "{condition}");
        }
        let behind =
            json!({"metadata": {"generation": 2}, "status": {"observedGeneration": 1, "conditions": [{"type": "A", "status": "True"}]}});
        assert_eq!(met("condition=A", &behind), Ok(false));
        assert_eq!(met("complete", &object), Err("unrecognized condition: \"complete\"".into()));
    }

    #[test]
    fn paths_and_their_values() {
        let object = json!({"status": {"phase": "Running", "n": 3, "list": [1, 2],
            "conditions": [{"type": "Ready", "status": "True"}, {"type": "A", "status": "False"}]}});
        for (condition, expected) in [
            ("jsonpath={.status.phase}=Running", Ok(true)),
            (
                "jsonpath='{.status.phase}'",
                Err("unexpected path string, expected a 'name1.name2' or '.name1.name2' or '{name1.name2}' or '{.name1.name2}'"),
            ),
            ("jsonpath={.status.phase}='Running'", Ok(true)),
            ("jsonpath=.status.phase=Pending", Ok(false)),
            ("jsonpath=status.n=3", Ok(true)),
            ("jsonpath={.status.none}", Ok(false)),
            ("jsonpath={.status.list}", Ok(true)),
            ("jsonpath={.status.list[1]}=2", Ok(true)),
            ("jsonpath={.status.list}=2", Err("jsonpath leads to a nested object or list which is not supported")),
            ("jsonpath={.status.list[*]}=2", Err("given jsonpath expression matches more than one value")),
            ("jsonpath={.status.conditions[?(@.type==\"Ready\")].status}=True", Ok(true)),
            (
                "jsonpath={.status.phase}=",
                Err("jsonpath wait has to have a value after equal sign, like --for=jsonpath='{.status.readyReplicas}'=3"),
            ),
        ] {
            assert_eq!(met(condition, &object), expected.map_err(str::to_owned), "{condition}");
        }
        assert!(met("jsonpath={.a}=1=2", &object).unwrap_err().starts_with("jsonpath wait format must be"));
        assert!(met("jsonpath=", &object).is_err());
    }
}
