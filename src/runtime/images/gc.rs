//! Which images are to go when their disk fills (pkg/kubelet/images/image_gc_manager.go). Pure: images, use, disk and time in, names out.
//!
//! ```text
//! disk ─▶ wanted: bytes to free, from the high threshold down to the low one
//! images + use + now ─▶ detect ─▶ candidates: unused, unpinned, old enough; longest unused first
//! ```
//!
//! Others that run short of disk (node pressure) ask `candidates` too. Ours: an image's age counts from its record, which outlives the agent.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use jiff::Timestamp;

/// An image as the runtime has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredImage {
    /// The manifest's or index' digest; all names of one digest are one image.
    pub id: String,
    /// Its full names (`docker.io/library/busybox:latest`).
    pub names: Vec<String>,
    /// Size of its content in bytes.
    pub size: u64,
    /// Never to be collected.
    pub pinned: bool,
    /// When the first of its records was made.
    pub created: Timestamp,
}

/// The disk that images are on, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DiskSpace {
    /// In all.
    pub capacity: u64,
    /// To be had by anybody but root.
    pub available: u64,
}

/// When to collect, and how much.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GcPolicy {
    /// From this usage on (percent); 100: never.
    pub high_percent: u8,
    /// Down to this usage (percent).
    pub low_percent: u8,
    /// Younger images stay.
    pub minimum_age: Duration,
}

impl Default for GcPolicy {
    fn default() -> GcPolicy {
        GcPolicy { high_percent: 85, low_percent: 80, minimum_age: Duration::from_secs(120) }
    }
}

/// The bytes to free now; 0: none. None: a disk without a size.
pub fn wanted(disk: DiskSpace, policy: &GcPolicy) -> Option<u64> {
    let (capacity, available) = (u128::from(disk.capacity), u128::from(disk.available.min(disk.capacity)));
    let used_percent = 100 - (available * 100).checked_div(capacity)?;
    if policy.high_percent >= 100 || used_percent < u128::from(policy.high_percent) {
        return Some(0);
    }
    let keep_free = capacity * u128::from(100 - policy.low_percent.min(100)) / 100;
    Some(u64::try_from(keep_free.saturating_sub(available)).unwrap_or(u64::MAX))
}

/// What pods that are not over need: full names and digests.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct InUse(pub BTreeSet<String>);

impl InUse {
    fn has(&self, image: &StoredImage) -> bool {
        self.0.contains(&image.id) || image.names.iter().any(|name| self.0.contains(name))
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Record {
    detected: Timestamp,
    used: Option<Timestamp>,
    size: u64,
    pinned: bool,
}

/// What is known of the images and their use, look after look.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GcRecords {
    images: BTreeMap<String, Record>,
}

impl GcRecords {
    /// Takes up what there is and what is used now. Images that are gone are forgotten.
    pub fn detect(&mut self, images: &[StoredImage], in_use: &InUse, now: Timestamp) {
        let there: BTreeSet<&str> = images.iter().map(|image| image.id.as_str()).collect();
        self.images.retain(|id, _| there.contains(id.as_str()));
        for image in images {
            // A time to come was told by a clock that has since been set back.
            let detected = image.created.min(now);
            let new = || Record { detected, used: None, size: 0, pinned: false };
            let record = self.images.entry(image.id.clone()).or_insert_with(new);
            if in_use.has(image) {
                record.used = Some(now);
            }
            (record.size, record.pinned) = (image.size, image.pinned);
        }
    }

    /// What may go, longest unused first, then oldest first: id and size. To be called at the time of the last `detect`.
    pub fn candidates(&self, now: Timestamp, minimum_age: Duration) -> Vec<(String, u64)> {
        let old_enough = |record: &Record| Duration::try_from(now.duration_since(record.detected)).is_ok_and(|age| age >= minimum_age);
        let free = |record: &Record| !record.pinned && record.used.is_none_or(|used| used < now) && old_enough(record);
        let mut found: Vec<(&String, &Record)> = self.images.iter().filter(|(_, record)| free(record)).collect();
        found.sort_by_key(|(_, record)| (record.used, record.detected));
        found.into_iter().map(|(id, record)| (id.clone(), record.size)).collect()
    }

    /// As many of the candidates, in order, as bring so many bytes.
    pub fn to_delete(&self, bytes: u64, now: Timestamp, minimum_age: Duration) -> Vec<String> {
        let mut freed = 0u64;
        let enough = |(_, size): &(String, u64)| {
            let before = freed;
            freed = freed.saturating_add(*size);
            before < bytes
        };
        self.candidates(now, minimum_age).into_iter().take_while(enough).map(|(id, _)| id).collect()
    }
}

#[cfg(test)]
#[path = "gc_tests.rs"]
mod tests;
