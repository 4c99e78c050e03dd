//! One parsed document → one object, or several of a list, or faults.

use super::kinds::{self, Meaning, Old};
use super::metadata::{self, Note};
use super::{Document, Report, lists, old_versions};
use crate::api::decode::{self, Found};
use crate::api::fault::{FieldFault, Severity};
use crate::api::object::{Kind, Object};
use crate::api::yaml::{Node, Parsed, Value, explain};
use crate::api::{defaults, support, validation};
use std::ops::Range;

/// Where documents go, and the file's text with the offset it begins at.
struct Into<'r, 'f> {
    text: &'r str,
    lines: &'r Lines,
    base: usize,
    documents: &'r mut Vec<Document>,
    report: &'r mut Report<'f>,
}

/// Where a text's lines begin, found once: counting them anew for each document takes the square of their number.
pub(super) struct Lines {
    /// Offsets of the line ends.
    ends: Vec<usize>,
}

impl Lines {
    pub(super) fn of(text: &str) -> Lines {
        Lines { ends: text.match_indices('\n').map(|(at, _)| at).collect() }
    }

    /// The line, from 1, that the byte at `offset` is in.
    fn at(&self, offset: usize) -> usize {
        self.ends.partition_point(|end| *end < offset) + 1
    }
}

/// Reads one document of the file whose `text`, of these `lines`, begins at offset `base`.
pub(super) fn document(parsed: Parsed, (text, lines, base): (&str, &Lines, usize), documents: &mut Vec<Document>, report: &mut Report<'_>) {
    let broken = !parsed.faults.is_empty();
    for fault in parsed.faults {
        report.error(fault.place, &fault.field, fault.message);
    }
    let mut into = Into { text, lines, base, documents, report };
    match parsed.root {
        Some(root) if !broken => object(root, parsed.span, &mut into, 0),
        root => refused(root.as_ref(), parsed.span, &mut into),
    }
}

/// A document that could not be parsed: what can be told of it.
fn refused(root: Option<&Node>, span: Range<usize>, into: &mut Into<'_, '_>) {
    let kind = root.and_then(|r| r.get("kind")).and_then(Node::as_str).unwrap_or_default().to_owned();
    let known = kinds::READ.iter().copied().find(|k| k.shown() == kind);
    let name = root.and_then(|r| metadata::name(r, known));
    let line = line_of(into, &span);
    let index = into.documents.len();
    into.documents.push(Document { index, object: None, span, kind, name, line, refused: true });
}

fn line_of(into: &Into<'_, '_>, span: &Range<usize>) -> usize {
    // A document begins at its first line that says something, not at the `---` before it.
    let text = &into.text[span.start - into.base..span.end - into.base];
    let quiet = |l: &&str| l.trim().is_empty() || l.starts_with('#') || l.trim_end() == "---" || l.starts_with('%');
    let skipped = text.lines().take_while(quiet).count();
    into.lines.at(span.start - into.base) + skipped.min(text.lines().count().saturating_sub(1))
}

fn object(root: Node, span: Range<usize>, into: &mut Into<'_, '_>, nested: usize) {
    if !matches!(root.value, Value::Mapping(_)) {
        let hint = explain::template_hint(&into.text[span.start - into.base..span.end - into.base]);
        into.report.error(root.place, "", format!("an object is a mapping with apiVersion, kind and metadata{hint}"));
        return refused(None, span, into);
    }
    let (api_version, kind) = (scalar(&root, "apiVersion"), scalar(&root, "kind"));
    if kind.is_empty() {
        let hint = if root.get("apiVersion").is_none() { " (is this a values file, or a part of another?)" } else { "" };
        into.report.error(root.place, "kind", format!("Required value: Object 'Kind' is missing{hint}"));
        return refused(Some(&root), span, into);
    }
    match kinds::meaning(&api_version, &kind) {
        Meaning::Object(kind, old) => one(root, kind, old, span, into),
        Meaning::List(item) if nested < lists::MAX_NESTED => list(root, item, span, into, nested + 1),
        Meaning::List(_) => {
            into.report.error(root.place, "", "lists within lists: write the objects as documents".to_owned());
            refused(Some(&root), span, into);
        }
        Meaning::Refused(field, message) => {
            let place = root.get(field).map_or(root.place, |n| n.place);
            into.report.error(place, field, message);
            refused(Some(&root), span, into);
        }
        Meaning::Ignored(severity, message) => {
            let place = root.get("kind").map_or(root.place, |n| n.place);
            into.report.ignored.add(place, severity, message);
            let (index, name, line) = (into.documents.len(), metadata::name(&root, None), line_of(into, &span));
            into.documents.push(Document { index, object: None, span, kind, name, line, refused: false });
        }
    }
}

fn scalar(root: &Node, key: &str) -> String {
    root.get(key).and_then(Node::as_str).unwrap_or_default().trim().to_owned()
}

fn list(root: Node, kind: Option<Kind>, span: Range<usize>, into: &mut Into<'_, '_>, nested: usize) {
    match lists::items(root, kind, into.text, into.base) {
        Err(place) => {
            into.report.error(place, "items", format!("must be a list of objects ({})", lists::readable()));
            refused(None, span, into);
        }
        Ok(items) => {
            for item in items {
                object(item.root, item.span, into, nested);
            }
        }
    }
}

/// Reads an object of a kind of ours.
fn one(mut root: Node, kind: Kind, old: Option<&Old>, span: Range<usize>, into: &mut Into<'_, '_>) {
    let index = into.documents.len();
    // What the fields of an old version are called, its faults have to be found by.
    let before = old.map(|_| root.clone());
    let notes = prepare(&mut root, kind, old, into.report.file, index);
    for (place, field, message) in notes {
        into.report.push(Severity::Info, place, &field, message);
    }
    if let Some(old) = old {
        let place = root.get("apiVersion").map_or(root.place, |n| n.place);
        into.report.push(Severity::Warning, place, "apiVersion", old.warning());
    }
    let secret = kind == Kind::Secret;
    let (object, found) = typed(&root, kind);
    let mut refused = !found.is_empty() || object.is_none();
    for fault in &found {
        into.report.error(fault.place, &fault.field, fault.message.clone());
    }
    let mut object = object;
    if let Some(object) = &mut object {
        for fault in finish(object, old) {
            refused |= fault.severity == Severity::Error;
            if !told(&found, &fault) {
                into.report.locate(before.as_ref().unwrap_or(&root), fault, secret);
            }
        }
    }
    let name = metadata::name(&root, Some(kind));
    let line = line_of(into, &span);
    let object = object.filter(|_| !refused);
    into.documents.push(Document { index, object, span, kind: kind.shown().to_owned(), name, line, refused });
}

/// Brings the tree into the form that is decoded.
fn prepare(root: &mut Node, kind: Kind, old: Option<&Old>, file: &str, index: usize) -> Vec<Note> {
    let mut notes = metadata::strip(root, kind);
    notes.extend(metadata::generate_name(root, file, index));
    if old.is_some() {
        old_versions::strip(root);
    }
    for (field, text) in [("apiVersion", kind.api_version()), ("kind", kind.shown())] {
        if let Some(node) = root.get_mut(field) {
            node.value = Value::Scalar { text: text.to_owned(), plain: false };
        }
    }
    // Go's base64 decoder passes over line ends, which block scalars have.
    for field in ["data", "binaryData"] {
        let wanted = (kind == Kind::Secret && field == "data") || (kind == Kind::ConfigMap && field == "binaryData");
        if let Some(Node { value: Value::Mapping(pairs), .. }) = root.get_mut(field).filter(|_| wanted) {
            for pair in pairs {
                if let Value::Scalar { text, .. } = &mut pair.value.value {
                    text.retain(|c| c != '\n' && c != '\r');
                }
            }
        }
    }
    notes
}

fn typed(root: &Node, kind: Kind) -> (Option<Object>, Vec<Found>) {
    fn of<T: serde::de::DeserializeOwned>(root: &Node, secret: bool, wrap: fn(Box<T>) -> Object) -> (Option<Object>, Vec<Found>) {
        let (object, found) = decode::object::<T>(root, secret);
        (object.map(|o| wrap(Box::new(o))), found)
    }
    match kind {
        Kind::DaemonSet => of(root, false, Object::DaemonSet),
        Kind::Job => of(root, false, Object::Job),
        Kind::CronJob => of(root, false, Object::CronJob),
        Kind::StaticPod | Kind::Pod => of(root, false, Object::StaticPod),
        Kind::ConfigMap => of(root, false, Object::ConfigMap),
        Kind::Secret => of(root, true, Object::Secret),
        Kind::PersistentVolumeClaim => of(root, false, Object::PersistentVolumeClaim),
        Kind::Node => of(root, false, Object::Node),
        Kind::Event | Kind::ControllerRevision => (None, Vec::new()),
    }
}

/// The namespace, old versions' and present defaults; what support and validation say.
fn finish(object: &mut Object, old: Option<&Old>) -> Vec<FieldFault> {
    let namespaced = object.kind().namespaced();
    let meta = object.meta_mut();
    if namespaced && meta.namespace.as_deref().is_none_or(str::is_empty) {
        meta.namespace = Some("default".to_owned());
    }
    if let Some(old) = old {
        old_versions::convert(object, old);
    }
    let mut faults = support::check(object);
    defaults::apply(object);
    faults.extend(validation::validate(object));
    faults
}

/// Whether decoding said already what is wrong with this field: it was of the wrong type, or is there by another name.
fn told(found: &[Found], fault: &FieldFault) -> bool {
    let covers = |field: &str| {
        fault.field.strip_prefix(field).is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '['])) && !field.is_empty()
    };
    found.iter().any(|f| covers(&f.field) || f.meant.as_deref().is_some_and(covers))
}
