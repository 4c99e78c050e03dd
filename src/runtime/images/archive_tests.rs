//! Archives of both kinds, and files that are none.

use std::io::Write as _;

use super::*;

const CONFIG: &str = r#"{"architecture":"amd64","os":"linux","rootfs":{"type":"layers","diff_ids":[]}}"#;

fn tar_of(files: &[(&str, &[u8])], links: &[(&str, &str)]) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    for (name, bytes) in files {
        let mut header = tar::Header::new_gnu();
        header.set_size(bytes.len() as u64);
        header.set_mode(0o644);
        builder.append_data(&mut header, name, *bytes).unwrap();
    }
    for (name, target) in links {
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(tar::EntryType::Symlink);
        header.set_size(0);
        builder.append_link(&mut header, name, target).unwrap();
    }
    builder.into_inner().unwrap()
}

fn open(bytes: &[u8]) -> Result<Archive, String> {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(bytes).unwrap();
    Archive::open(file.path())
}

fn names(archive: &Archive) -> Vec<String> {
    archive.images.iter().flat_map(|image| image.names.iter().map(ToString::to_string)).collect()
}

#[test]
fn what_docker_saves_becomes_a_manifest() {
    let manifest = br#"[{"Config":"c.json","RepoTags":["app:1","r.io/app:2"],"Layers":["a/layer.tar","b/layer.tar","./z"]},
        {"Config":"c.json","RepoTags":null,"Layers":[]}]"#;
    let files: [(&str, &[u8]); 4] =
        [("manifest.json", manifest), ("c.json", CONFIG.as_bytes()), ("a/layer.tar", b"tar"), ("z", &[0x1f, 0x8b, 8])];
    let archive = open(&tar_of(&files, &[("b/layer.tar", "../a/layer.tar")])).unwrap();
    assert_eq!(names(&archive), ["docker.io/library/app:1", "r.io/app:2"]);
    let (bytes, _) = archive.manifest(&archive.images[0].digest).unwrap();
    let document: serde_json::Value = serde_json::from_slice(&bytes).unwrap();
    let of = |layer: usize, key: &str| document["layers"][layer][key].as_str().unwrap().to_owned();
    assert_eq!([of(0, "digest"), of(1, "digest")], [sha256(b"tar"), sha256(b"tar")]);
    assert_eq!(document["config"]["digest"], sha256(CONFIG.as_bytes()));
    assert!(of(2, "mediaType").ends_with("tar+gzip") && of(0, "mediaType").ends_with(".tar"));
}

#[test]
fn a_layout_names_its_images() {
    let digest = sha256(b"{}");
    let entry = |key: &str, name: &str| json!({"mediaType": MEDIA_TYPES[2], "digest": digest, "size": 2, "annotations": {key: name}});
    let index = json!({"schemaVersion": 2, "manifests": [entry(NAMES[0], "docker.io/library/a:1"), entry(NAMES[1], "b:2"), entry(NAMES[1], "latest")]});
    let (index, blob) = (index.to_string(), format!("blobs/{}", digest.replace(':', "/")));
    let layout: [(&str, &[u8]); 3] = [("oci-layout", b"{}"), ("./index.json", index.as_bytes()), (&blob, b"{}")];
    let archive = open(&tar_of(&layout, &[])).unwrap();
    assert_eq!(names(&archive), ["docker.io/library/a:1", "docker.io/library/b:2"]);
    assert_eq!(archive.manifest(&digest).unwrap().0, b"{}");
    // A blob that is not what its name says.
    let layout: [(&str, &[u8]); 3] = [("oci-layout", b"{}"), ("index.json", index.as_bytes()), (&blob, b"[]")];
    let error = open(&tar_of(&layout, &[])).unwrap().manifest(&digest).unwrap_err();
    assert!(error.cause.ends_with(&format!("not {digest}")), "{}", error.cause);
}

#[test]
fn files_that_are_no_archives_say_why() {
    let fault = |bytes: &[u8]| open(bytes).unwrap_err();
    assert_eq!(
        fault(&tar_of(&[("a", b"b")], &[])),
        "it is neither an OCI layout (oci-layout, index.json) nor a docker-archive (manifest.json)"
    );
    assert_eq!(fault(&[0x1f, 0x8b, 8, 0, 0]), "it is compressed; unpack it to a plain .tar");
    assert!(fault(&[b'x'; 600]).starts_with("it is no (whole) tar: "));
    assert_eq!(fault(&tar_of(&[("manifest.json", b"[]")], &[])), "no image in it has a name");
    let manifest = br#"[{"Config":"../../etc/passwd","RepoTags":["a"],"Layers":[]}]"#;
    assert_eq!(fault(&tar_of(&[("manifest.json", manifest)], &[])), "manifest.json names \"../../etc/passwd\", which is not there");
    let whole = tar_of(&[("manifest.json", b"[]"), ("layer", &[7; 5000])], &[]);
    assert_eq!(fault(&whole[..3000]), "it is cut off in the middle of \"layer\"");
    let name = br#"[{"Config":"c","RepoTags":["BAD NAME"],"Layers":[]}]"#;
    assert!(fault(&tar_of(&[("manifest.json", name), ("c", b"{}")], &[])).starts_with("the image \"BAD NAME\": "));
}

#[tokio::test]
async fn blobs_are_streamed_from_anywhere() {
    let manifest = br#"[{"Config":"c","RepoTags":["a"],"Layers":["l"]}]"#;
    let layer: Vec<u8> = (0..PIECE + 10).map(|n| u8::try_from(n % 251).unwrap()).collect();
    let archive = open(&tar_of(&[("manifest.json", manifest), ("c", b"{}"), ("l", &layer)], &[])).unwrap();
    let stream = archive.stream(&sha256(&layer), 7).unwrap();
    let pieces: Vec<Vec<u8>> = stream.bytes.map(|piece| piece.unwrap()).collect().await;
    assert_eq!(pieces.concat(), layer[7..]);
    assert!(archive.stream("sha256:x", 0).is_err());
}
