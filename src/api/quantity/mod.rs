//! Quantities (`250m`, `1.5Gi`, `3e2`): exact decimal numbers with a suffix, and the resource lists made of them.
//!
//! Rules of `staging/src/k8s.io/apimachinery/pkg/api/resource/{quantity,suffix}.go`: never a float, at most nine decimal places (finer is rounded
//! away from zero, so that something stays something). Ours: magnitudes above 2^63−1 are capped there for every suffix; Kubernetes caps
//! binary ones when parsing and the others when reading them as an integer. Parsing never panics. Whether a quantity makes sense for a resource is
//! `validation`'s business.

mod aggregate;
mod resources;

use std::fmt;

pub use aggregate::{container_limits, container_requests, of_whole_pods};

pub use resources::{Amounts, ResourceList, amounts, limits_of, milli, pod_limits, pod_requests, requests_of, whole};

/// One unit in the scale quantities are kept in.
const NANOS: i128 = 1_000_000_000;
/// The largest magnitude, in nanos.
const CAP: i128 = i64::MAX as i128 * NANOS;
/// Decimal places kept while scaling; 10^35 × 1024 still fits. What lies beyond only decides that the result is rounded up.
const PLACES: i64 = 35;
const BINARY: [&str; 6] = ["Ki", "Mi", "Gi", "Ti", "Pi", "Ei"];
const DECIMAL: [(&str, i64); 10] =
    [("n", -9), ("u", -6), ("m", -3), ("", 0), ("k", 3), ("M", 6), ("G", 9), ("T", 12), ("P", 15), ("E", 18)];

/// Why a text is no quantity, in Kubernetes' words.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum QuantityError {
    /// Not of the form number + suffix.
    #[error("quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'")]
    Format,
    /// The suffix is unknown.
    #[error("unable to parse quantity's suffix")]
    Suffix,
    /// The number has no digits, or two points.
    #[error("unable to parse numeric part of quantity")]
    Numeric,
}

/// Which family of suffixes a quantity was written with; it is shown in the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Format {
    Binary,
    Decimal,
    Exponent,
}

/// An exact number. Equality and order compare the number only, not how it was written.
#[derive(Clone, Copy, Debug)]
pub struct Quantity {
    nanos: i128,
    format: Format,
}

/// Parses a quantity as Kubernetes does. Errors: see [`QuantityError`].
pub fn parse(q: &str) -> Result<Quantity, QuantityError> {
    if q.is_empty() {
        return Err(QuantityError::Format);
    }
    let (negative, unsigned) = match q.as_bytes()[0] {
        b'-' => (true, &q[1..]),
        b'+' => (false, &q[1..]),
        _ => (false, q),
    };
    let number_end = unsigned.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(unsigned.len());
    let (number, suffix) = unsigned.split_at(number_end);
    let (format, kilos, exponent) = interpret(suffix)?;
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if fraction.contains('.') || (whole.is_empty() && fraction.is_empty()) {
        return Err(if number.is_empty() && !suffix.starts_with(|c: char| c.is_ascii_alphabetic()) {
            QuantityError::Format
        } else {
            QuantityError::Numeric
        });
    }
    let magnitude = scale(whole, fraction, kilos, exponent);
    // Kubernetes: a binary suffix on less than one (0.5Ki is fine, 0.0001Ki is not) is shown decimally.
    let format = if format == Format::Binary && magnitude < NANOS { Format::Decimal } else { format };
    Ok(Quantity { nanos: if negative { -magnitude } else { magnitude }, format })
}

/// The suffix's family, power of 1024 and power of ten.
fn interpret(suffix: &str) -> Result<(Format, u32, i64), QuantityError> {
    let rest = suffix.trim_start_matches(|c: char| "eEinumkKMGTP".contains(c));
    let digits = rest.strip_prefix(['+', '-']).unwrap_or(rest);
    if !digits.bytes().all(|b| b.is_ascii_digit()) {
        return Err(QuantityError::Format);
    }
    if let Some(n) = BINARY.iter().position(|s| *s == suffix) {
        return Ok((Format::Binary, n as u32 + 1, 0));
    }
    if let Some((_, exponent)) = DECIMAL.iter().find(|(s, _)| *s == suffix) {
        return Ok((Format::Decimal, 0, *exponent));
    }
    let exponent = suffix.strip_prefix(['e', 'E']).and_then(|n| n.parse::<i64>().ok()).ok_or(QuantityError::Suffix)?;
    Ok((Format::Exponent, 0, exponent))
}

/// `whole.fraction × 1024^kilos × 10^exponent` in nanos, rounded up, capped.
fn scale(whole: &str, fraction: &str, kilos: u32, exponent: i64) -> i128 {
    let digits: Vec<u8> = whole.bytes().chain(fraction.bytes()).map(|b| b - b'0').skip_while(|d| *d == 0).collect();
    if digits.is_empty() {
        return 0;
    }
    // The number is 0.d1d2d3… × 10^point, and d1 is not zero.
    let point = (digits.len() as i64 - fraction.len() as i64).saturating_add(exponent);
    if point > 19 {
        return CAP;
    }
    let point = point.max(-PLACES);
    let digit = |place: i64| usize::try_from(place).ok().and_then(|i| digits.get(i)).map_or(0, |d| i128::from(*d));
    let mut units = (0..point).fold(0, |n, place| n * 10 + digit(place));
    let mut rest = (point..point + PLACES).fold(0, |n, place| n * 10 + digit(place));
    let inexact = digits.iter().skip(usize::try_from(point + PLACES).unwrap_or(0)).any(|d| *d != 0);
    let one = 10i128.pow(PLACES as u32);
    for _ in 0..kilos {
        rest *= 1024;
        units = (units * 1024 + rest / one).min(CAP / NANOS + 1);
        rest %= one;
    }
    let nano = one / NANOS;
    (units * NANOS + rest / nano + i128::from(rest % nano != 0 || inexact)).min(CAP)
}

impl Quantity {
    /// Nothing.
    pub const ZERO: Quantity = Quantity { nanos: 0, format: Format::Decimal };

    /// The number as an integer, rounded up (away from zero), saturating (`Quantity.Value`).
    pub fn value(self) -> i64 {
        self.scaled(NANOS)
    }

    /// The number in thousandths, rounded up (away from zero), saturating (`Quantity.MilliValue`).
    pub fn milli_value(self) -> i64 {
        self.scaled(NANOS / 1000)
    }

    /// Whether the number is a whole one.
    pub fn is_integer(self) -> bool {
        self.nanos % NANOS == 0
    }

    /// Whether the number is below zero.
    pub fn is_negative(self) -> bool {
        self.nanos < 0
    }

    /// Whether the number is zero.
    pub fn is_zero(self) -> bool {
        self.nanos == 0
    }

    /// The number with at most three decimal places, rounded up: what the API server keeps in resource lists.
    pub fn round_up_to_milli(self) -> Quantity {
        Quantity { nanos: div_up(self.nanos, NANOS / 1000) * (NANOS / 1000), ..self }
    }

    /// The sum, capped as all quantities are; shown as `self` was written, or as `other` where `self` is nothing (`Quantity.Add`).
    pub fn plus(self, other: Quantity) -> Quantity {
        let format = if self.is_zero() { other.format } else { self.format };
        Quantity { nanos: (self.nanos + other.nanos).clamp(-CAP, CAP), format }
    }

    fn scaled(self, unit: i128) -> i64 {
        let value = div_up(self.nanos, unit);
        i64::try_from(value).unwrap_or(if value < 0 { i64::MIN } else { i64::MAX })
    }
}

/// Division rounding away from zero.
fn div_up(n: i128, by: i128) -> i128 {
    n / by + if n % by == 0 { 0 } else { n.signum() }
}

impl PartialEq for Quantity {
    fn eq(&self, other: &Quantity) -> bool {
        self.nanos == other.nanos
    }
}

impl Eq for Quantity {}

impl PartialOrd for Quantity {
    fn partial_cmp(&self, other: &Quantity) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Quantity {
    fn cmp(&self, other: &Quantity) -> std::cmp::Ordering {
        self.nanos.cmp(&other.nanos)
    }
}

/// The canonical form: no fraction, the largest suffix that loses nothing (`Quantity.CanonicalizeBytes`).
impl fmt::Display for Quantity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.nanos == 0 {
            return f.write_str("0");
        }
        if self.format == Format::Binary && self.nanos.abs() >= 1024 * NANOS {
            let mut value = div_up(self.nanos, NANOS);
            let mut suffix = "";
            for next in BINARY {
                if value % 1024 != 0 {
                    break;
                }
                (value, suffix) = (value / 1024, next);
            }
            return write!(f, "{value}{suffix}");
        }
        let (mut mantissa, mut exponent) = (self.nanos, -9i64);
        while mantissa % 1000 == 0 && exponent < 18 {
            (mantissa, exponent) = (mantissa / 1000, exponent + 3);
        }
        match (self.format, exponent) {
            (_, 0) => write!(f, "{mantissa}"),
            (Format::Exponent, _) => write!(f, "{mantissa}e{exponent}"),
            _ => write!(f, "{mantissa}{}", DECIMAL.iter().find(|(_, e)| *e == exponent).map_or("", |(s, _)| s)),
        }
    }
}

#[cfg(test)]
mod tests;
