//! A containerd of one's own for a test: root, state, socket and namespace under one temporary directory, cleaned up at the end.
//!
//! ```ignore
//! #[path = "../lab/mod.rs"]
//! mod lab;
//!
//! let lab = lab::Lab::start();          // panics (the test fails) where it cannot run
//! lab.import_busybox("busybox");        // docker.io/library/busybox:latest, from the host's /bin/busybox
//! let runtime = Containerd::connect(lab.config()).await.unwrap();
//! ```
//!
//! Dropping it kills (by pid) the daemon, its shims and their containers, and removes mounts, cgroups, shim sockets and the directory.
//! What an interrupted run left behind is cleaned by the next start. At most two daemons run at a time in a test binary.
#![allow(dead_code, missing_docs, clippy::unwrap_used)]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

use minik8s::runtime::ContainerdConfig;

pub mod cleanup;
pub mod image;
pub mod spec;

use image::OciImage;

const PREFIX: &str = "minik8s-lab-";
const AT_ONCE: u32 = 2;

static RUNNING: Mutex<u32> = Mutex::new(0);
static FREE: Condvar = Condvar::new();
static NEXT: AtomicU32 = AtomicU32::new(0);

/// One private containerd.
pub struct Lab {
    /// Everything is in here.
    pub dir: PathBuf,
    /// The containerd namespace.
    pub namespace: String,
    daemon: Option<Child>,
    binary: PathBuf,
}

impl Lab {
    /// Starts the `containerd` on PATH and waits until it serves.
    pub fn start() -> Self {
        Self::start_with(Path::new("containerd"))
    }

    /// Starts this containerd binary.
    pub fn start_with(binary: &Path) -> Self {
        take_place();
        assert!(nix::unistd::geteuid().is_root(), "the containerd tests must run as root");
        cleanup::sweep(Path::new("/tmp"), PREFIX);
        let name = format!("{PREFIX}{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let dir = Path::new("/tmp").join(&name);
        for sub in ["root", "state", "run", "logs"] {
            fs::create_dir_all(dir.join(sub)).unwrap();
        }
        let mut lab = Self { dir, namespace: name, daemon: None, binary: binary.to_path_buf() };
        fs::write(lab.dir.join("config.toml"), lab.daemon_config()).unwrap();
        lab.start_containerd();
        lab
    }

    fn daemon_config(&self) -> String {
        let dir = self.dir.display();
        format!(
            r#"version = 2
root = "{dir}/root"
state = "{dir}/state"
disabled_plugins = ["io.containerd.grpc.v1.cri", "io.containerd.internal.v1.opt", "io.containerd.snapshotter.v1.aufs",
  "io.containerd.snapshotter.v1.btrfs", "io.containerd.snapshotter.v1.zfs", "io.containerd.snapshotter.v1.devmapper"]
[grpc]
  address = "{dir}/containerd.sock"
[ttrpc]
  address = "{dir}/containerd.sock.ttrpc"
[debug]
  level = "warn"
"#
        )
    }

    /// Starts the daemon (again, after [`Lab::kill_containerd`]) and waits until it serves.
    pub fn start_containerd(&mut self) {
        assert!(self.daemon.is_none(), "containerd runs already");
        let log = fs::OpenOptions::new().create(true).append(true).open(self.dir.join("containerd.log")).unwrap();
        let child = Command::new(&self.binary)
            .arg("--config")
            .arg(self.dir.join("config.toml"))
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap_or_else(|e| panic!("cannot start {}: {e} (apt-get install containerd runc)", self.binary.display()));
        self.daemon = Some(child);
        let begun = Instant::now();
        while !self.ctr_raw(&["version"]).status.success() {
            let died = self.daemon.as_mut().and_then(|child| child.try_wait().unwrap());
            if died.is_some() || begun.elapsed() > Duration::from_secs(30) {
                panic!("containerd does not serve ({died:?}):\n{}", self.daemon_log());
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// SIGKILL; shims and containers live on.
    pub fn kill_containerd(&mut self) {
        if let Some(mut child) = self.daemon.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    pub fn socket(&self) -> PathBuf {
        self.dir.join("containerd.sock")
    }

    /// What containerd wrote, for a failed test's message.
    pub fn daemon_log(&self) -> String {
        fs::read_to_string(self.dir.join("containerd.log")).unwrap_or_default()
    }

    /// The driver's configuration for this daemon, with the built `minik8s` as the logger.
    pub fn config(&self) -> ContainerdConfig {
        let mut config = ContainerdConfig::new(self.socket(), &self.namespace, self.dir.join("run"));
        config.logger_binary = PathBuf::from(env!("CARGO_BIN_EXE_minik8s"));
        config
    }

    /// The cgroup (in every hierarchy) under which this test's containers belong; removed at the end.
    pub fn cgroup_parent(&self) -> String {
        format!("/{}", self.namespace)
    }

    /// `ctr` against this daemon and namespace; must succeed.
    pub fn ctr(&self, arguments: &[&str]) -> String {
        let output = self.ctr_raw(arguments);
        assert!(output.status.success(), "ctr {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    /// The same, whatever comes of it.
    pub fn ctr_raw(&self, arguments: &[&str]) -> Output {
        let mut command = Command::new("ctr");
        command.arg("--address").arg(self.socket()).args(["--namespace", &self.namespace, "--connect-timeout", "2s"]);
        command.args(arguments).stdin(Stdio::null()).output().expect("ctr is on PATH")
    }

    /// Imports the host's busybox (with all its applets, a root and a nobody) as an image of this full name.
    pub fn import_busybox(&self, name: &str) -> OciImage {
        let image = OciImage::busybox();
        self.import(&image, name, &[]);
        image
    }

    /// Imports an image under a full name (`docker.io/library/x:1`). `flags` are `ctr images import`'s.
    pub fn import(&self, image: &OciImage, name: &str, flags: &[&str]) {
        let archive = self.dir.join("import.tar");
        fs::write(&archive, image.archive(name)).unwrap();
        let mut arguments = vec!["images", "import"];
        arguments.extend_from_slice(flags);
        arguments.push(archive.to_str().unwrap());
        self.ctr(&arguments);
        fs::remove_file(&archive).unwrap();
    }

    /// The shims of this daemon.
    pub fn shims(&self) -> Vec<i32> {
        cleanup::shims(&self.socket())
    }

    /// Every process below this daemon's shims: containers, loggers.
    pub fn shim_children(&self) -> Vec<i32> {
        cleanup::descendants(&self.shims())
    }

    /// What is mounted in the lab's directory.
    pub fn mounts(&self) -> Vec<PathBuf> {
        cleanup::mounts_under(&self.dir)
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let log = self.daemon_log();
            let tail = log.len().saturating_sub(4000);
            eprintln!("--- containerd's log ends:\n{}", log.get(tail..).unwrap_or(&log));
        }
        self.kill_containerd();
        cleanup::remove_all(&self.dir, &self.namespace);
        *RUNNING.lock().unwrap_or_else(PoisonError::into_inner) -= 1;
        FREE.notify_one();
    }
}

fn take_place() {
    let running = RUNNING.lock().unwrap_or_else(PoisonError::into_inner);
    let mut running = FREE.wait_while(running, |running| *running >= AT_ONCE).unwrap_or_else(PoisonError::into_inner);
    *running += 1;
}

/// Waits until something is so; panics with `what` if it is not within 20 s.
pub fn eventually(what: &str, mut is_so: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !is_so() {
        assert!(begun.elapsed() < Duration::from_secs(20), "not within 20 s: {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}
