//! YAML as kubectl writes it: keys sorted, sequences at their key's column, strings quoted only where they must be.

use std::fmt::Write;

use serde_json::Value;

/// One document, ending with a newline.
pub fn emit(value: &Value) -> String {
    let mut out = String::new();
    node(&mut out, value, 0, false);
    out
}

/// Writes a value after its key's colon (or dash): scalars on the same line, collections below.
fn node(out: &mut String, value: &Value, indent: usize, after_key: bool) {
    match value {
        Value::Object(map) if map.is_empty() => line(out, "{}", after_key),
        Value::Array(items) if items.is_empty() => line(out, "[]", after_key),
        Value::Object(map) => {
            if after_key {
                out.push('\n');
            }
            mapping(out, map, indent, !after_key && out.ends_with("- "));
        }
        Value::Array(items) => {
            if after_key {
                out.push('\n');
            }
            sequence(out, items, indent);
        }
        Value::String(text) => string(out, text, indent, after_key),
        scalar => line(out, &scalar.to_string(), after_key),
    }
}

fn line(out: &mut String, text: &str, after_key: bool) {
    if after_key {
        out.push(' ');
    }
    out.push_str(text);
    out.push('\n');
}

/// `first_is_placed`: the cursor stands behind a dash already.
fn mapping(out: &mut String, map: &serde_json::Map<String, Value>, indent: usize, first_is_placed: bool) {
    let mut keys: Vec<&String> = map.keys().collect();
    keys.sort();
    for (index, key) in keys.into_iter().enumerate() {
        if index > 0 || !first_is_placed {
            pad(out, indent);
        }
        out.push_str(&one_line(key));
        out.push(':');
        let value = &map[key];
        // As go-yaml v2: a sequence stands at its key's own column.
        let inner = if value.is_array() { indent } else { indent + 2 };
        node(out, value, inner, true);
    }
}

fn sequence(out: &mut String, items: &[Value], indent: usize) {
    for item in items {
        if !out.ends_with("- ") {
            pad(out, indent);
        }
        out.push_str("- ");
        node(out, item, indent + 2, false);
    }
}

fn pad(out: &mut String, indent: usize) {
    out.extend(std::iter::repeat_n(' ', indent));
}

/// A string value: a literal block where it has several lines that a block can hold, else one line.
fn string(out: &mut String, text: &str, indent: usize, after_key: bool) {
    let printable = text.chars().all(|c| c == '\n' || c == '\t' || !special(c));
    if !text.contains('\n') || !printable || text.trim_matches('\n').is_empty() {
        return line(out, &one_line(text), after_key);
    }
    let body = text.trim_end_matches('\n');
    let chomp = match text.len() - body.len() {
        0 => "-",
        1 => "",
        _ => "+",
    };
    let indicator = if text.starts_with([' ', '\n', '\t']) { "2" } else { "" };
    line(out, &format!("|{indicator}{chomp}"), after_key);
    for row in text.strip_suffix('\n').unwrap_or(text).split('\n') {
        if !row.is_empty() {
            // A block at the top of a sequence still needs an indent.
            pad(out, indent.max(2));
            out.push_str(row);
        }
        out.push('\n');
    }
}

/// Characters that only a double-quoted string can hold.
fn special(c: char) -> bool {
    c.is_control() || matches!(c, '\u{85}' | '\u{2028}' | '\u{2029}' | '\u{feff}' | '\u{fffe}' | '\u{ffff}')
}

fn one_line(text: &str) -> String {
    if text.chars().any(special) || looks_like_another_type(text) {
        return double_quoted(text);
    }
    if is_plain(text) { text.to_owned() } else { format!("'{}'", text.replace('\'', "''")) }
}

fn double_quoted(text: &str) -> String {
    let mut out = String::from('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\t' => out.push_str("\\t"),
            '\r' => out.push_str("\\r"),
            c if special(c) && u32::from(c) <= 0xff => drop(write!(out, "\\x{:02x}", u32::from(c))),
            c if special(c) => drop(write!(out, "\\u{:04x}", u32::from(c))),
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

/// Text that a reader (YAML 1.1 or 1.2) would take for null, a boolean, a number or a date.
fn looks_like_another_type(text: &str) -> bool {
    const WORDS: &[&str] =
        &["", "~", "null", "true", "false", "yes", "no", "on", "off", "y", "n", "<<", "=", ".nan", ".inf", "+.inf", "-.inf"];
    if WORDS.contains(&text.to_ascii_lowercase().as_str()) {
        return true;
    }
    let digits = text.trim_start_matches(['+', '-']);
    let Some(first) = digits.chars().next().filter(|c| c.is_ascii_digit() || *c == '.') else { return false };
    let numeric = |c: char| c.is_ascii_hexdigit() || matches!(c, '_' | '.' | 'x' | 'X' | 'o' | 'O' | '+' | '-' | ':' | 'T' | 'Z' | ' ');
    let starts_like_one = first.is_ascii_digit() || digits[1..].starts_with(|c: char| c.is_ascii_digit());
    // Quantities, ports with names and versions have other letters in them; what is left may be a number, a time or a date.
    starts_like_one && digits.chars().all(numeric)
}

/// Whether YAML reads this text back as the same string without quotes.
fn is_plain(text: &str) -> bool {
    const FIRST: &[char] = &['!', '&', '*', '|', '>', '\'', '"', '%', '@', '`', '#', ',', '[', ']', '{', '}'];
    let edges = text.starts_with(FIRST) || text.starts_with(' ') || text.ends_with([' ', ':']);
    let indicator = ['-', '?', ':'].iter().any(|c| text == c.to_string() || text.starts_with(&format!("{c} ")));
    let marker = text.starts_with("---") || text.starts_with("...");
    !(edges || indicator || marker || text.contains(": ") || text.contains(" #"))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    #[test]
    fn kubectls_layout() {
        let value = json!({
            "kind": "Pod",
            "apiVersion": "v1",
            "metadata": {"name": "a", "labels": {}, "annotations": {"x": "true", "y": "1e3", "z": "a: b"}},
            "spec": {"containers": [{"name": "c", "args": ["-c", "echo hi\nexit 1\n", ""], "env": []}], "nested": [["a", "b"], [{"k": 1}]]},
            "count": 3,
        });
        let expected = r#"apiVersion: v1
count: 3
kind: Pod
metadata:
  annotations:
    x: "true"
    "y": "1e3"
    z: 'a: b'
  labels: {}
  name: a
spec:
  containers:
  - args:
    - -c
    - |
      echo hi
      exit 1
    - ""
    env: []
    name: c
  nested:
  - - a
    - b
  - - k: 1
"#;
        assert_eq!(emit(&value), expected);
    }

    fn leaf() -> impl Strategy<Value = Value> {
        prop_oneof![
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            Just(Value::Null),
            any::<String>().prop_map(Value::from),
            "[ \\n\\t#:'\"a0-9.,\\[\\]{}|>*&!%@`?~_-]{0,12}".prop_map(Value::from),
            "(0x1f|0o17|017|1_000|1:30|2001-01-01|NaN|.5|-.5|1\\.|Yes|NO|null|1e5|\\+1|0b1|12e03|190:20:30)".prop_map(Value::from),
        ]
    }

    fn tree() -> impl Strategy<Value = Value> {
        leaf().prop_recursive(4, 32, 4, |inner| {
            let key = prop_oneof!["[a-z./-]{1,8}", "[ -~]{1,6}"];
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                prop::collection::btree_map(key, inner, 0..4).prop_map(|map| Value::Object(map.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back(value in prop::collection::btree_map("[a-z]{1,5}", tree(), 1..4)) {
            let value = Value::Object(value.into_iter().collect());
            let text = emit(&value);
            let options = serde_saphyr::options! { strict_booleans: true, legacy_octal_numbers: true };
            let back: Value = serde_saphyr::from_str_with_options(&text, options).map_err(|e| TestCaseError::fail(format!("{e}\n{text}")))?;
            prop_assert_eq!(back, value, "{}", text);
        }

        #[test]
        fn the_agents_own_decoder_reads_it_back(data in prop::collection::btree_map("[a-z][-._a-zA-Z0-9]{0,11}", prop_oneof![any::<String>(), "[ \\n\\t#:'\"a0-9.,{}|>*&!%@`?~_-]{0,20}"], 0..6)) {
            let value = serde_json::json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "m", "namespace": "default"}, "data": data});
            let text = emit(&value);
            let decoded = crate::api::manifest::decode("m.yaml", text.as_bytes());
            prop_assert!(decoded.faults.is_empty(), "{:?}\n{}", decoded.faults, text);
            let object = decoded.documents[0].object.as_ref().and_then(crate::api::Object::as_config_map).cloned().unwrap();
            prop_assert_eq!(object.data.unwrap_or_default(), data, "{}", text);
        }
    }
}
