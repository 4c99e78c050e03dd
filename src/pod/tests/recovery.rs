//! What a reboot and a crash of the agent leave.

use super::CRASH;
use super::world::{World, at, container, pod};
use crate::pod::attempt::status_of;
use crate::pod::{Observed, phase, recover};

fn reboot(w: &mut World) {
    w.seen = Observed { backoff_cap: w.seen.backoff_cap, ..Observed::default() };
    w.ends.clear();
    assert!(recover::rebooted(&w.pod, "boot-2"));
    recover::after_reboot(&mut w.pod, "boot-2", at(w.now));
}

#[test]
fn after_a_reboot_containers_restart_at_once_init_containers_first() {
    let mut w = World::new(pod("Always", vec![container("i")], vec![container("a")]), &[("i", &[(1, 0), (2, 0)]), ("a", &[CRASH, CRASH])]);
    recover::note_boot(&mut w.pod, "boot-1");
    w.run_until(20);
    assert_eq!(w.times("a"), [1, 1, 11]);
    reboot(&mut w);
    w.run_until(30);
    assert_eq!((w.times("i"), w.times("a")), (vec![0, 20], vec![1, 1, 11, 22]));
    let a = status_of(&w.pod, "a").expect("there");
    let last = a.last_state.as_ref().and_then(|s| s.terminated.as_ref()).expect("ended by the reboot");
    assert_eq!((a.restart_count, last.exit_code, last.reason.as_deref()), (3, 137, Some("ContainerStatusUnknown")));
    assert!(!recover::rebooted(&w.pod, "boot-2"));
}

#[test]
fn a_reboot_under_never_fails_the_pod_as_a_disruption() {
    let mut w = World::new(pod("Never", vec![], vec![container("a"), container("b")]), &[("a", &[(1, 0)])]);
    recover::note_boot(&mut w.pod, "boot-1");
    w.run_until(5);
    reboot(&mut w);
    w.run_until(10);
    assert_eq!((w.phase(), w.starts.len()), ("Failed", 2));
    assert_eq!(w.condition("DisruptionTarget").1, "TerminationByKubelet");
    let a = status_of(&w.pod, "a").and_then(phase::ended).expect("kept");
    assert_eq!(a.exit_code, 0, "what ended before keeps its end");
}

#[test]
fn what_a_crash_left_is_made_again_only_if_it_surely_never_ran() {
    use recover::{Marker, NotedEnd, Seen, Verdict, examine};
    let noted = NotedEnd { code: 3, at: at(9), oom_killed: true };
    let ended = Marker::Ended(noted.clone());
    let exited = Seen::Exited { code: 3, at: at(9) };
    for (seen, marker, want) in [
        (Seen::NoTask, Marker::Absent, Verdict::Remake),
        (Seen::NoTask, Marker::Started, Verdict::Lost),
        (Seen::Created, Marker::Absent, Verdict::Remake),
        (Seen::Created, Marker::Started, Verdict::Remake),
        (Seen::Running, Marker::Absent, Verdict::Adopt),
        (Seen::Running, Marker::Started, Verdict::Adopt),
        (Seen::NoTask, ended.clone(), Verdict::Noted(noted)),
        (Seen::Running, ended.clone(), Verdict::Adopt),
        (exited.clone(), ended, Verdict::Record { code: 3, at: at(9) }),
        (exited.clone(), Marker::Started, Verdict::Record { code: 3, at: at(9) }),
        (exited, Marker::Absent, Verdict::Remake),
    ] {
        assert_eq!(examine(&seen, &marker), want, "{seen:?} {marker:?}");
    }
}
