//! The only place that reads the time. Everything else is handed a `Timestamp`.

use jiff::Timestamp;

/// Where "now" comes from: the real clock, or a stand-in in the simulation.
pub trait Clock: Send + Sync + 'static {
    /// The wall clock.
    fn now(&self) -> Timestamp;
}

/// The host's clock.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        Timestamp::now()
    }
}
