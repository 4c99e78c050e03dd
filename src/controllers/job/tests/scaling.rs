//! Suspending, resuming, and less parallelism than before.

use serde_json::json;

use super::{conditions, edit, failures, names, status, world};
use crate::controllers::world::seconds;

#[test]
fn suspending_deletes_without_counting_and_resuming_starts_the_clock_anew() {
    let (mut world, key) = world(json!({"activeDeadlineSeconds": 60, "completions": 2, "parallelism": 2}), "Never");
    world.settle(&key);
    world.now += seconds(50);
    edit(&mut world, &key, |s| s.suspend = Some(true));
    world.settle(&key);
    assert_eq!(conditions(&world, &key), ["Suspended=True JobSuspended"]);
    world.finish_deleted();
    world.now += seconds(1000);
    world.settle(&key);
    assert_eq!((names(&world).len(), failures(&world, &key), world.pods().len()), (0, (0, 0), 0));
    edit(&mut world, &key, |s| s.suspend = Some(false));
    world.settle(&key);
    assert_eq!((names(&world).len(), conditions(&world, &key)), (2, vec!["Suspended=False JobResumed".to_owned()]));
    assert_eq!(status(&world, &key).start_time.unwrap().0, world.now);
    assert_eq!((world.event_count("Suspended"), world.event_count("Resumed")), (1, 1));
}

#[test]
fn a_job_created_suspended_has_no_start() {
    let (mut world, key) = world(json!({"suspend": true}), "Never");
    world.settle(&key);
    assert_eq!((status(&world, &key).start_time, world.pods_made), (None, 0));
}

#[test]
fn less_parallelism_gives_up_the_pods_that_matter_least() {
    let (mut world, key) = world(json!({"completions": 9, "parallelism": 3}), "Never");
    world.settle(&key);
    let all = names(&world);
    world.run(&all[1]);
    edit(&mut world, &key, |s| s.parallelism = Some(1));
    world.settle(&key);
    assert_eq!(names(&world), [all[1].clone()]);
    world.finish_deleted();
    world.settle(&key);
    assert_eq!((failures(&world, &key), world.event_count("SuccessfulDelete")), ((0, 0), 2));
    edit(&mut world, &key, |s| s.parallelism = Some(0));
    world.settle(&key);
    assert_eq!(names(&world).len(), 0);
}
