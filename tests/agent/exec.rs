//! exec, attach and cp: commands in running containers, their streams, terminals and ends.

use std::fs::File;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::pty::{OpenptyResult, Winsize, openpty};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::lab::eventually;
use crate::rig::{Rig, all_run, phase};

const WAIT: Duration = Duration::from_secs(40);
const POD: &str = "p-lab-node";
const MANIFEST: &str = r#"
apiVersion: v1
kind: Pod
metadata: {name: p}
spec:
  terminationGracePeriodSeconds: 0
  containers:
  - name: main
    image: busybox
    workingDir: /tmp
    env: [{name: GREETING, value: hello}]
    securityContext: {runAsUser: 1234, capabilities: {drop: [ALL]}}
    command: [sh, -c, "while :; do echo tick; sleep 0.2; done"]
  - {name: side, image: busybox, command: [sleep, "100000"]}
"#;

fn rig() -> Rig {
    let rig = Rig::new();
    rig.write("p.yaml", MANIFEST);
    rig.wait("it runs", WAIT, |r| r.pods().iter().any(|p| all_run(p, 2)));
    rig
}

/// (exit code, stdout, stderr).
fn said(output: &Output) -> (i32, String, String) {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.code().unwrap_or(-1), text(&output.stdout), text(&output.stderr))
}

fn exec(rig: &Rig, flags: &[&str], command: &[&str]) -> (i32, String, String) {
    let args = [&["exec"], flags, &[POD, "--"], command].concat();
    said(&rig.minik8s(&args).output().unwrap())
}

/// Whether a process with this argument runs on the host (the containers' among them), other than a command line of ours.
fn runs(argument: &str) -> bool {
    let is = |pid: &str| {
        let words = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        let words: Vec<&[u8]> = words.split(|b| *b == 0).collect();
        words.first().is_some_and(|w| w.ends_with(b"sleep")) && words.contains(&argument.as_bytes())
    };
    std::fs::read_dir("/proc").unwrap().flatten().any(|e| e.file_name().to_str().is_some_and(is))
}

/// The agent's directories of executed processes.
fn leftovers(rig: &Rig) -> usize {
    std::fs::read_dir(rig.dir("run").join("exec")).map_or(0, Iterator::count)
}

fn end(mut child: Child, signal: Signal) -> i32 {
    kill(Pid::from_raw(child.id().try_into().unwrap()), signal).unwrap();
    let status = child.wait().unwrap();
    status.code().unwrap_or_else(|| 128 + status.signal().unwrap())
}

#[test]
fn a_command_has_the_containers_surroundings_and_its_exit_code_is_ours() {
    let rig = rig();
    let script = "echo $GREETING; pwd; id -u; grep CapBnd /proc/self/status; echo problem >&2; exit 3";
    let (code, out, err) = exec(&rig, &["-c", "main"], &["sh", "-c", script]);
    assert_eq!((code, out.as_str()), (3, "hello\n/tmp\n1234\nCapBnd:\t0000000000000000\n"), "{err}");
    assert_eq!(err, "problem\ncommand terminated with exit code 3\n");
    let (code, out, err) = exec(&rig, &[], &["true"]);
    assert_eq!((code, out.as_str(), err.as_str()), (0, "", "Defaulted container \"main\" out of: main, side\n"));
    let (code, _, err) = exec(&rig, &["-c", "main"], &["/no/such/program"]);
    assert_eq!(code, 1, "{err}");
    assert!(
        err.starts_with("error: Internal error occurred: error executing command in container: ") && err.contains("/no/such/program"),
        "{err}"
    );
    let (code, _, err) = exec(&rig, &["-c", "gone"], &["true"]);
    assert_eq!((code, err.as_str()), (1, "Error from server (BadRequest): container gone is not valid for pod p-lab-node\n"));
    let (code, _, err) = said(&rig.minik8s(&["exec", "gone", "--", "true"]).output().unwrap());
    assert_eq!((code, err.as_str()), (1, "Error from server (NotFound): pods \"gone\" not found\n"));
    assert!(rig.log().contains("peer_uid=\"0\"") && rig.log().contains("program=\"sh\""), "{}", rig.log());
    assert!(!rig.log().contains("GREETING"), "arguments are not logged");
    eventually("nothing is left of them", || leftovers(&rig) == 0);
    rig.close();
}

#[test]
fn input_reaches_the_command_and_its_end_too() {
    let rig = rig();
    let mut child =
        rig.minik8s(&["exec", "-i", "-c", "main", POD, "--", "cat"]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let mut stdout = BufReader::new(child.stdout.take().unwrap());
    stdin.write_all(b"one\n").unwrap();
    let mut line = String::new();
    stdout.read_line(&mut line).unwrap();
    assert_eq!(line, "one\n", "what is typed is answered while the input is open");
    let much: Vec<u8> = (0..3_000_000_u32).map(|n| u8::try_from(n % 251).unwrap()).collect();
    let expected = much.clone();
    let writing = std::thread::spawn(move || stdin.write_all(&much).unwrap());
    let mut answer = Vec::new();
    stdout.read_to_end(&mut answer).unwrap();
    writing.join().unwrap();
    assert!(answer == expected, "3 MB there and back, {} came", answer.len());
    assert_eq!(child.wait().unwrap().code(), Some(0));
    rig.close();
}

#[test]
fn a_command_ends_with_its_client_or_with_the_next_agent() {
    let mut rig = rig();
    let start = |rig: &Rig, seconds: &str| {
        let child = rig.minik8s(&["exec", "-c", "side", POD, "--", "sleep", seconds]).stdout(Stdio::null()).stderr(Stdio::null()).spawn();
        eventually("it runs", || runs(seconds));
        child.unwrap()
    };
    let child = start(&rig, "987651");
    assert_eq!(end(child, Signal::SIGKILL), 137);
    eventually("the command ends with its client", || !runs("987651"));
    eventually("and leaves nothing", || leftovers(&rig) == 0);
    let mut child = start(&rig, "987650");
    rig.stop_agent();
    assert!(!runs("987650") && leftovers(&rig) == 0, "an agent that is told to stop ends what it executes");
    assert_eq!(child.wait().unwrap().code(), Some(1));
    rig.start_agent();
    let mut child = start(&rig, "987652");
    rig.kill_agent();
    assert_eq!(child.wait().unwrap().code(), Some(1), "the client is told that the agent went away");
    assert!(runs("987652") && leftovers(&rig) == 1, "nobody is there to end it");
    rig.start_agent();
    eventually("the next agent ends it", || !runs("987652"));
    eventually("and leaves nothing", || leftovers(&rig) == 0);
    let child = start(&rig, "987653");
    rig.signal_container("side", 9);
    eventually("it ends with its container", || !runs("987653"));
    assert_eq!(child.wait_with_output().unwrap().status.code(), Some(137));
    rig.close();
}

/// A terminal of 100 × 30, and the name of its slave.
fn terminal() -> (File, OwnedFd, String) {
    let size = Winsize { ws_row: 30, ws_col: 100, ws_xpixel: 0, ws_ypixel: 0 };
    let OpenptyResult { master, slave } = openpty(Some(&size), None).unwrap();
    let name = nix::unistd::ttyname(&slave).unwrap().display().to_string();
    (File::from(master), slave, name)
}

fn stty(name: &str, args: &[&str]) -> String {
    let output = Command::new("stty").args(["-F", name]).args(args).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// Reads what the terminal shows until it has shown `text`.
/// Reads until the text comes, and all before it. Fails where it does not come in time.
fn shows(terminal: &mut (impl Read + AsFd), text: &str) -> String {
    let (mut seen, mut byte, begun) = (Vec::new(), [0], Instant::now());
    while !seen.ends_with(text.as_bytes()) {
        let left = PollTimeout::try_from(WAIT.saturating_sub(begun.elapsed())).unwrap();
        let ready = poll(&mut [PollFd::new(terminal.as_fd(), PollFlags::POLLIN)], left).unwrap();
        assert_eq!(ready, 1, "{text:?} does not come after {:?}", String::from_utf8_lossy(&seen));
        assert_eq!(terminal.read(&mut byte).unwrap(), 1, "{}", String::from_utf8_lossy(&seen));
        seen.push(byte[0]);
    }
    String::from_utf8_lossy(&seen).into_owned()
}

#[test]
fn a_terminal_has_our_size_and_ours_is_as_before_afterwards() {
    let rig = rig();
    let (mut master, slave, name) = terminal();
    let before = stty(&name, &["-g"]);
    let args =
        ["exec", "-it", "-c", "side", POD, "--", "sh", "-c", "tty; stty size; read x; stty size; echo got $x; sleep 987654; echo over"];
    let command = |slave: &OwnedFd| {
        let end = || Stdio::from(slave.try_clone().unwrap());
        rig.minik8s(&args).stdin(end()).stdout(end()).stderr(end()).spawn().unwrap()
    };
    let child = command(&slave);
    let seen = shows(&mut master, "30 100\r\n");
    assert!(seen.contains("/dev/pts/"), "{seen}");
    assert_ne!(stty(&name, &["-g"]), before, "raw while it runs");
    stty(&name, &["rows", "40", "cols", "120"]);
    kill(Pid::from_raw(child.id().try_into().unwrap()), Signal::SIGWINCH).unwrap();
    // The size is passed on before what is typed after it.
    eventually("the new size has arrived", || {
        rig.cli(&["exec", "-c", "side", POD, "--", "sh", "-c", "stty size -F /dev/pts/0"]).trim() == "40 120"
    });
    master.write_all(b"word\n").unwrap();
    shows(&mut master, "40 120\r\ngot word\r\n");
    eventually("it goes on", || runs("987654"));
    master.write_all(b"\x03").unwrap();
    let mut child = child;
    assert_eq!(child.wait().unwrap().code(), Some(130), "Ctrl-C is the command's, not ours");
    stty(&name, &["rows", "30", "cols", "100"]);
    assert_eq!(stty(&name, &["-g"]), before);
    let child = command(&slave);
    shows(&mut master, "30 100\r\n");
    assert_eq!(end(child, Signal::SIGTERM), 143);
    assert_eq!(stty(&name, &["-g"]), before, "as before also after a signal");
    rig.close();
}

#[test]
fn a_terminal_is_attached_to_and_outlives_client_and_agent() {
    let mut rig = Rig::new();
    rig.write(
        "t.yaml",
        r#"
apiVersion: v1
kind: Pod
metadata: {name: p}
spec:
  terminationGracePeriodSeconds: 0
  containers:
  - {name: main, image: busybox, stdin: true, tty: true, command: [sh, -c, "while read x; do echo got $x; stty size; done"]}
"#,
    );
    rig.wait("it runs", WAIT, |r| r.pods().iter().any(|p| phase(p) == "Running"));
    let pid = rig.container_pid("main");
    for word in ["one", "two"] {
        let (mut master, slave, name) = terminal();
        let before = stty(&name, &["-g"]);
        let end_of = || Stdio::from(slave.try_clone().unwrap());
        let child = rig.minik8s(&["attach", "-it", POD]).stdin(end_of()).stdout(end_of()).stderr(end_of()).spawn().unwrap();
        shows(&mut master, "If you don't see a command prompt, try pressing enter.\r\n");
        eventually("it is raw", || stty(&name, &["-g"]) != before);
        master.write_all(format!("{word}\n").as_bytes()).unwrap();
        shows(&mut master, &format!("got {word}\r\n30 100\r\n"));
        assert_eq!(end(child, Signal::SIGTERM), 143);
        assert_eq!(stty(&name, &["-g"]), before);
        rig.kill_agent();
        rig.start_agent();
    }
    assert_eq!(rig.container_pid("main"), pid);
    rig.close();
}

#[test]
fn without_a_terminal_here_there_is_none_there() {
    let rig = rig();
    let (code, out, err) = exec(&rig, &["-it", "-c", "side"], &["tty"]);
    assert_eq!((code, out.as_str()), (1, "not a tty\n"));
    assert!(err.starts_with("Unable to use a TTY - input is not a terminal or the right kind of file\n"), "{err}");
    let (code, _, err) = said(&rig.minik8s(&["attach", "-i", "-c", "main", POD]).output().unwrap());
    assert_eq!(code, 1);
    assert!(err.contains("container main has no stdin: its spec needs `stdin: true`; attach without -i"), "{err}");
    let mut child = rig.minik8s(&["attach", "-t", "-c", "main", POD]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    shows(child.stdout.as_mut().unwrap(), "tick\ntick\n");
    let mut complaint = String::new();
    BufReader::new(child.stderr.take().unwrap()).read_line(&mut complaint).unwrap();
    assert_eq!(complaint, "error: Unable to use a TTY - container main did not allocate one\n");
    rig.signal_container("main", 9);
    assert_eq!(child.wait().unwrap().code(), Some(0), "attach ends with the container");
    rig.close();
}

#[test]
fn files_go_in_and_come_back() {
    let rig = rig();
    let here = rig.dir("here");
    std::fs::create_dir_all(here.join("tree/sub")).unwrap();
    let much: Vec<u8> = (0..2_000_000_u32).map(|n| u8::try_from(n % 241).unwrap()).collect();
    std::fs::write(here.join("tree/much"), &much).unwrap();
    std::fs::write(here.join("tree/sub/small"), "text").unwrap();
    let local = |name: &str| here.join(name).display().to_string();
    let cp = |from: &str, to: &str| said(&rig.minik8s(&["cp", "-c", "side", from, to]).output().unwrap());
    assert_eq!(cp(&local("tree"), &format!("{POD}:/tmp/copy")), (0, String::new(), String::new()));
    assert_eq!(rig.cli(&["exec", "-c", "side", POD, "--", "cat", "/tmp/copy/sub/small"]), "text");
    assert_eq!(cp(&local("tree/sub/small"), &format!("default/{POD}:/tmp")).0, 0, "into a directory");
    rig.cli(&["exec", "-c", "side", POD, "--", "ln", "-s", "/etc/passwd", "/tmp/copy/link"]);
    let (code, _, err) = cp(&format!("{POD}:/tmp/copy"), &local("back"));
    assert_eq!(code, 0, "{err}");
    assert!(err.contains("warning: skipping symlink: \"tmp/copy/link\" -> \"/etc/passwd\""), "{err}");
    assert!(std::fs::read(here.join("back/much")).unwrap() == much);
    assert_eq!(std::fs::read_to_string(here.join("back/sub/small")).unwrap(), "text");
    assert!(here.join("back/link").symlink_metadata().is_err());
    assert_eq!(cp(&format!("{POD}:/tmp/small"), &local("one")).0, 0);
    assert_eq!(std::fs::read_to_string(here.join("one")).unwrap(), "text");
    let (code, _, err) = cp(&format!("{POD}:/tmp/none"), &local("none"));
    assert_ne!(code, 0);
    assert!(err.contains("tar: ") && err.contains("command terminated with exit code"), "{err}");
    let (code, _, err) = cp(&local("none"), &format!("{POD}:/tmp/none"));
    assert_eq!((code, err), (1, format!("error: {} doesn't exist in local filesystem\n", local("none"))));
    rig.close();
}
