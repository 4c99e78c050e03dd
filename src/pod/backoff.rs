//! Back-off: of restarts (durable, in an annotation) and of retries (in memory).
//!
//! Restarts, after client-go's flowcontrol/backoff.go and kuberuntime_manager.go `doBackOff`: the first exit restarts at once, then 10, 20,
//! 40, 80, 160, 300 s from finishedAt. A run of more than 600 s, or another image or resources, starts anew.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Container, Pod};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::api::well_known::RESTART_BACKOFF;

/// The second restart's delay, and the first retry's.
pub const INITIAL: Duration = Duration::from_secs(10);
/// The longest a failed pull is waited for.
pub const PULL_CAP: Duration = Duration::from_secs(300);
/// A container that ran longer than this starts anew, whatever the cap.
pub const RESET: Duration = Duration::from_secs(600);

/// One container's back-off, decided when an attempt ends.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// Seconds from finishedAt to the next start.
    pub seconds: u64,
    /// What it is the back-off of: image and resources.
    pub key: String,
}

/// What the annotation holds: container → back-off. An unreadable annotation counts as none.
pub fn read(pod: &Pod) -> BTreeMap<String, Entry> {
    let text = pod.metadata.annotations.as_ref().and_then(|a| a.get(RESTART_BACKOFF));
    text.and_then(|t| serde_json::from_str(t).ok()).unwrap_or_default()
}

/// Puts `entries` into the annotation.
pub fn write(pod: &mut Pod, entries: &BTreeMap<String, Entry>) {
    let annotations = &mut pod.metadata.annotations;
    match (serde_json::to_string(entries), annotations) {
        (Ok(text), annotations) if !entries.is_empty() => {
            annotations.get_or_insert_default().insert(RESTART_BACKOFF.to_owned(), text);
        }
        (_, Some(annotations)) => drop(annotations.remove(RESTART_BACKOFF)),
        _ => {}
    }
}

/// What a change of makes the back-off start anew.
pub fn key(container: &Container) -> String {
    let resources = serde_json::to_string(&container.resources).unwrap_or_default();
    let digest = Sha256::digest(format!("{}\n{resources}", container.image.as_deref().unwrap_or_default()));
    digest.iter().take(8).map(|b| format!("{b:02x}")).collect()
}

/// The back-off after an attempt that ran from `started` to `finished`, given the one before it.
pub fn after_exit(before: Option<&Entry>, key: String, started: Option<Timestamp>, finished: Timestamp, cap: Duration) -> Entry {
    let ran = started.and_then(|s| Duration::try_from(finished.duration_since(s)).ok()).unwrap_or_default();
    let seconds = match before {
        Some(entry) if entry.key == key && ran <= RESET => match entry.seconds {
            0 => INITIAL.as_secs(),
            seconds => seconds.saturating_mul(2),
        },
        _ => 0,
    };
    Entry { seconds: seconds.min(cap.as_secs()), key }
}

/// The delay after the `failures`-th failed try in a row (from 1): 10 s, doubled each time, at most `cap`.
pub fn retry_delay(failures: u32, cap: Duration) -> Duration {
    let factor = 1u32.checked_shl(failures.saturating_sub(1).min(16)).unwrap_or(u32::MAX);
    INITIAL.saturating_mul(factor).min(cap)
}

/// A duration of whole seconds as Go prints it: `10s`, `1m20s`, `5m0s`.
pub fn go_seconds(seconds: u64) -> String {
    match seconds {
        0..60 => format!("{seconds}s"),
        60..3600 => format!("{}m{}s", seconds / 60, seconds % 60),
        _ => format!("{}h{}m{}s", seconds / 3600, seconds % 3600 / 60, seconds % 60),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).expect("in range")
    }

    fn series(cap: u64, runs: i64) -> Vec<u64> {
        let mut before: Option<Entry> = None;
        let step = |before: &Option<Entry>| after_exit(before.as_ref(), "k".into(), Some(at(0)), at(runs), Duration::from_secs(cap));
        (0..8).map(|_| before.insert(step(&before)).seconds).collect()
    }

    #[test]
    fn restarts_wait_0_10_20_40_80_160_300_300() {
        assert_eq!(series(300, 600), [0, 10, 20, 40, 80, 160, 300, 300]);
    }

    #[test]
    fn the_cap_bounds_every_step() {
        assert_eq!(series(1, 0), [0, 1, 1, 1, 1, 1, 1, 1]);
    }

    #[test]
    fn a_run_of_more_than_600_s_starts_anew_whatever_the_cap() {
        assert_eq!(series(300, 601), [0; 8]);
        assert_eq!(series(1, 601), [0; 8]);
    }

    #[test]
    fn another_image_or_other_resources_start_anew() {
        let before = Entry { seconds: 80, key: "old".into() };
        assert_eq!(after_exit(Some(&before), "new".into(), Some(at(0)), at(1), RESET).seconds, 0);
        let mut c = Container { image: Some("a".into()), ..Container::default() };
        let a = key(&c);
        c.image = Some("b".into());
        assert_ne!(a, key(&c));
    }

    #[test]
    fn retries_double_from_10_s_to_the_cap() {
        let delays: Vec<_> = (1..=7).map(|n| retry_delay(n, PULL_CAP).as_secs()).collect();
        assert_eq!(delays, [10, 20, 40, 80, 160, 300, 300]);
        assert_eq!(retry_delay(u32::MAX, PULL_CAP), PULL_CAP);
    }

    #[test]
    fn durations_read_as_go_prints_them() {
        assert_eq!([10, 80, 300, 3600].map(go_seconds), ["10s", "1m20s", "5m0s", "1h0m0s"]);
    }

    #[test]
    fn the_annotation_survives_a_round_trip_and_a_broken_one_is_none() {
        let mut pod = Pod::default();
        let entries = BTreeMap::from([("c".to_owned(), Entry { seconds: 40, key: "k".into() })]);
        write(&mut pod, &entries);
        assert_eq!(read(&pod), entries);
        pod.metadata.annotations.get_or_insert_with(BTreeMap::new).insert(RESTART_BACKOFF.into(), "{".into());
        assert!(read(&pod).is_empty());
    }
}
