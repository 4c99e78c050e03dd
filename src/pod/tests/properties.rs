//! What holds of every Pod, whatever its containers do.

use proptest::prelude::*;

use super::delete;
use super::world::{World, container, pod, sidecar};
use crate::pod::End;
use crate::pod::attempt::{Role, containers};

prop_compose! {
    fn runs()(runs in prop::collection::vec((0i64..700, prop_oneof![Just(0), Just(1), Just(137)]), 0..8)) -> Vec<(i64, i32)> { runs }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]
    #[test]
    fn no_attempt_twice_none_early_none_of_a_terminal_pod(
        policy in prop_oneof![Just("Always"), Just("OnFailure"), Just("Never")],
        scripts in prop::array::uniform4(runs()),
        forget in prop::collection::vec(1i64..3000, 0..4),
        delete_at in prop::option::of(1i64..3000),
        side in any::<bool>(),
    ) {
        let first = if side { sidecar("i") } else { container("i") };
        let p = pod(policy, vec![first, container("j")], vec![container("a"), container("b")]);
        let mut w = World::new(p, &[]);
        w.script = ["i", "j", "a", "b"].iter().zip(scripts).map(|(n, s)| ((*n).to_owned(), s)).collect();
        let mut stops: Vec<i64> = forget.iter().copied().chain(delete_at).chain([4000]).collect();
        stops.sort_unstable();
        for stop in stops {
            w.run_until(stop);
            if delete_at == Some(stop) { delete(&mut w, 30); } else {
                // The agent restarts: memory is lost, what runs is adopted.
                w.seen.signalled.clear();
                w.seen.retry.clear();
            }
        }
        for (role, c) in containers(&w.pod) {
            let mine: Vec<_> = w.starts.iter().filter(|(n, ..)| *n == c.name).collect();
            for (i, (_, attempt, _)) in mine.iter().enumerate() {
                prop_assert_eq!(*attempt as usize, i, "attempts count up, each once");
            }
            if role == Role::Main {
                let init_done = w.starts.iter().filter(|(n, ..)| n == "j").map(|(.., at)| *at).max();
                if let Some((.., at)) = mine.first() { prop_assert!(init_done.is_some_and(|done| done <= *at)); }
            }
        }
        if delete_at.is_some() {
            prop_assert_eq!(w.ended, Some(End::Remove));
            prop_assert!(w.starts.iter().all(|(.., at)| Some(*at) <= delete_at));
        }
    }

    #[test]
    fn no_restart_comes_before_its_back_off(runs in prop::collection::vec((0i64..700, Just(1)), 1..12)) {
        let mut w = World::new(pod("OnFailure", vec![], vec![container("c")]), &[("c", &runs)]);
        w.run_until(20_000);
        let starts = w.times("c");
        let mut delay = None;
        for (i, (seconds, _)) in runs.iter().enumerate() {
            let next: i64 = match delay { None => 0, Some(_) if *seconds > 600 => 0, Some(0) => 10, Some(d) => std::cmp::min(d * 2, 300) };
            delay = Some(next);
            prop_assert_eq!(starts[i + 1], starts[i] + seconds + next);
        }
    }
}
