//! Ages as kubectl writes them (apimachinery `pkg/util/duration/duration.go`, HumanDuration).

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

/// A duration of whole seconds with two or three significant figures: `90s`, `9m59s`, `3h`, `2d5h`, `1y30d`.
pub fn human(seconds: i64) -> String {
    let (minutes, hours) = (seconds / 60, seconds / 3600);
    let two = |big: i64, big_unit: &str, small: i64, small_unit: &str| match small {
        0 => format!("{big}{big_unit}"),
        _ => format!("{big}{big_unit}{small}{small_unit}"),
    };
    match () {
        // Clocks may differ a little: one second ahead is now.
        () if seconds < -1 => "<invalid>".to_owned(),
        () if seconds < 0 => "0s".to_owned(),
        () if seconds < 120 => format!("{seconds}s"),
        () if minutes < 10 => two(minutes, "m", seconds % 60, "s"),
        () if minutes < 180 => format!("{minutes}m"),
        () if hours < 8 => two(hours, "h", minutes % 60, "m"),
        () if hours < 48 => format!("{hours}h"),
        () if hours < 24 * 8 => two(hours / 24, "d", hours % 24, "h"),
        () if hours < 24 * 365 * 2 => format!("{}d", hours / 24),
        () if hours < 24 * 365 * 8 => two(hours / 24 / 365, "y", (hours / 24) % 365, "d"),
        () => format!("{}y", hours / 24 / 365),
    }
}

/// How long ago this was, `<unknown>` where it is not known.
pub fn since(time: Option<&Time>, now: Timestamp) -> String {
    time.map_or_else(|| "<unknown>".to_owned(), |time| human(between(time.0, now)))
}

/// Whole seconds from one instant to another, cut towards zero as Go does.
pub fn between(from: Timestamp, to: Timestamp) -> i64 {
    to.duration_since(from).as_secs()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_branch_as_upstreams_table() {
        // duration_test.go's cases, and the edges between the branches.
        let (m, h, d, y) = (60, 3600, 86_400, 365 * 86_400);
        let cases = [
            (-2, "<invalid>"),
            (-1, "0s"),
            (0, "0s"),
            (1, "1s"),
            (70, "70s"),
            (119, "119s"),
            (120, "2m"),
            (190, "3m10s"),
            (10 * m - 1, "9m59s"),
            (10 * m, "10m"),
            (70 * m, "70m"),
            (3 * h - 1, "179m"),
            (3 * h, "3h"),
            (3 * h + 10 * m, "3h10m"),
            (8 * h - 1, "7h59m"),
            (8 * h, "8h"),
            (47 * h, "47h"),
            (48 * h, "2d"),
            (49 * h, "2d1h"),
            (8 * d - 1, "7d23h"),
            (8 * d, "8d"),
            (367 * d, "367d"),
            (2 * y - 1, "729d"),
            (2 * y, "2y"),
            (3 * y + 4 * d, "3y4d"),
            (8 * y - 1, "7y364d"),
            (8 * y, "8y"),
            (10 * y + 20 * d, "10y"),
        ];
        for (seconds, expected) in cases {
            assert_eq!(human(seconds), expected, "{seconds}");
        }
    }
}
