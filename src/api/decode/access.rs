//! Walks lists, maps and structs; unknown fields of a struct are reported and passed over.

use super::cursor::{Cursor, Sink};
use super::path::{Label, Level};
use super::{Found, Stopped, misplaced, path};
use crate::api::suggest;
use crate::api::yaml::{Node, Pair};
use serde::de::value::StrDeserializer;
use serde::de::{DeserializeSeed, IntoDeserializer, MapAccess, SeqAccess};

/// The items of a list.
pub(super) struct Items<'a> {
    items: std::iter::Enumerate<std::slice::Iter<'a, Node>>,
    level: &'a Level<'a>,
    sink: &'a Sink<'a>,
}

impl<'a> Items<'a> {
    pub fn new(items: &'a [Node], level: &'a Level<'a>, sink: &'a Sink<'a>) -> Items<'a> {
        Items { items: items.iter().enumerate(), level, sink }
    }
}

impl<'de> SeqAccess<'de> for Items<'_> {
    type Error = Stopped;

    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>, Stopped> {
        let Some((index, node)) = self.items.next() else { return Ok(None) };
        let cursor = Cursor { node, up: Some(self.level), label: Label::Index(index), sink: self.sink };
        seed.deserialize(cursor).map(Some).inspect_err(|e| cursor.stop(e))
    }
}

/// The pairs of a map or a struct.
pub(super) struct Fields<'a> {
    pairs: std::slice::Iter<'a, Pair>,
    current: Option<&'a Pair>,
    level: &'a Level<'a>,
    sink: &'a Sink<'a>,
    strict: bool,
}

impl<'a> Fields<'a> {
    /// Any keys.
    pub fn map(pairs: &'a [Pair], level: &'a Level<'a>, sink: &'a Sink<'a>) -> Fields<'a> {
        Fields { pairs: pairs.iter(), current: None, level, sink, strict: false }
    }

    /// Only the fields the level's type knows.
    pub fn known(pairs: &'a [Pair], level: &'a Level<'a>, sink: &'a Sink<'a>) -> Fields<'a> {
        Fields { strict: true, ..Fields::map(pairs, level, sink) }
    }

    fn passes(&self, pair: &Pair) -> bool {
        let known = !self.strict || self.level.known.contains(&pair.key.as_str());
        if !known {
            self.sink.push(unknown(pair, self.level));
        }
        known && !self.sink.leaves_out(&pair.value)
    }
}

impl<'de> MapAccess<'de> for Fields<'_> {
    type Error = Stopped;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, Stopped> {
        self.current = loop {
            match self.pairs.next() {
                Some(pair) if !self.passes(pair) => {}
                other => break other,
            }
        };
        let Some(pair) = self.current else { return Ok(None) };
        let key: StrDeserializer<'_, Stopped> = pair.key.as_str().into_deserializer();
        seed.deserialize(key).map(Some)
    }

    fn next_value_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<T::Value, Stopped> {
        let Some(pair) = self.current else { return Err(Stopped("a value without a key".into())) };
        let label = if self.strict { Label::Field(&pair.key) } else { Label::Key(&pair.key) };
        let cursor = Cursor { node: &pair.value, up: Some(self.level), label, sink: self.sink };
        seed.deserialize(cursor).inspect_err(|e| cursor.stop(e))
    }
}

/// The fault for a field its struct does not know: the API server's words, then the name or the place that was probably meant.
fn unknown(pair: &Pair, level: &Level<'_>) -> Found {
    let field = path::write(Some(level), Label::Field(&pair.key));
    let (hint, meant) = hint(&pair.key, level).unwrap_or_default();
    Found { place: pair.place, message: format!("unknown field {field:?}{hint}"), field, meant }
}

/// What was meant by `key`, likeliest first: the same name spelt otherwise, a field of something below or above, a near name.
fn hint(key: &str, level: &Level<'_>) -> Option<(String, Option<String>)> {
    if let Some(saying) = misplaced::saying(level.name, key) {
        return Some((format!(": {saying}"), None));
    }
    if let Some(name) = level.known.iter().find(|k| suggest::same(key, k)) {
        return Some(did_you_mean(name, level));
    }
    if let Some((below, name)) = misplaced::below(level.name, key) {
        let parent = level.path();
        let place = if parent.is_empty() { below.to_owned() } else { format!("{parent}.{below}") };
        return Some((format!(": {} belongs in {place}", shown(key, name)), Some(format!("{place}.{name}"))));
    }
    if let Some((place, name)) = above(key, level) {
        let (of, path) = match place.as_str() {
            "" => ("the object itself", name.to_owned()),
            place => (place, format!("{place}.{name}")),
        };
        return Some((format!(": {} is a field of {of}: check the indentation", shown(key, name)), Some(path)));
    }
    suggest::nearest(key, level.known.iter().copied()).map(|name| did_you_mean(name, level))
}

fn did_you_mean(name: &str, level: &Level<'_>) -> (String, Option<String>) {
    (format!(": did you mean {name:?}?"), Some(path::write(Some(level), Label::Field(name))))
}

/// "it", or the right spelling.
fn shown(key: &str, name: &str) -> String {
    if key == name { "it".to_owned() } else { format!("{name:?}") }
}

/// The path of the nearest struct above that knows `key`, and how it is spelt there.
fn above(key: &str, level: &Level<'_>) -> Option<(String, &'static str)> {
    // Nearly everything has a name: that says nothing.
    if key.eq_ignore_ascii_case("name") {
        return None;
    }
    let mut level = level.up;
    while let Some(l) = level {
        if let Some(name) = l.known.iter().find(|k| suggest::same(key, k)) {
            return Some((l.path(), name));
        }
        level = l.up;
    }
    None
}
