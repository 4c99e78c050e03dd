//! The figures with what they are compared with, the targets and the verdicts; and the statistics behind them.

use std::fmt;
use std::time::Duration;

/// What is printed at the end.
#[derive(Default)]
pub struct Table {
    rows: Vec<Row>,
}

struct Row {
    what: String,
    figure: String,
    beside: String,
    target: &'static str,
    met: Option<bool>,
}

impl Table {
    /// A figure with its target.
    pub fn judged(&mut self, what: impl Into<String>, figure: String, beside: String, target: &'static str, met: bool) {
        self.add(Row { what: what.into(), figure, beside, target, met: Some(met) });
    }

    /// A figure without one.
    pub fn told(&mut self, what: impl Into<String>, figure: String, beside: String) {
        self.add(Row { what: what.into(), figure, beside, target: "", met: None });
    }

    fn add(&mut self, row: Row) {
        println!("  {}: {} ({}) {}", row.what, row.figure, row.beside, row.verdict());
        self.rows.push(row);
    }
}

impl Row {
    fn verdict(&self) -> &'static str {
        match self.met {
            Some(true) => "met",
            Some(false) => "MISSED",
            None => "",
        }
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let head = ["what", "measured", "beside it", "target", ""].map(str::to_owned);
        let rows = self
            .rows
            .iter()
            .map(|row| [row.what.clone(), row.figure.clone(), row.beside.clone(), row.target.to_owned(), row.verdict().to_owned()]);
        let all: Vec<[String; 5]> = std::iter::once(head).chain(rows).collect();
        let width = |column: usize| all.iter().map(|cells| cells[column].chars().count()).max().unwrap_or_default();
        let widths = std::array::from_fn::<usize, 5, _>(width);
        for (index, cells) in all.iter().enumerate() {
            for (cell, width) in cells.iter().zip(widths) {
                write!(f, "| {cell:width$} ")?;
            }
            writeln!(f, "|")?;
            if index == 0 {
                widths.iter().try_for_each(|width| write!(f, "|{}", "-".repeat(width + 2)))?;
                writeln!(f, "|")?;
            }
        }
        Ok(())
    }
}

/// Durations of repeated runs of one thing.
#[derive(Default)]
pub struct Samples(Vec<Duration>);

impl Samples {
    pub fn push(&mut self, sample: Duration) {
        self.0.push(sample);
    }

    /// The value that this share (0–1) of the samples does not exceed.
    pub fn quantile(&self, share: f64) -> Duration {
        let mut sorted = self.0.clone();
        sorted.sort();
        let last = sorted.len().saturating_sub(1);
        sorted.get((last as f64 * share).round() as usize).copied().unwrap_or_default()
    }

    pub fn p50(&self) -> Duration {
        self.quantile(0.5)
    }
}

impl fmt::Display for Samples {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "p50 {} p95 {}", millis(self.p50()), millis(self.quantile(0.95)))
    }
}

pub fn millis(duration: Duration) -> String {
    format!("{:.0} ms", duration.as_secs_f64() * 1e3)
}

pub fn ratio(measured: Duration, floor: Duration) -> f64 {
    measured.as_secs_f64() / floor.as_secs_f64().max(1e-9)
}

pub fn mebibytes(bytes: u64) -> String {
    format!("{:.1} MiB", bytes as f64 / 1_048_576.0)
}
