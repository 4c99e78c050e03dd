//! Edits of the manifests directory that `apply` and `delete` make: one document replaced, added or removed.
//!
//! Guarantees: a file is replaced atomically (temporary file in the same directory, fsync, rename, fsync of the directory); comments and
//! the other documents of the file stay as they are, which is checked by decoding the result before it is written; no name leads out of
//! the directory, and nothing behind a symbolic link is touched. Left to others: noticing the change (the directory's watcher).

use std::io::{self, Write};
use std::ops::Range;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Component, Path, PathBuf};

use crate::api::manifest::{Decoded, Document, decode};
use crate::api::well_known::SOURCE;
use crate::api::{Key, Kind, Object};

/// Where an object is defined: the value of the annotation [`SOURCE`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The file, relative to the manifests directory.
    pub file: String,
    /// The document in it, from 0.
    pub index: usize,
}

impl Place {
    /// Where this stored object came from, if it came from a file. What a controller made did not, whatever its template's annotations say.
    pub fn of(object: &Object) -> Option<Place> {
        if object.controller_uid().is_some() {
            return None;
        }
        let (file, index) = object.meta().annotations.as_ref()?.get(SOURCE)?.rsplit_once('#')?;
        Some(Place { file: file.to_owned(), index: index.parse().ok()? })
    }
}

/// What became of an applied object, in kubectl's words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// A new file was made.
    Created,
    /// Its document was replaced.
    Configured,
    /// It was the same already.
    Unchanged,
}

impl Outcome {
    /// The word kubectl prints.
    pub fn as_str(self) -> &'static str {
        match self {
            Outcome::Created => "created",
            Outcome::Configured => "configured",
            Outcome::Unchanged => "unchanged",
        }
    }
}

/// Why the directory was not changed.
#[derive(Debug, thiserror::Error)]
pub enum EditError {
    /// The file is not the agent's to change.
    #[error("{file} {why}; change it where it is managed, the agent follows")]
    Managed {
        /// The file.
        file: String,
        /// How that is known.
        why: &'static str,
    },
    /// Its name cannot be a file name.
    #[error("{0} cannot be written to a file: its name is not a Kubernetes name")]
    Name(Key),
    /// The document is not where it was.
    #[error("{file} has changed since it was read: it no longer defines {key} there; try again")]
    Moved {
        /// The file.
        file: String,
        /// What was looked for.
        key: Key,
    },
    /// The document cannot be cut out.
    #[error("{file} cannot be edited automatically ({why}); edit it by hand")]
    ByHand {
        /// The file.
        file: String,
        /// The reason.
        why: &'static str,
    },
    /// The disk.
    #[error("{file} cannot be {action}")]
    Io {
        /// The file.
        file: String,
        /// `read`, `written`, …
        action: &'static str,
        /// The cause.
        #[source]
        source: io::Error,
    },
}

/// Writes `document` (its own text, one YAML or JSON document that decodes to `object`): over the document at `place`, or into a new
/// file of its own.
///
/// Returns what was done and the file, relative to `root`. With `dry_run` nothing is written.
pub fn write(root: &Path, place: Option<&Place>, document: &str, object: &Object, dry_run: bool) -> Result<(Outcome, String), EditError> {
    let key = object.key();
    let file = match place {
        Some(place) => place.file.clone(),
        None => file_name(&key)?,
    };
    let path = guarded(root, &file)?;
    let text = match std::fs::read_to_string(&path) {
        Ok(text) => text,
        Err(cause) if cause.kind() == io::ErrorKind::NotFound => {
            if !dry_run {
                replace_file(&path, &file, &format!("{}\n", body(document)), mode_for(key.kind))?;
            }
            return Ok((Outcome::Created, file));
        }
        Err(source) => return Err(EditError::Io { file, action: "read", source }),
    };
    let decoded = decode(&file, text.as_bytes());
    let Some(old) = find(&decoded, place, &key) else {
        return Err(match place {
            Some(_) => EditError::Moved { file, key },
            None => EditError::ByHand { file, why: "it is there already and defines other objects" },
        });
    };
    if old.object.as_ref() == Some(object) {
        return Ok((Outcome::Unchanged, file));
    }
    let new = splice(&file, &text, &decoded, old, Some(&as_written(&file, document)?))?;
    check(&file, &decoded, &new, old.index, Some(object))?;
    if !dry_run {
        replace_file(&path, &file, &new, mode_for(key.kind))?;
    }
    Ok((Outcome::Configured, file))
}

/// The document of `key`: its own text, without separators, and what it says now.
pub fn read(root: &Path, place: &Place, key: &Key) -> Result<(String, Object), EditError> {
    let file = &place.file;
    let path = guarded(root, file)?;
    let text = std::fs::read_to_string(&path).map_err(|source| EditError::Io { file: file.clone(), action: "read", source })?;
    let decoded = decode(file, text.as_bytes());
    let found = find(&decoded, Some(place), key).and_then(|d| Some((inner(&text, d.span.clone())?, d.object.clone()?)));
    let (span, object) = found.ok_or_else(|| EditError::Moved { file: file.clone(), key: key.clone() })?;
    Ok((text.get(span).unwrap_or_default().to_owned(), object))
}

/// Takes the document of `key` out of the file it is in; a file without another document is removed.
pub fn remove(root: &Path, place: &Place, key: &Key) -> Result<(), EditError> {
    let file = &place.file;
    let path = guarded(root, file)?;
    let io = |action| move |source| EditError::Io { file: file.clone(), action, source };
    let text = std::fs::read_to_string(&path).map_err(io("read"))?;
    let decoded = decode(file, text.as_bytes());
    let old = find(&decoded, Some(place), key).ok_or_else(|| EditError::Moved { file: file.clone(), key: key.clone() })?;
    if decoded.documents.len() == 1 && !has_errors(&decoded) {
        std::fs::remove_file(&path).map_err(io("removed"))?;
        return sync_parent(&path).map_err(io("removed"));
    }
    let new = splice(file, &text, &decoded, old, None)?;
    check(file, &decoded, &new, old.index, None)?;
    replace_file(&path, file, &new, mode_for(key.kind))
}

/// `<kind>-<namespace>-<name>.yaml`. Errors: a name that no Kubernetes object can have.
fn file_name(key: &Key) -> Result<String, EditError> {
    let legal = |text: &str| {
        let first = text.bytes().next().is_some_and(|c| c.is_ascii_alphanumeric());
        first
            && text.len() <= 253
            && text.bytes().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, b'-' | b'.' | b':' | b'_'))
    };
    if !legal(&key.name) || (key.kind.namespaced() && !legal(&key.namespace)) {
        return Err(EditError::Name(key.clone()));
    }
    let kind = key.kind.shown().to_lowercase();
    let name = match key.namespace.as_str() {
        "" => format!("{kind}-{}.yaml", key.name),
        namespace => format!("{kind}-{namespace}-{}.yaml", key.name),
    };
    if name.len() > 255 { Err(EditError::Name(key.clone())) } else { Ok(name) }
}

/// The path of `file` below `root`, if it is the agent's to change.
fn guarded(root: &Path, file: &str) -> Result<PathBuf, EditError> {
    let managed = |why| EditError::Managed { file: file.to_owned(), why };
    if !Path::new(file).components().all(|part| matches!(part, Component::Normal(_))) || file.is_empty() {
        return Err(managed("lies outside of the manifests directory"));
    }
    let io = |source| EditError::Io { file: root.display().to_string(), action: "read", source };
    if root.symlink_metadata().map_err(io)?.is_symlink() && root.join(".git").is_file() {
        return Err(managed("is in a git worktree behind a symbolic link (git-sync)"));
    }
    let mut path = root.to_owned();
    for part in Path::new(file).components() {
        path.push(part);
        match path.symlink_metadata() {
            Ok(found) if found.is_symlink() => {
                return Err(managed("is reached through a symbolic link (git-sync, or a mounted ConfigMap)"));
            }
            Ok(_) => {}
            Err(cause) if cause.kind() == io::ErrorKind::NotFound => {}
            Err(source) => return Err(EditError::Io { file: file.to_owned(), action: "read", source }),
        }
    }
    Ok(path)
}

/// The document that defines `key`: the one at `place` if it is still there, else the only one of that key.
fn find<'d>(decoded: &'d Decoded, place: Option<&Place>, key: &Key) -> Option<&'d Document> {
    let defines = |document: &&Document| document.object.as_ref().is_some_and(|object| object.key() == *key);
    let mut found = decoded.documents.iter().filter(defines);
    let at_place = found.clone().find(|document| place.is_some_and(|place| place.index == document.index));
    at_place.or_else(|| found.next().filter(|_| found.next().is_none()))
}

fn has_errors(decoded: &Decoded) -> bool {
    decoded.faults.iter().any(|fault| fault.severity == crate::api::fault::Severity::Error)
}

/// The text with one document replaced, or cut out together with the separator that is then too many.
fn splice(file: &str, text: &str, decoded: &Decoded, old: &Document, new: Option<&str>) -> Result<String, EditError> {
    let by_hand = |why| EditError::ByHand { file: file.to_owned(), why };
    let overlaps = |other: &Document| other.index != old.index && other.span.start < old.span.end && old.span.start < other.span.end;
    if decoded.documents.iter().any(|other| overlaps(other) || (other.index == old.index && other.span != old.span)) {
        return Err(by_hand("the object is an item of a List"));
    }
    let Range { start, end } = inner(text, old.span.clone()).ok_or_else(|| by_hand("its documents cannot be told apart"))?;
    let (before, after) = (&text[..start], &text[end..]);
    Ok(match new {
        Some(new) => format!("{before}{new}\n{after}"),
        None => without_separator(before, after),
    })
}

/// The span without the `---` line it may begin with.
fn inner(text: &str, span: Range<usize>) -> Option<Range<usize>> {
    let old = text.get(span.clone())?;
    let head = if old.starts_with("---") { old.find('\n').map_or(old.len(), |at| at + 1) } else { 0 };
    Some(span.start + head..span.end)
}

fn without_separator(before: &str, after: &str) -> String {
    let is_separator = |line: &str| line.trim_end() == "---" || line.starts_with("--- ");
    let last = before.trim_end().rfind('\n').map_or(0, |at| at + 1);
    let (kept, line) = before.split_at(last);
    if is_separator(line.trim_end()) {
        return format!("{kept}{after}");
    }
    let first_line = after.find('\n').map_or(after.len(), |at| at + 1);
    if is_separator(&after[..first_line]) { format!("{before}{}", &after[first_line..]) } else { format!("{before}{after}") }
}

/// The document as this file writes documents: JSON in a `.json` file, its own text elsewhere.
fn as_written(file: &str, document: &str) -> Result<String, EditError> {
    if !file.ends_with(".json") || serde_json::from_str::<serde_json::Value>(document).is_ok() {
        return Ok(body(document).to_owned());
    }
    let by_hand = |_| EditError::ByHand { file: file.to_owned(), why: "the new text cannot be written as JSON" };
    // As kubectl reads YAML: `0400` is octal, `yes` is true.
    let options = serde_saphyr::options! { legacy_octal_numbers: true };
    let value: serde_json::Value = serde_saphyr::from_str_with_options(body(document), options).map_err(|_| by_hand(()))?;
    serde_json::to_string_pretty(&value).map_err(|_| by_hand(()))
}

/// A document's text without separators and blank edges.
fn body(document: &str) -> &str {
    let text = document.trim_start_matches('\u{feff}').trim();
    let text = match text.strip_prefix("---") {
        Some(rest) => rest.split_once('\n').map_or("", |(_, rest)| rest),
        None => text,
    };
    text.strip_suffix("\n...").unwrap_or(text).strip_suffix("\n---").unwrap_or(text).trim_matches(['\n', '\r']).trim_end()
}

/// The last line of defence: the new text must say what the old one said, but for the one document.
fn check(file: &str, old: &Decoded, new: &str, index: usize, object: Option<&Object>) -> Result<(), EditError> {
    let decoded = decode(file, new.as_bytes());
    let wanted = old.documents.iter().filter_map(|document| match (document.index == index, object) {
        (true, object) => object,
        (false, _) => document.object.as_ref(),
    });
    let same = wanted.eq(decoded.documents.iter().filter_map(|document| document.object.as_ref()));
    let errors = |decoded: &Decoded| decoded.faults.iter().filter(|f| f.severity == crate::api::fault::Severity::Error).count();
    if same && errors(&decoded) <= errors(old) {
        return Ok(());
    }
    Err(EditError::ByHand { file: file.to_owned(), why: "the change would alter its other documents" })
}

/// Secrets are for root alone.
fn mode_for(kind: Kind) -> u32 {
    if kind == Kind::Secret { 0o600 } else { 0o644 }
}

/// Replaces (or makes) the file atomically; mode and owner of an earlier one stay.
fn replace_file(path: &Path, file: &str, text: &str, mode: u32) -> Result<(), EditError> {
    let io = |source: io::Error| match source.kind() {
        io::ErrorKind::ReadOnlyFilesystem => EditError::Managed { file: file.to_owned(), why: "is on a read-only file system" },
        io::ErrorKind::PermissionDenied => EditError::Managed { file: file.to_owned(), why: "is not writable for the agent" },
        _ => EditError::Io { file: file.to_owned(), action: "written", source },
    };
    let earlier = path.metadata().ok();
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    // Short, so that the longest legal file name still has a temporary one; it begins with '.', so no agent reads it.
    let hash = name.bytes().fold(0_u32, |hash, byte| hash.wrapping_mul(31).wrapping_add(byte.into()));
    let temporary = path.with_file_name(format!(".minik8s-{hash:08x}.{}", std::process::id()));
    let written = write_new(&temporary, text, mode, earlier.as_ref()).and_then(|()| std::fs::rename(&temporary, path));
    if let Err(cause) = written {
        // What is left of it is hidden and replaced at the next try.
        let _ = std::fs::remove_file(&temporary);
        return Err(io(cause));
    }
    sync_parent(path).map_err(io)
}

fn write_new(temporary: &Path, text: &str, mode: u32, earlier: Option<&std::fs::Metadata>) -> io::Result<()> {
    match std::fs::remove_file(temporary) {
        Err(cause) if cause.kind() != io::ErrorKind::NotFound => return Err(cause),
        _ => {}
    }
    let mut out = std::fs::OpenOptions::new().write(true).create_new(true).mode(mode).open(temporary)?;
    if let Some(earlier) = earlier {
        std::os::unix::fs::fchown(&out, Some(earlier.uid()), Some(earlier.gid()))?;
        out.set_permissions(std::fs::Permissions::from_mode(earlier.mode() & 0o7777))?;
    }
    out.write_all(text.as_bytes())?;
    out.sync_all()
}

fn sync_parent(path: &Path) -> io::Result<()> {
    path.parent().map_or(Ok(()), |parent| std::fs::File::open(parent)?.sync_all())
}

#[cfg(test)]
#[path = "manifest_edit_tests.rs"]
mod tests;
