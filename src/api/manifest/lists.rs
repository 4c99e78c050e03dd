//! `kind: List` and the typed lists: their items as documents of their own.

use super::kinds;
use crate::api::object::Kind;
use crate::api::yaml::{Node, Pair, Place, Value};
use std::ops::Range;

/// One item and the bytes it takes.
pub(super) struct Item {
    pub root: Node,
    pub span: Range<usize>,
}

/// The items of the list `root`. Items of a typed list need no apiVersion and kind. Errors: `items` is there and no list.
pub(super) fn items(mut root: Node, kind: Option<Kind>, text: &str, base: usize) -> Result<Vec<Item>, Place> {
    let api_version = root.remove("apiVersion");
    let Some(items) = root.remove("items").filter(|p| !p.value.is_null()) else { return Ok(Vec::new()) };
    let place = items.place;
    let Value::Sequence(nodes) = items.value.value else { return Err(place) };
    let begins = nodes.iter().map(|n| begin(text, n.place.offset - base) + base).collect::<Vec<_>>();
    let end = items.value.end;
    let spans = begins.iter().enumerate().map(|(i, b)| *b..begins.get(i + 1).copied().unwrap_or(end.max(*b)));
    let spans = spans.collect::<Vec<_>>();
    let typed = |mut root: Node| {
        if let (Some(kind), Value::Mapping(pairs)) = (kind, &mut root.value) {
            let text = Value::Scalar { text: kind.shown().to_owned(), plain: false };
            let shown = Node { place: root.place, end: root.place.offset, id: root.id, value: text };
            add(pairs, Pair { key: "kind".to_owned(), place: root.place, value: shown });
            pairs_of_version(pairs, api_version.as_ref());
        }
        root
    };
    Ok(nodes.into_iter().zip(spans).map(|(root, span)| Item { root: typed(root), span }).collect())
}

fn pairs_of_version(pairs: &mut Vec<Pair>, api_version: Option<&Pair>) {
    if let Some(pair) = api_version {
        add(pairs, pair.clone());
    }
}

fn add(pairs: &mut Vec<Pair>, pair: Pair) {
    if !pairs.iter().any(|p| p.key == pair.key) {
        pairs.push(pair);
    }
}

/// Where an item begins: at its line if only the `- ` stands before it there, else at the value itself.
fn begin(text: &str, offset: usize) -> usize {
    let line = text[..offset].rfind('\n').map_or(0, |i| i + 1);
    let before = &text[line..offset];
    if before.trim_start().strip_prefix('-').is_some_and(|rest| rest.trim().is_empty()) { line } else { offset }
}

/// Whether lists may stand in lists: once is enough for any tool's output.
pub(super) const MAX_NESTED: usize = 2;

/// The kinds a list may hold, for its messages.
pub(super) fn readable() -> String {
    kinds::READ.iter().map(|k| k.shown()).collect::<Vec<_>>().join(", ")
}
