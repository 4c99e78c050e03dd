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
use std::process::{Child, Command, ExitCode, Stdio};

use nix::errno::Errno;
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sched::{CloneFlags, unshare};
use nix::sys::signal::{SigSet, Signal, kill};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::{Gid, Pid, Uid, chdir, chroot, pivot_root, setgroups, setresgid, setresuid};

use super::namespaces::failed;
use super::{NetworkError, user_namespace};

/// The first argument that makes this program such a process; the second is the directory it locks itself into; the third, [`OWN_MOUNTS`], is there in
/// a user namespace.
pub const POD_INIT_ARGUMENT: &str = "minik8s-pod-init";
/// Lock up a mount namespace, not only a directory: who has all rights in the user namespace may look behind a directory of the host's.
pub(super) const OWN_MOUNTS: &str = "own-mounts";
/// Nobody's, as pause's.
const NOBODY: u32 = 65535;
/// The directory beside the pin that it locks itself into.
const EMPTY: &str = "empty";
/// What tells it that it is recorded and pinned.
const STAY: u8 = b'!';

/// The process itself. Ends only by SIGKILL, or at once where it was given up.
pub fn pod_init_main(mut arguments: impl Iterator<Item = std::ffi::OsString>) -> ExitCode {
    let (root, own_mounts) = (arguments.next(), arguments.next().is_some_and(|a| a == OWN_MOUNTS));
    let mut signals = SigSet::empty();
    signals.add(Signal::SIGCHLD);
    // Only for who looks at a list of processes.
    let _ = nix::sys::prctl::set_name(c"minik8s-init");
    let mut word = [0];
    let wanted = std::io::stdin().read_exact(&mut word).is_ok() && word[0] == STAY;
    if !wanted || signals.thread_block().is_err() || renounce(root, own_mounts).is_err() {
        return ExitCode::FAILURE;
    }
    loop {
        while matches!(waitpid(None::<Pid>, Some(WaitPidFlag::WNOHANG)), Ok(status) if status != WaitStatus::StillAlive) {}
        if signals.wait().is_err() {
            return ExitCode::FAILURE;
        }
    }
}

fn renounce(root: Option<std::ffi::OsString>, own_mounts: bool) -> io::Result<()> {
    if own_mounts {
        leave_mounts()?;
    } else {
        chroot(&PathBuf::from(root.ok_or(io::ErrorKind::InvalidInput)?))?;
    }
    chdir("/")?;
    setgroups(&[])?;
    let (uid, gid) = (Uid::from_raw(NOBODY), Gid::from_raw(NOBODY));
    setresgid(gid, gid, gid)?;
    setresuid(uid, uid, uid)?;
    Ok(())
}

/// Makes an empty file system the root, in a mount namespace that has nothing else. It was started in the empty directory.
fn leave_mounts() -> io::Result<()> {
    let none = None::<&str>;
    unshare(CloneFlags::CLONE_NEWNS)?;
    mount(none, "/", none, MsFlags::MS_SLAVE | MsFlags::MS_REC, none)?;
    let flags = MsFlags::MS_RDONLY | MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
    mount(Some("none"), ".", Some("tmpfs"), flags, Some("size=4k,mode=555"))?;
    // By its name: where we are is below what was mounted.
    chdir(&Path::new("..").join(EMPTY))?;
    pivot_root(".", ".")?;
    umount2(".", MntFlags::MNT_DETACH)?;
    Ok(())
}

/// Where the process' number is recorded.
fn record(pin: &Path) -> PathBuf {
    pin.with_file_name("init")
}

/// Makes sure that a PID namespace with a living process is pinned at `pin`, whose directory is there. Blocking; nothing changes for the caller's
/// own thread. `users`: where the user namespace is pinned that is to own it.
pub(super) fn pin(pin: &Path, users: Option<&Path>) -> Result<(), NetworkError> {
    let _alone = super::namespaces::alone(pin.parent().unwrap_or(pin))?;
    if living(pin).is_some() {
        return Ok(());
    }
    super::namespaces::unmount(pin).map_err(|e| failed("unmount", pin, e))?;
    if let Some(users) = users {
        let child = user_namespace::spawn_init(users, &empty_root(pin)?);
        return keep(pin, child.map_err(|e| failed("start the pod's first process for", pin, e))?);
    }
    let place = pin.to_owned();
    // A thread of its own that ends afterwards: its children are born into the new namespace.
    let pinner = std::thread::Builder::new().name("pod-init".into()).spawn(move || pin_from_inside(&place));
    let pinner = pinner.map_err(|e| failed("start a thread for", pin, e))?;
    pinner.join().unwrap_or_else(|_| Err(failed("pin a namespace at", pin, io::Error::other("the thread panicked"))))
}

/// The directory that the process locks itself into.
fn empty_root(pin: &Path) -> Result<PathBuf, NetworkError> {
    let root = pin.with_file_name(EMPTY);
    std::fs::create_dir_all(&root).map_err(|e| failed("create", &root, e))?;
    Ok(root)
}

fn pin_from_inside(pin: &Path) -> Result<(), NetworkError> {
    let root = empty_root(pin)?;
    unshare(CloneFlags::CLONE_NEWPID).map_err(|e| failed("unshare a PID namespace for", pin, e))?;
    let child = command(&root).stdin(Stdio::piped()).spawn();
    let child = child.map_err(|e| failed("start the pod's first process for", pin, e))?;
    keep(pin, (child.id(), child))
}

/// The process' program, which is not to know where it comes from.
pub(super) fn command(root: &Path) -> Command {
    let mut command = Command::new("/proc/self/exe");
    command.arg(POD_INIT_ARGUMENT).arg(root).env_clear().process_group(0).current_dir("/");
    command.stdout(Stdio::null()).stderr(Stdio::null());
    command
}

/// Records and pins the process with this number, and tells it to stay. `child` is it, or whom it was born to: our child, whose input it reads.
fn keep(pin: &Path, (pid, mut child): (u32, Child)) -> Result<(), NetworkError> {
    let done = (|| {
        std::fs::write(record(pin), pid.to_string())?;
        std::fs::File::create(pin)?;
        let source = PathBuf::from(format!("/proc/{pid}/ns/pid"));
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
    for path in [record(pin), pin.with_file_name(EMPTY)] {
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
