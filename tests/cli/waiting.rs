//! wait against an agent: kubectl's words and exit codes, told by a watch.

use minik8s::api::Kind;
use serde_json::{Value, json};

use super::agent::{Agent, pod};
use super::{run, said};

fn job(name: &str, condition: Option<&str>) -> Value {
    let mut job =
        json!({"metadata": {"name": name, "namespace": "default", "uid": name, "labels": {"app": name}}, "spec": {"template": {}}});
    if let Some(kind) = condition {
        job["status"] = json!({"conditions": [{"type": kind, "status": "True"}]});
    }
    job
}

#[test]
fn it_ends_when_the_condition_is_met() {
    let agent = Agent::start();
    agent.put(Kind::Job, job("pi", None));
    let child = agent.spawn(&["wait", "--for=condition=complete", "job/pi", "--timeout=60s"]);
    agent.put(Kind::Job, job("pi", Some("Complete")));
    let met = |name: &str| (0, format!("{name} condition met\n"), String::new());
    assert_eq!(said(&child.wait_with_output().expect("it ends")), met("job.batch/pi"));
    let child = agent.spawn(&["wait", "--for=create", "pod/web", "--timeout=60s"]);
    agent.put(Kind::Pod, pod("web"));
    assert_eq!(said(&child.wait_with_output().expect("it ends")), met("pod/web"));
    assert_eq!(agent.run(&["wait", "--for=jsonpath={.status.phase}=Running", "pod", "web", "--timeout", "0s"]), met("pod/web"));
    assert_eq!(agent.run(&["wait", "--for=condition=complete", "jobs", "-l", "app=pi", "-o", "name"]).1, "job.batch/pi\n");
    assert_eq!(agent.run(&["wait", "--for=delete", "pod/none"]), (0, String::new(), String::new()), "it is gone already");
}

#[test]
fn it_says_what_was_not_met_as_kubectl_does() {
    let agent = Agent::start();
    agent.put(Kind::Job, job("a", None));
    agent.put(Kind::Job, job("b", Some("Complete")));
    agent.put(Kind::Job, job("c", None));
    let late = "error: timed out waiting for the condition on jobs/a\n";
    assert_eq!(agent.run(&["wait", "--for=condition=complete", "job/a", "--timeout=1s"]), (1, String::new(), late.into()));
    assert_eq!(agent.run(&["wait", "--for=delete", "job/a", "--timeout=1s"]), (1, String::new(), late.into()));
    let both = "timed out waiting for the condition on jobs/a\ntimed out waiting for the condition on jobs/c\n";
    let all = agent.run(&["wait", "--for=condition=complete", "jobs", "--all", "--timeout=1s"]);
    assert_eq!(all, (1, "job.batch/b condition met\n".into(), both.into()), "who is ready is told though the time is up");
    let once = agent.run(&["wait", "--for=condition=complete", "job/a", "--timeout=0s"]);
    assert_eq!(once.2, "error: condition not met for jobs/a\n");
    let missing = agent.run(&["wait", "--for=condition=complete", "job/x", "--timeout=5s"]);
    assert_eq!(missing, (1, String::new(), "Error from server (NotFound): jobs.batch \"x\" not found\n".into()));
    assert_eq!(agent.run(&["wait", "--for=create", "job/x", "--timeout=0"]).2, "error: timed out waiting for the condition\n");
    assert_eq!(agent.run(&["wait", "--for=condition=ready", "pods", "--all"]).2, "error: no matching resources found\n");
    assert_eq!(agent.run(&["wait", "--for=condition=ready", "pods"]).2, "error: resource(s) were provided, but no name was specified\n");
    let nested = "error: jsonpath leads to a nested object or list which is not supported\n";
    assert_eq!(agent.run(&["wait", "--for=jsonpath={.spec}=1", "job/a"]), (1, String::new(), nested.into()));
}

#[test]
fn a_wrong_condition_is_told_before_anybody_is_asked() {
    assert_eq!(run(&["wait", "--for=ready", "pod/a"]), (1, String::new(), "error: unrecognized condition: \"ready\"\n".into()));
    assert_eq!(run(&["wait", "pod/a"]).0, 2);
}
