//! trigger and rerun: killed with -9 as soon as they have answered, each happens all the same, and once.

use std::path::Path;
use std::time::Duration;

use crate::rig::{Rig, condition};

fn template(out: &Path, indent: &str) -> String {
    let lines = [
        "template:".to_owned(),
        "  spec:".to_owned(),
        "    restartPolicy: Never".to_owned(),
        "    containers:".to_owned(),
        "    - {name: main, image: busybox, command: [sh, -c, 'echo run >> /out/runs'], volumeMounts: [{name: out, mountPath: /out}]}"
            .to_owned(),
        format!("    volumes: [{{name: out, hostPath: {{path: {}}}}}]", out.display()),
    ];
    lines.map(|line| format!("{indent}{line}\n")).concat()
}

fn runs(out: &Path) -> usize {
    std::fs::read_to_string(out.join("runs")).unwrap_or_default().lines().count()
}

#[test]
fn what_was_asked_for_survives_a_kill_and_happens_once() {
    let mut rig = Rig::new();
    let out = rig.dir("out");
    rig.write("j.yaml", &format!("apiVersion: batch/v1\nkind: Job\nmetadata: {{name: once}}\nspec:\n{}", template(&out, "  ")));
    let complete =
        |rig: &Rig, job: &str| rig.wait("the Job is Complete", Duration::from_secs(60), |r| condition(&r.get(job), "Complete") == "True");
    complete(&rig, "job/once");
    for run in 2..5 {
        let before = rig.get("job/once")["metadata"]["uid"].clone();
        rig.cli(&["rerun", "job/once", "--wait=false"]);
        rig.kill_agent();
        rig.start_agent();
        rig.wait("there is another Job", Duration::from_secs(60), |r| {
            r.list("jobs").iter().any(|job| job["metadata"]["uid"] != before && condition(job, "Complete") == "True")
        });
        assert_eq!((runs(&out), rig.pods().len()), (run, 1), "each wish one run, and the pods of the one before are gone");
    }
    let events = rig.cli(&["events", "--for", "job/once"]);
    assert!(events.contains("Runs again, as asked for") && events.contains("Made again, as asked for"), "{events}");
    let cron = "apiVersion: batch/v1\nkind: CronJob\nmetadata: {name: tick}\nspec:\n  schedule: '0 0 29 2 *'\n  jobTemplate:\n    spec:\n";
    rig.write("c.yaml", &format!("{cron}{}", template(&out, "      ")));
    rig.wait("the CronJob is there", Duration::from_secs(20), |r| !r.list("cronjobs").is_empty());
    rig.cli(&["trigger", "cronjob/tick", "--name", "now"]);
    rig.kill_agent();
    rig.start_agent();
    complete(&rig, "job/now");
    assert_eq!(runs(&out), 5);
    rig.wait("the CronJob saw it end", Duration::from_secs(20), |r| {
        let status = r.get("cronjob/tick")["status"].clone();
        status["lastSuccessfulTime"].is_string() && status["active"].is_null()
    });
    assert!(rig.cli_fails(&["trigger", "cronjob/tick", "--name", "now"]).contains("already exists"));
    rig.close();
}
