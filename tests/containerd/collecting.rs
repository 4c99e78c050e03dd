//! Listing and removing images, and the disk they are on.

use std::collections::BTreeMap;

use minik8s::runtime::images::gc::StoredImage;
use minik8s::runtime::{Containerd, PullPolicy, Runtime, RuntimeError};

use crate::lab::Lab;
use crate::lab::image::{Node, OciImage};
use crate::stage::ensure;

fn of<'a>(images: &'a [StoredImage], name: &str) -> &'a StoredImage {
    images.iter().find(|image| image.names.iter().any(|n| n == name)).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_image_goes_with_its_names_content_and_snapshots() {
    let lab = Lab::start();
    lab.import_busybox("docker.io/library/busybox:latest");
    lab.ctr(&["images", "tag", "docker.io/library/busybox:latest", "docker.io/library/other:1"]);
    let files = BTreeMap::from([("x".to_owned(), Node::File(0o644, b"x".to_vec()))]);
    lab.import(&OciImage::busybox_with(&files), "docker.io/library/pinned:1", &[]);
    lab.ctr(&["images", "label", "docker.io/library/pinned:1", "io.cri-containerd.pinned=pinned"]);
    lab.import(&OciImage::new(&[crate::lab::image::tar(&files)], true), "docker.io/library/asked:1", &[]);
    let runtime = Containerd::connect(lab.config()).await.unwrap();

    let images = runtime.images().await.unwrap();
    assert_eq!(images.len(), 3);
    let busybox = of(&images, "docker.io/library/busybox:latest").clone();
    assert_eq!(busybox.names, ["docker.io/library/busybox:latest", "docker.io/library/other:1"]);
    assert!(busybox.size > 1_000_000 && !busybox.pinned && busybox.created > jiff::Timestamp::UNIX_EPOCH);
    assert!(of(&images, "docker.io/library/pinned:1").pinned);

    // Pinned, or just asked for by somebody who makes a container of it: it stays.
    let refused = |error: RuntimeError| assert!(matches!(&error, RuntimeError::Images { .. }), "{error}");
    refused(runtime.remove_image(&of(&images, "docker.io/library/pinned:1").id).await.unwrap_err());
    ensure(&runtime, "asked:1", PullPolicy::Never).await.unwrap();
    refused(runtime.remove_image(&of(&images, "docker.io/library/asked:1").id).await.unwrap_err());
    assert_eq!(runtime.images().await.unwrap().len(), 3);

    let before = lab.ctr(&["content", "list", "-q"]).lines().count();
    runtime.remove_image(&busybox.id).await.unwrap();
    assert_eq!(runtime.images().await.unwrap().len(), 2);
    assert!(lab.ctr(&["content", "list", "-q"]).lines().count() < before);
    runtime.remove_image(&busybox.id).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_disk_is_the_snapshotters() {
    let lab = Lab::start();
    let runtime = Containerd::connect(lab.config()).await.unwrap();
    let disk = runtime.image_disk().await.unwrap();
    let stat = nix::sys::statvfs::statvfs(&lab.dir.join("root")).unwrap();
    assert_eq!(disk.capacity, stat.blocks() * stat.fragment_size());
    assert!(disk.available > 0 && disk.available <= disk.capacity);
}
