//! The log file under a writer: buffered, rotated as the kubelet rotates, and forgiving: what cannot be written is counted, dropped,
//! and told in the log when writing works again.

use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::{FileExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use jiff::ToSpan as _;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;

use super::LoggerConfig;
use super::cri::{Stamp, Stream};
use crate::clock::{Clock as _, SystemClock};

/// The kubelet's suffix of a rotated log (`pkg/kubelet/logs/container_log_manager.go` timestampFormat).
const SUFFIX: &str = "%Y%m%d-%H%M%S";
const SUFFIX_LENGTH: usize = 15;
/// Lines are handed to the kernel in pieces of about this size.
const FLUSH: usize = 32 * 1024;

/// See the module.
pub(super) struct LogFile {
    config: LoggerConfig,
    file: Option<File>,
    /// Bytes in the file.
    size: u64,
    buffer: Vec<u8>,
    /// Lines lost since the last one that was written, and why.
    lost: u64,
    cause: String,
    stamp: Stamp,
    /// The streams that are in the middle of a line (bit 0 stdout, bit 1 stderr).
    partial: u8,
    /// The second in which the file was last looked after.
    checked: i64,
}

impl LogFile {
    pub(super) fn new(config: LoggerConfig) -> Self {
        Self {
            config,
            file: None,
            size: 0,
            buffer: Vec::with_capacity(FLUSH + FLUSH / 4),
            lost: 0,
            cause: String::new(),
            stamp: Stamp::default(),
            partial: 0,
            checked: i64::MIN,
        }
    }

    /// Opens (or makes) the file. A failure shows when something is to be written.
    pub(super) fn open(&mut self) {
        self.file = None;
        match open(&self.config.path) {
            Ok((file, size)) => (self.file, self.size) = (Some(file), size),
            Err(error) => self.cause = error.to_string(),
        }
    }

    /// Adds a line or piece, whose content comes in two parts.
    pub(super) fn line(&mut self, stream: Stream, full: bool, head: &[u8], tail: &[u8]) {
        let length = head.len() + tail.len() + 40;
        self.rotate_before(length as u64);
        self.stamp.append(SystemClock.now(), &mut self.buffer);
        self.buffer.push(b' ');
        self.buffer.extend_from_slice(stream.name());
        self.buffer.extend_from_slice(if full { b" F " } else { b" P " });
        self.buffer.extend_from_slice(head);
        self.buffer.extend_from_slice(tail);
        self.buffer.push(b'\n');
        let bit = if stream == Stream::Stdout { 1 } else { 2 };
        self.partial = if full { self.partial & !bit } else { self.partial | bit };
        if self.buffer.len() >= FLUSH {
            self.flush();
        }
    }

    /// Writes what is buffered, or counts it as lost.
    pub(super) fn flush(&mut self) {
        if self.buffer.is_empty() {
            return;
        }
        self.look_after();
        let note = self.note();
        let Some(file) = &mut self.file else {
            return self.lose(0);
        };
        if !note.is_empty() {
            return self.flush_with(&note);
        }
        let (written, failed) = write(file, &self.buffer);
        let last_newline = || self.buffer[..written].iter().rposition(|&byte| byte == b'\n');
        let whole = if failed.is_none() { written } else { last_newline().map_or(0, |at| at + 1) };
        self.size += whole as u64;
        if let Some(cause) = failed {
            cut(file, self.size, written - whole);
            self.cause = cause;
        }
        self.lose(whole);
    }

    /// A note of lost lines goes only with all that is buffered behind it: a full disk is not to fill up with notes.
    fn flush_with(&mut self, note: &[u8]) {
        let Some(file) = &mut self.file else { return };
        let together = [note, &self.buffer].concat();
        match write(file, &together) {
            (written, None) => {
                self.size += written as u64;
                self.lost = 0;
                self.lose(self.buffer.len());
            }
            (written, Some(cause)) => {
                cut(file, self.size, written);
                self.cause = cause;
                self.lose(0);
            }
        }
    }

    /// Empties the buffer; what lies behind `written` is lost.
    fn lose(&mut self, written: usize) {
        if written < self.buffer.len() {
            self.lost += self.buffer[written..].iter().filter(|&&byte| byte == b'\n').count() as u64;
        }
        self.buffer.clear();
    }

    /// The line that tells of lost ones.
    fn note(&mut self) -> Vec<u8> {
        let mut note = Vec::new();
        if self.lost > 0 {
            self.stamp.append(SystemClock.now(), &mut note);
            // Writing into memory cannot fail.
            let _ = writeln!(note, " stderr F minik8s: {} log lines were lost here: {}", self.lost, self.cause);
        }
        note
    }

    /// At most once a second: is our file still the one at the path? A deleted directory, or somebody else's rotation, gets a new one.
    fn look_after(&mut self) {
        let second = SystemClock.now().as_second();
        if self.checked == second {
            return;
        }
        self.checked = second;
        let ours = self.file.as_ref().and_then(|file| file.metadata().ok()).map(|m| (m.dev(), m.ino()));
        let there = std::fs::metadata(&self.config.path).ok().map(|m| (m.dev(), m.ino()));
        if ours.is_none() || ours != there {
            self.open();
        }
    }

    /// Begins a new file if this line would not fit, but not in the middle of a line, unless that line has no end.
    fn rotate_before(&mut self, length: u64) {
        let size = self.size + self.buffer.len() as u64;
        let full = size + length > self.config.max_bytes && size > 0;
        if !full || (self.partial != 0 && size < self.config.max_bytes.saturating_mul(2)) {
            return;
        }
        self.flush();
        if self.file.is_none() || self.size == 0 {
            return;
        }
        match rotate(&self.config, SystemClock.now()) {
            Ok(()) => self.open(),
            Err(error) => self.cause = error.to_string(),
        }
    }
}

/// The file to append to, and its size. A torn last line (the logger before us was killed) is ended.
fn open(path: &Path) -> std::io::Result<(File, u64)> {
    if let Some(directory) = path.parent() {
        std::fs::create_dir_all(directory)?;
    }
    let mut file = OpenOptions::new().read(true).append(true).create(true).mode(0o640).open(path)?;
    let mut size = file.metadata()?.len();
    let mut last = [b'\n'];
    if size > 0 && file.read_at(&mut last, size - 1).is_ok() && last != *b"\n" && file.write_all(b"\n").is_ok() {
        size += 1;
    }
    Ok((file, size))
}

/// How much was written, and why not all.
fn write(file: &mut File, bytes: &[u8]) -> (usize, Option<String>) {
    let mut written = 0;
    while written < bytes.len() {
        match file.write(&bytes[written..]) {
            Ok(0) => return (written, Some("nothing could be written".to_owned())),
            Ok(count) => written += count,
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(error) => return (written, Some(error.to_string())),
        }
    }
    (written, None)
}

/// Takes back the beginning of a line that did not fit.
fn cut(file: &File, size: u64, extra: usize) {
    if extra > 0 {
        // If this fails too, the half line stays and the next one is torn: the gap is counted all the same.
        let _ = file.set_len(size);
    }
}

/// Gives the current file the time as its suffix, later than all there are, and removes the oldest beyond what is kept.
fn rotate(config: &LoggerConfig, now: Timestamp) -> std::io::Result<()> {
    let mut old = rotated(&config.path);
    let now = now.to_zoned(TimeZone::UTC).datetime();
    let newest = old.last().and_then(|path| suffix(path)).and_then(|text| DateTime::strptime(SUFFIX, text).ok());
    let at = match newest.and_then(|time| time.checked_add(1.second()).ok()) {
        Some(next) if next > now => next,
        _ => now,
    };
    let mut name = config.path.clone().into_os_string();
    name.push(format!(".{}", at.strftime(SUFFIX)));
    std::fs::rename(&config.path, &name)?;
    old.push(PathBuf::from(name));
    let keep = usize::try_from(config.max_files.saturating_sub(1)).unwrap_or(usize::MAX);
    for path in &old[..old.len().saturating_sub(keep)] {
        // Tried again at the next rotation.
        let _ = std::fs::remove_file(path);
    }
    Ok(())
}

/// The rotated files of a log, oldest first.
pub(super) fn rotated(path: &Path) -> Vec<PathBuf> {
    let (Some(directory), Some(name)) = (path.parent(), path.file_name().and_then(|name| name.to_str())) else { return Vec::new() };
    let Ok(entries) = std::fs::read_dir(directory) else { return Vec::new() };
    let is_ours = |other: &Path| {
        let rest = other.file_name().and_then(|other| other.to_str()?.strip_prefix(name)?.strip_prefix('.'));
        rest.is_some_and(|rest| rest.len() == SUFFIX_LENGTH && rest.bytes().all(|b| b.is_ascii_digit() || b == b'-'))
    };
    let mut found: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).filter(|path| is_ours(path)).collect();
    found.sort();
    found
}

fn suffix(path: &Path) -> Option<&str> {
    let name = path.file_name()?.to_str()?;
    name.get(name.len().checked_sub(SUFFIX_LENGTH)?..)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(path: PathBuf) -> LoggerConfig {
        LoggerConfig { path, max_bytes: 1 << 20, max_files: 3, owner: None }
    }

    #[test]
    fn rotations_within_a_second_stay_in_order() {
        let directory = tempfile::tempdir().unwrap();
        let config = config(directory.path().join("0.log"));
        let now: Timestamp = "2026-11-23T23:59:59Z".parse().unwrap();
        for n in 0..4 {
            std::fs::write(&config.path, n.to_string()).unwrap();
            rotate(&config, now).unwrap();
        }
        let names: Vec<_> = rotated(&config.path).iter().map(|p| p.file_name().unwrap().to_str().unwrap().to_owned()).collect();
        assert_eq!(names, ["0.log.20261124-000001", "0.log.20261124-000002"]);
        assert_eq!(std::fs::read_to_string(directory.path().join("0.log.20261124-000002")).unwrap(), "3");
    }

    #[test]
    fn a_deleted_directory_is_made_again_and_a_torn_line_is_ended() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("pod/c/0.log");
        let mut log = LogFile::new(config(path.clone()));
        log.line(Stream::Stdout, true, b"one", b"");
        log.flush();
        std::fs::remove_dir_all(directory.path().join("pod")).unwrap();
        log.checked = i64::MIN;
        log.line(Stream::Stdout, true, b"two", b"");
        log.flush();
        assert!(std::fs::read_to_string(&path).unwrap().ends_with(" stdout F two\n"));
        std::fs::write(&path, "torn").unwrap();
        let mut log = LogFile::new(config(path.clone()));
        log.open();
        log.line(Stream::Stderr, true, b"three", b"");
        log.flush();
        let text = std::fs::read_to_string(&path).unwrap();
        assert!(text.starts_with("torn\n") && text.ends_with(" stderr F three\n"), "{text:?}");
    }

    #[test]
    fn lost_lines_are_told_of() {
        let mut log = LogFile::new(config("/proc/nowhere/0.log".into()));
        for _ in 0..3 {
            log.line(Stream::Stdout, true, b"gone", b"");
            log.flush();
        }
        assert_eq!(log.lost, 3);
        let directory = tempfile::tempdir().unwrap();
        log.config.path = directory.path().join("0.log");
        log.checked = i64::MIN;
        log.line(Stream::Stdout, true, b"here", b"");
        log.flush();
        let text = std::fs::read_to_string(&log.config.path).unwrap();
        let lines: Vec<_> = text.lines().collect();
        assert!(lines[0].contains(" stderr F minik8s: 3 log lines were lost here: "), "{text}");
        assert!(lines[1].ends_with(" stdout F here"), "{text}");
    }

    #[test]
    fn a_full_disk_keeps_whole_lines() {
        // /dev/full takes nothing: every write fails with ENOSPC.
        let mut log = LogFile::new(config("/dev/full".into()));
        log.file = Some(OpenOptions::new().write(true).open("/dev/full").unwrap());
        log.checked = SystemClock.now().as_second();
        log.line(Stream::Stdout, true, b"gone", b"");
        log.flush();
        assert!(log.lost >= 1 && log.buffer.is_empty());
        assert!(log.cause.contains("No space left"), "{}", log.cause);
    }
}
