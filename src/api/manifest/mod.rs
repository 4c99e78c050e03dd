//! A manifest file's text → objects and everything that is wrong with it.
//!
//! ```text
//! text ─▶ yaml (documents, each parsed alone) ─▶ Lists flattened ─▶ kind and version known? ─▶ status and server-set metadata off
//!      ─▶ decode (strict) ─▶ old versions converted ─▶ support::check ─▶ defaults ─▶ validation ─▶ faults located
//! ```
//!
//! Guarantees: never panics; bounded in size, depth, documents and faults; one bad document hides no other; a document with any
//! error yields no object; the same text gives the same objects, generated names included.
//! Leaves to the caller: uids and our annotations, objects that stand in several files, and what to do with what ran before.

mod ignored;
mod kinds;
mod lists;
mod metadata;
mod old_versions;
mod read;
mod shorten;
mod text;

use super::fault::{Fault, FieldFault, Severity};
use super::object::Object;
use super::yaml::{Node, Place, explain, locate};
use shorten::shortened;
use std::collections::HashMap;
use std::ops::Range;

/// Most faults reported of one file.
pub const MAX_FAULTS: usize = 1000;

/// One object of a file: a document, or an item of a `kind: List`.
#[derive(Clone, Debug)]
pub struct Document {
    /// Its number in the file, from 0; empty documents don't count.
    pub index: usize,
    /// The object, defaults filled in; `None`: refused, or of a kind that means nothing here.
    pub object: Option<Object>,
    /// The bytes of the file that hold it, for cutting it out.
    pub span: Range<usize>,
    /// The kind as written, "" where none is.
    pub kind: String,
    /// (namespace, name) as far as they can be told, for refused documents too; namespace "" for kinds without one.
    pub name: Option<(String, String)>,
    /// The line it begins on, from 1.
    pub line: usize,
    /// Whether an error refused it.
    pub refused: bool,
}

/// All that a file says.
#[derive(Clone, Debug, Default)]
pub struct Decoded {
    /// Its objects, in order.
    pub documents: Vec<Document>,
    /// What is to be said about it, sorted by place.
    pub faults: Vec<Fault>,
}

impl Decoded {
    /// Whether nothing in the file was refused.
    pub fn is_valid(&self) -> bool {
        self.faults.iter().all(|f| f.severity != Severity::Error)
    }
}

/// Decodes the file `file`. The name goes into faults and, with the document's index, into names generated from
/// `metadata.generateName`: pass the path relative to the manifests directory for names that don't depend on where that lies.
pub fn decode(file: &str, text: &[u8]) -> Decoded {
    let mut report = Report::new(file);
    let mut documents = Vec::new();
    match text::checked(text) {
        Err((place, message)) => report.error(place, "", message),
        Ok((text, at)) => {
            let parsed = super::yaml::parse(text, at);
            if parsed.is_empty() {
                report.error(at, "", "no object in this file: to remove what it defined, delete the file".into());
            }
            let lines = read::Lines::of(text);
            for document in parsed {
                read::document(document, (text, &lines, at.offset), &mut documents, &mut report);
            }
        }
    }
    refuse_doubles(&mut documents, &mut report);
    Decoded { documents, faults: report.finish() }
}

/// Of two documents that define the same object the first counts.
fn refuse_doubles(documents: &mut [Document], report: &mut Report<'_>) {
    let mut first = HashMap::new();
    for document in documents {
        let Some(key) = document.object.as_ref().map(Object::key) else { continue };
        match first.get(&key) {
            None => {
                first.insert(key, document.line);
            }
            Some(line) => {
                let place = Place { line: document.line, column: 1, offset: document.span.start };
                report.error(place, "", format!("{key} is already defined in this file at line {line}: the first one counts"));
                (document.object, document.refused) = (None, true);
            }
        }
    }
}

/// Kubernetes reports a bad label at the whole map (`metadata.labels: Invalid value: "x"`): the pair whose key or value that is.
fn culprit<'t>(node: &'t Node, message: &str) -> Option<(Place, &'t Node)> {
    let quoted = message.strip_prefix("Invalid value: \"")?;
    let is = |text: &str| !text.is_empty() && quoted.strip_prefix(text).is_some_and(|rest| rest.starts_with("\": "));
    let by_key = node.pairs().iter().find(|p| is(&p.key)).map(|p| (p.place, &p.value));
    by_key.or_else(|| node.pairs().iter().find(|p| p.value.as_str().is_some_and(is)).map(|p| (p.value.place, &p.value)))
}

/// Collects what is said about a file.
struct Report<'f> {
    file: &'f str,
    faults: Vec<Fault>,
    ignored: ignored::Ignored,
}

impl<'f> Report<'f> {
    fn new(file: &'f str) -> Report<'f> {
        Report { file, faults: Vec::new(), ignored: ignored::Ignored::default() }
    }

    fn push(&mut self, severity: Severity, place: Place, field: &str, message: String) {
        // One more than is shown, so that the end of the list can say so.
        if self.faults.len() <= MAX_FAULTS {
            let (field, message) = (shortened(field.to_owned()), shortened(message));
            self.faults.push(Fault { file: self.file.to_owned(), line: place.line, column: place.column, severity, field, message });
        }
    }

    fn error(&mut self, place: Place, field: &str, message: String) {
        self.push(Severity::Error, place, field, message);
    }

    /// Looks the fault's place up and adds it.
    fn locate(&mut self, root: &Node, fault: FieldFault, secret: bool) {
        let found = locate::find(root, &fault.field);
        let (place, node) = match found.node.and_then(|n| culprit(n, &fault.message)) {
            Some((place, node)) => (place, Some(node)),
            None => (found.place, found.node),
        };
        let text = node.and_then(Node::as_str).filter(|_| !secret && fault.severity == Severity::Error);
        let hint = text.map_or("", explain::template_hint);
        self.push(fault.severity, place, &fault.field, fault.message + hint);
    }

    /// The faults, in the order of the file.
    fn finish(mut self) -> Vec<Fault> {
        for (place, severity, message) in std::mem::take(&mut self.ignored).into_faults() {
            self.push(severity, place, "", message);
        }
        let more = self.faults.len() > MAX_FAULTS;
        self.faults.truncate(MAX_FAULTS);
        self.faults.sort_by(|a, b| (a.line, a.column, a.severity, &a.field).cmp(&(b.line, b.column, b.severity, &b.field)));
        self.faults.dedup();
        if more {
            let message = format!("more than {MAX_FAULTS} faults: the rest is not shown");
            self.faults.push(Fault {
                file: self.file.to_owned(),
                line: 0,
                column: 0,
                severity: Severity::Error,
                field: String::new(),
                message,
            });
        }
        self.faults
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use nix::time::{ClockId, clock_gettime};

    use super::*;

    fn documents(count: usize, list: bool) -> String {
        let note = "#\n".repeat(100);
        let one = |n| format!("apiVersion: v1\nkind: ConfigMap\n{note}metadata: {{name: c{n}}}\n");
        let item = |n| "- ".to_owned() + &one(n).trim_end().replace('\n', "\n  ") + "\n";
        match list {
            true => "kind: List\napiVersion: v1\nitems:\n".to_owned() + &(0..count).map(item).collect::<String>(),
            false => (0..count).map(one).collect::<Vec<_>>().join("---\n"),
        }
    }

    /// This thread's time on a processor, which others do not lengthen by much; the least of three.
    fn time(count: usize, list: bool) -> Duration {
        let text = documents(count, list);
        let once = |_| {
            let begun = spent();
            let decoded = decode("a.yaml", text.as_bytes());
            assert_eq!((decoded.documents.len(), decoded.faults.len()), (count, 0), "{:?}", decoded.faults);
            spent().saturating_sub(begun)
        };
        (0..3).map(once).min().unwrap_or_default()
    }

    fn spent() -> Duration {
        clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID).unwrap().into()
    }

    #[test]
    fn eight_times_the_documents_take_no_more_than_about_eight_times_as_long() {
        for list in [false, true] {
            let (few, many) = (time(200, list), time(1600, list));
            assert!(many < few * 20, "list {list}: {few:?} and {many:?}");
        }
    }

    #[test]
    fn eight_times_the_merged_keys_take_no_more_than_about_eight_times_as_long() {
        let time = |keys: usize| {
            let map: String = (0..keys).map(|n| format!("  k{n}: v\n")).collect();
            let text = format!("a: &a\n{map}b:\n  <<: *a\n");
            // Of the processor: the machine may have something else to do.
            let used = || std::time::Duration::from(nix::time::ClockId::CLOCK_THREAD_CPUTIME_ID.now().unwrap());
            let once = || {
                let begun = used();
                decode("a.yaml", text.as_bytes());
                used() - begun
            };
            (0..3).map(|_| once()).min().unwrap()
        };
        let (few, many) = (time(2000), time(16_000));
        assert!(many < few * 20, "{few:?} and {many:?}");
    }

    #[test]
    fn a_document_is_at_the_line_of_its_first_word() {
        let text = "# a\n---\n# b\n\nkind: X\n---\nkind: Y\n";
        let lines: Vec<usize> = decode("a.yaml", text.as_bytes()).documents.iter().map(|d| d.line).collect();
        assert_eq!(lines, [5, 7]);
    }
}
