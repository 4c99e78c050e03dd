//! Hard eviction thresholds as the kubelet's `--eviction-hard` has them: `memory.available<100Mi,nodefs.available<10%`.

use super::Signal;
use crate::api::quantity;

/// So little left that pods have to go.
#[derive(Clone, Debug, PartialEq)]
pub struct Threshold {
    /// Of what.
    pub signal: Signal,
    /// Less than this.
    pub value: Value,
}

/// An amount, or a part of all there is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Value {
    /// Bytes or pieces.
    Amount(u64),
    /// Percent of the capacity.
    Percent(f64),
}

impl Value {
    /// The amount where there is `capacity` of it.
    #[allow(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "as upstream: a float's part of it"
    )]
    pub fn of(self, capacity: u64) -> u64 {
        match self {
            Value::Amount(amount) => amount,
            Value::Percent(percent) => (capacity as f64 * percent / 100.0) as u64,
        }
    }
}

/// The kubelet's own (pkg/kubelet/eviction/defaults_linux.go).
pub fn defaults() -> Vec<Threshold> {
    let percent = |signal, percent| Threshold { signal, value: Value::Percent(percent) };
    vec![
        Threshold { signal: Signal::MemoryAvailable, value: Value::Amount(100 << 20) },
        percent(Signal::NodefsAvailable, 10.0),
        percent(Signal::NodefsInodesFree, 5.0),
        percent(Signal::ImagefsAvailable, 15.0),
        percent(Signal::ImagefsInodesFree, 5.0),
    ]
}

/// Reads a list; what it does not name has no threshold, as with the kubelet. "" is none at all. Errors: what cannot be read, and what would do.
pub fn parse(text: &str) -> Result<Vec<Threshold>, String> {
    let mut all: Vec<Threshold> = Vec::new();
    for part in text.split(',').filter(|part| !part.is_empty()) {
        let threshold = one(part)?;
        if all.iter().any(|t| t.signal == threshold.signal) {
            return Err(format!("{} is given twice; give it once", threshold.signal.name()));
        }
        all.push(threshold);
    }
    Ok(all)
}

fn one(part: &str) -> Result<Threshold, String> {
    let (name, value) = part.split_once('<').ok_or_else(|| format!("{part:?}: write it as memory.available<100Mi"))?;
    let signal = Signal::ALL.into_iter().find(|s| s.name() == name);
    let names = || Signal::ALL.map(Signal::name).join(", ");
    let signal = signal.ok_or_else(|| format!("{name:?} cannot be measured; there are {}", names()))?;
    let value = match value.strip_suffix('%') {
        Some(percent) => percent.parse().ok().filter(|p| (0.0..=100.0).contains(p)).map(Value::Percent),
        None => quantity::parse(value).ok().and_then(|q| u64::try_from(q.value()).ok()).map(Value::Amount),
    };
    value.map(|value| Threshold { signal, value }).ok_or_else(|| format!("{part:?}: neither a quantity nor a percentage of 0 to 100"))
}
