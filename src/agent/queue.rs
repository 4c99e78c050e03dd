//! What the reconcile loop has to look at: keys now, and keys at a time. Pure.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;

use crate::api::Key;

/// A set of keys to look at now and a calendar of keys to look at later. A key stands in the calendar at most once, so it is
/// bounded by the number of objects.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Queue {
    now: BTreeSet<Key>,
    later: BTreeSet<(Timestamp, Key)>,
    due: BTreeMap<Key, Timestamp>,
}

impl Queue {
    /// Look at `key` now.
    pub fn add(&mut self, key: Key) {
        self.now.insert(key);
    }

    /// Look at `key` at `at`, and at no other time that was set before. `None` clears.
    pub fn set_wake(&mut self, key: &Key, at: Option<Timestamp>) {
        if let Some(old) = self.due.remove(key) {
            self.later.remove(&(old, key.clone()));
        }
        if let Some(at) = at {
            self.due.insert(key.clone(), at);
            self.later.insert((at, key.clone()));
        }
    }

    /// Look at `key` at `at`, or earlier where that was set before: for a key whose alarm stands for several things.
    pub fn wake_by(&mut self, key: &Key, at: Timestamp) {
        let earliest = self.due.get(key).map_or(at, |set| at.min(*set));
        self.set_wake(key, Some(earliest));
    }

    /// When the next key is due.
    pub fn next_wake(&self) -> Option<Timestamp> {
        self.later.first().map(|(at, _)| *at)
    }

    /// The next key to look at, those due by `now` among them.
    pub fn pop(&mut self, now: Timestamp) -> Option<Key> {
        while let Some((at, key)) = self.later.first().cloned().filter(|(at, _)| *at <= now) {
            self.later.remove(&(at, key.clone()));
            self.due.remove(&key);
            self.now.insert(key);
        }
        self.now.pop_first()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::Kind;

    fn key(name: &str) -> Key {
        Key::new(Kind::Job, "default", name)
    }

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    #[test]
    fn a_key_comes_once_now_and_once_when_due() {
        let mut queue = Queue::default();
        queue.add(key("a"));
        queue.add(key("a"));
        queue.set_wake(&key("b"), Some(at(10)));
        queue.set_wake(&key("b"), Some(at(5)));
        assert_eq!(queue.pop(at(0)), Some(key("a")));
        assert_eq!(queue.pop(at(4)), None);
        assert_eq!(queue.next_wake(), Some(at(5)));
        assert_eq!(queue.pop(at(5)), Some(key("b")));
        assert_eq!(queue.pop(at(10)), None);
        assert_eq!(queue, Queue::default());
    }

    #[test]
    fn one_alarm_for_several_things_rings_for_the_first() {
        let mut queue = Queue::default();
        queue.wake_by(&key("a"), at(5));
        queue.wake_by(&key("a"), at(10));
        assert_eq!(queue.next_wake(), Some(at(5)));
        queue.wake_by(&key("a"), at(2));
        assert_eq!(queue.next_wake(), Some(at(2)));
    }
}
