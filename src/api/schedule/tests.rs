//! robfig's syntax and quirks, time zones and DST.

use super::*;
use proptest::prelude::*;

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

fn utc() -> TimeZone {
    TimeZone::UTC
}

fn get(name: &str) -> TimeZone {
    zone(name).unwrap()
}

fn slots(expression: &str, from: &str, zone: &TimeZone, n: usize) -> Vec<String> {
    let schedule = Schedule::parse(expression).unwrap();
    let all = std::iter::successors(schedule.next(at(from), zone), |t| schedule.next(*t, zone));
    all.take(n).map(|t| t.to_string()).collect()
}

#[test]
fn fields_names_and_quirks() {
    let table = [
        ("*/15 * * * *", "2026-01-01T00:00:00Z", "2026-01-01T00:15:00Z"),
        ("0 0 * * *", "2026-01-01T00:00:00Z", "2026-01-02T00:00:00Z"),
        ("0 0 * * *", "2025-12-31T23:59:59.5Z", "2026-01-01T00:00:00Z"),
        ("5/20 * * * *", "2026-01-01T00:05:00Z", "2026-01-01T00:25:00Z"),
        ("5/20 * * * *", "2026-01-01T00:45:00Z", "2026-01-01T01:05:00Z"),
        ("0 9 * * MON-fri", "2026-01-02T09:00:00Z", "2026-01-05T09:00:00Z"),
        ("0 0 1 JAN,jul ?", "2026-01-01T00:00:00Z", "2026-07-01T00:00:00Z"),
        ("1,,3 * * * *", "2026-01-01T00:01:00Z", "2026-01-01T00:03:00Z"),
        ("+7 * * * *", "2026-01-01T00:00:00Z", "2026-01-01T00:07:00Z"),
        // Both days restricted: either matches (2026-01-13 is a Tuesday, the Friday before is the 9th).
        ("0 0 13 * 5", "2026-01-05T00:00:00Z", "2026-01-09T00:00:00Z"),
        // A star: both must match.
        ("0 0 * * 5", "2026-01-05T00:00:00Z", "2026-01-09T00:00:00Z"),
        ("0 0 13 * *", "2026-01-05T00:00:00Z", "2026-01-13T00:00:00Z"),
        ("0 0 */1 * 5", "2026-01-05T00:00:00Z", "2026-01-09T00:00:00Z"),
        // A step above 1 drops the star flag, so the OR applies: the 7th (odd day) comes before Friday.
        ("0 0 */2 * 5", "2026-01-06T00:00:00Z", "2026-01-07T00:00:00Z"),
        ("0 0 */2 * 5", "2026-01-15T00:00:00Z", "2026-01-16T00:00:00Z"),
        ("0 0 29 2 *", "2026-01-01T00:00:00Z", "2028-02-29T00:00:00Z"),
        ("@hourly", "2026-01-01T00:00:00Z", "2026-01-01T01:00:00Z"),
        ("@weekly", "2026-01-01T00:00:00Z", "2026-01-04T00:00:00Z"),
        ("@annually", "2026-01-01T00:00:00Z", "2027-01-01T00:00:00Z"),
        ("@midnight", "2026-01-01T00:00:00Z", "2026-01-02T00:00:00Z"),
        ("@monthly", "2026-01-01T00:00:00Z", "2026-02-01T00:00:00Z"),
        ("@every 1h30m", "2026-01-01T00:00:00.7Z", "2026-01-01T01:30:00Z"),
        ("@every 1.5s", "2026-01-01T00:00:00Z", "2026-01-01T00:00:01Z"),
        ("@every -5m", "2026-01-01T00:00:00Z", "2026-01-01T00:00:01Z"),
    ];
    for (expression, from, wanted) in table {
        assert_eq!(slots(expression, from, &utc(), 1), [wanted], "{expression} after {from}");
    }
}

#[test]
fn never_within_five_years() {
    assert_eq!(slots("0 0 31 2 *", "2026-01-01T00:00:00Z", &utc(), 1), [] as [&str; 0]);
    assert_eq!(slots(", * * * *", "2026-01-01T00:00:00Z", &utc(), 1), [] as [&str; 0]);
    // 2100 is no leap year: from 2097 the next 29 February is 2104.
    assert_eq!(slots("0 0 29 2 *", "2097-01-01T00:00:00Z", &utc(), 1), [] as [&str; 0]);
    assert_eq!(slots("0 0 29 2 *", "2099-01-01T00:00:00Z", &utc(), 1), ["2104-02-29T00:00:00Z"]);
}

#[test]
fn refusals_in_robfigs_words() {
    let table = [
        ("", "empty spec string"),
        ("* * * *", "expected exactly 5 fields, found 4: [* * * *]"),
        ("0 * * * * *", "expected exactly 5 fields, found 6: [0 * * * * *]"),
        ("* * * * 7", "end of range (7) above maximum (6): 7"),
        ("60 * * * *", "end of range (60) above maximum (59): 60"),
        ("* * 0 * *", "beginning of range (0) below minimum (1): 0"),
        ("5-1 * * * *", "beginning of range (5) beyond end of range (1): 5-1"),
        ("1-2-3 * * * *", "too many hyphens: 1-2-3"),
        ("1/2/3 * * * *", "too many slashes: 1/2/3"),
        ("*/0 * * * *", "step of range should be a positive number: */0"),
        ("-1 * * * *", "failed to parse int from : strconv.Atoi: parsing \"\": invalid syntax"),
        ("*/-1 * * * *", "negative number (-1) not allowed: -1"),
        ("x * * * *", "failed to parse int from x: strconv.Atoi: parsing \"x\": invalid syntax"),
        ("@dayly", "unrecognized descriptor: @dayly"),
        ("@Daily", "unrecognized descriptor: @Daily"),
        ("@every 5", "failed to parse duration @every 5: time: missing unit in duration \"5\""),
        ("@every 5d", "failed to parse duration @every 5d: time: unknown unit \"d\" in duration \"5d\""),
        ("@every x", "failed to parse duration @every x: time: invalid duration \"x\""),
        ("TZ=UTC * * * * *", "cannot use TZ or CRON_TZ in schedule, use timeZone field instead"),
        ("CRON_TZ=UTC * * * * *", "cannot use TZ or CRON_TZ in schedule, use timeZone field instead"),
    ];
    for (expression, wanted) in table {
        assert_eq!(Schedule::parse(expression).map_err(|e| e.to_string()), Err(wanted.to_owned()), "{expression}");
    }
    assert!(zone("Local").is_err() && zone("Mars/Olympus").is_err() && zone("Europe/Berlin").is_ok());
}

#[test]
fn a_time_the_clock_skips_does_not_fire() {
    // Berlin, 2026-03-29: 02:00 → 03:00.
    let berlin = get("Europe/Berlin");
    assert_eq!(slots("30 2 * * *", "2026-03-27T12:00:00Z", &berlin, 2), ["2026-03-28T01:30:00Z", "2026-03-30T00:30:00Z"]);
    assert_eq!(
        slots("0 * * * *", "2026-03-28T23:30:00Z", &berlin, 3),
        ["2026-03-29T00:00:00Z", "2026-03-29T01:00:00Z", "2026-03-29T02:00:00Z"]
    );
}

#[test]
fn a_fixed_time_in_the_repeated_hour_fires_twice() {
    // New York, 2026-11-01: 02:00 → 01:00.
    let york = get("America/New_York");
    let wanted = ["2026-11-01T05:30:00Z", "2026-11-01T06:30:00Z", "2026-11-02T06:30:00Z"];
    assert_eq!(slots("30 1 * * *", "2026-11-01T00:00:00Z", &york, 3), wanted);
    assert_eq!(slots("0 2 * * *", "2026-11-01T00:00:00Z", &york, 1), ["2026-11-01T07:00:00Z"]);
}

#[test]
fn zones_where_midnight_or_half_an_hour_is_skipped() {
    // São Paulo, 2018-11-04: 00:00 → 01:00; Lord Howe, 2026-10-04: 02:00 → 02:30.
    let paulo = get("America/Sao_Paulo");
    assert_eq!(slots("0 0 * * *", "2018-11-03T04:00:00Z", &paulo, 1), ["2018-11-05T02:00:00Z"]);
    assert_eq!(slots("0 1 4 11 *", "2018-11-03T04:00:00Z", &paulo, 1), ["2018-11-04T03:00:00Z"]);
    let howe = get("Australia/Lord_Howe");
    assert_eq!(slots("*/15 2 4 10 *", "2026-10-03T12:00:00Z", &howe, 2), ["2026-10-03T15:30:00Z", "2026-10-03T15:45:00Z"]);
    let kolkata = get("Asia/Kolkata");
    assert_eq!(slots("0 9 * * *", "2026-01-01T00:00:00Z", &kolkata, 1), ["2026-01-01T03:30:00Z"]);
}

#[test]
fn latest_and_count() {
    let schedule = Schedule::parse("0,1 0 1 1 *").unwrap();
    let (anchor, now) = (at("2026-06-01T00:00:00Z"), at("2029-06-01T00:00:00Z"));
    assert_eq!(schedule.latest(anchor, now, &utc()), Some(at("2029-01-01T00:01:00Z")));
    assert_eq!(schedule.count(anchor, now, &utc(), 101), 6);
    assert_eq!(Schedule::parse("* * * * *").unwrap().count(anchor, now, &utc(), 101), 101);
    assert_eq!(schedule.latest(now, anchor, &utc()), None);
    let every = Schedule::parse("@every 7s").unwrap();
    assert_eq!(every.latest(at("2026-01-01T00:00:00Z"), at("2026-01-01T00:01:00Z"), &utc()), Some(at("2026-01-01T00:00:56Z")));
}

/// The definition, minute by minute, for the property below.
fn brute_force(fields: &Fields, after: Timestamp, zone: &TimeZone, minutes: i64) -> Option<Timestamp> {
    let first = after.as_second().div_euclid(60) + 1;
    (first..first + minutes).map(|m| Timestamp::from_second(m * 60).unwrap()).find(|t| {
        let local = zone.to_datetime(*t);
        let bit = |bits: u64, n: i8| bits & 1 << n != 0;
        let (dom, dow) = (bit(fields.day_of_month, local.day()), bit(fields.day_of_week, local.weekday().to_sunday_zero_offset()));
        let day = if fields.any_day { dom && dow } else { dom || dow };
        bit(fields.minute, local.minute()) && bit(fields.hour, local.hour()) && bit(fields.month, local.month()) && day
    })
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn next_is_the_first_matching_minute(
        minute in "[0-5]?[0-9]|\\*|\\*/7", hour in "1?[0-9]|\\*|\\*/3", day in "[1-9]|1[0-9]|\\*|\\*/2", week in "[0-6]|\\*|1-5",
        // Around clock changes in spring and autumn 2026.
        start in prop_oneof![1_774_600_000i64..1_774_900_000, 1_792_900_000i64..1_793_600_000],
        name in prop_oneof!["Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "UTC"],
    ) {
        prop_assume!(zone(&name).is_ok());
        let Ok(schedule) = Schedule::parse(&format!("{minute} {hour} {day} * {week}")) else { return Ok(()) };
        let Kind::Fields(fields) = &schedule.kind else { unreachable!() };
        let (after, zone) = (Timestamp::from_second(start).unwrap(), zone(&name).unwrap());
        let found = schedule.next(after, &zone).unwrap();
        match brute_force(fields, after, &zone, 3000) {
            Some(wanted) => prop_assert_eq!(found, wanted),
            None => prop_assert!(found.duration_since(after) > SignedDuration::from_mins(2998)),
        }
    }

    #[test]
    fn parsing_never_panics_and_time_goes_on(text in "[*?/,@0-9a-zA-Z -]{0,30}", start in 0i64..4_000_000_000) {
        let Ok(schedule) = Schedule::parse(&text) else { return Ok(()) };
        let after = Timestamp::from_second(start).unwrap();
        if let Some(next) = schedule.next(after, &TimeZone::UTC) {
            prop_assert!(next > after);
            prop_assert_eq!(schedule.latest(after, next, &TimeZone::UTC), Some(next));
        }
    }
}
