//! Whose turn it is in a pod's directories: what sets a pod up and what takes it down never run beside each other, not even where nobody
//! waits for the one under way any more.
//!
//! Guarantees: pods do not wait for each other; who waits is served in the order of asking, or told so after [`PATIENCE`]. The turn of a pod that
//! nobody has or wants takes no room.

use std::collections::HashMap;
use std::io;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use tokio::sync::OwnedMutexGuard;

/// How long one waits for one's turn: what was given up ends in less, unless the kernel keeps hold of it.
const PATIENCE: Duration = Duration::from_secs(10);

/// The turns of all pods, by uid.
#[derive(Clone, Debug, Default)]
pub(super) struct Turns(Arc<Mutex<HashMap<String, Weak<tokio::sync::Mutex<()>>>>>);

/// Held as long as anything is done in the pod's directories; by several where one goes on without the other.
#[derive(Clone, Debug)]
pub(super) struct Turn {
    _held: Arc<OwnedMutexGuard<()>>,
}

impl Turns {
    /// Waits for the pod's turn. Errors: somebody else has had it for so long.
    pub(super) async fn take(&self, uid: &str) -> io::Result<Turn> {
        let waited = tokio::time::timeout(PATIENCE, self.of(uid).lock_owned()).await;
        let held = waited.map_err(|_| io::Error::new(io::ErrorKind::TimedOut, "what is under way there does not end"))?;
        Ok(Turn { _held: Arc::new(held) })
    }

    fn of(&self, uid: &str) -> Arc<tokio::sync::Mutex<()>> {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = all.get(uid).and_then(Weak::upgrade) {
            return known;
        }
        all.retain(|_, turn| turn.strong_count() > 0);
        let new = Arc::default();
        all.insert(uid.to_owned(), Arc::downgrade(&new));
        new
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_pod_s_turn_is_over_with_the_last_who_holds_it_and_awaited_for_so_long() {
        let turns = Turns::default();
        let first = turns.take("a").await.unwrap();
        let goes_on = first.clone();
        let began = tokio::time::Instant::now();
        let other = turns.take("b").await.unwrap();
        assert!(began.elapsed().is_zero(), "another pod's");
        drop(first);
        assert_eq!(turns.take("a").await.unwrap_err().kind(), io::ErrorKind::TimedOut);
        assert_eq!(began.elapsed(), PATIENCE);
        let (next, ()) = tokio::join!(turns.take("a"), async {
            tokio::time::sleep(PATIENCE / 2).await;
            drop(goes_on);
        });
        drop((next.unwrap(), other));
        let _third = turns.take("c").await.unwrap();
        assert_eq!(turns.0.lock().unwrap().len(), 1, "nobody has the others");
    }
}
