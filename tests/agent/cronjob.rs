//! CronJobs on the real clock: one minute is waited for.

use std::time::Duration;

use crate::rig::{Rig, condition};

#[test]
fn a_cron_job_runs_once_at_the_minute_and_is_remembered() {
    let mut rig = Rig::new();
    let out = rig.dir("out");
    rig.write(
        "hello.yaml",
        &format!(
            r#"
apiVersion: batch/v1beta1
kind: CronJob
metadata: {{name: hello}}
spec:
  schedule: "*/1 * * * *"
  jobTemplate:
    spec:
      template:
        spec:
          restartPolicy: OnFailure
          containers:
          - name: hello
            image: busybox
            args: [/bin/sh, -c, "date >> /out/runs"]
            volumeMounts: [{{name: out, mountPath: /out}}]
          volumes: [{{name: out, hostPath: {{path: {}}}}}]
"#,
            out.display()
        ),
    );
    rig.wait("a Job of the minute is Complete", Duration::from_secs(90), |r| {
        r.list("jobs").iter().any(|j| condition(j, "Complete") == "True")
    });
    let job = rig.list("jobs").remove(0);
    let scheduled = rig.get("cronjob/hello")["status"]["lastScheduleTime"].as_str().unwrap().parse::<jiff::Timestamp>().unwrap();
    assert_eq!(job["metadata"]["name"], format!("hello-{}", scheduled.as_second() / 60));
    assert_eq!(scheduled.as_second() % 60, 0);
    rig.kill_agent();
    rig.start_agent();
    rig.settle();
    let runs = std::fs::read_to_string(out.join("runs")).unwrap();
    let jobs = rig.list("jobs").len();
    assert_eq!(runs.lines().count(), jobs, "a restart runs no slot again: {runs}");
    let table = rig.cli(&["get", "cronjobs"]);
    assert!(table.contains("LAST SCHEDULE") && table.contains("*/1 * * * *"), "{table}");
    rig.close();
}
