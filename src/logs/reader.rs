//! Reads a container's log: from its oldest rotated file (or a tail, or an instant) to its end, and on across rotations.
//!
//! Memory is bounded: one piece of file, and of each stream at most [`MAX_JOINED`] bytes of a line whose end has not come yet.
//! Unlike the kubelet, which shows the current file only, a rotation does not shorten what is shown.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{Read as _, Seek as _, SeekFrom};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use jiff::Timestamp;

use super::cri::{Entry, Stream};
use super::file::rotated;
use super::tail::tail_start;

/// How much is read at once.
const PIECE: usize = 64 * 1024;
/// Pieces of one line are joined up to this; longer lines are passed on piece by piece.
const MAX_JOINED: usize = 1 << 20;

/// What to show; Kubernetes' PodLogOptions.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LogOptions {
    /// Only the last so many lines.
    pub tail: Option<u64>,
    /// Only what was written at or after this.
    pub since: Option<Timestamp>,
    /// Put each line's time before it.
    pub timestamps: bool,
    /// Not more bytes than this, and then no more.
    pub limit_bytes: Option<u64>,
}

/// A position in a log. Blocking; see [`super::follow`] for the asynchronous way.
pub struct LogReader {
    path: PathBuf,
    options: LogOptions,
    file: Option<File>,
    /// Rotated files still to be read after this one; then the current one.
    next: VecDeque<PathBuf>,
    /// The beginning of a line whose newline has not been read.
    carry: Vec<u8>,
    joined: [Joined; 2],
    left: Option<u64>,
}

/// A line of one stream that came in pieces.
#[derive(Default)]
struct Joined {
    text: Vec<u8>,
    /// The beginning has been passed on already.
    begun: bool,
}

impl LogReader {
    /// Opens a log at the place the options say. A log that does not exist (yet) is empty.
    pub fn open(path: &Path, options: LogOptions) -> std::io::Result<Self> {
        let mut files = rotated(path);
        files.push(path.to_path_buf());
        let (index, offset) = match options.tail {
            Some(lines) => tail_start(&files, lines)?,
            None => (0, 0),
        };
        let mut next: VecDeque<PathBuf> = files.into_iter().skip(index).collect();
        let file = match next.pop_front().map(File::open) {
            Some(Ok(mut file)) => {
                file.seek(SeekFrom::Start(offset))?;
                Some(file)
            }
            Some(Err(error)) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
            _ => None,
        };
        let left = options.limit_bytes;
        Ok(Self { path: path.to_path_buf(), options, file, next, carry: Vec::new(), joined: Default::default(), left })
    }

    /// The next piece of output; empty if there is nothing more at the moment. A piece is at most about 1 MiB.
    pub fn read(&mut self) -> std::io::Result<Vec<u8>> {
        let mut out = Vec::new();
        let mut buffer = vec![0; PIECE];
        while out.is_empty() && !self.is_done() {
            let count = match &mut self.file {
                Some(file) => file.read(&mut buffer)?,
                None => 0,
            };
            if count > 0 {
                self.take(&buffer[..count], &mut out);
            } else if !self.advance(&mut buffer, &mut out)? {
                break;
            }
        }
        self.limit(&mut out);
        Ok(out)
    }

    /// What is left of lines that never ended. For when no more will come.
    pub fn finish(&mut self) -> Vec<u8> {
        let mut out = Vec::new();
        for joined in &mut self.joined {
            out.append(&mut joined.text);
        }
        self.limit(&mut out);
        out
    }

    /// Whether the limit of bytes is reached: nothing more will be read.
    pub fn is_done(&self) -> bool {
        self.left == Some(0)
    }

    /// At the end of a file: goes on to the next one. False at the end of the log.
    fn advance(&mut self, buffer: &mut [u8], out: &mut Vec<u8>) -> std::io::Result<bool> {
        if self.next.is_empty() {
            let ours = self.file.as_ref().and_then(|file| file.metadata().ok()).map(|m| (m.dev(), m.ino()));
            let there = std::fs::metadata(&self.path).ok().map(|m| (m.dev(), m.ino()));
            if there.is_none() || ours == there {
                return Ok(false);
            }
            // Rotated while we read: what was written to it before that may have come after our last read.
            if let Some(file) = &mut self.file {
                loop {
                    let count = file.read(buffer)?;
                    if count == 0 {
                        break;
                    }
                    let piece = buffer[..count].to_vec();
                    take(&mut self.carry, &mut self.joined, &self.options, &piece, out);
                }
            }
            self.next = newer_than(&self.path, ours);
        }
        self.file = match self.next.pop_front().map(File::open) {
            Some(Ok(file)) => Some(file),
            // Pruned before we came to it.
            Some(Err(error)) if error.kind() == std::io::ErrorKind::NotFound => None,
            Some(Err(error)) => return Err(error),
            None => None,
        };
        Ok(self.file.is_some() || !self.next.is_empty())
    }

    fn take(&mut self, bytes: &[u8], out: &mut Vec<u8>) {
        take(&mut self.carry, &mut self.joined, &self.options, bytes, out);
    }

    fn limit(&mut self, out: &mut Vec<u8>) {
        if let Some(left) = &mut self.left {
            out.truncate(usize::try_from(*left).unwrap_or(usize::MAX));
            *left -= out.len() as u64;
        }
    }
}

/// The rotated files after the one with this inode (all, if it is gone), and the current one.
fn newer_than(path: &Path, inode: Option<(u64, u64)>) -> VecDeque<PathBuf> {
    let old = rotated(path);
    let is_ours = |path: &PathBuf| std::fs::metadata(path).ok().map(|m| (m.dev(), m.ino())) == inode;
    let after = inode.and_then(|_| old.iter().position(is_ours)).map_or(0, |at| at + 1);
    old.into_iter().skip(after).chain([path.to_path_buf()]).collect()
}

/// Cuts bytes into lines, the last of which may be unfinished.
fn take(carry: &mut Vec<u8>, joined: &mut [Joined; 2], options: &LogOptions, mut bytes: &[u8], out: &mut Vec<u8>) {
    while let Some(at) = bytes.iter().position(|&byte| byte == b'\n') {
        if carry.is_empty() {
            show(&bytes[..at], joined, options, out);
        } else {
            carry.extend_from_slice(&bytes[..at]);
            show(carry, joined, options, out);
            carry.clear();
        }
        bytes = &bytes[at + 1..];
    }
    carry.extend_from_slice(bytes);
    if carry.len() > MAX_JOINED {
        // No log of ours: shown as it is.
        out.append(carry);
    }
}

/// Shows one line of the file, or keeps it until the rest of it comes.
fn show(line: &[u8], joined: &mut [Joined; 2], options: &LogOptions, out: &mut Vec<u8>) {
    let Some(entry) = Entry::parse(line) else {
        if !line.is_empty() {
            out.extend_from_slice(line);
            out.push(b'\n');
        }
        return;
    };
    if let Some(since) = options.since
        && entry.timestamp().is_some_and(|time| time < since)
    {
        return;
    }
    let joined = &mut joined[if entry.stream == Stream::Stdout { 0 } else { 1 }];
    if options.timestamps && joined.text.is_empty() && !joined.begun {
        joined.text.extend_from_slice(entry.time);
        joined.text.push(b' ');
    }
    joined.text.extend_from_slice(entry.content);
    if entry.full {
        out.append(&mut joined.text);
        out.push(b'\n');
        joined.begun = false;
    } else if joined.text.len() > MAX_JOINED {
        out.append(&mut joined.text);
        joined.begun = true;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const T: &str = "2026-01-01T00:00:0";

    fn line(second: u8, stream: &str, tag: &str, text: &str) -> String {
        format!("{T}{second}.000000000Z {stream} {tag} {text}\n")
    }

    fn all(reader: &mut LogReader) -> String {
        let mut out = Vec::new();
        loop {
            let piece = reader.read().unwrap();
            if piece.is_empty() {
                break;
            }
            out.extend(piece);
        }
        out.extend(reader.finish());
        String::from_utf8(out).unwrap()
    }

    fn log(text: &str) -> (tempfile::TempDir, PathBuf) {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("0.log");
        std::fs::write(&path, text).unwrap();
        (directory, path)
    }

    #[test]
    fn pieces_are_joined_by_stream() {
        let text = [line(1, "stdout", "P", "a"), line(2, "stderr", "F", "err"), line(3, "stdout", "F", "b"), line(4, "stdout", "P", "end")];
        let (_dir, path) = log(&text.concat());
        let shown = all(&mut LogReader::open(&path, LogOptions::default()).unwrap());
        assert_eq!(shown, "err\nab\nend");
        let options = LogOptions { timestamps: true, ..Default::default() };
        let shown = all(&mut LogReader::open(&path, options).unwrap());
        assert_eq!(shown, format!("{T}2.000000000Z err\n{T}1.000000000Z ab\n{T}4.000000000Z end"));
    }

    #[test]
    fn since_and_limit_cut() {
        let (_dir, path) = log(&(1..6).map(|n| line(n, "stdout", "F", &format!("l{n}"))).collect::<String>());
        let options = LogOptions { since: Some(format!("{T}4Z").parse().unwrap()), ..Default::default() };
        assert_eq!(all(&mut LogReader::open(&path, options).unwrap()), "l4\nl5\n");
        let options = LogOptions { limit_bytes: Some(4), ..Default::default() };
        let mut reader = LogReader::open(&path, options).unwrap();
        assert_eq!(all(&mut reader), "l1\nl");
        assert!(reader.is_done());
    }

    #[test]
    fn reading_goes_on_across_rotations() {
        let (directory, path) = log(&line(1, "stdout", "F", "one"));
        let mut reader = LogReader::open(&path, LogOptions::default()).unwrap();
        assert_eq!(reader.read().unwrap(), b"one\n");
        assert_eq!(reader.read().unwrap(), b"");
        use std::io::Write as _;
        std::fs::OpenOptions::new().append(true).open(&path).unwrap().write_all(line(2, "stdout", "F", "two").as_bytes()).unwrap();
        std::fs::rename(&path, directory.path().join("0.log.20260101-000001")).unwrap();
        std::fs::write(directory.path().join("0.log.20260101-000002"), line(3, "stdout", "F", "three")).unwrap();
        std::fs::write(&path, line(4, "stdout", "F", "four")).unwrap();
        assert_eq!(all(&mut reader), "two\nthree\nfour\n");
        assert_eq!(all(&mut LogReader::open(&path, LogOptions::default()).unwrap()), "one\ntwo\nthree\nfour\n");
    }

    #[test]
    fn a_log_that_is_not_there_yet_is_empty_and_then_read() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("0.log");
        let mut reader = LogReader::open(&path, LogOptions { tail: Some(5), ..Default::default() }).unwrap();
        assert_eq!(reader.read().unwrap(), b"");
        std::fs::write(&path, line(1, "stdout", "F", "one")).unwrap();
        assert_eq!(reader.read().unwrap(), b"one\n");
    }

    #[test]
    fn an_unfinished_line_waits() {
        let (_dir, path) = log(&line(1, "stdout", "F", "one")[..40]);
        let mut reader = LogReader::open(&path, LogOptions::default()).unwrap();
        assert_eq!(reader.read().unwrap(), b"");
        std::fs::write(&path, line(1, "stdout", "F", "one")).unwrap();
        assert_eq!(reader.read().unwrap(), b"one\n");
    }
}
