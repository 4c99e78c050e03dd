//! The end of a log: where its last lines begin, and the text that becomes a termination message.

use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use super::cri::Entry;
use super::reader::{LogOptions, LogReader};

/// Read backwards in blocks of this size.
const BLOCK: u64 = 64 * 1024;
/// Enough of a line to tell `F` from `P`.
const HEAD: usize = 64;

/// The last `lines` lines of a log, and of these the last `bytes` bytes, without times: Kubernetes' FallbackToLogsOnError (80 lines,
/// 2048 bytes). Call it when the task is deleted: then the logger has written all. A log that cannot be read is empty.
pub fn tail(path: &Path, lines: u64, bytes: usize) -> String {
    let options = LogOptions { tail: Some(lines), ..LogOptions::default() };
    let Ok(mut reader) = LogReader::open(path, options) else { return String::new() };
    let mut kept = Vec::new();
    loop {
        let piece = match reader.read() {
            Ok(piece) if !piece.is_empty() => piece,
            _ => break,
        };
        kept.extend_from_slice(&piece);
        cut_front(&mut kept, bytes);
    }
    kept.extend_from_slice(&reader.finish());
    cut_front(&mut kept, bytes);
    // Not in the middle of a character.
    let start = kept.iter().take(3).take_while(|&&byte| byte & 0xC0 == 0x80).count();
    String::from_utf8_lossy(&kept[start..]).into_owned()
}

fn cut_front(bytes: &mut Vec<u8>, keep: usize) {
    let extra = bytes.len().saturating_sub(keep);
    bytes.drain(..extra);
}

/// The file (an index) and the offset where the last `lines` lines begin. `files` are oldest first.
pub(super) fn tail_start(files: &[PathBuf], lines: u64) -> std::io::Result<(usize, u64)> {
    let last = files.len().saturating_sub(1);
    let mut wanted = lines;
    let mut newest = true;
    for (index, path) in files.iter().enumerate().rev() {
        let file = match File::open(path) {
            Ok(file) => file,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => continue,
            Err(error) => return Err(error),
        };
        if index == last && lines == 0 {
            return Ok((index, file.metadata()?.len()));
        }
        // Also with nothing wanted any more: the older file may end in the beginning of this one's first line.
        if let Some(offset) = start_in(&file, &mut wanted, &mut newest)? {
            return Ok((index, offset));
        }
    }
    Ok((0, 0))
}

/// Walks backwards over the ends of lines. `wanted` counts down; the offset is behind the newline that ends the line before the
/// first wanted one. A line that came in pieces is one, so only ends of full lines count; an unfinished one at the very end counts too.
fn start_in(file: &File, wanted: &mut u64, newest: &mut bool) -> std::io::Result<Option<u64>> {
    let size = file.metadata()?.len();
    let mut end = size;
    // The offset behind the newline last met: where a line begins.
    let mut line_start = size;
    let mut buffer = vec![0; usize::try_from(BLOCK).unwrap_or(65536)];
    while end > 0 {
        let start = end.saturating_sub(BLOCK);
        let block = &mut buffer[..usize::try_from(end - start).unwrap_or_default()];
        file.read_exact_at(block, start)?;
        for at in (0..block.len()).rev().filter(|&at| block[at] == b'\n') {
            let here = start + at as u64 + 1;
            if here < size && counts(file, here, line_start, newest)? {
                if *wanted == 0 {
                    return Ok(Some(line_start));
                }
                *wanted -= 1;
            }
            line_start = here;
        }
        end = start;
    }
    if size > 0 && counts(file, 0, line_start, newest)? {
        if *wanted == 0 {
            return Ok(Some(line_start));
        }
        *wanted -= 1;
    }
    Ok(None)
}

/// Whether the physical line at `start` ends a logical one; the newest of all does in any case.
fn counts(file: &File, start: u64, end: u64, newest: &mut bool) -> std::io::Result<bool> {
    let mut head = [0; HEAD];
    let length = HEAD.min(usize::try_from(end - start).unwrap_or(HEAD));
    file.read_exact_at(&mut head[..length], start)?;
    let is_newest = std::mem::replace(newest, false);
    Ok(is_newest || Entry::parse(head[..length].trim_ascii_end()).is_none_or(|entry| entry.full))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn write(directory: &Path, name: &str, lines: &[(bool, String)]) -> PathBuf {
        let text: String = lines
            .iter()
            .map(|(full, text)| format!("2026-01-01T00:00:00.000000000Z stdout {} {text}\n", if *full { "F" } else { "P" }))
            .collect();
        let path = directory.join(name);
        std::fs::write(&path, text).unwrap();
        path
    }

    #[test]
    fn lines_then_bytes() {
        let directory = tempfile::tempdir().unwrap();
        let lines: Vec<_> = (0..100).map(|n| (true, format!("line {n}"))).collect();
        let path = write(directory.path(), "0.log", &lines);
        assert_eq!(tail(&path, 2, 2048), "line 98\nline 99\n");
        assert_eq!(tail(&path, 80, 10), "8\nline 99\n");
        assert_eq!(tail(&path, 0, 10), "");
        assert_eq!(tail(Path::new("/nowhere/0.log"), 80, 2048), "");
        let path = write(directory.path(), "1.log", &[(true, "ééé".into())]);
        assert_eq!(tail(&path, 80, 4), "é\n");
    }

    #[test]
    fn the_tail_reaches_into_rotated_files() {
        let directory = tempfile::tempdir().unwrap();
        write(directory.path(), "0.log.20260101-000000", &[(true, "a".into()), (true, "b".into())]);
        let path = write(directory.path(), "0.log", &[(true, "c".into())]);
        assert_eq!(tail(&path, 2, 100), "b\nc\n");
        assert_eq!(tail(&path, 5, 100), "a\nb\nc\n");
    }

    proptest! {
        /// The tail is the end of the whole.
        #[test]
        fn is_a_suffix(pieces in prop::collection::vec((any::<bool>(), "[a-z]{0,90}"), 0..40), split in 0usize..40, wanted in 0u64..45) {
            let directory = tempfile::tempdir().unwrap();
            let split = split.min(pieces.len());
            write(directory.path(), "0.log.20260101-000000", &pieces[..split]);
            let path = write(directory.path(), "0.log", &pieces[split..]);
            let mut logical: Vec<String> = Vec::new();
            let mut open = false;
            for (full, text) in &pieces {
                if open { logical.last_mut().unwrap().push_str(text) } else { logical.push(text.clone()) }
                open = !full;
                if *full { logical.last_mut().unwrap().push('\n') }
            }
            let skip = logical.len().saturating_sub(wanted as usize);
            prop_assert_eq!(tail(&path, wanted, usize::MAX), logical[skip..].concat());
        }
    }
}
