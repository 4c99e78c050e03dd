//! Images that are here already: policies, unpacking, users.

use std::collections::BTreeMap;

use minik8s::runtime::{Containerd, ImageError, PullPolicy, Runtime};

use crate::lab::Lab;
use crate::lab::image::{Node, OciImage};
use crate::stage::{Stage, ensure};

#[tokio::test(flavor = "multi_thread")]
async fn policies_without_a_registry() {
    let stage = Stage::new().await;
    let image = &stage.image;
    assert_eq!(image.name, "docker.io/library/busybox:latest");
    assert!(!image.pulled && image.size > 1_000_000);
    assert_eq!(image.config.config().as_ref().unwrap().cmd().as_ref().unwrap(), &["sh"]);
    assert_eq!(&ensure(&stage.runtime, "docker.io/library/busybox", PullPolicy::Never).await.unwrap(), image);
    let never = ensure(&stage.runtime, "absent:1", PullPolicy::Never).await.unwrap_err();
    assert_eq!(never.to_string(), "Container image \"absent:1\" is not present with pull policy of Never");
    let invalid = ensure(&stage.runtime, "BusyBox", PullPolicy::Always).await.unwrap_err();
    assert_eq!(
        invalid.to_string(),
        "Failed to apply default image tag \"BusyBox\": couldn't parse image name \"BusyBox\": \
         invalid reference format: repository name (library/BusyBox) must be lowercase"
    );
    // By digest, though it was imported by tag.
    let pinned = format!("busybox@{}", image.digest);
    assert_eq!(ensure(&stage.runtime, &pinned, PullPolicy::IfNotPresent).await.unwrap().chain_id, image.chain_id);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_image_that_was_not_unpacked_is_and_stays_so() {
    let lab = Lab::start();
    let files = BTreeMap::from([
        ("etc/passwd".to_owned(), Node::File(0o644, b"root:x:0:0::/:\napp:x:1000:1000::/:\n".to_vec())),
        ("etc/group".to_owned(), Node::Link("/etc/alias".to_owned())),
        ("etc/alias".to_owned(), Node::File(0o644, b"app:x:1000:\n".to_vec())),
    ]);
    lab.import(&OciImage::busybox_with(&files), "example.org/app:1", &["--no-unpack"]);
    let runtime = Containerd::connect(lab.config()).await.unwrap();
    let image = ensure(&runtime, "example.org/app:1", PullPolicy::IfNotPresent).await.unwrap();
    let snapshots = lab.ctr(&["snapshots", "list"]);
    assert!(snapshots.contains(&image.chain_id), "{snapshots}");

    let users = runtime.image_users(&image).await.unwrap();
    assert_eq!(users.passwd, "root:x:0:0::/:\napp:x:1000:1000::/:\n");
    assert_eq!(users.group, "app:x:1000:\n");
    assert_eq!(lab.mounts(), [] as [std::path::PathBuf; 0]);

    // Nothing holds it but the image: a garbage collection must leave it.
    let lease = lab.ctr(&["leases", "create"]);
    lab.ctr(&["leases", "delete", "--sync", lease.trim()]);
    let snapshots = lab.ctr(&["snapshots", "list"]);
    assert!(snapshots.contains(&image.chain_id), "{snapshots}");
    assert!(!snapshots.contains("minik8s-users"), "{snapshots}");
    assert_eq!(lab.ctr(&["leases", "list", "-q"]), "");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_diff_id_is_refused() {
    let lab = Lab::start();
    let mut image = OciImage::busybox();
    // The configuration lies about its layer.
    let config = String::from_utf8(image.blobs[&image.config].clone()).unwrap();
    let lie = config.replace(&image.layers[0], &crate::lab::image::sha256(b"another"));
    image.replace_config(lie.into_bytes());
    lab.import(&image, "example.org/liar:1", &["--no-unpack"]);
    let runtime = Containerd::connect(lab.config()).await.unwrap();
    let error = ensure(&runtime, "example.org/liar:1", PullPolicy::Never).await.unwrap_err();
    assert!(matches!(&error, ImageError::Pull { cause, .. } if cause.contains("wrong diff id")), "{error}");
}
