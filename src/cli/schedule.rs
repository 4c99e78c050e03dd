//! `minik8s schedule EXPR`: when a CronJob's schedule comes next, in words and as times. Needs no agent.

use jiff::Timestamp;
use jiff::tz::TimeZone;

use super::duration;
use super::error::CliError;
use super::output::put;
use super::tabwriter::{TABLE, align};
use crate::api::schedule::{Schedule, explain, zone};
use crate::clock::{Clock, SystemClock};

/// A longer expression has no meaning that a shorter one has not, and no pointer below it could be seen.
const LONGEST: usize = 500;

/// Explain a CronJob's schedule and show its next runs, without an agent.
#[derive(Clone, Debug, clap::Args)]
pub struct ScheduleArgs {
    /// The schedule, as spec.schedule has it: "*/15 9-17 * * mon-fri", "@daily", "@every 1h30m".
    #[arg(value_name = "EXPR", allow_hyphen_values = true)]
    expression: String,
    /// The time zone, as spec.timeZone; this host's if not given.
    #[arg(long, value_name = "ZONE")]
    time_zone: Option<String>,
    /// Runs after this instant (RFC 3339); now if not given.
    #[arg(long, value_name = "RFC3339")]
    from: Option<Timestamp>,
    /// How many runs.
    #[arg(long, default_value_t = 5, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1000))]
    count: u16,
    /// How to print them.
    #[arg(short, long, value_enum)]
    output: Option<Json>,
}

/// `-o json`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Json {
    /// JSON.
    Json,
}

/// Runs the command. Returns the exit code.
pub fn run(args: &ScheduleArgs) -> Result<u8, CliError> {
    put(print(args, args.from.unwrap_or_else(|| SystemClock.now()), &TimeZone::system())?)?;
    Ok(0)
}

/// What is printed at `from` on a host in the zone `local`. Errors: the expression or the zone cannot be used.
fn print(args: &ScheduleArgs, from: Timestamp, local: &TimeZone) -> Result<String, CliError> {
    let text = &args.expression;
    if text.len() > LONGEST {
        return Err(CliError::local(format!("invalid schedule: {} bytes are too long: write at most {LONGEST}", text.len())));
    }
    let schedule =
        Schedule::parse(text).map_err(|error| CliError::local(format!("invalid schedule: {error}\n{}", explain::pointer(text, &error))))?;
    let zone = match &args.time_zone {
        None => local.clone(),
        Some(name) => zone(name).map_err(|error| CliError::local(format!("invalid time zone {name:?}: {error}")))?,
    };
    let slots = std::iter::successors(schedule.next(from, &zone), |slot| schedule.next(*slot, &zone));
    let slots: Vec<Timestamp> = slots.take(usize::from(args.count)).collect();
    let times: Vec<String> = slots.iter().map(|slot| rfc3339(*slot, &zone)).collect();
    if args.output == Some(Json::Json) {
        return Ok(format!("{}\n", serde_json::to_string_pretty(&times).unwrap_or_default()));
    }
    let shown = args.time_zone.clone().or_else(|| zone.iana_name().map(str::to_owned)).unwrap_or_else(|| "local time".to_owned());
    let mut out = format!("{} ({shown}).\n\n", explain::explain(&schedule));
    if times.is_empty() {
        out.push_str("It never comes within 5 years.\n");
        return Ok(out);
    }
    let rows: Vec<String> =
        slots.iter().zip(&times).map(|(slot, time)| format!("{time}\t{}\n", duration::human(duration::between(from, *slot)))).collect();
    out.push_str(&align(&format!("NEXT RUN\tIN\n{}", rows.concat()), TABLE));
    Ok(out)
}

/// As Go's time.RFC3339: `Z` for UTC, else the offset.
pub(super) fn rfc3339(at: Timestamp, zone: &TimeZone) -> String {
    let local = at.to_zoned(zone.clone());
    let form = if local.offset().is_zero() { "%Y-%m-%dT%H:%M:%S%.fZ" } else { "%Y-%m-%dT%H:%M:%S%.f%:z" };
    local.strftime(form).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn args(expression: &str, output: Option<Json>) -> ScheduleArgs {
        let time_zone = Some("Europe/Berlin".to_owned());
        ScheduleArgs { expression: expression.to_owned(), time_zone, from: None, count: 2, output }
    }

    #[test]
    fn runs_in_words_as_a_table_and_as_json() {
        // The night of 2026-03-29 has no 02:30.
        let from: Timestamp = "2026-03-27T12:00:00Z".parse().unwrap();
        let table = print(&args("30 2 * * *", None), from, &TimeZone::UTC).unwrap();
        let expected = "At 02:30, every day (Europe/Berlin).\n\nNEXT RUN                    IN\n\
            2026-03-28T02:30:00+01:00   13h\n2026-03-30T02:30:00+02:00   2d12h\n";
        assert_eq!(table, expected);
        let json = print(&args("30 2 * * *", Some(Json::Json)), from, &TimeZone::UTC).unwrap();
        assert_eq!(json, "[\n  \"2026-03-28T02:30:00+01:00\",\n  \"2026-03-30T02:30:00+02:00\"\n]\n");
        assert_eq!(print(&args("0 0 31 2 *", Some(Json::Json)), from, &TimeZone::UTC).unwrap(), "[]\n");
    }

    #[test]
    fn a_wrong_field_is_pointed_at() {
        let error = print(&args("0 24 * * *", None), Timestamp::UNIX_EPOCH, &TimeZone::UTC).unwrap_err();
        assert_eq!(error.to_string(), "error: invalid schedule: end of range (24) above maximum (23): 24\n0 24 * * *\n  ^^ hour: 0-23");
        let long = print(&args(&"1".repeat(LONGEST + 1), None), Timestamp::UNIX_EPOCH, &TimeZone::UTC).unwrap_err();
        assert_eq!(long.to_string(), "error: invalid schedule: 501 bytes are too long: write at most 500");
    }
}
