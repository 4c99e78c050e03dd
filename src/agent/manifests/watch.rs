//! The thread that keeps the [`ManifestSet`] true: scan, then inotify events, and a slow rescan.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, SyncSender, TrySendError, channel, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use notify::{RecommendedWatcher, RecursiveMode, Watcher as _};
use tokio::sync::watch;

use super::events::{Message, Places, gather, is_mere_reading};
use super::reading::{Digest, Read, read_all};
use super::root::{Seen, Verdict, absent, judge};
use super::scan::{self, Scan, Stamp};
use super::set::{FileEntry, ManifestSet, assemble};
use crate::clock::{Clock as _, SystemClock};

/// How often the directory is walked for what inotify cannot see (kubelet's fileCheckFrequency).
const RESCAN: Duration = Duration::from_secs(20);
/// How often, while the directory is missing and so may its parent be: a look costs nothing then.
const RESCAN_MISSING: Duration = Duration::from_secs(2);
/// A file changed so shortly before it was read is read once more after this: a second change within one tick of the file system's clock
/// (2 s on the coarsest) leaves the same stamp. As git does for its index ("racy git").
const TICK: Duration = Duration::from_secs(2);
/// How long the end of the thread is waited for: a file system that hangs holds it, and must not hold the agent.
const STOP: Duration = Duration::from_secs(2);
/// How soon a full queue is tried again.
const FULL: Duration = Duration::from_millis(5);
/// How often a walk is repeated because it found new directories.
const MAX_WALKS: usize = 20;
/// Events that wait while manifests are read; of more it is only known that some were missed, and everything is walked.
const QUEUE: usize = 4096;

/// A handle on the watching thread: ends it when dropped.
pub struct Watcher {
    /// The latest set; `None` until the first walk is done.
    pub sets: watch::Receiver<Option<Arc<ManifestSet>>>,
    /// Whether the thread is looking at the directory now: for [`super::tell_silence`].
    pub looking: watch::Receiver<bool>,
    stop: SyncSender<Message>,
    /// Closed by the thread's end.
    ended: Mutex<Receiver<()>>,
}

impl Drop for Watcher {
    fn drop(&mut self) {
        let until = Instant::now() + STOP;
        // The thread may have ended by itself; then nobody listens, which is what we want. A full queue has room again soon.
        while matches!(self.stop.try_send(Message::Stop), Err(TrySendError::Full(_))) && Instant::now() < until {
            std::thread::sleep(FULL);
        }
        let ended = self.ended.get_mut().unwrap_or_else(PoisonError::into_inner);
        if matches!(ended.recv_timeout(STOP), Err(RecvTimeoutError::Timeout)) {
            tracing::warn!("the manifests directory's file system does not answer; its thread is left behind");
        }
    }
}

/// Starts watching `root`. Errors: the thread or inotify cannot be had (raise fs.inotify.max_user_instances).
pub fn spawn(root: PathBuf) -> anyhow::Result<Watcher> {
    let (messages, inbox) = sync_channel(QUEUE);
    let (events, missed) = (messages.clone(), Arc::new(AtomicBool::new(false)));
    let overflow = missed.clone();
    let inotify = notify::recommended_watcher(move |event| {
        // Also where the thread has ended: then nobody asks.
        if !is_mere_reading(&event) && events.try_send(Message::Event(event)).is_err() {
            overflow.store(true, Ordering::Release);
        }
    })?;
    let (publish, sets) = watch::channel(None);
    let (look, looking) = watch::channel(false);
    let state = State::new(root, inotify, missed, publish);
    let (alive, ended) = channel();
    std::thread::Builder::new().name("manifests".to_owned()).spawn(move || {
        let _alive: Sender<()> = alive;
        run(state, &inbox, &look);
    })?;
    Ok(Watcher { sets, looking, stop: messages, ended: Mutex::new(ended) })
}

struct State {
    root: PathBuf,
    inotify: RecommendedWatcher,
    /// Whether an event found the queue full.
    missed: Arc<AtomicBool>,
    /// Directories watched, with the identity they had: a directory made anew under the same name needs a new watch.
    watched: BTreeMap<PathBuf, Option<(u64, u64)>>,
    /// Directories held now, with the reason.
    held: BTreeMap<String, String>,
    stamps: BTreeMap<String, Option<Stamp>>,
    /// What each file's bytes were: those that are the same again are not decoded again.
    digests: BTreeMap<String, Digest>,
    /// Whether files or held directories changed since the set was put together.
    changed: bool,
    /// Files decoded so far.
    decoded: u64,
    /// Files whose stamp cannot be relied on yet, and from when it can.
    doubted: BTreeMap<String, Instant>,
    files: BTreeMap<String, FileEntry>,
    /// What each directory was when it was last accepted, and where it really was.
    dirs: BTreeMap<String, (Seen, PathBuf)>,
    publish: watch::Sender<Option<Arc<ManifestSet>>>,
}

fn run(mut state: State, inbox: &Receiver<Message>, looking: &watch::Sender<bool>) {
    looking.send_replace(true);
    state.rescan();
    let mut next_rescan = Instant::now() + state.rescan_every();
    loop {
        let due = state.doubted.values().min().copied().map_or(next_rescan, |doubt| doubt.min(next_rescan));
        looking.send_replace(false);
        let message = inbox.recv_timeout(due.saturating_duration_since(Instant::now()));
        looking.send_replace(true);
        match message {
            Ok(Message::Event(event)) => {
                let gathered = gather(event, inbox, &state.places());
                // The queue was full a moment ago, so that there is an event after the one that was missed.
                match gathered.walk || state.missed.swap(false, Ordering::AcqRel) {
                    true => state.rescan(),
                    false => state.touch(&gathered.touched),
                }
                if gathered.stop {
                    return;
                }
            }
            Err(RecvTimeoutError::Timeout) if Instant::now() < next_rescan => state.look_again(),
            Err(RecvTimeoutError::Timeout) => state.rescan(),
            Ok(Message::Stop) | Err(RecvTimeoutError::Disconnected) => return,
        }
        // An event may have made the directory appear or vanish; a rescan that is due comes however busy the directory is.
        let now = Instant::now();
        next_rescan = if now < next_rescan { next_rescan.min(now + state.rescan_every()) } else { now + state.rescan_every() };
    }
}

impl State {
    fn new(root: PathBuf, inotify: RecommendedWatcher, missed: Arc<AtomicBool>, publish: watch::Sender<Option<Arc<ManifestSet>>>) -> State {
        State {
            root,
            inotify,
            missed,
            watched: BTreeMap::new(),
            held: BTreeMap::new(),
            stamps: BTreeMap::new(),
            digests: BTreeMap::new(),
            changed: true,
            decoded: 0,
            doubted: BTreeMap::new(),
            files: BTreeMap::new(),
            dirs: BTreeMap::new(),
            publish,
        }
    }

    fn rescan_every(&self) -> Duration {
        if self.held.contains_key("") { RESCAN_MISSING } else { RESCAN }
    }

    fn places(&self) -> Places<'_> {
        Places { root: &self.root, watched: &self.watched, walked: self.dirs.values().map(|(_, real)| real.as_path()).collect() }
    }

    /// Reads what was changed too shortly before it was read.
    fn look_again(&mut self) {
        let now = Instant::now();
        let due: Vec<String> = self.doubted.iter().filter(|(_, due)| **due <= now).map(|(path, _)| path.clone()).collect();
        let (held, open): (Vec<_>, Vec<_>) = due.into_iter().partition(|relative| below(&self.held, relative));
        self.doubted.retain(|relative, _| !held.contains(relative));
        let found = open.into_iter().filter_map(|relative| self.find(&self.root.join(&relative), relative)).collect();
        self.look(found);
        self.publish();
    }

    /// Looks at single files again.
    fn touch(&mut self, paths: &BTreeSet<PathBuf>) {
        let mut found = Vec::new();
        for path in paths {
            match self.relative(path) {
                Some(relative) if below(&self.held, &relative) => {}
                Some(_) if std::fs::metadata(path).is_ok_and(|m| !m.is_file()) => return self.rescan(),
                Some(relative) if self.stamps.contains_key(&relative) || path.exists() => found.extend(self.find(path, relative)),
                Some(_) => {}
                None => return self.rescan(),
            }
        }
        self.look(found);
        self.publish();
    }

    /// The path relative to the root, through the directory it was watched in.
    fn relative(&self, path: &Path) -> Option<String> {
        let (parent, name) = (path.parent()?, path.file_name()?.to_str()?);
        let (dir, _) = self.dirs.iter().find(|(_, (_, real))| real == parent)?;
        Some(format!("{dir}{name}"))
    }

    /// Walks everything.
    fn rescan(&mut self) {
        let found = self.walk_watched();
        let held = self.judge_directories(&found);
        self.changed |= held != self.held;
        self.held = held;
        let gone = |path: &&String| !found.cut && !found.files.contains_key(*path) && !below(&self.held, path);
        let gone: Vec<String> = self.stamps.keys().filter(gone).cloned().collect();
        gone.iter().for_each(|path| self.forget(path));
        let open = found.files.into_iter().filter(|(path, _)| !below(&self.held, path)).collect();
        self.look(open);
        self.publish();
    }

    /// The file with its stamp now; what is gone is forgotten.
    fn find(&mut self, path: &Path, relative: String) -> Option<(String, Option<Stamp>)> {
        let stamp = scan::stamp(path);
        let gone = stamp.is_none() && std::fs::symlink_metadata(path).is_err_and(|e| e.kind() == std::io::ErrorKind::NotFound);
        if gone {
            self.forget(&relative);
        }
        (!gone).then_some((relative, stamp))
    }

    fn forget(&mut self, relative: &str) {
        self.stamps.remove(relative);
        self.doubted.remove(relative);
        self.digests.remove(relative);
        self.changed |= self.files.remove(relative).is_some();
    }

    /// Reads the files whose stamps say, or may conceal, that they changed, and decodes those whose bytes did.
    fn look(&mut self, mut found: Vec<(String, Option<Stamp>)>) {
        found.retain(|(path, stamp)| self.stamps.get(path) != Some(stamp) || self.doubted.contains_key(path));
        let (begun, at) = (Instant::now(), SystemClock.now());
        let paths: Vec<&str> = found.iter().map(|(path, _)| path.as_str()).collect();
        let read = read_all(&self.root, &paths, &self.digests);
        for ((relative, stamp), read) in found.into_iter().zip(read) {
            match self.stamps.get(&relative) == Some(&stamp) {
                // One more look after the tick is enough: what comes later has a later stamp.
                true if self.doubted.get(&relative).is_some_and(|due| *due <= begun) => drop(self.doubted.remove(&relative)),
                true => {}
                false if stamp.is_some_and(|stamp| stamp.is_fresh(at, TICK)) => drop(self.doubted.insert(relative.clone(), begun + TICK)),
                false => drop(self.doubted.remove(&relative)),
            }
            self.stamps.insert(relative.clone(), stamp);
            self.take(relative, read);
        }
    }

    /// What says the same stays the same, so that nobody is woken.
    fn take(&mut self, relative: String, read: Read) {
        let (file, digest) = match read {
            Read::Same => return,
            Read::Decoded(file, digest) => (file, Some(digest)),
            Read::Refused(file) => (file, None),
        };
        self.decoded += u64::from(digest.is_some());
        match digest {
            Some(digest) => drop(self.digests.insert(relative.clone(), digest)),
            None => drop(self.digests.remove(&relative)),
        }
        if self.files.get(&relative) != Some(&file) {
            self.files.insert(relative, file);
            self.changed = true;
        }
    }

    /// Walks until every directory found was watched before it was walked: what appears later makes an event. Bounded: where directories
    /// come faster than that, the slow rescan finds the rest.
    fn walk_watched(&mut self) -> Scan {
        if self.watched.is_empty() {
            // Then one walk does where there is no other directory.
            self.watch_directories(&scan::root_alone(&self.root));
        }
        let mut found = scan::walk(&self.root);
        for _ in 0..MAX_WALKS {
            if !self.watch_directories(&found) {
                break;
            }
            found = scan::walk(&self.root);
        }
        found
    }

    /// One inotify watch per directory: a recursive one would miss what a swapped link leads to. Returns whether there are new ones.
    fn watch_directories(&mut self, found: &Scan) -> bool {
        let parent = self.doorway().map(|door| (door, None));
        let readable = found.dirs.values().filter(|d| d.identity.is_some()).map(|d| (d.real.clone(), d.identity));
        let wanted: BTreeMap<PathBuf, Option<(u64, u64)>> = parent.into_iter().chain(readable).collect();
        for (gone, _) in self.watched.iter().filter(|(dir, identity)| wanted.get(*dir) != Some(*identity)) {
            // Already gone with the directory itself in most cases.
            let _ = self.inotify.unwatch(gone);
        }
        let (inotify, watched) = (&mut self.inotify, &self.watched);
        let now = |(dir, identity): (PathBuf, Option<(u64, u64)>)| {
            let known = watched.get(&dir) == Some(&identity);
            (known || inotify.watch(&dir, RecursiveMode::NonRecursive).is_ok()).then_some((dir, identity))
        };
        let next: BTreeMap<_, _> = wanted.into_iter().filter_map(now).collect();
        let added = next.iter().any(|(dir, identity)| self.watched.get(dir) != Some(identity));
        self.watched = next;
        added
    }

    /// The directory in which the root's own name appears or changes its meaning: watched only where that can happen unseen, which is while
    /// the root is missing, and where it is a link. A directory tells by itself when it is moved or removed. The parent may be as busy as /tmp.
    fn doorway(&self) -> Option<PathBuf> {
        let plain = std::fs::symlink_metadata(&self.root).is_ok_and(|meta| meta.is_dir());
        self.root.parent().filter(|_| !plain).map(Path::to_path_buf)
    }

    /// Directories about which nothing may be concluded; the others are remembered as they are now.
    fn judge_directories(&mut self, found: &Scan) -> BTreeMap<String, String> {
        let mut held = BTreeMap::new();
        let known: BTreeSet<String> = self.dirs.keys().chain(found.dirs.keys()).cloned().collect();
        for dir in known {
            let parent_gone = !dir.is_empty() && !found.dirs.contains_key(&dir);
            if parent_gone {
                // A sub-directory that is no longer listed was removed, unless something above it is held.
                if !below(&held, &dir) {
                    self.dirs.remove(&dir);
                }
                continue;
            }
            let before = self.dirs.get(&dir);
            let now = found.dirs.get(&dir).and_then(|d| seen(d, &dir, found, before.map(|(_, real)| real.as_path())));
            match judge(before.map(|(seen, _)| *seen), now.map(|(seen, _)| seen)) {
                Verdict::Accept => {
                    if let Some((seen, real)) = now {
                        self.dirs.insert(dir, (seen, real.to_path_buf()));
                    }
                }
                Verdict::Hold(reason) => {
                    let absent = found.dirs.get(&dir).and_then(|d| d.error).map(|error| absent(&self.root.join(&dir), error));
                    held.insert(dir, absent.unwrap_or(reason));
                }
            }
        }
        for (dir, _) in found.dirs.iter().filter(|(dir, _)| scan::open_to_all(&self.root.join(dir))) {
            held.insert(dir.clone(), "it is writable by everyone, and what lies in it runs as root: refused; chmod o-w it".to_owned());
        }
        held
    }

    fn publish(&mut self) {
        if !std::mem::take(&mut self.changed) {
            return;
        }
        tracing::debug!(files = self.files.len(), decoded = self.decoded, "the manifests changed");
        let set = assemble(&self.files, &self.held);
        self.publish.send_if_modified(|current| {
            let differs = current.as_deref().is_none_or(|current| !current.same(&set));
            if differs {
                *current = Some(Arc::new(set));
            }
            differs
        });
    }
}

fn seen<'a>(dir: &'a scan::Dir, relative: &str, found: &Scan, real_before: Option<&Path>) -> Option<(Seen, &'a Path)> {
    let (device, inode) = dir.identity?;
    let holds_manifests = found.files.range(relative.to_owned()..).next().is_some_and(|(file, _)| file.starts_with(relative));
    let link_moved = real_before.is_some_and(|before| before != dir.real);
    Some((Seen { device, inode, holds_manifests, link_moved }, &dir.real))
}

fn below(held: &BTreeMap<String, String>, path: &str) -> bool {
    held.keys().any(|dir| path.starts_with(dir.as_str()))
}

#[cfg(test)]
#[path = "watch_tests.rs"]
mod tests;
