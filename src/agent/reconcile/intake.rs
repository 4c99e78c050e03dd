//! What a change of the Store makes necessary: which workloads are queued, which pods are handed on, what is dirty.

use std::sync::Arc;

use jiff::Timestamp;
use tokio::sync::broadcast;

use super::Reconciler;
use crate::api::{Key, Kind, Object};
use crate::controllers::job::rerun::RERUN;
use crate::pod::phase;
use crate::store::{Change, ChangeKind};

impl Reconciler {
    pub(super) fn received(&mut self, change: Result<Change, broadcast::error::RecvError>) {
        match change {
            Ok(change) => self.note(change.kind, &change.object),
            Err(broadcast::error::RecvError::Lagged(_)) => self.relist(),
            // The Store lives as long as the agent.
            Err(broadcast::error::RecvError::Closed) => {}
        }
    }

    pub(super) fn drain_changes(&mut self) {
        loop {
            match self.changes.try_recv() {
                Ok(change) => self.note(change.kind, &change.object),
                Err(broadcast::error::TryRecvError::Lagged(_)) => self.relist(),
                Err(_) => return,
            }
        }
    }

    /// Everything anew: at start, and when changes were missed.
    pub(super) fn relist(&mut self) {
        let store = Arc::clone(&self.drivers.store);
        self.owners.clear();
        self.unbound.clear();
        let configuration = [Kind::ConfigMap, Kind::Secret, Kind::PersistentVolumeClaim];
        for kind in [Kind::DaemonSet, Kind::Job, Kind::CronJob, Kind::StaticPod, Kind::Pod].into_iter().chain(configuration) {
            for object in store.list(kind) {
                self.note(ChangeKind::Added, &object);
            }
        }
        self.manifests_dirty = true;
        self.wishes.missed();
        self.taints_dirty = true;
        self.unbound_dirty = true;
    }

    /// What one change of one object makes necessary.
    fn note(&mut self, change: ChangeKind, object: &Arc<Object>) {
        let key = object.key();
        if let Some(owner) = object.controller_uid().and_then(|uid| self.owners.get(uid)) {
            self.queue.add(owner.clone());
        }
        match key.kind {
            Kind::DaemonSet | Kind::Job | Kind::CronJob | Kind::StaticPod => self.note_workload(change, key, object),
            Kind::Pod => self.note_pod(change, key, object),
            Kind::Node => {
                self.taints_dirty = true;
                self.unbound_dirty = true;
                // What it can allocate follows from its annotations, too.
                self.manifests_dirty = true;
                self.owners.values().cloned().for_each(|key| self.queue.add(key));
            }
            // A rerun of a Job that is gone changes nothing but a record; its event, of the same transaction, tells of it.
            Kind::Event => self.note_rerun(object),
            Kind::ConfigMap | Kind::Secret | Kind::PersistentVolumeClaim => (self.inputs.pods)(change, Arc::clone(object)),
            _ => {}
        }
    }

    fn note_rerun(&mut self, object: &Object) {
        let Some(event) = object.as_event().filter(|e| e.reason.as_deref() == Some(RERUN)) else { return };
        let of = &event.involved_object;
        let (namespace, name) = (of.namespace.clone().unwrap_or_default(), of.name.clone().unwrap_or_default());
        self.wishes.look_at(Key::new(Kind::Job, namespace, name));
        self.manifests_dirty = true;
    }

    fn note_workload(&mut self, change: ChangeKind, key: Key, object: &Object) {
        if change == ChangeKind::Deleted {
            self.owners.remove(object.uid());
            self.queue.set_wake(&key, None);
            // A replacement may have waited for this one to go.
            self.manifests_dirty = true;
            self.wishes.look_at(key);
            return;
        }
        if self.owners.insert(object.uid().to_owned(), key.clone()).is_none() {
            // Children that were noted before their owner was known.
            self.queue.add(key.clone());
        }
        self.queue.add(key);
    }

    fn note_pod(&mut self, change: ChangeKind, key: Key, object: &Arc<Object>) {
        let Some(pod) = object.as_pod() else { return };
        let created = pod.metadata.creation_timestamp.as_ref().map_or(Timestamp::UNIX_EPOCH, |t| t.0);
        let bound = pod.spec.as_ref().is_some_and(|s| s.node_name.is_some());
        if change == ChangeKind::Deleted || bound {
            self.unbound.remove(&(created, key.clone()));
        } else {
            self.unbound_dirty |= self.unbound.insert((created, key));
        }
        if bound {
            self.unbound_dirty |= phase::is_terminal(phase::of(pod)) || change == ChangeKind::Deleted;
            self.taints_dirty |= change == ChangeKind::Added;
            (self.inputs.pods)(change, Arc::clone(object));
        }
    }
}
