//! Cron schedules as Kubernetes reads them: robfig/cron v3 `ParseStandard` (parser.go, spec.go, constantdelay.go), over jiff.
//!
//! Guarantees: the same expressions are accepted and refused, with robfig's words; a match is an instant whose wall clock in the zone reads a matching
//! minute, so times a clock change skips never fire and fixed times it repeats fire twice; no match within five years is never. Time and zone are
//! passed in; every search is bounded. Left to others: which slots are still owed (controllers::cronjob).

pub mod explain;
mod next;
mod parse;

use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};

/// A parsed schedule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Schedule {
    kind: Kind,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Kind {
    /// Five fields, as bit sets.
    Fields(Fields),
    /// `@every`: a whole number of seconds, at least one.
    Every(SignedDuration),
}

/// The five fields: bit n is set if n matches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Fields {
    minute: u64,
    hour: u64,
    day_of_month: u64,
    month: u64,
    day_of_week: u64,
    /// Whether day of month or day of week was written with a `*` (or `?`) and no step above 1: then both must match, else either.
    any_day: bool,
}

/// Why a schedule cannot be read: robfig's message, and which part of the expression it is about.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct ScheduleError {
    message: String,
    /// Bytes of the expression that are wrong; the whole of it where no part is to blame. Empty at its end: something is missing there.
    pub span: std::ops::Range<usize>,
}

/// Why a time zone cannot be used: Go's message (`unknown time zone X`).
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("unknown time zone {0}")]
pub struct UnknownZone(pub String);

/// The zone of `spec.timeZone`. `Local` is refused as Kubernetes does; names are looked up in jiff's database (the host's zoneinfo).
pub fn zone(name: &str) -> Result<TimeZone, UnknownZone> {
    if name.eq_ignore_ascii_case("Local") || name.is_empty() {
        return Err(UnknownZone(name.to_owned()));
    }
    TimeZone::get(name).map_err(|_| UnknownZone(name.to_owned()))
}

impl Schedule {
    /// Reads an expression: five fields, or a descriptor (`@daily`, `@every 1h30m`).
    pub fn parse(text: &str) -> Result<Schedule, ScheduleError> {
        parse::parse(text)
    }

    /// The first slot after `after`; `None` if there is none within five years.
    pub fn next(&self, after: Timestamp, zone: &TimeZone) -> Option<Timestamp> {
        match &self.kind {
            Kind::Fields(fields) => next::next(fields, after, zone),
            Kind::Every(delay) => whole_second(after)?.checked_add(*delay).ok(),
        }
    }

    /// The newest slot in (`anchor`, `now`]; for `@every`, slots count from `anchor`.
    pub fn latest(&self, anchor: Timestamp, now: Timestamp, zone: &TimeZone) -> Option<Timestamp> {
        let first = self.next(anchor, zone).filter(|slot| *slot <= now)?;
        if let Kind::Every(delay) = &self.kind {
            let steps = now.duration_since(first).as_secs() / delay.as_secs();
            return first.checked_add(SignedDuration::from_secs(steps.checked_mul(delay.as_secs())?)).ok();
        }
        // next(low) ≤ now < next(high) throughout, so next(low) ends as the newest slot.
        let (mut low, mut high) = (first.as_second() - 1, now.as_second());
        while high - low > 1 {
            let middle = low + (high - low) / 2;
            match self.next(Timestamp::from_second(middle).ok()?, zone) {
                Some(slot) if slot <= now => low = middle,
                _ => high = middle,
            }
        }
        self.next(Timestamp::from_second(low).ok()?, zone)
    }

    /// How many slots lie in (`anchor`, `now`], counted up to `most`.
    pub fn count(&self, anchor: Timestamp, now: Timestamp, zone: &TimeZone, most: usize) -> usize {
        let slots = std::iter::successors(self.next(anchor, zone), |slot| self.next(*slot, zone));
        slots.take(most).take_while(|slot| *slot <= now).count()
    }
}

/// A duration as Go's time.ParseDuration reads it (`1h30m`, `1500ms`). Errors: Go's message.
pub fn duration(text: &str) -> Result<SignedDuration, String> {
    let nanos = parse::go_duration(text)?;
    i64::try_from(nanos).map(SignedDuration::from_nanos).map_err(|_| format!("time: invalid duration {text:?}"))
}

fn whole_second(at: Timestamp) -> Option<Timestamp> {
    Timestamp::from_second(at.as_nanosecond().div_euclid(1_000_000_000).try_into().ok()?).ok()
}

#[cfg(test)]
mod tests;
