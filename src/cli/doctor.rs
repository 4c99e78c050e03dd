//! `minik8s doctor`: gathers what this host is like, for [`judge`] to judge, and prints the findings. It leaves the host as it was (the OCI
//! runtime is tried out with a container that has no program).

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Parser as _;
use nix::sys::statvfs::statvfs;
use serde_json::json;
use tokio::net::UnixStream;

use super::agent_args::{AgentArgs, AgentConfig, CgroupDriverChoice};
use super::client::{Client, ClientArgs};
use super::error::CliError;
use super::output::{complain, put};
use super::settings_file;
use super::tabwriter::{self, TABLE};
use crate::agent::manifests::writers;
use crate::clock::{Clock, SystemClock};
use crate::host::doctor::{AtSocket, Check, Directory, Found, Level, Room, Settings, Writers, judge};
use crate::host::{self, CgroupDriver, Hierarchies, HostFacts};
use crate::network::{CniNetwork, NetworkConfig};
use crate::runtime::containerd::{Containerd, ContainerdConfig, probe_runtime_binary, user_namespaces};
use crate::store::embedded::EmbeddedStore;

/// Longer than this nothing may take to answer.
const PATIENCE: Duration = Duration::from_secs(5);
/// How often a full queue is tried.
const AGAIN: Duration = Duration::from_millis(50);
/// So many files of the manifests directory are named.
const NAMED: usize = 5;

/// Check whether this host can run the agent, and say what to do. Takes the agent's flags and MINIK8S_* variables.
#[derive(Clone, Debug, clap::Args)]
pub struct DoctorArgs {
    #[command(flatten)]
    agent: AgentArgs,
    /// The service's settings: what stands there counts unless a flag or a variable says otherwise.
    #[arg(long, default_value = "/etc/default/minik8s", value_name = "FILE")]
    defaults: PathBuf,
    /// Output form.
    #[arg(short, long, default_value = "text", value_parser = ["text", "json"])]
    output: String,
}

/// Runs the command. Exit codes: 0 no failure, 1 a failure, 2 wrong flags.
pub async fn run(args: DoctorArgs) -> Result<u8, CliError> {
    let hostname = nix::unistd::gethostname().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let alone = args.agent.clone().resolve(&hostname);
    let (with_file, settings) = with_settings(&args, &hostname);
    let config = match with_file.map_or(alone, Ok) {
        Ok(config) => config,
        Err(message) => {
            complain(&format!("error: {message}"));
            return Ok(2);
        }
    };
    let checks = judge(&gather(&config, settings).await);
    put(if args.output == "json" { as_json(&checks) } else { as_text(&checks) })?;
    Ok(u8::from(checks.iter().any(|check| check.status == Level::Failure)))
}

/// The same command once more.
#[derive(clap::Parser)]
struct Again {
    #[command(flatten)]
    doctor: DoctorArgs,
}

/// What the agent is told by the file of settings and by what was typed; `None` where there is no such file, or it cannot start so.
fn with_settings(args: &DoctorArgs, hostname: &str) -> (Option<AgentConfig>, Settings) {
    let text = match std::fs::read_to_string(&args.defaults) {
        Ok(text) => text,
        Err(cause) if cause.kind() == std::io::ErrorKind::NotFound => return (None, Settings::default()),
        Err(cause) => return (None, Settings { path: args.defaults.clone(), error: cause.to_string(), idle: Vec::new() }),
    };
    let file = settings_file::parse(&text);
    let typed: Vec<String> = std::env::args_os().skip(2).map(|word| word.to_string_lossy().into_owned()).collect();
    let flags = settings_file::flags(&file, &typed, |name| std::env::var_os(name).is_some());
    let words = std::iter::once("doctor".to_owned()).chain(flags).chain(typed);
    // clap's first line says all; what follows is about its help.
    let first = |error: clap::Error| error.to_string().lines().next().unwrap_or_default().trim_start_matches("error: ").to_owned();
    let resolved = Again::try_parse_from(words).map_err(first).and_then(|again| again.doctor.agent.resolve(hostname));
    let error = resolved.as_ref().err().cloned().unwrap_or_default();
    (resolved.ok(), Settings { path: args.defaults.clone(), error, idle: file.idle })
}

fn count(checks: &[Check], level: Level) -> usize {
    checks.iter().filter(|check| check.status == level).count()
}

fn as_json(checks: &[Check]) -> String {
    let report = json!({"checks": checks, "warnings": count(checks, Level::Warning), "failures": count(checks, Level::Failure)});
    format!("{report:#}\n")
}

fn as_text(checks: &[Check]) -> String {
    let mut text = String::from("STATUS\tCHECK\tFOUND\n");
    for check in checks {
        let status = match check.status {
            Level::Ok => "ok",
            Level::Warning => "warning",
            Level::Failure => "FAILURE",
        };
        text.push_str(&format!("{status}\t{}\t{}\n", check.name, check.message.replace(['\t', '\n'], " ")));
        if !check.advice.is_empty() {
            text.push_str(&format!("\t\t-> {}\n", check.advice));
        }
    }
    let number = |level, word: &str| match count(checks, level) {
        1 => format!("1 {word}"),
        n => format!("{n} {word}s"),
    };
    let (warnings, failures) = (number(Level::Warning, "warning"), number(Level::Failure, "failure"));
    format!("{}\n{} ok, {warnings}, {failures}\n", tabwriter::align(&text, TABLE), count(checks, Level::Ok))
}

async fn gather(config: &AgentConfig, settings: Settings) -> Found {
    let paths = &config.paths;
    let mut facts = host::probe(paths);
    match config.cgroup_driver {
        CgroupDriverChoice::Auto => {}
        CgroupDriverChoice::Systemd => facts.cgroup_driver = CgroupDriver::Systemd,
        CgroupDriverChoice::Cgroupfs => facts.cgroup_driver = CgroupDriver::Cgroupfs,
    }
    if facts.user_namespaces.is_ok() {
        facts.user_namespaces = user_namespaces(config.runtime.as_deref(), &config.snapshotter).await;
    }
    let mut network = NetworkConfig::new(paths);
    network.conf_dirs.clone_from(&config.cni_conf_dirs);
    network.plugin_dirs.clone_from(&config.cni_bin_dirs);
    network.bridge.name.clone_from(&config.bridge_name);
    network.bridge.subnet.clone_from(&config.pod_cidr);
    // Both: what it takes to talk to an agent, and whether one is there that does not.
    let held = host::alone::hold(&config.containerd, &config.containerd_namespace).is_err();
    let (installed, written) = host::landmarks(&paths.state.join("state.redb"));
    Found {
        version: env!("CARGO_PKG_VERSION"),
        settings,
        root: nix::unistd::geteuid().is_root(),
        cgroups: Hierarchies::read().is_ok(),
        containerd: containerd(config).await,
        containerd_socket: config.containerd.clone(),
        runtime: runtime(config).await,
        network: CniNetwork::examine(network).await,
        lacking: lacking(config, &facts),
        manifests: manifests(&paths.manifests),
        state: directory(&paths.state),
        // Where an agent runs it has read it; and one that starts meanwhile must not find it in use.
        state_file: if held { String::new() } else { unreadable(&paths.state.join("state.redb")) },
        room: room(&paths.state),
        socket: at_socket(&paths.socket).await,
        held,
        now: SystemClock.now(),
        installed,
        written,
        host: facts,
    }
}

async fn containerd(config: &AgentConfig) -> Result<String, String> {
    let ask = async {
        connect(&config.containerd).await.map_err(|cause| cause.to_string())?;
        let connection = ContainerdConfig::new(&config.containerd, &config.containerd_namespace, &config.paths.run);
        let containerd = Containerd::connect(connection).await.map_err(|cause| cause.to_string())?;
        containerd.version().await.map_err(|cause| cause.to_string())
    };
    tokio::time::timeout(PATIENCE, ask).await.unwrap_or_else(|_| Err(format!("no answer within {} s", PATIENCE.as_secs())))
}

async fn runtime(config: &AgentConfig) -> Result<String, String> {
    let binary = config.runtime.clone().unwrap_or_else(|| PathBuf::from("runc"));
    let probed = probe_runtime_binary(&binary, &std::env::temp_dir()).await;
    probed.map(|features| features.version).map_err(|why| format!("{} does not work here: {why}", binary.display()))
}

/// Kernel features that containers need and that are not there.
fn lacking(config: &AgentConfig, facts: &HostFacts) -> Vec<&'static str> {
    let namespaces = [
        ("ipc", "IPC namespaces"),
        ("mnt", "mount namespaces"),
        ("net", "network namespaces"),
        ("pid", "PID namespaces"),
        ("uts", "UTS namespaces"),
    ];
    let there = |name: &str| Path::new("/proc/self/ns").join(name).exists();
    let mut lacking: Vec<&str> = namespaces.into_iter().filter(|(name, _)| !there(name)).map(|(_, shown)| shown).collect();
    let loaded = std::fs::read_to_string("/proc/filesystems").unwrap_or_default().split_whitespace().any(|word| word == "overlay");
    let module = Path::new("/lib/modules").join(&facts.kernel).join("kernel/fs/overlayfs");
    if config.snapshotter == "overlayfs" && !loaded && !module.exists() {
        lacking.push("overlayfs");
    }
    lacking
}

fn directory(path: &Path) -> Directory {
    let found = std::fs::metadata(path);
    let absent = found.as_ref().is_err_and(|cause| cause.kind() == std::io::ErrorKind::NotFound);
    let error = match &found {
        Ok(meta) if !meta.is_dir() => "is no directory".to_owned(),
        Ok(_) => std::fs::read_dir(path).err().map(|cause| cause.to_string()).unwrap_or_default(),
        Err(_) if absent => String::new(),
        Err(cause) => cause.to_string(),
    };
    let mode = found.map(|meta| meta.permissions().mode() & 0o7777).unwrap_or_default();
    Directory { path: path.to_owned(), error, absent, mode, writers: Writers::default() }
}

/// Why an agent could not read this state file; "" if it can, or there is none.
fn unreadable(path: &Path) -> String {
    match EmbeddedStore::examine(path) {
        Err(error) if path.exists() => format!("{:#}", anyhow::Error::from(error)),
        _ => String::new(),
    }
}

/// The manifests directory, where its file system answers: a dead NFS server would hold us for ever.
fn manifests(path: &Path) -> Directory {
    let (tell, told) = std::sync::mpsc::channel();
    let looked_at = path.to_owned();
    // Left behind if it hangs, until the process ends.
    let look = std::thread::Builder::new().spawn(move || tell.send(look_at_manifests(&looked_at)));
    let error = match look.map(|_| told.recv_timeout(PATIENCE)) {
        Ok(Ok(directory)) => return directory,
        Ok(Err(_)) => format!("its file system does not answer within {} s", PATIENCE.as_secs()),
        Err(cause) => cause.to_string(),
    };
    Directory { path: path.to_owned(), error, ..Directory::default() }
}

/// With what in it is not only root's to write.
fn look_at_manifests(path: &Path) -> Directory {
    Directory { writers: writers(path, NAMED), ..directory(path) }
}

/// Of the nearest directory that exists.
fn room(path: &Path) -> Option<Room> {
    let stat = path.ancestors().find_map(|p| statvfs(p).ok())?;
    let bytes = stat.blocks_available().saturating_mul(stat.fragment_size());
    Some(Room { bytes, files: (stat.files() > 0).then(|| stat.files_available()) })
}

async fn at_socket(path: &Path) -> AtSocket {
    use std::io::ErrorKind::{ConnectionRefused, NotFound};
    let deaf = || AtSocket::Other(format!("what listens on {} does not answer within {} s", path.display(), PATIENCE.as_secs()));
    match tokio::time::timeout(PATIENCE, connect(path)).await {
        Ok(Err(cause)) if matches!(cause.kind(), NotFound | ConnectionRefused) => return AtSocket::Nobody,
        Ok(Err(cause)) => return AtSocket::Other(format!("{}: {cause}", path.display())),
        Ok(Ok(_)) => {}
        Err(_) => return deaf(),
    }
    let ask = async { Client::connect(&ClientArgs { socket: path.to_owned() }).await?.info().await };
    match tokio::time::timeout(PATIENCE, ask).await {
        Ok(Ok(info)) => AtSocket::Agent(info.version),
        Ok(Err(cause)) => AtSocket::Other(cause.to_string().trim_start_matches("error: ").to_owned()),
        Err(_) => deaf(),
    }
}

/// Waits for a place in the queue of what listens there, for ever: bound it.
async fn connect(path: &Path) -> std::io::Result<UnixStream> {
    loop {
        match UnixStream::connect(path).await {
            Err(cause) if cause.kind() == std::io::ErrorKind::WouldBlock => tokio::time::sleep(AGAIN).await,
            answer => return answer,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn findings_as_text_and_as_json() {
        let check = |status, name, advice: &str| Check { name, status, message: "m".into(), advice: advice.into() };
        let checks = [check(Level::Ok, "kernel", ""), check(Level::Failure, "disk", "free some")];
        let expected = "\
STATUS    CHECK    FOUND
ok        kernel   m
FAILURE   disk     m
                   -> free some

1 ok, 0 warnings, 1 failure
";
        assert_eq!(as_text(&checks), expected);
        let report: serde_json::Value = serde_json::from_str(&as_json(&checks)).unwrap();
        assert_eq!((&report["failures"], &report["checks"][1]["status"]), (&json!(1), &json!("failure")));
    }

    #[tokio::test(start_paused = true)]
    async fn a_daemon_that_accepts_nobody_is_not_waited_for_for_ever() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("s");
        let _deaf = crate::grpc::deaf(&path);
        let AtSocket::Other(said) = at_socket(&path).await else { panic!("somebody is there") };
        assert!(said.ends_with("does not answer within 5 s"), "{said}");
        let mut config = Again::parse_from(["doctor"]).doctor.agent.resolve("host").unwrap();
        config.containerd = path;
        assert_eq!(containerd(&config).await, Err("no answer within 5 s".to_owned()));
    }
}
