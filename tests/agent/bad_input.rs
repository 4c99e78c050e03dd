//! What can be wrong around the agent: each has its message, and loses nothing.

use std::time::Duration;

use redb::ReadableTable as _;

use crate::rig::{Rig, condition, phase};

const WAIT: Duration = Duration::from_secs(40);

fn job(name: &str) -> String {
    format!(
        "apiVersion: batch/v1\nkind: Job\nmetadata: {{name: {name}}}\nspec:\n  template:\n    spec:\n      restartPolicy: Never\n      containers:\n      - {{name: main, image: busybox, command: [\"true\"]}}\n"
    )
}

#[test]
fn a_second_agent_on_the_same_state_is_refused() {
    let rig = Rig::new();
    let (code, said) = rig.run_second_agent();
    assert_ne!(code, 0);
    assert!(said.contains("in use by another minik8s agent"), "{said}");
    let (code, said) = rig.run_agent_with(&["--state-dir", rig.dir("state-2").to_str().unwrap()]);
    assert_ne!(code, 0);
    assert!(said.contains("give this one its own --containerd-namespace"), "{said}");
    rig.write("j.yaml", &job("j"));
    rig.wait("the first goes on", WAIT, |r| condition(&r.get("job/j"), "Complete") == "True");
    rig.close();
}

#[test]
fn an_unreachable_containerd_is_waited_for() {
    let mut rig = Rig::new();
    rig.kill_agent();
    rig.kill_containerd();
    rig.start_agent();
    rig.write("j.yaml", &job("j"));
    rig.wait("it says so", WAIT, |r| r.log().contains("does not answer"));
    rig.start_containerd();
    rig.wait("it goes on by itself", WAIT, |r| condition(&r.get("job/j"), "Complete") == "True");
    rig.close();
}

#[test]
fn a_pod_made_while_containerd_is_away_is_being_created_and_its_image_is_not_blamed() {
    let mut rig = Rig::new();
    // Until what ran before is taken over nothing is begun.
    rig.wait("it has taken over what runs", WAIT, |r| r.log().contains("took over what runs"));
    rig.kill_containerd();
    rig.write("j.yaml", &job("j"));
    let waiting = |r: &Rig| r.pods().first().map(|p| p["status"]["containerStatuses"][0]["state"]["waiting"].clone()).unwrap_or_default();
    rig.wait("it says what it waits for", WAIT, |r| waiting(r)["message"].as_str().is_some_and(|m| m.contains("does not answer")));
    assert_eq!(waiting(&rig)["reason"], "ContainerCreating");
    rig.start_containerd();
    rig.wait("it goes on by itself", WAIT, |r| condition(&r.get("job/j"), "Complete") == "True");
    assert!(!rig.cli(&["events"]).contains("pull"), "{}", rig.cli(&["events"]));
    rig.close();
}

#[test]
fn a_state_file_from_a_newer_version_and_a_broken_one_are_refused_and_left_alone() {
    let mut rig = Rig::new();
    rig.kill_agent();
    let file = rig.state_file();
    let format = |new: Option<u64>| {
        let transaction = redb::Database::open(&file).unwrap().begin_write().unwrap();
        let mut meta = transaction.open_table(redb::TableDefinition::<&str, u64>::new("meta")).unwrap();
        let old = match new {
            Some(new) => meta.insert("format", new).unwrap(),
            None => meta.get("format").unwrap(),
        };
        let old = old.map(|format| format.value());
        drop(meta);
        transaction.commit().unwrap();
        old
    };
    assert_eq!(format(Some(99)), Some(1));
    let (code, said) = rig.run_second_agent();
    assert_ne!(code, 0);
    assert!(said.contains(file.to_str().unwrap()) && said.contains("has format 99"), "{said}");
    assert_eq!(format(None), Some(99), "it is as it was");
    std::fs::write(&file, b"this is no database, but 64 bytes and more of text that some tool left here").unwrap();
    let (code, said) = rig.run_second_agent();
    assert_ne!(code, 0);
    assert!(said.contains(file.to_str().unwrap()), "{said}");
    assert!(std::fs::read(&file).unwrap().starts_with(b"this is no database"));
    std::fs::remove_file(&file).unwrap();
    rig.start_agent();
    rig.close();
}

#[test]
fn a_full_disk_is_told_and_left_behind() {
    let rig = Rig::with_small_state();
    rig.write("j.yaml", &job("first"));
    rig.wait("it works", WAIT, |r| condition(&r.get("job/first"), "Complete") == "True");
    rig.fill_state_disk();
    rig.write("k.yaml", &job("second"));
    rig.wait("it says so", WAIT, |r| r.log().contains("no space left"));
    rig.free_state_disk();
    rig.wait("it goes on by itself", WAIT, |r| condition(&r.get("job/second"), "Complete") == "True");
    assert_eq!(rig.get("job/first")["status"]["succeeded"], 1);
    rig.close();
}

#[test]
fn a_missing_cni_plugin_is_named_on_the_pod_and_host_network_still_runs() {
    let rig = Rig::without_cni_plugins();
    rig.write("j.yaml", &job("bridged"));
    rig.write("h.yaml", &job("hosted").replace("      containers:", "      hostNetwork: true\n      containers:"));
    rig.wait("host network runs", WAIT, |r| condition(&r.get("job/hosted"), "Complete") == "True");
    rig.wait("the other is told why not", WAIT, |r| r.cli(&["get", "events"]).contains("containernetworking-plugins"));
    assert!(rig.pods().iter().any(|p| phase(p) == "Pending"));
    rig.close();
}

#[test]
fn wrong_flags_are_refused_with_what_to_do() {
    let rig = Rig::new();
    for (flags, expected) in
        [(&["--taint", "nonsense"][..], "key"), (&["--max-pods=-3"], "max-pods"), (&["--no-such-flag"], "no-such-flag")]
    {
        let (code, said) = rig.run_agent_with(flags);
        assert_eq!(code, 2, "{said}");
        assert!(said.contains(expected), "{said}");
    }
    rig.close();
}
