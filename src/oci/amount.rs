//! Quantities as far as cgroups and the downward API need them: "100m", "200Mi", "1.5", "2e3" → whole units or thousandths, rounded up.
//!
//! A stand-in for `api::quantity`, to be replaced by it: only [`milli`] and [`whole`] are used outside. Nothing here overflows: what does
//! not fit is `None`.

use k8s_openapi::apimachinery::pkg::api::resource::Quantity;

/// The quantity in thousandths, rounded up (Go's `MilliValue`). `None`: no quantity, or too large.
pub(super) fn milli(quantity: &Quantity) -> Option<i64> {
    scaled(&quantity.0, 1000)
}

/// The quantity in whole units, rounded up (Go's `Value`). `None`: no quantity, or too large.
pub(super) fn whole(quantity: &Quantity) -> Option<i64> {
    scaled(&quantity.0, 1)
}

fn scaled(text: &str, scale: i128) -> Option<i64> {
    let text = text.trim();
    let end = text.find(|c: char| !c.is_ascii_digit() && !matches!(c, '.' | '+' | '-')).unwrap_or(text.len());
    let (number, suffix) = text.split_at(end);
    let (sign, number) = match number.strip_prefix('-') {
        Some(rest) => (-1, rest),
        None => (1, number.strip_prefix('+').unwrap_or(number)),
    };
    let (int, frac) = number.split_once('.').unwrap_or((number, ""));
    if int.len() + frac.len() == 0 || !int.bytes().chain(frac.bytes()).all(|b| b.is_ascii_digit()) {
        return None;
    }
    let digits: i128 = format!("0{int}{frac}").parse().ok()?;
    let (multiplier, tens) = multiplier(suffix)?;
    let tens = tens - i32::try_from(frac.len()).ok()?;
    let mut value = digits.checked_mul(multiplier)?.checked_mul(scale)?;
    if tens >= 0 {
        value = value.checked_mul(10i128.checked_pow(tens.unsigned_abs())?)?;
        return i64::try_from(sign * value).ok();
    }
    let divisor = 10i128.checked_pow(tens.unsigned_abs())?;
    let rounded = if sign > 0 { (value + divisor - 1) / divisor } else { -(value / divisor) };
    i64::try_from(rounded).ok()
}

/// A suffix as (binary multiplier, power of ten).
fn multiplier(suffix: &str) -> Option<(i128, i32)> {
    Some(match suffix {
        "" => (1, 0),
        "n" => (1, -9),
        "u" => (1, -6),
        "m" => (1, -3),
        "k" => (1, 3),
        "M" => (1, 6),
        "G" => (1, 9),
        "T" => (1, 12),
        "P" => (1, 15),
        "E" => (1, 18),
        "Ki" => (1 << 10, 0),
        "Mi" => (1 << 20, 0),
        "Gi" => (1 << 30, 0),
        "Ti" => (1 << 40, 0),
        "Pi" => (1 << 50, 0),
        "Ei" => (1 << 60, 0),
        _ => (1, suffix.strip_prefix(['e', 'E'])?.parse().ok().filter(|e| (-18..=18).contains(e))?),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantities_round_up() {
        let cases: &[(&str, Option<i64>, Option<i64>)] = &[
            ("100m", Some(100), Some(1)),
            ("0.15", Some(150), Some(1)),
            ("2", Some(2000), Some(2)),
            ("200Mi", Some(200 << 20).map(|v: i64| v * 1000), Some(200 << 20)),
            ("1.5Gi", Some((3 << 29) * 1000), Some(3 << 29)),
            ("1e3", Some(1_000_000), Some(1000)),
            ("5E-1", Some(500), Some(1)),
            ("128k", Some(128_000_000), Some(128_000)),
            ("1n", Some(1), Some(1)),
            (".5", Some(500), Some(1)),
            ("-1500m", Some(-1500), Some(-1)),
            ("", None, None),
            ("Mi", None, None),
            ("1.2.3", None, None),
            ("1-2", None, None),
            ("1e999999999", None, None),
            ("9999999999999999999999999999999999999999999", None, None),
        ];
        for (text, thousandths, units) in cases {
            let q = Quantity((*text).to_owned());
            assert_eq!((milli(&q), whole(&q)), (*thousandths, *units), "{text}");
        }
    }
}
