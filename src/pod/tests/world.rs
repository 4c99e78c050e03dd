//! One Pod whose containers end as a script says, in virtual time: plans are computed and applied until nothing more happens.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Container, Pod, PodSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use crate::pod::attempt::status_of;
use crate::pod::status::{self, Ended};
use crate::pod::{End, Kill, Live, Observed, PodActions, Signalled, compute_pod_actions, phase};

pub(super) fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).expect("in range")
}

pub(super) fn container(name: &str) -> Container {
    Container { name: name.into(), image: Some("busybox:1.36".into()), ..Container::default() }
}

pub(super) fn sidecar(name: &str) -> Container {
    Container { restart_policy: Some("Always".into()), ..container(name) }
}

pub(super) fn pod(policy: &str, inits: Vec<Container>, mains: Vec<Container>) -> Pod {
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
pub(super) type Script = BTreeMap<String, Vec<(i64, i32)>>;

pub(super) struct World {
    pub(super) pod: Pod,
    pub(super) seen: Observed,
    pub(super) now: i64,
    pub(super) script: Script,
    /// Container → when its running attempt ends, and how.
    pub(super) ends: BTreeMap<String, (i64, i32)>,
    /// (container, attempt, second).
    pub(super) starts: Vec<(String, u32, i64)>,
    pub(super) kills: Vec<(String, Kill, i64)>,
    pub(super) phases: Vec<String>,
    pub(super) ended: Option<End>,
}

impl World {
    pub(super) fn new(pod: Pod, script: &[(&str, &[(i64, i32)])]) -> World {
        let script = script.iter().map(|(name, runs)| ((*name).to_owned(), runs.to_vec())).collect();
        let seen = Observed { backoff_cap: Duration::from_secs(300), ..Observed::default() };
        let (ends, starts, kills, phases) = (BTreeMap::new(), vec![], vec![], vec![]);
        World { pod, seen, now: 0, script, ends, starts, kills, phases, ended: None }
    }

    /// Computes and applies until nothing more happens at this instant; returns the last plan.
    pub(super) fn settle(&mut self) -> PodActions {
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
            let first = self.seen.signalled.get(name).map_or(at(self.now), |s| s.first);
            self.seen.signalled.insert(name.clone(), Signalled { kill: *kill, first, last: at(self.now) });
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
            self.seen.pre_stopped.remove(name);
            self.seen.condemned.remove(name);
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
    pub(super) fn run_until(&mut self, end: i64) -> PodActions {
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

    pub(super) fn times(&self, name: &str) -> Vec<i64> {
        self.starts.iter().filter(|(n, ..)| n == name).map(|(.., at)| *at).collect()
    }

    pub(super) fn waiting(&self, name: &str) -> (String, String) {
        let waiting = status_of(&self.pod, name).and_then(|s| s.state.clone()).and_then(|s| s.waiting).unwrap_or_default();
        (waiting.reason.unwrap_or_default(), waiting.message.unwrap_or_default())
    }

    pub(super) fn phase(&self) -> &str {
        phase::of(&self.pod).unwrap_or_default()
    }

    pub(super) fn condition(&self, kind: &str) -> (String, String, String) {
        let all = self.pod.status.as_ref().and_then(|s| s.conditions.as_deref()).unwrap_or_default();
        let found = all.iter().find(|c| c.type_ == kind).cloned().unwrap_or_default();
        (found.status, found.reason.unwrap_or_default(), found.message.unwrap_or_default())
    }
}
