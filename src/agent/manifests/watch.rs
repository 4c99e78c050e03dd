//! The thread that keeps the [`ManifestSet`] true: scan, then inotify events, and a slow rescan.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::time::{Duration, Instant};

use notify::event::{AccessKind, AccessMode, CreateKind, EventKind, ModifyKind, RenameMode};
use notify::{Event, RecommendedWatcher, RecursiveMode, Watcher as _};
use tokio::sync::watch;

use super::root::{Seen, Verdict, judge};
use super::scan::{self, Scan, Stamp};
use super::set::{FileEntry, ManifestSet, assemble, entry, refused};

/// How often the directory is walked for what inotify cannot see (kubelet's fileCheckFrequency).
const RESCAN: Duration = Duration::from_secs(20);
/// How often a walk is repeated because it found new directories.
const MAX_WALKS: usize = 20;
/// Events that wait while manifests are read; of more it is only known that some were missed, and everything is walked.
const QUEUE: usize = 4096;
/// Events that come within this time are handled together.
const GATHER: Duration = Duration::from_millis(2);

/// A handle on the watching thread: ends it when dropped.
pub struct Watcher {
    /// The latest set; `None` until the first walk is done.
    pub sets: watch::Receiver<Option<Arc<ManifestSet>>>,
    stop: SyncSender<Message>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Drop for Watcher {
    fn drop(&mut self) {
        // The thread may have ended by itself; then nobody listens, which is what we want.
        let _ = self.stop.send(Message::Stop);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

enum Message {
    Event(notify::Result<Event>),
    Stop,
}

/// Starts watching `root`. Errors: the thread or inotify cannot be had (raise fs.inotify.max_user_instances).
pub fn spawn(root: PathBuf) -> anyhow::Result<Watcher> {
    let (messages, inbox) = sync_channel(QUEUE);
    let (events, missed) = (messages.clone(), Arc::new(AtomicBool::new(false)));
    let overflow = missed.clone();
    let inotify = notify::recommended_watcher(move |event| {
        // Also where the thread has ended: then nobody asks.
        if events.try_send(Message::Event(event)).is_err() {
            overflow.store(true, Ordering::Release);
        }
    })?;
    let (publish, sets) = watch::channel(None);
    let state = State {
        root,
        inotify,
        missed,
        watched: BTreeMap::new(),
        held: BTreeMap::new(),
        stamps: BTreeMap::new(),
        files: BTreeMap::new(),
        dirs: BTreeMap::new(),
        publish,
    };
    let thread = std::thread::Builder::new().name("manifests".to_owned()).spawn(move || run(state, &inbox))?;
    Ok(Watcher { sets, stop: messages, thread: Some(thread) })
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
    files: BTreeMap<String, FileEntry>,
    /// What each directory was when it was last accepted, and where it really was.
    dirs: BTreeMap<String, (Seen, PathBuf)>,
    publish: watch::Sender<Option<Arc<ManifestSet>>>,
}

fn run(mut state: State, inbox: &Receiver<Message>) {
    state.rescan();
    let mut next_rescan = Instant::now() + RESCAN;
    loop {
        match inbox.recv_timeout(next_rescan.saturating_duration_since(Instant::now())) {
            Ok(Message::Event(event)) => {
                let gathered = gather(event, inbox);
                // The queue was full a moment ago, so that there is an event after the one that was missed.
                match gathered.walk || state.missed.swap(false, Ordering::AcqRel) {
                    true => state.rescan(),
                    false => state.touch(&gathered.touched),
                }
                if gathered.stop {
                    return;
                }
            }
            Err(RecvTimeoutError::Timeout) => {
                state.rescan();
                next_rescan = Instant::now() + RESCAN;
            }
            Ok(Message::Stop) | Err(RecvTimeoutError::Disconnected) => return,
        }
    }
}

/// What the events of one moment ask for.
#[derive(Default)]
struct Gathered {
    /// Files that are complete and may have changed.
    touched: BTreeSet<PathBuf>,
    /// Whether directories changed, so that everything is to be walked.
    walk: bool,
    /// Whether the watcher was dropped meanwhile.
    stop: bool,
}

/// Collects the events of the next moment.
fn gather(first: notify::Result<Event>, inbox: &Receiver<Message>) -> Gathered {
    let mut gathered = Gathered::default();
    gathered.walk = sort_out(first, &mut gathered.touched);
    let until = Instant::now() + GATHER;
    while !gathered.stop {
        match inbox.recv_timeout(until.saturating_duration_since(Instant::now())) {
            Ok(Message::Event(event)) => gathered.walk |= sort_out(event, &mut gathered.touched),
            Ok(Message::Stop) => gathered.stop = true,
            Err(_) => break,
        }
    }
    gathered
}

/// Whether the event asks for a walk; files that are complete go into `touched`.
fn sort_out(event: notify::Result<Event>, touched: &mut BTreeSet<PathBuf>) -> bool {
    // An error or an overflow of inotify's queue: something was missed.
    let Ok(event) = event else { return true };
    let complete = match event.kind {
        EventKind::Access(AccessKind::Close(AccessMode::Write))
        | EventKind::Modify(ModifyKind::Name(RenameMode::To | RenameMode::From | RenameMode::Both))
        | EventKind::Remove(_)
        | EventKind::Modify(ModifyKind::Metadata(_)) => true,
        // A new regular file is looked at when its writer closes it; a link or a directory is complete at once.
        EventKind::Create(kind) => kind != CreateKind::File || event.paths.iter().any(|p| is_link(p)),
        _ => return event.need_rescan(),
    };
    let manifests = event.paths.iter().all(|p| crate::api::files::is_manifest(p));
    if complete && manifests {
        touched.extend(event.paths.iter().cloned());
    }
    let hidden = event.paths.iter().all(|p| p.file_name().is_some_and(|n| n.to_string_lossy().starts_with('.')));
    event.need_rescan() || (complete && !manifests && !hidden) || event.paths.iter().any(|p| is_link(p))
}

fn is_link(path: &Path) -> bool {
    use std::os::unix::fs::MetadataExt;
    std::fs::symlink_metadata(path).is_ok_and(|m| m.is_symlink() || (m.is_file() && m.nlink() > 1))
}

impl State {
    /// Looks at single files again.
    fn touch(&mut self, paths: &BTreeSet<PathBuf>) {
        for path in paths {
            match self.relative(path) {
                Some(relative) if below(&self.held, &relative) => {}
                Some(_) if std::fs::metadata(path).is_ok_and(|m| !m.is_file()) => return self.rescan(),
                Some(relative) if self.stamps.contains_key(&relative) || path.exists() => {
                    let stamp = scan::stamp(path);
                    match stamp.is_none() && std::fs::symlink_metadata(path).is_err_and(|e| e.kind() == std::io::ErrorKind::NotFound) {
                        true => self.forget(&relative),
                        false => self.look(&relative, stamp),
                    }
                }
                Some(_) => {}
                None => return self.rescan(),
            }
        }
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
        self.held = self.judge_directories(&found);
        let held = self.held.clone();
        let gone: Vec<String> = self.stamps.keys().filter(|path| !found.files.contains_key(*path)).cloned().collect();
        for path in gone.iter().filter(|path| !found.cut && !below(&held, path)) {
            self.forget(path);
        }
        for (path, stamp) in &found.files {
            if !below(&held, path) && self.stamps.get(path) != Some(stamp) {
                self.look(path, *stamp);
            }
        }
        self.publish();
    }

    fn forget(&mut self, relative: &str) {
        self.stamps.remove(relative);
        self.files.remove(relative);
    }

    fn look(&mut self, relative: &str, stamp: Option<Stamp>) {
        if self.stamps.get(relative) == Some(&stamp) {
            return;
        }
        let path = self.root.join(relative);
        let file = match scan::read(&path) {
            Ok(text) => entry(relative, crate::api::manifest::decode(relative, &text)),
            Err(message) => refused(relative, &message),
        };
        self.stamps.insert(relative.to_owned(), stamp);
        self.files.insert(relative.to_owned(), file);
    }

    /// Walks until every directory found was watched before it was walked: what appears later makes an event. Bounded: where directories
    /// come faster than that, the slow rescan finds the rest.
    fn walk_watched(&mut self) -> Scan {
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
        let parent = self.root.parent().map(|p| (p.to_path_buf(), None));
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
                    held.insert(dir, reason);
                }
            }
        }
        for (dir, _) in found.dirs.iter().filter(|(dir, _)| scan::open_to_all(&self.root.join(dir))) {
            held.insert(dir.clone(), "it is writable by everyone, and what lies in it runs as root: refused; chmod o-w it".to_owned());
        }
        held
    }

    fn publish(&self) {
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
mod tests {
    use super::*;

    #[test]
    fn a_stop_among_events_is_not_lost() {
        let (messages, inbox) = sync_channel(QUEUE);
        messages.send(Message::Event(Ok(Event::new(EventKind::Any)))).unwrap();
        messages.send(Message::Stop).unwrap();
        assert!(gather(Ok(Event::new(EventKind::Any)), &inbox).stop);
    }

    #[test]
    fn what_is_written_renamed_linked_and_removed_is_seen() {
        let dir = tempfile::tempdir().unwrap();
        let path = |name: &str| dir.path().join("m").join(name);
        let manifest = |name: &str| format!("apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: {name}}}\n");
        std::fs::create_dir(dir.path().join("m")).unwrap();
        std::fs::write(path("a.yaml"), manifest("a")).unwrap();
        let watcher = spawn(dir.path().join("m")).unwrap();
        let expect = |names: &[&str]| {
            let begun = Instant::now();
            loop {
                let set = watcher.sets.borrow().clone();
                let found: Vec<String> = set.iter().flat_map(|s| &s.objects).filter_map(|o| o.meta().name.clone()).collect();
                if found == names {
                    return;
                }
                assert!(begun.elapsed() < Duration::from_secs(10), "{found:?} and not {names:?}");
                std::thread::sleep(Duration::from_millis(2));
            }
        };
        expect(&["a"]);
        std::fs::write(dir.path().join("aside"), manifest("b")).unwrap();
        std::fs::rename(dir.path().join("aside"), path("b.yaml")).unwrap();
        expect(&["a", "b"]);
        std::fs::create_dir_all(path("sub/deep")).unwrap();
        std::fs::write(path("sub/deep/c.yml"), manifest("c")).unwrap();
        expect(&["a", "b", "c"]);
        std::fs::create_dir(path(".tree")).unwrap();
        std::fs::write(path(".tree/d.yaml"), manifest("d")).unwrap();
        std::os::unix::fs::symlink(".tree", path("linked")).unwrap();
        expect(&["a", "b", "d", "c"]);
        std::fs::remove_file(path("a.yaml")).unwrap();
        std::fs::remove_dir_all(path("sub")).unwrap();
        expect(&["b", "d"]);
    }
}
