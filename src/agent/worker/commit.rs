//! The worker's copy of its Pod against the Store's: what the worker owns is laid over what others wrote, and committed by compare-and-swap.

use std::sync::Arc;

use k8s_openapi::api::core::v1::{Pod, PodStatus};

use crate::agent::{Drivers, events};
use crate::api::well_known::{BOOT_ID, RESTART_BACKOFF};
use crate::api::{Key, Object};
use crate::controllers::EventDraft;
use crate::pod::{conditions, phase};
use crate::store::{Op, StoreError};

/// What became of a commit.
#[derive(Debug)]
pub(super) enum Committed {
    /// It is durable (or was already): the object as stored.
    Done(Arc<Object>),
    /// Somebody else changed the Pod, or removed it: look again.
    Stale,
    /// The Store cannot write now: wait.
    Refused(StoreError),
}

/// `base` as others left it with what the worker owns taken from `mine`: the status but for foreign conditions, and two annotations.
/// A terminal phase that somebody else set stays.
pub(super) fn overlay(base: &Pod, mine: &Pod) -> Pod {
    let mut pod = base.clone();
    let Some(own) = &mine.status else { return pod };
    let theirs = base.status.clone().unwrap_or_default();
    let mut status = PodStatus { conditions: merged(&theirs, own), ..own.clone() };
    if phase::is_terminal(theirs.phase.as_deref()) && !phase::is_terminal(own.phase.as_deref()) {
        (status.phase, status.reason, status.message) = (theirs.phase, theirs.reason, theirs.message);
    }
    pod.status = Some(status);
    for name in [RESTART_BACKOFF, BOOT_ID] {
        let value = mine.metadata.annotations.as_ref().and_then(|a| a.get(name));
        match (value, &mut pod.metadata.annotations) {
            (Some(value), annotations) => annotations.get_or_insert_default().insert(name.to_owned(), value.clone()),
            (None, Some(annotations)) => annotations.remove(name),
            (None, None) => None,
        };
    }
    pod
}

fn merged(theirs: &PodStatus, own: &PodStatus) -> Option<Vec<k8s_openapi::api::core::v1::PodCondition>> {
    let (theirs, own) = (theirs.conditions.as_deref().unwrap_or_default(), own.conditions.as_deref().unwrap_or_default());
    let is_ours = |kind: &str| conditions::OURS.contains(&kind);
    let known = |kind: &str| theirs.iter().any(|c| c.type_ == kind);
    let mine = own.iter().filter(|c| is_ours(&c.type_) || !known(&c.type_));
    let foreign = theirs.iter().filter(|c| !is_ours(&c.type_));
    let all: Vec<_> = mine.chain(foreign).cloned().collect();
    (!all.is_empty()).then_some(all)
}

/// Commits `want` and the events in one transaction; nothing is written where nothing changed.
pub(super) async fn commit(drivers: &Drivers, stored: &Arc<Object>, want: Pod, drafts: &[EventDraft]) -> Committed {
    if drafts.is_empty() && stored.as_pod() == Some(&want) {
        return Committed::Done(stored.clone());
    }
    let now = drivers.clock.now();
    let mut ops = vec![Op::Update(want.into())];
    ops.extend(events::record(drivers.store.as_ref(), drafts, now));
    match drivers.store.commit(ops).await {
        Ok(objects) => objects.into_iter().next().map_or(Committed::Stale, Committed::Done),
        Err(StoreError::Conflict(_) | StoreError::Missing(_)) => Committed::Stale,
        Err(error) => Committed::Refused(error),
    }
}

/// Removes the Pod's object.
pub(super) async fn remove(drivers: &Drivers, key: &Key, uid: &str) -> Result<(), StoreError> {
    let op = Op::Delete { key: key.clone(), uid: Some(uid.to_owned()) };
    drivers.store.commit(vec![op]).await.map(|_| ())
}
