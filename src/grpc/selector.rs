//! Label selectors as kubectl's `-l` takes them: `a=b,c!=d,e in (f,g),h notin (i),j,!k` (apimachinery `pkg/labels/selector.go`).

use std::collections::BTreeMap;

/// One requirement on the labels.
#[derive(Debug, PartialEq, Eq)]
enum Requirement {
    In(String, Vec<String>),
    NotIn(String, Vec<String>),
    Exists(String),
    Absent(String),
}

/// A parsed selector; the empty one matches everything.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Selector(Vec<Requirement>);

impl Selector {
    /// Reads a selector. Errors: what could not be understood.
    pub fn parse(text: &str) -> Result<Selector, String> {
        let parts = split(text)?.into_iter().map(str::trim).filter(|part| !part.is_empty());
        parts
            .map(|part| requirement(part).ok_or_else(|| format!("unable to parse requirement: {part:?}")))
            .collect::<Result<_, _>>()
            .map(Selector)
    }

    /// Whether the labels satisfy every requirement.
    pub fn matches(&self, labels: Option<&BTreeMap<String, String>>) -> bool {
        let value = |key: &String| labels.and_then(|labels| labels.get(key));
        self.0.iter().all(|requirement| match requirement {
            Requirement::In(key, values) => value(key).is_some_and(|v| values.contains(v)),
            Requirement::NotIn(key, values) => value(key).is_none_or(|v| !values.contains(v)),
            Requirement::Exists(key) => value(key).is_some(),
            Requirement::Absent(key) => value(key).is_none(),
        })
    }
}

/// Splits at commas outside of parentheses.
fn split(text: &str) -> Result<Vec<&str>, String> {
    let (mut parts, mut start, mut open) = (Vec::new(), 0, false);
    for (at, c) in text.char_indices() {
        match c {
            '(' if !open => open = true,
            ')' if open => open = false,
            '(' | ')' => return Err(format!("unable to parse requirement: unexpected {c:?} in {text:?}")),
            ',' if !open => {
                parts.push(&text[start..at]);
                start = at + 1;
            }
            _ => {}
        }
    }
    if open {
        return Err(format!("unable to parse requirement: missing ')' in {text:?}"));
    }
    parts.push(&text[start..]);
    Ok(parts)
}

fn requirement(part: &str) -> Option<Requirement> {
    if let Some(head) = part.strip_suffix(')') {
        let (head, values) = head.split_once('(')?;
        let (key, operator) = head.trim().rsplit_once(char::is_whitespace)?;
        let values = values.split(',').map(|v| v.trim().to_owned()).collect();
        return match operator {
            "in" => Some(Requirement::In(label(key)?, values)),
            "notin" => Some(Requirement::NotIn(label(key)?, values)),
            _ => None,
        };
    }
    if let Some((key, value)) = part.split_once("!=") {
        return Some(Requirement::NotIn(label(key)?, vec![value.trim().to_owned()]));
    }
    if let Some((key, value)) = part.split_once("==").or_else(|| part.split_once('=')) {
        return Some(Requirement::In(label(key)?, vec![value.trim().to_owned()]));
    }
    match part.strip_prefix('!') {
        Some(key) => Some(Requirement::Absent(label(key)?)),
        None => Some(Requirement::Exists(label(part)?)),
    }
}

/// A label's key: not empty, and of the characters a key may have.
fn label(text: &str) -> Option<String> {
    let text = text.trim();
    let legal = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | '/');
    (!text.is_empty() && text.chars().all(legal)).then(|| text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_operator_matches_as_kubectls() {
        let labels: BTreeMap<String, String> = [("app", "web"), ("tier", "a")].map(|(k, v)| (k.into(), v.into())).into();
        let cases = [
            ("", true),
            ("app=web", true),
            ("app==web,tier=a", true),
            ("app = db", false),
            ("app!=db", true),
            ("none!=x", true),
            ("app in (db, web)", true),
            ("app in (db)", false),
            ("tier notin (b,c),app", true),
            ("none notin (b)", true),
            ("!app", false),
            ("!none", true),
            ("app.kubernetes.io/name", false),
        ];
        for (text, expected) in cases {
            assert_eq!(Selector::parse(text).unwrap().matches(Some(&labels)), expected, "{text}");
        }
        assert!(!Selector::parse("a=b").unwrap().matches(None));
    }

    #[test]
    fn nonsense_is_refused() {
        for text in ["a in (b", "a b", "=x", "a in b)", "a((b))", "a like (b)", "!"] {
            assert!(Selector::parse(text).is_err(), "{text}");
        }
    }
}
