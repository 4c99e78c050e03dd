//! configMap, secret, downwardAPI and projected volumes: where they are, and their files written there.
//!
//! What may hold a Secret is on a tmpfs of its own, without swap where the kernel can (Linux 6.4). Only root and the pod's containers get to
//! any of them: the directories above are the pod's own (0750).

use std::collections::BTreeSet;
use std::io;
use std::path::Path;

use k8s_openapi::api::core::v1::{Pod, Volume};
use nix::mount::MsFlags;

use super::atomic_writer::{self, Contents};
use super::empty_dir;

/// Where a kind of configuration volume lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    /// The directory of its kind.
    pub(super) kind: &'static str,
    /// Whether it is on tmpfs.
    pub(super) in_memory: bool,
}

/// The volume's place, if it is a configuration volume.
pub(super) fn place(volume: &Volume) -> Option<Place> {
    let place = |kind, in_memory| Some(Place { kind, in_memory });
    match volume {
        v if v.config_map.is_some() => place("config-map", false),
        v if v.secret.is_some() => place("secret", true),
        v if v.projected.is_some() => place("projected", true),
        v if v.downward_api.is_some() => place("downward-api", true),
        _ => None,
    }
}

/// The volumes that containers may only read: configuration volumes, images, and claims and nfs that say so (Attributes.ReadOnly of the kubelet's plugins).
pub(super) fn read_only(pod: &Pod) -> BTreeSet<String> {
    let claimed = |v: &Volume| v.persistent_volume_claim.as_ref().is_some_and(|c| c.read_only == Some(true));
    let volumes = pod.spec.iter().flat_map(|s| s.volumes.iter().flatten());
    let exported = |v: &Volume| v.nfs.as_ref().is_some_and(|nfs| nfs.read_only == Some(true));
    volumes.filter(|v| place(v).is_some() || v.image.is_some() || claimed(v) || exported(v)).map(|v| v.name.clone()).collect()
}

/// Makes the volume hold exactly these files, for `group` if there is one; at most `bytes` of memory.
pub(super) fn setup(path: &Path, place: Place, bytes: u64, contents: &Contents) -> io::Result<()> {
    std::fs::create_dir_all(path)?;
    if place.in_memory {
        let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV;
        let options = format!("size={bytes},mode=0755");
        empty_dir::tmpfs(path, &format!("{options},noswap"), flags).or_else(|_| empty_dir::tmpfs(path, &options, flags))?;
    }
    atomic_writer::write(path, contents)
}
