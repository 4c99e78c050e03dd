//! The manifests directory: links, editors, kinds that mean nothing, apply and delete.

use std::time::Duration;

use crate::rig::Rig;

fn pod(name: &str) -> String {
    format!(
        "apiVersion: v1\nkind: Pod\nmetadata: {{name: {name}}}\nspec:\n  terminationGracePeriodSeconds: 0\n  containers:\n  - {{name: main, image: busybox, command: [sleep, \"100000\"]}}\n"
    )
}

fn names(rig: &Rig) -> Vec<String> {
    let mut names: Vec<String> = rig.pods().iter().map(|p| p["metadata"]["name"].as_str().unwrap().to_owned()).collect();
    names.sort();
    names
}

fn expect(rig: &Rig, what: &str, pods: &[&str]) {
    let wanted: Vec<String> = pods.iter().map(|p| format!("{p}-{}", Rig::NODE)).collect();
    rig.wait(what, Duration::from_secs(40), |r| names(r) == wanted);
}

#[test]
fn editors_renames_and_links_are_followed() {
    let rig = Rig::new();
    rig.write_in_place("a.yaml", &pod("a"));
    rig.write("many.yml", &format!("{}---\n{}", pod("b"), pod("c")));
    std::fs::create_dir(rig.manifests().join(".tree-1")).unwrap();
    std::fs::write(rig.manifests().join(".tree-1/d.json"), serde_json::to_string(&serde_json::json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": "d"},
        "spec": {"terminationGracePeriodSeconds": 0, "containers": [{"name": "main", "image": "busybox", "command": ["sleep", "100000"]}]}
    })).unwrap()).unwrap();
    std::os::unix::fs::symlink(".tree-1", rig.manifests().join("synced")).unwrap();
    expect(&rig, "all four run", &["a", "b", "c", "d"]);
    // git-sync: a new tree, then the link is swapped by rename.
    std::fs::create_dir(rig.manifests().join(".tree-2")).unwrap();
    std::fs::write(rig.manifests().join(".tree-2/e.yaml"), pod("e")).unwrap();
    std::os::unix::fs::symlink(".tree-2", rig.manifests().join(".synced-new")).unwrap();
    std::fs::rename(rig.manifests().join(".synced-new"), rig.manifests().join("synced")).unwrap();
    rig.write("many.yml", &pod("c"));
    expect(&rig, "the swapped tree and the shorter file", &["a", "c", "e"]);
    rig.close();
}

#[test]
fn other_kinds_are_named_and_apply_and_delete_edit_the_files() {
    let rig = Rig::new();
    rig.write("svc.yaml", "apiVersion: v1\nkind: Service\nmetadata: {name: s}\nspec: {}\n");
    let file = rig.dir("in").join("x.yaml");
    std::fs::write(&file, format!("{}---\n{}", pod("one"), pod("two"))).unwrap();
    let said = rig.cli(&["apply", "-f", file.to_str().unwrap()]);
    assert!(said.contains("pod/one created") && said.contains("pod/two created"), "{said}");
    expect(&rig, "both run", &["one", "two"]);
    let said = rig.cli(&["apply", "-f", file.to_str().unwrap()]);
    assert!(said.contains("pod/one unchanged"), "{said}");
    rig.cli(&["delete", "pod", &format!("one-{}", Rig::NODE)]);
    expect(&rig, "only the other runs", &["two"]);
    std::fs::write(&file, pod("three").replace("image", "imagge")).unwrap();
    let error = rig.cli_fails(&["apply", "-f", file.to_str().unwrap()]);
    assert!(error.contains("imagge") && error.contains("image"), "{error}");
    assert!(rig.log().contains("Service"), "ignored kinds are named");
    rig.close();
}

#[test]
fn a_vanished_directory_and_a_broken_file_change_nothing_that_runs() {
    let rig = Rig::new();
    rig.write("a.yaml", &pod("a"));
    expect(&rig, "it runs", &["a"]);
    let uid = rig.pods()[0]["metadata"]["uid"].clone();
    rig.write("a.yaml", "apiVersion: v1\nkind: Pod\nmetadata: {name: a\n");
    rig.settle();
    rig.write("a.yaml", "");
    rig.settle();
    let away = rig.manifests().with_extension("away");
    std::fs::rename(rig.manifests(), &away).unwrap();
    rig.settle();
    std::fs::create_dir(rig.manifests()).unwrap();
    rig.settle();
    assert_eq!(rig.pods()[0]["metadata"]["uid"], uid);
    std::fs::remove_dir(rig.manifests()).unwrap();
    std::fs::rename(&away, rig.manifests()).unwrap();
    rig.remove("a.yaml");
    expect(&rig, "a removed file prunes", &[]);
    rig.close();
}

#[test]
fn pipes_directories_and_what_everyone_may_write_are_refused_and_the_rest_goes_on() {
    let rig = Rig::new();
    assert!(std::process::Command::new("mkfifo").arg(rig.manifests().join("pipe.yaml")).status().unwrap().success());
    std::fs::create_dir(rig.manifests().join("dir.yaml")).unwrap();
    rig.write("dir.yaml/b.yaml", &pod("b"));
    let open = rig.manifests().join("open");
    std::fs::create_dir(&open).unwrap();
    std::fs::set_permissions(&open, std::os::unix::fs::PermissionsExt::from_mode(0o777)).unwrap();
    rig.write("open/c.yaml", &pod("c"));
    let everyones = rig.manifests().join("d.yaml.new");
    std::fs::write(&everyones, pod("d")).unwrap();
    std::fs::set_permissions(&everyones, std::os::unix::fs::PermissionsExt::from_mode(0o646)).unwrap();
    std::fs::rename(&everyones, rig.manifests().join("d.yaml")).unwrap();
    rig.write("a.yaml", &pod("a"));
    expect(&rig, "the good ones run", &["a", "b"]);
    rig.wait("the open directory is named", Duration::from_secs(10), |r| r.log().contains("open/: it is writable by everyone"));
    rig.wait("the open file is named", Duration::from_secs(10), |r| r.log().contains("is writable by everyone (mode 0646)"));
    rig.settle();
    expect(&rig, "and they are still refused", &["a", "b"]);
    rig.close();
}
