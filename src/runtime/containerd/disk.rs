//! What containers take of the disk, and which disk that is.

use std::path::PathBuf;

use containerd_client::services::v1::PluginsRequest;
use containerd_client::services::v1::snapshots::UsageRequest;

use super::Containerd;
use super::connection::{QUICK, SLOW, answer};
use super::errors::Subject;
use crate::controllers::pressure::DiskUsage;
use crate::runtime::RuntimeError;

/// The type of containerd's plugins that keep file systems.
const SNAPSHOTTERS: &str = "io.containerd.snapshotter.v1";

impl Containerd {
    /// The snapshotter walks the layer: as slow as the layer is large.
    pub(super) async fn measure_layer(&self, id: &str) -> Result<DiskUsage, RuntimeError> {
        let request = UsageRequest { snapshotter: self.config.snapshotter.clone(), key: id.to_owned() };
        let reply = answer(SLOW, self.connection.snapshots().usage(self.connection.request(request))).await;
        let reply = reply.map_err(|status| Subject::new(&self.connection, "measure", id).error(status))?;
        let count = |n: i64| u64::try_from(n).unwrap_or(0);
        Ok(DiskUsage { bytes: count(reply.size), inodes: count(reply.inodes) })
    }

    /// What the snapshotter exports as its root (containerd 1.6 and newer); asked until it is told once.
    pub(super) async fn snapshotter_root(&self) -> Option<PathBuf> {
        let ask = async || {
            let request = self.connection.request(PluginsRequest { filters: vec![format!("type=={SNAPSHOTTERS}")] });
            let reply = answer(QUICK, self.connection.introspection().plugins(request)).await.map_err(drop)?;
            let ours = reply.plugins.iter().find(|p| p.r#type == SNAPSHOTTERS && p.id == self.config.snapshotter).ok_or(())?;
            ours.exports.get("root").map(PathBuf::from).ok_or(())
        };
        self.snapshots.get_or_try_init(ask).await.ok().cloned()
    }
}
