//! Says when the host's clock is set: schedules, deadlines and certificates follow it, and a wrong date explains what looks like their fault.

use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp, Unit};

use crate::clock::Clock;

/// Smaller steps are what keeps a clock right.
const NOTEWORTHY: SignedDuration = SignedDuration::from_mins(1);
/// How long is slept between looks; a clock that is set ends the sleep.
const REST: SignedDuration = SignedDuration::from_hours(1);

/// Says each step of the clock, until dropped.
pub async fn tell(clock: Arc<dyn Clock>) {
    loop {
        let (before, begun) = (clock.now(), tokio::time::Instant::now());
        clock.sleep_until(before.saturating_add(REST).unwrap_or(Timestamp::MAX)).await;
        let now = clock.now();
        if let Some(step) = step(before, begun.elapsed(), now) {
            tracing::warn!(
                "the clock of this host was set {} by {:#}: it shows {now:.0} now; if that is wrong, set it (timedatectl set-ntp true)",
                if step.is_negative() { "back" } else { "forward" },
                SignedDuration::try_from(step.unsigned_abs()).unwrap_or(SignedDuration::MAX),
            );
        }
    }
}

/// How far the clock was set between two looks, where that is worth a word. (Or the host slept.) Pure.
fn step(before: Timestamp, passed: Duration, now: Timestamp) -> Option<SignedDuration> {
    let passed = SignedDuration::try_from(passed).unwrap_or(SignedDuration::MAX);
    let step = now.duration_since(before).saturating_sub(passed);
    let step = step.round(Unit::Second).unwrap_or(step);
    (step.unsigned_abs() >= NOTEWORTHY.unsigned_abs()).then_some(step)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_time_does_not_explain_is_a_step() {
        let step = |before: &str, passed: u64, now: &str| {
            super::step(before.parse().unwrap(), Duration::from_secs(passed), now.parse().unwrap()).map(|step| step.as_secs())
        };
        assert_eq!(step("2026-01-01T00:00:00Z", 3600, "2026-01-01T01:00:00Z"), None);
        assert_eq!(step("2026-01-01T00:00:00Z", 3600, "2026-01-01T01:00:59Z"), None, "a clock that is kept right");
        assert_eq!(step("2026-01-01T00:00:00Z", 1, "2036-01-01T00:00:01Z"), Some(3652 * 86_400));
        assert_eq!(step("2036-01-01T00:00:00Z", 1, "2026-01-01T00:00:01Z"), Some(-3652 * 86_400));
        assert!(step("2026-01-01T00:00:00Z", u64::MAX, "-009999-01-02T01:59:59Z").is_some(), "no overflow");
    }
}
