//! One private containerd and one agent, with everything of theirs in a temporary directory, and the questions tests ask.

use std::io::Read;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::lab::{Lab, cleanup};

mod setting;

static NEXT: AtomicU32 = AtomicU32::new(0);

pub use crate::objects::{all_run, condition, phase, pod_name};

/// See the module.
pub struct Rig {
    pub lab: Lab,
    root: PathBuf,
    agent: Option<Child>,
    number: u32,
    flags: Vec<String>,
    eviction_hard: String,
    closed: bool,
}

impl Rig {
    /// The node's name.
    pub const NODE: &'static str = "lab-node";

    /// containerd and the agent, serving.
    pub fn new() -> Rig {
        Rig::with(|_| Vec::new())
    }

    /// As `new`, after `first` was done to the rig, with the flags it returns.
    pub fn with(first: impl FnOnce(&Rig) -> Vec<String>) -> Rig {
        let mut rig = Rig::prepare();
        rig.flags = first(&rig);
        rig.start_agent();
        rig
    }

    /// As `new`, where no CNI plugin is to be found.
    pub fn without_cni_plugins() -> Rig {
        Rig::with(|rig| vec!["--cni-bin-dir".into(), rig.dir("no-plugins").display().to_string()])
    }

    fn prepare() -> Rig {
        let number = std::process::id() % 10_000 * 100 + NEXT.fetch_add(1, Ordering::Relaxed);
        let lab = Lab::start();
        lab.import_busybox("docker.io/library/busybox:latest");
        lab.ctr(&["images", "label", "docker.io/library/busybox:latest", "io.cri-containerd.pinned=pinned"]);
        let root = lab.dir.join("rig");
        let rig = Rig { lab, root, agent: None, number, flags: Vec::new(), eviction_hard: String::new(), closed: false };
        for dir in ["manifests", "state", "run", "pods", "containers", "cni"] {
            rig.dir(dir);
        }
        rig
    }

    fn path(&self, name: &str) -> PathBuf {
        self.root.join(name)
    }

    /// A directory of this rig, made if needed.
    pub fn dir(&self, name: &str) -> PathBuf {
        let path = self.path(name);
        std::fs::create_dir_all(&path).unwrap();
        path
    }

    /// The manifests directory.
    pub fn manifests(&self) -> PathBuf {
        self.path("manifests")
    }

    /// The state file.
    pub fn state_file(&self) -> PathBuf {
        self.path("state").join("state.redb")
    }

    /// Where systemd would listen; the agent is told of it if it is there when the agent starts.
    pub fn notify_socket(&self) -> PathBuf {
        self.path("notify")
    }

    /// The agent's log so far.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.path("agent.log")).unwrap_or_default()
    }

    /// Writes a manifest as tools do: aside, then renamed into place.
    pub fn write(&self, name: &str, text: &str) {
        let (path, aside) = (self.manifests().join(name), self.path("aside"));
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&aside, text).unwrap();
        std::fs::rename(aside, path).unwrap();
    }

    /// Writes a manifest as `cat >` does.
    pub fn write_in_place(&self, name: &str, text: &str) {
        std::fs::write(self.manifests().join(name), text).unwrap();
    }

    /// Removes a manifest.
    pub fn remove(&self, name: &str) {
        std::fs::remove_file(self.manifests().join(name)).unwrap();
    }

    fn command(&self, extra: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_minik8s"));
        let n = self.number;
        command.arg("agent");
        for (flag, value) in [
            ("--manifests", self.manifests().display().to_string()),
            ("--state-dir", self.path("state").display().to_string()),
            ("--run-dir", self.path("run").display().to_string()),
            ("--pod-logs", self.path("pods").display().to_string()),
            ("--container-logs", self.path("containers").display().to_string()),
            ("--socket", self.path("sock").display().to_string()),
            ("--containerd", self.lab.socket().display().to_string()),
            ("--containerd-namespace", self.lab.namespace.clone()),
            ("--node-name", Rig::NODE.to_owned()),
            ("--cgroup-root", format!("minik8s-rig-{n}")),
            ("--cni-conf-dir", self.path("cni").display().to_string()),
            ("--bridge-name", format!("mk{n}")),
            // The host's own shortages are not the tests'.
            ("--eviction-hard", self.eviction_hard.clone()),
            ("--pod-cidr", format!("10.{}.{}.0/24", 100 + n / 256 % 100, n % 256)),
        ] {
            if !extra.contains(&flag) {
                command.arg(flag).arg(value);
            }
        }
        let path = format!("{}:{}", self.path("front").display(), std::env::var("PATH").unwrap_or_default());
        command.args(&self.flags).args(extra).env("RUST_LOG", "info").env("PATH", path).stdin(Stdio::null());
        if self.notify_socket().exists() {
            command.env("NOTIFY_SOCKET", self.notify_socket());
        }
        command
    }

    /// Starts the agent and waits until it answers.
    pub fn start_agent(&mut self) {
        let log = std::fs::File::options().create(true).append(true).open(self.path("agent.log")).unwrap();
        let child = self.command(&[]).stdout(log.try_clone().unwrap()).stderr(log).spawn().unwrap();
        self.agent = Some(child);
        let deadline = Instant::now() + Duration::from_secs(20);
        while !self.try_cli(&["version"]).0 {
            assert!(Instant::now() < deadline, "the agent does not answer:\n{}", self.log());
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// kill -9 of the agent.
    pub fn kill_agent(&mut self) {
        if let Some(mut agent) = self.agent.take() {
            agent.kill().unwrap();
            agent.wait().unwrap();
        }
    }

    /// SIGTERM of the agent, to its end.
    pub fn stop_agent(&mut self) {
        let mut agent = self.agent.take().unwrap();
        run("kill", &[&agent.id().to_string()]);
        assert_eq!(agent.wait().unwrap().code(), Some(0), "{}", self.log());
    }

    /// kill -9 of containerd.
    pub fn kill_containerd(&mut self) {
        self.lab.kill_containerd();
    }

    /// Starts containerd again on the same state.
    pub fn start_containerd(&mut self) {
        self.lab.start_containerd();
    }

    /// Runs another agent on the same state to its end: exit code and all it said.
    pub fn run_second_agent(&self) -> (i32, String) {
        self.run_agent_with(&[])
    }

    /// Runs another agent with more flags to its end.
    pub fn run_agent_with(&self, flags: &[&str]) -> (i32, String) {
        let mut child = self.command(flags).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let deadline = Instant::now() + Duration::from_secs(20);
        while child.try_wait().unwrap().is_none() {
            if Instant::now() > deadline {
                child.kill().unwrap();
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        let status = child.wait().unwrap();
        let mut said = String::new();
        child.stdout.take().unwrap().read_to_string(&mut said).unwrap();
        child.stderr.take().unwrap().read_to_string(&mut said).unwrap();
        (status.code().unwrap_or_else(|| 128 + status.signal().unwrap_or_default()), said)
    }

    /// The command line against this agent, to be connected and run as a test needs it.
    pub fn minik8s(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_minik8s"));
        command.env("MINIK8S_SOCKET", self.path("sock")).args(args).stdin(Stdio::null());
        command
    }

    fn try_cli(&self, args: &[&str]) -> (bool, String, String) {
        let output = self.minik8s(args).output().unwrap();
        (
            output.status.success(),
            String::from_utf8_lossy(&output.stdout).into_owned(),
            String::from_utf8_lossy(&output.stderr).into_owned(),
        )
    }

    /// What a command prints; it must succeed.
    pub fn cli(&self, args: &[&str]) -> String {
        let (ok, out, err) = self.try_cli(args);
        assert!(ok, "minik8s {args:?}: {err}\n{}", self.log());
        out
    }

    /// What a command says on stderr; it must fail.
    pub fn cli_fails(&self, args: &[&str]) -> String {
        let (ok, out, err) = self.try_cli(args);
        assert!(!ok, "minik8s {args:?} did not fail: {out}");
        err
    }

    /// All objects of a type in all namespaces.
    pub fn list(&self, kind: &str) -> Vec<Value> {
        let (ok, out, _) = self.try_cli(&["get", kind, "-A", "-o", "json"]);
        let list: Value = if ok { serde_json::from_str(&out).unwrap() } else { Value::Null };
        list["items"].as_array().cloned().unwrap_or_default()
    }

    /// All pods.
    pub fn pods(&self) -> Vec<Value> {
        self.list("pods")
    }

    /// One object by `[flag ]type/name`; null if there is none.
    pub fn get(&self, what: &str) -> Value {
        let mut args = vec!["get"];
        args.extend(what.split(' '));
        args.extend(["-o", "json"]);
        let (ok, out, _) = self.try_cli(&args);
        if ok { serde_json::from_str(&out).unwrap() } else { Value::Null }
    }

    /// Waits for a state, with a bound.
    pub fn wait(&self, what: &str, bound: Duration, state: impl Fn(&Rig) -> bool) {
        let deadline = Instant::now() + bound;
        while !state(self) {
            if Instant::now() > deadline {
                let objects: Vec<Value> = ["daemonsets", "cronjobs", "jobs", "pods"].iter().flat_map(|k| self.list(k)).collect();
                let events = self.try_cli(&["get", "events", "-A"]).1;
                panic!(
                    "not within {bound:?}: {what}\nobjects: {}\nevents:\n{events}\nagent:\n{}",
                    serde_json::to_string_pretty(&objects).unwrap(),
                    self.log()
                );
            }
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// Waits until nothing has changed for a second: for what must NOT happen.
    pub fn settle(&self) {
        let state = || (self.list("pods"), self.list("jobs"), self.list("daemonsets"));
        let (mut last, mut since) = (state(), Instant::now());
        let deadline = Instant::now() + Duration::from_secs(20);
        while since.elapsed() < Duration::from_secs(1) && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(100));
            let now = state();
            if now != last {
                (last, since) = (now, Instant::now());
            }
        }
    }

    /// How many tasks containerd has.
    pub fn tasks(&self) -> usize {
        self.task_list().len()
    }

    /// id → pid of every task.
    fn task_list(&self) -> Vec<(String, i32)> {
        let table = self.lab.ctr(&["tasks", "ls"]);
        let rows = table.lines().skip(1).map(|row| row.split_whitespace().collect::<Vec<_>>());
        rows.map(|row| (row[0].to_owned(), row[1].parse().unwrap())).collect()
    }

    pub fn containers(&self) -> Vec<String> {
        self.lab.ctr(&["containers", "ls", "-q"]).lines().map(str::to_owned).collect()
    }

    /// The host pid of the (only) running container with this name.
    pub fn container_pid(&self, container: &str) -> i32 {
        let id = self
            .pods()
            .iter()
            .flat_map(|p| p["status"]["containerStatuses"].as_array().cloned().unwrap_or_default())
            .find(|c| c["name"] == container)
            .unwrap()["containerID"]
            .as_str()
            .unwrap()
            .trim_start_matches("containerd://")
            .to_owned();
        self.task_list().iter().find(|(task, _)| *task == id).map(|(_, pid)| *pid).unwrap()
    }

    /// Sends a signal to a container's first process from outside, as an operator or the kernel would.
    pub fn signal_container(&self, container: &str, signal: i32) {
        run("kill", &[&format!("-{signal}"), &self.container_pid(container).to_string()]);
    }

    /// The clock ticks (1/100 s) of CPU the agent has used.
    pub fn agent_ticks(&self) -> u64 {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.agent.as_ref().unwrap().id())).unwrap();
        let fields: Vec<&str> = stat.rsplit_once(") ").unwrap().1.split(' ').collect();
        fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap()
    }

    /// Removes every manifest, waits until the pods are gone, stops the agent and checks that nothing is left.
    pub fn close(mut self) {
        for entry in std::fs::read_dir(self.manifests()).unwrap() {
            let path = entry.unwrap().path();
            let is_dir = std::fs::symlink_metadata(&path).unwrap().is_dir();
            if is_dir { std::fs::remove_dir_all(path).unwrap() } else { std::fs::remove_file(path).unwrap() }
        }
        self.wait("all pods are gone", Duration::from_secs(40), |r| r.pods().is_empty() && r.containers().is_empty());
        let pid = nix::unistd::Pid::from_raw(i32::try_from(self.agent.as_ref().unwrap().id()).unwrap());
        nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM).unwrap();
        let status = self.agent.take().unwrap().wait().unwrap();
        assert_eq!(status.code(), Some(0), "SIGTERM ends the agent cleanly:\n{}", self.log());
        let chains = Command::new("iptables").args(["-t", "nat", "-S"]).output().unwrap();
        assert!(!String::from_utf8_lossy(&chains.stdout).contains(&format!("MINIK8S-mk{}", self.number)), "NAT rules left");
        let link =
            Command::new("ip").args(["link", "show", &format!("mk{}", self.number)]).stderr(Stdio::null()).stdout(Stdio::null()).status();
        assert!(!link.unwrap().success(), "the bridge is left");
        assert!(!Path::new("/sys/fs/cgroup/memory").join(format!("minik8s-rig-{}", self.number)).exists(), "cgroups left");
        self.clean_up();
        let mounts = std::fs::read_to_string("/proc/self/mountinfo").unwrap();
        let own = self.root.to_str().unwrap();
        assert!(!mounts.contains(own), "mounts left: {:?}", mounts.lines().filter(|l| l.contains(own)).collect::<Vec<_>>());
        self.closed = true;
    }

    /// What no agent can take away while it may start again: its bridge, its cgroups' roots, the pins' mount.
    fn clean_up(&self) {
        let _ = Command::new("ip").args(["link", "del", &format!("mk{}", self.number)]).stderr(Stdio::null()).status();
        cleanup::remove_masquerade(&format!("MINIK8S-mk{}", self.number));
        cleanup::remove_cgroups(&format!("minik8s-rig-{}", self.number));
        cleanup::unmount_below(&self.root);
    }
}

impl Drop for Rig {
    fn drop(&mut self) {
        if self.closed {
            return;
        }
        // A failed test: end everything that was started here.
        if let Some(mut agent) = self.agent.take() {
            let _ = agent.kill();
            let _ = agent.wait();
        }
        // The lab ends the containers after this.
        self.clean_up();
    }
}

fn run(program: &str, args: &[&str]) {
    let output = Command::new(program).args(args).output().unwrap();
    assert!(output.status.success(), "{program} {args:?}: {}", String::from_utf8_lossy(&output.stderr));
}
