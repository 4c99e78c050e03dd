//! Which of inotify's events mean something for the manifests, and what they ask for.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::mpsc::Receiver;
use std::time::{Duration, Instant};

use notify::Event;
use notify::event::{AccessKind, AccessMode, CreateKind, EventKind, ModifyKind, RenameMode};

/// Events that come within this time are handled together.
const GATHER: Duration = Duration::from_millis(2);

/// What reaches the watching thread.
pub(super) enum Message {
    Event(notify::Result<Event>),
    Stop,
}

/// What the events of one moment ask for.
#[derive(Default)]
pub(super) struct Gathered {
    /// Files that are complete and may have changed.
    pub touched: BTreeSet<PathBuf>,
    /// Whether directories changed, so that everything is to be walked.
    pub walk: bool,
    /// Whether the watcher was dropped meanwhile.
    pub stop: bool,
}

/// Where events may come from.
pub(super) struct Places<'a> {
    /// The manifests directory as it was named.
    pub root: &'a Path,
    /// Every directory watched.
    pub watched: &'a BTreeMap<PathBuf, Option<(u64, u64)>>,
    /// Those that manifests are read from, links followed.
    pub walked: BTreeSet<&'a Path>,
}

impl Places<'_> {
    /// Whether the event is about other names in the root's parent, which is watched for the root's name alone.
    fn is_foreign(&self, event: &Event) -> bool {
        let beside = |path: &PathBuf| {
            let parent = path.parent();
            parent == self.root.parent() && !parent.is_some_and(|dir| self.walked.contains(dir)) && !self.is_directory(path)
        };
        !event.need_rescan() && !event.paths.is_empty() && event.paths.iter().all(beside)
    }

    /// Whether the path is a directory that is watched, or the root's name.
    fn is_directory(&self, path: &Path) -> bool {
        path == self.root || self.watched.contains_key(path)
    }
}

/// Whether the event tells only that somebody reads a file, as this agent does itself: there is one for each manifest that it reads.
pub(super) fn is_mere_reading(event: &notify::Result<Event>) -> bool {
    let reads = |kind| matches!(kind, EventKind::Access(how) if how != AccessKind::Close(AccessMode::Write));
    event.as_ref().is_ok_and(|event| reads(event.kind) && !event.need_rescan())
}

/// Collects the events of the next moment.
pub(super) fn gather(first: notify::Result<Event>, inbox: &Receiver<Message>, places: &Places<'_>) -> Gathered {
    let mut gathered = Gathered::default();
    if first.as_ref().is_ok_and(|event| places.is_foreign(event)) {
        return gathered;
    }
    gathered.walk = sort_out(first, &mut gathered.touched, places);
    let until = Instant::now() + GATHER;
    while !gathered.stop {
        match inbox.recv_timeout(until.saturating_duration_since(Instant::now())) {
            Ok(Message::Event(event)) => gathered.walk |= sort_out(event, &mut gathered.touched, places),
            Ok(Message::Stop) => gathered.stop = true,
            Err(_) => break,
        }
    }
    gathered
}

/// Whether the event asks for a walk; files that are complete go into `touched`.
fn sort_out(event: notify::Result<Event>, touched: &mut BTreeSet<PathBuf>, places: &Places<'_>) -> bool {
    // An error or an overflow of inotify's queue: something was missed.
    let Ok(event) = event else { return true };
    if places.is_foreign(&event) {
        return false;
    }
    let complete = match event.kind {
        EventKind::Access(AccessKind::Close(AccessMode::Write))
        | EventKind::Modify(ModifyKind::Name(RenameMode::To | RenameMode::From | RenameMode::Both))
        | EventKind::Remove(_)
        | EventKind::Modify(ModifyKind::Metadata(_)) => true,
        // A new regular file is looked at when its writer closes it; a link or a directory is complete at once.
        EventKind::Create(kind) => kind != CreateKind::File || event.paths.iter().any(|p| is_link(p)),
        _ => return event.need_rescan(),
    };
    let directory = event.paths.iter().any(|p| places.is_directory(p));
    let manifests = !directory && event.paths.iter().all(|p| crate::api::files::is_manifest(p));
    if complete && manifests {
        touched.extend(event.paths.iter().cloned());
    }
    let hidden = !directory && event.paths.iter().all(|p| crate::api::files::is_hidden(p));
    event.need_rescan() || (complete && !manifests && !hidden) || event.paths.iter().any(|p| is_link(p))
}

fn is_link(path: &Path) -> bool {
    use std::os::unix::fs::MetadataExt;
    std::fs::symlink_metadata(path).is_ok_and(|m| m.is_symlink() || (m.is_file() && m.nlink() > 1))
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::channel;

    use super::*;

    #[test]
    fn a_stop_among_events_is_not_lost() {
        let (messages, inbox) = channel();
        messages.send(Message::Event(Ok(Event::new(EventKind::Any)))).unwrap();
        messages.send(Message::Stop).unwrap();
        let places = Places { root: Path::new("/etc/m"), watched: &BTreeMap::new(), walked: BTreeSet::new() };
        assert!(gather(Ok(Event::new(EventKind::Any)), &inbox, &places).stop);
    }

    #[test]
    fn who_opens_a_file_to_read_it_says_nothing() {
        let event = |kind| Ok(Event::new(EventKind::Access(kind)));
        assert!(is_mere_reading(&event(AccessKind::Open(AccessMode::Any))) && is_mere_reading(&event(AccessKind::Close(AccessMode::Read))));
        assert!(!is_mere_reading(&event(AccessKind::Close(AccessMode::Write))));
        assert!(!is_mere_reading(&Ok(Event::new(EventKind::Any))) && !is_mere_reading(&Err(notify::Error::generic("lost"))));
        let lost = Event::new(EventKind::Access(AccessKind::Any)).set_flag(notify::event::Flag::Rescan);
        assert!(!is_mere_reading(&Ok(lost)));
    }

    #[test]
    fn of_the_parent_only_the_one_name_counts() {
        let watched = BTreeMap::from([(PathBuf::from("/etc"), None), (PathBuf::from("/etc/m-v1"), None)]);
        let mut places = Places { root: Path::new("/etc/m"), watched: &watched, walked: BTreeSet::from([Path::new("/etc/m-v1")]) };
        let asks = |path: &str, places: &Places<'_>| {
            let event = Event::new(EventKind::Modify(ModifyKind::Name(RenameMode::To))).add_path(path.into());
            let mut touched = BTreeSet::new();
            sort_out(Ok(event), &mut touched, places) || !touched.is_empty()
        };
        for ours in ["/etc/m", "/etc/m-v1", "/etc/m-v1/a.yaml", "/etc/m-v1/sub"] {
            assert!(asks(ours, &places), "{ours}");
        }
        for foreign in ["/etc/passwd", "/etc/m-v2", "/etc/x.yaml", "/etc/.pwd.lock"] {
            assert!(!asks(foreign, &places), "{foreign}");
        }
        places.walked.insert(Path::new("/etc"));
        assert!(asks("/etc/x.yaml", &places), "a link in the directory leads to its parent");
    }
}
