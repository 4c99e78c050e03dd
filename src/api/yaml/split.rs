//! Cuts a file into its documents at the `---` and `...` lines, before any parsing.
//!
//! YAML forbids these markers at the beginning of a line inside any scalar or collection, so cutting there is exact, and what is
//! broken in one document (an unclosed quote, say) cannot reach the next. kubectl cuts the same way
//! (`staging/src/k8s.io/apimachinery/pkg/util/yaml/decoder.go`, YAMLReader).

use super::Place;
use std::ops::Range;

/// The text of one document and where it stands in the file.
pub(super) struct Chunk<'a> {
    /// The text, with its `---` line.
    pub text: &'a str,
    /// Where the text begins.
    pub at: Place,
    /// Its bytes in the file.
    pub span: Range<usize>,
}

/// The documents of `text`, which begins at `at` in its file. Documents without content are left out.
pub(super) fn documents(text: &str, at: Place) -> Vec<Chunk<'_>> {
    let mut chunks = Vec::new();
    let mut begin = Cut { offset: 0, line: at.line };
    let (mut offset, mut line) = (0, at.line);
    let mut content = Content::default();
    for text_line in text.split_inclusive('\n') {
        if is_marker(text_line, "---") && content != Content::Directives {
            push(&mut chunks, text, at, begin, offset, content);
            (begin, content) = (Cut { offset, line }, Content::default());
        }
        content = content.with(text_line);
        offset += text_line.len();
        line += 1;
        if is_marker(text_line, "...") {
            push(&mut chunks, text, at, begin, offset, content);
            (begin, content) = (Cut { offset, line }, Content::default());
        }
    }
    push(&mut chunks, text, at, begin, offset, content);
    chunks
}

#[derive(Clone, Copy)]
struct Cut {
    offset: usize,
    line: usize,
}

/// What the lines so far hold: `%` directives alone belong to the document whose `---` follows them.
#[derive(Clone, Copy, Default, PartialEq)]
enum Content {
    #[default]
    Nothing,
    Directives,
    Data,
}

impl Content {
    fn with(self, line: &str) -> Content {
        let text = line.trim();
        let marker = is_marker(line, "---") || is_marker(line, "...");
        let bare = marker && (text.len() == 3 || text[3..].trim_start().starts_with('#'));
        match self {
            Content::Data => Content::Data,
            same if text.is_empty() || text.starts_with('#') || bare => same,
            _ if line.starts_with('%') => Content::Directives,
            _ => Content::Data,
        }
    }
}

fn is_marker(line: &str, marker: &str) -> bool {
    line.strip_prefix(marker).is_some_and(|rest| rest.is_empty() || rest.starts_with([' ', '\t', '\r', '\n']))
}

fn push<'a>(chunks: &mut Vec<Chunk<'a>>, text: &'a str, at: Place, from: Cut, to: usize, content: Content) {
    if content != Content::Nothing {
        let begin = Place { line: from.line, column: 1, offset: at.offset + from.offset };
        chunks.push(Chunk { text: &text[from.offset..to], at: begin, span: begin.offset..at.offset + to });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(text: &str) -> Vec<&str> {
        documents(text, Place { line: 1, column: 1, offset: 0 }).iter().map(|c| c.text).collect()
    }

    #[test]
    fn documents_are_cut_at_markers_and_empty_ones_left_out() {
        assert_eq!(texts("a: 1\n---\n# nothing\n---\nb: 2\n"), ["a: 1\n", "---\nb: 2\n"]);
        assert_eq!(texts("a: 1\n...\nb: 2\n"), ["a: 1\n...\n", "b: 2\n"]);
        assert_eq!(texts("\n---   \r\na: 1\r\n"), ["---   \r\na: 1\r\n"]);
        assert_eq!(texts(""), Vec::<&str>::new());
    }

    #[test]
    fn text_behind_a_marker_and_dashes_within_are_content() {
        assert_eq!(texts("--- {a: 1}\n--- # note\n"), ["--- {a: 1}\n"]);
        assert_eq!(texts("a: |\n  ---\n----\n"), ["a: |\n  ---\n----\n"]);
    }

    #[test]
    fn directives_stay_with_their_document() {
        assert_eq!(texts("%YAML 1.1\n---\na: 1\n"), ["%YAML 1.1\n---\na: 1\n"]);
    }

    #[test]
    fn places_are_those_of_the_file() {
        let chunks = documents("a: é\n---\nb: 2\n", Place { line: 1, column: 1, offset: 3 });
        assert_eq!((chunks[1].at.line, chunks[1].at.offset, chunks[1].span.clone()), (2, 9, 9..18));
    }
}
