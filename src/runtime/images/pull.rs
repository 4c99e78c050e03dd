//! Registry to content store: manifest, configuration and layers, each streamed in bounded pieces, verified by containerd at commit,
//! resumed where a broken connection or an earlier try stopped, and labelled so that garbage collection follows the image.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use containerd_client::services::v1::{AbortRequest, WriteAction, WriteContentRequest, WriteContentResponse};
use containerd_client::types::Descriptor as WireDescriptor;
use futures::{StreamExt as _, TryStreamExt as _, stream};
use oci_spec::image::{Descriptor, ImageManifest};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Status, Streaming};

use super::archive::Archive;
use super::manifest::{Document, choose, sha256};
use super::progress::Progress;
use super::reference::ImageReference;
use super::registry::{BlobStream, RegistryError, Session};
use super::store::{Lease, StoreError, blob_size, label_content};
use crate::runtime::containerd::connection::{Connection, QUICK, answer};
use crate::runtime::containerd::is_away;

const PARALLEL_LAYERS: usize = 3;
/// Times that a layer is asked for again because the connection broke.
const RECONNECTS: usize = 16;
/// Messages under way to containerd, for each layer.
const PIECES: usize = 4;
/// An ingest of a try that was cut off stays locked for a moment.
const LOCK_TRIES: u32 = 20;
const LOCK_AGAIN: Duration = Duration::from_millis(100);

/// Whose fault it is that a pull failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// The registry did not answer; a local copy will do.
    RegistryAway,
    /// The registry's answer broke off: asked again for the rest, and otherwise as `RegistryAway`.
    CutOff,
    /// containerd did not answer, or not in time: no word on the image.
    RuntimeAway,
    /// The registry, or containerd, said no; or what came is wrong.
    Refused,
}

/// Why a pull failed.
#[derive(Debug)]
pub(super) struct PullError {
    pub(super) fault: Fault,
    pub(super) cause: String,
}

impl From<RegistryError> for PullError {
    fn from(error: RegistryError) -> Self {
        let fault = if error.unreachable { Fault::RegistryAway } else { Fault::Refused };
        Self { fault, cause: error.cause }
    }
}

impl<E: Into<StoreError>> From<E> for PullError {
    fn from(error: E) -> Self {
        let error = error.into();
        let away = matches!(&error, StoreError::Containerd(status) if is_away(status));
        Self { fault: if away { Fault::RuntimeAway } else { Fault::Refused }, cause: error.to_string() }
    }
}

fn wrong(cause: String) -> PullError {
    PullError { fault: Fault::Refused, cause }
}

/// Where an image comes from.
#[derive(Clone, Copy)]
pub(super) enum Origin<'a> {
    Registry(&'a Session),
    /// An archive, and which of its images.
    Archive(&'a Archive, &'a str),
}

impl Origin<'_> {
    /// The manifest or index that is meant, or the one of a digest.
    async fn manifest(self, digest: Option<&str>) -> Result<(Vec<u8>, String), RegistryError> {
        match self {
            Origin::Registry(session) => session.manifest(digest).await,
            Origin::Archive(archive, image) => archive.manifest(digest.unwrap_or(image)),
        }
    }

    async fn blob(self, digest: &str, offset: u64) -> Result<BlobStream, RegistryError> {
        match self {
            Origin::Registry(session) => session.blob(digest, offset).await,
            Origin::Archive(archive, _) => archive.stream(digest, offset),
        }
    }
}

/// One pull under way.
pub(super) struct Pull<'a> {
    pub(super) connection: &'a Arc<Connection>,
    pub(super) origin: Origin<'a>,
    pub(super) lease: &'a Lease,
    pub(super) reference: &'a ImageReference,
    pub(super) stall: Duration,
    pub(super) progress: &'a Progress,
}

impl Pull<'_> {
    /// Fetches everything this platform needs. The descriptor is the image record's target.
    pub(super) async fn fetch(&self) -> Result<WireDescriptor, PullError> {
        let (bytes, digest) = self.origin.manifest(None).await.map_err(|error| error.resolving(self.reference))?;
        let document = Document::parse(&bytes).map_err(wrong)?;
        let target = describe(&document, &digest, bytes.len());
        match &document {
            Document::Manifest(manifest) => self.image(manifest, &bytes, &digest).await?,
            Document::Index(index) => {
                let chosen = choose(index).map_err(wrong)?.digest().to_string();
                let (inner, inner_digest) = self.origin.manifest(Some(&chosen)).await?;
                match Document::parse(&inner).map_err(wrong)? {
                    Document::Manifest(manifest) => self.image(&manifest, &inner, &inner_digest).await?,
                    Document::Index(_) => return Err(wrong("an index within an index".to_owned())),
                }
                let labels = HashMap::from([("containerd.io/gc.ref.content.m.0".to_owned(), inner_digest)]);
                self.put(&bytes, &digest, labels).await?;
            }
        }
        Ok(target)
    }

    /// Layers and configuration, then the manifest that refers to them.
    async fn image(&self, manifest: &ImageManifest, bytes: &[u8], digest: &str) -> Result<(), PullError> {
        let blobs = manifest.layers().iter().chain([manifest.config()]);
        self.progress.begin(blobs.clone().map(Descriptor::size).sum());
        let fetches: Vec<_> = blobs.map(|blob| self.blob(blob)).collect();
        stream::iter(fetches).buffer_unordered(PARALLEL_LAYERS).try_collect::<()>().await?;
        let mut labels = HashMap::from([("containerd.io/gc.ref.content.config".to_owned(), manifest.config().digest().to_string())]);
        for (index, layer) in manifest.layers().iter().enumerate() {
            labels.insert(format!("containerd.io/gc.ref.content.l.{index}"), layer.digest().to_string());
        }
        self.put(bytes, digest, labels).await
    }

    async fn put(&self, bytes: &[u8], digest: &str, labels: HashMap<String, String>) -> Result<(), PullError> {
        debug_assert_eq!(sha256(bytes), digest);
        let source = Source::Bytes(bytes.to_vec());
        self.store(Blob { digest: digest.to_owned(), size: bytes.len() as u64, labels, received: AtomicU64::new(0) }, source).await
    }

    async fn blob(&self, descriptor: &Descriptor) -> Result<(), PullError> {
        let source = format!("containerd.io/distribution.source.{}", self.reference.domain);
        let labels = match self.origin {
            Origin::Registry(_) => HashMap::from([(source, self.reference.repository.clone())]),
            Origin::Archive(..) => HashMap::new(),
        };
        let blob = Blob { digest: descriptor.digest().to_string(), size: descriptor.size(), labels, received: AtomicU64::new(0) };
        self.store(blob, Source::Origin).await
    }

    /// Makes sure that the content store has a blob, and that the lease holds it.
    async fn store(&self, blob: Blob, source: Source) -> Result<(), PullError> {
        if blob_size(self.connection, &blob.digest).await? == Some(blob.size) {
            self.progress.add(blob.size);
            return self.hold(blob).await;
        }
        let ingest = format!("minik8s-{}-{}", self.reference.name(), blob.digest);
        match self.write_on(&blob, source, &ingest).await {
            Ok(Written::Now) => Ok(()),
            Ok(Written::Before) => self.hold(blob).await,
            Err(error) => {
                // What the network cut off is resumed by the next try; what is wrong must not be.
                if error.fault == Fault::Refused {
                    // If it stays, containerd forgets it when the lease ends; the error that led here is the one to tell.
                    let _ = answer(QUICK, self.connection.content().abort(self.lease.request(AbortRequest { r#ref: ingest }))).await;
                }
                Err(error)
            }
        }
    }

    /// Writes, and asks for the rest where a connection broke, as long as each brings something.
    async fn write_on(&self, blob: &Blob, source: Source, ingest: &str) -> Result<Written, PullError> {
        for _ in 0..RECONNECTS {
            let before = blob.received.load(Ordering::Relaxed);
            match self.write(blob, &source, ingest).await {
                Err(error) if error.fault == Fault::CutOff && blob.received.load(Ordering::Relaxed) > before => {
                    tracing::info!(digest = blob.digest, cause = error.cause, "the connection to the registry broke; asking for the rest");
                }
                other => return other,
            }
        }
        self.write(blob, &source, ingest).await
    }

    async fn hold(&self, blob: Blob) -> Result<(), PullError> {
        self.lease.hold_content(&blob.digest).await?;
        if blob.labels.is_empty() {
            return Ok(());
        }
        Ok(label_content(self.connection, &blob.digest, blob.labels).await?)
    }

    async fn write(&self, blob: &Blob, source: &Source, ingest: &str) -> Result<Written, PullError> {
        let Some(Ingest { offset, sender, replies }) = self.open(blob, ingest).await? else { return Ok(Written::Before) };
        let stream = match source {
            _ if offset == blob.size => BlobStream { offset, bytes: stream::empty().boxed() },
            Source::Bytes(bytes) => BlobStream { offset: 0, bytes: stream::iter([Ok(bytes.clone())]).boxed() },
            Source::Origin => self.origin.blob(&blob.digest, offset).await?,
        };
        let (feed, done) = (self.feed(blob, ingest, stream, sender), committed(replies));
        tokio::pin!(feed, done);
        // Cancel-safe: the branch not taken is polled on, or what it does no longer matters.
        tokio::select! {
            biased;
            fed = &mut feed => match fed {
                Ok(()) => done.await,
                Err(error) => {
                    // No more is sent: containerd keeps what it has, and the next try goes on from there. Its word that it is no whole is no news.
                    let _ = tokio::time::timeout(QUICK, done).await;
                    Err(error)
                }
            },
            // A refusal (a full disk, say) ends the download.
            written = &mut done => written,
        }
    }

    /// Opens (or reopens) the ingest: how far it is, and the way to go on. None if the blob is there after all.
    async fn open(&self, blob: &Blob, ingest: &str) -> Result<Option<Ingest>, PullError> {
        for _ in 0..LOCK_TRIES {
            let (sender, receiver) = mpsc::channel(PIECES);
            let stat = self.message(blob, ingest, WriteAction::Stat, 0, Vec::new());
            sender.send(stat).await.map_err(|_| wrong("the write to containerd ended early".to_owned()))?;
            let request = self.lease.request(ReceiverStream::new(receiver));
            let opened = async {
                let mut replies = answer(QUICK, self.connection.content().write(request)).await?;
                let first = replies.message().await?.ok_or_else(|| Status::internal("no answer to a content write"))?;
                Ok::<_, Status>((first, replies))
            };
            match opened.await {
                Ok((first, replies)) => {
                    let offset = u64::try_from(first.offset).unwrap_or_default();
                    return Ok(Some(Ingest { offset, sender, replies }));
                }
                Err(status) if status.code() == Code::AlreadyExists => return Ok(None),
                Err(status) if status.message().contains("locked") => tokio::time::sleep(LOCK_AGAIN).await,
                Err(status) => return Err(status.into()),
            }
        }
        Err(wrong(format!("another writer keeps {} locked", blob.digest)))
    }

    /// Sends the pieces and the commit.
    async fn feed(
        &self,
        blob: &Blob,
        ingest: &str,
        mut source: BlobStream,
        sender: mpsc::Sender<WriteContentRequest>,
    ) -> Result<(), PullError> {
        let stalled = || PullError { fault: Fault::RegistryAway, cause: format!("the registry sent nothing for {:?}", self.stall) };
        let mut offset = source.offset;
        loop {
            let Some(piece) = tokio::time::timeout(self.stall, source.bytes.next()).await.map_err(|_| stalled())? else { break };
            let data = piece.map_err(|error| PullError {
                // Who says nothing is not asked again at once.
                fault: if error.silent { Fault::RegistryAway } else { Fault::CutOff },
                cause: error.cause,
            })?;
            let length = data.len() as u64;
            blob.received.fetch_add(length, Ordering::Relaxed);
            self.progress.add(length);
            if offset + length > blob.size {
                return Err(wrong(format!("{} is longer than the {} bytes its manifest says", blob.digest, blob.size)));
            }
            let message = self.message(blob, ingest, WriteAction::Write, offset, data);
            offset += length;
            // Closed: containerd's answer tells why, and `committed` returns it.
            if sender.send(message).await.is_err() {
                return Ok(());
            }
        }
        if offset < blob.size {
            let cause = format!("{} ended after {offset} of {} bytes", blob.digest, blob.size);
            return Err(PullError { fault: Fault::CutOff, cause });
        }
        let mut commit = self.message(blob, ingest, WriteAction::Commit, offset, Vec::new());
        commit.labels = blob.labels.clone();
        // An error means that the stream has ended: its answer says why.
        let _ = sender.send(commit).await;
        Ok(())
    }

    fn message(&self, blob: &Blob, ingest: &str, action: WriteAction, offset: u64, data: Vec<u8>) -> WriteContentRequest {
        WriteContentRequest {
            action: action as i32,
            r#ref: ingest.to_owned(),
            total: i64::try_from(blob.size).unwrap_or(i64::MAX),
            expected: blob.digest.clone(),
            offset: i64::try_from(offset).unwrap_or(i64::MAX),
            data,
            labels: HashMap::new(),
        }
    }
}

/// What is to be stored.
struct Blob {
    digest: String,
    size: u64,
    labels: HashMap<String, String>,
    /// What the registry has sent of it, all connections together.
    received: AtomicU64,
}

/// Where it comes from.
enum Source {
    Bytes(Vec<u8>),
    Origin,
}

enum Written {
    Now,
    /// Somebody else was faster.
    Before,
}

struct Ingest {
    offset: u64,
    sender: mpsc::Sender<WriteContentRequest>,
    replies: Streaming<WriteContentResponse>,
}

/// Reads containerd's answers until the commit's.
async fn committed(mut replies: Streaming<WriteContentResponse>) -> Result<Written, PullError> {
    loop {
        match replies.message().await {
            Ok(Some(reply)) if reply.action == WriteAction::Commit as i32 => return Ok(Written::Now),
            Ok(Some(_)) => {}
            Ok(None) => return Err(wrong("containerd ended the write without a commit".to_owned())),
            Err(status) if status.code() == Code::AlreadyExists => return Ok(Written::Before),
            Err(status) => return Err(status.into()),
        }
    }
}

fn describe(document: &Document, digest: &str, size: usize) -> WireDescriptor {
    WireDescriptor {
        media_type: document.media_type(),
        digest: digest.to_owned(),
        size: i64::try_from(size).unwrap_or(i64::MAX),
        annotations: HashMap::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_containerd_that_is_away_or_slow_is_no_refusal_and_a_silent_registry_neither() {
        let fault = |status: Status| PullError::from(status).fault;
        assert_eq!(fault(Status::unavailable("connection refused")), Fault::RuntimeAway);
        assert_eq!(fault(Status::deadline_exceeded("no answer within 10 s")), Fault::RuntimeAway);
        assert_eq!(fault(Status::from_error(Box::new(std::io::Error::other("broken pipe")))), Fault::RuntimeAway);
        assert_eq!(fault(Status::failed_precondition("unexpected commit digest")), Fault::Refused);
        assert_eq!(PullError::from(StoreError::Content("no manifest".to_owned())).fault, Fault::Refused);
        let registry = |unreachable| PullError::from(RegistryError { unreachable, silent: false, cause: String::new() }).fault;
        assert_eq!((registry(true), registry(false)), (Fault::RegistryAway, Fault::Refused));
    }
}
