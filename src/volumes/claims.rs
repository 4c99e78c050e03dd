//! persistentVolumeClaim volumes: a directory a claim, kept whatever becomes of the pods and the manifest.
//!
//! fsGroup changes a claim once for each pod (and once more after a reboot), as the kubelet does where it mounts: what containers changed since is
//! theirs. A file in the pod's own directory says that it was done; without it, after a kill in the middle, it is done again.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use k8s_openapi::api::core::v1::{Pod, Volume};

use super::{empty_dir, ownership};

/// Makes the claim's directory, if it is not there, and the pod's own in what fsGroup asks. `done` is where it is noted. Blocking.
pub(super) fn setup(path: &Path, pod: &Pod, volume: &Volume, done: &Path) -> io::Result<()> {
    empty_dir::on_disk(path, None)?;
    // As the kubelet's local volumes: who only reads changes nothing.
    let reads = volume.persistent_volume_claim.as_ref().is_some_and(|c| c.read_only == Some(true));
    let Some(group) = ownership::group(pod).map_err(io::Error::other)?.filter(|_| !reads && !done.exists()) else { return Ok(()) };
    let root = fs::metadata(path)?;
    if ownership::due(pod, root.mode() & 0o7777, root.gid(), group) {
        ownership::give_tree(path, group)?;
    }
    done.parent().map_or(Ok(()), fs::create_dir_all)?;
    fs::write(done, [])
}
