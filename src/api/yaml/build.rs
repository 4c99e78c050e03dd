//! granit-parser's events → the tree: anchors and merge keys expanded under a budget, doubled keys reported with both places.

use super::pairs::Pairs;
use super::split::Chunk;
use super::{MAX_DEPTH, MAX_NODES, Node, Pair, Parsed, Place, Syntax, Value, explain, resolve};
use granit_parser::{Event, Marker, Parser, ScalarStyle, ScanError, Span, Tag};
use std::collections::HashMap;

/// Most doubled keys reported in one document.
const MAX_FAULTS: usize = 100;

/// Parses one document. `budget` is the number of nodes the file may still have.
pub(super) fn document<'b>(chunk: &Chunk<'b>, budget: &'b mut usize) -> Parsed {
    let mut options = granit_parser::options! { flow_nesting_limit: MAX_DEPTH, block_nesting_limit: MAX_DEPTH };
    options.set_emit_comments(false);
    let mut builder =
        Builder { text: chunk.text, at: chunk.at, budget, frames: Vec::new(), anchors: HashMap::new(), root: None, faults: Vec::new() };
    for event in Parser::new_from_str_with_options(chunk.text, options) {
        let taken = match event {
            Ok((event, span)) => builder.take(event, span),
            Err(error) => Err(builder.syntax(&error)),
        };
        if let Err(fault) = taken {
            builder.faults.push(fault);
            break;
        }
    }
    builder.finish(chunk)
}

struct Builder<'b> {
    text: &'b str,
    at: Place,
    budget: &'b mut usize,
    frames: Vec<Frame>,
    anchors: HashMap<usize, Node>,
    root: Option<Node>,
    faults: Vec<Syntax>,
}

/// A collection whose end has not come yet.
struct Frame {
    place: Place,
    anchor: usize,
    open: Open,
}

enum Open {
    Sequence(Vec<Node>),
    Mapping { pairs: Pairs, key: Option<(Key, Place)>, merged: Pairs },
}

enum Key {
    Name(String),
    Merge,
    Refused,
}

impl Builder<'_> {
    fn take(&mut self, event: Event<'_>, span: Span) -> Result<(), Syntax> {
        let place = self.place(&span.start);
        match event {
            Event::Scalar(text, style, anchor, tag) => {
                let plain = self.is_plain(style, tag.as_deref(), place)?;
                let end = self.offset(&span.end);
                let node = self.node(place, end, Value::Scalar { text: text.into_owned(), plain })?;
                self.complete(node, anchor)
            }
            Event::Alias(id) => {
                let node = self.alias(id, place)?;
                self.complete(node, 0)
            }
            Event::SequenceStart(_, anchor, _) => self.open(place, anchor, Open::Sequence(Vec::new())),
            Event::MappingStart(_, anchor, _) => {
                self.open(place, anchor, Open::Mapping { pairs: Pairs::default(), key: None, merged: Pairs::default() })
            }
            Event::SequenceEnd | Event::MappingEnd => self.close(self.offset(&span.end)),
            _ => Ok(()),
        }
    }

    fn open(&mut self, place: Place, anchor: usize, open: Open) -> Result<(), Syntax> {
        if self.frames.len() == MAX_DEPTH {
            return Err(self.fault(place, format!("lists and mappings are nested deeper than {MAX_DEPTH} levels")));
        }
        self.frames.push(Frame { place, anchor, open });
        Ok(())
    }

    fn close(&mut self, end: usize) -> Result<(), Syntax> {
        let Some(frame) = self.frames.pop() else { return Ok(()) };
        let value = match frame.open {
            Open::Sequence(items) => Value::Sequence(items),
            Open::Mapping { pairs, merged, .. } => Value::Mapping(pairs.followed_by(merged)),
        };
        let node = self.node(frame.place, end, value)?;
        self.complete(node, frame.anchor)
    }

    /// Hangs a finished node onto what is open.
    fn complete(&mut self, node: Node, anchor: usize) -> Result<(), Syntax> {
        if anchor != 0 {
            self.pay(measure(&node).0, node.place)?;
            self.anchors.insert(anchor, node.clone());
        }
        match self.frames.last_mut().map(|f| &mut f.open) {
            None => self.root = Some(node),
            Some(Open::Sequence(items)) => items.push(node),
            Some(Open::Mapping { key, .. }) if key.is_none() => return self.take_key(node),
            Some(Open::Mapping { pairs, key, merged, .. }) => match key.take() {
                Some((Key::Name(key), place)) => pairs.add(Pair { key, place, value: node }),
                Some((Key::Merge, place)) if !merge(merged, node) => {
                    return Err(self.fault(place, "map merge requires map or sequence of maps as the value"));
                }
                _ => {}
            },
        }
        Ok(())
    }

    fn take_key(&mut self, node: Node) -> Result<(), Syntax> {
        let key = match &node.value {
            Value::Scalar { text, plain: true } if text == "<<" => Key::Merge,
            Value::Scalar { text, plain } => match resolve::key(text, *plain) {
                Some(key) => self.unique(key, node.place),
                None => return Err(self.fault(node.place, "a mapping's key is missing or null: a key is a text, in quotes if need be")),
            },
            _ => {
                let what = "a mapping's key is itself a list or a mapping: put a value that begins with { or [ in quotes";
                let message = format!("{what}{}", explain::template_hint(self.text));
                return Err(self.fault(node.place, message));
            }
        };
        if let Some(Frame { open: Open::Mapping { key: pending, .. }, .. }) = self.frames.last_mut() {
            *pending = Some((key, node.place));
        }
        Ok(())
    }

    /// The key, or a fault where the mapping has it already (kubectl's words).
    fn unique(&mut self, key: String, place: Place) -> Key {
        let Some(Frame { open: Open::Mapping { pairs, .. }, .. }) = self.frames.last() else { return Key::Refused };
        let Some(first) = pairs.get(&key).map(|pair| pair.place) else { return Key::Name(key) };
        if self.faults.len() < MAX_FAULTS {
            let path = self.path();
            let field = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
            let what = if self.frames.len() == 1 && (key == "apiVersion" || key == "kind") {
                "is a line with --- missing before it?"
            } else {
                "remove one of the two"
            };
            let message = format!("key {key:?} already set in map at {}:{}: {what}", first.line, first.column);
            self.faults.push(Syntax { place, field, message });
        }
        Key::Refused
    }

    /// A copy of what the anchor names, paid for from the budget.
    fn alias(&mut self, id: usize, place: Place) -> Result<Node, Syntax> {
        let Some(target) = self.anchors.get(&id) else {
            return Err(self.fault(place, "the anchor contains itself"));
        };
        let (weight, depth) = measure(target);
        if depth + self.frames.len() > MAX_DEPTH {
            return Err(self.fault(place, format!("lists and mappings are nested deeper than {MAX_DEPTH} levels")));
        }
        let copy = Node { place, ..target.clone() };
        self.pay(weight, place)?;
        Ok(copy)
    }

    /// Takes what a copy weighs from the budget.
    fn pay(&mut self, weight: usize, place: Place) -> Result<(), Syntax> {
        match self.budget.checked_sub(weight) {
            Some(left) => *self.budget = left,
            None => return Err(self.fault(place, "the document's aliases expand into too much data")),
        }
        Ok(())
    }

    fn node(&mut self, place: Place, end: usize, value: Value) -> Result<Node, Syntax> {
        if *self.budget == 0 {
            return Err(self.fault(place, format!("the file holds more than {MAX_NODES} values: split it")));
        }
        *self.budget -= 1;
        let id = u32::try_from(MAX_NODES.saturating_sub(*self.budget)).unwrap_or(u32::MAX);
        Ok(Node { place, end, id, value })
    }

    fn is_plain(&self, style: ScalarStyle, tag: Option<&Tag>, place: Place) -> Result<bool, Syntax> {
        match tag.and_then(|t| t.suffix_in_namespace("tag:yaml.org,2002:")).as_deref() {
            Some("int" | "float" | "bool" | "null") => Ok(true),
            Some("binary") => {
                Err(self.fault(place, "the tag !!binary is not supported: write the value as text, or as base64 where the field wants it"))
            }
            _ if tag.is_some() => Ok(false),
            _ => Ok(style == ScalarStyle::Plain),
        }
    }

    /// The parser's error. A tab is pointed at itself: the parser stands at the value before it.
    fn syntax(&self, error: &ScanError) -> Syntax {
        let mark = error.marker();
        let message = explain::syntax(error, self.text);
        match explain::is_tab(error.kind()).then(|| self.tab_from(mark)).flatten() {
            Some(place) => Syntax { place, field: String::new(), message },
            None => Syntax { place: self.place(mark), field: self.path(), message },
        }
    }

    /// The first tab in the indentation of the marked line or one after it.
    fn tab_from(&self, mark: &Marker) -> Option<Place> {
        let first = mark.line().saturating_sub(1);
        let mut offset = self.at.offset;
        for (i, line) in self.text.split_inclusive('\n').enumerate() {
            let indent = line.len() - line.trim_start_matches([' ', '\t']).len();
            if let Some(tab) = line[..indent].find('\t').filter(|_| i >= first) {
                return Some(Place { line: self.at.line + i, column: tab + 1, offset: offset + tab });
            }
            offset += line.len();
        }
        None
    }

    fn fault(&self, place: Place, message: impl Into<String>) -> Syntax {
        Syntax { place, field: self.path(), message: message.into() }
    }

    /// The path of what is being read.
    fn path(&self) -> String {
        let mut path = String::new();
        for frame in &self.frames {
            match &frame.open {
                Open::Sequence(items) => path.push_str(&format!("[{}]", items.len())),
                Open::Mapping { key: Some((Key::Name(key), _)), .. } if path.is_empty() => path.push_str(key),
                Open::Mapping { key: Some((Key::Name(key), _)), .. } => path.push_str(&format!(".{key}")),
                Open::Mapping { .. } => {}
            }
        }
        path
    }

    fn place(&self, marker: &Marker) -> Place {
        let column = marker.col() + 1;
        Place { line: self.at.line + marker.line().saturating_sub(1), column, offset: self.offset(marker) }
    }

    fn offset(&self, marker: &Marker) -> usize {
        self.at.offset + marker.byte_offset().unwrap_or_else(|| marker.index())
    }

    /// The document; where it broke off, what was read so far.
    fn finish(mut self, chunk: &Chunk<'_>) -> Parsed {
        *self.budget += self.frames.len();
        while !self.frames.is_empty() {
            if self.close(chunk.span.end).is_err() {
                break;
            }
        }
        Parsed { root: self.root, span: chunk.span.clone(), faults: self.faults }
    }
}

/// Merges a mapping, or a list of them, into `into`: what came first wins. False: it is neither.
fn merge(into: &mut Pairs, node: Node) -> bool {
    match node.value {
        Value::Mapping(pairs) => {
            pairs.into_iter().for_each(|pair| into.add(pair));
            true
        }
        Value::Sequence(items) => items.into_iter().all(|item| matches!(item.value, Value::Mapping(_)) && merge(into, item)),
        Value::Scalar { .. } => false,
    }
}

/// A node's weight (values, and their text in units of 32 bytes) and depth.
fn measure(node: &Node) -> (usize, usize) {
    let mut weight = 0;
    let mut deepest = 0;
    let mut open = vec![(node, 1)];
    while let Some((node, depth)) = open.pop() {
        deepest = deepest.max(depth);
        weight += 1;
        match &node.value {
            Value::Scalar { text, .. } => weight += text.len() / 32,
            Value::Sequence(items) => open.extend(items.iter().map(|n| (n, depth + 1))),
            Value::Mapping(pairs) => open.extend(pairs.iter().map(|p| (&p.value, depth + 1))),
        }
    }
    (weight, deepest)
}
