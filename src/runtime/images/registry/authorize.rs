//! What to answer a 401 with: the login itself (Basic), or a token had for it (Bearer; distribution `docs/spec/auth/token.md`).

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http_auth::ChallengeRef;
use reqwest::header::{AUTHORIZATION, HeaderValue, WWW_AUTHENTICATE};
use reqwest::{Client, Response, Url};
use serde::Deserialize;

use super::error::RegistryError;
use super::read_body;
use crate::config::Credential;

/// A token server's answer is not larger.
const MAX_TOKEN: u64 = 1 << 20;
const MAX_CHALLENGES: usize = 8;

/// What a registry wants to see.
#[derive(Debug, PartialEq, Eq)]
enum Challenge {
    Basic,
    Bearer { realm: String, service: Option<String>, scope: Option<String> },
}

#[derive(Deserialize)]
struct Token {
    #[serde(default)]
    token: String,
    #[serde(default)]
    access_token: String,
}

/// The header for the next try. Errors: there is none to be had, with the reason.
pub(super) async fn authorization(
    client: &Client,
    answered: &Response,
    repository: &str,
    credential: Option<&Credential>,
) -> Result<HeaderValue, RegistryError> {
    let denied =
        |why: &str| RegistryError::verdict(format!("pull access denied, repository does not exist or may require authorization: {why}"));
    let texts = answered.headers().get_all(WWW_AUTHENTICATE).iter().take(MAX_CHALLENGES).filter_map(|value| value.to_str().ok());
    let header = match best(texts.filter_map(|text| http_auth::parse_challenges(text).ok()).flatten()) {
        None => return Err(denied("authorization is wanted in no form that is known here (Basic, Bearer)")),
        Some(Challenge::Basic) => basic(credential.ok_or_else(|| denied("no basic auth credentials"))?),
        Some(Challenge::Bearer { realm, service, scope }) => {
            if !may_be_told(answered.url().scheme(), &realm) {
                return Err(denied("its token server is to be spoken to in the clear; no login goes there"));
            }
            let scope = scope.unwrap_or_else(|| format!("repository:{repository}:pull"));
            format!("Bearer {}", token(client, &realm, service, &scope, credential).await?)
        }
    };
    let mut value = HeaderValue::from_str(&header).map_err(|_| denied("the login or token cannot be sent in a header"))?;
    value.set_sensitive(true);
    Ok(value)
}

/// Bearer, where both are offered.
fn best<'a>(challenges: impl Iterator<Item = ChallengeRef<'a>>) -> Option<Challenge> {
    let mut basic = None;
    for challenge in challenges {
        let parameter = |name: &str| {
            let found = challenge.params.iter().find(|(key, _)| key.eq_ignore_ascii_case(name));
            found.map(|(_, value)| value.to_unescaped()).filter(|value| !value.is_empty())
        };
        if challenge.scheme.eq_ignore_ascii_case("bearer")
            && let Some(realm) = parameter("realm")
        {
            return Some(Challenge::Bearer { realm, service: parameter("service"), scope: parameter("scope") });
        }
        if challenge.scheme.eq_ignore_ascii_case("basic") {
            basic = Some(Challenge::Basic);
        }
    }
    basic
}

/// A registry that is spoken to over TLS must not lead a login out of it.
fn may_be_told(scheme: &str, realm: &str) -> bool {
    scheme != "https" || realm.get(..8).is_some_and(|start| start.eq_ignore_ascii_case("https://"))
}

fn basic(credential: &Credential) -> String {
    format!("Basic {}", STANDARD.encode(format!("{}:{}", credential.username, credential.password)))
}

async fn token(
    client: &Client,
    realm: &str,
    service: Option<String>,
    scope: &str,
    credential: Option<&Credential>,
) -> Result<String, RegistryError> {
    let failed =
        |error: RegistryError| RegistryError { cause: format!("failed to authorize: failed to fetch token: {}", error.cause), ..error };
    let mut url = Url::parse(realm).map_err(|_| RegistryError::verdict("failed to authorize: the registry's token realm is no URL"))?;
    url.query_pairs_mut().extend_pairs(service.iter().map(|service| ("service", service))).append_pair("scope", scope);
    let mut request = client.get(url);
    if let Some(credential) = credential {
        let mut value =
            HeaderValue::from_str(&basic(credential)).map_err(|_| RegistryError::verdict("the login cannot be sent in a header"))?;
        value.set_sensitive(true);
        request = request.header(AUTHORIZATION, value);
    }
    let response = request.send().await.map_err(|error| failed(error.into()))?;
    let (status, url) = (response.status(), response.url().to_string());
    let body = read_body(response, MAX_TOKEN).await.map_err(failed)?;
    if !status.is_success() {
        return Err(failed(RegistryError::status("GET", &url, status, &body)));
    }
    let token: Token =
        serde_json::from_slice(&body).map_err(|_| failed(RegistryError::verdict("the token server's answer is no token")))?;
    match (token.token, token.access_token) {
        (token, _) if !token.is_empty() => Ok(token),
        (_, token) if !token.is_empty() => Ok(token),
        _ => Err(failed(RegistryError::verdict("the token server's answer has no token"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str) -> Option<Challenge> {
        best(http_auth::parse_challenges(text).into_iter().flatten())
    }

    #[test]
    fn challenges_are_read() {
        assert_eq!(of("Basic realm=\"basic-realm\""), Some(Challenge::Basic));
        let bearer = Challenge::Bearer {
            realm: "https://a/token".into(),
            service: Some("s".into()),
            scope: Some("repository:a/b:pull,push".into()),
        };
        let text = "Bearer realm=\"https://a/token\",service=\"s\",scope=\"repository:a/b:pull,push\"";
        assert_eq!(of(text), Some(bearer));
        assert!(matches!(of("Basic realm=\"x\", Bearer realm=\"https://a\""), Some(Challenge::Bearer { .. })));
        for text in ["", "Bearer service=\"s\"", "Digest realm=\"x\"", "\u{1}"] {
            assert_eq!(of(text), None, "{text}");
        }
    }

    #[test]
    fn no_login_leaves_tls() {
        let rows = [
            ("https", "https://a/t", true),
            ("https", "HTTPS://a", true),
            ("https", "http://a/t", false),
            ("https", "", false),
            ("http", "http://a", true),
        ];
        for (scheme, realm, expected) in rows {
            assert_eq!(may_be_told(scheme, realm), expected, "{scheme} {realm}");
        }
    }

    #[test]
    fn a_login_is_sent_as_http_has_it() {
        let credential = Credential { username: "Aladdin".into(), password: "open sesame".into() };
        assert_eq!(basic(&credential), "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==");
    }
}
