//! A doubling pause between tries of one kind: 1 s to 30 s.

use std::time::Duration;

use jiff::Timestamp;

/// See the module.
#[derive(Default)]
pub(super) struct Pause {
    tries: u32,
    pub(super) until: Option<Timestamp>,
}

impl Pause {
    pub(super) fn fail(&mut self, now: Timestamp) {
        let seconds = 1u64.checked_shl(self.tries.min(5)).unwrap_or(30).min(30);
        self.tries = self.tries.saturating_add(1);
        self.until = now.checked_add(Duration::from_secs(seconds)).ok();
    }

    pub(super) fn over(&self, now: Timestamp) -> bool {
        self.until.is_none_or(|until| until <= now)
    }

    pub(super) fn reset(&mut self) {
        *self = Pause::default();
    }
}
