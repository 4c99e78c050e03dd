//! The root of a container with a user namespace of its own: the image's layers with that one's ids, without a copy.
//!
//! ```text
//! snapshot: overlay of lowerdir=a:b, upperdir=u   ─▶   <run>/layers/<id>/{0,1} ◀─ idmapped mounts of a and b
//!                                                     overlay of lowerdir=<run>/layers/<id>/0:…/1, upperdir=u, which is given to the pod's root
//! ```
//! Done here and not by containerd's snapshotter, so that it is the same from 1.6 on (2.0 has labels for it). What is written goes to the upper
//! directory with the host's ids of the pod, for this attempt only. The overlay has clones of the mounts, so ours go as soon as it is there.

use std::fs::{DirBuilder, File, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, PermissionsExt as _, lchown};
use std::path::{Path, PathBuf};

use containerd_client::types::Mount;
use nix::mount::{MntFlags, umount2};

use super::idmap;
use crate::network::UserNamespace;

/// How many layers an image may have here (overlayfs has 500).
const MAX_LAYERS: usize = 500;

/// Mounts of ours that a task's root is being made from.
#[must_use = "they stay until they are released"]
pub(super) struct Layers(Option<PathBuf>);

impl Layers {
    /// Takes them away. Not waited for by whoever gives up meanwhile; what stays is taken away with the container, or when the agent starts.
    pub(super) async fn release(self) {
        if let Some(dir) = self.0 {
            let gone = tokio::task::spawn_blocking(move || (clear(&dir), dir)).await;
            if let Ok((Err(error), dir)) = gone {
                tracing::warn!(%error, dir = %dir.display(), "layers of a container's root stay mounted");
            }
        }
    }
}

/// The mounts of a root, as the snapshotter has them, with the ids of `users`; as they are without. `at` is made for what is mounted, and cleared at
/// the end or, after an error, at once.
pub(super) async fn with_ids(mounts: Vec<Mount>, users: Option<UserNamespace>, at: PathBuf) -> Result<(Vec<Mount>, Layers), String> {
    let Some(users) = users else { return Ok((mounts, Layers(None))) };
    let map = move || {
        let mapped = map(&mounts, &users, &at);
        if mapped.is_err() {
            let _ = clear(&at);
        }
        mapped.map(|mounts| (mounts, Layers(Some(at))))
    };
    tokio::task::spawn_blocking(map).await.unwrap_or_else(|e| Err(e.to_string()))
}

fn map(mounts: &[Mount], users: &UserNamespace, at: &Path) -> Result<Vec<Mount>, String> {
    let [overlay] = mounts else { return Err(format!("a root of {} mounts cannot have the ids of a user namespace", mounts.len())) };
    let parts =
        Overlay::of(overlay).ok_or_else(|| format!("a root of type {:?} cannot have the ids of a user namespace", overlay.r#type))?;
    let failed = |what: &str, path: &Path, e: io::Error| format!("failed to {what} {}: {e}", path.display());
    clear(at).map_err(|e| failed("clear", at, e))?;
    if let Some(all) = at.parent() {
        make_private(all).map_err(|e| failed("create", all, e))?;
    }
    let namespace = File::open(&users.path).map_err(|e| failed("open", &users.path, e))?;
    for (index, lower) in parts.lower.iter().enumerate() {
        let target = at.join(index.to_string());
        std::fs::create_dir_all(&target).map_err(|e| failed("create", &target, e))?;
        idmap::mount(lower, &target, &namespace).map_err(|e| failed("mount with the ids of a user namespace", lower, e))?;
    }
    give(parts.upper, users).map_err(|e| failed("give to the user namespace", parts.upper, e))?;
    Ok(vec![parts.over(at)])
}

/// Gives the upper directory, which is the root's own, to whom it belongs in the namespace.
fn give(upper: &Path, users: &UserNamespace) -> io::Result<()> {
    let found = std::fs::symlink_metadata(upper)?;
    let (uid, gid) = (users.ids.on_host(found.uid()), users.ids.on_host(found.gid()));
    let (Some(uid), Some(gid)) = (uid, gid) else { return Err(io::Error::other("its owner has no id there")) };
    lchown(upper, Some(uid), Some(gid))
}

/// Makes the directory of all containers' layers, for root only: what is mounted there is not to be reached by the host's users.
fn make_private(all: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(all)?;
    std::fs::set_permissions(all, Permissions::from_mode(0o700))
}

/// Takes away what an agent that was killed has left below the directory of all containers' layers. What stays is told in the log.
pub(super) fn clear_all(all: &Path) {
    for entry in std::fs::read_dir(all).into_iter().flatten().flatten() {
        if let Err(error) = clear(&entry.path()) {
            tracing::warn!(%error, dir = %entry.path().display(), "layers of a container's root stay mounted");
        }
    }
}

/// Takes away what is mounted in the directory, and it itself. That there is none is no error.
pub(super) fn clear(at: &Path) -> io::Result<()> {
    for index in 0..MAX_LAYERS {
        let target = at.join(index.to_string());
        if !target.exists() {
            break;
        }
        // Not mounted: left by a failure. The directory says whether something still is.
        let _ = umount2(&target, MntFlags::MNT_DETACH | MntFlags::UMOUNT_NOFOLLOW);
        std::fs::remove_dir(&target)?;
    }
    match std::fs::remove_dir(at) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => Err(e),
        _ => Ok(()),
    }
}

/// An overlay mount, taken apart.
struct Overlay<'a> {
    mount: &'a Mount,
    lower: Vec<&'a Path>,
    upper: &'a Path,
}

impl<'a> Overlay<'a> {
    /// `None`: it is none that can be written to, or has too many layers.
    fn of(mount: &'a Mount) -> Option<Overlay<'a>> {
        let option = |name: &str| mount.options.iter().find_map(|o| o.strip_prefix(name)?.strip_prefix('='));
        let lower: Vec<&Path> = option("lowerdir")?.split(':').map(Path::new).collect();
        let upper = Path::new(option("upperdir")?);
        (mount.r#type == "overlay" && lower.len() <= MAX_LAYERS).then_some(Overlay { mount, lower, upper })
    }

    /// The same over layers that are mounted in this directory, by their numbers.
    fn over(&self, at: &Path) -> Mount {
        let lower: Vec<String> = (0..self.lower.len()).map(|index| at.join(index.to_string()).display().to_string()).collect();
        let lower = format!("lowerdir={}", lower.join(":"));
        let option = |o: &String| if o.starts_with("lowerdir=") { lower.clone() } else { o.clone() };
        Mount { options: self.mount.options.iter().map(option).collect(), ..self.mount.clone() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mount(kind: &str, options: &[&str]) -> Mount {
        let options = options.iter().map(|o| (*o).to_owned()).collect();
        Mount { r#type: kind.to_owned(), source: kind.to_owned(), target: String::new(), options }
    }

    #[test]
    fn an_overlay_keeps_all_but_its_lower_layers() {
        let overlay = mount("overlay", &["index=off", "workdir=/s/3/work", "upperdir=/s/3/fs", "lowerdir=/s/2/fs:/s/1/fs"]);
        let parts = Overlay::of(&overlay).unwrap();
        assert_eq!((parts.lower.clone(), parts.upper), (vec![Path::new("/s/2/fs"), Path::new("/s/1/fs")], Path::new("/s/3/fs")));
        let over = parts.over(Path::new("/run/layers/c"));
        let expected = ["index=off", "workdir=/s/3/work", "upperdir=/s/3/fs", "lowerdir=/run/layers/c/0:/run/layers/c/1"];
        assert_eq!(over, mount("overlay", &expected));
    }

    #[test]
    fn other_roots_have_no_layers_to_map() {
        assert!(Overlay::of(&mount("bind", &["rbind", "rw"])).is_none());
        assert!(Overlay::of(&mount("overlay", &["lowerdir=/a:/b"])).is_none(), "a view");
        assert!(Overlay::of(&mount("overlay", &["upperdir=/u", &format!("lowerdir={}", vec!["/l"; 501].join(":"))])).is_none());
    }
}
