//! The logger: a process beside a container, started by its shim (`binary://`), that turns two pipes into a CRI log.
//!
//! It outlives the agent and containerd. It never stops reading, whatever happens to the disk: a container that blocks on its output
//! is worse than a gap, and a gap says so in the log. It ends at the end of both pipes, and at no signal. Small on purpose: one
//! thread, no tokio, two buffers; there is one of these per container.

use std::ffi::OsString;
use std::fs::File;
use std::io::Read as _;
use std::os::fd::AsFd as _;
use std::os::unix::fs::fchown;
use std::process::ExitCode;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SigSet, Signal};

use super::LoggerConfig;
use super::cri::{MAX_CONTENT, Stream};
use super::file::LogFile;

/// The shim's agreement (containerd `runtime/v2/logging`): stdout, stderr, and a pipe whose closing says "ready".
const STDOUT: i32 = 3;
const STDERR: i32 = 4;
const READY: i32 = 5;

const READ: usize = 32 * 1024;

/// Runs the logger until the container's output ends. `argument` is what follows [`super::LOGGER_ARGUMENT`].
pub fn logger_main(argument: Option<OsString>) -> ExitCode {
    ignore_signals();
    let Some(config) = argument.as_deref().and_then(LoggerConfig::from_argument) else {
        eprintln!("minik8s-logger: started by containerd's shim, not by hand");
        return ExitCode::from(2);
    };
    let (Ok(stdout), Ok(stderr)) = (open(STDOUT), open(STDERR)) else {
        eprintln!("minik8s-logger: no pipes on 3 and 4");
        return ExitCode::from(2);
    };
    if let Some(owner) = config.owner {
        // Where that fails, only who opens /dev/stdout by its name goes without.
        let _ = [&stdout, &stderr].map(|pipe| fchown(pipe, Some(owner), Some(owner)));
    }
    // Not to hold the bundle the shim was started in.
    let _ = std::env::set_current_dir("/");
    // Until the container has ended.
    let _stdin = super::stdin::hold_stdin(&config.path);
    let mut log = LogFile::new(config);
    log.open();
    let _ = nix::unistd::close(READY);
    pump([Input::new(stdout, Stream::Stdout), Input::new(stderr, Stream::Stderr)], &mut log);
    ExitCode::SUCCESS
}

/// A shutdown that signals everybody must not cut off the last lines; the pipes' end is the signal. (SIGPIPE is ignored by Rust.)
fn ignore_signals() {
    let mut set = SigSet::empty();
    for signal in [Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP, Signal::SIGQUIT, Signal::SIGUSR1, Signal::SIGUSR2] {
        set.add(signal);
    }
    let _ = set.thread_block();
}

/// The inherited descriptor, opened once more as ours.
fn open(fd: i32) -> std::io::Result<File> {
    File::open(format!("/proc/self/fd/{fd}"))
}

/// One pipe and the line it is in the middle of.
struct Input {
    file: Option<File>,
    stream: Stream,
    line: Vec<u8>,
}

impl Input {
    fn new(file: File, stream: Stream) -> Self {
        Self { file: Some(file), stream, line: Vec::new() }
    }

    /// Cuts bytes into lines and pieces.
    fn take(&mut self, mut bytes: &[u8], log: &mut LogFile) {
        while !bytes.is_empty() {
            let newline = bytes.iter().position(|&byte| byte == b'\n');
            let (mut text, rest) = match newline {
                Some(at) => (&bytes[..at], &bytes[at + 1..]),
                None => (bytes, &bytes[bytes.len()..]),
            };
            while self.line.len() + text.len() > MAX_CONTENT {
                let (piece, tail) = text.split_at(MAX_CONTENT - self.line.len());
                log.line(self.stream, false, &self.line, piece);
                self.line.clear();
                text = tail;
            }
            if newline.is_some() {
                log.line(self.stream, true, &self.line, text);
                self.line.clear();
            } else {
                self.line.extend_from_slice(text);
            }
            bytes = rest;
        }
    }

    /// What had no newline is written as a piece, as containerd does: the reader adds none either.
    fn end(&mut self, log: &mut LogFile) {
        self.file = None;
        if !self.line.is_empty() {
            log.line(self.stream, false, &self.line, &[]);
            self.line = Vec::new();
        }
    }
}

/// Until both have ended.
fn pump(mut inputs: [Input; 2], log: &mut LogFile) {
    let mut buffer = vec![0; READ];
    while inputs.iter().any(|input| input.file.is_some()) {
        let ready = wait(&inputs);
        for (input, ready) in inputs.iter_mut().zip(ready) {
            let Some(file) = input.file.as_mut().filter(|_| ready) else { continue };
            match file.read(&mut buffer) {
                Ok(0) => input.end(log),
                Ok(count) => input.take(&buffer[..count], log),
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                Err(_) => input.end(log),
            }
        }
        log.flush();
    }
}

/// Which of them can be read.
fn wait(inputs: &[Input; 2]) -> [bool; 2] {
    let mut fds = Vec::with_capacity(2);
    let mut at = [None; 2];
    for (input, at) in inputs.iter().zip(&mut at) {
        if let Some(file) = &input.file {
            *at = Some(fds.len());
            fds.push(PollFd::new(file.as_fd(), PollFlags::POLLIN));
        }
    }
    match poll(&mut fds, PollTimeout::NONE) {
        Ok(_) => at.map(|at| at.and_then(|at| fds[at].any()).unwrap_or(false)),
        // Interrupted: try again. Anything else: a read tells.
        Err(nix::errno::Errno::EINTR) => [false; 2],
        Err(_) => at.map(|at| at.is_some()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write as _;
    use std::path::Path;

    fn logged(max_bytes: u64, stdout: Vec<u8>, stderr: Vec<u8>) -> (tempfile::TempDir, Vec<(String, String, String)>) {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("c/0.log");
        let mut log = LogFile::new(LoggerConfig { path: path.clone(), max_bytes, max_files: 3, owner: None });
        let inputs = [(stdout, Stream::Stdout), (stderr, Stream::Stderr)].map(|(bytes, stream)| {
            let (reader, mut writer) = std::io::pipe().unwrap();
            std::thread::spawn(move || writer.write_all(&bytes));
            Input::new(File::from(std::os::fd::OwnedFd::from(reader)), stream)
        });
        pump(inputs, &mut log);
        let lines = lines(&path);
        (directory, lines)
    }

    fn lines(path: &Path) -> Vec<(String, String, String)> {
        let text = std::fs::read_to_string(path).unwrap_or_default();
        text.lines()
            .map(|line| {
                let mut parts = line.splitn(4, ' ').skip(1).map(str::to_owned);
                (parts.next().unwrap(), parts.next().unwrap(), parts.next().unwrap())
            })
            .collect()
    }

    fn entry(stream: &str, tag: &str, text: &str) -> (String, String, String) {
        (stream.into(), tag.into(), text.into())
    }

    #[test]
    fn lines_pieces_and_the_last_one_without_a_newline() {
        let long = "x".repeat(MAX_CONTENT);
        let (_dir, lines) = logged(1 << 30, format!("a\n\n{long}\n{long}yz\nend").into_bytes(), Vec::new());
        let wanted = [("F", "a"), ("F", ""), ("F", &long), ("P", &long), ("F", "yz"), ("P", "end")];
        assert_eq!(lines, wanted.map(|(tag, text)| entry("stdout", tag, text)));
    }

    #[test]
    fn both_streams_are_told_apart() {
        let (_dir, lines) = logged(1 << 30, b"out\n".to_vec(), b"err\n".to_vec());
        assert_eq!(lines.len(), 2);
        assert!(lines.contains(&entry("stdout", "F", "out")) && lines.contains(&entry("stderr", "F", "err")));
    }

    #[test]
    fn any_bytes_survive() {
        let bytes: Vec<u8> = (0..=255u8).filter(|&b| b != b'\n').collect();
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("0.log");
        let mut log = LogFile::new(LoggerConfig { path: path.clone(), max_bytes: 1 << 20, max_files: 2, owner: None });
        log.line(Stream::Stdout, true, &bytes, &[]);
        log.flush();
        let written = std::fs::read(&path).unwrap();
        assert!(written.ends_with(&[&b" stdout F "[..], &bytes, b"\n"].concat()));
    }

    #[test]
    fn rotation_keeps_whole_lines_and_few_files() {
        let text: String = (0..5000).map(|n| format!("line {n}\n")).collect();
        let (directory, _) = logged(4096, text.into_bytes(), Vec::new());
        let mut files: Vec<_> = std::fs::read_dir(directory.path().join("c")).unwrap().map(|e| e.unwrap().path()).collect();
        files.sort();
        assert_eq!(files.len(), 3, "{files:?}");
        // 0.log sorts first but is the newest.
        files.rotate_left(1);
        let kept: Vec<_> = files.iter().flat_map(|path| lines(path)).collect();
        assert!(files.iter().all(|path| std::fs::metadata(path).unwrap().len() <= 4096));
        let first = 5000 - kept.len();
        let wanted: Vec<_> = (first..5000).map(|n| entry("stdout", "F", &format!("line {n}"))).collect();
        assert_eq!(kept, wanted);
    }
}
