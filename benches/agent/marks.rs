//! How a container tells that its process runs: it writes its name into a fifo, which a thread reads and stamps with the time.

use std::collections::HashSet;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use anyhow::Context as _;

/// The fifo's directory inside the containers.
pub const INSIDE: &str = "/out";

/// The fifo and what was heard from it.
pub struct Marks {
    dir: PathBuf,
    heard: Receiver<(String, Instant)>,
}

impl Marks {
    /// Makes the fifo in `dir`, which is to be mounted at [`INSIDE`].
    pub fn new(dir: &Path) -> anyhow::Result<Marks> {
        std::fs::create_dir_all(dir)?;
        let path = dir.join("mark");
        nix::unistd::mkfifo(&path, nix::sys::stat::Mode::from_bits_truncate(0o666)).context("cannot make a fifo")?;
        // Open for writing too, so that it never ends.
        let fifo = BufReader::new(std::fs::File::options().read(true).write(true).open(&path)?);
        let (tell, heard) = channel();
        std::thread::spawn(move || {
            for line in fifo.lines().map_while(Result::ok) {
                if tell.send((line, Instant::now())).is_err() {
                    return;
                }
            }
        });
        Ok(Marks { dir: dir.to_owned(), heard })
    }

    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// The shell command of a container with this name: tells that it runs, then stays.
    pub fn script(name: &str) -> String {
        format!("echo {name} > {INSIDE}/mark; exec sleep 100000")
    }

    /// Waits until all of these were heard; when the last one was. Other marks are dropped.
    pub fn wait(&self, names: &[String], limit: Duration) -> anyhow::Result<Instant> {
        let deadline = Instant::now() + limit;
        let mut missing: HashSet<&str> = names.iter().map(String::as_str).collect();
        let mut last = Instant::now();
        while !missing.is_empty() {
            let rest = deadline.saturating_duration_since(Instant::now());
            let (name, at) = self.heard.recv_timeout(rest).with_context(|| format!("not running in time: {missing:?}"))?;
            if missing.remove(name.as_str()) {
                last = at;
            }
        }
        Ok(last)
    }
}
