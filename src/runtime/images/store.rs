//! containerd's stores as the images room uses them: image records, content, labels, leases. Thin: no policy here.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use containerd_client::services::v1::{AddResourceRequest, Resource};
use containerd_client::services::v1::{
    CreateImageRequest, GetImageRequest, Image as ImageRecord, Info, InfoRequest, ListImagesRequest, ReadContentRequest,
    UpdateImageRequest, UpdateRequest,
};
use containerd_client::services::v1::{CreateRequest, DeleteRequest};
use containerd_client::types::Descriptor;
use prost_types::FieldMask;
use tonic::metadata::{Ascii, MetadataValue};
use tonic::{Code, Status};

use super::manifest::{MAX_DOCUMENT, verify};
use crate::clock::{Clock as _, SystemClock};
use crate::runtime::containerd::connection::{Connection, QUICK, accept, answer};

/// What went wrong with an image, before it is known which variant of `ImageError` it is.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StoreError {
    /// containerd refused or is away.
    #[error("{}", crate::runtime::containerd::connection_words(.0))]
    Containerd(#[from] Status),
    /// What is stored is not what it should be.
    #[error("{0}")]
    Content(String),
}

/// The record of a name; none if there is none.
pub(crate) async fn image(connection: &Connection, name: &str) -> Result<Option<ImageRecord>, Status> {
    let request = connection.request(GetImageRequest { name: name.to_owned() });
    match answer(QUICK, connection.images().get(request)).await {
        Ok(reply) => Ok(reply.image),
        Err(status) if status.code() == Code::NotFound => Ok(None),
        Err(status) => Err(status),
    }
}

/// All records.
pub(crate) async fn images(connection: &Connection) -> Result<Vec<ImageRecord>, Status> {
    answer(QUICK, connection.images().list(connection.request(ListImagesRequest { filters: Vec::new() }))).await.map(|reply| reply.images)
}

/// Any record of this repository that has this digest: an image imported under its tag serves a reference by digest too.
pub(crate) async fn image_by_digest(connection: &Connection, repository: &str, digest: &str) -> Result<Option<ImageRecord>, Status> {
    let filters = vec![format!("target.digest==\"{digest}\"")];
    let reply = answer(QUICK, connection.images().list(connection.request(ListImagesRequest { filters }))).await?;
    let ours = |image: &ImageRecord| image.name.strip_prefix(repository).is_some_and(|rest| rest.starts_with([':', '@']));
    Ok(reply.images.into_iter().find(ours))
}

/// Points a name at a manifest, whether or not the name exists. Labels are added to those it has.
pub(crate) async fn record_image(
    connection: &Connection,
    name: &str,
    target: Descriptor,
    labels: HashMap<String, String>,
) -> Result<(), Status> {
    let paths = std::iter::once("target".to_owned()).chain(labels.keys().map(|key| format!("labels.{key}"))).collect();
    let image = ImageRecord { name: name.to_owned(), target: Some(target), labels, ..Default::default() };
    let create = connection.request(CreateImageRequest { image: Some(image.clone()), source_date_epoch: None });
    match answer(QUICK, connection.images().create(create)).await {
        Err(status) if status.code() == Code::AlreadyExists => {
            let update_mask = Some(FieldMask { paths });
            let update = connection.request(UpdateImageRequest { image: Some(image), update_mask, source_date_epoch: None });
            answer(QUICK, connection.images().update(update)).await.map(drop)
        }
        other => other.map(drop),
    }
}

/// A document from the content store, verified. Not for layers.
pub(crate) async fn document(connection: &Connection, digest: &str) -> Result<Vec<u8>, StoreError> {
    let request = connection.request(ReadContentRequest { digest: digest.to_owned(), offset: 0, size: 0 });
    let mut stream = answer(QUICK, connection.content().read(request)).await?;
    let mut bytes = Vec::new();
    loop {
        let message =
            tokio::time::timeout(QUICK, stream.message()).await.map_err(|_| Status::deadline_exceeded("reading content stalled"))??;
        let Some(message) = message else { break };
        bytes.extend_from_slice(&message.data);
        if bytes.len() as u64 > MAX_DOCUMENT {
            return Err(StoreError::Content(format!("{digest} is larger than {MAX_DOCUMENT} bytes")));
        }
    }
    verify(&bytes, digest).map_err(StoreError::Content)?;
    Ok(bytes)
}

/// Whether the content store has this blob, and how large it is.
pub(crate) async fn blob_size(connection: &Connection, digest: &str) -> Result<Option<u64>, Status> {
    let request = connection.request(InfoRequest { digest: digest.to_owned() });
    match answer(QUICK, connection.content().info(request)).await {
        Ok(reply) => Ok(reply.info.map(|info| u64::try_from(info.size).unwrap_or_default())),
        Err(status) if status.code() == Code::NotFound => Ok(None),
        Err(status) => Err(status),
    }
}

/// Adds labels to content; others stay.
pub(crate) async fn label_content(connection: &Connection, digest: &str, labels: HashMap<String, String>) -> Result<(), Status> {
    let paths = labels.keys().map(|key| format!("labels.{key}")).collect();
    let info = Info { digest: digest.to_owned(), labels, ..Default::default() };
    let request = UpdateRequest { info: Some(info), update_mask: Some(FieldMask { paths }) };
    answer(QUICK, connection.content().update(connection.request(request))).await.map(drop)
}

/// Holds what is being made against containerd's garbage collector; it ends by itself should we not come to it.
pub(crate) struct Lease {
    connection: Arc<Connection>,
    id: String,
    header: MetadataValue<Ascii>,
}

impl Lease {
    /// A lease for work that takes at most `life`.
    pub(crate) async fn new(connection: &Arc<Connection>, life: Duration) -> Result<Self, Status> {
        let id = format!("minik8s-{}", random_suffix());
        let expiry = SystemClock.now() + life;
        let labels = HashMap::from([("containerd.io/gc.expire".to_owned(), format!("{expiry:.0}"))]);
        answer(QUICK, connection.leases().create(connection.request(CreateRequest { id: id.clone(), labels }))).await?;
        let header = id.parse().map_err(|_| Status::internal("a lease id that is no header value"))?;
        Ok(Self { connection: connection.clone(), id, header })
    }

    pub(crate) fn request<T>(&self, message: T) -> tonic::Request<T> {
        self.connection.leased(message, &self.header)
    }

    /// Also holds a blob that is there already.
    pub(crate) async fn hold_content(&self, digest: &str) -> Result<(), Status> {
        let resource = Resource { id: digest.to_owned(), r#type: "content".to_owned() };
        let request = self.connection.request(AddResourceRequest { id: self.id.clone(), resource: Some(resource) });
        accept(answer(QUICK, self.connection.leases().add_resource(request)).await.map(drop), Code::AlreadyExists)
    }

    /// Ends it. A failure is left to the lease's expiry.
    pub(crate) async fn end(self) {
        let request = self.connection.request(DeleteRequest { id: self.id.clone(), sync: false });
        if let Err(status) = answer(QUICK, self.connection.leases().delete(request)).await {
            tracing::debug!(lease = %self.id, cause = %status.message(), "the lease is left to expire");
        }
    }
}

/// Unique among everything this host makes.
pub(crate) fn random_suffix() -> String {
    let mut bytes = [0u8; 8];
    if getrandom::fill(&mut bytes).is_err() {
        let now = SystemClock.now().as_nanosecond() as u64;
        bytes = (now ^ (u64::from(std::process::id()) << 40)).to_le_bytes();
    }
    format!("{:016x}", u64::from_le_bytes(bytes))
}
