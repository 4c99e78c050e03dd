//! What a plain (unquoted) scalar stands for: a number, a boolean, null or text.
//!
//! The rules are those of the library under `sigs.k8s.io/yaml` (goyaml.v2 `resolve.go`), so a manifest means here what it means
//! to kubectl. Decided after reading it:
//! - integers: decimal, `0x`, `0b`, `0o`, and **a leading 0 is octal** (`0400` = 256); `_` is dropped; `08` is no octal and so the float 8;
//! - floats: as YAML 1.2 writes them, `.5`, `1e3`, `.inf`, `.nan`; no base 60;
//! - booleans: `true false yes no on off y n` as `x`, `X…` and all capitals, **y and n too**;
//! - null: nothing, `~`, `null` in the same three spellings;
//! - timestamps stay text. Everything quoted is text.

/// A scalar's meaning.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Resolved<'a> {
    /// `null`, `~` or nothing.
    Null,
    /// A boolean.
    Bool(bool),
    /// An integer that fits into 64 bits.
    Int(i64),
    /// A larger integer that fits without a sign.
    Uint(u64),
    /// Any other number.
    Float(f64),
    /// Text.
    Str(&'a str),
}

/// What the plain scalar `text` stands for.
pub fn plain(text: &str) -> Resolved<'_> {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => Resolved::Null,
        "y" | "Y" | "yes" | "Yes" | "YES" | "true" | "True" | "TRUE" | "on" | "On" | "ON" => Resolved::Bool(true),
        "n" | "N" | "no" | "No" | "NO" | "false" | "False" | "FALSE" | "off" | "Off" | "OFF" => Resolved::Bool(false),
        ".nan" | ".NaN" | ".NAN" => Resolved::Float(f64::NAN),
        ".inf" | ".Inf" | ".INF" | "+.inf" | "+.Inf" | "+.INF" => Resolved::Float(f64::INFINITY),
        "-.inf" | "-.Inf" | "-.INF" => Resolved::Float(f64::NEG_INFINITY),
        _ => number(text).unwrap_or(Resolved::Str(text)),
    }
}

fn number(text: &str) -> Option<Resolved<'_>> {
    match text.as_bytes().first()? {
        b'.' => float(text),
        b'0'..=b'9' | b'+' | b'-' => {
            let digits = text.replace('_', "");
            integer(&digits).or_else(|| float(&digits))
        }
        _ => None,
    }
}

/// Go's `strconv.ParseInt(text, 0, 64)`, then ParseUint.
fn integer<'a>(text: &str) -> Option<Resolved<'a>> {
    let (negative, magnitude) = match text.as_bytes().first()? {
        b'-' => (true, &text[1..]),
        b'+' => (false, &text[1..]),
        _ => (false, text),
    };
    let lower = magnitude.to_ascii_lowercase();
    let (radix, digits) = match lower.as_str() {
        d if d.starts_with("0x") => (16, &lower[2..]),
        d if d.starts_with("0b") => (2, &lower[2..]),
        d if d.starts_with("0o") => (8, &lower[2..]),
        d if d.len() > 1 && d.starts_with('0') => (8, &lower[1..]),
        d => (10, d),
    };
    if digits.is_empty() || !digits.chars().all(|c| c.is_digit(radix)) {
        return None;
    }
    let value = i128::from(u64::from_str_radix(digits, radix).ok()?);
    let value = if negative { -value } else { value };
    match i64::try_from(value) {
        Ok(v) => Some(Resolved::Int(v)),
        Err(_) => u64::try_from(value).ok().map(Resolved::Uint),
    }
}

/// The floats of goyaml's `yamlStyleFloat`.
fn float<'a>(text: &str) -> Option<Resolved<'a>> {
    let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
    let (mantissa, exponent) = match unsigned.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, Some(exponent)),
        None => (unsigned, None),
    };
    let all_digits = |t: &str| !t.is_empty() && t.bytes().all(|b| b.is_ascii_digit());
    let mantissa_ok = match mantissa.split_once('.') {
        Some(("", fraction)) => all_digits(fraction),
        Some((whole, fraction)) => all_digits(whole) && (fraction.is_empty() || all_digits(fraction)),
        None => all_digits(mantissa),
    };
    let exponent_ok = exponent.is_none_or(|e| all_digits(e.strip_prefix(['+', '-']).unwrap_or(e)));
    let value = text.parse::<f64>().ok().filter(|v| v.is_finite());
    if mantissa_ok && exponent_ok { value.map(Resolved::Float) } else { None }
}

/// A float as Go's `encoding/json` writes it, which is what Kubernetes' decoders then see.
pub fn float_text(value: f64) -> String {
    let magnitude = value.abs();
    if magnitude != 0.0 && !(1e-6..1e21).contains(&magnitude) { format!("{value:e}") } else { format!("{value}") }
}

/// A mapping's key as JSON has it (`convertToJSONableObject` of sigs.k8s.io/yaml): `y:` is "true", `0400:` "256".
/// `None` where Kubernetes knows no such key (null).
pub fn key(text: &str, is_plain: bool) -> Option<String> {
    match if is_plain { plain(text) } else { Resolved::Str(text) } {
        Resolved::Null => None,
        Resolved::Bool(b) => Some(b.to_string()),
        Resolved::Int(i) => Some(i.to_string()),
        Resolved::Uint(u) => Some(u.to_string()),
        Resolved::Float(f) => Some(float_text(f)),
        Resolved::Str(s) => Some(s.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integers_are_those_of_yaml_1_1() {
        for (text, value) in
            [("0", 0), ("0400", 256), ("-0755", -493), ("0x1F", 31), ("0b101", 5), ("0o17", 15), ("+1_000", 1000), ("-7", -7)]
        {
            assert_eq!(plain(text), Resolved::Int(value), "{text}");
        }
        assert_eq!(plain("18446744073709551615"), Resolved::Uint(u64::MAX));
        assert_eq!(plain("08"), Resolved::Float(8.0));
        assert_eq!(plain("99999999999999999999"), Resolved::Float(1e20));
    }

    #[test]
    fn floats_booleans_and_null() {
        for (text, value) in [("0.15", 0.15), (".5", 0.5), ("1e3", 1000.0), ("-2.5E-1", -0.25), ("1.", 1.0)] {
            assert_eq!(plain(text), Resolved::Float(value), "{text}");
        }
        for text in ["y", "Yes", "ON", "true"] {
            assert_eq!(plain(text), Resolved::Bool(true), "{text}");
        }
        for text in ["N", "no", "Off", "FALSE"] {
            assert_eq!(plain(text), Resolved::Bool(false), "{text}");
        }
        for text in ["", "~", "Null"] {
            assert_eq!(plain(text), Resolved::Null, "{text}");
        }
    }

    #[test]
    fn the_rest_is_text() {
        for text in ["tRUE", "1.2.3", "1Gi", "500m", "-", "+", "0x", "2020-01-01", "1:30", "_1", "e5", ".", "1e", "--1", "nul", "0xg", "é"]
        {
            assert_eq!(plain(text), Resolved::Str(text), "{text}");
        }
    }

    #[test]
    fn keys_are_what_json_would_have() {
        assert_eq!(key("y", true).as_deref(), Some("true"));
        assert_eq!(key("0400", true).as_deref(), Some("256"));
        assert_eq!(key("y", false).as_deref(), Some("y"));
        assert_eq!(key("~", true), None);
    }
}
