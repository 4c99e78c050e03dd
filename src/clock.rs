//! The only place that reads the time. Everything else is handed a `Timestamp`.

use std::os::fd::OwnedFd;

use async_trait::async_trait;
use jiff::Timestamp;
use nix::sys::time::TimeSpec;
use nix::sys::timerfd::{ClockId, Expiration, TimerFd, TimerFlags, TimerSetTimeFlags};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::time::Instant;

/// Where "now" comes from: the real clock, or a stand-in in the simulation.
#[async_trait]
pub trait Clock: Send + Sync + 'static {
    /// The wall clock.
    fn now(&self) -> Timestamp;
    /// For how long something takes: no step of the wall clock shows in it.
    fn monotonic(&self) -> Instant {
        Instant::now()
    }
    /// Returns once the wall clock shows `at` or later, or earlier when the clock was set: look at `now` again. Cancel-safe.
    async fn sleep_until(&self, at: Timestamp);
}

/// The host's clock.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

#[async_trait]
impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        Timestamp::now()
    }

    /// A timer on CLOCK_REALTIME: it also fires after a suspend and when the clock is stepped, which a monotonic sleep would miss.
    async fn sleep_until(&self, at: Timestamp) {
        match wall_timer(at) {
            // Readable means expired, or cancelled by a clock step: both are what the caller waits for.
            Ok(timer) => drop(timer.readable().await),
            // No timer to be had (out of descriptors): look again soon rather than never.
            Err(_) => tokio::time::sleep(std::time::Duration::from_secs(1)).await,
        }
    }
}

#[expect(deprecated, reason = "the other constructor is unsafe; an OwnedFd upholds what it asks for")]
fn wall_timer(at: Timestamp) -> std::io::Result<AsyncFd<OwnedFd>> {
    let timer = TimerFd::new(ClockId::CLOCK_REALTIME, TimerFlags::TFD_NONBLOCK | TimerFlags::TFD_CLOEXEC)?;
    // Zero would disarm the timer; anything in the past fires at once.
    let seconds = at.as_second().max(1);
    let nanos = i64::from(at.subsec_nanosecond()).max(0);
    let flags = TimerSetTimeFlags::TFD_TIMER_ABSTIME | TimerSetTimeFlags::TFD_TIMER_CANCEL_ON_SET;
    timer.set(Expiration::OneShot(TimeSpec::new(seconds, nanos)), flags)?;
    AsyncFd::with_interest(timer.into(), Interest::READABLE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn sleeps_until_the_wall_clock_says_so() {
        let clock = SystemClock;
        let at = clock.now() + jiff::SignedDuration::from_millis(30);
        clock.sleep_until(at).await;
        assert!(clock.now() >= at);
        clock.sleep_until(Timestamp::UNIX_EPOCH).await;
    }
}
