//! An image archive on disk: an OCI layout, or what `docker save` writes, as a tar. Read by seeking; nothing is unpacked.
//!
//! The archive is not trusted: what it holds is found by name only inside itself, documents are bounded, digests are computed here or checked
//! when content is stored. Layers of docker-archives may be compressed; the archive itself may not (it could not be sought in).

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Read as _, Seek as _, SeekFrom};
use std::os::unix::fs::FileExt as _;
use std::path::{Component, Path};
use std::sync::Arc;

use futures::StreamExt as _;
use futures::stream;
use oci_spec::image::ImageIndex;
use serde::Deserialize;
use serde_json::json;
use sha2::{Digest as _, Sha256};

use super::manifest::{MAX_DOCUMENT, MEDIA_TYPES, sha256};
use super::reference::ImageReference;
use super::registry::{BlobStream, RegistryError};

/// Entries of an archive that are looked at.
const MAX_ENTRIES: usize = 100_000;
const PIECE: usize = 256 << 10;
/// The annotations that name an image, best first (containerd, OCI).
const NAMES: [&str; 2] = ["io.containerd.image.name", "org.opencontainers.image.ref.name"];

/// An archive and the images in it.
#[derive(Debug)]
pub(super) struct Archive {
    file: Arc<File>,
    /// Where each blob stands.
    blobs: BTreeMap<String, Section>,
    /// Documents that the archive itself has not.
    made: BTreeMap<String, Vec<u8>>,
    pub(super) images: Vec<Archived>,
}

/// One image: the digest of its manifest or index, and its full names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Archived {
    pub(super) digest: String,
    pub(super) names: Vec<ImageReference>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Section {
    offset: u64,
    size: u64,
}

/// One image of docker's manifest.json.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Saved {
    config: String,
    #[serde(default)]
    repo_tags: Option<Vec<String>>,
    layers: Vec<String>,
}

impl Archive {
    /// Reads what is in it. Blocking.
    ///
    /// # Errors
    /// It is no such archive, with the reason.
    pub(super) fn open(path: &Path) -> Result<Archive, String> {
        let mut file = File::open(path).map_err(|e| format!("cannot open it: {e}"))?;
        if !file.metadata().is_ok_and(|m| m.is_file()) {
            return Err("it is no regular file".to_owned());
        }
        let entries = entries(&mut file)?;
        let mut archive = Archive { file: Arc::new(file), blobs: BTreeMap::new(), made: BTreeMap::new(), images: Vec::new() };
        match (entries.get("index.json"), entries.get("manifest.json")) {
            (Some(index), _) if entries.contains_key("oci-layout") => archive.read_layout(*index, &entries)?,
            (_, Some(manifest)) => archive.read_saved(*manifest, &entries)?,
            _ => return Err("it is neither an OCI layout (oci-layout, index.json) nor a docker-archive (manifest.json)".to_owned()),
        }
        match archive.images.is_empty() {
            true => Err("no image in it has a name".to_owned()),
            false => Ok(archive),
        }
    }

    fn read_layout(&mut self, index: Section, entries: &BTreeMap<String, Section>) -> Result<(), String> {
        let index: ImageIndex = serde_json::from_slice(&self.document(index)?).map_err(|e| format!("index.json: {e}"))?;
        for (name, section) in entries {
            if let Some((algorithm, hex)) = name.strip_prefix("blobs/").and_then(|rest| rest.split_once('/')) {
                self.blobs.insert(format!("{algorithm}:{hex}"), *section);
            }
        }
        for descriptor in index.manifests() {
            let annotations = descriptor.annotations().as_ref();
            let name = NAMES.iter().find_map(|key| annotations?.get(*key)).filter(|name| name.contains(['/', ':', '@']));
            let Some(name) = name else { continue };
            let reference = ImageReference::parse(name).map_err(|why| format!("the image {name:?}: {why}"))?;
            self.add(descriptor.digest().to_string(), vec![reference]);
        }
        Ok(())
    }

    fn read_saved(&mut self, manifest: Section, entries: &BTreeMap<String, Section>) -> Result<(), String> {
        let saved: Vec<Saved> = serde_json::from_slice(&self.document(manifest)?).map_err(|e| format!("manifest.json: {e}"))?;
        for image in saved {
            let find =
                |name: &str| entries.get(&clean(name)).copied().ok_or_else(|| format!("manifest.json names {name:?}, which is not there"));
            let config = find(&image.config)?;
            let config_digest = self.blob(config)?;
            let mut layers = Vec::new();
            for layer in &image.layers {
                let section = find(layer)?;
                layers.push(json!({"mediaType": self.layer_type(section)?, "digest": self.blob(section)?, "size": section.size}));
            }
            let document = json!({
                "schemaVersion": 2, "mediaType": MEDIA_TYPES[2],
                "config": {"mediaType": "application/vnd.oci.image.config.v1+json", "digest": config_digest, "size": config.size},
                "layers": layers,
            });
            let bytes = document.to_string().into_bytes();
            let digest = sha256(&bytes);
            self.made.insert(digest.clone(), bytes);
            let names = image.repo_tags.unwrap_or_default();
            let names = names.iter().map(|name| ImageReference::parse(name).map_err(|why| format!("the image {name:?}: {why}")));
            self.add(digest, names.collect::<Result<_, _>>()?);
        }
        Ok(())
    }

    fn add(&mut self, digest: String, names: Vec<ImageReference>) {
        match self.images.iter_mut().find(|image| image.digest == digest) {
            Some(image) => image.names.extend(names),
            None if names.is_empty() => {}
            None => self.images.push(Archived { digest, names }),
        }
    }

    /// The digest of what stands there, found again under it.
    fn blob(&mut self, section: Section) -> Result<String, String> {
        if let Some((digest, _)) = self.blobs.iter().find(|(_, known)| **known == section) {
            return Ok(digest.clone());
        }
        let mut hash = Sha256::new();
        let mut buffer = vec![0; PIECE];
        let mut at = 0;
        while at < section.size {
            let length = usize::try_from(section.size - at).unwrap_or(PIECE).min(PIECE);
            self.file.read_exact_at(&mut buffer[..length], section.offset + at).map_err(|e| format!("it cannot be read: {e}"))?;
            hash.update(&buffer[..length]);
            at += length as u64;
        }
        let hex: String = hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
        let digest = format!("sha256:{hex}");
        self.blobs.insert(digest.clone(), section);
        Ok(digest)
    }

    /// By its first bytes: docker-archives do not say.
    fn layer_type(&self, section: Section) -> Result<&'static str, String> {
        let mut magic = [0; 4];
        let length = usize::try_from(section.size).unwrap_or(4).min(4);
        self.file.read_exact_at(&mut magic[..length], section.offset).map_err(|e| format!("it cannot be read: {e}"))?;
        Ok(match magic {
            [0x1f, 0x8b, ..] => "application/vnd.oci.image.layer.v1.tar+gzip",
            [0x28, 0xb5, 0x2f, 0xfd] => "application/vnd.oci.image.layer.v1.tar+zstd",
            _ => "application/vnd.oci.image.layer.v1.tar",
        })
    }

    fn document(&self, section: Section) -> Result<Vec<u8>, String> {
        if section.size > MAX_DOCUMENT {
            return Err(format!("a document in it is larger than {MAX_DOCUMENT} bytes"));
        }
        let mut bytes = vec![0; usize::try_from(section.size).unwrap_or_default()];
        self.file.read_exact_at(&mut bytes, section.offset).map_err(|e| format!("it cannot be read: {e}"))?;
        Ok(bytes)
    }

    /// A manifest or index by its digest, as a registry would answer.
    pub(super) fn manifest(&self, digest: &str) -> Result<(Vec<u8>, String), RegistryError> {
        let bytes = match (self.made.get(digest), self.blobs.get(digest)) {
            (Some(bytes), _) => bytes.clone(),
            (None, Some(section)) => self.document(*section).map_err(RegistryError::verdict)?,
            (None, None) => return Err(RegistryError::verdict(format!("{digest} is not in the archive"))),
        };
        match sha256(&bytes) {
            actual if actual == digest => Ok((bytes, actual)),
            actual => Err(RegistryError::verdict(format!("the manifest is {actual}, not {digest}"))),
        }
    }

    /// A blob from an offset on.
    pub(super) fn stream(&self, digest: &str, from: u64) -> Result<BlobStream, RegistryError> {
        let section = *self.blobs.get(digest).ok_or_else(|| RegistryError::verdict(format!("{digest} is not in the archive")))?;
        let file = self.file.clone();
        let bytes = stream::unfold((file, from), move |(file, at)| async move {
            let length = usize::try_from(section.size.checked_sub(at)?).unwrap_or(PIECE).min(PIECE);
            if length == 0 {
                return None;
            }
            let reading = file.clone();
            let read = tokio::task::spawn_blocking(move || {
                let mut piece = vec![0; length];
                reading.read_exact_at(&mut piece, section.offset + at).map(|()| piece)
            });
            let piece = read.await.map_err(|e| e.to_string()).and_then(|read| read.map_err(|e| e.to_string()));
            Some((piece.map_err(RegistryError::verdict), (file, at + length as u64)))
        });
        Ok(BlobStream { offset: from, bytes: bytes.boxed() })
    }
}

/// Every file in the tar, and where it stands. Links to other files of it are followed once.
fn entries(file: &mut File) -> Result<BTreeMap<String, Section>, String> {
    let size =
        file.seek(SeekFrom::End(0)).and_then(|size| file.rewind().map(|()| size)).map_err(|e| format!("it cannot be sought in: {e}"))?;
    let bad = |e: std::io::Error| format!("it is no (whole) tar: {e}");
    let mut magic = [0; 4];
    if file.read(&mut magic).is_ok_and(|n| n == 4) && (magic.starts_with(&[0x1f, 0x8b]) || magic == [0x28, 0xb5, 0x2f, 0xfd]) {
        return Err("it is compressed; unpack it to a plain .tar".to_owned());
    }
    file.rewind().map_err(bad)?;
    let mut archive = tar::Archive::new(file);
    let (mut found, mut links) = (BTreeMap::new(), Vec::new());
    for (count, entry) in archive.entries_with_seek().map_err(bad)?.enumerate() {
        let entry = entry.map_err(bad)?;
        if count >= MAX_ENTRIES {
            return Err(format!("it has more than {MAX_ENTRIES} entries"));
        }
        let name = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
        let kind = entry.header().entry_type();
        if kind.is_file() {
            let section = Section { offset: entry.raw_file_position(), size: entry.size() };
            if section.offset.checked_add(section.size).is_none_or(|end| end > size) {
                return Err(format!("it is cut off in the middle of {name:?}"));
            }
            found.insert(clean(&name), section);
        } else if let Some(target) = entry.link_name_bytes() {
            let target = String::from_utf8_lossy(&target).into_owned();
            let base = if kind.is_symlink() { name.rsplit_once('/').map_or("", |(dir, _)| dir) } else { "" };
            links.push((clean(&name), clean(&format!("{base}/{target}"))));
        }
    }
    for (name, target) in links {
        if let Some(section) = found.get(&target).copied() {
            found.insert(name, section);
        }
    }
    Ok(found)
}

/// A name without `.`, `..` and a slash before it.
fn clean(name: &str) -> String {
    let mut parts: Vec<&str> = Vec::new();
    for part in Path::new(name).components() {
        match part {
            Component::Normal(part) => parts.extend(part.to_str()),
            Component::ParentDir => drop(parts.pop()),
            _ => {}
        }
    }
    parts.join("/")
}

#[cfg(test)]
#[path = "archive_tests.rs"]
mod tests;
