//! A wall clock that is set back: nothing waits until it is there again.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::super::{Kill, Live, Observed, Retry, Signalled, compute_pod_actions};
use super::world::{World, at, container, pod, sidecar};

#[test]
fn a_failed_try_of_a_clock_set_back_since_is_made_again() {
    let mut w = World::new(pod("Always", vec![], vec![container("c")]), &[("c", &[])]);
    w.seen.retry.insert("c".into(), Retry { since: at(90_000), until: at(90_010) });
    w.seen.clock_is(at(1_000));
    assert_eq!(compute_pod_actions(&w.pod, &w.seen, at(1_000)).start.len(), 1);
    w.seen.retry.insert("c".into(), Retry { since: at(995), until: at(1_005) });
    w.seen.clock_is(at(1_000));
    let plan = compute_pod_actions(&w.pod, &w.seen, at(1_000));
    assert_eq!((plan.start.len(), plan.wake_at), (0, Some(at(1_005))), "on this clock it holds");
}

/// The signals that are sent at this second; `since`: when the first was sent, by whatever clock.
fn signals(deleted_at: i64, since: Option<i64>, now: i64) -> Vec<(String, Kill)> {
    let mut w = World::new(pod("Always", vec![sidecar("s")], vec![container("c")]), &[("s", &[(90, 0)]), ("c", &[(90, 0)])]);
    w.settle();
    w.pod.metadata.deletion_timestamp = Some(Time(at(deleted_at + 30)));
    w.pod.metadata.deletion_grace_period_seconds = Some(30);
    let live = |name: &str| (name.to_owned(), Live::Running);
    let mut seen = Observed { live: [live("c"), live("s")].into(), ..Observed::default() };
    if let Some(since) = since {
        seen.signalled.insert("c".into(), Signalled { kill: Kill::Stop, first: at(since), last: at(since) });
    }
    seen.clock_is(at(now));
    compute_pod_actions(&w.pod, &seen, at(now)).kill
}

#[test]
fn the_grace_of_a_clock_set_back_since_begins_anew() {
    assert_eq!(signals(90_000, None, 100), [("c".to_owned(), Kill::Stop)]);
    assert_eq!(signals(90_000, Some(90_001), 100), [], "its grace lasts from now");
    let all = [("c".to_owned(), Kill::Kill), ("s".to_owned(), Kill::Stop)];
    assert_eq!(signals(90_000, Some(100), 130), all);
    assert_eq!(signals(90_000, Some(90_001), 90_030), all, "as without the step");
}
