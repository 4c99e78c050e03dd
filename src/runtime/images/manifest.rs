//! Manifests, indexes and chain ids. Pure: bytes in, values out.

use oci_spec::image::{Descriptor, Digest, ImageConfiguration, ImageIndex, ImageManifest};
use serde::Deserialize;
use sha2::{Digest as _, Sha256};

/// More than this is no manifest and no configuration (containerd: 8 MiB, Docker Hub: 4 MiB).
pub(crate) const MAX_DOCUMENT: u64 = 8 << 20;

/// The kinds of manifests: index, list, manifest (OCI), manifest (Docker).
pub(crate) const MEDIA_TYPES: [&str; 4] = [
    "application/vnd.oci.image.index.v1+json",
    "application/vnd.docker.distribution.manifest.list.v2+json",
    "application/vnd.oci.image.manifest.v1+json",
    "application/vnd.docker.distribution.manifest.v2+json",
];

/// The same for an Accept header.
pub(crate) const ACCEPTED: &str = "application/vnd.oci.image.index.v1+json, application/vnd.docker.distribution.manifest.list.v2+json, \
    application/vnd.oci.image.manifest.v1+json, application/vnd.docker.distribution.manifest.v2+json";

/// An image's document at a digest.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Document {
    /// One platform's image.
    Manifest(Box<ImageManifest>),
    /// A choice of platforms.
    Index(Box<ImageIndex>),
}

/// Just enough to tell the two apart: mediaType is optional in both.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Shape {
    schema_version: Option<u32>,
    media_type: Option<String>,
    manifests: Option<serde::de::IgnoredAny>,
    layers: Option<serde::de::IgnoredAny>,
}

impl Document {
    /// Reads either.
    pub(crate) fn parse(bytes: &[u8]) -> Result<Self, String> {
        let shape: Shape = serde_json::from_slice(bytes).map_err(|e| format!("not a manifest: {e}"))?;
        if shape.schema_version == Some(1) {
            return Err("a schema 1 manifest; such images are no longer supported".to_owned());
        }
        match (shape.manifests, shape.layers) {
            (Some(_), None) => {
                serde_json::from_slice(bytes).map(|index| Self::Index(Box::new(index))).map_err(|e| format!("bad index: {e}"))
            }
            (None, Some(_)) => {
                serde_json::from_slice(bytes).map(|manifest| Self::Manifest(Box::new(manifest))).map_err(|e| format!("bad manifest: {e}"))
            }
            _ => Err(format!("neither a manifest nor an index (mediaType {:?})", shape.media_type.unwrap_or_default())),
        }
    }

    /// The media type to record for it, where it does not say itself.
    pub(crate) fn media_type(&self) -> String {
        let (own, default) = match self {
            Self::Index(index) => (index.media_type().as_ref(), MEDIA_TYPES[0]),
            Self::Manifest(manifest) => (manifest.media_type().as_ref(), MEDIA_TYPES[2]),
        };
        own.map_or_else(|| default.to_owned(), ToString::to_string)
    }
}

/// The entry of an index for this machine.
pub(crate) fn choose(index: &ImageIndex) -> Result<&Descriptor, String> {
    let (architecture, variants) = host_platform();
    choose_for(index, architecture, variants)
}

/// The entry of the best variant; one that names none is as good as the worst.
fn choose_for<'a>(index: &'a ImageIndex, architecture: &str, variants: &[&str]) -> Result<&'a Descriptor, String> {
    let rank = |descriptor: &&Descriptor| -> Option<usize> {
        let platform = descriptor.platform().as_ref()?;
        if platform.os().to_string() != "linux" || platform.architecture().to_string() != architecture {
            return None;
        }
        match platform.variant().as_deref() {
            None | Some("") => Some(variants.len()),
            Some(variant) => variants.iter().position(|v| *v == variant),
        }
    };
    let ranked = index.manifests().iter().filter(|d| !is_attestation(d)).filter_map(|d| rank(&d).map(|r| (r, d)));
    match ranked.min_by_key(|(rank, _)| *rank) {
        Some((_, descriptor)) => Ok(descriptor),
        // An index of one image that names no platform is that image.
        None => match index.manifests().as_slice() {
            [only] if only.platform().is_none() => Ok(only),
            _ => Err(format!("no match for platform in manifest: linux/{architecture}")),
        },
    }
}

fn is_attestation(descriptor: &Descriptor) -> bool {
    descriptor.annotations().as_ref().is_some_and(|a| a.get("vnd.docker.reference.type").is_some_and(|kind| kind == "attestation-manifest"))
}

/// Go's name of this architecture, and the variants that run here, best first (containerd `platforms`).
fn host_platform() -> (&'static str, &'static [&'static str]) {
    match std::env::consts::ARCH {
        "x86_64" => ("amd64", &["v1"]),
        "aarch64" => ("arm64", &["v8"]),
        "arm" => ("arm", &["v7", "v6", "v5"]),
        "x86" => ("386", &[]),
        "powerpc64" => ("ppc64le", &[]),
        other => (other, &[]),
    }
}

/// What the snapshot of all layers up to each one is called: `chain[0] = diff[0]`, `chain[n] = sha256(chain[n-1] " " diff[n])`.
pub(crate) fn chain_ids(diff_ids: &[String]) -> Vec<String> {
    let mut chain: Vec<String> = Vec::with_capacity(diff_ids.len());
    for diff in diff_ids {
        let next = match chain.last() {
            None => diff.clone(),
            Some(parent) => sha256(format!("{parent} {diff}").as_bytes()),
        };
        chain.push(next);
    }
    chain
}

/// `sha256:<hex>` of bytes.
pub(crate) fn sha256(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    let mut text = String::with_capacity(71);
    text.push_str("sha256:");
    for byte in Sha256::digest(bytes) {
        // Writing into memory cannot fail.
        let _ = write!(text, "{byte:02x}");
    }
    text
}

/// Whether bytes are what a digest says. Only sha256 can be checked here.
pub(crate) fn verify(bytes: &[u8], digest: &str) -> Result<(), String> {
    match sha256(bytes) {
        actual if actual == digest => Ok(()),
        actual => Err(format!("the content is {actual}, not {digest}")),
    }
}

/// The image's configuration, which must describe exactly the manifest's layers.
pub(crate) fn configuration(bytes: &[u8], manifest: &ImageManifest) -> Result<ImageConfiguration, String> {
    let config: ImageConfiguration = serde_json::from_slice(bytes).map_err(|e| format!("bad image configuration: {e}"))?;
    let (diffs, layers) = (config.rootfs().diff_ids().len(), manifest.layers().len());
    if diffs != layers {
        return Err(format!("mismatched image rootfs and manifest layers: {diffs} diff ids, {layers} layers"));
    }
    if layers == 0 {
        return Err("an image without layers".to_owned());
    }
    Ok(config)
}

/// The descriptor's digest as text.
pub(crate) fn digest(digest: &Digest) -> String {
    digest.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chain_ids_hash_their_parents() {
        let diffs = vec![sha256(b"a"), sha256(b"b")];
        let chain = chain_ids(&diffs);
        assert_eq!(chain[0], diffs[0]);
        assert_eq!(chain[1], sha256(format!("{} {}", diffs[0], diffs[1]).as_bytes()));
        assert!(chain_ids(&[]).is_empty());
    }

    fn index(entries: serde_json::Value) -> ImageIndex {
        let bytes = serde_json::json!({"schemaVersion": 2, "manifests": entries}).to_string();
        match Document::parse(bytes.as_bytes()).unwrap() {
            Document::Index(index) => *index,
            Document::Manifest(_) => panic!("an index"),
        }
    }

    fn entry(content: &str, platform: serde_json::Value) -> serde_json::Value {
        serde_json::json!({"mediaType": MEDIA_TYPES[2], "digest": sha256(content.as_bytes()), "size": 1, "platform": platform})
    }

    #[test]
    fn the_platform_of_this_machine_is_chosen() {
        let (architecture, _) = host_platform();
        let chosen = index(serde_json::json!([
            entry("windows", serde_json::json!({"os": "windows", "architecture": architecture})),
            entry("other", serde_json::json!({"os": "linux", "architecture": "s390x"})),
            entry("ours", serde_json::json!({"os": "linux", "architecture": architecture})),
            entry("attestation", serde_json::json!({"os": "unknown", "architecture": "unknown"})),
        ]));
        assert_eq!(choose(&chosen).unwrap().digest().to_string(), sha256(b"ours"));
        let none = index(serde_json::json!([entry("other", serde_json::json!({"os": "linux", "architecture": "s390x"}))]));
        assert_eq!(choose(&none).unwrap_err(), format!("no match for platform in manifest: linux/{architecture}"));
    }

    #[test]
    fn the_best_variant_is_chosen() {
        let arm = |variant: &str| entry(variant, serde_json::json!({"os": "linux", "architecture": "arm", "variant": variant}));
        let bare = || entry("bare", serde_json::json!({"os": "linux", "architecture": "arm"}));
        let chosen = |entries: Vec<serde_json::Value>, variants: &[&str]| {
            let index = index(serde_json::Value::Array(entries));
            choose_for(&index, "arm", variants).map(|found| found.digest().to_string())
        };
        let of = |content: &str| Ok(sha256(content.as_bytes()));
        assert_eq!(chosen(vec![arm("v5"), arm("v7"), arm("v6")], &["v7", "v6", "v5"]), of("v7"));
        assert_eq!(chosen(vec![arm("v5"), arm("v7"), arm("v6")], &["v6", "v5"]), of("v6"));
        assert_eq!(chosen(vec![bare(), arm("v5")], &["v7", "v6", "v5"]), of("v5"));
        assert_eq!(chosen(vec![bare(), arm("v8")], &["v7"]), of("bare"));
        assert_eq!(chosen(vec![arm("v8")], &["v7"]), Err("no match for platform in manifest: linux/arm".to_owned()));
    }

    #[test]
    fn other_documents_are_refused() {
        for text in ["", "[]", "{}", r#"{"schemaVersion":1,"fsLayers":[]}"#, r#"{"layers":[],"manifests":[]}"#] {
            assert!(Document::parse(text.as_bytes()).is_err(), "{text}");
        }
    }
}
