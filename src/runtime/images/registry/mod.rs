//! Registries over HTTP (distribution `docs/spec/api.md`): manifests and blobs, from the endpoints configured, with one login.
//!
//! ```text
//! certs.d ─▶ endpoints, in order ─▶ request ─▶ 401: login or token, once more ─▶ an answer
//!                                      └▶ no answer, an error: the next endpoint; the last one's verdict counts
//! ```
//!
//! Our own requests, as no client library knows hosts.toml's paths, headers and mirrors. Guarantees: answers are bounded, a silent server is
//! given up, no login, token or signed URL is in an error. Leaves to others: which login, and whether to try again.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use futures::StreamExt as _;
use futures::stream::{self, BoxStream};
use reqwest::header::{ACCEPT, AUTHORIZATION, HeaderValue, RANGE};
use reqwest::{Client, Method, Response, StatusCode, Url};

use super::manifest::{ACCEPTED, MAX_DOCUMENT, sha256};
use super::reference::{ImageReference, ImageVersion};
use crate::config::Credential;

mod authorize;
mod clients;
mod error;
mod hosts;
#[cfg(test)]
mod hosts_tests;

pub(super) use clients::read as read_config;
pub(super) use error::RegistryError;

use clients::Clients;
use hosts::Endpoint;

/// Of an error's document, no more is read.
const MAX_ERROR: u64 = 64 << 10;

/// How often a request is sent that did not get as far as the connection: it broke before, and the next try tells how (a registry that wants
/// a certificate says so only after TLS 1.3's handshake).
const SENDS: usize = 3;

/// A blob's bytes, from an offset on.
pub(super) struct BlobStream {
    /// Where in the blob the stream begins: what was asked for, or 0 where the registry knows no ranges.
    pub(super) offset: u64,
    pub(super) bytes: BoxStream<'static, Result<Vec<u8>, RegistryError>>,
}

/// All registries.
pub(super) struct Registries {
    clients: Clients,
}

impl Registries {
    /// `hosts_dir` is `/etc/containerd/certs.d`; a server silent for `stall` is given up.
    pub(super) fn new(hosts_dir: PathBuf, stall: Duration) -> Self {
        Self { clients: Clients::new(hosts_dir, stall) }
    }

    /// For one pull with one login. Errors: the configuration is not usable.
    pub(super) fn session(&self, reference: &ImageReference, credential: Option<Credential>) -> Result<Session, RegistryError> {
        let endpoints = self.clients.endpoints(&reference.domain)?.into_iter();
        let endpoints = endpoints.map(|endpoint| Ok::<_, RegistryError>((self.clients.client(&endpoint)?, endpoint)));
        Ok(Session {
            endpoints: endpoints.collect::<Result<_, _>>()?,
            reference: reference.clone(),
            credential,
            authorizations: Mutex::default(),
        })
    }
}

/// A repository at its endpoints, and who asks.
pub(super) struct Session {
    endpoints: Vec<(Client, Endpoint)>,
    reference: ImageReference,
    credential: Option<Credential>,
    /// What an endpoint was last content with.
    authorizations: Mutex<HashMap<usize, HeaderValue>>,
}

/// What is asked for.
struct Ask<'a> {
    method: Method,
    /// Below the repository.
    path: String,
    accept: Option<&'a str>,
    from: u64,
}

impl Session {
    /// The digest the reference has now.
    pub(super) async fn digest(&self) -> Result<String, RegistryError> {
        if let Some(digest) = self.reference.digest() {
            return Ok(digest.to_owned());
        }
        let ask = Ask { method: Method::HEAD, ..self.manifest_ask(None) };
        let told = match self.ask(&ask, |endpoint| endpoint.resolve).await {
            Ok(response) => response.headers().get("docker-content-digest").and_then(|value| value.to_str().ok()).map(str::to_owned),
            Err(error) if error.unreachable => return Err(error),
            // A registry that knows no HEAD, or a refusal: an answer to GET has words.
            Err(_) => None,
        };
        match told.filter(|digest| digest.starts_with("sha256:")) {
            Some(digest) => Ok(digest),
            None => self.manifest(None).await.map(|(_, digest)| digest),
        }
    }

    /// The manifest or index of the reference (or of a digest in its repository) and its digest, computed here.
    pub(super) async fn manifest(&self, digest: Option<&str>) -> Result<(Vec<u8>, String), RegistryError> {
        let wanted = digest.or(self.reference.digest());
        let response = self.ask(&self.manifest_ask(digest), |endpoint| endpoint.pull && (endpoint.resolve || wanted.is_some())).await?;
        let bytes = read_body(response, MAX_DOCUMENT).await?;
        let actual = sha256(&bytes);
        match wanted.filter(|wanted| *wanted != actual) {
            Some(wanted) if wanted.starts_with("sha256:") => Err(RegistryError::verdict(format!("the manifest is {actual}, not {wanted}"))),
            Some(wanted) => Err(RegistryError::verdict(format!("{wanted} cannot be verified here; name the image by its sha256 digest"))),
            None => Ok((bytes, actual)),
        }
    }

    /// A blob from `offset` on.
    pub(super) async fn blob(&self, digest: &str, offset: u64) -> Result<BlobStream, RegistryError> {
        let ask = Ask { method: Method::GET, path: format!("blobs/{digest}"), accept: None, from: offset };
        let response = self.ask(&ask, |endpoint| endpoint.pull).await?;
        let offset = if response.status() == StatusCode::PARTIAL_CONTENT { offset } else { 0 };
        let bytes = stream::unfold(Some(response), |response| async {
            let mut response = response?;
            match response.chunk().await {
                Ok(Some(chunk)) => Some((Ok(chunk.to_vec()), Some(response))),
                Ok(None) => None,
                Err(error) => Some((Err(error.into()), None)),
            }
        });
        Ok(BlobStream { offset, bytes: bytes.boxed() })
    }

    fn manifest_ask(&self, digest: Option<&str>) -> Ask<'static> {
        let wanted = match (digest, &self.reference.version) {
            (Some(digest), _) => digest,
            (None, ImageVersion::Digest(text) | ImageVersion::Tag(text)) => text,
        };
        Ask { method: Method::GET, path: format!("manifests/{wanted}"), accept: Some(ACCEPTED), from: 0 }
    }

    /// The first good answer of those that may be asked.
    async fn ask(&self, ask: &Ask<'_>, may: impl Fn(&Endpoint) -> bool) -> Result<Response, RegistryError> {
        let mut failed: Vec<RegistryError> = Vec::new();
        for index in (0..self.endpoints.len()).filter(|index| may(&self.endpoints[*index].1)) {
            match self.ask_one(index, ask).await {
                Ok(response) => return Ok(response),
                Err(error) => failed.push(error),
            }
        }
        let unreachable = failed.last().is_some_and(|last| last.unreachable);
        let causes: Vec<String> = failed.into_iter().map(|error| error.cause).collect();
        match causes.is_empty() {
            true => Err(RegistryError::verdict("no host that hosts.toml names may be asked (capabilities)")),
            false => Err(RegistryError { unreachable, silent: false, cause: self.redacted(causes.join("; ")) }),
        }
    }

    async fn ask_one(&self, index: usize, ask: &Ask<'_>) -> Result<Response, RegistryError> {
        let (client, endpoint) = &self.endpoints[index];
        let known = self.lock().get(&index).cloned();
        let response = self.send(client, endpoint, ask, known).await?;
        if response.status() != StatusCode::UNAUTHORIZED {
            return good(ask, response).await;
        }
        let repository = &self.reference.repository;
        let authorization = authorize::authorization(client, &response, repository, self.credential.as_ref()).await?;
        let response = good(ask, self.send(client, endpoint, ask, Some(authorization.clone())).await?).await?;
        self.lock().insert(index, authorization);
        Ok(response)
    }

    async fn send(
        &self,
        client: &Client,
        endpoint: &Endpoint,
        ask: &Ask<'_>,
        authorization: Option<HeaderValue>,
    ) -> Result<Response, RegistryError> {
        let url = format!("{}/{}/{}", endpoint.base, self.reference.repository, ask.path);
        let mut url = Url::parse(&url).map_err(|error| RegistryError::verdict(format!("{url} is no URL: {error}")))?;
        if let Some(namespace) = &endpoint.namespace {
            url.query_pairs_mut().append_pair("ns", namespace);
        }
        let mut request = client.request(ask.method.clone(), url);
        for (name, value) in &endpoint.headers {
            request = request.header(name, value);
        }
        if let Some(accept) = ask.accept {
            request = request.header(ACCEPT, accept);
        }
        if ask.from > 0 {
            request = request.header(RANGE, format!("bytes={}-", ask.from));
        }
        if let Some(authorization) = authorization {
            request = request.header(AUTHORIZATION, authorization);
        }
        for _ in 1..SENDS {
            let Some(again) = request.try_clone() else { break };
            match again.send().await {
                Err(error) if error::was_never_sent(&error) => {}
                done => return Ok(done?),
            }
        }
        Ok(request.send().await?)
    }

    /// A registry may say what it was told.
    fn redacted(&self, text: String) -> String {
        match &self.credential {
            Some(credential) => credential.redact(text),
            None => text,
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<usize, HeaderValue>> {
        self.authorizations.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn good(ask: &Ask<'_>, response: Response) -> Result<Response, RegistryError> {
    let status = response.status();
    if status.is_success() {
        return Ok(response);
    }
    let url = response.url().to_string();
    // Its words are a help only.
    let body = read_body(response, MAX_ERROR).await.unwrap_or_default();
    Err(RegistryError::status(ask.method.as_str(), &url, status, &body))
}

/// A body of at most `limit` bytes.
async fn read_body(mut response: Response, limit: u64) -> Result<Vec<u8>, RegistryError> {
    let mut bytes = Vec::new();
    while let Some(chunk) = response.chunk().await? {
        bytes.extend_from_slice(&chunk);
        if bytes.len() as u64 > limit {
            return Err(RegistryError::verdict(format!("the answer is larger than {limit} bytes")));
        }
    }
    Ok(bytes)
}
