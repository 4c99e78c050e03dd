//! Leaves out of a failing scenario whatever it fails without.

use super::referee::Violation;
use super::scenario::{Event, Scenario};

/// The smallest scenario found that still violates the property.
pub fn shrink(whole: Scenario, property: &str, violation: impl Fn(&Scenario) -> Option<Violation>) -> Scenario {
    let fails = |s: &Scenario| violation(s).is_some_and(|v| v.property == property);
    let mut small = whole;
    loop {
        let found = smaller(&small).into_iter().find(fails);
        match found {
            Some(next) => small = next,
            None => return small,
        }
    }
}

/// Everything that is one step smaller.
fn smaller(from: &Scenario) -> Vec<Scenario> {
    let mut all = Vec::new();
    for at in (0..from.events.len()).rev() {
        let mut next = from.clone();
        next.events.remove(at);
        all.push(next);
    }
    // The last file first: others keep their numbers.
    for file in (0..from.files.len()).rev().filter(|_| from.files.len() > 1) {
        let touches = |event: &Event| matches!(event, Event::Edit { file: f, .. } | Event::Toggle { file: f } | Event::Break { file: f } if *f >= file);
        if from.events.iter().any(|(_, event)| touches(event)) {
            continue;
        }
        let mut next = from.clone();
        next.files.remove(file);
        all.push(next);
    }
    for (slow, faults) in [(0, from.faults), (from.slow_calls, 0)] {
        if (slow, faults) != (from.slow_calls, from.faults) {
            all.push(Scenario { slow_calls: slow, faults, ..from.clone() });
        }
    }
    all
}
