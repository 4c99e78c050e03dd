//! The user namespace of a pod with `hostUsers: false`, and what it owns. Only a process with one thread can make or enter one, so this program
//! is started anew for it.
//!
//! ```text
//! agent                                   child
//! start ────────────────────────────────▶ unshare users ─▶ "made"
//! write its ids (uid_map, gid_map) ─▶ go ─▶ become its root, unshare net, uts, ipc; hostname, lo ─▶ "done"
//! pin them all, users last ─▶ close ─────▶ end
//! ```
//! Guarantees: the namespaces are whole before the first is pinned, and all are owned by the new one, so that its root may do with them what
//! root may (mount its /sys and /dev/mqueue, set its sysctls) and nothing with the host's. A child that is left alone ends.

use std::ffi::OsString;
use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, ChildStdout, Command, ExitCode, Stdio};

use nix::sched::{CloneFlags, setns, unshare};
use nix::unistd::{Gid, Uid, setgroups, setresgid, setresuid};

use super::namespaces::failed;
use super::{NetworkError, netlink, pod_init};
use crate::api::user_namespace::IdRange;

/// The first argument that makes this program such a child: `make <hostname>`, or `init <pin>` to start a pod's first process in the namespace pinned there,
/// in the directory it is started in.
pub const USER_NAMESPACE_ARGUMENT: &str = "minik8s-user-namespace";
/// What is said in between, a line each.
const MADE: &str = "made";
const GO: &str = "go";
const DONE: &str = "done";
/// As much as is listened to.
const MAX_SAID: u64 = 4096;

/// The child. What goes wrong is its last line.
pub fn user_namespace_main(mut arguments: impl Iterator<Item = OsString>) -> ExitCode {
    let what = arguments.next().unwrap_or_default();
    let argument = arguments.next().unwrap_or_default();
    let done = match what.to_str() {
        Some("make") => make_from_inside(&argument),
        Some("init") => init_from_inside(Path::new(&argument)),
        _ => Err(io::ErrorKind::InvalidInput.into()),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            say(&error.to_string());
            ExitCode::FAILURE
        }
    }
}

fn make_from_inside(hostname: &OsString) -> io::Result<()> {
    unshare(CloneFlags::CLONE_NEWUSER)?;
    say(MADE);
    let mut word = String::new();
    io::stdin().lock().take(MAX_SAID).read_line(&mut word)?;
    if word.trim_end() != GO {
        return Ok(());
    }
    become_root()?;
    unshare(CloneFlags::CLONE_NEWNET | CloneFlags::CLONE_NEWUTS | CloneFlags::CLONE_NEWIPC)?;
    nix::unistd::sethostname(hostname)?;
    netlink::loopback_up()?;
    say(DONE);
    // Until it is pinned, or given up.
    io::stdin().lock().read(&mut [0]).map(drop)
}

/// Starts the pod's first process in a PID namespace that the user namespace owns, and says its number.
fn init_from_inside(pin: &Path) -> io::Result<()> {
    setns(std::fs::File::open(pin)?, CloneFlags::CLONE_NEWUSER)?;
    become_root()?;
    unshare(CloneFlags::CLONE_NEWPID)?;
    // Its root is the directory we were started in: by its name it might not be reached any more.
    let child = pod_init::command(Path::new(".")).arg(pod_init::OWN_MOUNTS).current_dir(".").stdin(Stdio::inherit()).spawn()?;
    say(&child.id().to_string());
    Ok(())
}

/// From an id that the namespace does not know to its root. All rights in it stay.
fn become_root() -> io::Result<()> {
    let (uid, gid) = (Uid::from_raw(0), Gid::from_raw(0));
    setgroups(&[])?;
    setresgid(gid, gid, gid)?;
    setresuid(uid, uid, uid)?;
    Ok(())
}

fn say(line: &str) {
    // Who does not listen any more has closed our input, too.
    let _ = writeln!(io::stdout(), "{line}");
}

/// Makes the namespaces with these ids, has them pinned (`pin` is told the process that is in them), and lets go of them. Blocking. `dir` is for errors.
pub(super) fn make(
    dir: &Path,
    hostname: &str,
    ids: IdRange,
    pin: impl FnOnce(u32) -> Result<(), NetworkError>,
) -> Result<(), NetworkError> {
    let failed = |e: io::Error| failed("make a user namespace for", dir, e);
    let (mut child, mut said) = start(&["make", hostname], Path::new("/")).map_err(failed)?;
    let made = fill(&mut child, &mut said, ids).map_err(failed).and_then(|()| pin(child.id()));
    drop(child.stdin.take());
    child.wait().map_err(failed)?;
    made
}

/// Gives the child's namespace its ids, and waits until the others are made.
fn fill(child: &mut Child, said: &mut Said, ids: IdRange) -> io::Result<()> {
    hear(said, MADE)?;
    let map = format!("0 {} {}", ids.first(), IdRange::LENGTH);
    for file in ["uid_map", "gid_map"] {
        std::fs::write(format!("/proc/{}/{file}", child.id()), &map)?;
    }
    child.stdin.as_mut().ok_or(io::ErrorKind::BrokenPipe)?.write_all(format!("{GO}\n").as_bytes())?;
    hear(said, DONE)
}

/// Starts a pod's first process, in a PID namespace owned by the user namespace pinned at `users` and with `root` as its root. Answers with its number and
/// with who started it: what is written to that one's input is read by the process.
pub(super) fn spawn_init(users: &Path, root: &Path) -> io::Result<(u32, Child)> {
    let (mut child, mut said) = start(&["init", &users.display().to_string()], root)?;
    let line = line(&mut said)?;
    match line.parse() {
        Ok(pid) => Ok((pid, child)),
        Err(_) => {
            child.wait()?;
            Err(io::Error::other(line))
        }
    }
}

type Said = BufReader<io::Take<ChildStdout>>;

fn start(arguments: &[&str], dir: &Path) -> io::Result<(Child, Said)> {
    let mut command = Command::new("/proc/self/exe");
    command.arg(USER_NAMESPACE_ARGUMENT).args(arguments).env_clear().process_group(0).current_dir(dir);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn()?;
    let said = child.stdout.take().ok_or(io::ErrorKind::BrokenPipe)?;
    Ok((child, BufReader::new(said.take(MAX_SAID))))
}

fn line(said: &mut Said) -> io::Result<String> {
    let mut line = String::new();
    said.read_line(&mut line)?;
    Ok(line.trim_end().to_owned())
}

/// Errors: the child said something else, which is why it failed.
fn hear(said: &mut Said, expected: &str) -> io::Result<()> {
    let line = line(said)?;
    if line == expected { Ok(()) } else { Err(io::Error::other(line)) }
}
