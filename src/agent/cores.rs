//! The same work for many, on all cores.

/// More threads would only make memory of the allocator's.
const MOST_THREADS: usize = 8;

/// `work` of each item (and its number), in their order. On as many threads as there are cores, if there are `worth_a_thread` items for each; else here.
pub(super) fn on_all_cores<T: Sync, R: Send>(items: &[T], worth_a_thread: usize, work: impl Fn(usize, &T) -> R + Sync) -> Vec<R> {
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let threads = (items.len() / worth_a_thread).clamp(1, cores.min(MOST_THREADS));
    let share = items.len().div_ceil(threads).max(1);
    let some = |n: usize, part: &[T]| part.iter().enumerate().map(|(i, item)| work(n * share + i, item)).collect::<Vec<R>>();
    std::thread::scope(|scope| {
        let mut parts = items.chunks(share).enumerate();
        let first = parts.next();
        let others: Vec<_> = parts.map(|(n, part)| (n, part, scope.spawn(move || some(n, part)))).collect();
        let mut all = first.map(|(n, part)| some(n, part)).unwrap_or_default();
        // Nothing that is done here panics on input; if it did, the part is done here, where a panic ends the thread that everybody waits for.
        all.extend(others.into_iter().flat_map(|(n, part, thread)| thread.join().unwrap_or_else(|_| some(n, part))));
        all
    })
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
