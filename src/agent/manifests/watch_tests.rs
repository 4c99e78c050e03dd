//! The watching thread on a real directory, and its state without one.

use super::*;

#[test]
fn what_is_written_renamed_linked_and_removed_is_seen() {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join("m").join(name);
    let manifest = |name: &str| format!("apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: {name}}}\n");
    std::fs::create_dir(dir.path().join("m")).unwrap();
    std::fs::write(path("a.yaml"), manifest("a")).unwrap();
    let watcher = spawn(dir.path().join("m")).unwrap();
    let expect = |names: &[&str]| {
        let begun = Instant::now();
        loop {
            let set = watcher.sets.borrow().clone();
            let found: Vec<String> = set.iter().flat_map(|s| &s.objects).filter_map(|o| o.meta().name.clone()).collect();
            if found == names {
                return;
            }
            assert!(begun.elapsed() < Duration::from_secs(10), "{found:?} and not {names:?}");
            std::thread::sleep(Duration::from_millis(2));
        }
    };
    expect(&["a"]);
    std::fs::write(dir.path().join("aside"), manifest("b")).unwrap();
    std::fs::rename(dir.path().join("aside"), path("b.yaml")).unwrap();
    expect(&["a", "b"]);
    std::fs::create_dir_all(path("sub/deep")).unwrap();
    std::fs::write(path("sub/deep/c.yml"), manifest("c")).unwrap();
    expect(&["a", "b", "c"]);
    std::fs::create_dir(path(".tree")).unwrap();
    std::fs::write(path(".tree/d.yaml"), manifest("d")).unwrap();
    std::os::unix::fs::symlink(".tree", path("linked")).unwrap();
    expect(&["a", "b", "d", "c"]);
    std::fs::remove_file(path("a.yaml")).unwrap();
    std::fs::remove_dir_all(path("sub")).unwrap();
    expect(&["b", "d"]);
}

fn state(root: &Path) -> State {
    State::new(root.to_owned(), notify::recommended_watcher(|_| {}).unwrap(), Arc::default(), watch::channel(None).0)
}

fn names(state: &State) -> Vec<String> {
    let set = state.publish.borrow().clone();
    set.iter().flat_map(|s| &s.objects).filter_map(|o| o.meta().name.clone()).collect()
}

fn config_map(name: &str) -> String {
    format!("apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: {name}}}\n")
}

/// The stamp's times are set back to what they were, as a change within the same tick leaves them.
#[test]
fn a_change_that_leaves_the_stamp_as_it_was_is_seen_at_the_next_look_and_then_the_stamp_is_relied_on() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("a.yaml");
    std::fs::write(&file, config_map("a")).unwrap();
    let mut state = state(dir.path());
    state.rescan();
    assert_eq!((names(&state), state.doubted.len()), (vec!["a".to_owned()], 1));
    let same_tick = |state: &mut State, name: &str| {
        std::fs::write(&file, config_map(name)).unwrap();
        let stamp = scan::stamp(&file);
        state.stamps.insert("a.yaml".to_owned(), stamp);
    };
    same_tick(&mut state, "b");
    state.touch(&BTreeSet::from([file.clone()]));
    assert_eq!((names(&state), state.doubted.len()), (vec!["b".to_owned()], 1), "an event within the tick, and more may come");
    same_tick(&mut state, "c");
    state.doubted.values_mut().for_each(|due| *due = Instant::now());
    state.look_again();
    assert_eq!((names(&state), state.doubted.len()), (vec!["c".to_owned()], 0), "the look after the tick, without an event");
    same_tick(&mut state, "d");
    state.rescan();
    assert_eq!(names(&state), ["c"], "an old stamp is relied on: nothing is read for nothing");
}

#[test]
fn one_changed_file_of_a_thousand_is_the_only_one_decoded() {
    let dir = tempfile::tempdir().unwrap();
    let file = |n: usize| dir.path().join(format!("{n:04}.yaml"));
    (0..1000).for_each(|n| std::fs::write(file(n), config_map(&format!("c{n}"))).unwrap());
    let mut state = state(dir.path());
    state.rescan();
    assert_eq!((state.decoded, names(&state).len()), (1000, 1000));
    let published = state.publish.subscribe();
    state.doubted.values_mut().for_each(|due| *due = Instant::now());
    state.look_again();
    state.rescan();
    assert_eq!((state.decoded, state.doubted.len(), published.has_changed().unwrap()), (1000, 0, false), "read once more, and the same");
    std::fs::write(file(500), config_map("other")).unwrap();
    state.touch(&BTreeSet::from([file(500)]));
    assert_eq!((state.decoded, names(&state)[500].as_str(), published.has_changed().unwrap()), (1001, "other", true));
}

#[test]
fn the_parent_is_watched_only_for_a_link_or_a_missing_directory() {
    let dir = tempfile::tempdir().unwrap();
    let (root, link) = (dir.path().join("m"), dir.path().join("l"));
    let mut missing = state(&root);
    missing.rescan();
    assert!(missing.watched.contains_key(dir.path()));
    std::fs::create_dir(&root).unwrap();
    missing.rescan();
    assert!(!missing.watched.contains_key(dir.path()) && missing.watched.contains_key(&root));
    std::os::unix::fs::symlink("m", &link).unwrap();
    let mut linked = state(&link);
    linked.rescan();
    assert!(linked.watched.contains_key(dir.path()));
}

#[test]
fn a_missing_directory_is_told_of_by_name_and_taken_up_when_it_appears_or_is_replaced() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join("not/yet");
    let watcher = spawn(root.clone()).unwrap();
    let until = |what: &str, holds: &dyn Fn(&ManifestSet) -> bool| {
        let begun = Instant::now();
        while !watcher.sets.borrow().as_deref().is_some_and(holds) {
            assert!(begun.elapsed() < Duration::from_secs(15), "{what}: {:?}", watcher.sets.borrow());
            std::thread::sleep(Duration::from_millis(2));
        }
    };
    let message = format!(
        "the manifests directory: {0} does not exist; make it (mkdir -p {0}) and it is taken up by itself, or name another with --manifests; \
         everything it defined keeps running",
        root.display()
    );
    until("told", &|set| set.faults.len() == 1 && set.faults[0].message == message);
    std::fs::create_dir_all(&root).unwrap();
    std::fs::write(root.join("a.yaml"), config_map("a")).unwrap();
    let has = |set: &ManifestSet, name: &str| set.objects.iter().any(|o| o.meta().name.as_deref() == Some(name));
    until("taken up", &|set| has(set, "a") && set.faults.is_empty());
    // Replaced by a rename: nobody watches the parent now, the directory itself tells.
    std::fs::create_dir(dir.path().join("new")).unwrap();
    std::fs::write(dir.path().join("new/b.yaml"), config_map("b")).unwrap();
    std::fs::rename(&root, dir.path().join("old")).unwrap();
    std::fs::rename(dir.path().join("new"), &root).unwrap();
    until("replaced", &|set| has(set, "b") && !has(set, "a"));
}

#[test]
fn a_thread_that_hangs_does_not_hold_the_agents_end() {
    let (stop, _inbox) = sync_channel(1);
    let (alive, ended) = channel();
    let watcher = Watcher { sets: watch::channel(None).1, looking: watch::channel(false).1, stop, ended: Mutex::new(ended) };
    let begun = Instant::now();
    drop(watcher);
    assert!(begun.elapsed() >= STOP && begun.elapsed() < 10 * STOP);
    drop(alive);
}
