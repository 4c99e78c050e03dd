//! How far a pull is, for whoever waits for it.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::runtime::PullProgress;

/// Counted by a pull, read by those that wait for it.
#[derive(Debug, Default)]
pub(super) struct Progress {
    done: AtomicU64,
    total: AtomicU64,
}

impl Progress {
    /// A manifest is known: so much belongs to the image. A later login's try begins anew.
    pub(super) fn begin(&self, total: u64) {
        self.done.store(0, Ordering::Relaxed);
        self.total.store(total, Ordering::Relaxed);
    }

    /// So many bytes more are in containerd's store.
    pub(super) fn add(&self, bytes: u64) {
        self.done.fetch_add(bytes, Ordering::Relaxed);
    }

    /// None: nothing is known of its size yet.
    pub(super) fn now(&self) -> Option<PullProgress> {
        let (done, total) = (self.done.load(Ordering::Relaxed), self.total.load(Ordering::Relaxed));
        // What is fetched again after a broken connection is counted twice.
        (total > 0).then(|| PullProgress { done: done.min(total), total })
    }
}
