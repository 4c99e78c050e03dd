//! The pure core driven by a small world in virtual time: containers end with given codes after given times.

mod clock;
mod ending;
mod probes;
mod properties;
mod recovery;
mod restart_all;
mod shutdown;
mod world;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use self::world::{World, at, container, pod, sidecar};
use super::attempt::status_of;
use super::status;
use super::{End, Kill, Observed, compute_pod_actions, phase};

const CRASH: (i64, i32) = (0, 1);

#[test]
fn a_crash_loop_restarts_after_0_10_20_40_80_160_300_300_s() {
    let mut w = World::new(pod("Always", vec![], vec![container("c")]), &[("c", &[CRASH; 12])]);
    w.run_until(1300);
    let gaps: Vec<_> = w.times("c").windows(2).map(|p| p[1] - p[0]).collect();
    assert_eq!(gaps, [0, 10, 20, 40, 80, 160, 300, 300, 300]);
    let (reason, message) = w.waiting("c");
    assert_eq!((reason.as_str(), message.as_str()), ("CrashLoopBackOff", "back-off 5m0s restarting failed container=c pod=p_default(u-1)"));
    assert_eq!(w.phase(), "Running");
    assert_eq!(w.phases, ["Pending", "Running"]);
    let status = status_of(&w.pod, "c").expect("there");
    assert_eq!(status.restart_count, 9);
    let last = status.last_state.as_ref().and_then(|s| s.terminated.as_ref()).expect("ended before");
    assert_eq!((last.exit_code, last.reason.as_deref()), (1, Some("Error")));
}

#[test]
fn a_run_of_more_than_ten_minutes_ends_the_back_off() {
    let mut w = World::new(pod("Always", vec![], vec![container("c")]), &[("c", &[CRASH, CRASH, CRASH, (601, 1), CRASH, CRASH])]);
    w.run_until(700);
    assert_eq!(w.times("c"), [0, 0, 10, 30, 631, 641, 661]);
}

#[test]
fn exit_0_is_restarted_under_always_with_the_same_back_off() {
    let mut w = World::new(pod("Always", vec![], vec![container("c")]), &[("c", &[(0, 0), (0, 0), (0, 0)])]);
    w.run_until(60);
    assert_eq!(w.times("c"), [0, 0, 10, 30]);
}

#[test]
fn the_back_off_survives_the_loss_of_everything_in_memory() {
    let mut w = World::new(pod("Always", vec![], vec![container("c")]), &[("c", &[CRASH; 6])]);
    w.run_until(15);
    assert_eq!(w.times("c"), [0, 0, 10]);
    w.seen = Observed { backoff_cap: w.seen.backoff_cap, ..Observed::default() };
    w.run_until(80);
    assert_eq!(w.times("c"), [0, 0, 10, 30, 70]);
}

#[test]
fn phases_by_policy_and_exit_codes() {
    for (policy, codes, want) in [
        ("Never", [0, 0], "Succeeded"),
        ("Never", [0, 3], "Failed"),
        ("OnFailure", [0, 0], "Succeeded"),
        ("OnFailure", [0, 3], "Running"),
        ("Always", [0, 0], "Running"),
    ] {
        let mut w =
            World::new(pod(policy, vec![], vec![container("a"), container("b")]), &[("a", &[(5, codes[0])]), ("b", &[(6, codes[1])])]);
        w.run_until(7);
        assert_eq!(w.phase(), want, "{policy} {codes:?}");
    }
}

#[test]
fn a_finished_pod_tells_so_in_every_condition_and_is_released() {
    let mut w = World::new(pod("Never", vec![], vec![container("c")]), &[("c", &[(5, 0)])]);
    w.run_until(2);
    for kind in ["PodReadyToStartContainers", "Initialized", "Ready", "ContainersReady"] {
        assert_eq!(w.condition(kind).0, "True", "{kind}");
    }
    w.run_until(6);
    assert!(w.seen.released);
    assert_eq!(w.condition("Initialized"), ("True".into(), "PodCompleted".into(), String::new()));
    for kind in ["Ready", "ContainersReady"] {
        assert_eq!(w.condition(kind), ("False".into(), "PodCompleted".into(), String::new()));
    }
    assert_eq!(w.condition("PodReadyToStartContainers").0, "False");
    assert_eq!(w.ended, None, "object and logs stay");
    let status = status_of(&w.pod, "c").and_then(phase::ended).expect("ended");
    assert_eq!((status.exit_code, status.reason.as_deref()), (0, Some("Completed")));
}

#[test]
fn init_containers_run_one_after_another_and_each_to_completion() {
    let inits = vec![container("i1"), container("i2")];
    let script: &[(&str, &[(i64, i32)])] = &[("i1", &[(5, 0)]), ("i2", &[(1, 1), (5, 0)])];
    let mut w = World::new(pod("Always", inits, vec![container("c")]), script);
    w.run_until(3);
    assert_eq!(w.phase(), "Pending");
    assert_eq!(w.waiting("c").0, "PodInitializing");
    let said = w.condition("Initialized");
    assert_eq!(said, ("False".into(), "ContainersNotInitialized".into(), "containers with incomplete status: [i1 i2]".into()));
    w.run_until(12);
    assert_eq!((w.times("i1"), w.times("i2"), w.times("c")), (vec![0], vec![5, 6], vec![11]));
    assert_eq!(w.phase(), "Running");
    assert_eq!(w.condition("Initialized").0, "True");
}

#[test]
fn a_failed_init_container_fails_a_pod_that_never_restarts() {
    let mut w = World::new(pod("Never", vec![container("i")], vec![container("c")]), &[("i", &[(1, 7)])]);
    w.run_until(5);
    assert_eq!((w.phase(), w.times("c").len()), ("Failed", 0));
    assert!(w.seen.released);
}

#[test]
fn a_sidecar_starts_before_and_stops_after_the_main_containers_the_last_one_first() {
    let mut w = World::new(pod("Never", vec![sidecar("s1"), sidecar("s2")], vec![container("c")]), &[("c", &[(5, 0)])]);
    w.run_until(6);
    let order: Vec<_> = w.starts.iter().map(|(n, ..)| n.as_str()).collect();
    assert_eq!(order, ["s1", "s2", "c"]);
    assert_eq!(w.kills, [("s2".to_owned(), Kill::Stop, 5)]);
    assert_eq!(w.phase(), "Running", "while a sidecar runs");
    w.ends.insert("s2".into(), (8, 143));
    w.run_until(9);
    assert_eq!(w.kills[1], ("s1".to_owned(), Kill::Stop, 8));
    w.run_until(100);
    assert_eq!(w.kills[2], ("s1".to_owned(), Kill::Kill, 35), "the grace counts from the last main container's end");
    assert_eq!(w.phase(), "Succeeded", "sidecars don't count");
}

fn delete(w: &mut World, grace: i64) {
    w.pod.metadata.deletion_timestamp = Some(Time(at(w.now + grace)));
    w.pod.metadata.deletion_grace_period_seconds = Some(grace);
}

#[test]
fn deletion_asks_waits_the_grace_kills_releases_and_removes() {
    let mut w = World::new(pod("Always", vec![], vec![container("a"), container("b")]), &[]);
    w.run_until(10);
    delete(&mut w, 20);
    w.settle();
    assert_eq!(w.kills, [("a".to_owned(), Kill::Stop, 10), ("b".to_owned(), Kill::Stop, 10)], "in parallel");
    w.ends.insert("a".into(), (12, 0));
    w.run_until(15);
    assert_eq!(w.times("a").len(), 1, "not restarted while the pod is being deleted");
    w.run_until(40);
    assert_eq!(w.kills[2..], [("b".to_owned(), Kill::Kill, 30)]);
    assert_eq!((w.phase(), w.ended, w.seen.released), ("Failed", Some(End::Remove), true));
}

#[test]
fn the_grace_is_not_lengthened_by_a_restart_of_the_agent_and_is_at_least_2_s() {
    let mut w = World::new(pod("Always", vec![], vec![container("a")]), &[]);
    w.run_until(10);
    delete(&mut w, 20);
    w.run_until(25);
    w.seen.signalled.clear();
    w.run_until(31);
    assert_eq!(w.kills.last(), Some(&("a".to_owned(), Kill::Kill, 30)));

    let mut w = World::new(pod("Always", vec![], vec![container("a")]), &[]);
    w.run_until(10);
    delete(&mut w, 0);
    w.run_until(20);
    assert_eq!(w.kills, [("a".to_owned(), Kill::Stop, 10), ("a".to_owned(), Kill::Kill, 12)]);
}

#[test]
fn a_finalizer_holds_the_object_and_keep_terminated_keeps_it() {
    let mut w = World::new(pod("Never", vec![], vec![container("a")]), &[("a", &[(5, 0)])]);
    w.pod.metadata.finalizers = Some(vec!["batch.kubernetes.io/job-tracking".into()]);
    w.run_until(6);
    delete(&mut w, 30);
    w.run_until(7);
    assert_eq!((w.phase(), w.ended), ("Succeeded", None));
    w.pod.metadata.finalizers = None;
    w.run_until(8);
    assert_eq!(w.ended, Some(End::Remove));

    let mut w = World::new(pod("OnFailure", vec![], vec![container("a")]), &[]);
    w.pod.metadata.annotations = Some([(crate::api::well_known::KEEP_OBJECT.to_owned(), "true".to_owned())].into());
    w.run_until(6);
    delete(&mut w, 30);
    w.settle();
    w.ends.insert("a".into(), (7, 0));
    w.run_until(8);
    assert_eq!((w.phase(), w.ended), ("Failed", Some(End::Keep)));
}

#[test]
fn the_deadline_fails_the_pod_with_kubernetes_words() {
    let mut w = World::new(pod("Never", vec![], vec![container("a")]), &[]);
    w.pod.spec.as_mut().expect("there").active_deadline_seconds = Some(60);
    w.run_until(200);
    assert_eq!(w.kills, [("a".to_owned(), Kill::Stop, 60), ("a".to_owned(), Kill::Kill, 90)]);
    let status = w.pod.status.as_ref().expect("there");
    assert_eq!((w.phase(), status.reason.as_deref()), ("Failed", Some("DeadlineExceeded")));
    assert_eq!(status.message.as_deref(), Some("Pod was active on the node longer than the specified deadline"));
}

#[test]
fn a_pod_deleted_before_it_ran_ends_as_failed_with_unknown_containers() {
    let mut w = World::new(pod("Always", vec![container("i")], vec![container("a")]), &[]);
    delete(&mut w, 30);
    w.run_until(1);
    assert_eq!((w.phase(), w.ended, w.starts.len()), ("Failed", Some(End::Remove), 0));
    let end = status_of(&w.pod, "a").and_then(phase::ended).expect("closed");
    assert_eq!((end.exit_code, end.reason.as_deref()), (137, Some("ContainerStatusUnknown")));
}

#[test]
fn a_plan_is_stable_when_nothing_changes() {
    let mut w = World::new(pod("Always", vec![sidecar("s")], vec![container("c")]), &[("c", &[CRASH, CRASH])]);
    w.run_until(5);
    let again = compute_pod_actions(&w.pod, &w.seen, at(5));
    assert_eq!((again.pod, again.events, again.start), (w.pod.clone(), vec![], vec![]));
    assert_eq!(again.wake_at, Some(at(10)));
}

#[test]
fn err_image_pull_becomes_image_pull_back_off_and_the_pull_is_tried_again() {
    let mut w = World::new(pod("Always", vec![], vec![container("c")]), &[]);
    let plan = compute_pod_actions(&w.pod, &w.seen, at(0));
    assert_eq!(plan.start.len(), 1);
    w.pod = plan.pod;
    status::refused(&mut w.pod, "c", "ErrImagePull", "no route".into());
    w.seen.retry.insert("c".into(), super::Retry { since: at(0), until: at(10) });
    assert_eq!(compute_pod_actions(&w.pod, &w.seen, at(0)).wake_at, Some(at(2)));
    let plan = compute_pod_actions(&w.pod, &w.seen, at(2));
    w.pod = plan.pod;
    let (reason, message) = w.waiting("c");
    assert_eq!(
        (reason.as_str(), message.as_str()),
        ("ImagePullBackOff", "Back-off pulling image \"busybox:1.36\": ErrImagePull: no route")
    );
    assert_eq!(plan.events[0].message, "Back-off pulling image \"busybox:1.36\"");
    assert!(plan.start.is_empty());
    let plan = compute_pod_actions(&w.pod, &w.seen, at(10));
    assert_eq!((plan.start.len(), plan.start[0].attempt), (1, 0), "the same attempt: nothing ran");
}

#[test]
fn a_clock_set_back_holds_no_container_for_longer_than_its_back_off() {
    let mut w = World::new(pod("Always", vec![], vec![container("c")]), &[("c", &[CRASH, CRASH])]);
    w.now = 100_000;
    w.run_until(100_001);
    assert_eq!(w.starts.len(), 2);
    assert_eq!(compute_pod_actions(&w.pod, &w.seen, at(1000)).start.len(), 1);
}
