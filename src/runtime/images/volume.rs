//! Images as volumes: a read-only view of an image, mounted into a pod's directory, and given back when the pod's volumes are gone.
//!
//! The view is a snapshot of its own, a root of containerd's garbage collection: the layers stay under a mount even when the image is removed.
//! Its name follows from pod and volume and it carries the pod's uid, so a crash at any point is made good by the same call again, and what
//! nobody asks for any more is found. As Kubernetes documents it (types.go, ImageVolumeSource): read-only, and nothing in it is run.

use std::collections::{BTreeSet, HashMap};

use containerd_client::services::v1::snapshots::{ListSnapshotsRequest, MountsRequest, RemoveSnapshotRequest, ViewSnapshotRequest};
use containerd_client::types::Mount;
use tonic::{Code, Status};

use super::{Images, users};
use crate::host::mounts::is_mounted;
use crate::runtime::containerd::connection::{QUICK, SLOW, accept, answer, whole};
use crate::runtime::{Image, ImageVolume, RuntimeError};

/// On a view: the uid of its pod.
const POD_UID: &str = "minik8s.io/image-volume-of";
/// Keeps containerd's garbage collection away; the value means nothing.
const GC_ROOT: &str = "containerd.io/gc.root";

impl Images {
    /// See [`crate::runtime::Runtime::mount_image`].
    pub(crate) async fn mount_volume(&self, image: &Image, volume: &ImageVolume<'_>) -> Result<(), RuntimeError> {
        let failed = |cause: String| RuntimeError::Images { action: "mount the image", subject: image.name.clone(), cause };
        if is_mounted(volume.at).map_err(|e| failed(e.to_string()))? {
            // An agent killed between the two steps has left it writable.
            return users::restrict(volume.at).map_err(|e| failed(e.to_string()));
        }
        let uids = self.volume_pods().await?;
        if !uids.contains(volume.pod_uid) {
            super::lock(&self.volume_pods).get_or_insert_default().insert(volume.pod_uid.to_owned());
        }
        let mounts = self.view(image, volume).await.map_err(|status| {
            if status.code() == Code::NotFound {
                self.forget_all();
            }
            self.refusal(&status, "mount the image", &image.name)
        })?;
        let at = volume.at.to_path_buf();
        let mounted = tokio::task::spawn_blocking(move || users::mount_at(&mounts, &at)).await;
        mounted.map_err(|e| failed(e.to_string()))?.map_err(failed)
    }

    /// The mounts of the pod's view, made if it is not there.
    async fn view(&self, image: &Image, volume: &ImageVolume<'_>) -> Result<Vec<Mount>, Status> {
        let (snapshotter, key) = (self.snapshotter.clone(), key(volume));
        let labels = [(POD_UID, volume.pod_uid), (GC_ROOT, "image volume")].map(|(k, v)| (k.to_owned(), v.to_owned()));
        let (parent, labels) = (image.chain_id.clone(), HashMap::from(labels));
        let view = ViewSnapshotRequest { snapshotter: snapshotter.clone(), key: key.clone(), parent, labels };
        match answer(QUICK, self.connection.snapshots().view(self.connection.request(view))).await {
            Ok(reply) => Ok(reply.mounts),
            Err(status) if status.code() == Code::AlreadyExists => {
                let request = self.connection.request(MountsRequest { snapshotter, key });
                answer(QUICK, self.connection.snapshots().mounts(request)).await.map(|reply| reply.mounts)
            }
            Err(status) => Err(status),
        }
    }

    /// See [`crate::runtime::Runtime::release_image_volumes`]. Costs nothing for a pod that has none.
    pub(crate) async fn release_volumes(&self, pod_uid: &str) -> Result<(), RuntimeError> {
        if !self.volume_pods().await?.contains(pod_uid) {
            return Ok(());
        }
        let refused = |status: Status| self.refusal(&status, "give back the image volumes of pod", pod_uid);
        for (key, _) in self.views().await.map_err(refused)?.into_iter().filter(|(_, uid)| uid == pod_uid) {
            let request = RemoveSnapshotRequest { snapshotter: self.snapshotter.clone(), key };
            let removed = answer(SLOW, self.connection.snapshots().remove(self.connection.request(request))).await;
            accept(removed.map(drop), Code::NotFound).map_err(refused)?;
        }
        if let Some(uids) = super::lock(&self.volume_pods).as_mut() {
            uids.remove(pod_uid);
        }
        Ok(())
    }

    /// See [`crate::runtime::Runtime::image_volume_pods`]. containerd is asked once; after that it is known.
    pub(crate) async fn volume_pods(&self) -> Result<BTreeSet<String>, RuntimeError> {
        let known = super::lock(&self.volume_pods).clone();
        if let Some(known) = known {
            return Ok(known);
        }
        let found = self.views().await.map_err(|status| self.refusal(&status, "list", "image volumes"))?;
        let mut known = super::lock(&self.volume_pods);
        let uids = known.get_or_insert_default();
        uids.extend(found.into_iter().map(|(_, uid)| uid));
        Ok(uids.clone())
    }

    /// Every view that is a volume's: its key, and the pod's uid.
    async fn views(&self) -> Result<Vec<(String, String)>, Status> {
        let filters = vec![format!("labels.\"{POD_UID}\"")];
        let request = self.connection.request(ListSnapshotsRequest { snapshotter: self.snapshotter.clone(), filters });
        let pages = whole(SLOW, self.connection.snapshots().list(request)).await?;
        let infos = pages.into_iter().flat_map(|page| page.info);
        Ok(infos.filter_map(|info| Some((info.name, info.labels.get(POD_UID)?.clone()))).collect())
    }

    fn refusal(&self, status: &Status, action: &'static str, subject: &str) -> RuntimeError {
        match crate::runtime::containerd::is_away(status) {
            true => crate::runtime::containerd::unavailable(&self.connection, status),
            false => RuntimeError::Images { action, subject: subject.to_owned(), cause: status.message().to_owned() },
        }
    }
}

/// The view's name: the same whenever it is asked for.
fn key(volume: &ImageVolume<'_>) -> String {
    format!("minik8s-volume-{}-{}", volume.pod_uid, volume.volume)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn views_are_named_after_pod_and_volume() {
        let at = Path::new("/x");
        assert_eq!(key(&ImageVolume { pod_uid: "u-1", volume: "v", at }), "minik8s-volume-u-1-v");
    }
}
