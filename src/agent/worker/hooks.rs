//! Lifecycle hooks: postStart as the last part of a start, preStop as the first part of an end. A hook ends with its container at the latest.

use std::net::IpAddr;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Container, LifecycleHandler};
use tokio::sync::watch;
use tracing::warn;

use super::Shared;
use super::done::{Done, PANICKED};
use super::exit::AttemptRef;
use super::task::Worker;
use crate::agent::prober::{self, HookDone, Target};
use crate::pod::signals::{Condemned, Verdict};
use crate::pod::{Kill, Signalled, attempt, events, status};
use crate::runtime::RuntimeError;

/// What came of a hook; an error is for the log and the status, not for events.
pub(super) type HookResult = Result<HookDone, String>;

/// Runs the postStart hook, if there is one, until it or the container ends, or the Pod is being stopped (which then goes on as usual).
pub(super) async fn post_start(
    shared: &Shared,
    container: &Container,
    of: &AttemptRef,
    pod_ips: &[IpAddr],
    cancel: &mut watch::Receiver<bool>,
) -> HookResult {
    let Some(handler) = container.lifecycle.as_ref().and_then(|l| l.post_start.as_ref()) else { return Ok(HookDone::Ran) };
    let pod_ip = pod_ips.first().map(ToString::to_string).unwrap_or_default();
    let target = Target { runtime: shared.drivers.runtime.as_ref(), id: &of.id, container, pod_ip: &pod_ip };
    // Cancel-safe: a command that is not waited for any more is killed by the runtime's driver.
    tokio::select! {
        done = prober::hook(target, handler) => done,
        () = ended(shared, &of.id) => Err("the container ended before its hook".to_owned()),
        _ = cancel.wait_for(|given_up| *given_up) => Ok(HookDone::Ran),
    }
}

/// The container's end, as far as the runtime tells it.
async fn ended(shared: &Shared, id: &str) {
    match shared.drivers.runtime.wait(id).await {
        Ok(_) | Err(RuntimeError::NotFound { .. }) => {}
        Err(_) => std::future::pending().await,
    }
}

impl Worker {
    /// The postStart hook has failed: the container is to end, and shows why.
    pub(super) fn post_start_failed(&mut self, name: &str, error: &str) {
        warn!(container = name, error, "the postStart hook failed");
        let event = events::failed_post_start(&self.pod, name);
        self.events.push(event);
        status::refused(&mut self.pod, name, status::POST_START_HOOK_ERROR, format!("PostStartHook failed: {error}"));
        self.condemn_for_hook(name);
    }

    /// See [`Worker::post_start_failed`]; also where that was before the agent was started anew.
    pub(super) fn condemn_for_hook(&mut self, name: &str) {
        let since = self.now();
        self.seen.condemned.insert(name.to_owned(), Condemned { why: Verdict::PostStart, since });
    }

    /// Begins the container's preStop hook.
    pub(super) fn pre_stop(&mut self, name: &str, id: Option<&str>, now: Timestamp) {
        self.seen.signalled.insert(name.to_owned(), Signalled { kill: Kill::PreStop, first: now, last: now });
        let found = attempt::containers(&self.pod).find(|(_, c)| c.name == name).map(|(_, c)| c.clone());
        let handler = found.as_ref().and_then(|c| c.lifecycle.as_ref()?.pre_stop.clone());
        let (Some(container), Some(handler), Some(id)) = (found, handler, id) else {
            self.seen.pre_stopped.insert(name.to_owned());
            return;
        };
        let of = AttemptRef { name: name.to_owned(), number: 0, id: id.to_owned() };
        let (shared, pod_ip) = (self.shared.clone(), self.pod.status.as_ref().and_then(|s| s.pod_ip.clone()).unwrap_or_default());
        let instead = Done::PreStopped(of.clone(), Err(PANICKED.to_owned()));
        let job = async move { run_pre_stop(&shared, &container, &handler, of, &pod_ip).await };
        self.jobs.spawn(Done::of(job, instead));
    }

    /// The hook is over: the stop signal is next. Of a container that has ended since it says nothing.
    pub(super) fn pre_stopped(&mut self, of: &AttemptRef, result: &HookResult) {
        let current = status::open_attempts(&self.pod).into_iter().any(|(name, id, _)| name == of.name && id == of.id);
        if !current || !self.seen.live.contains_key(&of.name) {
            return;
        }
        self.seen.pre_stopped.insert(of.name.clone());
        match result {
            Ok(done) => self.tell_fallback(done),
            Err(error) => {
                warn!(container = of.name, error, "the preStop hook failed");
                let event = events::failed_pre_stop(&self.pod, &of.name);
                self.events.push(event);
            }
        }
    }

    /// A hook asked by HTTPS that was answered in HTTP.
    pub(super) fn tell_fallback(&mut self, done: &HookDone) {
        if let HookDone::FellBack(host) = done {
            let event = events::hook_fell_back(&self.pod, host);
            self.events.push(event);
        }
    }
}

async fn run_pre_stop(shared: &Shared, container: &Container, handler: &LifecycleHandler, of: AttemptRef, pod_ip: &str) -> Done {
    let target = Target { runtime: shared.drivers.runtime.as_ref(), id: &of.id, container, pod_ip };
    // Cancel-safe as above.
    let result = tokio::select! {
        done = prober::hook(target, handler) => done,
        () = ended(shared, &of.id) => Err("the container ended before its hook".to_owned()),
    };
    Done::PreStopped(of, result)
}
