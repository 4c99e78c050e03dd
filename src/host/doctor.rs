//! What `minik8s doctor` makes of what it found on this host: for each thing ok, a warning or a failure, why, and what to do. Pure.
//!
//! A failure is what keeps the agent or every pod from running; a warning is what some pods go without, or what will become a failure.

use std::path::PathBuf;

use jiff::{SignedDuration, Timestamp};

use super::parse::version;
use super::{CgroupDriver, CgroupVersion, HostFacts, describe};
use crate::api::files::is_everybodys;

/// The oldest containerd that this is tested with.
const OLDEST_CONTAINERD: (u32, u32) = (1, 6);
/// The oldest kernel with all that containers are made of here (openat2, pidfds).
const OLDEST_KERNEL: (u32, u32) = (5, 6);
/// With less room the next image or state write may fail.
const LITTLE_SPACE: u64 = 1 << 30;
/// With less room the state cannot be relied on to be written.
const NO_SPACE: u64 = 64 << 20;
/// A clock that is further ahead of the installed program's date than this is not believed.
const FAR_AHEAD: SignedDuration = SignedDuration::from_hours(10 * 366 * 24);
/// A clock may have been this far ahead when a file was written.
const CLOCK_SLACK: SignedDuration = SignedDuration::from_hours(24);

/// How grave it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// As it should be.
    Ok,
    /// Something goes without.
    Warning,
    /// It cannot run so.
    Failure,
}

/// One finding.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Check {
    /// What was looked at.
    pub name: &'static str,
    /// How grave it is.
    pub status: Level,
    /// What was found.
    pub message: String,
    /// What to do; "" where nothing is.
    pub advice: String,
}

/// A directory as it was found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Directory {
    /// Where.
    pub path: PathBuf,
    /// Why it cannot be looked at; "" if it can.
    pub error: String,
    /// Whether it is absent.
    pub absent: bool,
    /// Permission bits.
    pub mode: u32,
    /// What in it is not only root's to write.
    pub writers: Writers,
}

/// Files and directories of a manifests directory (these end in `/`; it is `.` itself) that are not only root's to write.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Writers {
    /// Everybody's: the agent refuses them.
    pub everyone: Vec<String>,
    /// Another owner's or a group's, which may be meant so.
    pub others: Vec<String>,
}

/// The service's file of settings as it was found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Settings {
    /// Where; empty where there is none.
    pub path: PathBuf,
    /// What keeps the agent from starting with it; "" if nothing.
    pub error: String,
    /// What in it has no effect, a sentence each.
    pub idle: Vec<String>,
}

/// Room on the file system of a directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Room {
    /// Bytes that can be written.
    pub bytes: u64,
    /// Files that can be made; `None` where the file system does not count them.
    pub files: Option<u64>,
}

/// Who is at the agent's socket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AtSocket {
    /// An agent of this version.
    Agent(String),
    /// Nobody.
    Nobody,
    /// Nobody we may talk to, or no agent; in words.
    Other(String),
}

/// All that was found.
#[derive(Clone, Debug)]
pub struct Found {
    /// This program's version.
    pub version: &'static str,
    /// The service's settings.
    pub settings: Settings,
    /// Whether this is root.
    pub root: bool,
    /// The host.
    pub host: HostFacts,
    /// Whether cgroups are mounted at all.
    pub cgroups: bool,
    /// containerd's version, or why it does not tell.
    pub containerd: Result<String, String>,
    /// containerd's socket.
    pub containerd_socket: PathBuf,
    /// The OCI runtime's version, or why it does not work.
    pub runtime: Result<String, String>,
    /// What is missing for pods' networks, a sentence each.
    pub network: Vec<String>,
    /// Kernel features that are missing, by name.
    pub lacking: Vec<&'static str>,
    /// The manifests directory.
    pub manifests: Directory,
    /// The state directory.
    pub state: Directory,
    /// Why an agent could not read the state file; "" if it can, or one does.
    pub state_file: String,
    /// Room for the state; `None`: cannot be told.
    pub room: Option<Room>,
    /// Who is at the agent's socket.
    pub socket: AtSocket,
    /// Whether some agent holds this containerd namespace.
    pub held: bool,
    /// The wall clock.
    pub now: Timestamp,
    /// When this program was installed.
    pub installed: Option<Timestamp>,
    /// When the state was last written.
    pub written: Option<Timestamp>,
}

/// All findings, in the order in which they are best dealt with.
pub fn judge(found: &Found) -> Vec<Check> {
    vec![
        settings(&found.settings),
        privileges(found),
        kernel(found),
        user_namespaces(found),
        cgroups(found),
        containerd(found),
        runtime(found),
        network(found),
        manifests(&found.manifests),
        state(&found.state, &found.state_file),
        disk(found),
        clock(found.now, found.installed, found.written),
        agent(found),
    ]
}

fn ok(name: &'static str, message: impl Into<String>) -> Check {
    Check { name, status: Level::Ok, message: message.into(), advice: String::new() }
}

fn warning(name: &'static str, message: impl Into<String>, advice: impl Into<String>) -> Check {
    Check { name, status: Level::Warning, message: message.into(), advice: advice.into() }
}

fn failure(name: &'static str, message: impl Into<String>, advice: impl Into<String>) -> Check {
    Check { name, status: Level::Failure, message: message.into(), advice: advice.into() }
}

fn settings(found: &Settings) -> Check {
    let path = found.path.display();
    match (found.error.as_str(), found.idle.as_slice()) {
        ("", []) if found.path.as_os_str().is_empty() => ok("settings", "flags and variables only, there is no file of them"),
        ("", []) => ok("settings", path.to_string()),
        ("", idle) => warning("settings", format!("{path}: {}", idle.join("; ")), "minik8s agent --help has all settings"),
        (why, _) => failure("settings", format!("{path}: {why}"), "mend it: the service starts by itself once it is right"),
    }
}

fn privileges(found: &Found) -> Check {
    if !found.root {
        return failure("privileges", "this is not root, and some of what follows cannot be seen", "run it as root: sudo minik8s doctor");
    }
    let said: Vec<String> = describe(&found.host, &[]).into_iter().filter(|s| s.contains("CAP_") || s.contains("seccomp")).collect();
    match said.is_empty() {
        true => ok("privileges", "root, with every capability"),
        false => warning("privileges", said.join("; "), "run the agent on the host itself, not in a container that is short of these"),
    }
}

fn user_namespaces(found: &Found) -> Check {
    match &found.host.user_namespaces {
        Ok(()) => ok("user namespaces", "pods with hostUsers: false can run"),
        Err(why) => ok("user namespaces", format!("pods with hostUsers: false are refused here: {why}")),
    }
}

fn kernel(found: &Found) -> Check {
    let release = &found.host.kernel;
    if !found.lacking.is_empty() {
        let lacking = found.lacking.join(", ");
        return failure(
            "kernel",
            format!("{release} lacks {lacking}"),
            "boot a kernel that has them, or load their modules (modprobe overlay)",
        );
    }
    match version(release).is_none_or(|v| v >= OLDEST_KERNEL) {
        true => ok("kernel", format!("{release} on {}", found.host.os_image)),
        false => failure("kernel", format!("{release} is older than 5.6"), "boot a newer kernel"),
    }
}

fn cgroups(found: &Found) -> Check {
    if !found.cgroups {
        return failure("cgroups", "no cgroups are mounted", "mount cgroup v2: mount -t cgroup2 none /sys/fs/cgroup");
    }
    let (version, driver) = (found.host.cgroup_version, found.host.cgroup_driver);
    let version_text = if version == CgroupVersion::V2 { "v2" } else { "v1" };
    let driver = if driver == CgroupDriver::Systemd { "systemd" } else { "cgroupfs" };
    let missing: Vec<&str> =
        ["cpu", "memory", "pids"].into_iter().filter(|c| !found.host.controllers.iter().any(|have| have == c)).collect();
    if !missing.is_empty() {
        let message = format!("{version_text}, {driver}; without the controllers {}: limits of theirs have no effect", missing.join(", "));
        let advice = "enable them: cgroup_enable=memory on the kernel's command line, or cgroup.subtree_control of the cgroups above";
        return warning("cgroups", message, advice);
    }
    match version {
        CgroupVersion::V2 => ok("cgroups", format!("v2, {driver}")),
        CgroupVersion::V1 => warning(
            "cgroups",
            format!("v1, {driver}: a container out of memory loses one process, not all"),
            "boot with systemd.unified_cgroup_hierarchy=1 to have v2",
        ),
    }
}

fn containerd(found: &Found) -> Check {
    let socket = found.containerd_socket.display();
    match &found.containerd {
        Err(why) => failure(
            "containerd",
            format!("does not answer at {socket}: {why}"),
            "apt-get install containerd && systemctl start containerd, or name its socket with --containerd",
        ),
        Ok(text) => match version(text) {
            Some(_) if too_old(text) => {
                failure("containerd", format!("{text} at {socket} is older than 1.6"), "install containerd 1.6 or newer")
            }
            Some(_) => ok("containerd", format!("{text} at {socket}")),
            None => warning("containerd", format!("{text} at {socket}, which is no version known here"), "use containerd 1.6 or newer"),
        },
    }
}

fn runtime(found: &Found) -> Check {
    match &found.runtime {
        Ok(version) => ok("runtime", version.clone()),
        Err(why) => failure("runtime", why.clone(), "apt-get install runc, or name another with --runtime"),
    }
}

fn network(found: &Found) -> Check {
    let said = found.network.join("; ");
    match () {
        () if said.is_empty() => ok("network", "pods get addresses, and reach what is beyond the host"),
        () if said.contains("cannot start") => failure(
            "network",
            said,
            "apt-get install containernetworking-plugins, or say where they are with --cni-bin-dir; pods with hostNetwork run without",
        ),
        () => warning("network", said, "apt-get install iptables"),
    }
}

fn manifests(dir: &Directory) -> Check {
    let path = dir.path.display();
    if dir.absent {
        return warning("manifests", format!("{path} does not exist"), format!("mkdir -p {path}"));
    }
    if !dir.error.is_empty() {
        return failure(
            "manifests",
            format!("{path} cannot be read: {}", dir.error),
            "see to its permissions, or to what is mounted there",
        );
    }
    if is_everybodys(dir.mode) {
        return failure("manifests", format!("{path} is writable by everyone: refused"), format!("chmod o-w {path}"));
    }
    let paths = |names: &[String]| names.iter().map(|name| dir.path.join(name).display().to_string()).collect::<Vec<_>>().join(" ");
    match (dir.writers.everyone.as_slice(), dir.writers.others.as_slice()) {
        ([], []) => ok("manifests", format!("{path} (mode {:04o})", dir.mode)),
        ([], others) => warning(
            "manifests",
            format!("not only root may write {}; who may is as good as root on this host", others.join(", ")),
            format!("if that is not meant so: chown root {0}; chmod g-w {0}", paths(others)),
        ),
        (everyone, _) => warning(
            "manifests",
            format!("writable by everyone, so refused: {}", everyone.join(", ")),
            format!("chmod o-w {}", paths(everyone)),
        ),
    }
}

fn state(dir: &Directory, file: &str) -> Check {
    let path = dir.path.display();
    if dir.absent {
        return ok("state", format!("{path} is made at the first start"));
    }
    if !dir.error.is_empty() {
        return failure("state", format!("{path}: {}", dir.error), "see to its permissions, or to what is mounted there");
    }
    if !file.is_empty() {
        return failure("state", file, "see journalctl -u minik8s; the service starts by itself once it can be read");
    }
    match dir.mode & 0o022 {
        0 => ok("state", format!("{path} (mode {:04o})", dir.mode)),
        _ => warning("state", format!("{path} is writable by others than its owner (mode {:04o})", dir.mode), format!("chmod go-w {path}")),
    }
}

fn disk(found: &Found) -> Check {
    let Some(room) = found.room else { return warning("disk", "free space cannot be told", "see df -h") };
    let (mebibytes, path) = (room.bytes >> 20, found.state.path.display());
    if room.files == Some(0) {
        return failure("disk", format!("no more files can be made below {path}"), "remove files; see df -i");
    }
    match room.bytes {
        bytes if bytes < NO_SPACE => {
            failure("disk", format!("{mebibytes} MiB free below {path}"), "free some: the state cannot be written")
        }
        bytes if bytes < LITTLE_SPACE => warning("disk", format!("{mebibytes} MiB free below {path}"), "free some: images need room"),
        _ => ok("disk", format!("{} GiB free below {path}", room.bytes >> 30)),
    }
}

/// Whether the clock can be right: `installed` is when this program was, `written` when the state last was.
pub fn clock(now: Timestamp, installed: Option<Timestamp>, written: Option<Timestamp>) -> Check {
    let shown = now.strftime("%Y-%m-%dT%H:%M:%SZ");
    let advice = "set it, and keep it set: apt-get install systemd-timesyncd && timedatectl set-ntp true";
    let before = |other: Option<Timestamp>| other.is_some_and(|o| now.saturating_add(CLOCK_SLACK).is_ok_and(|later| later < o));
    if before(installed) {
        return failure(
            "clock",
            format!("{shown} is before this program was installed: schedules, deadlines and certificates fail"),
            advice,
        );
    }
    if before(written) {
        return warning("clock", format!("{shown} is before the state was last written: it was set back"), advice);
    }
    match installed.is_some_and(|then| now.duration_since(then) > FAR_AHEAD) {
        true => warning("clock", format!("{shown} is more than ten years after this program was installed"), advice),
        false => ok("clock", shown.to_string()),
    }
}

fn agent(found: &Found) -> Check {
    match (&found.socket, found.held) {
        (AtSocket::Agent(version), _) if version != found.version => warning(
            "agent",
            format!("version {version} answers, and this program is {}: an upgrade was not finished", found.version),
            "dpkg --configure -a, or systemctl restart minik8s; containers run on",
        ),
        (AtSocket::Agent(version), _) => ok("agent", format!("version {version} answers")),
        (AtSocket::Nobody, false) => ok("agent", "none runs here yet; systemctl start minik8s starts it"),
        (AtSocket::Nobody, true) => failure(
            "agent",
            "another agent holds this containerd namespace, and does not answer on this socket",
            "stop that one, name its socket with --socket, or give this one its own --containerd-namespace",
        ),
        (AtSocket::Other(why), _) => failure("agent", why.clone(), "stop what is there, or choose another --socket"),
    }
}

/// Whether this version of containerd is older than what the agent is tested with.
pub fn too_old(containerd: &str) -> bool {
    version(containerd).is_some_and(|v| v < OLDEST_CONTAINERD)
}

#[cfg(test)]
#[path = "doctor_tests.rs"]
mod tests;
