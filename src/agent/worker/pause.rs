//! How long a worker holds off after something outside has failed. Pure.

use std::time::Duration;

use jiff::Timestamp;

/// A doubling pause between tries of one kind: 1 s to 30 s.
#[derive(Default)]
pub(super) struct Pause {
    /// How often it failed since the last reset.
    tries: u32,
    since: Option<Timestamp>,
    pub(super) until: Option<Timestamp>,
}

impl Pause {
    pub(super) fn fail(&mut self, now: Timestamp) {
        let seconds = 1u64.checked_shl(self.tries.min(5)).unwrap_or(30).min(30);
        self.tries = self.tries.saturating_add(1);
        self.since = Some(now);
        self.until = now.checked_add(Duration::from_secs(seconds)).ok();
    }

    pub(super) fn over(&self, now: Timestamp) -> bool {
        // Begun in the future: the clock was set back.
        self.until.is_none_or(|until| until <= now) || self.since.is_some_and(|since| since > now)
    }

    pub(super) fn reset(&mut self) {
        *self = Pause::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    #[test]
    fn it_doubles_and_a_clock_that_is_set_back_ends_it() {
        let mut pause = Pause::default();
        pause.fail(at(100));
        pause.fail(at(101));
        assert!(!pause.over(at(102)) && pause.over(at(103)) && pause.tries == 2);
        assert!(pause.over(at(99)), "or it would last until the clock is there again");
        pause.reset();
        assert!(pause.over(at(101)));
    }
}
