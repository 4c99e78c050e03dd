//! A purge that finds nobody to ask: after `apt purge --autoremove` ctr, containerd and iptables are gone before it begins.

use std::path::{Path, PathBuf};
use std::process::Command;

/// A cgroup of the test's own, gone with it.
struct Cgroup(PathBuf);

impl Cgroup {
    fn new(name: &str) -> Self {
        let unified = Path::new("/sys/fs/cgroup/cgroup.controllers").exists();
        let root = if unified { "/sys/fs/cgroup" } else { "/sys/fs/cgroup/pids" };
        let path = Path::new(root).join(format!("minik8s-purge-{name}-{}", std::process::id()));
        std::fs::create_dir(&path).expect("tests need root and cgroups");
        Cgroup(path)
    }
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        // The script has ended what it began.
        let _ = std::fs::remove_dir(&self.0);
    }
}

/// What is left, in the script's words.
fn purged(variant: &str) -> String {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let cgroup = Cgroup::new(variant);
    let mut command = Command::new("unshare");
    command.args(["--mount", "--net", "sh"]).arg(root.join("tests/package/purge.sh")).arg(root.join("packaging/debian/postrm"));
    let output = command.arg(&cgroup.0).arg(variant).output().expect("unshare is of util-linux");
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

const SAID: &str = "minik8s: containerd does not answer: its namespace minik8s (images, snapshots) stays; what runs is ended without it\n";

#[test]
fn containers_end_and_state_goes_but_nothing_of_another_agents() {
    assert_eq!(purged("plain"), format!("{SAID}exit 0\nruns: other\nmounted: moby/x/rootfs\n"));
}

#[test]
fn a_state_that_is_a_file_system_of_its_own_is_emptied() {
    assert_eq!(purged("mount"), format!("{SAID}exit 0\nruns: other\nmounted: moby/x/rootfs\nleft: /var/lib/minik8s\n"));
}

#[test]
fn a_state_that_is_reached_by_a_link_goes_with_it() {
    assert_eq!(purged("link"), format!("{SAID}exit 0\nruns: other\nmounted: moby/x/rootfs\n"));
}
