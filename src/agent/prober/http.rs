//! httpGet: 200 to 399 passes (pkg/probe/http/http.go, request.go). No TLS verification, no proxy, no connection kept; redirects are followed on
//! the same host only, ten at most, and a redirect elsewhere is a pass with a warning.

use std::error::Error;
use std::sync::OnceLock;
use std::time::Duration;

use k8s_openapi::api::core::v1::HTTPGetAction;
use reqwest::header::{ACCEPT, AUTHORIZATION, HeaderMap, HeaderName, HeaderValue, USER_AGENT};
use reqwest::redirect::{Attempt, Policy};
use reqwest::{Client, Response, Url};

use super::{HookDone, Outcome, dial_error};

/// So much of a body is read (maxRespBodyLength).
const MAX_BODY: usize = 10 * 1024;
const MOST_REDIRECTS: usize = 10;

/// One probe.
pub(super) async fn probe(action: &HTTPGetAction, address: &str, timeout: Duration) -> Outcome {
    let url = match url(action, address, secure(action)) {
        Ok(url) => url,
        Err(error) => return Outcome::Failed(error),
    };
    let asked = async {
        let response = get(&url, headers(action, "kube-probe/1.36")?).await.map_err(|e| words(&url, address, &e))?;
        let status = response.status().as_u16();
        // Read even where nobody looks at it: a server that is hung up on in the middle of its answer complains.
        Ok::<_, String>((status, body(response).await))
    };
    match tokio::time::timeout(timeout, asked).await {
        Ok(Ok((200..=299, _))) => Outcome::Passed(None),
        Ok(Ok((300..=399, body))) => Outcome::Passed(Some(format!("Probe terminated redirects, Response body: {body}"))),
        Ok(Ok((status, _))) => Outcome::Failed(format!("HTTP probe failed with statuscode: {status}")),
        Ok(Err(error)) => Outcome::Failed(error),
        Err(_) => {
            let text = format!("Get {:?}: context deadline exceeded (Client.Timeout exceeded while awaiting headers)", url.as_str());
            Outcome::Failed(text)
        }
    }
}

/// One hook: any answer will do; from HTTPS it falls back to HTTP.
pub(super) async fn hook(action: &HTTPGetAction, address: &str) -> Result<HookDone, String> {
    let (secure, mut headers) = (secure(action), headers(action, "kube-lifecycle/1.36")?);
    let first = url(action, address, secure)?;
    let error = match get(&first, headers.clone()).await {
        Ok(response) => {
            body(response).await;
            return Ok(HookDone::Ran);
        }
        Err(error) => error,
    };
    if !secure || !answered_in_http(&error) {
        return Err(words(&first, address, &error));
    }
    headers.remove(AUTHORIZATION);
    let plain = url(action, address, false)?;
    get(&plain, headers).await.map_err(|e| words(&plain, address, &e))?;
    Ok(HookDone::FellBack(address.to_owned()))
}

fn secure(action: &HTTPGetAction) -> bool {
    action.scheme.as_deref() == Some("HTTPS")
}

fn url(action: &HTTPGetAction, address: &str, secure: bool) -> Result<Url, String> {
    let (scheme, path) = (if secure { "https" } else { "http" }, action.path.as_deref().unwrap_or("/"));
    let slash = if path.starts_with('/') { "" } else { "/" };
    Url::parse(&format!("{scheme}://{address}{slash}{path}")).map_err(|e| format!("invalid URL of {address} and {path:?}: {e}"))
}

/// The action's headers; User-Agent and Accept unless it has its own.
fn headers(action: &HTTPGetAction, agent: &'static str) -> Result<HeaderMap, String> {
    let mut all = HeaderMap::new();
    for header in action.http_headers.iter().flatten() {
        let invalid = |e: &dyn Error| format!("invalid header {:?}: {e}", header.name);
        let name = HeaderName::try_from(&header.name).map_err(|e| invalid(&e))?;
        let value = HeaderValue::try_from(&header.value).map_err(|e| invalid(&e))?;
        all.append(name, value);
    }
    if !all.contains_key(USER_AGENT) {
        all.insert(USER_AGENT, HeaderValue::from_static(agent));
    }
    match all.get(ACCEPT).map(HeaderValue::is_empty) {
        None => drop(all.insert(ACCEPT, HeaderValue::from_static("*/*"))),
        Some(true) => drop(all.remove(ACCEPT)),
        Some(false) => {}
    }
    Ok(all)
}

async fn get(url: &Url, headers: HeaderMap) -> reqwest::Result<Response> {
    static CLIENT: OnceLock<Client> = OnceLock::new();
    let client = match CLIENT.get() {
        Some(client) => client,
        None => {
            let made = client()?;
            CLIENT.get_or_init(|| made)
        }
    };
    client.get(url.clone()).headers(headers).send().await
}

/// Made when the first probe needs it: TLS and all take memory.
fn client() -> reqwest::Result<Client> {
    // An error means that there is one already, which is as good.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let builder = Client::builder().no_proxy().pool_max_idle_per_host(0).tls_danger_accept_invalid_certs(true);
    builder.redirect(Policy::custom(redirect)).build()
}

fn redirect(attempt: Attempt<'_>) -> reqwest::redirect::Action {
    let same_host = attempt.previous().first().is_some_and(|first| first.host_str() == attempt.url().host_str());
    match (same_host, attempt.previous().len()) {
        (false, _) => attempt.stop(),
        (true, n) if n >= MOST_REDIRECTS => attempt.error("stopped after 10 redirects"),
        (true, _) => attempt.follow(),
    }
}

async fn body(mut response: Response) -> String {
    let mut bytes = Vec::new();
    while bytes.len() < MAX_BODY
        && let Ok(Some(chunk)) = response.chunk().await
    {
        bytes.extend_from_slice(&chunk);
    }
    bytes.truncate(MAX_BODY);
    String::from_utf8_lossy(&bytes).into_owned()
}

fn chain<'a>(error: &'a reqwest::Error) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    std::iter::successors(error.source(), |e: &&'a (dyn Error + 'static)| (*e).source()).take(8)
}

fn answered_in_http(error: &reqwest::Error) -> bool {
    chain(error).any(|e| e.to_string().contains("InvalidContentType"))
}

/// As Go's client says it: `Get "http://…": dial tcp …: connect: connection refused`.
fn words(url: &Url, address: &str, error: &reqwest::Error) -> String {
    let io = chain(error).find_map(|e| e.downcast_ref::<std::io::Error>());
    let cause = match io.filter(|_| error.is_connect()) {
        Some(io) if io.raw_os_error().is_some() => dial_error(address, io),
        _ => chain(error).last().map_or_else(|| error.to_string(), ToString::to_string),
    };
    format!("Get {:?}: {cause}", url.as_str())
}
