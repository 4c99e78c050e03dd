//! Paths as kubectl takes them (`{.status.phase}`, `status.list[0].name`, `.metadata.labels.app\.kubernetes\.io/name`), read as RFC 9535's
//! JSONPath, which has the rest of client-go's util/jsonpath in the same form: indexes, slices, `[*]`, `..` and filters.

use serde_json::Value;
use serde_json_path::JsonPath;

/// A path to one value.
#[derive(Clone, Debug, PartialEq)]
pub struct Path(JsonPath);

impl Path {
    /// Reads a path, with or without its braces and its first dot (kubectl's RelaxedJSONPathExpression).
    pub fn parse(text: &str) -> Result<Path, String> {
        let inner = text.strip_prefix('{').map_or(Some(text), |rest| rest.strip_suffix('}'));
        let inner = inner.map(|inner| inner.strip_prefix('.').filter(|rest| !rest.starts_with('.')).unwrap_or(inner));
        let shaped = inner.filter(|inner| !inner.is_empty() && !inner.contains(['{', '}']) && !inner.starts_with(['\'', '"']));
        let inner =
            shaped.ok_or("unexpected path string, expected a 'name1.name2' or '.name1.name2' or '{name1.name2}' or '{.name1.name2}'")?;
        let standard = standard(inner);
        JsonPath::parse(&standard).map(Path).map_err(|cause| format!("the path {text:?} cannot be read: {cause}"))
    }

    /// What the path leads to; `None`: nothing. Errors: more than one value.
    pub fn find<'v>(&self, object: &'v Value) -> Result<Option<&'v Value>, String> {
        match self.0.query(object).all().as_slice() {
            [] => Ok(None),
            [one] => Ok(Some(one)),
            _ => Err("given jsonpath expression matches more than one value".to_owned()),
        }
    }
}

/// The path from `$`, each name quoted: Kubernetes' may have any character, with `\` before a dot.
fn standard(inner: &str) -> String {
    let (mut out, mut name) = ("$".to_owned(), String::new());
    let mut rest = inner.chars().peekable();
    while let Some(c) = rest.next() {
        match c {
            '.' if rest.next_if_eq(&'.').is_some() => {
                flush(&mut name, &mut out);
                out.push_str("..");
            }
            '.' => flush(&mut name, &mut out),
            '[' => {
                flush(&mut name, &mut out);
                out.push('[');
                bracket(&mut rest, &mut out);
            }
            '\\' => name.extend(rest.next()),
            c => name.push(c),
        }
    }
    flush(&mut name, &mut out);
    out
}

fn flush(name: &mut String, out: &mut String) {
    match std::mem::take(name).as_str() {
        "" => {}
        "*" => out.push_str("[*]"),
        name => out.push_str(&format!("['{}']", name.replace('\\', "\\\\").replace('\'', "\\'"))),
    }
}

/// What stands in brackets, as it is, to the one that closes them.
fn bracket(rest: &mut impl Iterator<Item = char>, out: &mut String) {
    let (mut open, mut quote) = (1, None);
    for c in rest {
        out.push(c);
        match (quote, c) {
            (Some(q), c) if c == q => quote = None,
            (Some(_), _) => {}
            (None, '\'' | '"') => quote = Some(c),
            (None, '[') => open += 1,
            (None, ']') => open -= 1,
            _ => {}
        }
        if open == 0 {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn names_dots_indexes_and_filters() {
        let object = json!({"a": {"b-c": 1, "d.e/f": 2, "it's": 3}, "l": [{"n": "x", "v": 4}, {"n": "y]", "v": 5}]});
        for (path, expected) in [
            ("{.a.b-c}", json!(1)),
            ("a.d\\.e/f", json!(2)),
            (".a.it's", json!(3)),
            (".l[0].v", json!(4)),
            ("l[-1].v", json!(5)),
            (".l[?(@.n=='y]')].v", json!(5)),
            ("{.a['b-c']}", json!(1)),
            ("{..b-c}", json!(1)),
        ] {
            assert_eq!(Path::parse(path).unwrap().find(&object), Ok(Some(&expected)), "{path}");
        }
        for bad in ["", "{}", "{.a", "a}", "{.l[}", ".l[?(]"] {
            assert!(Path::parse(bad).is_err(), "{bad}");
        }
    }
}
