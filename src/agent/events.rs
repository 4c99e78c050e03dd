//! Events: what Kubernetes would have told about an object or a part of it, aggregated by (object, part, reason, message).

use std::collections::HashMap;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Event, EventSource, ObjectReference};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};
use sha2::{Digest, Sha256};

use crate::api::{Key, Kind, Object};
use crate::controllers::EventDraft;
use crate::store::{Op, Store};

/// The operations that record `drafts`, in their order: new Events, or the stored ones with their count raised; equal drafts come to one. Commit them
/// together with the change they tell of.
pub fn record<'a>(store: &dyn Store, drafts: impl IntoIterator<Item = &'a EventDraft>, now: Timestamp) -> Vec<Op> {
    let (mut told, mut places): (Vec<Event>, HashMap<Key, usize>) = (Vec::new(), HashMap::new());
    for draft in drafts {
        let key = event_key(draft);
        if let Some(event) = places.get(&key).and_then(|place| told.get_mut(*place)) {
            again(event, now);
            continue;
        }
        let earlier = store.get(&key).as_deref().and_then(Object::as_event).cloned();
        told.push(match earlier {
            Some(mut event) => {
                again(&mut event, now);
                event
            }
            None => first(&key, draft, now),
        });
        places.insert(key, told.len() - 1);
    }
    told.into_iter().map(|event| Op::Put(event.into())).collect()
}

/// Where the event lives: one name per (object, part, reason, message), so that a repeat finds the first.
fn event_key(draft: &EventDraft) -> Key {
    let mut hash = Sha256::new();
    // Without a part nothing is added: those who update find the events they have.
    let field_path = draft.field_path.as_deref();
    for part in [draft.uid.as_str(), &draft.reason, &draft.message, draft.source].into_iter().chain(field_path) {
        hash.update(part.as_bytes());
        hash.update([0]);
    }
    let suffix: String = hash.finalize().iter().take(8).map(|b| format!("{b:02x}")).collect();
    let namespace = if draft.about.namespace.is_empty() { "default" } else { &draft.about.namespace };
    Key::new(Kind::Event, namespace, format!("{}.{suffix}", draft.about.name))
}

fn again(event: &mut Event, now: Timestamp) {
    event.count = Some(event.count.unwrap_or(1).saturating_add(1));
    event.last_timestamp = Some(Time(now));
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
            field_path: draft.field_path.clone(),
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

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::Pod;
    use serde_json::json;

    use super::*;
    use crate::pod::events;
    use crate::store::embedded::EmbeddedStore;

    fn pod() -> Pod {
        let spec = json!({"containers": [{"name": "a"}, {"name": "b"}]});
        serde_json::from_value(json!({"metadata": {"name": "p", "namespace": "default", "uid": "u"}, "spec": spec})).unwrap()
    }

    async fn told(store: &EmbeddedStore, drafts: &[EventDraft], second: i64) -> Vec<(String, String, i32)> {
        let now = Timestamp::from_second(second).unwrap();
        store.commit(record(store, drafts, now)).await.unwrap();
        let shown = |object: &std::sync::Arc<Object>| {
            let event = object.as_event().unwrap();
            let part = event.involved_object.field_path.clone().unwrap_or_default();
            (part, event.reason.clone().unwrap_or_default(), event.count.unwrap_or_default())
        };
        let mut all: Vec<_> = store.list(Kind::Event).iter().map(shown).collect();
        all.sort();
        all
    }

    #[tokio::test]
    async fn containers_do_not_share_their_events() {
        let dir = tempfile::tempdir().unwrap();
        let store = EmbeddedStore::open(dir.path().join("state.redb")).unwrap();
        let drafts = [events::created(&pod(), "a"), events::created(&pod(), "b")];
        let row = |part: &str, count| (part.to_owned(), "Created".to_owned(), count);
        assert_eq!(told(&store, &drafts, 1).await, [row("spec.containers{a}", 1), row("spec.containers{b}", 1)]);
        assert_eq!(told(&store, &drafts[1..], 2).await, [row("spec.containers{a}", 1), row("spec.containers{b}", 2)]);
    }

    #[tokio::test]
    async fn equal_ones_of_one_commit_all_count() {
        let dir = tempfile::tempdir().unwrap();
        let store = EmbeddedStore::open(dir.path().join("state.redb")).unwrap();
        let draft = events::sandbox_changed(&pod());
        let drafts = [draft.clone(), events::created(&pod(), "a"), draft];
        assert_eq!(told(&store, &drafts, 1).await[0].2, 2);
        assert_eq!(told(&store, &drafts, 2).await[0].2, 4);
    }
}
