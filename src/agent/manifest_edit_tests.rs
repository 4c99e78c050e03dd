//! Edits on real files in a temporary directory.

use std::os::unix::fs::symlink;

use super::*;

const A: &str = "# the first\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\ndata: {v: \"1\"}\n";
const B: &str = "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: b # keep me\ndata: {v: \"1\"}\n";
const B2: &str = "---\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: b}\ndata: {v: \"2\"}\n";

fn object(text: &str) -> Object {
    decode("t.yaml", body(text).as_bytes()).documents[0].object.clone().unwrap()
}

fn place(index: usize) -> Place {
    Place { file: "two.yaml".into(), index }
}

fn two() -> (tempfile::TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("two.yaml");
    std::fs::write(&path, format!("{A}---\n{B}")).unwrap();
    (dir, path)
}

#[test]
fn a_new_object_gets_a_file_of_its_own_and_again_is_unchanged() {
    let dir = tempfile::tempdir().unwrap();
    let apply = |text: &str| write(dir.path(), None, text, &object(text), false).unwrap();
    assert_eq!(apply(B), (Outcome::Created, "configmap-default-b.yaml".to_owned()));
    assert_eq!(std::fs::read_to_string(dir.path().join("configmap-default-b.yaml")).unwrap(), B);
    assert_eq!(apply(B).0, Outcome::Unchanged);
    assert_eq!(apply(B2).0, Outcome::Configured);
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1, "no temporary file is left");
}

#[test]
fn a_document_is_replaced_and_its_neighbours_keep_their_text() {
    let (dir, path) = two();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o640)).unwrap();
    let (outcome, file) = write(dir.path(), Some(&place(1)), B2, &object(B2), false).unwrap();
    assert_eq!((outcome, file.as_str()), (Outcome::Configured, "two.yaml"));
    let new = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: b}\ndata: {v: \"2\"}\n";
    assert_eq!(std::fs::read_to_string(&path).unwrap(), format!("{A}---\n{new}"));
    assert_eq!(path.metadata().unwrap().mode() & 0o777, 0o640);
}

#[test]
fn a_dry_run_tells_but_writes_nothing() {
    let (dir, path) = two();
    let before = std::fs::read_to_string(&path).unwrap();
    assert_eq!(write(dir.path(), Some(&place(1)), B2, &object(B2), true).unwrap().0, Outcome::Configured);
    assert_eq!(write(dir.path(), None, A, &object(A), true).unwrap().0, Outcome::Created);
    assert_eq!(std::fs::read_to_string(&path).unwrap(), before);
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
}

#[test]
fn removing_takes_one_document_and_with_the_last_the_file() {
    let key = |name: &str| Key::new(Kind::ConfigMap, "default", name);
    for (first, second, left) in [((0, "a"), (0, "b"), B), ((1, "b"), (0, "a"), A)] {
        let (dir, path) = two();
        remove(dir.path(), &place(first.0), &key(first.1)).unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), left);
        remove(dir.path(), &place(second.0), &key(second.1)).unwrap();
        assert!(!path.exists());
    }
}

#[test]
fn a_document_that_moved_is_found_and_one_that_went_is_told() {
    let (dir, _) = two();
    let key = Key::new(Kind::ConfigMap, "default", "b");
    remove(dir.path(), &place(0), &key).unwrap();
    assert!(matches!(remove(dir.path(), &place(0), &key), Err(EditError::Moved { .. })));
}

#[test]
fn links_and_paths_that_lead_out_are_refused() {
    let (dir, path) = two();
    let key = Key::new(Kind::ConfigMap, "default", "a");
    symlink(&path, dir.path().join("link.yaml")).unwrap();
    symlink(dir.path(), dir.path().join("current")).unwrap();
    for file in ["link.yaml", "current/two.yaml", "../two.yaml", "/etc/passwd", "", "x/../../y.yaml"] {
        let place = Place { file: file.into(), index: 0 };
        assert!(matches!(remove(dir.path(), &place, &key), Err(EditError::Managed { .. })), "{file}");
        assert!(matches!(write(dir.path(), Some(&place), A, &object(A), false), Err(EditError::Managed { .. })), "{file}");
    }
    let error = remove(dir.path(), &Place { file: "link.yaml".into(), index: 0 }, &key).unwrap_err();
    assert_eq!(
        error.to_string(),
        "link.yaml is reached through a symbolic link (git-sync, or a mounted ConfigMap); change it where it is managed, the agent follows"
    );
}

#[test]
fn a_worktree_of_git_sync_is_refused_but_a_linked_directory_is_not() {
    let (dir, _) = two();
    let root = dir.path().join("root");
    std::fs::create_dir(dir.path().join("tree")).unwrap();
    symlink("tree", &root).unwrap();
    write(&root, None, A, &object(A), false).unwrap();
    std::fs::write(dir.path().join("tree/.git"), "gitdir: /x").unwrap();
    assert!(matches!(write(&root, None, B, &object(B), false), Err(EditError::Managed { .. })));
}

#[test]
fn names_that_no_object_can_have_make_no_file() {
    let dir = tempfile::tempdir().unwrap();
    for name in ["../x", "a/b", "", "..", ".hidden", "A", "a\nb", &"a".repeat(254)] {
        let mut object = object(A);
        object.meta_mut().name = Some(name.to_owned());
        assert!(matches!(write(dir.path(), None, A, &object, false), Err(EditError::Name(_))), "{name:?}");
    }
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
}

#[test]
fn a_file_in_the_way_is_not_overwritten() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("configmap-default-a.yaml"), B).unwrap();
    assert!(matches!(write(dir.path(), None, A, &object(A), false), Err(EditError::ByHand { .. })));
}

#[test]
fn yaml_over_a_json_file_means_what_it_meant() {
    let dir = tempfile::tempdir().unwrap();
    let pod = |mode: &str| {
        format!(
            "apiVersion: v1\nkind: Pod\nmetadata: {{name: p}}\nspec:\n  hostNetwork: yes\n  containers: [{{name: c, image: i}}]\n  volumes: [{{name: v, configMap: {{name: c, defaultMode: {mode}}}}}]\n"
        )
    };
    let (old, new) = (pod("0400"), pod("0640"));
    std::fs::write(dir.path().join("p.json"), as_written("p.json", &old).unwrap()).unwrap();
    let place = Place { file: "p.json".into(), index: 0 };
    write(dir.path(), Some(&place), &new, &object(&new), false).unwrap();
    let value: serde_json::Value = serde_json::from_slice(&std::fs::read(dir.path().join("p.json")).unwrap()).unwrap();
    assert_eq!((&value["spec"]["volumes"][0]["configMap"]["defaultMode"], &value["spec"]["hostNetwork"]), (&0o640.into(), &true.into()));
}

#[test]
fn a_json_file_stays_json() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("b.json");
    std::fs::write(&path, r#"{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"b"}}"#).unwrap();
    let place = Place { file: "b.json".into(), index: 0 };
    write(dir.path(), Some(&place), B2, &object(B2), false).unwrap();
    let value: serde_json::Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
    assert_eq!(value["data"]["v"], "2");
}

#[test]
fn where_an_object_came_from_is_read_from_its_annotation() {
    let mut object = object(A);
    assert_eq!(Place::of(&object), None);
    object.meta_mut().annotations = Some([(SOURCE.to_owned(), "dir/a#b.yaml#12".to_owned())].into());
    assert_eq!(Place::of(&object), Some(Place { file: "dir/a#b.yaml".into(), index: 12 }));
}

#[test]
fn an_item_of_a_list_can_be_taken_out_but_is_replaced_by_hand() {
    let dir = tempfile::tempdir().unwrap();
    let item = |name: &str| format!("- {{apiVersion: v1, kind: ConfigMap, metadata: {{name: {name}}}}}\n");
    let list = |items: String| format!("apiVersion: v1\nkind: List\nitems:\n{items}");
    let path = dir.path().join("two.yaml");
    std::fs::write(&path, list(item("a") + &item("b"))).unwrap();
    assert!(matches!(write(dir.path(), Some(&place(1)), B2, &object(B2), false), Err(EditError::ByHand { .. })));
    assert_eq!(std::fs::read_to_string(&path).unwrap(), list(item("a") + &item("b")));
    remove(dir.path(), &place(1), &Key::new(Kind::ConfigMap, "default", "b")).unwrap();
    assert_eq!(std::fs::read_to_string(&path).unwrap(), list(item("a")));
}

#[test]
fn a_file_with_an_error_elsewhere_can_still_be_edited() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("two.yaml");
    let broken = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: c}\ndta: {}\n";
    std::fs::write(&path, format!("{broken}---\n{B}---\n{A}")).unwrap();
    write(dir.path(), Some(&place(1)), B2, &object(B2), false).unwrap();
    let new = std::fs::read_to_string(&path).unwrap();
    assert!(new.starts_with(broken) && new.ends_with(A) && new.contains("v: \"2\""), "{new}");
    remove(dir.path(), &place(1), &Key::new(Kind::ConfigMap, "default", "b")).unwrap();
    assert_eq!(std::fs::read_to_string(&path).unwrap(), format!("{broken}---\n{A}"));
}
