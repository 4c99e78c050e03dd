//! Errors of syntax in words that say what to do.

use granit_parser::{ErrorKind, ScanError};

/// What is wrong, and what to do. `text` is the document: leftovers of templates in it explain most errors.
pub(super) fn syntax(error: &ScanError, text: &str) -> String {
    let what = match error.kind() {
        kind if is_tab(kind) => "found a tab where YAML allows spaces only: indent with spaces".to_owned(),
        ErrorKind::UnknownQuotedScalarEscape => {
            r"unknown escape in a double-quoted string: write \\ for a backslash and ' as it is, or use single quotes".to_owned()
        }
        ErrorKind::InvalidQuotedScalarHexEscape | ErrorKind::InvalidUnicodeEscape => {
            r"incomplete \x or \u escape in a double-quoted string: write \\ for a backslash, or use single quotes".to_owned()
        }
        ErrorKind::UnclosedQuotedScalar => "the quoted string that begins here, or the one before, is never closed".to_owned(),
        ErrorKind::UnclosedFlowCollection { open } => format!("the {open} is never closed"),
        ErrorKind::MismatchedFlowCollectionEnd { open, close } => format!("{open} is closed by {close}"),
        ErrorKind::MappingValueNotAllowed
        | ErrorKind::InvalidColonPlacement
        | ErrorKind::MappingKeyNotAllowed
        | ErrorKind::InvalidMappingValueWhitespace => {
            "a mapping is not allowed here: check the indentation, and put a value that begins or ends with : or contains \": \" in quotes"
                .to_owned()
        }
        ErrorKind::UnexpectedCharacter { character } => format!("no value can begin with {character:?}: put it in quotes"),
        ErrorKind::UnknownAnchor => {
            "the alias names an anchor that is not defined before it: a value that begins with * goes in quotes".to_owned()
        }
        ErrorKind::RecursionLimitExceeded => format!("lists and mappings are nested deeper than {} levels", super::MAX_DEPTH),
        ErrorKind::ExpectedBlockSequenceEntry => "expected an item that begins with \"- \": check the indentation".to_owned(),
        ErrorKind::ExpectedBlockMappingKey | ErrorKind::InvalidIndentation | ErrorKind::SimpleKeyExpected => {
            format!("{}: check the indentation, and that each key has its \":\"", error.info())
        }
        _ => error.info(),
    };
    format!("invalid YAML: {what}{}", template_hint(text))
}

/// Whether the error is a tab where none may be.
pub(super) fn is_tab(kind: &ErrorKind) -> bool {
    matches!(
        kind,
        ErrorKind::TabNotAllowed
            | ErrorKind::TabInBlockIndentation
            | ErrorKind::TabInIndentation
            | ErrorKind::TabInPlainScalar
            | ErrorKind::TabAtBlockScalarStart
    )
}

/// ": the file looks like an unrendered template …" where `text` has leftovers of one, else "".
pub fn template_hint(text: &str) -> &'static str {
    if text.contains("{{") || text.contains("{%") {
        "; the file looks like an unrendered template ({{ … }}): render it first, e.g. with `helm template`"
    } else if has_variable(text) {
        "; the file looks like an unrendered template ($NAME, ${NAME}): fill it in first, e.g. with `envsubst`"
    } else if has_placeholder(text) {
        "; the file looks like an unrendered template (__NAME__): fill it in first"
    } else {
        ""
    }
}

fn has_variable(text: &str) -> bool {
    text.match_indices('$').any(|(i, _)| text[i + 1..].starts_with(|c: char| c == '{' || c.is_ascii_uppercase()))
}

fn has_placeholder(text: &str) -> bool {
    let mut parts = text.split("__");
    parts.next();
    parts.by_ref().any(|name| !name.is_empty() && name.bytes().all(|b| b.is_ascii_uppercase() || b == b'_'))
        && text.matches("__").count() > 1
}

#[cfg(test)]
mod tests {
    use super::template_hint;

    #[test]
    fn leftovers_of_templates_are_known() {
        assert!(template_hint("name: {{ .Values.name }}").contains("helm template"));
        assert!(template_hint("job-${ENVIRONMENT}").contains("envsubst"));
        assert!(template_hint("process-item-$ITEM").contains("envsubst"));
        assert!(template_hint("aggregate-2020-__MONTH__").contains("__NAME__"));
        for text in ["$(date)", "a__b", "cost: 5$", "plain", "$"] {
            assert_eq!(template_hint(text), "", "{text}");
        }
    }
}
