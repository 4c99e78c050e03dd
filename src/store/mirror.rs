//! The Store's contents in memory, and the planning of a batch of transactions over them.
//!
//! Guarantees: planning changes nothing; a transaction that fails leaves no trace in the batch; later transactions of a batch see
//! the earlier ones. Writing, waking watchers and locking are left to `writer`.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use super::{Change, ChangeKind, Op, StoreError};
use crate::api::{Key, Kind, Object};

/// Everything the Store holds, indexed for the reads of the trait.
#[derive(Default)]
pub struct Mirror {
    objects: BTreeMap<Key, Arc<Object>>,
    owned: HashMap<String, BTreeSet<Key>>,
    records: BTreeMap<String, Arc<[u8]>>,
    /// The revision of the last transaction.
    pub revision: u64,
}

impl Mirror {
    /// The object with this key.
    pub fn get(&self, key: &Key) -> Option<&Arc<Object>> {
        self.objects.get(key)
    }

    /// All objects of a kind, in order of namespace and name.
    pub fn list(&self, kind: Kind) -> Vec<Arc<Object>> {
        let first = Key::new(kind, "", "");
        self.objects.range(first..).take_while(|(key, _)| key.kind == kind).map(|(_, object)| object.clone()).collect()
    }

    /// All objects whose controller owner has this uid.
    pub fn owned(&self, controller_uid: &str) -> Vec<Arc<Object>> {
        let keys = self.owned.get(controller_uid).into_iter().flatten();
        keys.filter_map(|key| self.objects.get(key).cloned()).collect()
    }

    /// The record with this name.
    pub fn record(&self, name: &str) -> Option<&Arc<[u8]>> {
        self.records.get(name)
    }

    /// All records whose name starts with `prefix`.
    pub fn records(&self, prefix: &str) -> Vec<(String, Vec<u8>)> {
        let found = self.records.range(prefix.to_owned()..).take_while(|(name, _)| name.starts_with(prefix));
        found.map(|(name, value)| (name.clone(), value.to_vec())).collect()
    }

    /// Sets or removes one object and keeps the index of owners right.
    pub fn set_object(&mut self, key: &Key, object: Option<Arc<Object>>) {
        let new_owner = object.as_deref().and_then(Object::controller_uid).map(str::to_owned);
        let old = match object {
            Some(object) => self.objects.insert(key.clone(), object),
            None => self.objects.remove(key),
        };
        let old_owner = old.as_deref().and_then(Object::controller_uid);
        if old_owner == new_owner.as_deref() {
            return;
        }
        if let Some(uid) = old_owner
            && let Some(keys) = self.owned.get_mut(uid)
        {
            keys.remove(key);
            if keys.is_empty() {
                self.owned.remove(uid);
            }
        }
        if let Some(uid) = new_owner {
            self.owned.entry(uid).or_default().insert(key.clone());
        }
    }

    /// Sets or removes one record.
    pub fn set_record(&mut self, name: &str, value: Option<&Arc<[u8]>>) {
        match value {
            Some(value) => self.records.insert(name.to_owned(), value.clone()),
            None => self.records.remove(name),
        };
    }

    /// Takes over what a written batch changed.
    pub fn apply(&mut self, batch: &Batch) {
        for (key, object) in &batch.objects {
            self.set_object(key, object.clone());
        }
        for (name, value) in &batch.records {
            self.set_record(name, value.as_ref());
        }
        self.revision = batch.revision;
    }

    /// What a watcher of `self` must be told to know `newer` (used when the file turned out to be ahead of memory).
    pub fn difference(&self, newer: &Mirror) -> Vec<Change> {
        let change = |kind, object: &Arc<Object>| Change { revision: newer.revision, kind, object: object.clone() };
        let gone = self.objects.iter().filter(|(key, _)| !newer.objects.contains_key(*key));
        let mut changes: Vec<Change> = gone.map(|(_, object)| change(ChangeKind::Deleted, object)).collect();
        for (key, object) in &newer.objects {
            match self.objects.get(key) {
                None => changes.push(change(ChangeKind::Added, object)),
                Some(old) if old.meta().resource_version != object.meta().resource_version => {
                    changes.push(change(ChangeKind::Modified, object))
                }
                Some(_) => {}
            }
        }
        changes
    }
}

/// Transactions to be written together: the last state of each key they touch, and the changes in order.
pub struct Batch {
    /// Objects to set, or to remove where `None`.
    pub objects: HashMap<Key, Option<Arc<Object>>>,
    /// Records to set, or to remove where `None`.
    pub records: HashMap<String, Option<Arc<[u8]>>>,
    /// For the watchers.
    pub changes: Vec<Change>,
    /// The revision of the last transaction in the batch.
    pub revision: u64,
}

/// What one transaction would do; merged into the batch only when all its operations are allowed.
#[derive(Default)]
struct Transaction {
    objects: HashMap<Key, Option<Arc<Object>>>,
    records: HashMap<String, Option<Arc<[u8]>>>,
    changes: Vec<Change>,
    put: Vec<Arc<Object>>,
}

impl Batch {
    /// An empty batch that follows `revision`.
    pub fn after(revision: u64) -> Batch {
        Batch { objects: HashMap::new(), records: HashMap::new(), changes: Vec::new(), revision }
    }

    /// Whether there is nothing to write.
    pub fn is_empty(&self) -> bool {
        self.objects.is_empty() && self.records.is_empty()
    }

    /// Adds one transaction, judged against `mirror` and the transactions before it. Returns the objects it puts.
    pub fn add(&mut self, mirror: &Mirror, ops: Vec<Op>) -> Result<Vec<Arc<Object>>, StoreError> {
        let revision = self.revision + 1;
        let mut transaction = Transaction::default();
        for op in ops {
            self.step(mirror, &mut transaction, revision, op)?;
        }
        if !(transaction.objects.is_empty() && transaction.records.is_empty()) {
            self.revision = revision;
        }
        self.objects.extend(transaction.objects);
        self.records.extend(transaction.records);
        self.changes.extend(transaction.changes);
        Ok(transaction.put)
    }

    fn step(&self, mirror: &Mirror, transaction: &mut Transaction, revision: u64, op: Op) -> Result<(), StoreError> {
        match op {
            Op::Create(object) => match self.current(mirror, transaction, &object.key()) {
                Some(_) => return Err(StoreError::Exists(object.key())),
                None => transaction.put(object, None, revision),
            },
            Op::Update(object) => match self.current(mirror, transaction, &object.key()) {
                None => return Err(StoreError::Missing(object.key())),
                Some(old) if old.meta().resource_version != object.meta().resource_version => {
                    return Err(StoreError::Conflict(object.key()));
                }
                Some(old) => transaction.put(object, Some(&old), revision),
            },
            Op::Put(object) => {
                let old = self.current(mirror, transaction, &object.key());
                transaction.put(object, old.as_ref(), revision);
            }
            Op::Delete { key, uid } => {
                let old = self.current(mirror, transaction, &key);
                if let Some(old) = old.filter(|old| uid.as_deref().is_none_or(|uid| uid == old.uid())) {
                    transaction.changes.push(Change { revision, kind: ChangeKind::Deleted, object: old });
                    transaction.objects.insert(key, None);
                }
            }
            Op::Expect(seen) => match self.current(mirror, transaction, &seen.key()) {
                None => return Err(StoreError::Missing(seen.key())),
                Some(now) if !(Arc::ptr_eq(&now, &seen) || now.judges_alike(&seen)) => return Err(StoreError::Conflict(seen.key())),
                Some(_) => {}
            },
            Op::Record { name, value } => {
                transaction.records.insert(name, value.map(Arc::from));
            }
        }
        Ok(())
    }

    /// The state of `key` as this transaction sees it.
    fn current(&self, mirror: &Mirror, transaction: &Transaction, key: &Key) -> Option<Arc<Object>> {
        let planned = transaction.objects.get(key).or_else(|| self.objects.get(key));
        planned.map_or_else(|| mirror.get(key).cloned(), Clone::clone)
    }
}

impl Transaction {
    fn put(&mut self, mut object: Object, old: Option<&Arc<Object>>, revision: u64) {
        object.meta_mut().resource_version = Some(revision.to_string());
        let object = Arc::new(object);
        let kind = if old.is_some() { ChangeKind::Modified } else { ChangeKind::Added };
        self.changes.push(Change { revision, kind, object: object.clone() });
        self.objects.insert(object.key(), Some(object.clone()));
        self.put.push(object);
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::ConfigMap;
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;

    use super::*;

    fn object(name: &str, owner: Option<&str>) -> Object {
        let mut map = ConfigMap::default();
        map.metadata.name = Some(name.to_owned());
        map.metadata.namespace = Some("default".to_owned());
        map.metadata.owner_references =
            owner.map(|uid| vec![OwnerReference { uid: uid.to_owned(), controller: Some(true), ..Default::default() }]);
        map.into()
    }

    #[test]
    fn the_owner_index_follows_puts_changes_of_owner_and_deletes() {
        let mut mirror = Mirror::default();
        let run = |mirror: &mut Mirror, op: Op| {
            let mut batch = Batch::after(mirror.revision);
            batch.add(mirror, vec![op]).unwrap();
            mirror.apply(&batch);
        };
        run(&mut mirror, Op::Put(object("a", Some("u1"))));
        run(&mut mirror, Op::Put(object("b", Some("u1"))));
        run(&mut mirror, Op::Put(object("c", None)));
        let names = |mirror: &Mirror, uid: &str| mirror.owned(uid).iter().map(|o| o.key().name).collect::<Vec<_>>();
        assert_eq!(names(&mirror, "u1"), ["a", "b"]);
        run(&mut mirror, Op::Put(object("a", Some("u2"))));
        assert_eq!((names(&mirror, "u1"), names(&mirror, "u2")), (vec!["b".to_owned()], vec!["a".to_owned()]));
        run(&mut mirror, Op::Delete { key: object("b", None).key(), uid: None });
        assert!(mirror.owned("u1").is_empty() && mirror.owned.len() == 1);
    }

    #[test]
    fn a_failed_transaction_leaves_no_trace_and_later_ones_see_earlier_ones() {
        let mirror = Mirror::default();
        let mut batch = Batch::after(4);
        batch.add(&mirror, vec![Op::Create(object("a", None))]).unwrap();
        let failed = batch.add(&mirror, vec![Op::Create(object("b", None)), Op::Create(object("a", None))]);
        assert!(matches!(failed, Err(StoreError::Exists(key)) if key.name == "a"));
        assert_eq!((batch.revision, batch.objects.len(), batch.changes.len()), (5, 1, 1));
        let mut update = object("a", None);
        update.meta_mut().resource_version = Some("5".into());
        batch.add(&mirror, vec![Op::Update(update.clone())]).unwrap();
        assert!(matches!(batch.add(&mirror, vec![Op::Update(update)]), Err(StoreError::Conflict(_))));
    }

    #[test]
    fn an_expectation_is_judged_by_what_stands_before_it_and_changes_nothing() {
        let node = |cordoned: bool, tells: &str| -> Object {
            let status = serde_json::json!({"nodeInfo": {"bootID": tells, "machineID": "", "systemUUID": "", "kernelVersion": "", "osImage": "",
                "containerRuntimeVersion": "", "kubeletVersion": "", "kubeProxyVersion": "", "operatingSystem": "", "architecture": ""}});
            let value = serde_json::json!({"metadata": {"name": "n"}, "spec": {"unschedulable": cordoned}, "status": status});
            Object::from_json(Kind::Node, value.to_string().as_bytes()).unwrap()
        };
        let mut mirror = Mirror::default();
        let expects = |seen: &Object| vec![Op::Expect(Arc::new(seen.clone())), Op::Put(object("a", None))];
        let mut batch = Batch::after(0);
        assert!(matches!(batch.add(&mirror, expects(&node(false, "1"))), Err(StoreError::Missing(_))));
        batch.add(&mirror, vec![Op::Put(node(false, "1"))]).unwrap();
        mirror.apply(&batch);
        // The cordon is in the same batch: what is behind it sees it, what is before it does not.
        let mut batch = Batch::after(1);
        assert_eq!(batch.add(&mirror, expects(&node(false, "2"))).unwrap().len(), 1);
        batch.add(&mirror, vec![Op::Put(node(true, "1"))]).unwrap();
        assert!(matches!(batch.add(&mirror, expects(&node(false, "1"))), Err(StoreError::Conflict(key)) if key.name == "n"));
        assert!(batch.add(&mirror, expects(&node(true, "3"))).is_ok());
        let mut idle = Batch::after(1);
        idle.add(&mirror, vec![Op::Expect(Arc::new(node(false, "1")))]).unwrap();
        assert!(idle.is_empty() && idle.revision == 1);
    }

    #[test]
    fn difference_tells_what_came_changed_and_went() {
        let (mut old, mut new) = (Mirror::default(), Mirror::default());
        let mut first = Batch::after(0);
        first.add(&old, vec![Op::Create(object("a", None)), Op::Create(object("b", None))]).unwrap();
        old.apply(&first);
        new.apply(&first);
        let mut second = Batch::after(1);
        let gone = Op::Delete { key: object("a", None).key(), uid: None };
        second.add(&new, vec![gone, Op::Put(object("b", None)), Op::Create(object("c", None))]).unwrap();
        new.apply(&second);
        let told: Vec<_> = old.difference(&new).iter().map(|c| (c.kind, c.object.key().name)).collect();
        let name = str::to_owned;
        assert_eq!(told, [(ChangeKind::Deleted, name("a")), (ChangeKind::Modified, name("b")), (ChangeKind::Added, name("c"))]);
    }
}
