//! The pairs of a mapping that is being read, each key once.
//!
//! Guarantees: in the order they came; finding a key does not cost a walk of all, however many there are.

use std::collections::HashMap;

use super::Pair;

/// So many pairs are found sooner by looking at each than by an index.
const FEW: usize = 16;

/// See the module.
#[derive(Default)]
pub(super) struct Pairs {
    pairs: Vec<Pair>,
    /// Where each key's pair is; empty as long as there are [`FEW`].
    index: HashMap<String, usize>,
}

impl Pairs {
    /// The pair of `key`.
    pub(super) fn get(&self, key: &str) -> Option<&Pair> {
        match self.pairs.len() {
            ..=FEW => self.pairs.iter().find(|pair| pair.key == key),
            _ => self.index.get(key).and_then(|at| self.pairs.get(*at)),
        }
    }

    /// Adds `pair`, unless its key is there already.
    pub(super) fn add(&mut self, pair: Pair) {
        if self.get(&pair.key).is_some() {
            return;
        }
        self.pairs.push(pair);
        let unindexed = match self.pairs.len() {
            ..=FEW => return,
            _ => self.index.len()..self.pairs.len(),
        };
        self.index.extend(unindexed.map(|at| (self.pairs[at].key.clone(), at)));
    }

    /// All of them, then those of `others` whose keys are new.
    pub(super) fn followed_by(mut self, others: Pairs) -> Vec<Pair> {
        others.pairs.into_iter().for_each(|pair| self.add(pair));
        self.pairs
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::yaml::{Node, Place, Value};

    fn pair(key: usize, id: u32) -> Pair {
        let place = Place::default();
        Pair { key: key.to_string(), place, value: Node { place, end: 0, id, value: Value::Sequence(Vec::new()) } }
    }

    #[test]
    fn the_first_of_a_key_counts_among_few_and_among_many() {
        for many in [FEW - 1, FEW, FEW + 1, 1000] {
            let mut pairs = Pairs::default();
            (0..many).for_each(|n| pairs.add(pair(n, 1)));
            (0..many).for_each(|n| pairs.add(pair(n, 2)));
            assert!((0..many).all(|n| pairs.get(&n.to_string()).is_some_and(|pair| pair.key == n.to_string())), "{many}");
            assert!(pairs.get(&many.to_string()).is_none());
            let mut others = Pairs::default();
            (0..many + 2).for_each(|n| others.add(pair(n, 3)));
            let ids: Vec<u32> = pairs.followed_by(others).iter().map(|pair| pair.value.id).collect();
            assert_eq!(ids, [vec![1; many], vec![3; 2]].concat());
        }
    }
}
