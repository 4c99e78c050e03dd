//! Faults as people and programs read them: lines, source excerpts with a caret, JSON, and a count.

use super::fault::{Fault, Severity};
use std::fmt::Write;

/// Widest excerpt shown, characters.
const MAX_WIDTH: usize = 140;

/// One line per fault: `file:line:column: severity: field: message`.
pub fn lines(faults: &[Fault]) -> String {
    faults.iter().map(|f| format!("{f}\n")).collect()
}

/// JSON: a list of `{file, line, column, severity, field, message}`.
pub fn json(faults: &[Fault]) -> String {
    let mut text = serde_json::to_string_pretty(faults).unwrap_or_else(|_| "[]".to_owned());
    text.push('\n');
    text
}

/// The fault's line of `source` (the file's text) with a caret below it; "" where the fault has no place there. For a terminal.
pub fn excerpt(fault: &Fault, source: &str, colour: bool) -> String {
    let Some(line) = fault.line.checked_sub(1).and_then(|i| source.lines().nth(i)) else { return String::new() };
    let line = line.trim_start_matches('\u{feff}');
    // A tab is as wide as the one character that columns count it as; what can't be shown must not reach the terminal.
    let printable = |c: char| if c.is_control() { ' ' } else { c };
    let column = fault.column.max(1);
    let skipped = (column + MAX_WIDTH / 4).saturating_sub(MAX_WIDTH);
    let shown = line.chars().skip(skipped).take(MAX_WIDTH).map(printable).collect::<String>();
    let number = fault.line.to_string();
    let margin = " ".repeat(number.len());
    let (on, off) = if colour { (tint(fault.severity), "\x1b[0m") } else { ("", "") };
    let caret = " ".repeat(column - 1 - skipped);
    format!("{margin} |\n{number} | {}\n{margin} | {caret}{on}^{off}\n", shown.trim_end())
}

/// A fault for a terminal: its line, coloured, and the excerpt.
pub fn shown(fault: &Fault, source: &str, colour: bool) -> String {
    if !colour {
        return format!("{fault}\n{}", excerpt(fault, source, false));
    }
    let (text, word) = (fault.to_string(), severity_word(fault.severity));
    let coloured = text.replacen(&format!(" {word}: "), &format!(" {}{word}\x1b[0m: ", tint(fault.severity)), 1);
    format!("{coloured}\n{}", excerpt(fault, source, true))
}

fn tint(severity: Severity) -> &'static str {
    match severity {
        Severity::Error => "\x1b[1;31m",
        Severity::Warning => "\x1b[1;33m",
        Severity::Info => "\x1b[1;36m",
    }
}

fn severity_word(severity: Severity) -> &'static str {
    match severity {
        Severity::Error => "error",
        Severity::Warning => "warning",
        Severity::Info => "info",
    }
}

/// How much was looked at and found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Files read.
    pub files: usize,
    /// Objects accepted.
    pub objects: usize,
    /// Faults that refuse.
    pub errors: usize,
    /// Faults to mend.
    pub warnings: usize,
}

impl Counts {
    /// Adds the faults of one more file.
    pub fn add(&mut self, faults: &[Fault]) {
        self.errors += faults.iter().filter(|f| f.severity == Severity::Error).count();
        self.warnings += faults.iter().filter(|f| f.severity == Severity::Warning).count();
    }
}

/// `3 files: 5 objects valid, 1 error, 2 warnings`.
impl std::fmt::Display for Counts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut text = format!("{}: {} valid", of(self.files, "file"), of(self.objects, "object"));
        for (count, word) in [(self.errors, "error"), (self.warnings, "warning")] {
            if count > 0 {
                write!(text, ", {}", of(count, word))?;
            }
        }
        f.write_str(&text)
    }
}

fn of(count: usize, word: &str) -> String {
    if count == 1 { format!("1 {word}") } else { format!("{count} {word}s") }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fault(line: usize, column: usize) -> Fault {
        let (file, field, message) = ("a.yaml".to_owned(), "spec.x".to_owned(), "unknown field".to_owned());
        Fault { file, line, column, severity: Severity::Error, field, message }
    }

    #[test]
    fn a_caret_stands_below_the_place() {
        let text = excerpt(&fault(2, 3), "spec:\n  é: \u{1b}1\n", false);
        assert_eq!(text, "  |\n2 |   é:  1\n  |   ^\n");
        assert_eq!(excerpt(&fault(0, 0), "x", false), "");
        assert_eq!(excerpt(&fault(9, 1), "x", false), "");
    }

    #[test]
    fn long_lines_are_cut_around_the_place() {
        let line = "x".repeat(500);
        let text = excerpt(&fault(1, 400), &line, false);
        let rows = text.lines().collect::<Vec<_>>();
        assert!(rows[1].chars().count() <= MAX_WIDTH + 4);
        assert!(rows[2].len() <= rows[1].len());
    }

    #[test]
    fn lines_json_and_counts() {
        assert_eq!(lines(&[fault(2, 3)]), "a.yaml:2:3: error: spec.x: unknown field\n");
        let json: serde_json::Value = serde_json::from_str(&json(&[fault(2, 3)])).unwrap();
        let wanted = serde_json::json!([
            {"file": "a.yaml", "line": 2, "column": 3, "severity": "error", "field": "spec.x", "message": "unknown field"}
        ]);
        assert_eq!(json, wanted);
        let mut counts = Counts { files: 1, objects: 2, ..Counts::default() };
        counts.add(&[fault(1, 1)]);
        assert_eq!(counts.to_string(), "1 file: 2 objects valid, 1 error");
        assert!(shown(&fault(1, 1), "spec", true).starts_with("a.yaml:1:1: \x1b[1;31merror\x1b[0m: "));
    }
}
