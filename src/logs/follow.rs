//! `logs -f`: a log as it grows, across rotations, until the container has ended and its last line is read.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use notify::{EventKind, RecommendedWatcher, RecursiveMode, Watcher as _};
use tokio::sync::{Notify, mpsc, watch};

use super::reader::{LogOptions, LogReader};

/// Once the container has ended its logger writes what the pipes still hold; this long without a line means it has.
const SETTLED: Duration = Duration::from_millis(200);
/// Where inotify is not to be had, or the directory is not there yet.
const WITHOUT_INOTIFY: Duration = Duration::from_secs(1);

/// A log that is to be followed, at the place where that begins.
pub struct Follow {
    path: PathBuf,
    changes: Changes,
    reader: LogReader,
}

impl Follow {
    /// Finds the place: with `tail: Some(0)` the log's end now, so that what is written after this is sent, whenever that begins.
    ///
    /// # Errors
    /// When the log cannot be read. That it does not exist yet is no error.
    pub async fn open(path: PathBuf, options: LogOptions) -> std::io::Result<Follow> {
        // Before the first read: what is written after it is noticed.
        let changes = Changes::of(&path);
        let opened = path.clone();
        let reader = blocking(move || LogReader::open(&opened, options)).await?;
        Ok(Follow { path, changes, reader })
    }

    /// Sends the log, piece by piece, until `ended` is true (or its sender is gone) and all is read, or until nobody receives any more.
    /// Pieces are whole lines, except that a limit cuts anywhere.
    ///
    /// # Errors
    /// When the log cannot be read.
    pub async fn run(self, ended: watch::Receiver<bool>, out: mpsc::Sender<Vec<u8>>) -> std::io::Result<()> {
        let Follow { path, changes, reader } = self;
        follow(path, changes, reader, ended, out).await
    }
}

async fn follow(
    path: PathBuf,
    mut changes: Changes,
    mut reader: LogReader,
    mut ended: watch::Receiver<bool>,
    out: mpsc::Sender<Vec<u8>>,
) -> std::io::Result<()> {
    loop {
        let piece;
        (reader, piece) = blocking(move || reader.read().map(|piece| (reader, piece))).await?;
        if !piece.is_empty() {
            if out.send(piece).await.is_err() {
                return Ok(());
            }
            continue;
        }
        if reader.is_done() {
            return Ok(());
        }
        if changes.is_blind() {
            changes = Changes::of(&path);
        }
        let over = *ended.borrow_and_update() || ended.has_changed().is_err();
        // Each branch can be dropped at any point: nothing is taken from a queue but wake-ups.
        tokio::select! {
            () = out.closed() => return Ok(()),
            () = changes.wait() => {}
            _ = ended.changed(), if !over => {}
            () = tokio::time::sleep(SETTLED), if over => break,
        }
    }
    // One more look: a line may have come with the last tick.
    let (mut reader, piece) = blocking(move || reader.read().map(|piece| (reader, piece))).await?;
    for piece in [piece, reader.finish()] {
        if !piece.is_empty() && out.send(piece).await.is_err() {
            break;
        }
    }
    Ok(())
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> std::io::Result<T> + Send + 'static) -> std::io::Result<T> {
    tokio::task::spawn_blocking(work).await.map_err(std::io::Error::other)?
}

/// Wake-ups for a log's directory.
struct Changes {
    wake: Arc<Notify>,
    watcher: Option<RecommendedWatcher>,
}

impl Changes {
    fn of(path: &Path) -> Self {
        let wake = Arc::new(Notify::new());
        let waker = wake.clone();
        // Reading makes events too (a file is opened): only what may have brought lines wakes.
        let on_event = move |event: notify::Result<notify::Event>| match event.map(|event| event.kind) {
            Ok(EventKind::Access(_)) => {}
            _ => waker.notify_one(),
        };
        let watch = || {
            let mut watcher = notify::recommended_watcher(on_event).ok()?;
            watcher.watch(path.parent()?, RecursiveMode::NonRecursive).ok()?;
            Some(watcher)
        };
        Self { wake, watcher: watch() }
    }

    fn is_blind(&self) -> bool {
        self.watcher.is_none()
    }

    /// Until something changed. Cancel-safe: a wake-up not taken wakes the next call.
    async fn wait(&self) {
        match self.watcher {
            Some(_) => self.wake.notified().await,
            None => tokio::time::sleep(WITHOUT_INOTIFY).await,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write as _;

    fn append(path: &Path, text: &str) {
        let mut file = std::fs::OpenOptions::new().append(true).create(true).open(path).unwrap();
        writeln!(file, "2026-01-01T00:00:00.000000000Z stdout F {text}").unwrap();
    }

    async fn next(lines: &mut mpsc::Receiver<Vec<u8>>) -> String {
        let piece = tokio::time::timeout(Duration::from_secs(10), lines.recv()).await.expect("a line in time");
        String::from_utf8(piece.expect("a line")).unwrap()
    }

    #[tokio::test]
    async fn follows_growth_rotation_and_ends_with_the_container() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("0.log");
        append(&path, "one");
        let (ended, is_ended) = watch::channel(false);
        let (sender, mut lines) = mpsc::channel(8);
        let log = Follow::open(path.clone(), LogOptions::default()).await.unwrap();
        let task = tokio::spawn(log.run(is_ended, sender));
        assert_eq!(next(&mut lines).await, "one\n");
        append(&path, "two");
        assert_eq!(next(&mut lines).await, "two\n");
        std::fs::rename(&path, directory.path().join("0.log.20260101-000000")).unwrap();
        append(&path, "three");
        assert_eq!(next(&mut lines).await, "three\n");
        ended.send(true).unwrap();
        append(&path, "last");
        assert_eq!(next(&mut lines).await, "last\n");
        assert_eq!(lines.recv().await, None);
        task.await.unwrap().unwrap();
    }

    #[tokio::test]
    async fn from_its_end_means_from_when_it_was_opened() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("0.log");
        append(&path, "before");
        let log = Follow::open(path.clone(), LogOptions { tail: Some(0), ..LogOptions::default() }).await.unwrap();
        append(&path, "after");
        let (_ended, is_ended) = watch::channel(false);
        let (sender, mut lines) = mpsc::channel(8);
        tokio::spawn(log.run(is_ended, sender));
        assert_eq!(next(&mut lines).await, "after\n");
    }

    #[tokio::test]
    async fn stops_when_nobody_listens() {
        let directory = tempfile::tempdir().unwrap();
        let (_ended, is_ended) = watch::channel(false);
        let (sender, lines) = mpsc::channel(8);
        let log = Follow::open(directory.path().join("none/0.log"), LogOptions::default()).await.unwrap();
        let task = tokio::spawn(log.run(is_ended, sender));
        drop(lines);
        tokio::time::timeout(Duration::from_secs(10), task).await.expect("in time").unwrap().unwrap();
    }
}
