//! How many events of failing probes one Pod may record: a burst, then a trickle (client-go tools/record/events_cache.go, EventSourceObjectSpamFilter).

use std::time::Duration;

use jiff::Timestamp;

/// Events at once.
const BURST: u32 = 25;
/// Then one in this time.
const REFILL: Duration = Duration::from_secs(300);

/// The bucket of one Pod.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SpamFilter {
    spent: u32,
    since: Option<Timestamp>,
}

impl SpamFilter {
    /// Whether one more may be recorded now.
    pub fn admits(&mut self, now: Timestamp) -> bool {
        let since = *self.since.get_or_insert(now);
        let passed = u64::try_from(now.duration_since(since).as_secs()).unwrap_or(0);
        let refilled = passed / REFILL.as_secs();
        if refilled > 0 {
            self.spent = self.spent.saturating_sub(u32::try_from(refilled).unwrap_or(u32::MAX));
            self.since = Some(now);
        }
        let admitted = self.spent < BURST;
        self.spent += u32::from(admitted);
        admitted
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_then_one_in_five_minutes() {
        let at = |s| Timestamp::from_second(s).unwrap();
        let mut filter = SpamFilter::default();
        let admitted = (0..1300).filter(|s| filter.admits(at(*s))).count();
        assert_eq!(admitted, 25 + 4);
        assert!(!filter.admits(at(1300)));
    }
}
