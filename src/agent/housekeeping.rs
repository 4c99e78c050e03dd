//! Keeps events bounded in age and number; warnings stay longest.

use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use tokio::sync::broadcast::error::RecvError;

use crate::api::{Kind, Object};
use crate::clock::Clock;
use crate::store::{ChangeKind, Op, Store};

/// kube-apiserver's `--event-ttl`.
const EVENT_TTL: SignedDuration = SignedDuration::from_hours(1);
/// An event from farther ahead than this was told by a clock that was wrong: it would never be old. Not less: a host without a clock of its own starts
/// hours behind, with events that are true.
const CLOCK_ERROR: SignedDuration = SignedDuration::from_hours(24);
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

/// The events to remove: those older than the TTL or from the future and, if there are too many left, the oldest: Normal ones as long as there are
/// any, so that the comings and goings of a busy Job push no warning out. Pure.
fn expired(events: &[Arc<Object>], now: Timestamp) -> Vec<Op> {
    let over = |at: Timestamp| now.duration_since(at) > EVENT_TTL || at.duration_since(now) > CLOCK_ERROR;
    let (mut gone, mut left): (Vec<&Object>, Vec<&Object>) = events.iter().map(|object| &**object).partition(|o| over(last(o)));
    if left.len() > MAX_EVENTS {
        left.sort_by_key(|o| (is_warning(o), last(o)));
        gone.extend(left.drain(..left.len() - KEPT_EVENTS));
    }
    gone.into_iter().map(|o| Op::Delete { key: o.key(), uid: None }).collect()
}

fn last(object: &Object) -> Timestamp {
    object.as_event().and_then(|event| event.last_timestamp.as_ref()).map_or(Timestamp::UNIX_EPOCH, |time| time.0)
}

fn is_warning(object: &Object) -> bool {
    object.as_event().is_some_and(|event| event.type_.as_deref() == Some("Warning"))
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::Event;
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

    use super::*;

    fn event(n: usize, second: i64, kind: &str) -> Arc<Object> {
        let last = Some(Time(Timestamp::from_second(second).unwrap()));
        let mut event = Event { last_timestamp: last, type_: Some(kind.to_owned()), ..Event::default() };
        event.metadata.name = Some(format!("e{n}"));
        Arc::new(event.into())
    }

    fn names(ops: &[Op]) -> Vec<String> {
        ops.iter().filter_map(Op::key).map(|key| key.name).collect()
    }

    #[test]
    fn old_ones_go_and_those_of_a_clock_that_was_ahead() {
        let now = Timestamp::from_second(10_000).unwrap();
        let seconds = [6_399, 6_400, 9_999, 96_400, 96_401, 9_000_000];
        let events: Vec<_> = seconds.into_iter().enumerate().map(|(n, second)| event(n, second, "Normal")).collect();
        assert_eq!(names(&expired(&events, now)), ["e0", "e4", "e5"]);
    }

    #[test]
    fn of_too_many_the_oldest_normal_ones_go_before_any_warning() {
        let now = Timestamp::from_second(10_000).unwrap();
        let mut many: Vec<_> = (0..MAX_EVENTS).map(|n| event(n, 9_000 + i64::try_from(n).unwrap() / 10, "Normal")).collect();
        assert!(expired(&many, now).is_empty());
        many.push(event(MAX_EVENTS, 8_000, "Warning"));
        let gone = names(&expired(&many, now));
        let oldest: Vec<String> = (0..=MAX_EVENTS - KEPT_EVENTS).map(|n| format!("e{n}")).collect();
        assert_eq!(gone, oldest);
        // What is over is not counted: nothing true goes for it.
        many[MAX_EVENTS] = event(MAX_EVENTS, 990_000, "Warning");
        assert_eq!(names(&expired(&many, now)), [format!("e{MAX_EVENTS}")]);
    }

    #[test]
    fn warnings_alone_are_bounded_too() {
        let now = Timestamp::from_second(10_000).unwrap();
        let many: Vec<_> = (0..=MAX_EVENTS).map(|n| event(n, 9_000, "Warning")).collect();
        assert_eq!(expired(&many, now).len(), MAX_EVENTS + 1 - KEPT_EVENTS);
    }
}
