//! Registries over HTTP, through oci-client. Anonymous. The client (TLS roots and all) is made when first needed, never at rest.

use std::error::Error;
use std::sync::{Once, OnceLock};
use std::time::Duration;

use futures::StreamExt as _;
use futures::stream::BoxStream;
use oci_client::client::{BlobResponse, ClientConfig, ClientProtocol, LayerDescriptor};
use oci_client::errors::{DigestError, OciDistributionError};
use oci_client::secrets::RegistryAuth;
use oci_client::{Client, Reference};

use super::manifest::{ACCEPTED, MAX_DOCUMENT, sha256};
use super::reference::{ImageReference, ImageVersion};

const CONNECT: Duration = Duration::from_secs(10);
const MAX_CAUSE: usize = 1024;

/// A registry's refusal, or its silence.
#[derive(Debug)]
pub(super) struct RegistryError {
    /// Nobody answered, or it had trouble of its own: not a verdict on the image.
    pub(super) unreachable: bool,
    /// The chain of causes, without credentials or signed URLs.
    pub(super) cause: String,
}

/// A blob's bytes, from an offset on.
pub(super) struct BlobStream {
    /// Where in the blob the stream begins: what was asked for, or 0 where the registry knows no ranges.
    pub(super) offset: u64,
    pub(super) bytes: BoxStream<'static, Result<Vec<u8>, std::io::Error>>,
}

/// All registries.
pub(super) struct Registries {
    stall: Duration,
    https: OnceLock<Client>,
    http: OnceLock<Client>,
}

impl Registries {
    pub(super) fn new(stall: Duration) -> Self {
        Self { stall, https: OnceLock::new(), http: OnceLock::new() }
    }

    /// The digest a reference has now.
    pub(super) async fn digest(&self, reference: &ImageReference) -> Result<String, RegistryError> {
        let image = wire(reference, None);
        self.client(reference).fetch_manifest_digest(&image, &RegistryAuth::Anonymous).await.map_err(RegistryError::from)
    }

    /// The manifest or index of a reference (or of a digest in its repository) and its digest, computed here.
    pub(super) async fn manifest(&self, reference: &ImageReference, digest: Option<&str>) -> Result<(Vec<u8>, String), RegistryError> {
        let image = wire(reference, digest);
        let reply = self.client(reference).pull_manifest_raw(&image, &RegistryAuth::Anonymous, &ACCEPTED).await;
        let (bytes, _) = reply.map_err(RegistryError::from)?;
        let actual = sha256(&bytes);
        if bytes.len() as u64 > MAX_DOCUMENT {
            return Err(RegistryError::verdict(format!("the manifest is larger than {MAX_DOCUMENT} bytes")));
        }
        match digest.or(reference.digest()).filter(|wanted| wanted.starts_with("sha256:") && *wanted != actual) {
            Some(wanted) => Err(RegistryError::verdict(format!("the manifest is {actual}, not {wanted}"))),
            None => Ok((bytes.to_vec(), actual)),
        }
    }

    /// A blob from `offset` on.
    pub(super) async fn blob(&self, reference: &ImageReference, digest: &str, offset: u64) -> Result<BlobStream, RegistryError> {
        let image = wire(reference, None);
        let client = self.client(reference);
        client.store_auth_if_needed(image.resolve_registry(), &RegistryAuth::Anonymous).await;
        let layer = LayerDescriptor { digest, urls: &None };
        let (offset, stream) = if offset == 0 {
            (0, client.pull_blob_stream(&image, &layer).await.map_err(RegistryError::from)?)
        } else {
            match client.pull_blob_stream_partial(&image, &layer, offset, None).await.map_err(RegistryError::from)? {
                BlobResponse::Partial(stream) => (offset, stream),
                BlobResponse::Full(stream) => (0, stream),
            }
        };
        Ok(BlobStream { offset, bytes: stream.stream.map(|chunk| chunk.map(|bytes| bytes.to_vec())).boxed() })
    }

    fn client(&self, reference: &ImageReference) -> &Client {
        let (slot, protocol) =
            if is_loopback(&reference.domain) { (&self.http, ClientProtocol::Http) } else { (&self.https, ClientProtocol::Https) };
        slot.get_or_init(|| {
            install_crypto();
            Client::new(ClientConfig {
                protocol,
                read_timeout: Some(self.stall),
                connect_timeout: Some(CONNECT.min(self.stall)),
                user_agent: concat!("minik8s/", env!("CARGO_PKG_VERSION")),
                ..ClientConfig::default()
            })
        })
    }
}

/// rustls asks for one provider a process; another part of it may have been first.
fn install_crypto() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let _ = rustls::crypto::ring::default_provider().install_default();
    });
}

/// Plain HTTP is spoken only with this very host.
fn is_loopback(domain: &str) -> bool {
    let host = match domain.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or_default(),
        None => domain.split(':').next().unwrap_or_default(),
    };
    host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
}

fn wire(reference: &ImageReference, digest: Option<&str>) -> Reference {
    let (domain, repository) = (reference.domain.clone(), reference.repository.clone());
    match (digest, &reference.version) {
        (Some(digest), _) => Reference::with_digest(domain, repository, digest.to_owned()),
        (None, ImageVersion::Digest(digest)) => Reference::with_digest(domain, repository, digest.clone()),
        (None, ImageVersion::Tag(tag)) => Reference::with_tag(domain, repository, tag.clone()),
    }
}

impl RegistryError {
    pub(super) fn verdict(cause: String) -> Self {
        Self { unreachable: false, cause }
    }

    /// A stream that broke: the network's fault, unless it is the content that is wrong.
    pub(super) fn from_stream(error: &std::io::Error) -> Self {
        let wrong_content = error.get_ref().is_some_and(|inner| inner.is::<DigestError>());
        Self { unreachable: !wrong_content, cause: chain(error) }
    }
}

impl From<OciDistributionError> for RegistryError {
    fn from(error: OciDistributionError) -> Self {
        let unreachable = match &error {
            OciDistributionError::RequestError(e) => !(e.is_status() || e.is_builder() || e.is_decode() || e.is_redirect()),
            OciDistributionError::ServerError { code, .. } => *code >= 500 || *code == 429,
            OciDistributionError::IoError(e) => return Self::from_stream(e),
            _ => false,
        };
        Self { unreachable, cause: chain(&error) }
    }
}

/// All causes in a line, each once, cleaned and bounded.
fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    for _ in 0..12 {
        let Some(cause) = source else { break };
        let words = cause.to_string();
        if !text.contains(&words) {
            text = format!("{text}: {words}");
        }
        source = cause.source();
    }
    let mut clean = without_secrets(&text);
    if clean.len() > MAX_CAUSE {
        let end = (0..=MAX_CAUSE).rev().find(|&i| clean.is_char_boundary(i)).unwrap_or(0);
        clean.truncate(end);
        clean.push('…');
    }
    clean
}

/// Cuts user names, passwords and queries (signatures, tokens) out of URLs.
fn without_secrets(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find("://") {
        let (before, after) = rest.split_at(at + 3);
        let end = after.find(|c: char| c.is_whitespace() || "\"')>,".contains(c)).unwrap_or(after.len());
        let (url, tail) = after.split_at(end);
        let bare = url.split(['?', '#']).next().unwrap_or_default();
        let authority_end = bare.find('/').unwrap_or(bare.len());
        let start = bare[..authority_end].rfind('@').map_or(0, |i| i + 1);
        out.push_str(before);
        out.push_str(&bare[start..]);
        rest = tail;
    }
    out.push_str(rest);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_lose_their_secrets() {
        assert_eq!(
            without_secrets("error for url (https://user:pw@host.x/a/b?X-Sig=1&t=2): see http://h?q, 'ftp://a@b/c'"),
            "error for url (https://host.x/a/b): see http://h, 'ftp://b/c'"
        );
        assert_eq!(without_secrets("nothing: here://"), "nothing: here://");
    }

    #[test]
    fn only_this_host_is_spoken_to_in_the_clear() {
        for domain in ["localhost", "localhost:5000", "127.0.0.1:5000", "127.1.2.3", "[::1]:5000", "[::1]"] {
            assert!(is_loopback(domain), "{domain}");
        }
        for domain in ["docker.io", "127.0.0.1.evil.org", "localhost.evil.org:80", "10.0.0.1:5000", "[fe80::1]:5000"] {
            assert!(!is_loopback(domain), "{domain}");
        }
    }
}
