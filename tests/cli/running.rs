//! trigger, rerun and diff against an agent.

use std::sync::Arc;

use minik8s::agent::manifests::ManifestSet;
use minik8s::api::manifest::decode;
use minik8s::api::{Key, Kind, Object};
use minik8s::controllers::sync::sourced;
use minik8s::store::{Op, Store};
use serde_json::{Value, json};

use super::agent::Agent;
use super::said;

const JOB: &str = "apiVersion: batch/v1\nkind: Job\nmetadata: {name: pi}\nspec: {template: {spec: {restartPolicy: Never, containers: [{name: c, image: 'busybox:1'}]}}}\n";

fn cron_job() -> Value {
    let template = json!({"spec": {"restartPolicy": "Never", "containers": [{"name": "c", "image": "busybox:1"}]}});
    json!({"metadata": {"name": "tick", "namespace": "default", "uid": "cj"}, "spec": {"schedule": "@daily", "jobTemplate": {"spec": {"template": template}}}})
}

fn events(agent: &Agent) -> Vec<String> {
    let all = agent.store.list(Kind::Event);
    all.iter()
        .filter_map(|o| {
            o.as_event().map(|e| format!("{}: {}", e.reason.clone().unwrap_or_default(), e.message.clone().unwrap_or_default()))
        })
        .collect()
}

#[test]
fn trigger_makes_a_job_of_the_cron_job() {
    let agent = Agent::start();
    agent.put(Kind::CronJob, cron_job());
    assert_eq!(agent.run(&["trigger", "cj/tick", "--name", "now"]), (0, "job.batch/now created\n".into(), String::new()));
    let made = agent.store.get(&Key::new(Kind::Job, "default", "now")).expect("it is stored").to_json();
    assert_eq!(made["metadata"]["annotations"], json!({"cronjob.kubernetes.io/instantiate": "manual"}));
    assert_eq!(events(&agent), ["SuccessfulCreate: Created job now, triggered by hand"]);
    let taken = "Error from server (AlreadyExists): jobs.batch \"now\" already exists\n";
    assert_eq!(agent.run(&["trigger", "cronjob/tick", "--name", "now"]), (1, String::new(), taken.into()));
    assert_eq!(agent.run(&["trigger", "cronjob/tick", "--name", "dry", "--dry-run"]).1, "job.batch/dry created (dry run)\n");
    assert!(agent.store.get(&Key::new(Kind::Job, "default", "dry")).is_none());
    let (code, out, _) = agent.run(&["trigger", "cronjob/tick", "-o", "name"]);
    assert!(code == 0 && out.starts_with("job.batch/tick-manual-"), "{out}");
    assert_eq!(agent.store.list(Kind::Job).len(), 2);
    let none = "Error from server (NotFound): cronjobs.batch \"none\" not found\n";
    assert_eq!(agent.run(&["trigger", "cronjob/none"]), (1, String::new(), none.into()));
    assert_eq!(agent.run(&["trigger", "job/now"]).2, "error: from must be an existing cronjob, not job.batch/now\n");
    let wrong = agent.run(&["trigger", "cronjob/tick", "--name", "No"]).2;
    assert!(wrong.starts_with("Error from server (BadRequest): Job \"No\" is invalid: metadata.name: "), "{wrong}");
    let deleted = agent.run(&["delete", "job", "now", "--wait=false"]);
    assert_eq!(deleted.1, "job.batch \"now\" deleted from default namespace\n");
}

fn manifest() -> Object {
    sourced(decode("pi.yaml", JOB.as_bytes()).documents[0].object.clone().expect("an object"), "pi.yaml", 0)
}

/// The Job of [`JOB`] as the agent would have stored it.
fn stored(uid: &str, ended: bool) -> Value {
    let mut value = manifest().to_json();
    value["metadata"]["uid"] = json!(uid);
    value["metadata"]["generation"] = json!(1);
    value["status"] = match ended {
        true => json!({"failed": 1, "conditions": [{"type": "Failed", "status": "True", "reason": "BackoffLimitExceeded"}]}),
        false => json!({"active": 1}),
    };
    value
}

#[test]
fn rerun_has_a_finished_job_made_again() {
    let agent = Agent::start();
    let unread = "Error from server (Forbidden): the agent has not read its manifests yet; try again\n";
    assert_eq!(agent.run(&["rerun", "job/pi"]), (1, String::new(), unread.into()));
    let set = ManifestSet { objects: vec![Arc::new(manifest())], ..ManifestSet::default() };
    agent.sets.send_replace(Some(Arc::new(set)));
    let none = "Error from server (NotFound): jobs.batch \"pi\" not found\n";
    assert_eq!(agent.run(&["rerun", "job/pi"]), (1, String::new(), none.into()));
    agent.put(Kind::Job, stored("one", false));
    let runs = "Error from server (Conflict): jobs.batch \"pi\" has not ended (1 active, 0 succeeded, 0 failed); wait for it, or stop it and run it again with --force\n";
    assert_eq!(agent.run(&["rerun", "job/pi"]), (1, String::new(), runs.into()));
    agent.put(Kind::Job, stored("one", true));
    let late = agent.run(&["rerun", "job/pi", "--timeout=1s"]);
    let waits = "error: timed out waiting for the condition on jobs/pi: it runs again when the run before is gone\n";
    assert_eq!(late, (1, String::new(), waits.into()));
    let key = Key::new(Kind::Job, "default", "pi");
    assert!(agent.store.get(&key).expect("its pods go first").meta().deletion_timestamp.is_some());
    assert_eq!(events(&agent), ["Rerun: Runs again, as asked for; this run (Failed: BackoffLimitExceeded) and its pods are deleted first"]);
    let revision = agent.store.get(&key).and_then(|job| job.meta().resource_version.clone());
    assert_eq!(agent.run(&["rerun", "job/pi", "--wait=false"]), (0, "job.batch/pi rerun\n".into(), String::new()));
    assert_eq!(agent.store.get(&key).and_then(|job| job.meta().resource_version.clone()), revision, "it is on its way already");
    // What the agent's loop does, while the command waits.
    agent.put(Kind::Job, stored("two", true));
    let child = agent.spawn(&["rerun", "job/pi"]);
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(30);
    while agent.store.get(&key).is_some_and(|job| job.meta().deletion_timestamp.is_none()) {
        assert!(std::time::Instant::now() < deadline, "it is never asked for");
        std::thread::yield_now();
    }
    agent.runtime.block_on(agent.store.commit(vec![Op::Delete { key, uid: None }])).expect("a commit");
    agent.put(Kind::Job, stored("three", false));
    assert_eq!(said(&child.wait_with_output().expect("it ends")), (0, "job.batch/pi rerun\n".into(), String::new()));
}

#[test]
fn a_job_without_a_manifest_or_of_a_cron_job_is_not_run_again() {
    let agent = Agent::start();
    agent.sets.send_replace(Some(Arc::new(ManifestSet::default())));
    agent.put(Kind::Job, stored("one", true));
    let why = agent.run(&["rerun", "job/pi"]).2;
    assert!(why.starts_with("Error from server (Forbidden): jobs.batch \"pi\" has no manifest that can be read now"), "{why}");
    agent.put(Kind::CronJob, cron_job());
    agent.run(&["trigger", "cj/tick", "--name", "now"]);
    let owned =
        "Error from server (Forbidden): jobs.batch \"now\" belongs to cronjob/tick; make another with: minik8s trigger cronjob/tick\n";
    assert_eq!(agent.run(&["rerun", "job/now"]), (1, String::new(), owned.into()));
    assert_eq!(agent.run(&["rerun", "pod/x"]).2, "error: only jobs run again: pod/x\n");
}

#[test]
fn diff_shows_what_apply_would_change_and_no_secret() {
    let agent = Agent::start();
    agent.put(Kind::Job, stored("one", false));
    let file = agent.write("in/pi.yaml", JOB);
    assert_eq!(agent.run(&["diff", "-f", &file]), (0, String::new(), String::new()), "nothing spurious");
    let (code, out, err) = agent.run_with(&["diff", "-f", "-"], &JOB.replacen("spec: {", "spec: {completions: 1, parallelism: 3, ", 1));
    let expected = "\
diff -u -N LIVE/batch.v1.Job.default.pi MERGED/batch.v1.Job.default.pi
--- LIVE/batch.v1.Job.default.pi
+++ MERGED/batch.v1.Job.default.pi
";
    assert!(out.starts_with(expected), "{out}");
    let changed: Vec<&str> = out.lines().skip(3).filter(|line| line.starts_with(['+', '-'])).collect();
    let lines = vec!["-  generation: 1", "+  generation: 2", "-  parallelism: 1", "+  parallelism: 3"];
    assert_eq!((code, changed, err.as_str()), (1, lines, ""));
    let (code, out, err) = agent.run_with(&["diff", "-f", "-"], &JOB.replace("busybox:1", "busybox:2"));
    assert!(code == 1 && out.contains("-      - image: busybox:1\n+      - image: busybox:2\n"), "{out}");
    let replaced = "Warning: job.batch/pi would be replaced, and its pods stopped: what changes cannot change in place (spec.template)\n";
    assert_eq!(err, replaced);
    agent.put(
        Kind::Secret,
        json!({"metadata": {"name": "s", "namespace": "default"}, "type": "Opaque", "data": {"k": "aHVudGVyMg==", "l": "eA=="}}),
    );
    let secret = "apiVersion: v1\nkind: Secret\nmetadata: {name: s}\ndata: {k: aHVudGVyMw==, l: eA==}\n";
    let (code, out, _) = agent.run_with(&["diff", "-f", "-"], secret);
    assert!(code == 1 && out.contains("-  k: '*** (before)'\n+  k: '*** (after)'\n   l: '***'\n"), "{out}");
    assert!(!out.contains("aHVu") && !out.contains("eA=="), "{out}");
    let (code, out, err) = agent.run(&["diff", "-f", "/nowhere"]);
    assert_eq!((code, out.as_str(), err.as_str()), (2, "", "error: the path \"/nowhere\" does not exist\n"));
    assert_eq!(agent.run_with(&["diff", "-f", "-"], "kind: [\n").0, 2);
}
