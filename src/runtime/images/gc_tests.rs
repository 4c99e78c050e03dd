//! Which images go, row by row.

use super::*;

const MINUTE: i64 = 60;
const AGE: Duration = Duration::from_secs(120);

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(1_000_000 + second).unwrap()
}

fn image(id: &str, size: u64, created: i64) -> StoredImage {
    StoredImage { id: id.into(), names: vec![format!("docker.io/library/{id}:1")], size, pinned: false, created: at(created) }
}

fn using(names: &[&str]) -> InUse {
    InUse(names.iter().map(|name| (*name).to_owned()).collect())
}

#[test]
fn the_thresholds_are_the_kubelets() {
    let policy = GcPolicy::default();
    let rows = [
        // capacity, available, wanted
        (1000, 160, 0),
        (1000, 151, 49),
        (1000, 150, 50),
        (1000, 0, 200),
        (1000, 2000, 0),
        (u64::MAX, 0, u64::MAX / 5),
    ];
    for (capacity, available, expected) in rows {
        assert_eq!(wanted(DiskSpace { capacity, available }, &policy), Some(expected), "{capacity} {available}");
    }
    assert_eq!(wanted(DiskSpace { capacity: 0, available: 0 }, &policy), None);
    let never = GcPolicy { high_percent: 100, ..policy };
    assert_eq!(wanted(DiskSpace { capacity: 1000, available: 0 }, &never), Some(0));
}

#[test]
fn unused_ones_go_longest_unused_first() {
    let mut records = GcRecords::default();
    let images = [image("a", 10, 0), image("b", 20, 1), image("c", 30, 2), image("d", 40, 3)];
    records.detect(&images, &using(&["a", "docker.io/library/b:1", "d"]), at(5 * MINUTE));
    records.detect(&images, &using(&["a", "d"]), at(10 * MINUTE));
    records.detect(&images, &using(&["d"]), at(15 * MINUTE));
    let now = at(15 * MINUTE);
    // c was never used, then b, then a; d is in use.
    assert_eq!(records.candidates(now, AGE), [("c".into(), 30), ("b".into(), 20), ("a".into(), 10)]);
    assert_eq!(records.to_delete(30, now, AGE), ["c"]);
    assert_eq!(records.to_delete(31, now, AGE), ["c", "b"]);
    assert_eq!(records.to_delete(u64::MAX, now, AGE), ["c", "b", "a"]);
    assert_eq!(records.to_delete(0, now, AGE), [] as [&str; 0]);
}

#[test]
fn young_and_pinned_ones_stay() {
    let mut records = GcRecords::default();
    let pinned = StoredImage { pinned: true, ..image("pinned", 10, 0) };
    let images = [pinned, image("young", 10, 9 * MINUTE), image("old", 10, 0), image("future", 10, 999 * MINUTE)];
    records.detect(&images, &InUse::default(), at(10 * MINUTE));
    assert_eq!(records.candidates(at(10 * MINUTE), AGE), [("old".into(), 10)]);
    records.detect(&images, &InUse::default(), at(12 * MINUTE));
    let ids: Vec<String> = records.candidates(at(12 * MINUTE), AGE).into_iter().map(|(id, _)| id).collect();
    assert_eq!(ids, ["old", "young", "future"], "age counts from when it was seen where its time is still to come");
    // What is gone is forgotten.
    records.detect(&images[..1], &InUse::default(), at(13 * MINUTE));
    assert_eq!(records.candidates(at(13 * MINUTE), AGE), []);
}
