//! OCI images made in memory: a busybox from the host's own, or any files; as an archive for `ctr images import` or blob by blob.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::Write as _;
use std::process::Command;
use std::sync::OnceLock;

use serde_json::json;
use sha2::{Digest as _, Sha256};

/// A file of a layer.
pub enum Node {
    Dir(u32),
    File(u32, Vec<u8>),
    Link(String),
}

/// An image: blobs by digest, and the manifest's.
#[derive(Clone)]
pub struct OciImage {
    pub blobs: BTreeMap<String, Vec<u8>>,
    pub manifest: String,
    pub config: String,
    pub layers: Vec<String>,
}

pub const MANIFEST_TYPE: &str = "application/vnd.oci.image.manifest.v1+json";

impl OciImage {
    /// `/bin/busybox` with a link for each applet, `root` and `nobody`, `/tmp`. One uncompressed layer; made once a process.
    pub fn busybox() -> Self {
        static BUSYBOX: OnceLock<OciImage> = OnceLock::new();
        BUSYBOX.get_or_init(|| Self::new(&[tar(&busybox_files())], false)).clone()
    }

    /// busybox and a second layer of these files, compressed.
    pub fn busybox_with(files: &BTreeMap<String, Node>) -> Self {
        Self::new(&[tar(&busybox_files()), tar(files)], true)
    }

    /// An image of these layers (tars), lowest first.
    pub fn new(layers: &[Vec<u8>], gzip: bool) -> Self {
        let kind = if gzip { "application/vnd.oci.image.layer.v1.tar+gzip" } else { "application/vnd.oci.image.layer.v1.tar" };
        Self::stored(layers, kind, |layer| if gzip { compress(layer) } else { layer.to_vec() })
    }

    /// An image of these layers (tars), stored as `kind` by `pack`.
    pub fn stored(layers: &[Vec<u8>], kind: &str, pack: impl Fn(&[u8]) -> Vec<u8>) -> Self {
        let mut blobs = BTreeMap::new();
        let mut put = |bytes: Vec<u8>| {
            let digest = sha256(&bytes);
            blobs.insert(digest.clone(), bytes);
            digest
        };
        let diff_ids: Vec<String> = layers.iter().map(|layer| sha256(layer)).collect();
        let stored: Vec<(String, usize)> =
            layers.iter().map(|layer| pack(layer)).map(|bytes| (bytes.len(), put(bytes))).map(|(size, digest)| (digest, size)).collect();
        let config = json!({
            "architecture": go_arch(), "os": "linux",
            "config": {"Env": ["PATH=/bin:/sbin:/usr/bin:/usr/sbin"], "Cmd": ["sh"], "WorkingDir": "/"},
            "rootfs": {"type": "layers", "diff_ids": diff_ids},
            "history": [{"created_by": "minik8s tests"}],
        });
        let config_bytes = config.to_string().into_bytes();
        let config_size = config_bytes.len();
        let config = put(config_bytes);
        let manifest = json!({
            "schemaVersion": 2, "mediaType": MANIFEST_TYPE,
            "config": {"mediaType": "application/vnd.oci.image.config.v1+json", "digest": config, "size": config_size},
            "layers": stored.iter().map(|(digest, size)| json!({"mediaType": kind, "digest": digest, "size": size})).collect::<Vec<_>>(),
        });
        let manifest = put(manifest.to_string().into_bytes());
        let layers = stored.into_iter().map(|(digest, _)| digest).collect();
        Self { blobs, manifest, config, layers }
    }

    /// Another configuration, and the manifest that goes with it.
    pub fn replace_config(&mut self, config: Vec<u8>) {
        let mut manifest: serde_json::Value = serde_json::from_slice(&self.blobs[&self.manifest]).unwrap();
        self.blobs.remove(&self.config);
        self.blobs.remove(&self.manifest);
        self.config = sha256(&config);
        manifest["config"]["digest"] = json!(self.config);
        manifest["config"]["size"] = json!(config.len());
        let manifest = manifest.to_string().into_bytes();
        self.manifest = sha256(&manifest);
        self.blobs.insert(self.config.clone(), config);
        self.blobs.insert(self.manifest.clone(), manifest);
    }

    /// What `docker save` writes: manifest.json, the configuration and the layers by name.
    pub fn docker_archive(&self, name: &str) -> Vec<u8> {
        let layer = |n: usize| format!("{n}/layer.tar");
        let layers: Vec<String> = (0..self.layers.len()).map(layer).collect();
        let manifest = json!([{"Config": "config.json", "RepoTags": [name], "Layers": layers}]);
        let mut files = BTreeMap::from([
            ("manifest.json".to_owned(), Node::File(0o644, manifest.to_string().into_bytes())),
            ("config.json".to_owned(), Node::File(0o644, self.blobs[&self.config].clone())),
        ]);
        files.extend(self.layers.iter().enumerate().map(|(n, digest)| (layer(n), Node::File(0o644, self.blobs[digest].clone()))));
        tar(&files)
    }

    /// An OCI layout as a tar, which names the image.
    pub fn archive(&self, name: &str) -> Vec<u8> {
        let index = json!({
            "schemaVersion": 2,
            "manifests": [{
                "mediaType": MANIFEST_TYPE, "digest": self.manifest, "size": self.blobs[&self.manifest].len(),
                "platform": {"os": "linux", "architecture": go_arch()},
                "annotations": {"io.containerd.image.name": name, "org.opencontainers.image.ref.name": "latest"},
            }],
        });
        let mut files = BTreeMap::from([
            ("oci-layout".to_owned(), Node::File(0o644, br#"{"imageLayoutVersion":"1.0.0"}"#.to_vec())),
            ("index.json".to_owned(), Node::File(0o644, index.to_string().into_bytes())),
        ]);
        for (digest, bytes) in &self.blobs {
            files.insert(format!("blobs/{}", digest.replace(':', "/")), Node::File(0o644, bytes.clone()));
        }
        tar(&files)
    }
}

/// busybox's files as a layer.
pub fn busybox_layer() -> Vec<u8> {
    tar(&busybox_files())
}

fn busybox_files() -> BTreeMap<String, Node> {
    let binary = std::fs::read("/bin/busybox").expect("/bin/busybox (apt-get install busybox-static)");
    let list = Command::new("/bin/busybox").arg("--list").output().expect("busybox runs").stdout;
    let mut files = BTreeMap::new();
    for directory in ["bin", "dev", "etc", "proc", "root", "sys", "var"] {
        files.insert(directory.to_owned(), Node::Dir(0o755));
    }
    files.insert("tmp".to_owned(), Node::Dir(0o1777));
    for applet in String::from_utf8_lossy(&list).lines().filter(|applet| *applet != "busybox") {
        files.insert(format!("bin/{applet}"), Node::Link("busybox".to_owned()));
    }
    files.insert("bin/busybox".to_owned(), Node::File(0o755, binary));
    files.insert(
        "etc/passwd".to_owned(),
        Node::File(0o644, b"root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534::/:/bin/false\n".to_vec()),
    );
    files.insert("etc/group".to_owned(), Node::File(0o644, b"root:x:0:\nnogroup:x:65534:\n".to_vec()));
    files
}

/// A ustar archive. Names up to 100 bytes.
pub fn tar(files: &BTreeMap<String, Node>) -> Vec<u8> {
    let mut out = Vec::new();
    for (name, node) in files {
        let (kind, mode, data, link): (u8, u32, &[u8], &str) = match node {
            Node::Dir(mode) => (b'5', *mode, &[], ""),
            Node::File(mode, data) => (b'0', *mode, data, ""),
            Node::Link(to) => (b'2', 0o777, &[], to),
        };
        out.extend_from_slice(&header(name, kind, mode, data.len(), link));
        out.extend_from_slice(data);
        out.resize(out.len().next_multiple_of(512), 0);
    }
    out.resize(out.len() + 1024, 0);
    out
}

fn header(name: &str, kind: u8, mode: u32, size: usize, link: &str) -> [u8; 512] {
    let mut header = [0u8; 512];
    let mut put = |at: usize, text: &str| header[at..at + text.len()].copy_from_slice(text.as_bytes());
    assert!(name.len() <= 100 && link.len() <= 100, "{name}: too long for ustar");
    put(0, name);
    put(100, &format!("{mode:07o}"));
    put(108, "0000000");
    put(116, "0000000");
    put(124, &format!("{size:011o}"));
    put(136, "00000000000");
    put(148, "        ");
    put(156, std::str::from_utf8(&[kind]).unwrap());
    put(157, link);
    put(257, "ustar\x0000");
    let sum: u32 = header.iter().map(|&byte| u32::from(byte)).sum();
    header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    header
}

pub fn compress(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

pub fn sha256(bytes: &[u8]) -> String {
    let mut text = "sha256:".to_owned();
    for byte in Sha256::digest(bytes) {
        write!(text, "{byte:02x}").unwrap();
    }
    text
}

pub fn go_arch() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}
