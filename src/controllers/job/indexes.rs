//! Sets of completion indexes as Kubernetes writes them: `0,2-5,7` (pkg/controller/job/indexed_job_utils.go).
//!
//! Guarantees: kept as merged intervals, so that a Job of a million indexes costs what its gaps cost.

use std::collections::BTreeSet;

/// Ordered, merged, inclusive intervals.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Intervals(Vec<(i32, i32)>);

impl Intervals {
    /// Reads `0,2-5,7`; what is not of that form is passed over.
    pub(super) fn parse(text: &str) -> Intervals {
        let read = text.split(',').filter_map(|part| {
            let (first, last) = part.split_once('-').unwrap_or((part, part));
            let (first, last) = (first.parse().ok()?, last.parse().ok()?);
            (0 <= first && first <= last).then_some((first, last))
        });
        Intervals::merged(read.collect())
    }

    fn merged(mut all: Vec<(i32, i32)>) -> Intervals {
        all.sort_unstable();
        let mut merged: Vec<(i32, i32)> = Vec::with_capacity(all.len());
        for (first, last) in all {
            match merged.last_mut() {
                Some(earlier) if first <= earlier.1.saturating_add(1) => earlier.1 = earlier.1.max(last),
                _ => merged.push((first, last)),
            }
        }
        Intervals(merged)
    }

    /// What is in one or the other.
    pub(super) fn union(&self, other: &Intervals) -> Intervals {
        Intervals::merged(self.0.iter().chain(&other.0).copied().collect())
    }

    /// Whether the index is in it.
    pub(super) fn has(&self, index: i32) -> bool {
        let at = self.0.partition_point(|(_, last)| *last < index);
        self.0.get(at).is_some_and(|(first, _)| *first <= index)
    }

    /// How many indexes are in both.
    pub(super) fn overlap(&self, other: &Intervals) -> i32 {
        let (mut mine, mut theirs) = (self.0.iter().peekable(), other.0.iter().peekable());
        let mut both = 0i32;
        while let (Some((a, b)), Some((c, d))) = (mine.peek(), theirs.peek()) {
            both = both.saturating_add((b.min(d) - a.max(c)).saturating_add(1).max(0));
            if b <= d {
                mine.next()
            } else {
                theirs.next()
            };
        }
        both
    }

    /// Adds an index.
    pub(super) fn insert(&mut self, index: i32) {
        let at = self.0.partition_point(|(_, last)| last.saturating_add(1) < index);
        match self.0.get_mut(at) {
            Some((first, last)) if *first <= index && index <= *last => {}
            Some((first, _)) if first.saturating_sub(1) == index => *first = index,
            Some((_, last)) if last.saturating_add(1) == index => {
                *last = index;
                self.join(at);
            }
            _ => self.0.insert(at, (index, index)),
        }
    }

    /// Joins interval `at` with the next if they touch now.
    fn join(&mut self, at: usize) {
        if let (Some(&(_, last)), Some(&(next, end))) = (self.0.get(at), self.0.get(at + 1))
            && last.saturating_add(1) >= next
        {
            self.0[at].1 = end;
            self.0.remove(at + 1);
        }
    }

    /// How many indexes are in it.
    pub(super) fn total(&self) -> i32 {
        self.0.iter().fold(0i32, |sum, (first, last)| sum.saturating_add(last - first + 1))
    }

    /// The lowest `most` indexes below `end` that are neither in it nor in `busy`.
    pub(super) fn lowest_missing(&self, busy: &BTreeSet<i32>, end: i32, most: usize) -> Vec<i32> {
        let mut found = Vec::new();
        let (mut index, mut done) = (0, self.0.iter().peekable());
        while index < end && found.len() < most {
            if let Some((_, last)) = done.next_if(|(first, _)| *first <= index) {
                index = index.max(last.saturating_add(1));
                continue;
            }
            if !busy.contains(&index) {
                found.push(index);
            }
            index += 1;
        }
        found
    }
}

impl std::fmt::Display for Intervals {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for (n, (first, last)) in self.0.iter().enumerate() {
            if n > 0 {
                f.write_str(",")?;
            }
            match last - first {
                0 => write!(f, "{first}")?,
                1 => write!(f, "{first},{last}")?,
                _ => write!(f, "{first}-{last}")?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn written_as_kubernetes_does() {
        for text in ["", "0", "0,1", "0-2", "0,2-5,7", "1,3,4,6-9"] {
            assert_eq!(Intervals::parse(text).to_string(), text);
        }
        assert_eq!(Intervals::parse("5-3,x,-1,2,1").to_string(), "1,2");
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]
        #[test]
        fn behaves_as_a_set(added in prop::collection::vec(0i32..40, 0..60), busy in prop::collection::btree_set(0i32..40, 0..10)) {
            let set: BTreeSet<i32> = added.iter().copied().collect();
            let mut intervals = Intervals::default();
            added.iter().for_each(|n| intervals.insert(*n));
            prop_assert_eq!(intervals.total() as usize, set.len());
            prop_assert_eq!(Intervals::parse(&intervals.to_string()), intervals.clone());
            let missing: Vec<i32> = (0..40).filter(|n| !set.contains(n) && !busy.contains(n)).take(5).collect();
            prop_assert_eq!(intervals.lowest_missing(&busy, 40, 5), missing);
            let mut other = Intervals::default();
            busy.iter().for_each(|n| other.insert(*n));
            prop_assert_eq!(intervals.overlap(&other) as usize, set.intersection(&busy).count());
            prop_assert_eq!(intervals.union(&other).total() as usize, set.union(&busy).count());
            prop_assert!((0..41).all(|n| intervals.has(n) == set.contains(&n)));
        }
    }
}
