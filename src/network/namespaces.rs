//! A pod's namespaces, pinned: `<run>/ns/<uid>/{net,uts,ipc}`, and `user` with `hostUsers: false`, are bind mounts of nsfs files in the host's
//! mount namespace.
//!
//! Guarantees: a pin that is there is whole (hostname set and `lo` up before the mount, which is the last step), so a crash
//! leaves either a pin or a plain file that the next call replaces. `<run>/ns` is a shared mount of its own, so a pin made
//! (or removed) later is made (or removed) in mount namespaces that were copied from the host's before.

use std::io;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sched::{CloneFlags, unshare};
use nix::sys::statfs::{NSFS_MAGIC, statfs};

use super::{NetworkError, UserNamespace, netlink, pod_init, user_namespace};
use crate::api::user_namespace::IdRange;

/// How many mounts may be stacked on one pin before we give up unmounting.
const MAX_STACKED: usize = 16;

/// A kind of namespace that is pinned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Net,
    Uts,
    Ipc,
    /// Shared by the pod's containers; made by `pod_init`.
    Pid,
    /// Owns the others, where it is there.
    User,
}

impl Kind {
    const ALL: [Kind; 5] = [Kind::Net, Kind::Uts, Kind::Ipc, Kind::Pid, Kind::User];

    /// The file's name under /proc/thread-self/ns and in the pod's directory.
    fn file(self) -> &'static str {
        match self {
            Kind::Net => "net",
            Kind::Uts => "uts",
            Kind::Ipc => "ipc",
            Kind::Pid => "pid",
            Kind::User => "user",
        }
    }

    fn flag(self) -> CloneFlags {
        match self {
            Kind::Net => CloneFlags::CLONE_NEWNET,
            Kind::Uts => CloneFlags::CLONE_NEWUTS,
            Kind::Ipc => CloneFlags::CLONE_NEWIPC,
            Kind::Pid => CloneFlags::CLONE_NEWPID,
            Kind::User => CloneFlags::CLONE_NEWUSER,
        }
    }
}

/// The directory of pins.
#[derive(Clone, Debug)]
pub(super) struct Pins {
    root: PathBuf,
}

impl Pins {
    /// Pins under `<run>/ns`.
    pub(super) fn new(run: &Path) -> Pins {
        Pins { root: run.join("ns") }
    }

    /// Makes the directory a shared mount; done before is done.
    pub(super) fn prepare(&self) -> Result<(), NetworkError> {
        std::fs::create_dir_all(&self.root).map_err(|e| failed("create", &self.root, e))?;
        match make_shared(&self.root) {
            Err(Errno::EINVAL) => {}
            done => return done.map_err(|e| failed("share the mount", &self.root, e)),
        }
        let bind = MsFlags::MS_BIND;
        mount(Some(&self.root), &self.root, None::<&str>, bind, None::<&str>).map_err(|e| failed("bind-mount", &self.root, e))?;
        make_shared(&self.root).map_err(|e| failed("share the mount", &self.root, e))
    }

    /// Where a namespace of the pod is pinned.
    pub(super) fn path(&self, uid: &str, kind: Kind) -> PathBuf {
        self.root.join(uid).join(kind.file())
    }

    /// Pins those of `kinds` that are not yet, all new ones made together (about 1 ms). Blocking.
    pub(super) fn pin(&self, uid: &str, kinds: &[Kind], hostname: &str) -> Result<(), NetworkError> {
        check_uid(uid, &self.root)?;
        let missing: Vec<(Kind, PathBuf)> = kinds.iter().map(|k| (*k, self.path(uid, *k))).filter(|(_, path)| !is_pinned(path)).collect();
        if missing.is_empty() {
            return Ok(());
        }
        let dir = self.root.join(uid);
        std::fs::create_dir_all(&dir).map_err(|e| failed("create", &dir, e))?;
        let hostname = hostname.to_owned();
        // A thread of its own that ends afterwards: nothing else may ever run in the namespaces it has entered.
        let pinner = std::thread::Builder::new().name("pin".into()).spawn(move || pin_from_inside(&missing, &hostname));
        let pinner = pinner.map_err(|e| failed("start a thread for", &dir, e))?;
        pinner.join().unwrap_or_else(|_| Err(failed("pin namespaces in", &dir, io::Error::other("the thread panicked"))))
    }

    /// Pins those of `kinds` that are not pinned (any more), from a process that is in them. True: there were such. Blocking. With `users`, the process'
    /// user namespace is pinned, too, and last: if it has these ids, for a process may have gone on into one of its own.
    pub(super) fn pin_again(&self, uid: &str, kinds: &[Kind], users: Option<IdRange>, pid: u32) -> Result<bool, NetworkError> {
        check_uid(uid, &self.root)?;
        let missing: Vec<Kind> = kinds.iter().copied().filter(|k| !self.is_pinned(uid, *k)).collect();
        let dir = self.root.join(uid);
        for kind in &missing {
            std::fs::create_dir_all(&dir).map_err(|e| failed("create", &dir, e))?;
            pin_of(pid, *kind, &self.path(uid, *kind))?;
        }
        let Some(ids) = users.filter(|_| !self.is_pinned(uid, Kind::User)) else { return Ok(!missing.is_empty()) };
        let (map, path) = (PathBuf::from(format!("/proc/{pid}/uid_map")), self.path(uid, Kind::User));
        if !is_map_of(&std::fs::read_to_string(&map).map_err(|e| failed("read", &map, e))?, ids) {
            return Err(failed("pin a namespace at", &path, io::Error::other(format!("process {pid} has other ids"))));
        }
        pin_of(pid, Kind::User, &path)?;
        Ok(true)
    }

    /// As [`Self::pin`], with a user namespace that owns them, and is pinned last: where it is, all are there; where it is not, all are made anew. Blocking.
    pub(super) fn pin_with_users(&self, uid: &str, kinds: &[Kind], hostname: &str, users: &UserNamespace) -> Result<(), NetworkError> {
        check_uid(uid, &self.root)?;
        let places: Vec<(Kind, PathBuf)> =
            kinds.iter().map(|k| (*k, self.path(uid, *k))).chain([(Kind::User, users.path.clone())]).collect();
        let dir = self.root.join(uid);
        std::fs::create_dir_all(&dir).map_err(|e| failed("create", &dir, e))?;
        let _alone = alone(&dir)?;
        if places.iter().all(|(_, path)| is_pinned(path)) {
            return Ok(());
        }
        // What another user namespace owns cannot be entered from the new one.
        pod_init::end(&self.pid_path(uid))?;
        for path in places.iter().map(|(_, path)| path).chain([&self.pid_path(uid)]) {
            unmount(path).map_err(|e| failed("unmount", path, e))?;
        }
        user_namespace::make(&dir, hostname, users.ids, |pid| places.iter().try_for_each(|(kind, path)| pin_of(pid, *kind, path)))
    }

    /// Where the PID namespace is pinned that the pod's containers share.
    pub(super) fn pid_path(&self, uid: &str) -> PathBuf {
        self.path(uid, Kind::Pid)
    }

    /// Pins a PID namespace for all containers of the pod, with a process that keeps it; the pod's `users` own it, if it has a user namespace. Blocking.
    pub(super) fn pin_pid(&self, uid: &str, users: Option<&UserNamespace>) -> Result<(), NetworkError> {
        check_uid(uid, &self.root)?;
        let dir = self.root.join(uid);
        std::fs::create_dir_all(&dir).map_err(|e| failed("create", &dir, e))?;
        pod_init::pin(&self.pid_path(uid), users.map(|users| users.path.as_path()))
    }

    /// Whether the pod's namespace is pinned.
    pub(super) fn is_pinned(&self, uid: &str, kind: Kind) -> bool {
        is_pinned(&self.path(uid, kind))
    }

    /// Unmounts and removes the pod's pins, past errors. Blocking.
    pub(super) fn unpin(&self, uid: &str) -> Result<(), NetworkError> {
        check_uid(uid, &self.root)?;
        let mut errors = Vec::new();
        if let Err(e) = pod_init::end(&self.pid_path(uid)) {
            errors.push(e);
        }
        for path in Kind::ALL.map(|k| self.path(uid, k)) {
            if let Err(e) = unmount(&path) {
                errors.push(failed("unmount", &path, e));
            } else if let Err(e) = absent_ok(std::fs::remove_file(&path)) {
                errors.push(failed("remove", &path, e));
            }
        }
        let dir = self.root.join(uid);
        if errors.is_empty()
            && let Err(e) = absent_ok(std::fs::remove_dir(&dir))
        {
            errors.push(failed("remove", &dir, e));
        }
        NetworkError::collect(errors)
    }

    /// The uids that have a directory.
    pub(super) fn list(&self) -> Result<Vec<String>, NetworkError> {
        let entries = match std::fs::read_dir(&self.root) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            other => other.map_err(|e| failed("read", &self.root, e))?,
        };
        Ok(entries.filter_map(|e| e.ok()?.file_name().into_string().ok()).collect())
    }

    /// Unmounts and removes the directory itself, once no pod is left in it.
    pub(super) fn remove_root(&self) -> Result<(), NetworkError> {
        unmount(&self.root).map_err(|e| failed("unmount", &self.root, e))?;
        absent_ok(std::fs::remove_dir(&self.root)).map_err(|e| failed("remove", &self.root, e))
    }
}

/// Runs in the short-lived thread: enters new namespaces, finishes them and pins them.
fn pin_from_inside(missing: &[(Kind, PathBuf)], hostname: &str) -> Result<(), NetworkError> {
    let own = Path::new("/proc/thread-self/ns");
    let flags = missing.iter().fold(CloneFlags::empty(), |flags, (kind, _)| flags | kind.flag());
    unshare(flags).map_err(|e| failed("unshare namespaces of", own, e))?;
    if flags.contains(CloneFlags::CLONE_NEWUTS) {
        nix::unistd::sethostname(hostname).map_err(|e| failed("set the hostname in", &own.join("uts"), e))?;
    }
    if flags.contains(CloneFlags::CLONE_NEWNET) {
        netlink::loopback_up().map_err(|e| failed("bring lo up in", &own.join("net"), e))?;
    }
    missing.iter().try_for_each(|(kind, path)| pin_file(&own.join(kind.file()), path))
}

/// Whether a `uid_map` is that of a pod with these ids, and of nothing in it.
fn is_map_of(map: &str, ids: IdRange) -> bool {
    map.split_whitespace().eq(["0".to_owned(), ids.first().to_string(), IdRange::LENGTH.to_string()])
}

/// Pins a namespace of another process.
fn pin_of(pid: u32, kind: Kind, path: &Path) -> Result<(), NetworkError> {
    pin_file(&PathBuf::from(format!("/proc/{pid}/ns")).join(kind.file()), path)
}

fn pin_file(source: &Path, path: &Path) -> Result<(), NetworkError> {
    std::fs::File::create(path).map_err(|e| failed("create", path, e))?;
    mount(Some(source), path, None::<&str>, MsFlags::MS_BIND, None::<&str>).map_err(|e| failed("pin a namespace at", path, e))
}

/// Held while a pod's pins are made, for each of its containers may ask for them; other pods do not wait. `dir` is the pod's.
pub(super) fn alone(dir: &Path) -> Result<Flock<std::fs::File>, NetworkError> {
    let file = std::fs::File::open(dir).map_err(|e| failed("open", dir, e))?;
    Flock::lock(file, FlockArg::LockExclusive).map_err(|(_, e)| failed("lock", dir, e))
}

fn make_shared(path: &Path) -> Result<(), Errno> {
    mount(None::<&str>, path, None::<&str>, MsFlags::MS_SHARED, None::<&str>)
}

fn is_pinned(path: &Path) -> bool {
    statfs(path).is_ok_and(|s| s.filesystem_type() == NSFS_MAGIC)
}

/// Takes every mount off `path`; none there is no error.
pub(super) fn unmount(path: &Path) -> Result<(), Errno> {
    for _ in 0..MAX_STACKED {
        match umount2(path, MntFlags::MNT_DETACH | MntFlags::UMOUNT_NOFOLLOW) {
            Ok(()) => {}
            Err(Errno::EINVAL | Errno::ENOENT) => return Ok(()),
            Err(e) => return Err(e),
        }
    }
    Err(Errno::EBUSY)
}

/// A uid names a directory, so it may hold nothing that leads out of it (libcni's containerID rule).
pub(super) fn check_uid(uid: &str, root: &Path) -> Result<(), NetworkError> {
    let starts_well = uid.bytes().next().is_some_and(|b| b.is_ascii_alphanumeric());
    let allowed = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'-');
    if starts_well && uid.bytes().all(allowed) && uid.len() <= 255 {
        return Ok(());
    }
    let problem = io::Error::new(io::ErrorKind::InvalidInput, format!("invalid pod uid {uid:?}"));
    Err(failed("use", root, problem))
}

fn absent_ok(result: io::Result<()>) -> io::Result<()> {
    match result {
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

pub(super) fn failed(action: &'static str, path: &Path, source: impl Into<io::Error>) -> NetworkError {
    NetworkError::Namespace { action, path: path.to_owned(), source: source.into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_map_of_the_pod_s_own_namespace_is_its() {
        let ids = IdRange::starting_at(131_072).unwrap();
        assert!(is_map_of("         0     131072      65536\n", ids));
        for other in ["", "0 0 4294967295\n", "0 196608 65536\n", "0 131072 1\n", "0 131072 65536\n65536 0 1\n"] {
            assert!(!is_map_of(other, ids), "{other:?}");
        }
    }

    #[test]
    fn a_uid_cannot_lead_out_of_the_directory() {
        for bad in ["", "..", ".", "a/b", "/etc", "-x", "a b", &"x".repeat(300)] {
            assert!(check_uid(bad, Path::new("/run/x/ns")).is_err(), "{bad:?}");
        }
        assert!(check_uid("0f3c7a1e-7c1b-4a5e-9d55-0242ac120002", Path::new("/run/x/ns")).is_ok());
    }
}
