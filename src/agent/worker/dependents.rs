//! Which pods take something from which ConfigMap, Secret or claim: an index, so that a change costs what it concerns. Pure.

use std::collections::{BTreeSet, HashMap};

use crate::api::Key;

/// Key → the uids of the pods with a worker that name it, and back.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Dependents {
    pods: HashMap<Key, BTreeSet<String>>,
    keys: HashMap<String, BTreeSet<Key>>,
}

impl Dependents {
    /// The pod takes something from each of `keys`, and from nothing else.
    pub(super) fn add(&mut self, uid: &str, keys: BTreeSet<Key>) {
        self.remove(uid);
        for key in &keys {
            self.pods.entry(key.clone()).or_default().insert(uid.to_owned());
        }
        if !keys.is_empty() {
            self.keys.insert(uid.to_owned(), keys);
        }
    }

    /// The pod takes nothing any more.
    pub(super) fn remove(&mut self, uid: &str) {
        for key in self.keys.remove(uid).into_iter().flatten() {
            if let Some(uids) = self.pods.get_mut(&key) {
                uids.remove(uid);
                if uids.is_empty() {
                    self.pods.remove(&key);
                }
            }
        }
    }

    /// The pods that take something from `key`.
    pub(super) fn of(&self, key: &Key) -> impl Iterator<Item = &str> {
        self.pods.get(key).into_iter().flatten().map(String::as_str)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::Kind;

    fn keys(names: &[&str]) -> BTreeSet<Key> {
        names.iter().map(|name| Key::new(Kind::Secret, "default", *name)).collect()
    }

    #[test]
    fn what_is_added_is_found_and_what_is_removed_leaves_nothing() {
        let mut index = Dependents::default();
        index.add("a", keys(&["x", "y"]));
        index.add("b", keys(&["y"]));
        let of = |index: &Dependents, name: &str| index.of(&Key::new(Kind::Secret, "default", name)).map(str::to_owned).collect::<Vec<_>>();
        assert_eq!(
            (of(&index, "x"), of(&index, "y"), of(&index, "z")),
            (vec!["a".to_owned()], vec!["a".to_owned(), "b".to_owned()], vec![])
        );
        index.add("a", keys(&["z"]));
        assert_eq!((of(&index, "x"), of(&index, "y"), of(&index, "z")), (vec![], vec!["b".to_owned()], vec!["a".to_owned()]));
        index.remove("a");
        index.remove("b");
        index.remove("b");
        assert_eq!(index, Dependents::default());
    }
}
