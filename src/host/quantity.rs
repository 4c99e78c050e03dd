//! A stand-in for `api::quantity` until that is merged: a quantity in thousandths, rounded up. Private to this room.

use k8s_openapi::apimachinery::pkg::api::resource::Quantity;

/// The quantity in thousandths of its unit (millicores for cpu), rounded up; 0 for what is no quantity (validation refused it).
pub(super) fn millis(quantity: &Quantity) -> u64 {
    parse_millis(&quantity.0).unwrap_or(0)
}

/// The quantity in whole units (bytes), rounded up.
pub(super) fn value(quantity: &Quantity) -> u64 {
    parse(&quantity.0, 1).unwrap_or(0)
}

fn parse_millis(text: &str) -> Option<u64> {
    parse(text, 1000)
}

fn parse(text: &str, scale: u64) -> Option<u64> {
    let split = text.find(|c: char| !c.is_ascii_digit() && c != '.' && c != '+').unwrap_or(text.len());
    let (number, suffix) = text.split_at(split);
    let factor = factor(suffix)?;
    let number: f64 = number.parse().ok()?;
    let scaled = number * factor * scale as f64;
    // f64 is exact to 2^53: 9 PB in bytes; the error of a decimal fraction is taken back before rounding up.
    let rounded = (scaled - scaled * 1e-12).ceil();
    (rounded >= 0.0 && rounded <= i64::MAX as f64).then_some(rounded as u64)
}

fn factor(suffix: &str) -> Option<f64> {
    let power = |letters: &str, base: f64, of: char| letters.find(of).map(|i| base.powi(i32::try_from(i).unwrap_or(0) + 1));
    match suffix {
        "" => Some(1.0),
        "n" => Some(1e-9),
        "u" => Some(1e-6),
        "m" => Some(1e-3),
        _ => match (suffix.strip_suffix('i'), suffix.strip_prefix(['e', 'E'])) {
            (Some(binary), _) if binary.len() == 1 => power("KMGTPE", 1024.0, binary.chars().next()?),
            (_, Some(exponent)) if !exponent.is_empty() => Some(10_f64.powi(exponent.parse().ok()?)),
            _ if suffix.len() == 1 => power("kMGTPE", 1000.0, suffix.chars().next()?),
            _ => None,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantities_are_read_and_rounded_up() {
        let cases = [("100m", 100), ("0.1", 100), ("2", 2000), ("1500u", 2), ("1e1", 10_000), ("0.15", 150), ("1.5", 1500)];
        for (text, millis) in cases {
            assert_eq!(parse(text, 1000), Some(millis), "{text}");
        }
        for (text, bytes) in [("64Mi", 64 << 20), ("1G", 1_000_000_000), ("1.5Gi", 3 << 29), ("128974848", 128_974_848), ("1k", 1000)] {
            assert_eq!(parse(text, 1), Some(bytes), "{text}");
        }
        for bad in ["", "x", "1Q", "-1", "1ii", "m"] {
            assert_eq!(parse(bad, 1), None, "{bad}");
        }
    }
}
