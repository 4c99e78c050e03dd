//! Jobs: parallelism, completions, back-off limit, deadline, ttl, suspend, indexes, remembered for ever.

use std::time::Duration;

use crate::rig::{Rig, condition, phase};

fn job(name: &str, spec: &str, command: &str) -> String {
    format!(
        "apiVersion: batch/v1\nkind: Job\nmetadata: {{name: {name}}}\nspec:\n{spec}\n  template:\n    spec:\n      restartPolicy: Never\n      \
         terminationGracePeriodSeconds: 1\n      containers:\n      - name: main\n        image: busybox\n        command: [sh, -c, {command:?}]\n"
    )
}

#[test]
fn completions_are_reached_with_never_more_than_parallelism_and_logs_are_kept() {
    let rig = Rig::new();
    rig.write("j.yaml", &job("count", "  completions: 3\n  parallelism: 2", "echo out of $HOSTNAME; sleep 0.3"));
    rig.wait("the Job is Complete", Duration::from_secs(40), |r| {
        assert!(r.pods().iter().filter(|p| phase(p) == "Running").count() <= 2, "more than parallelism");
        condition(&r.get("job/count"), "Complete") == "True"
    });
    let status = rig.get("job/count")["status"].clone();
    assert_eq!((status["succeeded"].as_i64(), status["failed"].as_i64()), (Some(3), None), "{status}");
    for pod in rig.pods() {
        let name = pod["metadata"]["name"].as_str().unwrap().to_owned();
        assert_eq!(phase(&pod), "Succeeded");
        assert_eq!(rig.cli(&["logs", &name]).trim(), format!("out of {name}"));
    }
    assert_eq!(rig.tasks(), 0, "finished pods hold no task");
    let table = rig.cli(&["get", "jobs"]);
    assert!(table.contains("COMPLETIONS") && table.contains("3/3"), "{table}");
    rig.close();
}

#[test]
fn a_job_fails_after_its_back_off_limit() {
    let rig = Rig::new();
    rig.write("j.yaml", &job("bad", "  backoffLimit: 1", "exit 7"));
    rig.wait("the Job is Failed", Duration::from_secs(40), |r| condition(&r.get("job/bad"), "Failed") == "True");
    let object = rig.get("job/bad");
    let failed = object["status"]["conditions"].as_array().unwrap().iter().find(|c| c["type"] == "Failed").unwrap().clone();
    assert_eq!(
        (failed["reason"].as_str(), failed["message"].as_str()),
        (Some("BackoffLimitExceeded"), Some("Job has reached the specified backoff limit"))
    );
    assert_eq!(object["status"]["failed"], 2);
    let mut starts: Vec<String> = rig.pods().iter().map(|p| p["metadata"]["creationTimestamp"].as_str().unwrap().to_owned()).collect();
    starts.sort();
    let at = |s: &str| s.parse::<jiff::Timestamp>().unwrap();
    assert!(at(&starts[1]).duration_since(at(&starts[0])).as_secs() >= 10, "{starts:?}");
    rig.close();
}

#[test]
fn on_failure_restarts_the_container_in_its_pod() {
    let rig = Rig::new();
    let manifest = job("again", "  backoffLimit: 3", "if test -e /data/second; then echo done; else touch /data/second; exit 3; fi")
        .replace("Never", "OnFailure");
    rig.write(
        "j.yaml",
        &format!("{manifest}        volumeMounts: [{{name: data, mountPath: /data}}]\n      volumes: [{{name: data, emptyDir: {{}}}}]\n"),
    );
    rig.wait("the Job is Complete", Duration::from_secs(40), |r| condition(&r.get("job/again"), "Complete") == "True");
    let pods = rig.pods();
    assert_eq!(pods.len(), 1);
    let container = &pods[0]["status"]["containerStatuses"][0];
    assert_eq!(container["restartCount"], 1, "{container}");
    assert_eq!(container["lastState"]["terminated"]["exitCode"], 3, "{container}");
    let name = pods[0]["metadata"]["name"].as_str().unwrap();
    assert_eq!(rig.cli(&["logs", name]).trim(), "done");
    assert_eq!(rig.cli(&["logs", "--previous", name]).trim(), "");
    rig.close();
}

#[test]
fn the_active_deadline_ends_a_job() {
    let rig = Rig::new();
    rig.write("j.yaml", &job("slow", "  activeDeadlineSeconds: 2", "sleep 1000"));
    rig.wait("the Job is Failed", Duration::from_secs(40), |r| condition(&r.get("job/slow"), "Failed") == "True");
    let object = rig.get("job/slow");
    assert_eq!(
        object["status"]["conditions"].as_array().unwrap().iter().find(|c| c["type"] == "Failed").unwrap()["reason"],
        "DeadlineExceeded"
    );
    assert_eq!(rig.tasks(), 0);
    rig.close();
}

#[test]
fn a_job_removed_by_its_ttl_is_not_run_again_by_a_restart() {
    let mut rig = Rig::new();
    let out = rig.dir("out");
    let manifest = job("once", "  ttlSecondsAfterFinished: 0", "echo ran >> /out/runs");
    let manifest = format!(
        "{manifest}        volumeMounts: [{{name: out, mountPath: /out}}]\n      volumes: [{{name: out, hostPath: {{path: {}}}}}]\n",
        out.display()
    );
    rig.write("j.yaml", &manifest);
    rig.wait("the Job ran and is gone", Duration::from_secs(40), |r| {
        out.join("runs").exists() && r.list("jobs").is_empty() && r.pods().is_empty()
    });
    rig.kill_agent();
    rig.start_agent();
    rig.write("other.yaml", &job("other", "", "true"));
    rig.wait("another Job is Complete", Duration::from_secs(40), |r| condition(&r.get("job/other"), "Complete") == "True");
    assert_eq!(std::fs::read_to_string(out.join("runs")).unwrap(), "ran\n");
    rig.write("j.yaml", "a: [b\n");
    rig.settle();
    rig.write("j.yaml", &manifest);
    rig.settle();
    assert_eq!(std::fs::read_to_string(out.join("runs")).unwrap(), "ran\n", "a typo that was mended runs nothing again");
    rig.remove("j.yaml");
    rig.settle();
    rig.write("j.yaml", &manifest);
    rig.wait("added again it is a new Job", Duration::from_secs(40), |_| {
        std::fs::read_to_string(out.join("runs")).unwrap() == "ran\nran\n"
    });
    rig.close();
}

#[test]
fn a_suspended_job_waits_and_a_resumed_one_runs() {
    let rig = Rig::new();
    rig.write("j.yaml", &job("held", "  suspend: true", "echo ran"));
    rig.wait("the Job is Suspended", Duration::from_secs(20), |r| condition(&r.get("job/held"), "Suspended") == "True");
    assert!(rig.pods().is_empty());
    let uid = rig.get("job/held")["metadata"]["uid"].clone();
    rig.write("j.yaml", &job("held", "  suspend: false", "echo ran"));
    rig.wait("the Job is Complete", Duration::from_secs(40), |r| condition(&r.get("job/held"), "Complete") == "True");
    assert_eq!(rig.get("job/held")["metadata"]["uid"], uid, "suspend acts in place");
    rig.close();
}

#[test]
fn an_indexed_job_gives_each_pod_its_index() {
    let rig = Rig::new();
    rig.write(
        "j.yaml",
        &job("shards", "  completions: 3\n  parallelism: 3\n  completionMode: Indexed", "echo $JOB_COMPLETION_INDEX on $HOSTNAME"),
    );
    rig.wait("the Job is Complete", Duration::from_secs(40), |r| condition(&r.get("job/shards"), "Complete") == "True");
    assert_eq!(rig.get("job/shards")["status"]["completedIndexes"], "0-2");
    let mut lines: Vec<String> =
        rig.pods().iter().map(|p| rig.cli(&["logs", p["metadata"]["name"].as_str().unwrap()]).trim().to_owned()).collect();
    lines.sort();
    assert_eq!(lines, ["0 on shards-0", "1 on shards-1", "2 on shards-2"]);
    rig.close();
}

#[test]
fn an_immutable_change_replaces_the_job() {
    let rig = Rig::new();
    rig.write("j.yaml", &job("v", "", "echo one; sleep 600"));
    rig.wait("the first runs", Duration::from_secs(40), |r| r.pods().iter().any(|p| phase(p) == "Running"));
    let uid = rig.get("job/v")["metadata"]["uid"].clone();
    rig.write("j.yaml", &job("v", "", "echo two"));
    rig.wait("the second is Complete", Duration::from_secs(60), |r| condition(&r.get("job/v"), "Complete") == "True");
    assert_ne!(rig.get("job/v")["metadata"]["uid"], uid);
    assert_eq!(rig.pods().len(), 1);
    rig.close();
}
