//! Prometheus' text format (version 0.0.4): families of samples in, text out. Pure.
//!
//! A registry crate keeps values between scrapes; here almost all are read off the Store at each scrape, so there is nothing to register.

use std::fmt::Write;

/// What a scrape answers with.
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// How a family's values behave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Behaviour {
    /// Only grows, and starts again at 0 with the process or the object.
    Counter,
    /// Goes up and down.
    Gauge,
    /// Cumulative buckets, a sum and a count.
    Histogram,
}

/// One value.
#[derive(Clone, Debug, PartialEq)]
pub struct Sample {
    /// What follows the family's name (`_bucket`), mostly "".
    pub suffix: &'static str,
    /// Names and values of labels.
    pub labels: Vec<(&'static str, String)>,
    /// The value.
    pub value: f64,
}

/// All values of one name.
#[derive(Clone, Debug, PartialEq)]
pub struct Family {
    /// The name, with its unit.
    pub name: &'static str,
    /// What it tells, in one line.
    pub help: &'static str,
    /// How its values behave.
    pub behaviour: Behaviour,
    /// The values.
    pub samples: Vec<Sample>,
}

impl Family {
    /// A gauge without values yet.
    pub fn gauge(name: &'static str, help: &'static str) -> Family {
        Family { name, help, behaviour: Behaviour::Gauge, samples: Vec::new() }
    }

    /// A counter without values yet.
    pub fn counter(name: &'static str, help: &'static str) -> Family {
        Family { behaviour: Behaviour::Counter, ..Family::gauge(name, help) }
    }

    /// Adds a value.
    pub fn add(&mut self, labels: Vec<(&'static str, String)>, value: f64) {
        self.samples.push(Sample { suffix: "", labels, value });
    }

    /// With one value without labels.
    pub fn with(mut self, value: f64) -> Family {
        self.add(Vec::new(), value);
        self
    }
}

/// The text of all families that have values.
pub fn text(families: &[Family]) -> String {
    let mut text = String::new();
    for family in families.iter().filter(|family| !family.samples.is_empty()) {
        let behaviour = match family.behaviour {
            Behaviour::Counter => "counter",
            Behaviour::Gauge => "gauge",
            Behaviour::Histogram => "histogram",
        };
        // Into memory: it cannot fail.
        let _ = writeln!(text, "# HELP {} {}\n# TYPE {} {behaviour}", family.name, family.help, family.name);
        for sample in &family.samples {
            let _ = writeln!(text, "{}{}{} {}", family.name, sample.suffix, labels(&sample.labels), sample.value);
        }
    }
    text
}

fn labels(pairs: &[(&str, String)]) -> String {
    if pairs.is_empty() {
        return String::new();
    }
    let escaped = |value: &str| value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
    let shown: Vec<String> = pairs.iter().map(|(name, value)| format!("{name}=\"{}\"", escaped(value))).collect();
    format!("{{{}}}", shown.join(","))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn families_as_prometheus_reads_them() {
        let mut phase = Family::gauge("a_phase", "The phase.");
        phase.add(vec![("pod", "we\"b\\\n".to_owned()), ("phase", "Running".to_owned())], 1.0);
        let expected = "\
# HELP a_phase The phase.
# TYPE a_phase gauge
a_phase{pod=\"we\\\"b\\\\\\n\",phase=\"Running\"} 1
# HELP b_seconds_total Time.
# TYPE b_seconds_total counter
b_seconds_total 1.5
";
        let families = [phase, Family::gauge("none", "None."), Family::counter("b_seconds_total", "Time.").with(1.5)];
        assert_eq!(text(&families), expected);
    }
}
