//! What containerd leaves of a task whose creation was cut off, and what keeps it from making another under that id until somebody takes it away.
//!
//! It cancels a creation when who asked for it goes (an agent that ends), and cleans up. Where that takes longer than its own limit of 5 s, on a busy
//! host, the bundle stays (1.6, 1.7: runtime/v2/binary.go, Delete returns before the bundle's; moby/moby#50040), and each further creation fails with
//! `mkdir …: file exists`; or what the OCI runtime had made by then stays (2.1), which fails with its `already exists`. Ids here are a pod's for good,
//! so both have to go.

use std::io;
use std::path::{Component, Path, PathBuf};

use nix::errno::Errno;
use nix::mount::{MntFlags, umount2};
use tokio::process::Command;
use tonic::{Code, Status};

use super::Containerd;
use super::options::output;

/// Below containerd's state directory: where it has its bundles, by namespace and id.
const BUNDLES: &str = "io.containerd.runtime.v2.task";

/// What is in the way.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Leftover {
    /// This directory of containerd's.
    Bundle(PathBuf),
    /// The OCI runtime's own idea of such a container.
    Container,
}

/// What is in the way of a creation that failed with these words; no other path than a bundle of that id.
pub(super) fn in_the_way(status: &Status, namespace: &str, id: &str) -> Option<Leftover> {
    let message = status.message();
    // runc's words, and crun's.
    if message.contains("container with given ID already exists") || message.contains(&format!("container `{id}` already exists")) {
        return Some(Leftover::Container);
    }
    let (before, _) = message.split_once(": file exists")?;
    let path = Path::new(before.rsplit_once("mkdir ")?.1);
    let plain = path.components().all(|part| matches!(part, Component::RootDir | Component::Normal(_)));
    let place = Path::new(BUNDLES).join(namespace).join(id);
    (path.is_absolute() && plain && path.ends_with(place)).then(|| Leftover::Bundle(path.to_path_buf()))
}

impl Containerd {
    /// Takes it away, and in any case what the runtime may still have of the container. The caller knows that containerd has had the time to do so
    /// itself. Errors: it has a task after all, or what is left.
    pub(super) async fn clear_leftover(&self, leftover: Leftover, id: &str) -> Result<(), String> {
        if !self.task(id).await.is_err_and(|status| status.code() == Code::NotFound) {
            return Err(format!("what is left of {id} may be in use: {leftover:?}"));
        }
        let runtime = self.config.runtime_binary.as_deref().unwrap_or(Path::new("runc"));
        let root = self.config.run_dir.join("runc").join(&self.config.namespace);
        // If that fails, the next creation says in the runtime's words what is left.
        if let Err(why) = output(Command::new(runtime).arg("--root").arg(root).args(["delete", "--force", id])).await {
            tracing::debug!(container = id, "{} could not be asked to delete what is left: {why}", runtime.display());
        }
        let Leftover::Bundle(bundle) = leftover else { return Ok(()) };
        let removed =
            tokio::task::spawn_blocking(move || remove_bundle(&bundle).map_err(|error| format!("{}: {error}", bundle.display()))).await;
        removed.map_err(|error| error.to_string()).flatten().map_err(|why| format!("what is left of {id} cannot be removed: {why}"))
    }
}

/// Only once nothing is mounted on its root: what is mounted there is not the bundle's.
fn remove_bundle(bundle: &Path) -> io::Result<()> {
    loop {
        match umount2(&bundle.join("rootfs"), MntFlags::MNT_DETACH | MntFlags::UMOUNT_NOFOLLOW) {
            Ok(()) => {}
            Err(Errno::EINVAL | Errno::ENOENT) => break,
            Err(error) => return Err(error.into()),
        }
    }
    match std::fs::remove_dir(bundle.join("rootfs")) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => std::fs::remove_dir_all(bundle),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_bundle_of_this_very_container_is_in_the_way() {
        let of = |message: &str| in_the_way(&Status::unknown(message), "ns", "id");
        let bundle = "/run/containerd/io.containerd.runtime.v2.task/ns/id";
        assert_eq!(of(&format!("failed to start shim: mkdir {bundle}: file exists: unknown")), Some(Leftover::Bundle(bundle.into())));
        for other in [
            "/run/containerd/io.containerd.runtime.v2.task/ns/id2",
            "/run/containerd/io.containerd.runtime.v2.task/moby/id",
            "/etc/id",
            "/run/../io.containerd.runtime.v2.task/ns/id",
            "io.containerd.runtime.v2.task/ns/id",
        ] {
            assert_eq!(of(&format!("failed to start shim: mkdir {other}: file exists: unknown")), None, "{other}");
        }
        assert_eq!(of(&format!("failed to start shim: mkdir {bundle}: no space left on device")), None);
        let runtimes = ["runc create failed: container with given ID already exists", "container `id` already exists"];
        assert_eq!(
            runtimes.map(|words| of(&format!("OCI runtime create failed: {words}: unknown"))),
            [Some(Leftover::Container), Some(Leftover::Container)]
        );
        assert_eq!(of("container `id2` already exists"), None);
    }
}
