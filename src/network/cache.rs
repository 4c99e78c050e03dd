//! What was, or may have been, asked of the plugins for each pod: `<uid>.json`, written before ADD and again with its result.
//!
//! Guarantees: a record is on disk before a plugin runs, so that a crash inside ADD is undone by DEL at the next start; records
//! appear whole (temporary file and rename). Where the network's own state survives a reboot (any configuration but ours: say
//! host-local in /var/lib/cni), so must the record: it is kept under the state directory and synced. The built-in bridge keeps
//! its addresses under the run directory and so its records.

use std::io::Write;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::NetworkError;
use super::conflist::unusable;
use super::namespaces::failed;

/// One pod's attachment.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Record {
    /// The pod.
    pub uid: String,
    /// CNI_ARGS of the ADD, given again to DEL.
    pub args: String,
    /// The whole list used: DEL must undo what was done, not what the directory says today.
    pub config: Map<String, Value>,
    /// Where the list came from.
    pub config_path: PathBuf,
    /// Capability arguments, given again to DEL.
    pub runtime: Map<String, Value>,
    /// The final result; `None` while ADD has begun and not ended well.
    pub result: Option<Map<String, Value>>,
}

/// The directories of records.
#[derive(Clone, Debug)]
pub(super) struct Cache {
    /// Gone after a reboot, like what it tells of.
    pub volatile: PathBuf,
    /// Survives a reboot; synced.
    pub durable: PathBuf,
}

impl Cache {
    /// The pod's record. Errors: it cannot be read or is damaged.
    pub(super) fn read(&self, uid: &str) -> Result<Option<Record>, NetworkError> {
        for path in [&self.volatile, &self.durable].map(|d| file(d, uid)) {
            let text = match std::fs::read(&path) {
                Err(e) if e.kind() == std::io::ErrorKind::NotFound => continue,
                other => other.map_err(|e| failed("read", &path, e))?,
            };
            return serde_json::from_slice(&text).map(Some).map_err(|e| unusable(&path, format!("damaged record: {e}")));
        }
        Ok(None)
    }

    /// Writes the pod's record.
    pub(super) fn write(&self, record: &Record, durable: bool) -> Result<(), NetworkError> {
        let dir = if durable { &self.durable } else { &self.volatile };
        let path = file(dir, &record.uid);
        let text = serde_json::to_vec(record).map_err(|e| unusable(&path, e.to_string()))?;
        write_whole(dir, &record.uid, &path, &text, durable).map_err(|e| failed("write", &path, e))
    }

    /// Forgets the pod.
    pub(super) fn remove(&self, uid: &str) -> Result<(), NetworkError> {
        for path in [&self.volatile, &self.durable].map(|d| file(d, uid)) {
            match std::fs::remove_file(&path) {
                Err(e) if e.kind() == std::io::ErrorKind::NotFound => {}
                other => other.map_err(|e| failed("remove", &path, e))?,
            }
        }
        Ok(())
    }

    /// The uids that have a record, as far as they can be read.
    pub(super) fn list(&self) -> Vec<String> {
        [&self.volatile, &self.durable].into_iter().filter_map(|d| uids(d).ok()).flatten().collect()
    }

    /// The uids that have a record, all of them. Errors: a directory cannot be read.
    pub(super) fn list_all(&self) -> Result<Vec<String>, NetworkError> {
        let mut all = Vec::new();
        for dir in [&self.volatile, &self.durable] {
            all.extend(uids(dir).map_err(|e| failed("read", dir, e))?);
        }
        all.sort();
        all.dedup();
        Ok(all)
    }
}

/// The uids of a directory's records; none where it is not there.
fn uids(dir: &Path) -> std::io::Result<Vec<String>> {
    let entries = match std::fs::read_dir(dir) {
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries?,
    };
    let names = entries.map(|e| Ok(e?.file_name().to_string_lossy().into_owned())).collect::<std::io::Result<Vec<_>>>()?;
    Ok(names.iter().filter(|n| !n.starts_with('.')).filter_map(|n| n.strip_suffix(".json").map(str::to_owned)).collect())
}

fn file(dir: &Path, uid: &str) -> PathBuf {
    dir.join(format!("{uid}.json"))
}

fn write_whole(dir: &Path, uid: &str, path: &Path, text: &[u8], sync: bool) -> std::io::Result<()> {
    std::fs::create_dir_all(dir)?;
    let temporary = dir.join(format!(".{uid}.tmp"));
    let mut out = std::fs::File::create(&temporary)?;
    out.write_all(text)?;
    if sync {
        out.sync_all()?;
    }
    std::fs::rename(&temporary, path)?;
    if sync {
        std::fs::File::open(dir)?.sync_all()?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(uid: &str) -> Record {
        Record {
            uid: uid.into(),
            args: "IgnoreUnknown=1".into(),
            config: Map::new(),
            config_path: "/etc/cni/net.d/10.conflist".into(),
            runtime: Map::new(),
            result: None,
        }
    }

    #[test]
    fn records_of_both_kinds_are_found_listed_and_removed() {
        let dir = tempfile::tempdir().unwrap();
        let cache = Cache { volatile: dir.path().join("v"), durable: dir.path().join("d") };
        assert_eq!(cache.read("a").unwrap(), None);
        cache.write(&record("a"), false).unwrap();
        cache.write(&record("b"), true).unwrap();
        let mut listed = cache.list();
        listed.sort();
        assert_eq!(listed, ["a", "b"]);
        assert_eq!(cache.read("b").unwrap(), Some(record("b")));
        cache.remove("a").unwrap();
        cache.remove("a").unwrap();
        assert_eq!(cache.list(), ["b"]);
        assert_eq!(cache.list_all().unwrap(), ["b"]);
        // Some may be in there: not the same as none.
        std::fs::write(dir.path().join("file"), "").unwrap();
        let broken = Cache { volatile: dir.path().join("file"), durable: dir.path().join("d") };
        assert!(broken.list_all().is_err() && broken.list() == ["b"]);
    }

    #[test]
    fn a_damaged_record_is_an_error_not_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let cache = Cache { volatile: dir.path().to_owned(), durable: dir.path().join("d") };
        std::fs::write(dir.path().join("a.json"), "{").unwrap();
        assert!(cache.read("a").unwrap_err().to_string().contains("damaged record"));
    }
}
