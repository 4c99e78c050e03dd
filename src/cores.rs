//! The same work for many, on all cores.

use std::sync::atomic::{AtomicUsize, Ordering};

/// More threads would only make memory of the allocator's.
const MOST_THREADS: usize = 8;
/// What is worth a thread is taken in so many pieces, so that no core waits for long for another that has less of the machine.
const PIECES: usize = 4;

/// `work` of each item (and its number), in their order. On as many threads as there are cores, if there are `worth_a_thread` items for each; else here.
/// A panic of `work` is the caller's.
pub(crate) fn on_all_cores<T: Sync, R: Send>(items: &[T], worth_a_thread: usize, work: impl Fn(usize, &T) -> R + Sync) -> Vec<R> {
    // For few the cores are not counted: that reads files of the kernel's.
    let threads = match items.len() / worth_a_thread {
        ..2 => 1,
        worth => worth.min(MOST_THREADS).min(std::thread::available_parallelism().map_or(1, std::num::NonZero::get)),
    };
    if threads == 1 {
        return items.iter().enumerate().map(|(i, item)| work(i, item)).collect();
    }
    let piece = worth_a_thread.div_ceil(PIECES);
    let next = AtomicUsize::new(0);
    let some = || {
        let mut done = Vec::new();
        loop {
            let first = next.fetch_add(piece, Ordering::Relaxed);
            let Some(part) = items.get(first..items.len().min(first + piece)).filter(|part| !part.is_empty()) else { return done };
            done.push((first, part.iter().enumerate().map(|(i, item)| work(first + i, item)).collect::<Vec<R>>()));
        }
    };
    let mut done = std::thread::scope(|scope| {
        let others: Vec<_> = (1..threads).map(|_| scope.spawn(some)).collect();
        let mut done = some();
        for thread in others {
            match thread.join() {
                Ok(more) => done.extend(more),
                Err(panic) => std::panic::resume_unwind(panic),
            }
        }
        done
    });
    done.sort_unstable_by_key(|(first, _)| *first);
    done.into_iter().flat_map(|(_, results)| results).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_is_done_once_in_order_with_its_number() {
        for many in [0, 1, 2, 3, 10, 101] {
            let items: Vec<usize> = (0..many).map(|n| n * 7).collect();
            for worth in [1, 10, 1000] {
                let done = on_all_cores(&items, worth, |n, item| (n, *item));
                assert_eq!(done, items.iter().copied().enumerate().collect::<Vec<_>>(), "{many} by {worth}");
            }
        }
    }
}
