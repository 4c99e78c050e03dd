//! What a worker at rest holds: there may be hundreds.

use std::sync::Arc;

use tokio::sync::{Semaphore, broadcast};

use super::world::World;
use crate::agent::worker::Shared;
use crate::agent::worker::ending::Ending;
use crate::agent::worker::network::Leftovers;
use crate::agent::worker::ooms::Ooms;
use crate::agent::worker::task::Worker;
use crate::api::{Key, Kind};

#[test]
fn a_workers_future_holds_no_pod_but_the_workers_own() {
    let dir = tempfile::tempdir().unwrap();
    let world = World::new(dir.path());
    let shared = Shared {
        drivers: world.drivers(),
        creates: Semaphore::new(1),
        connected: broadcast::Sender::new(1),
        ooms: Ooms::default(),
        ending: Ending::default(),
        checks: Semaphore::new(1),
        leftovers: Leftovers::default(),
    };
    let worker = Worker::new(Arc::new(shared), Key::new(Kind::Pod, "default", "p"), "u".to_owned(), Arc::default(), false);
    let (own, life) = (size_of_val(&worker), size_of_val(&worker.run()));
    assert!(life <= 1024, "{life} bytes beside the worker's {own}");
}
