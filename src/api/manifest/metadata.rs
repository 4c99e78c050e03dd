//! Metadata of a manifest: the namespace's default, names from `generateName`, and what only a server sets taken off.

use crate::api::names::Names;
use crate::api::object::Kind;
use crate::api::yaml::{Node, Pair, Place, Value};
use jiff::Timestamp;

/// Fields of metadata that mean something only in the cluster they came from.
const SERVER_SET: &[&str] = &[
    "uid",
    "resourceVersion",
    "generation",
    "creationTimestamp",
    "deletionTimestamp",
    "deletionGracePeriodSeconds",
    "managedFields",
    "selfLink",
    "ownerReferences",
    "finalizers",
];

/// Something worth saying: the place, the field and the words.
pub(super) type Note = (Place, String, String);

/// Takes off what the file can't decide. Null and empty values go without a word.
/// A Node keeps its status: it declares what only the administrator can know of (extended resources).
pub(super) fn strip(root: &mut Node, kind: Kind) -> Vec<Note> {
    let mut notes = Vec::new();
    if kind != Kind::Node
        && let Some(status) = root.remove("status").filter(|p| says_something(&p.value))
    {
        notes.push((status.place, "status".to_owned(), "passed over: the agent keeps the status itself".to_owned()));
    }
    let Some(metadata) = root.get_mut("metadata") else { return notes };
    for field in SERVER_SET {
        if let Some(pair) = metadata.remove(field).filter(|p| says_something(&p.value)) {
            let message = "passed over: it belongs to the cluster the object was exported from".to_owned();
            notes.push((pair.place, format!("metadata.{field}"), message));
        }
    }
    notes
}

fn says_something(value: &Node) -> bool {
    match &value.value {
        Value::Scalar { .. } => !value.is_null(),
        Value::Sequence(items) => !items.is_empty(),
        Value::Mapping(pairs) => !pairs.is_empty(),
    }
}

/// Gives an object that has only a `generateName` a name that the file and the document's number decide.
pub(super) fn generate_name(root: &mut Node, file: &str, index: usize) -> Option<Note> {
    let metadata = root.get_mut("metadata")?;
    if metadata.get("name").is_some_and(|n| n.as_str() != Some("") && !n.is_null()) {
        return None;
    }
    let base = metadata.pair("generateName").filter(|p| p.value.as_str().is_some_and(|b| !b.is_empty()))?;
    let (place, node) = (base.value.place, base.value.clone());
    let name = Names::new(0, &format!("{file}#{index}"), Timestamp::UNIX_EPOCH).generate(base.value.as_str().unwrap_or_default());
    metadata.remove("name");
    if let Value::Mapping(pairs) = &mut metadata.value {
        let value = Node { value: Value::Scalar { text: name.clone(), plain: false }, ..node };
        pairs.push(Pair { key: "name".to_owned(), place, value });
    }
    Some((place, "metadata.generateName".to_owned(), format!("the name is {name}: derived from the file's path and the document's number")))
}

/// (namespace, name) as far as the tree has them.
pub(super) fn name(root: &Node, kind: Option<Kind>) -> Option<(String, String)> {
    let metadata = root.get("metadata")?;
    let name = metadata.get("name")?.as_str().filter(|n| !n.is_empty())?;
    let namespaced = kind.is_none_or(Kind::namespaced);
    let namespace = metadata.get("namespace").and_then(Node::as_str).filter(|n| !n.is_empty());
    let namespace = if namespaced { namespace.unwrap_or("default") } else { "" };
    Some((namespace.to_owned(), name.to_owned()))
}
