//! From decoded files to one [`ManifestSet`]: first path wins, faulty files are kept. Pure.

use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use crate::api::fault::{Fault, Severity};
use crate::api::manifest::Decoded;
use crate::api::{Key, Kind, Object};
use crate::controllers::sync::sourced;

/// All that the manifests directory says now.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ManifestSet {
    /// The objects, in order of path and document, each key once, with SOURCE and MANIFEST_HASH annotations.
    pub objects: Vec<Arc<Object>>,
    /// Relative paths of files (or, ending in `/`, of directories) from whose silence nothing may be concluded.
    pub keep: BTreeSet<String>,
    /// Everything wrong, by file and place.
    pub faults: Vec<Fault>,
}

impl ManifestSet {
    /// Whether the two say the same; cheap, since unchanged files share their objects.
    pub(super) fn same(&self, other: &ManifestSet) -> bool {
        let objects = self.objects.len() == other.objects.len() && self.objects.iter().zip(&other.objects).all(|(a, b)| Arc::ptr_eq(a, b));
        objects && self.keep == other.keep && self.faults == other.faults
    }

    /// The keys of all objects that came, went or were read anew between `earlier` and this set. Costs one comparison of pointers an object.
    pub fn changed_since(&self, earlier: &ManifestSet) -> BTreeSet<Key> {
        let (mut old, mut new) = (&earlier.objects[..], &self.objects[..]);
        while let ([a, rest @ ..], [b, others @ ..]) = (old, new)
            && Arc::ptr_eq(a, b)
        {
            (old, new) = (rest, others);
        }
        while let ([rest @ .., a], [others @ .., b]) = (old, new)
            && Arc::ptr_eq(a, b)
        {
            (old, new) = (rest, others);
        }
        let among = |all: &[Arc<Object>]| all.iter().map(Arc::as_ptr).collect::<HashSet<_>>();
        let (before, now) = (among(old), among(new));
        let came = new.iter().filter(|o| !before.contains(&Arc::as_ptr(o)));
        came.chain(old.iter().filter(|o| !now.contains(&Arc::as_ptr(o)))).map(|o| o.key()).collect()
    }

    /// Whether nothing may be pruned that `source` (a SOURCE annotation) defined.
    pub fn keeps(&self, source: &str) -> bool {
        let path = source.rsplit_once('#').map_or(source, |(path, _)| path);
        self.keep.contains(path) || self.keep.iter().any(|k| k.is_empty() || (k.ends_with('/') && path.starts_with(k.as_str())))
    }
}

/// One file as last read.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct FileEntry {
    /// Its objects with SOURCE and MANIFEST_HASH, by document.
    pub objects: Vec<Arc<Object>>,
    /// What is wrong with it.
    pub faults: Vec<Fault>,
    /// Whether what it defined before and does not define now must stay.
    pub keep: bool,
}

/// What a decoded file means.
pub(super) fn entry(relative: &str, decoded: Decoded) -> FileEntry {
    let mut faults = decoded.faults;
    let faulty = faults.iter().any(|f| f.severity == Severity::Error);
    if decoded.documents.is_empty() && !faulty {
        faults.push(file_fault(
            relative,
            Severity::Warning,
            "holds no document; what it defined before keeps running: remove the file to remove that",
        ));
    }
    let keep = faulty || decoded.documents.is_empty();
    let objects = decoded.documents.into_iter().filter_map(|d| d.object.map(|o| Arc::new(sourced(o, relative, d.index)))).collect();
    FileEntry { objects, faults, keep }
}

/// A file that could not be read or may not be used.
pub(super) fn refused(relative: &str, message: &str) -> FileEntry {
    FileEntry { objects: Vec::new(), faults: vec![file_fault(relative, Severity::Error, message)], keep: true }
}

fn file_fault(relative: &str, severity: Severity, message: &str) -> Fault {
    Fault { file: relative.to_owned(), line: 0, column: 0, severity, field: String::new(), message: message.to_owned() }
}

/// What [`Object::key`] says, borrowed: ten thousand are compared at every change.
pub(crate) fn name_of(object: &Object) -> (Kind, &str, &str) {
    let meta = object.meta();
    (object.kind(), meta.namespace.as_deref().unwrap_or_default(), meta.name.as_deref().unwrap_or_default())
}

/// Puts the files together. `held` are the directories (ending in `/`; "" the root) that nothing is concluded about, with the reason.
pub(super) fn assemble(files: &BTreeMap<String, FileEntry>, held: &BTreeMap<String, String>) -> ManifestSet {
    let mut set = ManifestSet::default();
    let mut first: HashMap<(Kind, &str, &str), &str> = HashMap::new();
    for (path, file) in files {
        set.faults.extend(file.faults.iter().cloned());
        if file.keep {
            set.keep.insert(path.clone());
        }
        for object in &file.objects {
            match first.entry(name_of(object)) {
                Entry::Vacant(free) => {
                    free.insert(path);
                    set.objects.push(Arc::clone(object));
                }
                Entry::Occupied(taken) => {
                    let earlier = taken.get();
                    let message = format!("{} is defined in {earlier} already; this one is not used: remove one of the two", object.key());
                    set.faults.push(file_fault(path, Severity::Error, &message));
                }
            }
        }
    }
    for (dir, reason) in held {
        let shown = if dir.is_empty() { "the manifests directory" } else { dir };
        set.faults.push(file_fault(dir, Severity::Error, &format!("{shown}: {reason}; everything it defined keeps running")));
        set.keep.insert(dir.clone());
    }
    set
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::ConfigMap;

    use super::*;
    use crate::api::well_known;

    fn config_map(name: &str) -> Object {
        let mut object = Object::from(ConfigMap::default());
        object.meta_mut().name = Some(name.to_owned());
        object.meta_mut().namespace = Some("default".to_owned());
        object
    }

    fn file(relative: &str, names: &[&str]) -> (String, FileEntry) {
        let objects = names.iter().enumerate().map(|(i, n)| Arc::new(sourced(config_map(n), relative, i))).collect();
        (relative.to_owned(), FileEntry { objects, faults: Vec::new(), keep: false })
    }

    #[test]
    fn the_first_path_wins_and_the_other_is_an_error() {
        let files = BTreeMap::from([file("b.yaml", &["x", "y"]), file("a.yaml", &["x"])]);
        let set = assemble(&files, &BTreeMap::new());
        let sources: Vec<_> = set.objects.iter().map(|o| o.meta().annotations.as_ref().unwrap()[well_known::SOURCE].as_str()).collect();
        assert_eq!(sources, ["a.yaml#0", "b.yaml#1"]);
        assert_eq!(set.faults.len(), 1);
        assert_eq!(set.faults[0].file, "b.yaml");
    }

    #[test]
    fn changed_is_what_came_went_or_was_read_anew() {
        let mut files = BTreeMap::from(["a", "b", "c", "d", "e"].map(|name| file(&format!("{name}.yaml"), &[name])));
        let before = assemble(&files, &BTreeMap::new());
        files.remove("d.yaml");
        files.extend([file("b.yaml", &["b"]), file("b2.yaml", &["x"])]);
        let after = assemble(&files, &BTreeMap::new());
        let names: Vec<String> = after.changed_since(&before).into_iter().map(|key| key.name).collect();
        assert_eq!(names, ["b", "d", "x"]);
        assert!(after.changed_since(&after.clone()).is_empty());
        assert_eq!(ManifestSet::default().changed_since(&after).len(), 5);
    }

    #[test]
    fn an_empty_file_keeps_what_it_defined() {
        let entry = entry("a.yaml", Decoded::default());
        assert!(entry.keep);
        assert_eq!(entry.faults[0].severity, Severity::Warning);
    }

    #[test]
    fn a_held_directory_keeps_everything_below_it() {
        let set = assemble(&BTreeMap::new(), &BTreeMap::from([("nfs/".to_owned(), "gone".to_owned())]));
        assert!(set.keeps("nfs/a.yaml#0"));
        assert!(!set.keeps("a.yaml#0"));
        let root = assemble(&BTreeMap::new(), &BTreeMap::from([(String::new(), "gone".to_owned())]));
        assert!(root.keeps("a.yaml#3"));
    }

    #[test]
    fn the_hash_tells_content_apart_and_not_place() {
        let hash = |o: Object| o.meta().annotations.as_ref().unwrap()[well_known::MANIFEST_HASH].clone();
        assert_eq!(hash(sourced(config_map("x"), "a.yaml", 0)), hash(sourced(config_map("x"), "b.yaml", 7)));
        assert_ne!(hash(sourced(config_map("x"), "a.yaml", 0)), hash(sourced(config_map("y"), "a.yaml", 0)));
    }
}
