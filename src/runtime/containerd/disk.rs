//! What containers take of the disk, and which disk that is.

use std::path::PathBuf;

use containerd_client::services::v1::PluginsRequest;
use containerd_client::services::v1::snapshots::UsageRequest;

use nix::sys::statvfs::statvfs;
use tonic::Status;

use super::Containerd;
use super::connection::{QUICK, SLOW, answer};
use super::errors::{Subject, is_away, unavailable};
use crate::controllers::pressure::DiskUsage;
use crate::runtime::RuntimeError;
use crate::runtime::images::gc::DiskSpace;

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

    /// The disk of images and containers' layers.
    pub(super) async fn measure_disk(&self) -> Result<DiskSpace, RuntimeError> {
        let root = self.snapshotter_root().await?.clone();
        let failed = |cause: String| self.disk_error(cause);
        let stat = tokio::task::spawn_blocking(move || statvfs(&root)).await.map_err(|e| failed(e.to_string()))?;
        let stat = stat.map_err(|e| failed(e.to_string()))?;
        let bytes = |blocks: u64| blocks.saturating_mul(stat.fragment_size());
        Ok(DiskSpace { capacity: bytes(stat.blocks()), available: bytes(stat.blocks_available()) })
    }

    /// What the snapshotter exports as its root (containerd 1.6 and newer); asked until it is told once.
    pub(super) async fn snapshotter_root(&self) -> Result<&PathBuf, RuntimeError> {
        let ask = async || {
            let request = self.connection.request(PluginsRequest { filters: vec![format!("type=={SNAPSHOTTERS}")] });
            let reply = answer(QUICK, self.connection.introspection().plugins(request)).await;
            let refused = |status: Status| match is_away(&status) {
                true => unavailable(&self.connection, &status),
                false => self.disk_error(status.message().to_owned()),
            };
            let plugins = reply.map_err(refused)?.plugins;
            let ours = plugins.iter().find(|p| p.r#type == SNAPSHOTTERS && p.id == self.config.snapshotter);
            let root = ours.and_then(|plugin| plugin.exports.get("root")).map(PathBuf::from);
            root.ok_or_else(|| self.disk_error("containerd does not tell where it is".to_owned()))
        };
        self.snapshots.get_or_try_init(ask).await
    }

    fn disk_error(&self, cause: String) -> RuntimeError {
        RuntimeError::Images { action: "find the disk of the snapshotter", subject: self.config.snapshotter.clone(), cause }
    }
}
