//! Leaving nothing behind: processes found by our socket in their command line, mounts by path, cgroups by name.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use nix::mount::{MntFlags, umount2};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// Shims were started with `-address <socket>`; nobody else's have this one.
pub fn shims(socket: &Path) -> Vec<i32> {
    let wanted = socket.to_str().unwrap();
    processes().into_iter().filter(|pid| command_line(*pid).windows(2).any(|pair| pair[0] == "-address" && pair[1] == wanted)).collect()
}

/// Children, grandchildren and so on.
pub fn descendants(roots: &[i32]) -> Vec<i32> {
    let parents: HashMap<i32, i32> = processes().into_iter().filter_map(|pid| parent(pid).map(|parent| (pid, parent))).collect();
    let is_below = |mut pid: i32| {
        while let Some(&parent) = parents.get(&pid) {
            if roots.contains(&parent) {
                return true;
            }
            pid = parent;
        }
        false
    };
    parents.keys().copied().filter(|&pid| is_below(pid)).collect()
}

/// Mount points at or below a directory, deepest last mounted first.
pub fn mounts_under(dir: &Path) -> Vec<PathBuf> {
    let table = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    let mut found: Vec<PathBuf> = table.lines().filter_map(|line| line.split(' ').nth(4)).map(PathBuf::from).collect();
    found.retain(|path| path.starts_with(dir));
    found.reverse();
    found
}

/// Everything of a lab whose daemon is dead already.
pub fn remove_all(dir: &Path, cgroup: &str) {
    let begun = Instant::now();
    loop {
        let shims = shims(&dir.join("containerd.sock"));
        if shims.is_empty() || begun.elapsed() > Duration::from_secs(10) {
            break;
        }
        for pid in descendants(&shims).into_iter().chain(shims) {
            let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    for address in shim_sockets(dir) {
        let _ = fs::remove_file(address);
    }
    unmount_below(dir);
    remove_cgroups(cgroup);
    let _ = fs::remove_dir_all(dir);
}

/// Cleans what test runs that are dead left behind: `<prefix><pid>-<n>`.
pub fn sweep(parent: &Path, prefix: &str) {
    for entry in fs::read_dir(parent).into_iter().flatten().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let pid = name.strip_prefix(prefix).and_then(|rest| rest.split('-').next()?.parse::<i32>().ok());
        if let Some(pid) = pid
            && !Path::new(&format!("/proc/{pid}")).exists()
        {
            // containerd and agents; what else names the directory (shims) goes with `remove_all`.
            for started in processes().into_iter().filter(|&p| is_of(p, &entry.path())) {
                let _ = kill(Pid::from_raw(started), Signal::SIGKILL);
            }
            remove_all(&entry.path(), &name);
        }
    }
}

/// Whether it was started with its configuration or its state in this lab's directory.
fn is_of(pid: i32, dir: &Path) -> bool {
    let own = |pair: &[String]| matches!(pair[0].as_str(), "--config" | "--state-dir") && Path::new(&pair[1]).starts_with(dir);
    command_line(pid).windows(2).any(own)
}

/// containerd 1.x keeps shims' sockets under /run/containerd/s whatever its state directory; each bundle says which.
fn shim_sockets(dir: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let bundles = dir.join("state/io.containerd.runtime.v2.task");
    for namespace in fs::read_dir(bundles).into_iter().flatten().flatten() {
        for bundle in fs::read_dir(namespace.path()).into_iter().flatten().flatten() {
            let address = fs::read_to_string(bundle.path().join("address")).unwrap_or_default();
            found.extend(address.strip_prefix("unix://").map(PathBuf::from));
        }
    }
    found
}

/// Detaches everything mounted at or below a directory.
pub fn unmount_below(dir: &Path) {
    for mount in mounts_under(dir) {
        let _ = umount2(&mount, MntFlags::MNT_DETACH);
    }
}

/// Removes a bridge's NAT chain and what leads to it, as far as it is there.
pub fn remove_masquerade(chain: &str) {
    let nat = |args: &[&str]| std::process::Command::new("iptables").args(["-w", "-t", "nat"]).args(args).output();
    let Ok(rules) = nat(&["-S", "POSTROUTING"]) else { return };
    for rule in String::from_utf8_lossy(&rules.stdout).lines().filter(|rule| rule.ends_with(&format!(" {chain}"))) {
        let words: Vec<&str> = rule.split(' ').map(|word| if word == "-A" { "-D" } else { word }).collect();
        let _ = nat(&words);
    }
    for args in [["-F", chain], ["-X", chain]] {
        let _ = nat(&args);
    }
}

/// Removes the cgroup of this name at the top of every hierarchy, with what is below it.
pub fn remove_cgroups(name: &str) {
    let table = fs::read_to_string("/proc/mounts").unwrap_or_default();
    let begun = Instant::now();
    for line in table.lines() {
        let mut fields = line.split(' ');
        let (Some(_), Some(at), Some(kind)) = (fields.next(), fields.next(), fields.next()) else { continue };
        if kind == "cgroup" || kind == "cgroup2" {
            let group = Path::new(at).join(name);
            // Killed processes leave their cgroups a moment later.
            while group.exists() && begun.elapsed() < Duration::from_secs(5) {
                remove_tree(&group);
                std::thread::sleep(Duration::from_millis(5));
            }
        }
    }
}

fn remove_tree(group: &Path) {
    for entry in fs::read_dir(group).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            remove_tree(&entry.path());
        }
    }
    let _ = fs::remove_dir(group);
}

fn processes() -> Vec<i32> {
    fs::read_dir("/proc").into_iter().flatten().flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect()
}

fn command_line(pid: i32) -> Vec<String> {
    let bytes = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    bytes.split(|&byte| byte == 0).map(|part| String::from_utf8_lossy(part).into_owned()).collect()
}

fn parent(pid: i32) -> Option<i32> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    stat.rsplit_once(')')?.1.split_ascii_whitespace().nth(1)?.parse().ok()
}
