//! The virtual worker of a pod: does what [`compute_pod_actions`] says to containers that are entries in the calendar.

use std::collections::BTreeMap;

use jiff::SignedDuration;

use super::world::{Happening, World};
use crate::api::{Key, Kind, Object};
use crate::controllers::pods;
use crate::pod::attempt::{self, Role};
use crate::pod::status::{self, Ended};
use crate::pod::{End, Kill, Live, Observed, PodActions, Retry, Signalled, Start, backoff, compute_pod_actions, events, recover};

/// What the worker of one pod sees.
#[derive(Default)]
pub(super) struct Worker {
    seen: Observed,
    /// The first container was started: what pods wait for at first is done.
    begun: bool,
    /// Container → its start's or run's entry in the calendar.
    pending: BTreeMap<String, u64>,
    /// Container → pulls in a row that failed.
    failures: BTreeMap<String, u32>,
}

impl World<'_> {
    /// One step of the pod under `key`.
    pub(super) fn step_pod(&mut self, key: &Key) {
        let Some(object) = self.objects.get(key).cloned() else { return };
        let Some(pod) = object.as_pod().filter(|p| p.spec.as_ref().is_some_and(|s| s.node_name.is_some())) else { return };
        let uid = object.uid().to_owned();
        let mut worker = self.workers.remove(&uid).unwrap_or_default();
        worker.seen.backoff_cap = self.settings.backoff_cap;
        let plan = compute_pod_actions(pod, &worker.seen, self.now());
        self.set_wake(key, plan.wake_at);
        self.carry_out(key, &uid, &mut worker, plan);
        self.workers.insert(uid, worker);
    }

    fn carry_out(&mut self, key: &Key, uid: &str, worker: &mut Worker, plan: PodActions) {
        let mut pod = plan.pod;
        if plan.cancel {
            let starting = |(name, live): (&String, &Live)| (*live == Live::Starting).then(|| name.clone());
            for name in worker.seen.live.iter().filter_map(starting).collect::<Vec<_>>() {
                worker.seen.live.remove(&name);
                worker.pending.remove(&name).into_iter().for_each(|serial| self.cancel(serial));
                self.dirty.insert(key.clone());
            }
        }
        for (name, kill) in plan.kill {
            let now = self.now();
            let first = worker.seen.signalled.get(&name).map_or(now, |sent| sent.first);
            worker.seen.signalled.insert(name.clone(), Signalled { kill, first, last: now });
            if kill == Kill::PreStop {
                // Hooks take no time here.
                worker.seen.pre_stopped.insert(name);
                self.dirty.insert(key.clone());
                continue;
            }
            worker.pending.remove(&name).into_iter().for_each(|serial| self.cancel(serial));
            let (code, after) = if kill == Kill::Kill { (137, SignedDuration::ZERO) } else { (143, self.settings.stop_time) };
            self.expect_exit(key, uid, worker, name, after, code);
        }
        if plan.end == Some(End::Keep) {
            (pod.metadata.deletion_timestamp, pod.metadata.deletion_grace_period_seconds) = (None, None);
        }
        plan.events.iter().for_each(|event| self.tell(event));
        self.put(pod.into());
        if let Some(start) = plan.start.into_iter().next().filter(|_| !worker.seen.live.values().any(|l| *l == Live::Starting)) {
            self.begin(key, uid, worker, start);
        }
        if plan.release && worker.seen.live.is_empty() {
            (worker.seen.released, worker.seen.sandbox) = (true, false);
            self.dirty.insert(key.clone());
        }
        if plan.end == Some(End::Remove) && worker.seen.live.is_empty() {
            self.remove(key, uid);
        }
    }

    fn begin(&mut self, key: &Key, uid: &str, worker: &mut Worker, start: Start) {
        if self.elapsed() < self.settings.no_images_for {
            return self.no_image(key, worker, &start.name);
        }
        let delay = if worker.begun { SignedDuration::ZERO } else { self.settings.start_time };
        worker.seen.live.insert(start.name.clone(), Live::Starting);
        let happening = Happening::Start { pod: key.clone(), uid: uid.to_owned(), name: start.name.clone(), role: start.role };
        let serial = self.expect(delay, happening);
        worker.pending.insert(start.name, serial);
    }

    fn no_image(&mut self, key: &Key, worker: &mut Worker, name: &str) {
        let Some(mut pod) = self.objects.get(key).and_then(|o| o.as_pod().cloned()) else { return };
        let failures = worker.failures.entry(name.to_owned()).or_default();
        *failures = failures.saturating_add(1);
        let (now, delay) = (self.now(), backoff::retry_delay(*failures, backoff::PULL_CAP));
        worker.seen.retry.insert(name.to_owned(), Retry { since: now, until: now.checked_add(delay).unwrap_or(now) });
        status::refused(&mut pod, name, "ErrImagePull", "the registry does not answer".to_owned());
        self.put(pod.into());
        self.dirty.insert(key.clone());
    }

    /// The host goes down and is up again: what every worker does first then.
    pub(super) fn reboot(&mut self) {
        let now = self.now();
        for key in self.objects.keys().filter(|key| key.kind == Kind::Pod).cloned().collect::<Vec<_>>() {
            let Some(mut pod) = self.objects.get(&key).and_then(|o| o.as_pod().cloned()).filter(|pod| !pods::terminal(pod)) else {
                continue;
            };
            let Some(worker) = self.workers.remove(attempt::uid(&pod)) else { continue };
            worker.pending.into_values().for_each(|serial| self.cancel(serial));
            recover::after_reboot(&mut pod, "rebooted", now);
            self.tell(&events::sandbox_changed(&pod));
            self.workers.insert(attempt::uid(&pod).to_owned(), Worker::default());
            self.put(pod.into());
            self.dirty.insert(key);
        }
    }

    fn expect_exit(&mut self, key: &Key, uid: &str, worker: &mut Worker, name: String, after: SignedDuration, code: i32) {
        let happening = Happening::Exit { pod: key.clone(), uid: uid.to_owned(), name: name.clone(), code };
        let serial = self.expect(after, happening);
        worker.pending.insert(name, serial);
    }

    /// A container runs now.
    pub(super) fn started(&mut self, key: &Key, uid: &str, name: &str, role: Role) {
        let Some((mut pod, mut worker)) = self.take_worker(key, uid) else { return };
        status::started(&mut pod, name, self.now());
        self.tell(&events::started(&pod, name));
        (worker.begun, worker.seen.sandbox) = (true, true);
        worker.seen.live.insert(name.to_owned(), Live::Running);
        worker.pending.remove(name);
        worker.failures.remove(name);
        worker.seen.retry.remove(name);
        let always = pod.spec.as_ref().and_then(|s| s.restart_policy.as_deref()).is_none_or(|p| p == "Always");
        match role {
            Role::Init => self.expect_exit(key, uid, &mut worker, name.to_owned(), SignedDuration::ZERO, 0),
            Role::Sidecar => {}
            Role::Main if always && self.settings.exit_codes.is_empty() => {}
            Role::Main => {
                let owner = Object::from(pod.clone()).controller_uid().unwrap_or(uid).to_owned();
                let run = self.runs.entry((owner, name.to_owned())).or_default();
                let codes = &self.settings.exit_codes;
                let code = codes.get(*run).or(codes.last()).copied().unwrap_or(0);
                *run += 1;
                self.expect_exit(key, uid, &mut worker, name.to_owned(), self.settings.run_time, code);
            }
        }
        self.workers.insert(uid.to_owned(), worker);
        self.put(pod.into());
        self.dirty.insert(key.clone());
    }

    /// A container has ended.
    pub(super) fn exited(&mut self, key: &Key, uid: &str, name: &str, code: i32) {
        let Some((mut pod, mut worker)) = self.take_worker(key, uid) else { return };
        let attempt = attempt::status_of(&pod, name).map_or(0, |s| s.restart_count);
        let reason = Ended::reason_for(code, false).to_owned();
        self.row(key, "Exit", &reason, format!("container {name}, run {}: exit code {code}", attempt + 1));
        let end = Ended { code, reason, message: String::new(), started: None, finished: self.now() };
        // `None`: recorded before, nothing to change.
        let _ = status::ended(&mut pod, name, end, self.settings.backoff_cap);
        worker.seen.live.remove(name);
        worker.seen.signalled.remove(name);
        worker.pending.remove(name);
        self.workers.insert(uid.to_owned(), worker);
        self.put(pod.into());
        self.dirty.insert(key.clone());
    }

    fn take_worker(&mut self, key: &Key, uid: &str) -> Option<(k8s_openapi::api::core::v1::Pod, Worker)> {
        let pod = self.objects.get(key).filter(|o| o.uid() == uid)?.as_pod()?.clone();
        Some((pod, self.workers.remove(uid)?))
    }
}
