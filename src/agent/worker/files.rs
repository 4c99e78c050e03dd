//! The worker's own files: logs' directories and links, and the marker on tmpfs that says an attempt's start was begun, or how it ended.
//!
//! A marker needs no fsync: it must survive a kill of the agent, not of the host, after which no container runs anyway.

use std::fs::OpenOptions;
use std::io::{self, ErrorKind, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Component, Path, PathBuf};

use k8s_openapi::api::core::v1::{Container, Pod};

use crate::host::Paths;
use crate::logs;
use crate::network::UserNamespace;
use crate::pod::recover::{Marker, NotedEnd};

/// The log of one attempt.
pub(crate) fn log_path(paths: &Paths, pod: &Pod, container: &str, number: u32) -> PathBuf {
    logs::container_log_path(&paths.pod_logs, pod, container, number)
}

/// Makes the pipe that the container's input is read from, if it is to have one. `users`: the pod's own, if it has them.
pub(super) fn prepare_stdin(log: &Path, container: &Container, users: Option<&UserNamespace>) -> io::Result<()> {
    let owner = users.map(|users| users.ids.first());
    if container.stdin == Some(true) { logs::make_stdin(log, container.tty == Some(true), owner) } else { Ok(()) }
}

/// Makes the log's directory and the link in `/var/log/containers`; drops what is older than the attempt before this one.
pub(super) fn prepare_log(paths: &Paths, pod: &Pod, container: &str, number: u32, id: &str) -> io::Result<PathBuf> {
    let log = log_path(paths, pod, container, number);
    let dir = logs::pod_log_directory(&paths.pod_logs, pod).join(container);
    std::fs::create_dir_all(&dir)?;
    std::fs::create_dir_all(&paths.container_logs)?;
    let link = logs::container_log_link(&paths.container_logs, pod, container, id);
    absent_is_fine(std::fs::remove_file(&link))?;
    std::os::unix::fs::symlink(&log, &link)?;
    drop_older_logs(paths, &dir, number);
    Ok(log)
}

/// One dead instance is kept for `logs --previous`. Best effort: a log that stays is removed with the Pod.
fn drop_older_logs(paths: &Paths, dir: &Path, number: u32) {
    let attempt_of = |name: &str| name.split('.').next().and_then(|n| n.parse::<u32>().ok());
    let entries = |dir: &Path| std::fs::read_dir(dir).into_iter().flatten().flatten();
    for entry in entries(dir).chain(entries(&dir.join(logs::INPUT_DIRECTORY))) {
        let old = entry.file_name().to_str().and_then(attempt_of).is_some_and(|n| n.saturating_add(1) < number);
        if old {
            drop_links_to(paths, &entry.path());
            let _ = std::fs::remove_file(entry.path());
        }
    }
}

fn drop_links_to(paths: &Paths, target: &Path) {
    for entry in std::fs::read_dir(&paths.container_logs).into_iter().flatten().flatten() {
        if std::fs::read_link(entry.path()).is_ok_and(|to| to.starts_with(target)) {
            let _ = std::fs::remove_file(entry.path());
        }
    }
}

/// Removes a Pod's logs and the links to them.
pub(super) fn remove_logs(paths: &Paths, pod: &Pod) -> io::Result<()> {
    let dir = logs::pod_log_directory(&paths.pod_logs, pod);
    drop_links_to(paths, &dir);
    absent_is_fine(std::fs::remove_dir_all(dir))
}

/// The most of a seccomp profile that is read.
const MAX_PROFILE: u64 = 1 << 20;

/// A seccomp profile of the host's, from `<state>/seccomp` (the kubelet's is `<root-dir>/seccomp`). Links in it are the administrator's and followed.
/// Errors: where it would be and why it is not to be had.
pub(super) fn read_seccomp_profile(paths: &Paths, name: &str) -> Result<String, (PathBuf, io::Error)> {
    let path = paths.state.join("seccomp").join(name);
    let leads_out = Path::new(name).components().any(|part| !matches!(part, Component::Normal(_) | Component::CurDir));
    let read = || {
        if leads_out {
            return Err(io::Error::new(ErrorKind::InvalidInput, "it leads out of the directory of profiles"));
        }
        // Neither a pipe nor a device is waited for.
        let file = OpenOptions::new().read(true).custom_flags(nix::libc::O_NONBLOCK).open(&path)?;
        let mut text = String::new();
        let size = file.take(MAX_PROFILE + 1).read_to_string(&mut text)?;
        match size as u64 > MAX_PROFILE {
            true => Err(io::Error::new(ErrorKind::FileTooLarge, format!("larger than {MAX_PROFILE} bytes"))),
            false => Ok(text),
        }
    };
    read().map_err(|e| (path.clone(), e))
}

/// Removes the logs of a Pod of which only the uid is known, and the links to them: its directory's name ends with it.
pub(crate) fn remove_logs_of(paths: &Paths, uid: &str) -> io::Result<()> {
    if uid.is_empty() {
        return Ok(());
    }
    let suffix = format!("_{uid}");
    for entry in std::fs::read_dir(&paths.pod_logs).into_iter().flatten().flatten() {
        if entry.file_name().to_str().is_some_and(|name| name.len() > suffix.len() && name.ends_with(&suffix)) {
            drop_links_to(paths, &entry.path());
            absent_is_fine(std::fs::remove_dir_all(entry.path()))?;
        }
    }
    Ok(())
}

fn marker(paths: &Paths, uid: &str, container: &str, number: u32) -> PathBuf {
    paths.run.join("pods").join(uid).join(format!("started-{container}-{number}"))
}

/// Notes that this attempt's start is about to be asked for.
pub(super) fn mark(paths: &Paths, uid: &str, container: &str, number: u32) -> io::Result<()> {
    let path = marker(paths, uid, container, number);
    path.parent().map_or(Ok(()), std::fs::create_dir_all)?;
    std::fs::write(path, [])
}

/// Whether this attempt's start was asked for, in this boot.
pub(super) fn marked(paths: &Paths, uid: &str, container: &str, number: u32) -> bool {
    marker(paths, uid, container, number).exists()
}

/// Notes how this attempt ended, before its task is deleted: until the Store has it, nothing else tells.
pub(super) fn note_end(paths: &Paths, uid: &str, container: &str, number: u32, end: &NotedEnd) -> io::Result<()> {
    std::fs::write(marker(paths, uid, container, number), serde_json::to_vec(end)?)
}

/// What the marker says. One that is empty, cut off or cannot be read tells of a start.
pub(super) fn read_marker(paths: &Paths, uid: &str, container: &str, number: u32) -> Marker {
    match std::fs::read(marker(paths, uid, container, number)) {
        Ok(text) => serde_json::from_slice(&text).map_or(Marker::Started, Marker::Ended),
        Err(error) if error.kind() == ErrorKind::NotFound => Marker::Absent,
        Err(_) => Marker::Started,
    }
}

/// Takes the marker away. Best effort: it goes with the Pod's directory at the latest.
pub(super) fn unmark(paths: &Paths, uid: &str, container: &str, number: u32) {
    let _ = std::fs::remove_file(marker(paths, uid, container, number));
}

fn absent_is_fine(result: io::Result<()>) -> io::Result<()> {
    match result {
        Err(e) if e.kind() == ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_dead_attempt_is_kept_with_its_input() {
        let dir = tempfile::tempdir().unwrap();
        let paths = Paths::below(dir.path());
        for number in 0..3 {
            let log = dir.path().join(format!("{number}.log"));
            std::fs::write(&log, "").unwrap();
            logs::make_stdin(&log, false, None).unwrap();
        }
        drop_older_logs(&paths, dir.path(), 2);
        let left = |number: u32| {
            let log = dir.path().join(format!("{number}.log"));
            (log.exists(), logs::has_stdin(&log, false))
        };
        assert_eq!([left(0), left(1), left(2)], [(false, false), (true, true), (true, true)]);
    }

    #[test]
    fn the_logs_of_a_pod_known_by_its_uid_go_and_no_others() {
        let dir = tempfile::tempdir().unwrap();
        let paths = Paths::below(dir.path());
        for pod in ["ns_a_u-1", "ns_b_u-2", "ns_c_xu-1"] {
            std::fs::create_dir_all(paths.pod_logs.join(pod).join("c")).unwrap();
            std::fs::create_dir_all(&paths.container_logs).unwrap();
            std::os::unix::fs::symlink(paths.pod_logs.join(pod).join("c/0.log"), paths.container_logs.join(pod)).unwrap();
        }
        remove_logs_of(&paths, "u-1").unwrap();
        remove_logs_of(&paths, "").unwrap();
        let names = |dir: &Path| {
            let mut names: Vec<String> = std::fs::read_dir(dir).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
            names.sort();
            names
        };
        assert_eq!(names(&paths.pod_logs), ["ns_b_u-2", "ns_c_xu-1"]);
        assert_eq!(names(&paths.container_logs), ["ns_b_u-2", "ns_c_xu-1"]);
    }
}
