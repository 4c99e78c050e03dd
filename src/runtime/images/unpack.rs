//! Layers to snapshots: each is applied on a copy of its parent and committed under its chain id, as containerd's own client does.

use std::collections::HashMap;

use containerd_client::services::v1::ApplyRequest;
use containerd_client::services::v1::snapshots::{
    CommitSnapshotRequest, PrepareSnapshotRequest, RemoveSnapshotRequest, StatSnapshotRequest,
};
use containerd_client::types::Descriptor as WireDescriptor;
use oci_spec::image::Descriptor;
use tonic::{Code, Status};

use super::store::{Lease, StoreError, random_suffix};
use crate::runtime::containerd::connection::{Connection, QUICK, SLOW, UNPACK, answer};

/// The image to unpack. `layers`, `diff_ids` and `chain` are of one length, lowest first.
pub(crate) struct Layers<'a> {
    pub(crate) snapshotter: &'a str,
    pub(crate) layers: &'a [Descriptor],
    pub(crate) diff_ids: &'a [String],
    pub(crate) chain: &'a [String],
}

/// How many of the chain's snapshots are there, counted from the bottom.
pub(crate) async fn unpacked(connection: &Connection, layers: &Layers<'_>) -> Result<usize, Status> {
    for (index, name) in layers.chain.iter().enumerate().rev() {
        let request = StatSnapshotRequest { snapshotter: layers.snapshotter.to_owned(), key: name.clone() };
        match answer(QUICK, connection.snapshots().stat(connection.request(request))).await {
            Ok(_) => return Ok(index + 1),
            Err(status) if status.code() == Code::NotFound => {}
            Err(status) => return Err(status),
        }
    }
    Ok(0)
}

/// Makes the snapshots from the `from`th on. The lease holds them until a label of the image does.
pub(crate) async fn unpack(connection: &Connection, lease: &Lease, layers: &Layers<'_>, from: usize) -> Result<(), StoreError> {
    for index in from..layers.chain.len() {
        let key = format!("extract-{} {}", random_suffix(), layers.chain[index]);
        if let Err(error) = unpack_layer(connection, lease, layers, index, &key).await {
            remove(connection, layers.snapshotter, &key).await;
            return Err(error);
        }
    }
    Ok(())
}

async fn unpack_layer(connection: &Connection, lease: &Lease, layers: &Layers<'_>, index: usize, key: &str) -> Result<(), StoreError> {
    let snapshotter = layers.snapshotter.to_owned();
    let parent = index.checked_sub(1).map(|below| layers.chain[below].clone()).unwrap_or_default();
    let prepare = PrepareSnapshotRequest { snapshotter: snapshotter.clone(), key: key.to_owned(), parent, labels: HashMap::new() };
    let mounts = answer(SLOW, connection.snapshots().prepare(lease.request(prepare))).await?.mounts;
    let apply = ApplyRequest { diff: Some(wire(&layers.layers[index])), mounts, ..Default::default() };
    let applied = answer(UNPACK, connection.diff().apply(lease.request(apply))).await?.applied.unwrap_or_default();
    if applied.digest != layers.diff_ids[index] {
        return Err(StoreError::Content(format!(
            "wrong diff id calculated on extraction: {}, the image says {}",
            applied.digest, layers.diff_ids[index]
        )));
    }
    let name = layers.chain[index].clone();
    let commit = CommitSnapshotRequest { snapshotter: snapshotter.clone(), name, key: key.to_owned(), labels: HashMap::new() };
    match answer(SLOW, connection.snapshots().commit(lease.request(commit))).await {
        // Somebody else unpacked it meanwhile: theirs is as good.
        Err(status) if status.code() == Code::AlreadyExists => {
            remove(connection, &snapshotter, key).await;
            Ok(())
        }
        other => Ok(other.map(drop)?),
    }
}

async fn remove(connection: &Connection, snapshotter: &str, key: &str) {
    let request = RemoveSnapshotRequest { snapshotter: snapshotter.to_owned(), key: key.to_owned() };
    if let Err(status) = answer(QUICK, connection.snapshots().remove(connection.request(request))).await
        && status.code() != Code::NotFound
    {
        tracing::debug!(key, cause = %status.message(), "a half-made snapshot is left to the garbage collector");
    }
}

/// A descriptor as containerd's API has it.
pub(crate) fn wire(descriptor: &Descriptor) -> WireDescriptor {
    WireDescriptor {
        media_type: descriptor.media_type().to_string(),
        digest: descriptor.digest().to_string(),
        size: i64::try_from(descriptor.size()).unwrap_or(i64::MAX),
        annotations: descriptor.annotations().clone().unwrap_or_default(),
    }
}
