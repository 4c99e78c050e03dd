//! What a start under way says of its image, so that the worker tells of it at once and not with the outcome: that a registry is asked,
//! how far the pull is, which pull secrets are missing (pkg/kubelet/images/image_manager.go, kubelet.go). Progress is ours.

use std::sync::{Arc, Mutex, PoisonError};

use k8s_openapi::api::core::v1::Pod;

use super::configuration::Bell;
use super::task::Worker;
use crate::agent::Drivers;
use crate::config::{self, Keyring};
use crate::pod::{events, status};
use crate::runtime::{ImageError, PullNote, PullPolicy, PullProgress};

/// What one start has said since it was last listened to.
#[derive(Default)]
struct Said {
    serial: u64,
    /// The images whose registries are asked.
    begun: Vec<String>,
    /// Of the image last told of.
    progress: Option<(String, PullProgress)>,
    missing: Vec<String>,
}

/// Where starts say it.
#[derive(Clone)]
pub(super) struct Pulls {
    said: Arc<Mutex<Said>>,
    bell: Arc<Bell>,
}

impl Pulls {
    pub(super) fn new(bell: Arc<Bell>) -> Pulls {
        Pulls { said: Arc::default(), bell }
    }

    fn say(&self, serial: u64, word: impl FnOnce(&mut Said)) {
        let mut said = self.said.lock().unwrap_or_else(PoisonError::into_inner);
        if said.serial != serial {
            *said = Said { serial, ..Said::default() };
        }
        word(&mut said);
        drop(said);
        self.bell.ring();
    }

    /// What the runtime tells of the pull of an image.
    pub(super) fn note(&self, serial: u64, image: &str, note: PullNote) {
        self.say(serial, |said| match note {
            PullNote::Begun => said.begun.push(image.to_owned()),
            PullNote::Progress(progress) => said.progress = Some((image.to_owned(), progress)),
        });
    }

    /// Secrets that are not there.
    fn missing(&self, serial: u64, names: Vec<String>) {
        if !names.is_empty() {
            self.say(serial, |said| said.missing = names);
        }
    }

    /// What this start has said since this was last called.
    fn take(&self, serial: u64) -> Option<Said> {
        let mut said = self.said.lock().unwrap_or_else(PoisonError::into_inner);
        (said.serial == serial).then(|| std::mem::replace(&mut *said, Said { serial, ..Said::default() }))
    }

    /// The logins that the pod's pull secrets hold now. Errors: one cannot be read.
    pub(super) fn keyring(&self, serial: u64, drivers: &Drivers, pod: &Pod, image: &str) -> Result<Keyring, ImageError> {
        let logins = config::pull_logins(pod, |key| drivers.store.get(key));
        self.missing(serial, logins.missing);
        logins.keyring.map_err(|cause| ImageError::Pull { reference: image.to_owned(), cause })
    }
}

impl Worker {
    /// Folds what the start under way says of its image.
    pub(super) fn note_pull(&mut self) {
        let Some((serial, name)) = self.starting.clone() else { return };
        let Some(said) = self.pulls.take(serial) else { return };
        if !said.missing.is_empty() {
            self.events.push(events::missing_pull_secrets(&self.pod, &said.missing));
        }
        for image in &said.begun {
            self.events.push(events::pulling(&self.pod, &name, image));
            self.pull_tenths = 0;
        }
        if let Some((image, progress)) = said.progress {
            self.note_progress(&name, &image, progress);
        }
    }

    /// The status tells each time; an event tells of each tenth, so that a slow pull does not drown what else is told.
    fn note_progress(&mut self, name: &str, image: &str, progress: PullProgress) {
        let message = events::progress_words(image, progress.done, progress.total);
        status::refused(&mut self.pod, name, status::CONTAINER_CREATING, message.clone());
        let tenths = progress.done.saturating_mul(10).checked_div(progress.total).unwrap_or_default();
        if tenths > self.pull_tenths {
            self.pull_tenths = tenths;
            self.events.push(events::of_image(&self.pod, name, image, false, "Pulling", message));
        }
    }
}

/// imagePullPolicy; where it is not set, Always for `:latest` or no tag, else IfNotPresent (pkg/apis/core/v1/defaults.go).
pub(super) fn pull_policy(policy: Option<&str>, image: &str) -> PullPolicy {
    match policy {
        Some("Always") => PullPolicy::Always,
        Some("Never") => PullPolicy::Never,
        Some(_) => PullPolicy::IfNotPresent,
        None => {
            let last = image.rsplit('/').next().unwrap_or_default();
            let floating = !image.contains('@') && (!last.contains(':') || last.ends_with(":latest"));
            if floating { PullPolicy::Always } else { PullPolicy::IfNotPresent }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_start_under_way_is_listened_to_and_once() {
        let pulls = Pulls::new(Arc::default());
        pulls.note(1, "a", PullNote::Begun);
        assert!(pulls.take(2).is_none());
        pulls.note(2, "b", PullNote::Progress(PullProgress { done: 1, total: 2 }));
        pulls.missing(2, vec!["a".into()]);
        let said = pulls.take(2).unwrap();
        assert_eq!((said.begun.len(), said.progress.map(|(image, p)| (image, p.done)), said.missing.len()), (0, Some(("b".into(), 1)), 1));
        let said = pulls.take(2).unwrap();
        assert!(said.begun.is_empty() && said.progress.is_none() && said.missing.is_empty());
        assert!(pulls.take(1).is_none());
    }
}
