//! Keeps events bounded in age and number.

use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use tokio::sync::broadcast::error::RecvError;

use crate::api::{Kind, Object};
use crate::clock::Clock;
use crate::store::{ChangeKind, Op, Store};

/// kube-apiserver's `--event-ttl`.
const EVENT_TTL: SignedDuration = SignedDuration::from_hours(1);
/// At most this many events are kept.
const MAX_EVENTS: usize = 2000;
/// After too many, this many stay: pruning is not needed again at the next one.
const KEPT_EVENTS: usize = 1500;
/// How often old events are looked for.
const PERIOD: Duration = Duration::from_secs(300);

/// Prunes events until dropped.
pub async fn run(store: Arc<dyn Store>, clock: Arc<dyn Clock>) {
    let mut changes = store.watch();
    let mut count = store.list(Kind::Event).len();
    let mut tick = tokio::time::interval(PERIOD);
    loop {
        // Cancel-safe: `tick` and `recv` lose nothing when dropped.
        let look = tokio::select! {
            biased;
            _ = tick.tick() => true,
            change = changes.recv() => match change {
                Ok(change) if change.object.kind() == Kind::Event => {
                    count += usize::from(change.kind == ChangeKind::Added);
                    count > MAX_EVENTS
                }
                Ok(_) => false,
                Err(RecvError::Lagged(_)) => true,
                Err(RecvError::Closed) => return,
            },
        };
        if look {
            let events = store.list(Kind::Event);
            let old = expired(&events, clock.now());
            count = events.len() - old.len();
            if let Err(error) = store.commit(old).await {
                tracing::warn!(%error, "old events stay for now");
            }
        }
    }
}

/// The events to remove: those older than the TTL and, if there are too many, the oldest. Pure.
fn expired(events: &[Arc<Object>], now: Timestamp) -> Vec<Op> {
    let last = |o: &Object| o.as_event().and_then(|e| e.last_timestamp.as_ref()).map_or(Timestamp::UNIX_EPOCH, |t| t.0);
    let mut by_age: Vec<&Arc<Object>> = events.iter().collect();
    by_age.sort_by_key(|o| last(o));
    let surplus = if events.len() > MAX_EVENTS { events.len() - KEPT_EVENTS } else { 0 };
    let old = by_age.iter().enumerate().take_while(|(i, o)| *i < surplus || now.duration_since(last(o)) > EVENT_TTL);
    old.map(|(_, o)| Op::Delete { key: o.key(), uid: None }).collect()
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::Event;
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

    use super::*;

    fn event(n: usize, second: i64) -> Arc<Object> {
        let mut event = Event { last_timestamp: Some(Time(Timestamp::from_second(second).unwrap())), ..Event::default() };
        event.metadata.name = Some(format!("e{n}"));
        Arc::new(event.into())
    }

    #[test]
    fn old_ones_go_and_then_the_oldest_of_too_many() {
        let now = Timestamp::from_second(10_000).unwrap();
        assert_eq!(expired(&[event(1, 6_399), event(2, 6_400), event(3, 9_999)], now).len(), 1);
        let many: Vec<_> = (0..=MAX_EVENTS).map(|n| event(n, 9_000 + i64::try_from(n).unwrap() / 10)).collect();
        assert_eq!(expired(&many, now).len(), MAX_EVENTS + 1 - KEPT_EVENTS);
    }
}
