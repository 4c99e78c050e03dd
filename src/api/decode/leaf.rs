//! Single values: the two types that read text their own way, and the words for a value of the wrong type.

use crate::api::yaml::resolve::{Resolved, float_text};
use crate::api::yaml::{Node, Value};

/// Longest value quoted in a message, characters.
const MAX_QUOTED: usize = 60;

/// The text of a Quantity: a string, or a number as JSON has it (`cpu: 0.15`, `nvidia.com/gpu: 1`). Its grammar is validation's.
pub(super) fn quantity(node: &Node) -> Result<String, String> {
    match node.resolved() {
        Some(Resolved::Str(text)) => Ok(text.to_owned()),
        Some(Resolved::Int(v)) => Ok(v.to_string()),
        Some(Resolved::Uint(v)) => Ok(v.to_string()),
        Some(Resolved::Float(v)) if v.is_finite() => Ok(float_text(v)),
        Some(Resolved::Null) => Ok("0".to_owned()),
        _ => Err(format!("cannot unmarshal {} into a quantity: write a number or a text such as \"500m\" or \"1Gi\"", json_type(node))),
    }
}

/// The text of a Time: RFC 3339, checked.
pub(super) fn time(node: &Node) -> Result<String, String> {
    match node.resolved() {
        Some(Resolved::Null) => Ok(zero("Time").to_owned()),
        Some(Resolved::Str(text)) if text.parse::<jiff::Timestamp>().is_ok() => Ok(text.to_owned()),
        Some(Resolved::Str(text)) => Err(format!("parsing time {}: not in the form \"2006-01-02T15:04:05Z\"", quoted(text))),
        _ => Err(format!("cannot unmarshal {} into a time: write it as \"2006-01-02T15:04:05Z\"", json_type(node))),
    }
}

/// What stands in for a value of the newtype `name` that could not be read.
pub(super) fn zero(name: &str) -> &'static str {
    if name == "Quantity" { "0" } else { "1970-01-01T00:00:00Z" }
}

/// JSON's word for what a node holds, as Go's decoder says it.
pub(super) fn json_type(node: &Node) -> &'static str {
    match &node.value {
        Value::Sequence(_) => "array",
        Value::Mapping(_) => "object",
        Value::Scalar { .. } => match node.resolved() {
            Some(Resolved::Bool(_)) => "bool",
            Some(Resolved::Int(_) | Resolved::Uint(_) | Resolved::Float(_)) => "number",
            Some(Resolved::Null) => "null",
            _ => "string",
        },
    }
}

/// Why `node` can't be a `wanted` (a Go or JSON type), and what to write instead.
pub(super) fn mismatch(node: &Node, wanted: &str, secret: bool) -> String {
    let given = json_type(node);
    let text = match &node.value {
        Value::Scalar { text, .. } if !secret => Some(text.as_str()),
        _ => None,
    };
    let hint = match (given, wanted) {
        ("number" | "bool", "string") => text.map_or(" (put it in quotes)".to_owned(), |t| format!(" (put it in quotes: {t:?})")),
        ("string", "int32" | "int64") if text.is_some_and(|t| t.parse::<i64>().is_ok()) => " (remove the quotes)".to_owned(),
        ("string", "bool") if text.is_some_and(|t| t == "true" || t == "false") => " (remove the quotes)".to_owned(),
        ("object", "array") => " (begin each item with \"- \")".to_owned(),
        ("array", "object") => " (remove the \"- \")".to_owned(),
        ("string", "array") => text.map_or(String::new(), |t| format!(" (write [{}])", quoted(t))),
        ("number", _) => text.map_or(String::new(), |t| format!(" ({t})")),
        ("string", _) => text.map_or(String::new(), |t| format!(" ({})", quoted(t))),
        _ => String::new(),
    };
    format!("cannot unmarshal {given} into a field of type {wanted}{hint}{}", template(node, secret))
}

/// What to say where serde stopped with `message` at `node`.
pub(super) fn stopped(node: &Node, message: &str, secret: bool) -> String {
    if ["Invalid symbol", "Invalid last symbol", "Invalid input length", "Invalid padding"].iter().any(|m| message.starts_with(m)) {
        return format!("illegal base64 data ({}): plain text goes under stringData", message.trim_end_matches('.'));
    }
    if message.contains("IntOrString") {
        return format!("cannot unmarshal {} into a number or a string", json_type(node));
    }
    if message.contains("a 32-bit integer") {
        return "the number does not fit into a field of type int32".to_owned();
    }
    if secret { format!("cannot unmarshal {} into this field", json_type(node)) } else { message.to_owned() }
}

fn template(node: &Node, secret: bool) -> &'static str {
    match &node.value {
        Value::Scalar { text, .. } if !secret => crate::api::yaml::explain::template_hint(text),
        _ => "",
    }
}

fn quoted(text: &str) -> String {
    if text.chars().count() <= MAX_QUOTED {
        return format!("{text:?}");
    }
    let cut = text.chars().take(MAX_QUOTED).collect::<String>();
    format!("{:?}", cut + "…")
}
