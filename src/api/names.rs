//! Generated names and uids, derived from a stored seed so that a plan can be replayed (invariant 4).
//!
//! Kubernetes draws suffixes at random (`staging/src/k8s.io/apimachinery/pkg/util/rand`, names.SimpleNameGenerator); we draw them
//! from sha256(seed, owner, instant, ordinal) over the same alphabet.

use jiff::Timestamp;
use sha2::{Digest, Sha256};

/// The 27 characters Kubernetes draws suffixes from: no vowels and no look-alikes.
const ALPHABET: &[u8] = b"bcdfghjklmnpqrstvwxz2456789";
/// Kubernetes cuts a generated name's base to 58 so that base + suffix fit into 63.
const MAX_BASE: usize = 58;

/// A source of names for one planning step: same seed, owner and instant give the same names in the same order.
#[derive(Clone, Debug)]
pub struct Names {
    prefix: Sha256,
    next: u64,
}

impl Names {
    /// Names for objects owned by `owner` (a uid or a key) made at `now`.
    pub fn new(seed: u64, owner: &str, now: Timestamp) -> Names {
        let mut prefix = Sha256::new();
        prefix.update(seed.to_be_bytes());
        prefix.update(owner.as_bytes());
        prefix.update(now.as_nanosecond().to_be_bytes());
        Names { prefix, next: 0 }
    }

    fn draw(&mut self) -> [u8; 32] {
        let mut hash = self.prefix.clone();
        hash.update(self.next.to_be_bytes());
        self.next += 1;
        hash.finalize().into()
    }

    /// `<base><5 characters>`, the base cut to 58 characters. Pass the base with its trailing `-`.
    pub fn generate(&mut self, base: &str) -> String {
        let cut = base.char_indices().nth(MAX_BASE).map_or(base.len(), |(i, _)| i);
        let suffix = self.draw().iter().take(5).map(|b| ALPHABET[usize::from(*b) % ALPHABET.len()] as char).collect::<String>();
        format!("{}{suffix}", &base[..cut])
    }

    /// A uid in the form of an RFC 4122 version 4 UUID.
    pub fn uid(&mut self) -> String {
        let d = self.draw();
        let hex = |r: std::ops::Range<usize>| d[r].iter().map(|b| format!("{b:02x}")).collect::<String>();
        let version = format!("4{}", &hex(6..8)[1..]);
        let variant = format!("{:02x}{:02x}", (d[8] & 0x3f) | 0x80, d[9]);
        format!("{}-{}-{version}-{variant}-{}", hex(0..4), hex(4..6), hex(10..16))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn same_seed_same_names_and_successive_ones_differ() {
        let now = Timestamp::from_second(1_700_000_000).expect("in range");
        let (mut a, mut b) = (Names::new(7, "uid", now), Names::new(7, "uid", now));
        let (first, second) = (a.generate("pi-"), a.generate("pi-"));
        assert_eq!(first, b.generate("pi-"));
        assert_ne!(first, second);
        assert_eq!(first.len(), "pi-".len() + 5);
        assert_eq!(a.uid().len(), 36);
    }

    #[test]
    fn the_base_is_cut_to_58() {
        let now = Timestamp::UNIX_EPOCH;
        assert_eq!(Names::new(1, "o", now).generate(&"x".repeat(80)).len(), 63);
    }
}
