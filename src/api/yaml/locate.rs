//! From a field's path as Kubernetes writes it to its place in the tree.

use super::{Node, Pair, Place, Value};

/// Where a path leads.
#[derive(Clone, Copy, Debug)]
pub struct Found<'t> {
    /// The value's place if it is a scalar, else its key's: where a reader looks for it. Of the nearest ancestor that exists.
    pub place: Place,
    /// The value at the path; `None` if only an ancestor exists.
    pub node: Option<&'t Node>,
}

/// Looks `path` up: `spec.containers[0].image`, maps' keys as `labels[app]` or `labels.app`.
pub fn find<'t>(root: &'t Node, path: &str) -> Found<'t> {
    let (mut node, mut place, mut rest) = (root, root.place, path);
    loop {
        rest = rest.strip_prefix('.').unwrap_or(rest);
        if rest.is_empty() {
            return Found { place, node: Some(node) };
        }
        let Some((next, next_place, remains)) = step(node, rest) else {
            return Found { place, node: None };
        };
        (node, place, rest) = (next, next_place, remains);
    }
}

fn step<'t, 'p>(node: &'t Node, rest: &'p str) -> Option<(&'t Node, Place, &'p str)> {
    match &node.value {
        Value::Scalar { .. } => None,
        Value::Sequence(items) => {
            let (index, rest) = bracketed(rest)?;
            let item = items.get(index.parse::<usize>().ok()?)?;
            Some((item, item.place, rest))
        }
        Value::Mapping(pairs) => {
            let (pair, rest) = match bracketed(rest) {
                Some((key, rest)) => (pairs.iter().find(|p| p.key == key.trim_matches('"'))?, rest),
                None => longest(pairs, rest)?,
            };
            let scalar = matches!(pair.value.value, Value::Scalar { .. }) && !pair.value.is_null();
            Some((&pair.value, if scalar { pair.value.place } else { pair.place }, rest))
        }
    }
}

/// `[x]rest` → (x, rest).
fn bracketed(rest: &str) -> Option<(&str, &str)> {
    rest.strip_prefix('[')?.split_once(']')
}

/// The pair with the longest key that `rest` begins with: keys of maps may hold dots.
fn longest<'t, 'p>(pairs: &'t [Pair], rest: &'p str) -> Option<(&'t Pair, &'p str)> {
    let behind = |pair: &Pair| rest.strip_prefix(pair.key.as_str()).filter(|r| r.is_empty() || r.starts_with(['.', '[']));
    let pair = pairs.iter().filter(|p| behind(p).is_some()).max_by_key(|p| p.key.len())?;
    behind(pair).map(|r| (pair, r))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_lead_to_the_value_or_the_nearest_ancestor() {
        let text = "metadata:\n  labels:\n    app.io/name: x\nspec:\n  containers:\n  - name: a\n    image: b\n";
        let root = super::super::parse(text, Place { line: 1, column: 1, offset: 0 }).remove(0).root.expect("parses");
        let at = |path| {
            let found = find(&root, path);
            (found.place.line, found.place.column, found.node.is_some())
        };
        assert_eq!(at("spec.containers[0].image"), (7, 12, true));
        assert_eq!(at("metadata.labels[app.io/name]"), (3, 18, true));
        assert_eq!(at("metadata.labels.app.io/name"), (3, 18, true));
        assert_eq!(at("spec.containers[0].ports[1]"), (6, 5, false));
        assert_eq!(at("spec.containers[3]"), (5, 3, false));
        assert_eq!(at("spec.containers"), (5, 3, true));
        assert_eq!(at("status"), (1, 1, false));
        assert_eq!(at(""), (1, 1, true));
    }
}
