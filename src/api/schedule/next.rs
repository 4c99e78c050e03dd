//! The next matching instant. Between two changes of its offset a zone's wall clock runs evenly, so the search goes stretch by stretch: plain
//! calendar arithmetic inside a stretch, nothing special about clock changes.

use jiff::civil::{Date, DateTime, Time};
use jiff::tz::{Offset, TimeZone};
use jiff::{SignedDuration, Timestamp};

use super::Fields;

/// robfig gives up after this many years.
const YEARS: i16 = 5;
/// Offset changes looked at within those years; real zones have two a year.
const MAX_STRETCHES: usize = 200;

/// The first match after `after`.
pub(super) fn next(fields: &Fields, after: Timestamp, zone: &TimeZone) -> Option<Timestamp> {
    let start = after.checked_add(SignedDuration::from_nanos(1)).ok()?;
    let last_year = zone.to_datetime(start).year().saturating_add(YEARS);
    let mut from = start;
    let mut offset = zone.to_offset(start);
    for transition in zone.following(after).take(MAX_STRETCHES) {
        if transition.timestamp() > from {
            if let Some(found) = within(fields, from, offset, last_year).filter(|at| *at < transition.timestamp()) {
                return Some(found);
            }
            from = transition.timestamp();
        }
        offset = transition.offset();
        if offset.to_datetime(from).year() > last_year {
            return None;
        }
    }
    within(fields, from, offset, last_year)
}

/// The first match at or after `from`, were the offset never to change.
fn within(fields: &Fields, from: Timestamp, offset: Offset, last_year: i16) -> Option<Timestamp> {
    let local = minute_at_or_after(offset.to_datetime(from))?;
    let (mut date, mut earliest) = (local.date(), local.time());
    while date.year() <= last_year {
        if fields.month & 1 << date.month() == 0 {
            date = date.last_of_month().tomorrow().ok()?;
            earliest = Time::MIN;
            continue;
        }
        if day_matches(fields, date)
            && let Some(time) = time_of_day(fields, earliest)
        {
            return offset.to_timestamp(date.to_datetime(time)).ok();
        }
        date = date.tomorrow().ok()?;
        earliest = Time::MIN;
    }
    None
}

fn minute_at_or_after(local: DateTime) -> Option<DateTime> {
    let floor = local.with().second(0).subsec_nanosecond(0).build().ok()?;
    if floor == local { Some(floor) } else { floor.checked_add(SignedDuration::from_mins(1)).ok() }
}

fn day_matches(fields: &Fields, date: Date) -> bool {
    let of_month = fields.day_of_month & 1 << date.day() != 0;
    let of_week = fields.day_of_week & 1 << date.weekday().to_sunday_zero_offset() != 0;
    if fields.any_day { of_month && of_week } else { of_month || of_week }
}

fn time_of_day(fields: &Fields, earliest: Time) -> Option<Time> {
    let same_hour = set_at_or_after(fields.minute, earliest.minute()).filter(|_| fields.hour & 1 << earliest.hour() != 0);
    let (hour, minute) = match same_hour {
        Some(minute) => (earliest.hour(), minute),
        None => (set_at_or_after(fields.hour, earliest.hour() + 1)?, set_at_or_after(fields.minute, 0)?),
    };
    Time::new(hour, minute, 0, 0).ok()
}

fn set_at_or_after(bits: u64, from: i8) -> Option<i8> {
    let rest = bits.checked_shr(u32::try_from(from).ok()?)?;
    (rest != 0).then(|| from + rest.trailing_zeros() as i8)
}
