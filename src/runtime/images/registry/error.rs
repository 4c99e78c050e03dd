//! A registry's refusal, or its silence, in words without secrets.

use std::error::Error;

use serde::Deserialize;

use crate::runtime::images::reference::ImageReference;

const MAX_CAUSE: usize = 1024;
/// How deep a chain of causes is looked into.
const MAX_CAUSES: usize = 12;

/// Why something could not be had from a registry.
#[derive(Debug)]
pub(in crate::runtime::images) struct RegistryError {
    /// Nobody answered, or it had trouble of its own: not a verdict on the image.
    pub(in crate::runtime::images) unreachable: bool,
    /// It did not say anything for too long.
    pub(in crate::runtime::images) silent: bool,
    /// The chain of causes, without credentials or signed URLs.
    pub(in crate::runtime::images) cause: String,
}

impl RegistryError {
    pub(in crate::runtime::images) fn verdict(cause: impl Into<String>) -> Self {
        Self { unreachable: false, silent: false, cause: bounded(without_secrets(&cause.into())) }
    }

    pub(in crate::runtime::images) fn away(cause: impl Into<String>) -> Self {
        Self { unreachable: true, silent: false, cause: bounded(without_secrets(&cause.into())) }
    }

    /// What it was needed for.
    pub(in crate::runtime::images) fn resolving(self, reference: &ImageReference) -> Self {
        Self { cause: format!("failed to resolve reference \"{reference}\": {}", self.cause), ..self }
    }

    /// An answer that is none: `body` is its beginning.
    pub(super) fn status(method: &str, url: &str, status: reqwest::StatusCode, body: &[u8]) -> Self {
        let detail = said(body).map(|said| format!(": {said}")).unwrap_or_default();
        let words = format!("unexpected status from {method} request to {url}: {status}{detail}");
        match status.as_u16() {
            401 | 403 => Self::verdict(format!("pull access denied, repository does not exist or may require authorization: {words}")),
            429 | 500.. => Self::away(words),
            _ => Self::verdict(words),
        }
    }
}

impl From<reqwest::Error> for RegistryError {
    fn from(error: reqwest::Error) -> Self {
        let wrong = error.is_status() || error.is_builder() || error.is_redirect();
        Self { unreachable: !wrong, silent: error.is_timeout(), cause: chain(&error) }
    }
}

/// The connection was gone before the request: hyper says "operation was canceled", and not why.
pub(super) fn was_never_sent(error: &(dyn Error + 'static)) -> bool {
    let causes = std::iter::successors(Some(error), |&error| error.source()).take(MAX_CAUSES);
    causes.filter_map(|cause| cause.downcast_ref::<hyper::Error>()).any(hyper::Error::is_canceled)
}

#[derive(Deserialize)]
struct Body {
    errors: Vec<Said>,
}

#[derive(Deserialize)]
struct Said {
    #[serde(default)]
    code: String,
    #[serde(default)]
    message: String,
}

/// What a registry's error document says.
fn said(body: &[u8]) -> Option<String> {
    let body: Body = serde_json::from_slice(body).ok()?;
    let words = body.errors.into_iter().take(4).map(|said| if said.message.is_empty() { said.code } else { said.message });
    Some(words.collect::<Vec<_>>().join(", ")).filter(|words| !words.is_empty())
}

/// All causes in a line, each once, cleaned and bounded.
fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    for _ in 1..MAX_CAUSES {
        let Some(cause) = source else { break };
        let words = cause.to_string();
        if !text.contains(&words) {
            text = format!("{text}: {words}");
        }
        source = cause.source();
    }
    bounded(without_secrets(&text))
}

fn bounded(mut text: String) -> String {
    if text.len() > MAX_CAUSE {
        let end = (0..=MAX_CAUSE).rev().find(|&i| text.is_char_boundary(i)).unwrap_or(0);
        text.truncate(end);
        text.push('…');
    }
    text
}

/// Cuts user names, passwords and queries (signatures, tokens) out of URLs.
fn without_secrets(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find("://") {
        let (before, after) = rest.split_at(at + 3);
        let end = after.find(|c: char| c.is_whitespace() || "\"')>,".contains(c)).unwrap_or(after.len());
        let (url, tail) = after.split_at(end);
        // A colon that ends it belongs to the sentence.
        let (url, colon) = url.strip_suffix(':').map_or((url, ""), |url| (url, ":"));
        let bare = url.split(['?', '#']).next().unwrap_or_default();
        let authority_end = bare.find('/').unwrap_or(bare.len());
        let start = bare[..authority_end].rfind('@').map_or(0, |i| i + 1);
        out.push_str(before);
        out.push_str(&bare[start..]);
        out.push_str(colon);
        rest = tail;
    }
    out.push_str(rest);
    out
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncReadExt as _;

    use super::*;

    #[test]
    fn urls_lose_their_secrets() {
        assert_eq!(
            without_secrets("error for url (https://user:pw@host.x/a/b?X-Sig=1&t=2): see http://h?q, 'ftp://a@b/c'"),
            "error for url (https://host.x/a/b): see http://h, 'ftp://b/c'"
        );
        assert_eq!(without_secrets("nothing: here://"), "nothing: here://");
        assert_eq!(without_secrets("GET https://h/a?sig=1: 401"), "GET https://h/a: 401");
    }

    #[test]
    fn statuses_are_verdicts_or_trouble() {
        let of = |code: u16| RegistryError::status("GET", "https://h/v2/a?x=1", reqwest::StatusCode::from_u16(code).unwrap(), b"");
        assert_eq!([401, 403, 404, 400, 429, 500, 503].map(|code| of(code).unreachable), [false, false, false, false, true, true, true]);
        assert_eq!(of(404).cause, "unexpected status from GET request to https://h/v2/a: 404 Not Found");
        let body = br#"{"errors":[{"code":"MANIFEST_UNKNOWN","message":"manifest unknown"},{"code":"X"}]}"#;
        let words = RegistryError::status("GET", "h", reqwest::StatusCode::NOT_FOUND, body).cause;
        assert_eq!(words, "unexpected status from GET request to h: 404 Not Found: manifest unknown, X");
        assert!(of(401).cause.starts_with("pull access denied, repository does not exist or may require authorization: "));
    }

    #[tokio::test]
    async fn a_request_to_a_connection_that_is_gone_was_never_sent() {
        let request = || hyper::Request::new(String::new());
        let handshake = || async {
            let (ours, theirs) = tokio::io::duplex(1 << 10);
            let (sender, connection) = hyper::client::conn::http1::handshake(hyper_util::rt::TokioIo::new(ours)).await.unwrap();
            (sender, connection, theirs)
        };
        let (mut sender, connection, _theirs) = handshake().await;
        drop(connection);
        let gone = sender.send_request(request()).await.unwrap_err();
        assert!(was_never_sent(&gone));
        let (mut sender, connection, mut theirs) = handshake().await;
        let hang_up = async {
            theirs.read_u8().await.unwrap();
            drop(theirs);
        };
        let (answer, _, ()) = tokio::join!(sender.send_request(request()), connection, hang_up);
        assert!(!was_never_sent(&answer.unwrap_err()), "it may have been sent");
    }

    #[test]
    fn words_are_bounded() {
        assert!(RegistryError::verdict("ä".repeat(5000)).cause.len() < MAX_CAUSE + 8);
    }
}
