//! Images that are made for another machine, made in other ways, or made to do harm; and a disk that is too small for one.

use std::collections::BTreeMap;
use std::process::Command;

use minik8s::runtime::{Containerd, ImageError, PullPolicy};

use crate::lab::Lab;
use crate::lab::image::{Node, OciImage, busybox_layer, go_arch, tar};
use crate::registry::{Registry, other_platform};
use crate::stage::ensure;

async fn pull(lab: &Lab, registry: &Registry, name: &str) -> Result<minik8s::runtime::Image, String> {
    let runtime = Containerd::connect(lab.config()).await.unwrap();
    match ensure(&runtime, &format!("{}/{name}", registry.address), PullPolicy::IfNotPresent).await {
        Ok(image) => Ok(image),
        Err(ImageError::Pull { cause, .. }) => Err(cause),
        Err(other) => panic!("{other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_image_for_other_machines_is_not_pulled() {
    let (lab, registry) = (Lab::start(), Registry::start());
    registry.push_index("other", "1", &OciImage::busybox(), vec![other_platform()]);
    let error = pull(&lab, &registry, "other:1").await.unwrap_err();
    assert_eq!(error, format!("no match for platform in manifest: linux/{}", go_arch()));
    assert!(!registry.requests().iter().any(|r| r.contains("/blobs/")));
    assert_eq!(lab.ctr(&["images", "list", "-q"]), "");
}

#[tokio::test(flavor = "multi_thread")]
async fn layers_may_be_packed_with_zstd_and_named_by_digest() {
    let (lab, registry) = (Lab::start(), Registry::start());
    let more = tar(&BTreeMap::from([("zstd".to_owned(), Node::File(0o644, b"yes".to_vec()))]));
    let pack = |layer: &[u8]| zstd::encode_all(layer, 3).unwrap();
    let image = OciImage::stored(&[busybox_layer(), more], "application/vnd.oci.image.layer.v1.tar+zstd", pack);
    let digest = registry.push("packed", "1", &image);
    let by_tag = pull(&lab, &registry, "packed:1").await.unwrap();
    let by_digest = pull(&lab, &registry, &format!("packed@{digest}")).await.unwrap();
    assert!(by_tag.pulled && !by_digest.pulled && by_digest.digest == digest);
    // The tag beside a digest does not count.
    assert_eq!(pull(&lab, &registry, &format!("packed:none@{digest}")).await.unwrap().chain_id, by_tag.chain_id);
    let missing = format!("packed@sha256:{}", "0".repeat(64));
    assert!(pull(&lab, &registry, &missing).await.unwrap_err().contains("manifest unknown"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_layer_never_reaches_beyond_its_root() {
    let (lab, registry) = (Lab::start(), Registry::start());
    let victim = lab.dir.join("victim");
    std::fs::create_dir(&victim).unwrap();
    let up = format!("../../../../../../../../../..{}/by-name", victim.display());
    let files = BTreeMap::from([
        (up, Node::File(0o644, b"bad".to_vec())),
        ("absolute".to_owned(), Node::Link(victim.display().to_string())),
        ("absolute/by-link".to_owned(), Node::File(0o644, b"bad".to_vec())),
        ("relative".to_owned(), Node::Link(format!("../../../../../../../../../..{}", victim.display()))),
        ("relative/by-link".to_owned(), Node::File(0o644, b"bad".to_vec())),
    ]);
    registry.push("escape", "1", &OciImage::new(&[busybox_layer(), tar(&files)], true));
    // containerd resolves all of them inside the image.
    pull(&lab, &registry, "escape:1").await.unwrap();
    assert_eq!(std::fs::read_dir(&victim).unwrap().count(), 0);
    // A whiteout that would take away what is above it is refused.
    let files = BTreeMap::from([("a/.wh...".to_owned(), Node::File(0o644, Vec::new()))]);
    registry.push("whiteout", "1", &OciImage::new(&[busybox_layer(), tar(&files)], true));
    let error = pull(&lab, &registry, "whiteout:1").await.unwrap_err();
    assert!(error.contains("whiteout"), "{error}");
    assert!(victim.exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_in_the_middle_of_a_pull() {
    let mut lab = Lab::start();
    lab.kill_containerd();
    let root = lab.dir.join("root");
    let status = Command::new("mount").args(["-t", "tmpfs", "-o", "size=12m", "tmpfs"]).arg(&root).status().unwrap();
    assert!(status.success());
    lab.start_containerd();
    let registry = Registry::start();
    registry.push("small", "1", &OciImage::busybox_with(&BTreeMap::new()));
    let mut state = 1u64;
    let noise: Vec<u8> = std::iter::repeat_with(|| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 56) as u8
    })
    .take(20 << 20)
    .collect();
    let big = tar(&BTreeMap::from([("noise".to_owned(), Node::File(0o644, noise))]));
    registry.push("big", "1", &OciImage::new(&[big], false));
    let error = pull(&lab, &registry, "big:1").await.unwrap_err();
    assert!(error.contains("no space left on device"), "{error}");
    // What was fetched of it is gone again, and the disk is there for others.
    assert_eq!(lab.ctr(&["content", "active"]).lines().count(), 1, "{}", lab.ctr(&["content", "active"]));
    pull(&lab, &registry, "small:1").await.unwrap();
    assert!(pull(&lab, &registry, "big:1").await.unwrap_err().contains("no space left on device"));
}
