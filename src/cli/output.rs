//! `-o json|yaml|name`, and where output goes.

use std::io::Write;

use serde_json::{Map, Value, json};

use super::error::CliError;
use super::{kinds, yaml};
use crate::api::{Kind, Object};

/// Forms of output.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// A table with more columns.
    Wide,
    /// JSON.
    Json,
    /// YAML.
    Yaml,
    /// `pod/name`, one a line.
    Name,
}

/// Writes to stdout at once.
pub fn put(text: impl AsRef<[u8]>) -> Result<(), CliError> {
    let mut out = std::io::stdout().lock();
    out.write_all(text.as_ref())?;
    Ok(out.flush()?)
}

/// Writes a line to stderr; that nobody reads it is no failure.
pub fn complain(text: &str) {
    let _ = writeln!(std::io::stderr().lock(), "{text}");
}

/// One object, or a `List` of them, as kubectl prints it.
pub fn structured(format: Format, objects: &[Object], single: bool) -> String {
    if format == Format::Name {
        return objects.iter().map(|object| format!("{}\n", kinds::slashed(object.kind(), name(object)))).collect();
    }
    let value = match objects {
        [only] if single => only.to_json(),
        all => {
            json!({"apiVersion": "v1", "items": all.iter().map(Object::to_json).collect::<Vec<_>>(), "kind": "List", "metadata": {"resourceVersion": ""}})
        }
    };
    match format {
        Format::Yaml => yaml::emit(&value),
        _ => to_json(&value),
    }
}

fn name(object: &Object) -> &str {
    object.meta().name.as_deref().unwrap_or_default()
}

/// Indented by four, keys sorted.
fn to_json(value: &Value) -> String {
    let mut out = Vec::new();
    let formatter = serde_json::ser::PrettyFormatter::with_indent(b"    ");
    let mut serializer = serde_json::Serializer::with_formatter(&mut out, formatter);
    // Writing a Value into memory cannot fail.
    let _ = serde::Serialize::serialize(&sorted(value), &mut serializer);
    out.push(b'\n');
    String::from_utf8_lossy(&out).into_owned()
}

fn sorted(value: &Value) -> Value {
    match value {
        Value::Object(map) => {
            let mut pairs: Vec<(&String, &Value)> = map.iter().collect();
            pairs.sort_by_key(|(key, _)| *key);
            Value::Object(pairs.into_iter().map(|(key, value)| (key.clone(), sorted(value))).collect::<Map<_, _>>())
        }
        Value::Array(items) => items.iter().map(sorted).collect(),
        scalar => scalar.clone(),
    }
}

/// What `get` says where nothing was found.
pub fn nothing_found(kinds: &[Kind], namespace: &str, all_namespaces: bool) -> String {
    if all_namespaces || kinds.iter().all(|kind| !kind.namespaced()) {
        "No resources found".to_owned()
    } else {
        format!("No resources found in {namespace} namespace.")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_object_a_list_and_names() {
        let pod = |name: &str| Object::from_json(Kind::Pod, json!({"metadata": {"name": name}}).to_string().as_bytes()).unwrap();
        let one = structured(Format::Yaml, &[pod("a")], true);
        assert_eq!(one, "apiVersion: v1\nkind: Pod\nmetadata:\n  name: a\n");
        let list = structured(Format::Json, &[pod("a")], false);
        let expected = r#"{
    "apiVersion": "v1",
    "items": [
        {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {
                "name": "a"
            }
        }
    ],
    "kind": "List",
    "metadata": {
        "resourceVersion": ""
    }
}
"#;
        assert_eq!(list, expected);
        assert_eq!(structured(Format::Name, &[pod("a"), pod("b")], false), "pod/a\npod/b\n");
    }
}
