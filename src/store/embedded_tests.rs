//! The embedded Store against a real file: what the trait promises, and what happens when the process or the disk fails.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use k8s_openapi::api::core::v1::ConfigMap;
use tempfile::TempDir;
use tokio::sync::broadcast::error::RecvError;

use super::*;
use crate::store::ChangeKind;

/// Set for the child of the kill test: the state file it commits into.
const CHILD: &str = "MINIK8S_TEST_STORE_CHILD";

fn map(name: &str, value: &str) -> Object {
    let mut map = ConfigMap { data: Some(BTreeMap::from([("v".to_owned(), value.to_owned())])), ..ConfigMap::default() };
    map.metadata.name = Some(name.to_owned());
    map.metadata.namespace = Some("default".to_owned());
    map.metadata.uid = Some(format!("uid-{name}"));
    map.into()
}

fn value(object: &Object) -> String {
    object.as_config_map().and_then(|m| m.data.as_ref()).and_then(|d| d.get("v")).cloned().unwrap_or_default()
}

fn fresh() -> (TempDir, Arc<EmbeddedStore>) {
    let dir = tempfile::tempdir().unwrap();
    let store = EmbeddedStore::open(dir.path().join("state.redb")).unwrap();
    (dir, store)
}

#[tokio::test]
async fn create_update_put_and_delete_keep_their_preconditions() {
    let (_dir, store) = fresh();
    let made = store.commit(vec![Op::Create(map("a", "1"))]).await.unwrap();
    assert_eq!(made[0].meta().resource_version.as_deref(), Some("1"));
    assert!(matches!(store.commit(vec![Op::Create(map("a", "2"))]).await, Err(StoreError::Exists(_))));
    assert!(matches!(store.commit(vec![Op::Update(map("b", "2"))]).await, Err(StoreError::Missing(_))));
    assert!(matches!(store.commit(vec![Op::Update(map("a", "2"))]).await, Err(StoreError::Conflict(_))), "no resourceVersion");
    let mut update = (*made[0]).clone();
    update.meta_mut().labels = Some(BTreeMap::from([("x".into(), "y".into())]));
    let updated = store.commit(vec![Op::Update(update.clone())]).await.unwrap();
    assert_eq!(updated[0].meta().resource_version.as_deref(), Some("2"), "failures use up no revision");
    assert!(matches!(store.commit(vec![Op::Update(update)]).await, Err(StoreError::Conflict(_))), "stale");
    let key = map("a", "").key();
    store.commit(vec![Op::Delete { key: key.clone(), uid: Some("another".into()) }]).await.unwrap();
    assert!(store.get(&key).is_some());
    store.commit(vec![Op::Delete { key: key.clone(), uid: Some("uid-a".into()) }]).await.unwrap();
    assert!(store.get(&key).is_none());
    store.commit(vec![Op::Delete { key, uid: None }]).await.unwrap();
    assert_eq!(store.revision(), 3, "removing what is not there changes nothing");
}

#[tokio::test]
async fn a_transaction_is_applied_whole_or_not_at_all() {
    let (dir, store) = fresh();
    let record = |value: &[u8]| Op::Record { name: "seed".into(), value: Some(value.to_vec()) };
    store.commit(vec![Op::Create(map("taken", "1")), record(b"old")]).await.unwrap();
    let failed = store.commit(vec![Op::Create(map("a", "1")), record(b"new"), Op::Create(map("taken", "2"))]).await;
    assert!(matches!(failed, Err(StoreError::Exists(_))));
    let check = |store: &EmbeddedStore| {
        assert!(store.get(&map("a", "").key()).is_none());
        assert_eq!(store.record("seed").as_deref(), Some(&b"old"[..]));
        assert_eq!(store.list(Kind::ConfigMap).len(), 1);
    };
    check(&store);
    drop(store);
    check(&EmbeddedStore::open(dir.path().join("state.redb")).unwrap());
}

#[tokio::test]
async fn what_was_committed_is_there_after_reopening() {
    let (dir, store) = fresh();
    let record = |name: &str, value: Option<&str>| Op::Record { name: name.into(), value: value.map(|v| v.as_bytes().to_vec()) };
    store.commit(vec![Op::Create(map("a", "1")), Op::Create(map("b", "1")), record("t/a", Some("x"))]).await.unwrap();
    store.commit(vec![Op::Put(map("a", "2")), Op::Delete { key: map("b", "").key(), uid: None }]).await.unwrap();
    store.commit(vec![record("t/b", Some("y")), record("u", Some("z")), record("t/a", None)]).await.unwrap();
    drop(store);
    let store = EmbeddedStore::open(dir.path().join("state.redb")).unwrap();
    assert_eq!(store.list(Kind::ConfigMap).iter().map(|o| (o.key().name, value(o))).collect::<Vec<_>>(), [("a".into(), "2".into())]);
    assert_eq!(store.records("t/"), [("t/b".to_owned(), b"y".to_vec())]);
    assert_eq!(store.revision(), 3);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_hundred_callers_share_transactions_and_exactly_one_wins_a_race() {
    let (_dir, store) = fresh();
    let tasks: Vec<_> = (0..100)
        .map(|i| {
            let store = store.clone();
            tokio::spawn(
                async move { store.commit(vec![Op::Create(map("one", &i.to_string())), Op::Create(map(&format!("n{i}"), ""))]).await },
            )
        })
        .collect();
    let mut won = 0;
    for task in tasks {
        match task.await.unwrap() {
            Ok(_) => won += 1,
            Err(StoreError::Exists(key)) => assert_eq!(key.name, "one"),
            Err(other) => panic!("{other}"),
        }
    }
    assert_eq!((won, store.list(Kind::ConfigMap).len()), (1, 2), "the losers' other operations are dropped");
}

#[tokio::test]
async fn watchers_see_every_change_in_order_and_laggards_are_told() {
    let (_dir, store) = fresh();
    let mut quick = store.watch();
    let mut slow = store.watch();
    store.commit(vec![Op::Create(map("a", "1")), Op::Create(map("b", "1"))]).await.unwrap();
    store.commit(vec![Op::Put(map("a", "2"))]).await.unwrap();
    store.commit(vec![Op::Delete { key: map("a", "").key(), uid: None }]).await.unwrap();
    let mut seen = Vec::new();
    while let Ok(change) = quick.try_recv() {
        seen.push((change.revision, change.kind, change.object.key().name, value(&change.object)));
    }
    let told = |revision, kind, name: &str, value: &str| (revision, kind, name.to_owned(), value.to_owned());
    let expected = [
        told(1, ChangeKind::Added, "a", "1"),
        told(1, ChangeKind::Added, "b", "1"),
        told(2, ChangeKind::Modified, "a", "2"),
        told(3, ChangeKind::Deleted, "a", "2"),
    ];
    assert_eq!(seen, expected);
    for batch in 0..=crate::store::writer::WATCH_CAPACITY / 100 {
        store.commit((0..100).map(|i| Op::Put(map(&format!("{batch}-{i}"), ""))).collect()).await.unwrap();
    }
    assert!(matches!(slow.recv().await, Err(RecvError::Lagged(_))));
}

#[tokio::test]
async fn the_file_is_for_one_agent_and_a_damaged_one_says_what_to_do() {
    let (dir, store) = fresh();
    let path = dir.path().join("state.redb");
    assert!(matches!(EmbeddedStore::open(&path), Err(StoreError::Locked { .. })));
    store.commit((0..50).map(|i| Op::Put(map(&i.to_string(), &"x".repeat(500)))).collect()).await.unwrap();
    drop(store);
    let good = std::fs::read(&path).unwrap();
    let said = |bytes: &[u8]| {
        std::fs::write(&path, bytes).unwrap();
        match EmbeddedStore::open(&path) {
            Ok(store) => format!("opened with {}", store.list(Kind::ConfigMap).len()),
            Err(StoreError::Engine { action, source, .. }) => format!("{action}: {source}"),
            Err(other) => format!("{other}"),
        }
    };
    for broken in [b"kind: Pod\n".repeat(100), good[..good.len() / 2].to_vec(), vec![0; 8192]] {
        let text = said(&broken);
        assert!(text.contains("move it away and start again"), "{text}");
    }
    for at in (0..good.len()).step_by(good.len() / 60) {
        let mut flipped = good.clone();
        flipped[at] ^= 0xff;
        let text = said(&flipped);
        assert!(text == "opened with 50" || text.contains("move it away"), "byte {at}: {text}");
    }
}

/// The child of the next test: commits for ever and prints each revision that was acknowledged.
#[test]
fn child_commits_until_killed() {
    let Ok(path) = std::env::var(CHILD) else { return };
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let store = EmbeddedStore::open(path).unwrap();
    let mut out = std::io::stdout();
    for _ in 0..1_000_000 {
        let next = store.revision() + 1;
        let ops = vec![Op::Put(map(&format!("k{}", next % 50), &next.to_string())), Op::Put(map("last", &next.to_string()))];
        runtime.block_on(store.commit(ops)).unwrap();
        writeln!(out, "acknowledged {next}").unwrap();
    }
}

#[test]
fn every_acknowledged_commit_survives_kill_minus_nine() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("state.redb");
    let mut acknowledged = 0;
    // Thirty kills at least, and more where the machine is so busy that the child hardly runs.
    for round in 0..300_u64 {
        if round >= 30 && acknowledged > 30 {
            break;
        }
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "store::embedded::tests::child_commits_until_killed", "--nocapture"])
            .env(CHILD, &path)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let reader = std::thread::spawn(move || {
            let numbers = lines.map_while(Result::ok).filter_map(|line| line.rsplit_once("acknowledged ")?.1.parse::<u64>().ok());
            numbers.last()
        });
        // Some kills fall into the opening of the file, most into a commit.
        std::thread::sleep(Duration::from_micros(300 + (round * 7919) % 90_000));
        child.kill().unwrap();
        child.wait().unwrap();
        acknowledged = reader.join().unwrap().unwrap_or(acknowledged);
        let store = EmbeddedStore::open(&path).unwrap();
        let revision = store.revision();
        assert!(
            revision == acknowledged || revision == acknowledged + 1,
            "round {round}: {acknowledged} acknowledged, {revision} in the file"
        );
        if revision > 0 {
            let last = |name: &str| value(&store.get(&map(name, "").key()).unwrap());
            assert_eq!(last("last"), revision.to_string());
            assert_eq!(last(&format!("k{}", revision % 50)), revision.to_string(), "half a transaction");
        }
        acknowledged = revision;
    }
    assert!(acknowledged > 30, "the child hardly ran: {acknowledged}");
}

/// A small file system that can really be full. Needs root, as all of minik8s does.
struct SmallDisk(TempDir);

impl SmallDisk {
    fn mount() -> SmallDisk {
        let dir = tempfile::tempdir().unwrap();
        let flags = nix::mount::MsFlags::empty();
        nix::mount::mount(Some("tmpfs"), dir.path(), Some("tmpfs"), flags, Some("size=4m")).unwrap();
        SmallDisk(dir)
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = nix::mount::umount2(self.0.path(), nix::mount::MntFlags::MNT_DETACH);
    }
}

#[tokio::test]
async fn a_full_disk_refuses_commits_loses_nothing_and_recovers_by_itself() {
    let disk = SmallDisk::mount();
    let (path, ballast) = (disk.0.path().join("state.redb"), disk.0.path().join("ballast"));
    let store = EmbeddedStore::open(&path).unwrap();
    let big = |i: usize| vec![Op::Create(map(&format!("b{i:03}"), &"x".repeat(20_000)))];
    for i in 0..10 {
        store.commit(big(i)).await.unwrap();
    }
    let mut file = std::fs::File::create(&ballast).unwrap();
    while file.write_all(&[0; 4096]).is_ok() {}
    let mut kept = 10;
    let mut refused = 0;
    for i in 10..200 {
        match store.commit(big(i)).await {
            Ok(_) => kept += 1,
            Err(StoreError::Full { .. }) => refused += 1,
            Err(other) => panic!("{other:?}"),
        }
        assert_eq!(store.list(Kind::ConfigMap).len(), kept);
    }
    assert!(refused > 0, "the disk never was full");
    drop(file);
    std::fs::remove_file(&ballast).unwrap();
    store.commit(vec![Op::Create(map("after", "1"))]).await.unwrap();
    drop(store);
    let store = EmbeddedStore::open(&path).unwrap();
    assert_eq!(store.list(Kind::ConfigMap).len(), kept + 1);
    drop(store);
}

/// Prints latencies: `cargo test --lib store::embedded -- --ignored --nocapture`.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "a measurement"]
async fn latency_of_commits() {
    let dir = tempfile::tempdir_in(env!("CARGO_MANIFEST_DIR")).unwrap();
    let store = EmbeddedStore::open(dir.path().join("state.redb")).unwrap();
    let mut times: Vec<Duration> = Vec::new();
    for i in 0..500 {
        let start = Instant::now();
        store.commit(vec![Op::Put(map(&format!("k{}", i % 100), &"x".repeat(2000)))]).await.unwrap();
        times.push(start.elapsed());
    }
    times.sort();
    println!("one caller: p50 {:?} p99 {:?}", times[250], times[495]);
    let start = Instant::now();
    let tasks: Vec<_> = (0..64)
        .map(|t| {
            let store = store.clone();
            tokio::spawn(async move {
                for i in 0..50 {
                    store.commit(vec![Op::Put(map(&format!("t{t}-{i}"), &"x".repeat(2000)))]).await.unwrap();
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    println!("64 callers: {:.0} commits/s", 3200.0 / start.elapsed().as_secs_f64());
}
