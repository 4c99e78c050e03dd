//! The end of all pods as the host goes down: in order, by their grace, durable.

use std::time::Duration;

use k8s_openapi::api::core::v1::Pod;

use super::life::running;
use super::world::{World, container, pod};
use crate::agent::worker::ShutdownPeriods;
use crate::api::Object;
use crate::controllers::pods::interrupted;
use crate::pod::{container_id, phase};

const PERIODS: ShutdownPeriods = ShutdownPeriods { ordinary: Duration::from_secs(60), critical: Duration::from_secs(20) };

fn named(name: &str, class: Option<&str>) -> Pod {
    let mut pod = pod("Always", vec![container(name)]);
    (pod.metadata.name, pod.metadata.uid) = (Some(name.into()), Some(format!("u-{name}")));
    if let Some(spec) = &mut pod.spec {
        spec.priority_class_name = class.map(str::to_owned);
    }
    pod
}

fn id(name: &str) -> String {
    container_id(&format!("u-{name}"), name, 0)
}

fn pods(world: &World) -> Vec<Pod> {
    world.host().objects.values().filter_map(|o| o.as_pod().cloned()).collect()
}

#[tokio::test(start_paused = true)]
async fn ordinary_pods_end_first_then_critical_ones_each_by_its_grace() {
    let dir = tempfile::tempdir().unwrap();
    let world = World::new(dir.path());
    for (name, class) in [("net", Some("system-node-critical")), ("web", None), ("slow", None)] {
        world.host().stubborn.insert(id(name));
        world.put(named(name, class));
    }
    world.host().stubborn.remove(&id("web"));
    let agent = world.agent().await;
    let all = |h: &super::world::Host| h.objects.values().filter_map(|o| o.as_pod()).all(|p| phase::of(p) == Some("Running"));
    world.until("all run", |h| h.objects.values().filter(|o| o.as_pod().is_some()).count() == 3 && all(h)).await;
    let began = world.now();
    agent.workers.end_pods(&PERIODS).await;
    assert_eq!(world.now().duration_since(began).as_secs(), 30 + 20, "the grace of 30 s, then what critical pods get");
    let signals = world.host().signals.clone();
    let order: Vec<(&str, i32)> =
        signals.iter().map(|(of, signal)| (["net", "web", "slow"].into_iter().find(|n| id(n) == *of).unwrap(), *signal)).collect();
    assert_eq!(order[2..], [("slow", 9), ("net", 15), ("net", 9)]);
    assert!(pods(&world).iter().all(|p| phase::of(p) == Some(phase::FAILED) && interrupted(p)), "durable when it returns");
    assert!(world.host().holds_nothing());
    assert_eq!(agent.workers.active(), 0);
    agent.kill().await;
}

#[tokio::test(start_paused = true)]
async fn a_container_that_will_not_die_holds_the_shutdown_up_no_longer_than_was_said() {
    let dir = tempfile::tempdir().unwrap();
    let world = World::new(dir.path());
    world.put(named("web", None));
    let agent = world.agent().await;
    world.until("it runs", |h| running(h, "web")).await;
    world.host().immortal = true;
    let began = world.now();
    agent.workers.end_pods(&PERIODS).await;
    assert_eq!(world.now().duration_since(began).as_secs(), 65);
    assert_eq!(
        pods(&world).iter().map(|p| Object::from(p.clone())).filter(|o| o.as_pod().and_then(phase::of) == Some("Running")).count(),
        1
    );
    agent.kill().await;
}
