//! The pure core driven by a small world in virtual time: containers end with given codes after given times.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Container, Pod, PodSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};
use proptest::prelude::*;

use super::attempt::{Role, containers, status_of};
use super::status::{self, Ended};
use super::{End, Kill, Live, Observed, PodActions, compute_pod_actions, phase, recover};

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).expect("in range")
}

fn container(name: &str) -> Container {
    Container { name: name.into(), image: Some("busybox:1.36".into()), ..Container::default() }
}

fn sidecar(name: &str) -> Container {
    Container { restart_policy: Some("Always".into()), ..container(name) }
}

fn pod(policy: &str, inits: Vec<Container>, mains: Vec<Container>) -> Pod {
    let spec = PodSpec {
        containers: mains,
        init_containers: (!inits.is_empty()).then_some(inits),
        restart_policy: Some(policy.into()),
        node_name: Some("node".into()),
        termination_grace_period_seconds: Some(30),
        ..PodSpec::default()
    };
    let metadata =
        ObjectMeta { name: Some("p".into()), namespace: Some("default".into()), uid: Some("u-1".into()), ..ObjectMeta::default() };
    Pod { metadata, spec: Some(spec), status: None }
}

/// What a container does each time it runs: seconds, then a code.
type Script = BTreeMap<String, Vec<(i64, i32)>>;

struct World {
    pod: Pod,
    seen: Observed,
    now: i64,
    script: Script,
    /// Container → when its running attempt ends, and how.
    ends: BTreeMap<String, (i64, i32)>,
    /// (container, attempt, second).
    starts: Vec<(String, u32, i64)>,
    kills: Vec<(String, Kill, i64)>,
    phases: Vec<String>,
    ended: Option<End>,
}

impl World {
    fn new(pod: Pod, script: &[(&str, &[(i64, i32)])]) -> World {
        let script = script.iter().map(|(name, runs)| ((*name).to_owned(), runs.to_vec())).collect();
        let seen = Observed { backoff_cap: Duration::from_secs(300), ..Observed::default() };
        let (ends, starts, kills, phases) = (BTreeMap::new(), vec![], vec![], vec![]);
        World { pod, seen, now: 0, script, ends, starts, kills, phases, ended: None }
    }

    /// Computes and applies until nothing more happens at this instant; returns the last plan.
    fn settle(&mut self) -> PodActions {
        for _ in 0..64 {
            let plan = compute_pod_actions(&self.pod, &self.seen, at(self.now));
            let changed = self.apply(&plan);
            if !changed {
                return plan;
            }
        }
        panic!("the plan does not settle: {:?}", self.starts);
    }

    fn apply(&mut self, plan: &PodActions) -> bool {
        let mut changed = plan.pod != self.pod;
        let was_terminal = phase::is_terminal(phase::of(&self.pod));
        self.pod = plan.pod.clone();
        let phase = phase::of(&self.pod).unwrap_or_default().to_owned();
        if self.phases.last() != Some(&phase) {
            self.phases.push(phase);
        }
        if let Some(start) = plan.start.first() {
            assert!(!was_terminal, "a terminal pod starts nothing");
            assert!(!self.seen.live.contains_key(&start.name), "one attempt at a time");
            self.begin(&start.name.clone(), start.attempt);
            changed = true;
        }
        for (name, kill) in &plan.kill {
            self.kills.push((name.clone(), *kill, self.now));
            self.seen.signalled.insert(name.clone(), (*kill, at(self.now)));
            if *kill == Kill::Kill {
                self.ends.insert(name.clone(), (self.now, 137));
            }
            changed = true;
        }
        if plan.release && !self.seen.released {
            assert!(self.seen.live.is_empty(), "released under a running container");
            self.seen.released = true;
            changed = true;
        }
        self.ended = self.ended.or(plan.end);
        changed | self.reap()
    }

    fn begin(&mut self, name: &str, attempt: u32) {
        self.starts.push((name.to_owned(), attempt, self.now));
        status::started(&mut self.pod, name, at(self.now));
        self.seen.live.insert(name.to_owned(), Live::Running);
        self.seen.sandbox = true;
        let runs = self.script.get_mut(name).filter(|runs| !runs.is_empty());
        if let Some(runs) = runs {
            let (seconds, code) = runs.remove(0);
            self.ends.insert(name.to_owned(), (self.now + seconds, code));
        }
    }

    fn reap(&mut self) -> bool {
        let over: Vec<_> = self.ends.iter().filter(|(_, (at, _))| *at <= self.now).map(|(n, (_, code))| (n.clone(), *code)).collect();
        for (name, code) in &over {
            self.ends.remove(name);
            self.seen.live.remove(name);
            self.seen.signalled.remove(name);
            let end = Ended {
                code: *code,
                reason: Ended::reason_for(*code, false).into(),
                message: String::new(),
                started: None,
                finished: at(self.now),
            };
            assert!(status::ended(&mut self.pod, name, end.clone(), self.seen.backoff_cap).is_some());
            assert!(status::ended(&mut self.pod, name, end, self.seen.backoff_cap).is_none(), "an end is recorded once");
        }
        !over.is_empty()
    }

    /// Lets time pass, from one thing that happens to the next.
    fn run_until(&mut self, end: i64) -> PodActions {
        loop {
            let plan = self.settle();
            let next_exit = self.ends.values().map(|(at, _)| *at).min();
            let wake = plan.wake_at.map(|t| t.as_second().max(self.now + 1));
            let next = next_exit.into_iter().chain(wake).min().unwrap_or(end).min(end);
            if next >= end && self.now >= end {
                return plan;
            }
            self.now = next.max(self.now);
            self.reap();
        }
    }

    fn times(&self, name: &str) -> Vec<i64> {
        self.starts.iter().filter(|(n, ..)| n == name).map(|(.., at)| *at).collect()
    }

    fn waiting(&self, name: &str) -> (String, String) {
        let waiting = status_of(&self.pod, name).and_then(|s| s.state.clone()).and_then(|s| s.waiting).unwrap_or_default();
        (waiting.reason.unwrap_or_default(), waiting.message.unwrap_or_default())
    }

    fn phase(&self) -> &str {
        phase::of(&self.pod).unwrap_or_default()
    }

    fn condition(&self, kind: &str) -> (String, String, String) {
        let all = self.pod.status.as_ref().and_then(|s| s.conditions.as_deref()).unwrap_or_default();
        let found = all.iter().find(|c| c.type_ == kind).cloned().unwrap_or_default();
        (found.status, found.reason.unwrap_or_default(), found.message.unwrap_or_default())
    }
}

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

prop_compose! {
    fn runs()(runs in prop::collection::vec((0i64..700, prop_oneof![Just(0), Just(1), Just(137)]), 0..8)) -> Vec<(i64, i32)> { runs }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]
    #[test]
    fn no_attempt_twice_none_early_none_of_a_terminal_pod(
        policy in prop_oneof![Just("Always"), Just("OnFailure"), Just("Never")],
        scripts in prop::array::uniform4(runs()),
        forget in prop::collection::vec(1i64..3000, 0..4),
        delete_at in prop::option::of(1i64..3000),
        side in any::<bool>(),
    ) {
        let first = if side { sidecar("i") } else { container("i") };
        let p = pod(policy, vec![first, container("j")], vec![container("a"), container("b")]);
        let mut w = World::new(p, &[]);
        w.script = ["i", "j", "a", "b"].iter().zip(scripts).map(|(n, s)| ((*n).to_owned(), s)).collect();
        let mut stops: Vec<i64> = forget.iter().copied().chain(delete_at).chain([4000]).collect();
        stops.sort_unstable();
        for stop in stops {
            w.run_until(stop);
            if delete_at == Some(stop) { delete(&mut w, 30); } else {
                // The agent restarts: memory is lost, what runs is adopted.
                w.seen.signalled.clear();
                w.seen.retry.clear();
            }
        }
        for (role, c) in containers(&w.pod) {
            let mine: Vec<_> = w.starts.iter().filter(|(n, ..)| *n == c.name).collect();
            for (i, (_, attempt, _)) in mine.iter().enumerate() {
                prop_assert_eq!(*attempt as usize, i, "attempts count up, each once");
            }
            if role == Role::Main {
                let init_done = w.starts.iter().filter(|(n, ..)| n == "j").map(|(.., at)| *at).max();
                if let Some((.., at)) = mine.first() { prop_assert!(init_done.is_some_and(|done| done <= *at)); }
            }
        }
        if delete_at.is_some() {
            prop_assert_eq!(w.ended, Some(End::Remove));
            prop_assert!(w.starts.iter().all(|(.., at)| Some(*at) <= delete_at));
        }
    }

    #[test]
    fn no_restart_comes_before_its_back_off(runs in prop::collection::vec((0i64..700, Just(1)), 1..12)) {
        let mut w = World::new(pod("OnFailure", vec![], vec![container("c")]), &[("c", &runs)]);
        w.run_until(20_000);
        let starts = w.times("c");
        let mut delay = None;
        for (i, (seconds, _)) in runs.iter().enumerate() {
            let next: i64 = match delay { None => 0, Some(_) if *seconds > 600 => 0, Some(0) => 10, Some(d) => std::cmp::min(d * 2, 300) };
            delay = Some(next);
            prop_assert_eq!(starts[i + 1], starts[i] + seconds + next);
        }
    }
}
