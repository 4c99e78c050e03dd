//! Private stand-in for the logs room (its engineer's version replaces this file): only what the worker calls.

use std::path::Path;

/// The text of the last `lines` lines of a CRI log, at most `bytes` of it, without timestamps and stream names. "" if there is no log.
pub fn tail(path: &Path, lines: u64, bytes: usize) -> String {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    let body = |line: &str| line.splitn(4, ' ').nth(3).unwrap_or_default().to_owned();
    let all: Vec<String> = text.lines().map(body).collect();
    let lines = usize::try_from(lines).unwrap_or(usize::MAX);
    let joined = all[all.len().saturating_sub(lines)..].join("\n");
    let cut = (joined.len().saturating_sub(bytes)..=joined.len()).find(|i| joined.is_char_boundary(*i)).unwrap_or(joined.len());
    joined[cut..].to_owned()
}
