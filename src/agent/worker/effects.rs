//! What the worker does to the world outside: starts, signals, removals, release, the end. Decides nothing: `pod` has.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;
use tokio::sync::oneshot;
use tracing::{Instrument, info_span, warn};

use super::commit::remove;
use super::done::{Done, PANICKED};
use super::exit::{self, AttemptRef};
use super::task::{Next, Worker};
use super::{Outcome, files, release, start};
use crate::agent::recover as orphans;
use crate::pod::{End, Kill, PodActions, Signalled, Start, phase, status};
use crate::runtime::RuntimeError;

impl Worker {
    /// Begins a start up to its gate, so that image, volumes and network are got while the intent is being committed. Not during a release.
    pub(super) fn prepare(&mut self, start: &Start, pod: &Pod) -> Option<oneshot::Sender<()>> {
        let right = self.parts.for_a_start()?;
        let (open, gate) = oneshot::channel();
        self.serial += 1;
        // Nothing else is being made. What was given up before, all containers of the Pod being restarted, is no reason any more.
        self.cancel.send_replace(false);
        self.configuration.at_start = self.bell.changes();
        let serial = self.serial;
        let of = AttemptRef { name: start.name.clone(), number: start.attempt, id: start.id.clone() };
        let job = start::Job {
            shared: self.shared.clone(),
            pod: Arc::new(pod.clone()),
            parts: self.parts.clone(),
            right,
            role: start.role,
            of: of.clone(),
            gate,
            cancel: self.cancel.subscribe(),
            pulls: self.pulls.clone(),
            serial,
        };
        let span = info_span!("container", container = of.name, attempt = of.number);
        let instead = Done::Start(serial, of.clone(), Err(start::Failure::Unexamined(PANICKED.to_owned())));
        let job = async move { Done::Start(serial, of, start::run(job).await.map(Box::new)) };
        self.jobs.spawn(Done::of(job.instrument(span), instead));
        Some(open)
    }

    /// Sends the plan's signals; events of what could not be sent are taken from the plan.
    pub(super) async fn kill(&mut self, plan: &mut PodActions, now: Timestamp) {
        if plan.kill.is_empty() {
            return;
        }
        if !self.kill_pause.over(now) {
            plan.events.retain(|e| e.reason != "Killing");
            return;
        }
        let ids: BTreeMap<String, String> = status::open_attempts(&self.pod).into_iter().map(|(name, id, _)| (name, id)).collect();
        let (hooks, signals): (Vec<_>, Vec<_>) = plan.kill.iter().cloned().partition(|(_, kill)| *kill == Kill::PreStop);
        hooks.iter().for_each(|(name, _)| self.pre_stop(name, ids.get(name).map(String::as_str), now));
        let drivers = self.drivers().clone();
        let send = |(name, kill): &(String, Kill)| {
            let (signal, all) = match kill {
                Kill::PreStop | Kill::Stop => (self.stop_signals.get(name).copied().unwrap_or(15), false),
                Kill::Kill => (9, true),
            };
            let (drivers, id, name, kill) = (drivers.clone(), ids.get(name).cloned().unwrap_or_default(), name.clone(), *kill);
            async move { (name, kill, drivers.runtime.kill(&id, signal, all).await) }
        };
        let sent = futures::future::join_all(signals.iter().map(send)).await;
        for (name, kill, result) in sent {
            match result {
                Ok(()) | Err(RuntimeError::NotFound { .. }) => {
                    let first = self.seen.signalled.get(&name).map_or(now, |s| s.first);
                    self.seen.signalled.insert(name, Signalled { kill, first, last: now });
                    self.kill_pause.reset();
                }
                Err(error) => {
                    warn!(container = name, %error, "cannot be signalled yet");
                    self.kill_pause.fail(now);
                    plan.events.retain(|e| e.reason != "Killing");
                }
            }
        }
    }

    /// Begins the removal of attempts whose end is durable.
    pub(super) fn remove_dead(&mut self, now: Timestamp) {
        if !self.remove_pause.over(now) {
            return;
        }
        for (id, of) in &self.dead {
            if self.removing.insert(id.clone()) {
                let (drivers, of) = (self.shared.drivers.clone(), of.clone());
                let instead = Done::not_removed(of.clone());
                let job = async move {
                    let removed = drivers.runtime.remove(&of.id).await;
                    Done::Removed(of, removed)
                };
                self.jobs.spawn(Done::of(job, instead));
            }
        }
    }

    pub(super) fn release(&mut self, now: Timestamp) {
        let busy = self.releasing
            || self.configuration.refreshing
            || !self.dead.is_empty()
            || !self.seen.live.is_empty()
            || !self.unexamined.is_empty();
        if busy || !self.release_pause.over(now) {
            return;
        }
        self.releasing = true;
        let (drivers, parts, uid) = (self.shared.drivers.clone(), self.parts.clone(), self.uid.clone());
        let job = async move {
            parts.settled().await;
            Done::Released(release::release(&drivers, &uid).await)
        };
        let panicked = release::NotReleased { network: None, addresses_only: false, rest: vec![PANICKED.to_owned()] };
        self.jobs.spawn(Done::of(job, Done::Released(Err(panicked))));
    }

    /// The end of the Pod, or of the need for a worker; else how long to rest.
    pub(super) async fn finish(&mut self, plan: &PodActions, now: Timestamp) -> Next {
        let quiet = self.dead.is_empty() && self.jobs.is_empty();
        match plan.end {
            Some(End::Remove) if quiet => {
                if let Err(error) = files::remove_logs(&self.drivers().paths, &self.pod) {
                    warn!(%error, "the pod's logs cannot be removed");
                }
                match remove(self.drivers(), &self.key, &self.uid).await {
                    Ok(()) => return Next::Over(Outcome::Gone),
                    Err(error) => {
                        warn!(%error, "the pod cannot be removed from the store yet");
                        self.commit_pause.fail(now);
                    }
                }
            }
            None | Some(End::Keep) if quiet && self.is_settled() => return Next::Over(Outcome::Settled),
            _ => {}
        }
        Next::Rest(plan.wake_at)
    }

    /// Learns of a running container's end when it comes.
    pub(super) fn watch_exit(&mut self, of: AttemptRef) {
        let (shared, key) = (self.shared.clone(), self.key.clone());
        let instead = Done::unwatched(of.clone());
        let job = async move {
            let end = exit::wait(shared, &key, &of).await;
            Done::Exit(of, end)
        };
        self.jobs.spawn(Done::of(job, instead));
    }

    /// The Pod was taken from the Store without being stopped first: what it left is stopped as an orphan's.
    pub(super) async fn abandoned(mut self: Box<Self>) -> Outcome {
        self.jobs.shutdown().await;
        self.parts.settled().await;
        orphans::stop_pod(&self.shared.drivers, &self.uid).await;
        Outcome::Gone
    }

    /// Whether the Pod is terminal, holds nothing and nobody wants it gone.
    fn is_settled(&self) -> bool {
        self.seen.released && self.pod.metadata.deletion_timestamp.is_none() && phase::is_terminal(phase::of(&self.pod))
    }
}
