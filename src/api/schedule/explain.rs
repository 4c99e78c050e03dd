//! A schedule in words, and which field of an expression a byte belongs to. For people; nothing is decided by it.

use std::fmt::Write;

use super::{Fields, Kind, Schedule, ScheduleError};

const MONTHS: [&str; 12] =
    ["January", "February", "March", "April", "May", "June", "July", "August", "September", "October", "November", "December"];
const DAYS: [&str; 7] = ["Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"];
/// So many times of day are listed one by one.
const MOST_TIMES: u32 = 6;
/// The five fields and what may stand in them.
const FIELDS: [(&str, &str); 5] = [
    ("minute", "0-59"),
    ("hour", "0-23"),
    ("day of month", "1-31"),
    ("month", "1-12 or jan-dec"),
    ("day of week", "0-6 or sun-sat; Sunday is 0"),
];

/// What the schedule means: `At 09:00, on Monday through Friday`.
pub fn explain(schedule: &Schedule) -> String {
    match &schedule.kind {
        Kind::Every(delay) => format!("Every {delay:#}, counted from the last run"),
        Kind::Fields(f) if [f.minute, f.hour, f.month].contains(&0) || f.day_of_month | f.day_of_week == 0 => {
            "Never: a field names no value".to_owned()
        }
        Kind::Fields(f) => format!("{}, {}{}", times(f), days(f), months(f)),
    }
}

/// The expression with a pointer below what is wrong, and what that field may hold: two lines.
pub fn pointer(text: &str, error: &ScheduleError) -> String {
    let (before, wrong) = (text.get(..error.span.start).unwrap_or_default(), text.get(error.span.clone()).unwrap_or_default());
    let shown: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    let marks = "^".repeat(wrong.chars().count().max(1));
    let mut out = format!("{shown}\n{}{marks}", " ".repeat(before.chars().count()));
    let started = before.split_whitespace().count() + usize::from(before.is_empty() || before.ends_with(char::is_whitespace));
    let in_part = !before.is_empty() && !before.ends_with(char::is_whitespace) && wrong.is_empty();
    let (name, values) = match FIELDS.get(started.saturating_sub(1) + usize::from(in_part)) {
        Some(field) if !text.starts_with('@') && !text.starts_with("TZ=") && !text.starts_with("CRON_TZ=") && !text.is_empty() => field,
        _ => return out,
    };
    // Writing to a String cannot fail.
    let _ = write!(out, " {}{name}: {values}", if wrong.is_empty() { "missing " } else { "" });
    out
}

fn members(bits: u64) -> Vec<u32> {
    (0..64).filter(|n| bits & 1 << n != 0).collect()
}

fn full(bits: u64, min: u32, max: u32) -> bool {
    (min..=max).all(|n| bits & 1 << n != 0)
}

fn times(f: &Fields) -> String {
    let (all_minutes, all_hours) = (full(f.minute, 0, 59), full(f.hour, 0, 23));
    if f.minute.count_ones() * f.hour.count_ones() <= MOST_TIMES {
        let minutes = members(f.minute);
        let all = members(f.hour).into_iter().flat_map(|h| minutes.iter().map(move |m| format!("{h:02}:{m:02}")));
        return format!("At {}", joined(&all.collect::<Vec<_>>(), "and"));
    }
    let hours = if all_hours { "of every hour".to_owned() } else { format!("of {}", named("hour", f.hour, |n| n.to_string())) };
    match f.minute {
        _ if all_minutes && all_hours => "Every minute".to_owned(),
        _ if all_minutes => format!("Every minute {hours}"),
        bits => match step(bits, 60) {
            Some(step) if all_hours => format!("Every {step} minutes"),
            Some(step) => format!("Every {step} minutes {hours}"),
            None => format!("At {} {hours}", named("minute", bits, |n| n.to_string())),
        },
    }
}

/// n, if the bits are 0, n, 2n, … and n divides the whole.
fn step(bits: u64, whole: u32) -> Option<u32> {
    let n = *members(bits).get(1)?;
    (whole.is_multiple_of(n) && members(bits) == (0..whole).step_by(n as usize).collect::<Vec<_>>()).then_some(n)
}

fn days(f: &Fields) -> String {
    let month = (!full(f.day_of_month, 1, 31)).then(|| format!("{} of the month", named("day", f.day_of_month, |n| n.to_string())));
    let week = (!full(f.day_of_week, 0, 6)).then(|| ranges(f.day_of_week, |n| DAYS[n as usize % 7].to_owned()));
    match (month, week) {
        (Some(month), Some(week)) if f.any_day => format!("on {month} if that is {week}"),
        (Some(month), Some(week)) => format!("on {month} or on {week}"),
        (Some(one), None) | (None, Some(one)) if f.any_day => format!("on {one}"),
        _ => "every day".to_owned(),
    }
}

fn months(f: &Fields) -> String {
    let name = |n: u32| MONTHS[(n as usize + 11) % 12].to_owned();
    if full(f.month, 1, 12) { String::new() } else { format!(", in {}", ranges(f.month, name)) }
}

fn named(word: &str, bits: u64, name: fn(u32) -> String) -> String {
    format!("{word}{} {}", if bits.count_ones() == 1 { "" } else { "s" }, ranges(bits, name))
}

/// `1, 3 through 5 and 9`.
fn ranges(bits: u64, name: impl Fn(u32) -> String) -> String {
    let mut runs: Vec<(u32, u32)> = Vec::new();
    for n in members(bits) {
        match runs.last_mut() {
            Some((_, last)) if *last + 1 == n => *last = n,
            _ => runs.push((n, n)),
        }
    }
    let shown = |(first, last): &(u32, u32)| match last - first {
        0 => vec![name(*first)],
        1 => vec![name(*first), name(*last)],
        _ => vec![format!("{} through {}", name(*first), name(*last))],
    };
    joined(&runs.iter().flat_map(shown).collect::<Vec<_>>(), "and")
}

fn joined(words: &[String], and: &str) -> String {
    match words {
        [] => "none".to_owned(),
        [one] => one.clone(),
        [first @ .., last] => format!("{} {and} {last}", first.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn in_words() {
        let table = [
            ("* * * * *", "Every minute, every day"),
            ("*/15 9-17 * * mon-fri", "Every 15 minutes of hours 9 through 17, on Monday through Friday"),
            ("0 9,17 * * *", "At 09:00 and 17:00, every day"),
            ("5 * * * *", "At minute 5 of every hour, every day"),
            ("0 0 13 * 5", "At 00:00, on day 13 of the month or on Friday"),
            ("0 0 1 jan,jul ?", "At 00:00, on day 1 of the month, in January and July"),
            ("@weekly", "At 00:00, on Sunday"),
            ("@every 1h30m", "Every 1h 30m, counted from the last run"),
            (", * * * *", "Never: a field names no value"),
        ];
        for (expression, words) in table {
            assert_eq!(explain(&Schedule::parse(expression).unwrap()), words, "{expression}");
        }
    }

    #[test]
    fn points_at_what_is_wrong() {
        let table = [
            ("60 * * * *", "60 * * * *\n^^ minute: 0-59"),
            ("0 1,25 * * *", "0 1,25 * * *\n    ^^ hour: 0-23"),
            ("0 0 *  *  7", "0 0 *  *  7\n          ^ day of week: 0-6 or sun-sat; Sunday is 0"),
            ("0 0 * *", "0 0 * *\n       ^ missing day of week: 0-6 or sun-sat; Sunday is 0"),
            ("0 0 0 * * *", "0 0 0 * * *\n          ^"),
            ("@every 5d", "@every 5d\n       ^^"),
            ("TZ=UTC * * * * *", "TZ=UTC * * * * *\n^^^^^^"),
            ("", "\n^"),
        ];
        for (expression, shown) in table {
            assert_eq!(pointer(expression, &Schedule::parse(expression).unwrap_err()), shown, "{expression}");
        }
    }
}
