//! YAML (and so JSON) text as a tree whose every node knows its place in the file.
//!
//! Guarantees: never panics; each document is parsed on its own, so a broken one hides no other; size, depth, node count and
//! alias expansion are bounded. Scalars keep their text and style and are resolved ([`resolve`]) only when a type is asked for.
//! Leaves the meaning of the documents to [`super::manifest`].

mod build;
pub(crate) mod explain;
pub mod locate;
mod pairs;
pub mod resolve;
mod split;

/// Largest file read, bytes: what the kubelet reads of a static pod's file (`pkg/kubelet/config/common.go`, maxConfigLength).
pub const MAX_FILE: usize = 10 << 20;
/// Deepest nesting of lists and mappings.
pub const MAX_DEPTH: usize = 100;
/// Most nodes in one file, aliases expanded.
pub const MAX_NODES: usize = 500_000;
/// Most documents in one file.
pub const MAX_DOCUMENTS: usize = 10_000;

/// Where something stands in its file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// Line, from 1.
    pub line: usize,
    /// Column in characters, from 1.
    pub column: usize,
    /// Offset in bytes, from 0.
    pub offset: usize,
}

/// One value and where it stands.
#[derive(Clone, Debug, PartialEq)]
pub struct Node {
    /// Where the value begins.
    pub place: Place,
    /// Offset of the first byte behind it.
    pub end: usize,
    /// Tells nodes of one file apart (an alias' copies share the number of what they copy).
    pub id: u32,
    /// The value.
    pub value: Value,
}

/// What a node holds.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// Text after escapes; `plain` decides whether it may be something else than a string.
    Scalar {
        /// The text, escapes resolved.
        text: String,
        /// Written without quotes (or tagged `!!int` and the like), so it may be a number, a boolean or null.
        plain: bool,
    },
    /// A list.
    Sequence(Vec<Node>),
    /// A mapping: keys are unique, in the file's order, merge keys resolved.
    Mapping(Vec<Pair>),
}

/// One `key: value` of a mapping.
#[derive(Clone, Debug, PartialEq)]
pub struct Pair {
    /// The key as JSON would have it.
    pub key: String,
    /// Where the key stands.
    pub place: Place,
    /// The value.
    pub value: Node,
}

/// Something wrong with the text itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Syntax {
    /// Where.
    pub place: Place,
    /// The path of the field, "" where none is known.
    pub field: String,
    /// What, and what to do.
    pub message: String,
}

/// One document of a file that is not empty.
#[derive(Clone, Debug)]
pub struct Parsed {
    /// What could be read; of a broken document the part before the error, if any.
    pub root: Option<Node>,
    /// The bytes of the file that are this document, its `---` line included.
    pub span: std::ops::Range<usize>,
    /// Errors of syntax and doubled keys. The document is refused if there is any.
    pub faults: Vec<Syntax>,
}

impl Node {
    /// The value of `key`, if this is a mapping that has it.
    pub fn get(&self, key: &str) -> Option<&Node> {
        self.pair(key).map(|p| &p.value)
    }

    /// The pair of `key`, if this is a mapping that has it.
    pub fn pair(&self, key: &str) -> Option<&Pair> {
        self.pairs().iter().find(|p| p.key == key)
    }

    /// The value of `key`, to change.
    pub fn get_mut(&mut self, key: &str) -> Option<&mut Node> {
        match &mut self.value {
            Value::Mapping(pairs) => pairs.iter_mut().find(|p| p.key == key).map(|p| &mut p.value),
            _ => None,
        }
    }

    /// Takes `key` out of this mapping.
    pub fn remove(&mut self, key: &str) -> Option<Pair> {
        match &mut self.value {
            Value::Mapping(pairs) => pairs.iter().position(|p| p.key == key).map(|i| pairs.remove(i)),
            _ => None,
        }
    }

    /// The pairs, none if this is no mapping.
    pub fn pairs(&self) -> &[Pair] {
        match &self.value {
            Value::Mapping(pairs) => pairs,
            _ => &[],
        }
    }

    /// The text, if this is a scalar that is a string.
    pub fn as_str(&self) -> Option<&str> {
        match self.resolved() {
            Some(resolve::Resolved::Str(text)) => Some(text),
            _ => None,
        }
    }

    /// What the scalar stands for; `None` for lists and mappings.
    pub fn resolved(&self) -> Option<resolve::Resolved<'_>> {
        match &self.value {
            Value::Scalar { text, plain: true } => Some(resolve::plain(text)),
            Value::Scalar { text, plain: false } => Some(resolve::Resolved::Str(text)),
            _ => None,
        }
    }

    /// Whether this is null (written so, or left out).
    pub fn is_null(&self) -> bool {
        matches!(self.resolved(), Some(resolve::Resolved::Null))
    }
}

/// Parses the documents of a file, empty ones left out. The text must be free of control characters and a byte order mark.
pub fn parse(text: &str, at: Place) -> Vec<Parsed> {
    let mut nodes = MAX_NODES;
    let mut documents = Vec::new();
    for chunk in split::documents(text, at) {
        if documents.len() == MAX_DOCUMENTS {
            let message = format!("the file holds more than {MAX_DOCUMENTS} documents: split it");
            let faults = vec![Syntax { place: chunk.at, field: String::new(), message }];
            documents.push(Parsed { root: None, span: chunk.span, faults });
            break;
        }
        let parsed = build::document(&chunk, &mut nodes);
        if !parsed.faults.is_empty() || parsed.root.as_ref().is_some_and(|r| !r.is_null()) {
            documents.push(parsed);
        }
    }
    documents
}
