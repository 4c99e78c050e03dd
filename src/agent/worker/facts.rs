//! Facts folded into the worker's copy of its Pod: starts, failures, ends, and what is found when attempts are examined.

use std::future::pending;
use std::net::IpAddr;
use std::time::Duration;

use jiff::Timestamp;
use tracing::warn;

use super::exit::{self, AttemptRef};
use super::files;
use super::start::{Failure, Got, Started};
use super::task::Worker;
use crate::api::well_known::container_labels::STOP_SIGNAL;
use crate::config::Keyring;
use crate::pod::recover::{Seen, Verdict, examine};
use crate::pod::status::{self, Ended};
use crate::pod::{Live, Retry, attempt, backoff, events};
use crate::runtime::{ContainerState, Image, ImageError, ImageRequest, PullPolicy, RuntimeError, TaskState};

/// Tries at a sandbox or a mount: from 1 s, doubled, at most this (the kubelet's bound for mounts is 2m2s).
const PARTS_CAP: Duration = Duration::from_secs(120);

impl Worker {
    /// A container runs.
    pub(super) fn started(&mut self, of: AttemptRef, started: Started) {
        let Started { at, image, mounted, pod_ips, dns_omitted, stop_signal, post_start } = started;
        for Got { reference, image, millis } in mounted.iter().chain([&image]) {
            self.events.push(match image.pulled {
                true => events::pulled(&self.pod, &of.name, reference, *millis, image.size),
                false => events::present(&self.pod, &of.name, reference),
            });
        }
        let image = image.image;
        self.events.extend(dns_omitted.into_iter().map(|words| events::draft(&self.pod, true, "DNSConfigForming", words)));
        self.events.push(events::created(&self.pod, &of.name));
        self.events.push(events::started(&self.pod, &of.name));
        status::started(&mut self.pod, &of.name, at);
        status::image(&mut self.pod, &of.name, &image.name, &image_id(&image));
        self.failures.remove(&of.name);
        self.seen.retry.remove(&of.name);
        self.seen.sandbox = true;
        self.seen.pod_ips = pod_ips.iter().map(IpAddr::to_string).collect();
        self.stop_signals.insert(of.name.clone(), stop_signal);
        self.forget_ending(&of.name);
        match &post_start {
            Ok(done) => {
                self.tell_fallback(done);
                self.begin_probes(&of, None);
            }
            Err(error) => self.post_start_failed(&of.name, error),
        }
        self.runs(of);
    }

    /// What was asked of an attempt that is over, or that another agent had asked.
    fn forget_ending(&mut self, name: &str) {
        self.seen.signalled.remove(name);
        self.seen.pre_stopped.remove(name);
        self.seen.condemned.remove(name);
        self.end_probes(name);
    }

    fn runs(&mut self, of: AttemptRef) {
        self.seen.live.insert(of.name.clone(), Live::Running);
        self.watch_exit(of);
    }

    /// A start came to nothing.
    pub(super) fn not_started(&mut self, of: AttemptRef, failure: Failure, now: Timestamp) {
        let cap = self.seen.backoff_cap;
        let name = of.name.clone();
        match failure {
            Failure::Cancelled => {
                self.seen.live.remove(&name);
            }
            Failure::Unavailable(error) => {
                warn!(container = name, error, "the start is taken up again when the runtime answers");
                self.runtime_away(&name, &error);
                self.examine_pause.fail(now);
                self.unexamined.insert(name, of);
            }
            Failure::Unexamined(error) => {
                warn!(container = name, error, "it may have run already; it is examined");
                self.unexamined.insert(name, of);
            }
            Failure::Start(message) => {
                self.seen.live.remove(&name);
                self.events.push(events::failed(&self.pod, &name, &message));
                let end = Ended { code: 128, reason: status::START_ERROR.to_owned(), message, started: Some(now), finished: now };
                self.ended(of, end);
            }
            Failure::Sandbox(message) => {
                let text = format!("Failed to create pod sandbox: {message}");
                self.events.push(events::draft(&self.pod, true, "FailedCreatePodSandBox", text));
                self.try_again(&name, now, |n| backoff::retry_delay(n, PARTS_CAP * 10) / 10);
            }
            Failure::NetworkNotReady(message) => {
                self.events.push(events::draft(&self.pod, true, "NetworkNotReady", message));
                self.try_again(&name, now, |n| backoff::retry_delay(n, PARTS_CAP * 10) / 10);
            }
            Failure::Mount(message) => {
                self.events.push(events::draft(&self.pod, true, "FailedMount", message));
                self.try_again(&name, now, |n| backoff::retry_delay(n, PARTS_CAP * 10) / 10);
                self.wants_configuration(&name);
            }
            Failure::Image(error) => {
                self.no_image(&name, &error);
                self.try_again(&name, now, |n| backoff::retry_delay(n, backoff::PULL_CAP));
            }
            Failure::Config(message) => {
                self.refused(&name, "CreateContainerConfigError", message);
                self.try_again(&name, now, |n| backoff::retry_delay(n, cap));
                self.wants_configuration(&name);
            }
            Failure::Create(message) => {
                self.refused(&name, "CreateContainerError", message);
                self.try_again(&name, now, |n| backoff::retry_delay(n, cap));
            }
        }
    }

    fn refused(&mut self, name: &str, reason: &str, message: String) {
        self.events.push(events::failed(&self.pod, name, &message));
        status::refused(&mut self.pod, name, reason, message);
    }

    /// The container waits as it did, and says for what; this is no failure of it or of its image, so no back-off counts.
    fn runtime_away(&mut self, name: &str, error: &str) {
        let message = format!("{error}; it is tried again by itself until containerd answers");
        self.events.push(events::draft(&self.pod, true, "FailedSync", message.clone()));
        status::refused(&mut self.pod, name, status::CONTAINER_CREATING, message);
    }

    fn no_image(&mut self, name: &str, error: &ImageError) {
        let image = match error {
            ImageError::Pull { reference, .. } => reference.clone(),
            _ => self.image_of(name),
        };
        self.seen.unpulled.insert(name.to_owned(), image.clone());
        let (reason, event, text) = match error {
            ImageError::InvalidName { .. } => ("InvalidImageName", "InspectFailed", error.to_string()),
            ImageError::NeverPull { .. } => ("ErrImageNeverPull", "ErrImageNeverPull", error.to_string()),
            ImageError::Pull { .. } => ("ErrImagePull", "Failed", format!("Failed to pull image {image:?}: {error}")),
            ImageError::Unavailable { .. } => return self.runtime_away(name, &error.to_string()),
        };
        self.events.push(events::of_image(&self.pod, name, &image, true, event, text));
        self.events.push(events::of_image(&self.pod, name, &image, true, "Failed", format!("Error: {reason}")));
        status::refused(&mut self.pod, name, reason, error.to_string());
    }

    fn try_again(&mut self, name: &str, now: Timestamp, delay: impl Fn(u32) -> Duration) {
        let failures = self.failures.entry(name.to_owned()).or_default();
        *failures = failures.saturating_add(1);
        let until = now.checked_add(delay(*failures)).unwrap_or(now);
        self.seen.retry.insert(name.to_owned(), Retry { since: now, until });
        self.seen.live.remove(name);
    }

    /// A container ended: its record is durable with the next commit, and only then its task goes.
    pub(super) fn ended(&mut self, of: AttemptRef, end: Ended) {
        self.seen.live.remove(&of.name);
        let mut end = end;
        if let Some(condemned) = self.seen.condemned.get(&of.name) {
            // Where its hook had failed, it never counted as running.
            end.started.get_or_insert(condemned.since);
        }
        self.forget_ending(&of.name);
        self.seen.retry.remove(&of.name);
        self.failures.remove(&of.name);
        let cap = self.seen.backoff_cap;
        // `None`: recorded before; then only the remains are to be removed.
        let _ = status::ended(&mut self.pod, &of.name, end, cap);
        self.dead.insert(of.id.clone(), of);
    }

    /// Looks at every attempt whose state is not known, as far as the runtime answers.
    pub(super) async fn examine_all(&mut self) {
        for (name, of) in self.unexamined.clone() {
            match self.examine(&of).await {
                Ok(()) => {
                    self.unexamined.remove(&name);
                }
                Err(error) => {
                    warn!(container = name, %error, "its state is not known yet; nothing is done to it");
                    let now = self.now();
                    self.examine_pause.fail(now);
                    return;
                }
            }
        }
        self.examine_pause.reset();
    }

    async fn examine(&mut self, of: &AttemptRef) -> Result<(), RuntimeError> {
        let found = match self.drivers().runtime.inspect(&of.id).await {
            Ok(state) => Some(state),
            Err(RuntimeError::NotFound { .. }) => None,
            Err(error) => return Err(error),
        };
        let marker = files::read_marker(&self.drivers().paths, &self.uid, &of.name, of.number);
        let began = found.as_ref().map(|state| state.created_at);
        match examine(&seen(found.as_ref()), &marker) {
            Verdict::Remake => {
                self.drivers().runtime.remove(&of.id).await?;
                files::unmark(&self.drivers().paths, &self.uid, &of.name, of.number);
                self.seen.live.remove(&of.name);
            }
            Verdict::Adopt => self.adopt(of, found.as_ref()).await,
            Verdict::Record { code, at } => {
                let exit = crate::runtime::Exit { code, at };
                let end = exit::gather(&self.shared, &self.pod, of, &exit, began).await;
                self.ended(of.clone(), end);
            }
            Verdict::Noted(noted) => {
                let end = exit::describe(self.drivers(), &self.pod, of, noted, began).await;
                self.ended(of.clone(), end);
            }
            Verdict::Lost => {
                let now = self.now();
                self.ended(of.clone(), Ended { started: began, ..Ended::unknown("The container could not be located", now) });
            }
        }
        Ok(())
    }

    /// Goes on with a running container. What the crash kept from being recorded is asked for again: all of it is there already.
    async fn adopt(&mut self, of: &AttemptRef, found: Option<&ContainerState>) {
        let signal = found.and_then(|s| s.labels.get(STOP_SIGNAL)).and_then(|s| s.parse().ok());
        self.stop_signals.insert(of.name.clone(), signal.unwrap_or(15));
        self.drivers().cgroups.adopt(&self.pod);
        if let Some(TaskState::Running { pid }) = found.map(|state| &state.task) {
            self.keep_network(*pid).await;
        }
        let at = found.map_or_else(|| self.now(), |state| state.created_at);
        let (known, hook_failed) = (self.last_word(&of.name), self.had_failed_its_hook(&of.name));
        self.forget_ending(&of.name);
        if hook_failed {
            self.condemn_for_hook(&of.name);
        } else {
            status::started(&mut self.pod, &of.name, at);
            self.begin_probes(of, known);
        }
        self.seen.sandbox = true;
        if attempt::status_of(&self.pod, &of.name).is_some_and(|s| s.image_id.is_empty()) {
            let (reference, keyring) = (self.image_of(&of.name), Keyring::default());
            let request = ImageRequest { reference: &reference, policy: PullPolicy::Never, keyring: &keyring };
            if let Ok(image) = self.drivers().runtime.ensure_image(request, &|_| {}).await {
                status::image(&mut self.pod, &of.name, &image.name, &image_id(&image));
            }
        }
        if self.pod.status.as_ref().is_some_and(|s| s.pod_ip.is_none())
            && let Ok(ips) = self.parts.addresses(&self.shared.drivers, &self.pod, pending()).await
        {
            self.seen.pod_ips = ips.iter().map(IpAddr::to_string).collect();
        }
        self.runs(of.clone());
    }

    pub(super) fn image_of(&self, name: &str) -> String {
        let container = attempt::containers(&self.pod).find(|(_, c)| c.name == name);
        container.and_then(|(_, c)| c.image.clone()).unwrap_or_default()
    }
}

fn seen(found: Option<&ContainerState>) -> Seen {
    match found.map(|state| &state.task) {
        None | Some(TaskState::None) => Seen::NoTask,
        Some(TaskState::Created) => Seen::Created,
        Some(TaskState::Running { .. }) => Seen::Running,
        Some(TaskState::Exited(exit)) => Seen::Exited { code: exit.code, at: exit.at },
    }
}

/// `<repository>@<digest>`.
fn image_id(image: &Image) -> String {
    let name = image.name.split('@').next().unwrap_or_default();
    let tag = name.rfind(':').filter(|colon| !name[*colon..].contains('/'));
    format!("{}@{}", &name[..tag.unwrap_or(name.len())], image.digest)
}
