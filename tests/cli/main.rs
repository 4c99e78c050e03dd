//! The built binary: exact stdout, stderr and exit codes; without an agent, with wrong flags, and against the API served by this process.

mod agent;
mod changing;
mod foreseeing;
mod looking;
mod operating;
mod running;
mod waiting;

use std::process::{Command, Output};

fn minik8s(args: &[&str]) -> Command {
    let mut command = Command::new(assert_cmd::cargo::cargo_bin!("minik8s"));
    command.args(args).env_remove("MINIK8S_SOCKET");
    command
}

/// (exit code, stdout, stderr).
fn said(output: &Output) -> (i32, String, String) {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).expect("output is UTF-8");
    (output.status.code().unwrap_or(-1), text(&output.stdout), text(&output.stderr))
}

fn run(args: &[&str]) -> (i32, String, String) {
    said(&minik8s(args).output().expect("the binary runs"))
}

#[test]
fn help_names_every_command_and_the_exit_codes() {
    let (code, out, err) = run(&["--help"]);
    assert_eq!((code, err.as_str()), (0, ""));
    let expected = "\
DaemonSets, Jobs and CronJobs run on this host from plain Kubernetes manifests, without a cluster

Usage: minik8s <COMMAND>

Commands:
  agent         Run the agent
  get           Show objects
  describe      Show objects in detail
  logs          Show what containers have written
  events        Show what happened, oldest first
  top           Show what pods and the node use
  exec          Run a command in a container
  attach        Connect to a running container
  cp            Copy files to and from containers
  port-forward  Reach a pod's TCP ports from here
  apply         Write manifests into the manifests directory
  diff          Show what apply would change
  delete        Delete objects
  wait          Wait for objects to be as they should
  trigger       Run a CronJob's Job now
  rerun         Run a finished Job again
  rollout       Show, follow, restart and undo rollouts of DaemonSets
  cordon        Mark the node as unschedulable
  uncordon      Mark the node as schedulable
  drain         Cordon the node and stop its pods
  taint         Set taints of the node
  label         Set labels of the node
  annotate      Set annotations of the node
  doctor        Check this host, and say what to do
  validate      Check manifests, without an agent
  explain       Show which fields of manifests are honoured, without an agent
  schedule      Explain a schedule and show its next runs, without an agent
  simulate      Play manifests in virtual time and show the timeline, without an agent
  plan          Show whether workloads will run on this node, and why not
  version       Show versions
  help          Print this message or the help of the given subcommand(s)

Options:
  -h, --help     Print help
  -V, --version  Print version

Exit codes: 0 done; 1 failed, or an object is not there; 2 wrong usage; exec: its command's;
diff: 1 where something differs, 2 where it failed.
Put manifests into /etc/minik8s (or use apply), then look with get, describe, logs and events.
";
    assert_eq!(out, expected);
    for client in ["--client", "--client-only"] {
        assert_eq!(run(&["version", client]).1, "Client Version: v0.1.0\n");
    }
}

#[test]
fn sessions_are_refused_in_kubectls_words_before_anybody_is_asked() {
    let why = |args: &[&str]| {
        let (code, out, err) = run(args);
        assert_eq!((code, out.as_str()), (1, ""), "{args:?}");
        err
    };
    assert_eq!(why(&["exec", "--", "ls"]), "error: pod or type/name must be specified\n");
    let dashes = "error: exec [POD] [COMMAND] is not supported anymore. Use exec [POD] -- [COMMAND] instead\n";
    assert_eq!(why(&["exec", "p", "ls"]), dashes);
    assert_eq!(why(&["exec", "p"]), "error: you must specify at least one command for the container: minik8s exec p -- COMMAND\n");
    assert_eq!(why(&["cp", "p:/a", "q:/b"]), "error: one of src or dest must be a local file specification\n");
    assert_eq!(why(&["cp", "a", "b"]), "error: one of src or dest must be a remote file specification\n");
    assert_eq!(why(&["port-forward", "p", "80", "--address", "nowhere"]), "error: nowhere is not a valid IP\n");
}

#[test]
fn without_an_agent_it_says_what_to_do() {
    let dir = tempfile::tempdir().expect("a directory");
    let socket = dir.path().join("none.sock");
    let (code, out, err) = run(&["get", "pods", "--socket", &socket.to_string_lossy()]);
    let expected = format!(
        "error: no minik8s agent answers on {}: start it (systemctl start minik8s), or name its socket with --socket or MINIK8S_SOCKET\n",
        socket.display()
    );
    assert_eq!((code, out.as_str(), err), (1, "", expected.clone()));
    drop(std::os::unix::net::UnixListener::bind(&socket).expect("a socket"));
    assert_eq!(run(&["get", "pods", "--socket", &socket.to_string_lossy()]).2, expected, "a dead agent's socket");
    let by_env = minik8s(&["get", "pods"]).env("MINIK8S_SOCKET", &socket).output().expect("it runs");
    assert_eq!(said(&by_env).2, expected);
}

#[test]
fn a_user_outside_the_group_is_told_to_join_it() {
    use std::os::unix::fs::PermissionsExt;
    use std::os::unix::process::CommandExt;
    let dir = tempfile::tempdir().expect("a directory");
    let open = std::fs::Permissions::from_mode(0o755);
    std::fs::set_permissions(dir.path(), open.clone()).expect("permissions");
    let socket = dir.path().join("s.sock");
    let _listener = std::os::unix::net::UnixListener::bind(&socket).expect("a socket");
    std::fs::set_permissions(&socket, std::fs::Permissions::from_mode(0o660)).expect("permissions");
    // The build directory may be closed to others.
    let binary = dir.path().join("minik8s");
    std::fs::copy(assert_cmd::cargo::cargo_bin!("minik8s"), &binary).expect("a copy");
    let output = Command::new(&binary).args(["get", "pods", "--socket"]).arg(&socket).uid(65534).gid(65534).output().expect("it runs");
    let expected = format!(
        "error: permission denied on {}: be root, or a member of the group minik8s (usermod -aG minik8s $USER, then log in again)\n",
        socket.display()
    );
    assert_eq!(said(&output), (1, String::new(), expected));
}

#[test]
fn wrong_flags_say_what_to_write() {
    for (args, message) in [
        (
            &["agent", "--taint", "a=b:Never"][..],
            "error: invalid value 'a=b:Never' for '--taint <KEY[=VALUE]:EFFECT>': \"Never\" is no effect: write NoSchedule, PreferNoSchedule or NoExecute\n",
        ),
        (
            &["agent", "--max-container-restart-period", "1h"],
            "error: invalid value '1h' for '--max-container-restart-period <DURATION>': write a duration from 1s to 300s, such as 60s or 5m\n",
        ),
        (
            &["agent", "--manifests", "here"],
            "error: invalid value 'here' for '--manifests <DIR>': write a path from the root, beginning with /\n",
        ),
        (
            &["agent", "--pod-cidr", "10.1.2.3/24"],
            "error: invalid value '10.1.2.3/24' for '--pod-cidr <A.B.C.D/N>': 10.1.2.3 is an address in the network; write the network itself, 10.1.2.0/24\n",
        ),
    ] {
        let (code, out, err) = run(args);
        assert_eq!((code, out.as_str()), (2, ""));
        assert!(err.starts_with(message), "{err}");
    }
    let (code, _, err) = run(&["agent", "--manifests", "/x", "--state-dir", "/x/y"]);
    assert_eq!(
        (code, err.as_str()),
        (2, "error: --manifests /x and --state-dir /x/y lie within each other; give each a directory of its own\n")
    );
    assert_eq!(run(&["get", "svc"]).2, "error: the server doesn't have a resource type \"svc\"\n");
    assert_eq!(run(&["get", "pods", "-o", "table"]).0, 2);
    assert_eq!(
        run(&["logs", "p", "--since", "5"]).2,
        "error: invalid argument \"5\" for \"--since\" flag: write a duration such as 5s, 2m or 3h\n"
    );
}
