//! Kinds that mean nothing here are named once a file, however many documents have them.

use crate::api::fault::Severity;
use crate::api::yaml::Place;

/// What was passed over so far: the first place, the words and the number of documents.
#[derive(Default)]
pub(super) struct Ignored {
    seen: Vec<(Place, Severity, String, usize)>,
}

impl Ignored {
    pub fn add(&mut self, place: Place, severity: Severity, message: String) {
        match self.seen.iter_mut().find(|(_, _, m, _)| *m == message) {
            Some((.., count)) => *count += 1,
            None => self.seen.push((place, severity, message, 1)),
        }
    }

    pub fn into_faults(self) -> impl Iterator<Item = (Place, Severity, String)> {
        self.seen.into_iter().map(|(place, severity, message, count)| match count {
            1 => (place, severity, message),
            n => (place, severity, format!("{message} ({n} documents)")),
        })
    }
}
