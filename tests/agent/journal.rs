//! What the journal is given: the agent runs where this test listens in journald's place (in a mount namespace of its own), without containerd.

use std::collections::BTreeMap;
use std::os::unix::net::UnixDatagram;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::lab::cleanup;

const WAIT: Duration = Duration::from_secs(30);

/// Such an agent, ended and cleaned up after when dropped.
struct Agent {
    child: Child,
    name: String,
}

impl Agent {
    fn start(dir: &std::path::Path) -> Agent {
        let number = std::process::id() % 10_000;
        let name = format!("mj{number}");
        let script =
            "mount -t tmpfs tmpfs /run && mkdir -p /run/systemd/journal && mount --bind \"$0\" /run/systemd/journal && exec \"$@\"";
        let mut command = Command::new("unshare");
        command.args(["-m", "--propagation", "private", "sh", "-c", script]).arg(dir.join("journal"));
        command.args([env!("CARGO_BIN_EXE_minik8s"), "agent", "--log-format", "journald", "--node-name", "n1", "--eviction-hard", ""]);
        for (flag, place) in [
            ("--manifests", "manifests"),
            ("--state-dir", "state"),
            ("--run-dir", "run"),
            ("--pod-logs", "pods"),
            ("--container-logs", "containers"),
            ("--cni-conf-dir", "cni"),
        ] {
            std::fs::create_dir(dir.join(place)).unwrap();
            command.arg(flag).arg(dir.join(place));
        }
        command.arg("--socket").arg(dir.join("sock")).arg("--containerd").arg(dir.join("no-containerd"));
        command.args(["--containerd-namespace", &name, "--bridge-name", &name, "--cgroup-root", &format!("minik8s-{name}")]);
        let child = command.env("RUST_LOG", "info").stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        Agent { child, name }
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        cleanup::remove_masquerade(&format!("MINIK8S-{}", self.name));
        cleanup::remove_cgroups(&format!("minik8s-{}", self.name));
    }
}

/// The fields of one entry in journald's native protocol: `NAME=value\n`, or `NAME\n`, eight bytes of length, the value and `\n`.
fn fields(mut entry: &[u8]) -> BTreeMap<String, String> {
    let mut fields = BTreeMap::new();
    while let Some(end) = entry.iter().position(|b| *b == b'\n') {
        let (head, rest) = (String::from_utf8(entry[..end].to_vec()).unwrap(), &entry[end + 1..]);
        if let Some((name, value)) = head.split_once('=') {
            fields.insert(name.to_owned(), value.to_owned());
            entry = rest;
            continue;
        }
        let length = usize::try_from(u64::from_le_bytes(rest[..8].try_into().unwrap())).unwrap();
        fields.insert(head, String::from_utf8(rest[8..8 + length].to_vec()).unwrap());
        entry = &rest[8 + length + 1..];
    }
    fields
}

/// The first entries with these messages, in whichever order they come.
fn entries<const N: usize>(journal: &UnixDatagram, messages: [&str; N]) -> [BTreeMap<String, String>; N] {
    let (begun, mut bytes, mut seen) = (Instant::now(), vec![0; 64 << 10], BTreeMap::new());
    while !messages.iter().all(|message| seen.contains_key(*message)) {
        assert!(begun.elapsed() < WAIT, "not all of {messages:?} are in {:?}", seen.keys());
        let Ok(length) = journal.recv(&mut bytes) else { continue };
        let fields = fields(&bytes[..length]);
        let told = fields.get("MESSAGE").cloned().unwrap_or_default();
        seen.entry(told).or_insert(fields);
    }
    messages.map(|message| seen[message].clone())
}

#[test]
fn an_entry_has_message_priority_identifier_and_the_event_s_fields() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::create_dir(dir.path().join("journal")).unwrap();
    let journal = UnixDatagram::bind(dir.path().join("journal/socket")).unwrap();
    journal.set_read_timeout(Some(Duration::from_secs(1))).unwrap();
    let _agent = Agent::start(dir.path());
    let has = |entry: &BTreeMap<String, String>, name: &str| entry.get(name).cloned().unwrap_or_else(|| panic!("{name} in {entry:?}"));
    let manifests = dir.path().join("manifests").display().to_string();
    let [runs, waits] = entries(&journal, ["minik8s is running", "containerd does not answer; trying on"]);
    for (name, value) in
        [("SYSLOG_IDENTIFIER", "minik8s"), ("PRIORITY", "5"), ("TARGET", "minik8s::daemon"), ("F_NODE", "n1"), ("F_MANIFESTS", &manifests)]
    {
        assert_eq!(has(&runs, name), value, "{name}");
    }
    assert_eq!(
        (has(&waits, "PRIORITY"), has(&waits, "F_SOCKET")),
        ("4".to_owned(), dir.path().join("no-containerd").display().to_string())
    );
    assert!(!has(&waits, "F_CAUSE").is_empty());
}
