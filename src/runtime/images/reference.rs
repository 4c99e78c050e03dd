//! Image references as Docker and containerd normalise them: `busybox` is `docker.io/library/busybox:latest`.
//!
//! Written out rather than taken from oci-spec: its one regular expression costs megabytes once compiled, and its faults have not
//! Kubernetes' words. A test holds both against each other. Grammar: distribution/reference `reference.go`, `normalize.go`.

use std::fmt;

const DEFAULT_DOMAIN: &str = "docker.io";
const LEGACY_DOMAIN: &str = "index.docker.io";
const OFFICIAL: &str = "library/";
const NAME_MAX: usize = 255;

/// A full reference. Where there are a tag and a digest, only the digest counts, as containerd's CRI has it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ImageReference {
    /// Host and port (`docker.io`, `127.0.0.1:5000`).
    pub domain: String,
    /// The path at the registry (`library/busybox`).
    pub repository: String,
    /// Tag or digest.
    pub version: ImageVersion,
}

/// What of a repository is meant.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum ImageVersion {
    /// `:tag`; `latest` where none is written.
    Tag(String),
    /// `@sha256:…`.
    Digest(String),
}

impl fmt::Display for ImageReference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.version {
            ImageVersion::Tag(tag) => write!(f, "{}/{}:{tag}", self.domain, self.repository),
            ImageVersion::Digest(digest) => write!(f, "{}/{}@{digest}", self.domain, self.repository),
        }
    }
}

impl ImageReference {
    /// The digest, if the reference pins one.
    pub fn digest(&self) -> Option<&str> {
        match &self.version {
            ImageVersion::Digest(digest) => Some(digest),
            ImageVersion::Tag(_) => None,
        }
    }

    /// `docker.io/library/busybox`.
    pub fn name(&self) -> String {
        format!("{}/{}", self.domain, self.repository)
    }

    /// Parses and completes what a manifest says.
    ///
    /// # Errors
    /// What is wrong, in the words of distribution/reference.
    pub fn parse(text: &str) -> Result<Self, String> {
        if text.len() == 64 && text.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b)) {
            return Err(format!("invalid repository name ({text}), cannot specify 64-byte hexadecimal strings"));
        }
        let (rest, digest) = match text.split_once('@') {
            Some((rest, digest)) => (rest, Some(checked_digest(digest)?)),
            None => (text, None),
        };
        let (name, tag) = match rest.rsplit_once(':') {
            Some((name, tag)) if !tag.contains('/') => (name, Some(tag)),
            _ => (rest, None),
        };
        let (domain, repository) = split_domain(name);
        if repository.bytes().any(|b| b.is_ascii_uppercase()) {
            return Err(format!("invalid reference format: repository name ({repository}) must be lowercase"));
        }
        if !is_domain(&domain) || !repository.split('/').all(is_path_component) || !tag.is_none_or(is_tag) {
            return Err("invalid reference format".to_owned());
        }
        if domain.len() + 1 + repository.len() > NAME_MAX {
            return Err(format!("repository name must not be more than {NAME_MAX} characters"));
        }
        let version = match digest {
            Some(digest) => ImageVersion::Digest(digest),
            None => ImageVersion::Tag(tag.unwrap_or("latest").to_owned()),
        };
        Ok(Self { domain, repository, version })
    }
}

/// The first part is a host if it looks like one; `localhost` and anything with upper case do.
fn split_domain(name: &str) -> (String, String) {
    let (domain, rest) = match name.split_once('/') {
        Some((first, rest)) if first.contains(['.', ':']) || first == "localhost" || first.to_lowercase() != first => (first, rest),
        _ => (DEFAULT_DOMAIN, name),
    };
    let domain = if domain == LEGACY_DOMAIN { DEFAULT_DOMAIN } else { domain };
    let official = if domain == DEFAULT_DOMAIN && !rest.contains('/') { OFFICIAL } else { "" };
    (domain.to_owned(), format!("{official}{rest}"))
}

fn is_domain(domain: &str) -> bool {
    let (host, port) = match domain.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((address, rest)) if address.parse::<std::net::Ipv6Addr>().is_ok() => {
            return rest.is_empty() || rest.strip_prefix(':').is_some_and(is_number);
        }
        Some(_) => return false,
        None => match domain.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (domain, None),
        },
    };
    let label = |part: &str| {
        let inner = part.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
        inner && !part.is_empty() && !part.starts_with('-') && !part.ends_with('-')
    };
    host.split('.').all(label) && port.is_none_or(is_number)
}

fn is_number(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit())
}

/// `[a-z0-9]+` parts joined by `.`, `_`, `__` or any number of `-`.
fn is_path_component(part: &str) -> bool {
    let alphanumeric = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    let (Some(first), Some(last)) = (part.bytes().next(), part.bytes().last()) else { return false };
    if !alphanumeric(first) || !alphanumeric(last) {
        return false;
    }
    part.split(|c: char| c.is_ascii_lowercase() || c.is_ascii_digit())
        .all(|separator| matches!(separator, "" | "." | "_" | "__") || separator.bytes().all(|b| b == b'-'))
}

fn is_tag(tag: &str) -> bool {
    let word = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
    (1..=128).contains(&tag.len()) && tag.bytes().next().is_some_and(word) && tag.bytes().all(|b| word(b) || b == b'.' || b == b'-')
}

/// Only digests that can be verified are taken.
fn checked_digest(digest: &str) -> Result<String, String> {
    let Some((algorithm, hex)) = digest.split_once(':') else { return Err("invalid reference format".to_owned()) };
    let length = match algorithm {
        "sha256" => 64,
        "sha384" => 96,
        "sha512" => 128,
        _ => return Err("unsupported digest algorithm".to_owned()),
    };
    match hex.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b)) {
        false => Err("invalid reference format".to_owned()),
        true if hex.len() != length => Err("invalid checksum digest length".to_owned()),
        true => Ok(digest.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const HEX: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    fn full(text: &str) -> String {
        ImageReference::parse(text).unwrap().to_string()
    }

    #[test]
    fn short_names_become_full_ones() {
        assert_eq!(full("busybox"), "docker.io/library/busybox:latest");
        assert_eq!(full("perl:5.34.0"), "docker.io/library/perl:5.34.0");
        assert_eq!(full("resouer/ubuntu-bc"), "docker.io/resouer/ubuntu-bc:latest");
        assert_eq!(full("index.docker.io/nginx"), "docker.io/library/nginx:latest");
        assert_eq!(full("k8s.gcr.io/fluentd-elasticsearch:1.20"), "k8s.gcr.io/fluentd-elasticsearch:1.20");
        assert_eq!(full("localhost/x"), "localhost/x:latest");
        assert_eq!(full("127.0.0.1:5000/a/b__c-d.e:T_1.2"), "127.0.0.1:5000/a/b__c-d.e:T_1.2");
        assert_eq!(full("[::1]:5000/a"), "[::1]:5000/a:latest");
        assert_eq!(full(&format!("busybox@sha256:{HEX}")), format!("docker.io/library/busybox@sha256:{HEX}"));
        assert_eq!(full(&format!("busybox:1@sha256:{HEX}")), format!("docker.io/library/busybox@sha256:{HEX}"));
    }

    #[test]
    fn faults_have_the_usual_words() {
        let fault = |text: &str| ImageReference::parse(text).unwrap_err();
        assert_eq!(fault("BusyBox"), "invalid reference format: repository name (library/BusyBox) must be lowercase");
        assert_eq!(fault(HEX), format!("invalid repository name ({HEX}), cannot specify 64-byte hexadecimal strings"));
        for text in [
            "",
            ":tag",
            "a b",
            "a/",
            "a//b",
            "-a",
            "a-",
            "a...b",
            "a:",
            "a:tag:tag",
            "a@",
            "a.b:x/c",
            "http://a/b",
            "a@sha256:xyz",
            "[::1/a",
        ] {
            assert!(ImageReference::parse(text).is_err(), "{text:?}");
        }
        assert_eq!(fault("a@sha256:abcd"), "invalid checksum digest length");
        assert_eq!(fault("a@md5:abcd"), "unsupported digest algorithm");
    }

    proptest! {
        /// Whatever oci-spec takes is taken, with the same meaning (but for the tag beside a digest).
        #[test]
        fn agrees_with_oci_spec(text in "[a-zA-Z0-9]{0,3}[-a-z0-9._:]{0,6}(/[-a-z0-9_.]{0,5}){0,2}(:[-a-zA-Z0-9_.]{0,4})?") {
            let ours = ImageReference::parse(&text);
            // `Host/path` and `a.b_c/path`: Docker sees a host, oci-spec a path at docker.io or no host at all.
            let odd_host = text.split_once('/').is_some_and(|(host, _)| host.to_lowercase() != host || (host.contains('.') && host.contains('_')));
            match oci_spec::distribution::Reference::try_from(text.as_str()) {
                Ok(theirs) if !odd_host => prop_assert_eq!(ours.map(|r| r.to_string()), Ok(theirs.whole())),
                Err(_) if !odd_host => prop_assert!(ours.is_err()),
                _ => {}
            }
        }
    }
}
