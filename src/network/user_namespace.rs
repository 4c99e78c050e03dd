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
use std::os::fd::AsFd as _;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, ChildStdout, Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
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
/// A child that has not said what it has to say by then is ended: others wait for it.
const LONGEST: Duration = Duration::from_secs(10);

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
    end(child).map_err(failed)?;
    made
}

/// Ends a child that is of no use any more, whatever it waits for.
fn end(mut child: Child) -> io::Result<()> {
    child.kill()?;
    child.wait().map(drop)
}

/// Gives the child's namespace its ids, and waits until the others are made.
fn fill(child: &mut Child, said: &mut Said, ids: IdRange) -> io::Result<()> {
    let until = Instant::now() + LONGEST;
    hear(said, MADE, until)?;
    let map = format!("0 {} {}", ids.first(), IdRange::LENGTH);
    for file in ["uid_map", "gid_map"] {
        std::fs::write(format!("/proc/{}/{file}", child.id()), &map)?;
    }
    child.stdin.as_mut().ok_or(io::ErrorKind::BrokenPipe)?.write_all(format!("{GO}\n").as_bytes())?;
    hear(said, DONE, until)
}

/// Starts a pod's first process, in a PID namespace owned by the user namespace pinned at `users` and with `root` as its root. Answers with its number and
/// with who started it: what is written to that one's input is read by the process.
pub(super) fn spawn_init(users: &Path, root: &Path) -> io::Result<(u32, Child)> {
    let (child, mut said) = start(&["init", &users.display().to_string()], root)?;
    let pid = line(&mut said, Instant::now() + LONGEST).and_then(|line| line.parse().map_err(|_| io::Error::other(line)));
    match pid {
        Ok(pid) => Ok((pid, child)),
        Err(why) => {
            end(child)?;
            Err(why)
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

/// Errors: there was none until then.
fn line(said: &mut Said, until: Instant) -> io::Result<String> {
    let mut line = Vec::new();
    while line.last() != Some(&b'\n') {
        if said.buffer().is_empty() {
            readable(said.get_ref().get_ref(), until)?;
        }
        // What is there, and no more: the end of a line may be long in coming.
        let there = said.fill_buf()?;
        let length = there.iter().position(|b| *b == b'\n').map_or(there.len(), |at| at + 1);
        if length == 0 {
            break;
        }
        line.extend_from_slice(&there[..length]);
        said.consume(length);
    }
    Ok(String::from_utf8_lossy(&line).trim_end().to_owned())
}

fn readable(pipe: &ChildStdout, until: Instant) -> io::Result<()> {
    let mut polled = [PollFd::new(pipe.as_fd(), PollFlags::POLLIN)];
    // A millisecond more than is left, lest it be none.
    let left = until.saturating_duration_since(Instant::now()).as_millis() + 1;
    match poll(&mut polled, PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX)) {
        Ok(0) => Err(io::Error::new(io::ErrorKind::TimedOut, "no answer in time")),
        Err(nix::errno::Errno::EINTR) if Instant::now() < until => readable(pipe, until),
        other => other.map(drop).map_err(io::Error::from),
    }
}

/// Errors: the child said something else, which is why it failed, or nothing in time.
fn hear(said: &mut Said, expected: &str, until: Instant) -> io::Result<()> {
    let line = line(said, until)?;
    if line == expected { Ok(()) } else { Err(io::Error::other(line)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A child that says what this script says.
    fn saying(script: &str) -> (Child, Said) {
        let mut command = Command::new("sh");
        let mut child = command.args(["-c", script]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let said = child.stdout.take().unwrap();
        (child, BufReader::new(said.take(MAX_SAID)))
    }

    #[test]
    fn a_child_that_falls_silent_is_not_waited_for() {
        let (child, mut said) = saying("printf 'made\\nma'; exec sleep 1000");
        let begun = Instant::now();
        hear(&mut said, MADE, begun + LONGEST).unwrap();
        let silent = line(&mut said, begun + Duration::from_millis(300)).unwrap_err();
        assert_eq!(silent.kind(), io::ErrorKind::TimedOut);
        // Its input is open still, which a child that listens would wait on.
        end(child).unwrap();
        assert!(begun.elapsed() < LONGEST);
    }

    #[test]
    fn what_a_child_says_last_is_why_it_failed() {
        let (child, mut said) = saying("printf 'no '; sleep 0.1; printf room");
        let why = hear(&mut said, MADE, Instant::now() + LONGEST).unwrap_err();
        assert_eq!(why.to_string(), "no room");
        end(child).unwrap();
    }
}
