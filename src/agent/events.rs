//! Events: what Kubernetes would have told about an object, aggregated by (object, reason, message) and bounded.

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Event, EventSource, ObjectReference};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};
use sha2::{Digest, Sha256};

use crate::api::{Key, Kind, Object};
use crate::controllers::EventDraft;
use crate::store::{Op, Store};

/// The operation that records `draft`: a new Event, or the stored one with its count raised. Commit it together with the change it tells of.
pub fn record(store: &dyn Store, draft: &EventDraft, now: Timestamp) -> Op {
    let key = event_key(draft);
    let earlier = store.get(&key);
    let event = match earlier.as_deref().and_then(Object::as_event) {
        Some(event) => again(event.clone(), now),
        None => first(&key, draft, now),
    };
    Op::Put(event.into())
}

/// Where the event lives: one name per (object, reason, message), so that a repeat finds the first.
fn event_key(draft: &EventDraft) -> Key {
    let mut hash = Sha256::new();
    for part in [draft.uid.as_str(), &draft.reason, &draft.message, draft.source] {
        hash.update(part.as_bytes());
        hash.update([0]);
    }
    let suffix: String = hash.finalize().iter().take(8).map(|b| format!("{b:02x}")).collect();
    let namespace = if draft.about.namespace.is_empty() { "default" } else { &draft.about.namespace };
    Key::new(Kind::Event, namespace, format!("{}.{suffix}", draft.about.name))
}

fn again(mut event: Event, now: Timestamp) -> Event {
    event.count = Some(event.count.unwrap_or(1).saturating_add(1));
    event.last_timestamp = Some(Time(now));
    event
}

fn first(key: &Key, draft: &EventDraft, now: Timestamp) -> Event {
    Event {
        metadata: ObjectMeta {
            name: Some(key.name.clone()),
            namespace: Some(key.namespace.clone()),
            creation_timestamp: Some(Time(now)),
            ..ObjectMeta::default()
        },
        involved_object: ObjectReference {
            kind: Some(draft.about.kind.shown().to_owned()),
            namespace: Some(draft.about.namespace.clone()),
            name: Some(draft.about.name.clone()),
            uid: Some(draft.uid.clone()),
            api_version: Some(draft.about.kind.api_version().to_owned()),
            ..ObjectReference::default()
        },
        type_: Some(if draft.warning { "Warning" } else { "Normal" }.to_owned()),
        reason: Some(draft.reason.clone()),
        message: Some(draft.message.clone()),
        source: Some(EventSource { component: Some(draft.source.to_owned()), host: None }),
        count: Some(1),
        first_timestamp: Some(Time(now)),
        last_timestamp: Some(Time(now)),
        ..Event::default()
    }
}
