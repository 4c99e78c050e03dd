//! The input of containers without a terminal: attached to, kept open, closed once, and empty where there is none.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::MetadataExt as _;
use std::process::{Child, ChildStdin, ChildStdout, Stdio};
use std::time::Duration;

use crate::rig::{Rig, phase};

const WAIT: Duration = Duration::from_secs(40);
const POD: &str = "p-lab-node";

fn rig(container: &str) -> Rig {
    let rig = Rig::new();
    let spec = "terminationGracePeriodSeconds: 0, restartPolicy: Never";
    let text = format!("apiVersion: v1\nkind: Pod\nmetadata: {{name: p}}\nspec: {{{spec}, containers: [{container}]}}\n");
    rig.write("p.yaml", &text);
    rig.wait("it has started", WAIT, |r| r.pods().iter().any(|p| phase(p) != "Pending"));
    rig
}

/// An `attach -i`, and what it says.
struct Attached {
    child: Child,
    stdin: ChildStdin,
    stdout: BufReader<ChildStdout>,
}

impl Attached {
    fn to(rig: &Rig) -> Attached {
        let mut child = rig
            .minik8s(&["attach", "-i", "-q", POD])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit())
            .spawn()
            .unwrap();
        let (stdin, stdout) = (child.stdin.take().unwrap(), BufReader::new(child.stdout.take().unwrap()));
        Attached { child, stdin, stdout }
    }

    fn say(&mut self, line: &str) {
        self.stdin.write_all(format!("{line}\n").as_bytes()).unwrap();
    }

    fn hear(&mut self) -> String {
        let mut line = String::new();
        self.stdout.read_line(&mut line).unwrap();
        line.trim_end().to_owned()
    }

    /// No more input; the exit code, and what else was said.
    fn finish(mut self) -> (Option<i32>, String) {
        drop(self.stdin);
        let mut rest = String::new();
        while self.stdout.read_line(&mut rest).unwrap() > 0 {}
        (self.child.wait().unwrap().code(), rest)
    }
}

/// The runtime has given the pipe to the container's user, whose number a user of the host may have, too.
fn nobody_else_gets_at_it(rig: &Rig) {
    let pods = rig.dir("pods").read_dir().unwrap();
    let pipe = pods.map(|pod| pod.unwrap().path().join("main/input/0.input")).find(|pipe| pipe.exists()).unwrap();
    assert_eq!(pipe.metadata().unwrap().uid(), 1234);
    let dir = pipe.parent().unwrap().metadata().unwrap();
    assert_eq!((dir.uid(), dir.mode() & 0o7777), (0, 0o700));
}

fn exit_code(rig: &Rig) -> serde_json::Value {
    rig.pods()[0]["status"]["containerStatuses"][0]["state"]["terminated"]["exitCode"].clone()
}

#[test]
fn an_input_stays_open_over_clients_and_agents() {
    let mut rig = rig(
        r#"{name: main, image: busybox, stdin: true, securityContext: {runAsUser: 1234}, command: [sh, -c, "while read x; do echo got $x; test $x != end || exit 3; done; echo closed"]}"#,
    );
    let pid = rig.container_pid("main");
    nobody_else_gets_at_it(&rig);
    let mut first = Attached::to(&rig);
    first.say("one");
    assert_eq!(first.hear(), "got one");
    let mut second = Attached::to(&rig);
    second.say("two");
    assert_eq!(second.hear(), "got two");
    assert_eq!(first.hear(), "got two", "both see all output");
    assert_eq!(first.finish().0, Some(0), "a session ends with its input");
    second.say("three");
    assert_eq!(second.hear(), "got three", "the input is open for others");
    rig.kill_agent();
    assert_eq!(second.finish().0, Some(1));
    std::fs::remove_dir_all(rig.dir("run").join("stdin")).unwrap();
    rig.start_agent();
    assert_eq!(rig.container_pid("main"), pid);
    let mut third = Attached::to(&rig);
    third.say("four");
    assert_eq!(third.hear(), "got four", "and after a kill of the agent");
    rig.stop_agent();
    third.finish();
    rig.start_agent();
    let mut last = Attached::to(&rig);
    last.say("end");
    assert_eq!(last.finish().0, Some(0));
    rig.wait("it has ended", WAIT, |r| exit_code(r) == 3);
    assert!(!rig.cli(&["logs", POD]).contains("closed"));
    rig.close();
}

#[test]
fn with_stdin_once_the_input_ends_with_the_first_client() {
    let mut rig = rig("{name: main, image: busybox, stdin: true, stdinOnce: true, command: [cat]}");
    let mut client = Attached::to(&rig);
    client.say("one");
    assert_eq!(client.hear(), "one");
    rig.kill_agent();
    assert_eq!(client.finish().0, Some(1));
    rig.start_agent();
    let mut client = Attached::to(&rig);
    client.say("two");
    assert_eq!(client.hear(), "two", "a killed agent is no client that goes");
    client.say("three");
    assert_eq!(client.finish(), (Some(0), "three\n".to_owned()), "the container's end is told to who closed its input");
    rig.wait("cat has ended", WAIT, |r| exit_code(r) == 0);
    assert_eq!(rig.cli(&["logs", POD]), "one\ntwo\nthree\n");
    rig.close();
}

#[test]
fn a_client_that_is_killed_has_gone_too_and_a_second_one_only_listens() {
    let rig = rig(
        r#"{name: main, image: busybox, stdin: true, stdinOnce: true, command: [sh, -c, "cat; echo closed; while ! test -e /go; do sleep 0.1; done; cat; echo over"]}"#,
    );
    let mut client = Attached::to(&rig);
    client.say("one");
    assert_eq!(client.hear(), "one");
    client.child.kill().unwrap();
    client.child.wait().unwrap();
    rig.wait("its input is closed", WAIT, |r| r.cli(&["logs", POD]) == "one\nclosed\n");
    let mut late = Attached::to(&rig);
    late.say("two");
    rig.cli(&["exec", POD, "--", "touch", "/go"]);
    assert_eq!(late.hear(), "over");
    assert_eq!(late.finish(), (Some(0), String::new()));
    assert_eq!(rig.cli(&["logs", POD]), "one\nclosed\nover\n");
    rig.close();
}

#[test]
fn without_stdin_the_input_is_empty() {
    let rig = rig(r#"{name: main, image: busybox, command: [sh, -c, "cat; readlink /proc/self/fd/0"]}"#);
    rig.wait("it has ended", WAIT, |r| exit_code(r) == 0);
    assert_eq!(rig.cli(&["logs", POD]), "/dev/null\n");
    assert!(rig.cli_fails(&["attach", "-i", POD]).contains("cannot attach"), "an ended container");
    rig.close();
}
