//! The PID namespace of a pod whose containers share their processes: kept by a process of ours that is number 1 in it, as Kubernetes' pause is.
//!
//! ```text
//! spawn (waits for a word) ─▶ record its pid ─▶ pin its namespace ─▶ the word: it stays
//! ```
//! Guarantees: without the word it ends, so an agent that dies half-way leaves none; a pin whose process is dead counts as none; nothing is
//! killed by its number alone, but only if it is in the pinned namespace. The process reaps what the containers orphan and holds nothing: no
//! rights, an empty directory as its root, no files.

use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::MetadataExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::sync::{Mutex, PoisonError};

use nix::errno::Errno;
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use nix::sys::signal::{SigSet, Signal, kill};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::{Gid, Pid, Uid, chdir, chroot, setgroups, setresgid, setresuid};

use super::NetworkError;
use super::namespaces::failed;

/// The first argument that makes this program such a process; the second is the directory it locks itself into.
pub const POD_INIT_ARGUMENT: &str = "minik8s-pod-init";
/// Nobody's, as pause's.
const NOBODY: u32 = 65535;
/// What tells it that it is recorded and pinned.
const STAY: u8 = b'!';

/// The process itself. Ends only by SIGKILL, or at once where it was given up.
pub fn pod_init_main(root: Option<std::ffi::OsString>) -> ExitCode {
    let mut signals = SigSet::empty();
    signals.add(Signal::SIGCHLD);
    // Only for who looks at a list of processes.
    let _ = nix::sys::prctl::set_name(c"minik8s-init");
    let mut word = [0];
    let wanted = std::io::stdin().read_exact(&mut word).is_ok() && word[0] == STAY;
    if !wanted || signals.thread_block().is_err() || renounce(root).is_err() {
        return ExitCode::FAILURE;
    }
    loop {
        while matches!(waitpid(None::<Pid>, Some(WaitPidFlag::WNOHANG)), Ok(status) if status != WaitStatus::StillAlive) {}
        if signals.wait().is_err() {
            return ExitCode::FAILURE;
        }
    }
}

fn renounce(root: Option<std::ffi::OsString>) -> io::Result<()> {
    let root = PathBuf::from(root.ok_or(io::ErrorKind::InvalidInput)?);
    chroot(&root)?;
    chdir("/")?;
    setgroups(&[])?;
    let (uid, gid) = (Uid::from_raw(NOBODY), Gid::from_raw(NOBODY));
    setresgid(gid, gid, gid)?;
    setresuid(uid, uid, uid)?;
    Ok(())
}

/// Where the process' number is recorded.
fn record(pin: &Path) -> PathBuf {
    pin.with_file_name("init")
}

/// Makes sure that a PID namespace with a living process is pinned at `pin`, whose directory is there. Blocking; nothing changes for the caller's
/// own thread.
pub(super) fn pin(pin: &Path) -> Result<(), NetworkError> {
    static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
    let _held = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    if living(pin).is_some() {
        return Ok(());
    }
    super::namespaces::unmount(pin).map_err(|e| failed("unmount", pin, e))?;
    let place = pin.to_owned();
    // A thread of its own that ends afterwards: its children are born into the new namespace.
    let pinner = std::thread::Builder::new().name("pod-init".into()).spawn(move || pin_from_inside(&place));
    let pinner = pinner.map_err(|e| failed("start a thread for", pin, e))?;
    pinner.join().unwrap_or_else(|_| Err(failed("pin a namespace at", pin, io::Error::other("the thread panicked"))))
}

fn pin_from_inside(pin: &Path) -> Result<(), NetworkError> {
    let root = pin.with_file_name("empty");
    std::fs::create_dir_all(&root).map_err(|e| failed("create", &root, e))?;
    unshare(CloneFlags::CLONE_NEWPID).map_err(|e| failed("unshare a PID namespace for", pin, e))?;
    let mut command = Command::new("/proc/self/exe");
    command.arg(POD_INIT_ARGUMENT).arg(&root).env_clear().process_group(0).current_dir("/");
    let child = command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null()).spawn();
    let mut child = child.map_err(|e| failed("start the pod's first process for", pin, e))?;
    let done = (|| {
        std::fs::write(record(pin), child.id().to_string())?;
        std::fs::File::create(pin)?;
        let source = PathBuf::from(format!("/proc/{}/ns/pid", child.id()));
        mount(Some(&source), pin, None::<&str>, MsFlags::MS_BIND, None::<&str>)?;
        child.stdin.take().ok_or(io::ErrorKind::BrokenPipe)?.write_all(&[STAY])
    })();
    // Where that failed the closed pipe ends it. A zombie of ours would otherwise stay for as long as we live.
    let reaper = std::thread::Builder::new().name("pod-init-reaper".into()).stack_size(64 * 1024).spawn(move || child.wait());
    done.and(reaper.map(drop)).map_err(|e| failed("pin a namespace at", pin, e))
}

/// Ends the process, and with it whatever is left in its namespace. That there is none is no error.
pub(super) fn end(pin: &Path) -> Result<(), NetworkError> {
    if let Some(pid) = living(pin) {
        match kill(pid, Signal::SIGKILL) {
            Ok(()) | Err(Errno::ESRCH) => {}
            Err(e) => return Err(failed("end the process of", pin, e)),
        }
    }
    for path in [record(pin), pin.with_file_name("empty")] {
        let removed = if path.is_dir() { std::fs::remove_dir(&path) } else { std::fs::remove_file(&path) };
        match removed {
            Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(failed("remove", &path, e)),
            _ => {}
        }
    }
    Ok(())
}

/// Whether a process has begun to end, by its line in /proc/<pid>/stat (PF_EXITING in the seventh field after the name): the last of its
/// namespace may be awaited for a while, and nobody can join it any more.
fn is_ending(stat: &str) -> bool {
    const PF_EXITING: u64 = 0x4;
    let flags = stat.rsplit_once(") ").and_then(|(_, rest)| rest.split(' ').nth(6)?.parse::<u64>().ok());
    flags.is_none_or(|flags| flags & PF_EXITING != 0)
}

/// The recorded process, if it lives in the pinned namespace.
fn living(pin: &Path) -> Option<Pid> {
    let pid: i32 = std::fs::read_to_string(record(pin)).ok()?.trim().parse().ok()?;
    if is_ending(&std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?) {
        return None;
    }
    let (own, pinned) = (std::fs::metadata(format!("/proc/{pid}/ns/pid")).ok()?, std::fs::metadata(pin).ok()?);
    (pid > 1 && (own.dev(), own.ino()) == (pinned.dev(), pinned.ino())).then(|| Pid::from_raw(pid))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_that_ends_is_not_joined() {
        assert!(!is_ending("25833 (minik8s-init) S 1 25833 25770 0 -1 1077936384 97 0 0"));
        assert!(is_ending("25833 (a) b) S 1 25833 25770 0 -1 1077936388 97 0 0"));
        assert!(is_ending("garbage"));
        assert!(!is_ending(&std::fs::read_to_string("/proc/self/stat").unwrap()));
    }

    #[test]
    fn what_is_recorded_but_not_pinned_is_never_killed() {
        let dir = tempfile::tempdir().unwrap();
        let pin = dir.path().join("pid");
        std::fs::write(&pin, "").unwrap();
        std::fs::write(record(&pin), std::process::id().to_string()).unwrap();
        assert_eq!(living(&pin), None);
        end(&pin).unwrap();
        end(&pin).unwrap();
        assert!(!record(&pin).exists());
    }
}
