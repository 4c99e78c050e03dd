//! Image archives dropped into the state directory's `images/`: imported and pinned, without a registry. A file that goes away unpins them.
//!
//! ```text
//! inotify, or every 5 minutes ─▶ files ─▶ due (pure) ─▶ at rest for 2 s? ─▶ import ─▶ or: told, and not tried again until the file changes
//! ```

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use minik8s::agent::{Drivers, events};
use minik8s::api::{Key, Kind};
use minik8s::controllers::EventDraft;
use minik8s::runtime::{Containerd, RuntimeError};
use notify::event::{AccessKind, AccessMode};
use notify::{Event, EventKind, RecursiveMode, Watcher as _};
use tokio::sync::mpsc;

/// How often the directory is looked at without any word from the kernel.
const RESCAN: Duration = Duration::from_secs(5 * 60);
/// A file that did not change for so long is taken to be whole.
const AT_REST: Duration = Duration::from_secs(2);
/// Until containerd is asked again.
const AWAY: Duration = Duration::from_secs(10);
/// Files that are looked at.
const MAX_FILES: usize = 1000;

/// Imports for as long as it runs.
pub(super) struct Preload {
    drivers: Drivers,
    containerd: Arc<Containerd>,
    dir: PathBuf,
    /// What was tried or told of, by file, with its state then.
    settled: BTreeMap<String, String>,
}

/// What is to be done about the files. Pure.
#[derive(Debug, Default, PartialEq, Eq)]
struct Due {
    import: Vec<String>,
    unpin: Vec<String>,
    /// Named once: no `.tar`.
    other: Vec<String>,
}

/// `files`: name → state. `imported`: what containerd has. `settled`: what was tried before.
fn due(files: &BTreeMap<String, String>, imported: &BTreeMap<String, String>, settled: &BTreeMap<String, String>) -> Due {
    let mut due = Due::default();
    for (name, state) in files.iter().filter(|(name, state)| settled.get(*name) != Some(state)) {
        match name.ends_with(".tar") {
            true if imported.get(name) != Some(state) => due.import.push(name.clone()),
            true => {}
            false => due.other.push(name.clone()),
        }
    }
    due.unpin.extend(imported.keys().filter(|name| !files.contains_key(*name)).cloned());
    due
}

impl Preload {
    pub(super) fn new(drivers: Drivers, containerd: Arc<Containerd>) -> Preload {
        let dir = drivers.paths.state.join("images");
        Preload { drivers, containerd, dir, settled: BTreeMap::new() }
    }

    /// Until aborted. An import that is broken off is begun again by the next agent.
    pub(super) async fn run(mut self) {
        let (bell, mut heard) = mpsc::channel(1);
        let mut watcher = None;
        loop {
            if watcher.is_none() {
                watcher = watch(&self.dir, bell.clone());
            }
            let rest = match self.look().await {
                Ok(None) => RESCAN,
                Ok(Some(soon)) => soon,
                Err(error) => {
                    tracing::debug!(%error, "image archives wait for containerd");
                    AWAY
                }
            };
            // Cancel-safe: a ring that is lost leads to a look all the same.
            let _ = tokio::time::timeout(rest, heard.recv()).await;
        }
    }

    /// Brings containerd up to the directory. `Some`: look again so soon, a file is still being written. Errors: containerd is away.
    async fn look(&mut self) -> Result<Option<Duration>, RuntimeError> {
        let Some(files) = files(&self.dir) else { return Ok(None) };
        self.settled.retain(|name, _| files.contains_key(name));
        let due = due(&files, &self.containerd.preloaded().await?, &self.settled);
        for name in due.unpin {
            tracing::info!(file = name, "the archive is gone: its images are no longer pinned");
            self.containerd.unpin_archive(&name).await?;
        }
        for name in due.other {
            tracing::warn!(file = %self.dir.join(&name).display(), "it is no .tar: passed over");
            self.settle(&name, &files);
        }
        for name in due.import {
            let state = &files[&name];
            tokio::time::sleep(AT_REST).await;
            if state_of(&self.dir.join(&name)).as_ref() != Some(state) {
                return Ok(Some(AT_REST));
            }
            self.import(&name, state).await?;
            self.settle(&name, &files);
        }
        Ok(None)
    }

    fn settle(&mut self, name: &str, files: &BTreeMap<String, String>) {
        self.settled.extend(files.get(name).map(|state| (name.to_owned(), state.clone())));
    }

    async fn import(&self, name: &str, state: &str) -> Result<(), RuntimeError> {
        match self.containerd.import_archive(&self.dir.join(name), name, state).await {
            Ok(images) => tracing::info!(file = name, images = images.join(", "), "imported and pinned"),
            Err(error @ RuntimeError::Unavailable { .. }) => return Err(error),
            Err(error) => {
                tracing::error!(file = name, "{error}");
                self.tell(error.to_string()).await;
            }
        }
        Ok(())
    }

    async fn tell(&self, message: String) {
        let Drivers { store, settings, clock, .. } = &self.drivers;
        let about = Key::new(Kind::Node, "", settings.node_name.clone());
        let uid = store.get(&about).map(|node| node.uid().to_owned()).unwrap_or_default();
        let draft = EventDraft::new("minik8s", about, uid, true, "FailedToImportImages", message);
        if let Err(error) = store.commit(events::record(&**store, [&draft], clock.now())).await {
            tracing::debug!(%error, "an event of an image archive is lost");
        }
    }
}

/// The files there, but for hidden ones. None: it cannot be read, and nothing follows from that.
fn files(dir: &Path) -> Option<BTreeMap<String, String>> {
    let entries = match std::fs::create_dir_all(dir).and_then(|()| std::fs::read_dir(dir)) {
        Ok(entries) => entries,
        Err(error) => {
            tracing::warn!(directory = %dir.display(), %error, "image archives cannot be looked for");
            return None;
        }
    };
    let names = entries.take(MAX_FILES).filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    let shown = names.filter(|name| !name.starts_with('.'));
    Some(shown.filter_map(|name| Some((name.clone(), state_of(&dir.join(&name))?))).collect())
}

/// Size and time of a regular file: another one is another archive.
fn state_of(path: &Path) -> Option<String> {
    let metadata = std::fs::metadata(path).ok().filter(std::fs::Metadata::is_file)?;
    let modified = metadata.modified().ok()?.duration_since(UNIX_EPOCH).unwrap_or_default();
    Some(format!("{}-{}", metadata.len(), modified.as_nanos()))
}

/// Rings at each change. None: it cannot be watched; then it is looked at from time to time.
fn watch(dir: &Path, bell: mpsc::Sender<()>) -> Option<notify::RecommendedWatcher> {
    std::fs::create_dir_all(dir).ok()?;
    let ring = move |event: notify::Result<Event>| {
        if is_change(&event) {
            // Full: a ring is not heard yet, and one is enough.
            let _ = bell.try_send(());
        }
    };
    let mut watcher = notify::recommended_watcher(ring).ok()?;
    watcher.watch(dir, RecursiveMode::NonRecursive).ok()?;
    Some(watcher)
}

/// Whether it is anything but somebody's reading: that is what a look does itself.
fn is_change(event: &notify::Result<Event>) -> bool {
    match event.as_ref().map(|event| event.kind) {
        Ok(EventKind::Access(access)) => access == AccessKind::Close(AccessMode::Write),
        _ => true,
    }
}

#[cfg(test)]
mod tests {
    use notify::event::{CreateKind, ModifyKind, RemoveKind, RenameMode};

    use super::*;

    #[test]
    fn a_look_does_not_ring_for_another_look() {
        let rings = |kind| is_change(&Ok(Event::new(kind)));
        for read in [AccessKind::Open(AccessMode::Any), AccessKind::Read, AccessKind::Close(AccessMode::Read), AccessKind::Any] {
            assert!(!rings(EventKind::Access(read)), "{read:?}");
        }
        assert!(rings(EventKind::Access(AccessKind::Close(AccessMode::Write))) && rings(EventKind::Create(CreateKind::File)));
        assert!(rings(EventKind::Modify(ModifyKind::Name(RenameMode::To))) && rings(EventKind::Remove(RemoveKind::File)));
        assert!(is_change(&Err(notify::Error::generic("events were lost"))));
    }

    fn map(rows: &[(&str, &str)]) -> BTreeMap<String, String> {
        rows.iter().map(|(name, state)| ((*name).to_owned(), (*state).to_owned())).collect()
    }

    #[test]
    fn only_what_is_new_is_imported_and_what_is_gone_unpinned() {
        let files = map(&[
            ("new.tar", "1"),
            ("same.tar", "1"),
            ("changed.tar", "2"),
            ("half.tar", "1"),
            ("bad.tar", "1"),
            ("x.tgz", "1"),
            ("y.zip", "1"),
        ]);
        let imported = map(&[("same.tar", "1"), ("changed.tar", "1"), ("half.tar", ""), ("gone.tar", "1")]);
        let due = due(&files, &imported, &map(&[("bad.tar", "1"), ("y.zip", "1")]));
        let expected = Due {
            import: ["changed.tar", "half.tar", "new.tar"].map(str::to_owned).into(),
            unpin: vec!["gone.tar".into()],
            other: vec!["x.tgz".into()],
        };
        assert_eq!(due, expected);
    }
}
