//! Expression → bit sets, with robfig/cron v3's quirks: `?` is `*`, `N/s` is N-max/s, a step above 1 drops the star flag, empty list entries are passed over.

use jiff::SignedDuration;

use super::{Fields, Kind, Schedule, ScheduleError};

/// The range of a field and the names it knows, name n standing for `first name + n`.
struct Bounds {
    min: u32,
    max: u32,
    names: &'static [&'static str],
}

const MINUTE: Bounds = Bounds { min: 0, max: 59, names: &[] };
const HOUR: Bounds = Bounds { min: 0, max: 23, names: &[] };
const DAY_OF_MONTH: Bounds = Bounds { min: 1, max: 31, names: &[] };
const MONTH: Bounds =
    Bounds { min: 1, max: 12, names: &["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"] };
const DAY_OF_WEEK: Bounds = Bounds { min: 0, max: 6, names: &["sun", "mon", "tue", "wed", "thu", "fri", "sat"] };

/// A field's bits and whether a star was in it.
type Bits = (u64, bool);

/// What a field's part is refused with; where it stands is added by [`field`].
fn error<T>(message: String) -> Result<T, String> {
    Err(message)
}

/// Where `part`, a slice of `text`, stands in it.
fn place(text: &str, part: &str) -> std::ops::Range<usize> {
    let start = (part.as_ptr() as usize).saturating_sub(text.as_ptr() as usize).min(text.len());
    start..(start + part.len()).min(text.len())
}

pub(super) fn parse(text: &str) -> Result<Schedule, ScheduleError> {
    let whole = |message: String| ScheduleError { message, span: 0..text.len() };
    if text.is_empty() {
        return Err(whole("empty spec string".to_owned()));
    }
    if text.starts_with("TZ=") || text.starts_with("CRON_TZ=") {
        let span = 0..text.find(char::is_whitespace).unwrap_or(text.len());
        return Err(ScheduleError { message: "cannot use TZ or CRON_TZ in schedule, use timeZone field instead".to_owned(), span });
    }
    if text.starts_with('@') {
        return descriptor(text).map_err(|(message, from)| ScheduleError { message, span: from..text.len() });
    }
    let fields: Vec<&str> = text.split_whitespace().collect();
    let &[minute, hour, dom, month, dow] = fields.as_slice() else {
        let span = fields.get(5).map_or(text.len()..text.len(), |surplus| place(text, surplus).start..text.trim_end().len());
        return Err(ScheduleError { message: format!("expected exactly 5 fields, found {}: [{}]", fields.len(), fields.join(" ")), span });
    };
    let field = |part, bounds| field(part, bounds).map_err(|(message, part)| ScheduleError { message, span: place(text, part) });
    let ((minute, _), (hour, _)) = (field(minute, &MINUTE)?, field(hour, &HOUR)?);
    let ((day_of_month, dom_star), (month, _), (day_of_week, dow_star)) =
        (field(dom, &DAY_OF_MONTH)?, field(month, &MONTH)?, field(dow, &DAY_OF_WEEK)?);
    let fields = Fields { minute, hour, day_of_month, month, day_of_week, any_day: dom_star || dow_star };
    Ok(Schedule { kind: Kind::Fields(fields) })
}

fn descriptor(text: &str) -> Result<Schedule, (String, usize)> {
    let same_as = match text {
        "@yearly" | "@annually" => "0 0 1 1 *",
        "@monthly" => "0 0 1 * *",
        "@weekly" => "0 0 * * 0",
        "@daily" | "@midnight" => "0 0 * * *",
        "@hourly" => "0 * * * *",
        _ => return every(text),
    };
    parse(same_as).map_err(|error| (error.message, 0))
}

/// Errors: the message, and from which byte on the text is wrong.
fn every(text: &str) -> Result<Schedule, (String, usize)> {
    const EVERY: &str = "@every ";
    let Some(duration) = text.strip_prefix(EVERY) else { return Err((format!("unrecognized descriptor: {text}"), 0)) };
    let nanos = go_duration(duration).map_err(|e| (format!("failed to parse duration {text}: {e}"), EVERY.len()))?;
    let seconds = i64::try_from(nanos / 1_000_000_000).unwrap_or(i64::MAX).max(1);
    Ok(Schedule { kind: Kind::Every(SignedDuration::from_secs(seconds)) })
}

/// Go's time.ParseDuration, in nanoseconds: a sign, then numbers with units.
pub(super) fn go_duration(text: &str) -> Result<i128, String> {
    let invalid = || format!("time: invalid duration {text:?}");
    let (negative, mut rest) = match text.as_bytes().first() {
        Some(b'-') => (true, &text[1..]),
        Some(b'+') => (false, &text[1..]),
        _ => (false, text),
    };
    if rest == "0" {
        return Ok(0);
    }
    if rest.is_empty() {
        return Err(invalid());
    }
    let mut total: i128 = 0;
    while !rest.is_empty() {
        let number_end = rest.find(|c: char| !(c.is_ascii_digit() || c == '.')).unwrap_or(rest.len());
        let (number, tail) = rest.split_at(number_end);
        let unit_end = tail.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(tail.len());
        let (unit, tail) = tail.split_at(unit_end);
        let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
        if whole.len() + fraction.len() == 0 || fraction.contains('.') || whole.len() > 19 {
            return Err(invalid());
        }
        let scale: i128 = match unit {
            "ns" => 1,
            "us" | "µs" | "μs" => 1_000,
            "ms" => 1_000_000,
            "s" => 1_000_000_000,
            "m" => 60_000_000_000,
            "h" => 3_600_000_000_000,
            "" => return Err(format!("time: missing unit in duration {text:?}")),
            _ => return Err(format!("time: unknown unit {unit:?} in duration {text:?}")),
        };
        let fraction = &fraction[..fraction.len().min(15)];
        let part = |digits: &str| if digits.is_empty() { Ok(0) } else { digits.parse::<i128>().map_err(|_| invalid()) };
        let decimals = u32::try_from(fraction.len()).map_err(|_| invalid())?;
        total += part(whole)? * scale + part(fraction)? * scale / 10i128.pow(decimals);
        if total > i128::from(i64::MAX) {
            return Err(invalid());
        }
        rest = tail;
    }
    Ok(if negative { -total } else { total })
}

/// A comma-separated list of ranges. Errors: the message, and the part that it is about.
fn field<'t>(text: &'t str, bounds: &Bounds) -> Result<Bits, (String, &'t str)> {
    text.split(',').filter(|part| !part.is_empty()).try_fold((0, false), |(bits, star), part| {
        let (more, here) = range(part, bounds).map_err(|message| (message, part))?;
        Ok((bits | more, star || here))
    })
}

/// `number | number "-" number [ "/" number ]`, or a star with an optional step.
fn range(text: &str, bounds: &Bounds) -> Result<Bits, String> {
    let parts: Vec<&str> = text.split('/').collect();
    let ends: Vec<&str> = parts.first().copied().unwrap_or_default().split('-').collect();
    let first = ends.first().copied().unwrap_or_default();
    let star = matches!(first, "*" | "?");
    let (start, mut end) = match ends.as_slice() {
        _ if star => (bounds.min, bounds.max),
        [one] => (value(one, bounds)?, value(one, bounds)?),
        [from, to] => (value(from, bounds)?, value(to, bounds)?),
        _ => return error(format!("too many hyphens: {text}")),
    };
    let step = match parts.as_slice() {
        [_] => 1,
        [_, step] => number(step)?,
        _ => return error(format!("too many slashes: {text}")),
    };
    if parts.len() == 2 && ends.len() == 1 {
        end = bounds.max;
    }
    if start < bounds.min {
        return error(format!("beginning of range ({start}) below minimum ({}): {text}", bounds.min));
    }
    if end > bounds.max {
        return error(format!("end of range ({end}) above maximum ({}): {text}", bounds.max));
    }
    if start > end {
        return error(format!("beginning of range ({start}) beyond end of range ({end}): {text}"));
    }
    if step == 0 {
        return error(format!("step of range should be a positive number: {text}"));
    }
    let stride = usize::try_from(step).unwrap_or(usize::MAX);
    let bits = (start..=end).step_by(stride).fold(0, |bits, n| bits | 1u64 << n);
    Ok((bits, star && step == 1))
}

fn value(text: &str, bounds: &Bounds) -> Result<u32, String> {
    let named = bounds.names.iter().zip(bounds.min..).find(|(name, _)| name.eq_ignore_ascii_case(text));
    named.map_or_else(|| number(text), |(_, n)| Ok(n))
}

/// Go's strconv.Atoi and its refusals.
fn number(text: &str) -> Result<u32, String> {
    let digits = text.strip_prefix(['+', '-']).unwrap_or(text);
    if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return error(format!("failed to parse int from {text}: strconv.Atoi: parsing {text:?}: invalid syntax"));
    }
    let Ok(parsed) = text.parse::<i64>() else {
        return error(format!("failed to parse int from {text}: strconv.Atoi: parsing {text:?}: value out of range"));
    };
    if parsed < 0 {
        return error(format!("negative number ({parsed}) not allowed: {text}"));
    }
    Ok(u32::try_from(parsed).unwrap_or(u32::MAX))
}
