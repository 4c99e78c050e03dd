//! The state file: one redb database with the tables `objects` (`Kind/namespace/name` → JSON), `records` and `meta`.
//!
//! Guarantees: `write` returns `Ok` only when the batch is synced; a file is only ever seen complete (it is made under another name
//! and renamed); after an error of the disk the file is opened again and it is found out what really was written.

use std::io;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use redb::{Database, DatabaseError, ReadableDatabase, ReadableTable, TableDefinition};

use super::StoreError;
use super::mirror::{Batch, Mirror};
use crate::api::{Key, Kind, Object};
use crate::cores::on_all_cores;

const OBJECTS: TableDefinition<&str, &[u8]> = TableDefinition::new("objects");
const RECORDS: TableDefinition<&str, &[u8]> = TableDefinition::new("records");
const META: TableDefinition<&str, u64> = TableDefinition::new("meta");
/// The newest format this program reads and the one it writes.
const FORMAT: u64 = 1;
/// redb's page cache: everything is mirrored in memory, so it need not be large.
const CACHE_BYTES: usize = 1 << 20;
/// Fewer objects than this for each thread are not worth one.
const WORTH_A_THREAD: usize = 128;

/// The open state file. `db` is `None` after an error of the disk, until it could be opened again.
pub(super) struct Disk {
    path: PathBuf,
    db: Option<Database>,
}

impl Disk {
    /// Opens or makes the file and reads all of it.
    pub fn open(path: &Path) -> Result<(Disk, Mirror), StoreError> {
        let db = if path.exists() { open_existing(path, true)? } else { create(path)? };
        let mirror = load(path, &db)?;
        Ok((Disk { path: path.to_owned(), db: Some(db) }, mirror))
    }

    /// Opens the file again if an earlier error closed it. Returns its contents if they are not those of `revision`: the write that
    /// failed had reached the disk after all.
    pub fn ready(&mut self, revision: u64) -> Result<Option<Mirror>, StoreError> {
        if self.db.is_some() {
            return Ok(None);
        }
        let db = open_existing(&self.path, false)?;
        let found = stored_revision(&db).map_err(|cause| engine(&self.path, "read", cause))?;
        let mirror = if found == revision { None } else { Some(load(&self.path, &db)?) };
        self.db = Some(db);
        Ok(mirror)
    }

    /// Writes and syncs the batch. On an error nothing of it is in the file, as far as the file can still be read.
    pub fn write(&mut self, batch: &Batch) -> Result<(), StoreError> {
        let Some(db) = &self.db else { return Err(engine(&self.path, "written", io::Error::other("it is not open").into())) };
        let Err(cause) = write(db, batch) else { return Ok(()) };
        // redb refuses everything after an error of the disk: only a fresh handle knows what was written.
        self.db = None;
        if let Ok(db) = open_existing(&self.path, false) {
            let found = stored_revision(&db);
            self.db = Some(db);
            if matches!(found, Ok(found) if found == batch.revision) {
                return Ok(());
            }
        }
        Err(engine(&self.path, "written", cause))
    }
}

fn write(db: &Database, batch: &Batch) -> Result<(), redb::Error> {
    let transaction = db.begin_write()?;
    {
        let mut objects = transaction.open_table(OBJECTS)?;
        for (name, text) in rows(batch) {
            match text {
                Some(text) => objects.insert(name.as_str(), text.as_slice())?,
                None => objects.remove(name.as_str())?,
            };
        }
        let mut records = transaction.open_table(RECORDS)?;
        for (name, value) in &batch.records {
            match value {
                Some(value) => records.insert(name.as_str(), &value[..])?,
                None => records.remove(name.as_str())?,
            };
        }
        transaction.open_table(META)?.insert("revision", batch.revision)?;
    }
    // Durability::Immediate is redb's default: commit returns after fsync.
    Ok(transaction.commit()?)
}

/// The batch's rows of `objects`, neighbours in the file one after the other; `None`: the row goes.
fn rows(batch: &Batch) -> Vec<(String, Option<Vec<u8>>)> {
    let objects: Vec<(&Key, Option<&Arc<Object>>)> = batch.objects.iter().map(|(key, object)| (key, object.as_ref())).collect();
    let mut rows = on_all_cores(&objects, WORTH_A_THREAD, |_, (key, object)| (disk_key(key), object.map(|o| o.to_json_text())));
    rows.sort_unstable_by(|(one, _), (other, _)| one.cmp(other));
    rows
}

fn stored_revision(db: &Database) -> Result<u64, redb::Error> {
    let revision = db.begin_read()?.open_table(META)?.get("revision")?;
    Ok(revision.map_or(0, |value| value.value()))
}

/// Makes the file under another name first, so that a kill while it is made leaves nothing half done under the real one.
fn create(path: &Path) -> Result<Database, StoreError> {
    if let Some(parent) = path.parent() {
        let made = std::fs::DirBuilder::new().recursive(true).mode(0o700).create(parent);
        made.map_err(|cause| engine(path, "created", cause.into()))?;
    }
    let fresh = path.with_extension("redb.new");
    let db = match builder(true).create(&fresh) {
        Ok(db) => db,
        Err(DatabaseError::DatabaseAlreadyOpen) => return Err(StoreError::Locked { path: path.display().to_string() }),
        Err(_) => {
            // A start that was killed left it half made.
            std::fs::remove_file(&fresh).map_err(|cause| engine(path, "created", cause.into()))?;
            builder(true).create(&fresh).map_err(|cause| engine(path, "created", cause.into()))?
        }
    };
    if path.exists() {
        // Another agent was quicker between the caller's look and our lock.
        drop(db);
        return open_existing(path, true);
    }
    let made = initialise(&db).and_then(|()| publish(&fresh, path).map_err(redb::Error::from));
    made.map_err(|cause| engine(path, "created", cause))?;
    Ok(db)
}

fn initialise(db: &Database) -> Result<(), redb::Error> {
    let transaction = db.begin_write()?;
    transaction.open_table(OBJECTS)?;
    transaction.open_table(RECORDS)?;
    transaction.open_table(META)?.insert("format", FORMAT)?;
    Ok(transaction.commit()?)
}

/// Secrets are in there: for root alone.
fn publish(fresh: &Path, path: &Path) -> io::Result<()> {
    std::fs::set_permissions(fresh, std::fs::Permissions::from_mode(0o600))?;
    std::fs::rename(fresh, path)?;
    match path.parent() {
        Some(parent) => std::fs::File::open(parent)?.sync_all(),
        None => Ok(()),
    }
}

fn builder(check: bool) -> redb::Builder {
    let mut builder = redb::Builder::new();
    builder.set_cache_size(CACHE_BYTES).set_check_integrity_on_open(check);
    builder
}

fn open_existing(path: &Path, check: bool) -> Result<Database, StoreError> {
    match builder(check).open(path) {
        Ok(db) => Ok(db),
        Err(DatabaseError::DatabaseAlreadyOpen) => Err(StoreError::Locked { path: path.display().to_string() }),
        Err(cause) => Err(engine(path, "opened", cause.into())),
    }
}

/// Whether the file can be read, without changing it: errors as [`Disk::open`]'s, [`StoreError::Locked`] while an agent uses it. What an agent
/// that was killed left to be repaired is no error: the next one repairs it.
pub(super) fn examine(path: &Path) -> Result<(), StoreError> {
    match builder(true).open_read_only(path) {
        Ok(db) => load(path, &db).map(drop),
        Err(DatabaseError::RepairAborted) => Ok(()),
        Err(DatabaseError::DatabaseAlreadyOpen) => Err(StoreError::Locked { path: path.display().to_string() }),
        Err(cause) => Err(engine(path, "opened", cause.into())),
    }
}

/// Reads the whole file into memory.
fn load(path: &Path, db: &impl ReadableDatabase) -> Result<Mirror, StoreError> {
    let broken = |cause: redb::Error| engine(path, "read", cause);
    let read = db.begin_read().map_err(|cause| broken(cause.into()))?;
    let meta = read.open_table(META).map_err(|cause| broken(cause.into()))?;
    let format = meta.get("format").map_err(|cause| broken(cause.into()))?.map_or(0, |value| value.value());
    if format > FORMAT {
        return Err(StoreError::Newer { path: path.display().to_string(), found: format, known: FORMAT });
    }
    let mut mirror = Mirror::default();
    mirror.revision = meta.get("revision").map_err(|cause| broken(cause.into()))?.map_or(0, |value| value.value());
    read_objects(&read, &mut mirror).and_then(|()| read_records(&read, &mut mirror)).map_err(broken)?;
    Ok(mirror)
}

fn read_objects(read: &redb::ReadTransaction, mirror: &mut Mirror) -> Result<(), redb::Error> {
    for entry in read.open_table(OBJECTS)?.iter()? {
        let (name, json) = entry?;
        let name = name.value();
        let key = parse_key(name).ok_or_else(|| redb::Error::Corrupted(format!("it holds {name:?}, which names no object")))?;
        let object = Object::from_json(key.kind, json.value())
            .map_err(|cause| redb::Error::Corrupted(format!("its object {name:?} cannot be read: {cause}")))?;
        mirror.set_object(&key, Some(Arc::new(object)));
    }
    Ok(())
}

fn read_records(read: &redb::ReadTransaction, mirror: &mut Mirror) -> Result<(), redb::Error> {
    for entry in read.open_table(RECORDS)?.iter()? {
        let (name, value) = entry?;
        mirror.set_record(name.value(), Some(&Arc::from(value.value())));
    }
    Ok(())
}

fn disk_key(key: &Key) -> String {
    format!("{}/{}/{}", key.kind.as_str(), key.namespace, key.name)
}

fn parse_key(text: &str) -> Option<Key> {
    let mut parts = text.splitn(3, '/');
    Some(Key::new(Kind::parse(parts.next()?)?, parts.next()?, parts.next()?))
}

/// A cause from the engine, with what to do about it.
#[derive(Debug, thiserror::Error)]
enum Cause {
    #[error(
        "{0}; if it is damaged, move it away and start again: minik8s then reads the manifests afresh (it forgets which Jobs have finished, so they run again)"
    )]
    Damaged(String),
    #[error("{0}; check the disk, the mount and the permissions, minik8s tries again at the next change")]
    Disk(String),
}

/// The Store's error for one of redb's.
fn engine(path: &Path, action: &'static str, cause: redb::Error) -> StoreError {
    let shown = path.display().to_string();
    let source: Box<dyn std::error::Error + Send + Sync> = match &cause {
        redb::Error::Io(io) if is_full(io) => return StoreError::Full { path: shown },
        redb::Error::Io(io) if io.raw_os_error().is_some() => Box::new(Cause::Disk(io.to_string())),
        other => Box::new(Cause::Damaged(other.to_string())),
    };
    StoreError::Engine { path: shown, action, source }
}

fn is_full(cause: &io::Error) -> bool {
    matches!(cause.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

/// The same failure once more, for the next caller of a batch.
pub(super) fn again(error: &StoreError) -> StoreError {
    match error {
        StoreError::Conflict(key) => StoreError::Conflict(key.clone()),
        StoreError::Exists(key) => StoreError::Exists(key.clone()),
        StoreError::Missing(key) => StoreError::Missing(key.clone()),
        StoreError::Full { path } => StoreError::Full { path: path.clone() },
        StoreError::Locked { path } => StoreError::Locked { path: path.clone() },
        StoreError::Newer { path, found, known } => StoreError::Newer { path: path.clone(), found: *found, known: *known },
        StoreError::Engine { path, action, source } => StoreError::Engine { path: path.clone(), action, source: source.to_string().into() },
    }
}

#[cfg(test)]
mod tests {
    use redb::StorageError;

    use super::*;

    #[test]
    fn keys_survive_the_file() {
        for key in [Key::new(Kind::Pod, "kube-system", "a.b-c"), Key::new(Kind::Node, "", "n1")] {
            assert_eq!(parse_key(&disk_key(&key)), Some(key));
        }
        assert_eq!(parse_key("Widget/a/b"), None);
        assert_eq!(parse_key("Pod/a"), None);
    }

    #[test]
    fn a_full_disk_is_told_from_a_broken_one() {
        let path = Path::new("/x/state.redb");
        let error = |os: i32| engine(path, "written", StorageError::Io(io::Error::from_raw_os_error(os)).into());
        assert!(matches!(error(28), StoreError::Full { .. }));
        assert!(matches!(error(122), StoreError::Full { .. }));
        assert!(matches!(error(5), StoreError::Engine { .. }));
    }

    #[test]
    fn a_file_of_a_newer_format_is_refused_by_name() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("state.redb");
        let (disk, _) = Disk::open(&path).unwrap();
        let transaction = disk.db.as_ref().unwrap().begin_write().unwrap();
        transaction.open_table(META).unwrap().insert("format", 7).unwrap();
        transaction.commit().unwrap();
        drop(disk);
        let Err(error) = Disk::open(&path) else { panic!("opened a newer file") };
        assert_eq!(
            error.to_string(),
            format!(
                "the state file {} has format 7; this minik8s knows up to 1; run the newer version, or move the file away to start afresh",
                path.display()
            )
        );
    }

    #[test]
    fn a_half_made_new_file_is_made_again() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("state.redb");
        std::fs::write(dir.path().join("state.redb.new"), b"half").unwrap();
        assert!(Disk::open(&path).is_ok());
        assert!(!dir.path().join("state.redb.new").exists());
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    }
}
