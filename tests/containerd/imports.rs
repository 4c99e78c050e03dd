//! Archives: both kinds imported, pinned and remembered; bad ones refused with nothing left.

use std::collections::BTreeMap;
use std::fs;

use minik8s::runtime::{Containerd, PullPolicy};

use crate::lab::Lab;
use crate::lab::image::{Node, OciImage};
use crate::stage::ensure;

fn image(word: &str) -> OciImage {
    OciImage::busybox_with(&BTreeMap::from([("word".to_owned(), Node::File(0o644, word.into()))]))
}

#[tokio::test(flavor = "multi_thread")]
async fn both_kinds_of_archives_are_imported_and_pinned() {
    let lab = Lab::start();
    let runtime = Containerd::connect(lab.config()).await.unwrap();
    let (layout, saved) = (lab.dir.join("a.tar"), lab.dir.join("b.tar"));
    fs::write(&layout, image("layout").archive("docker.io/library/layout:1")).unwrap();
    fs::write(&saved, image("saved").docker_archive("team/saved:2")).unwrap();
    assert_eq!(runtime.import_archive(&layout, "a.tar", "1").await.unwrap(), ["docker.io/library/layout:1"]);
    assert_eq!(runtime.import_archive(&saved, "b.tar", "7").await.unwrap(), ["docker.io/team/saved:2"]);
    assert_eq!(runtime.preloaded().await.unwrap(), [("a.tar", "1"), ("b.tar", "7")].map(|(k, v)| (k.to_owned(), v.to_owned())).into());
    // Only the records hold them now; a pinned image is never asked for at a registry.
    let lease = lab.ctr(&["leases", "create"]);
    lab.ctr(&["leases", "delete", "--sync", lease.trim()]);
    assert_eq!(lab.ctr(&["leases", "list", "-q"]), "");
    for name in ["layout:1", "team/saved:2"] {
        let found = ensure(&runtime, name, PullPolicy::Always).await.unwrap();
        assert!(!found.pulled && lab.ctr(&["snapshots", "list"]).contains(&found.chain_id), "{name}");
    }
    // The file goes: the pin goes, the image stays.
    runtime.unpin_archive("b.tar").await.unwrap();
    assert_eq!(runtime.preloaded().await.unwrap().len(), 1);
    let listed = lab.ctr(&["images", "list"]);
    assert_eq!(listed.lines().filter(|line| line.contains("pinned=pinned")).count(), 1, "{listed}");
    assert!(listed.contains("docker.io/team/saved:2"), "{listed}");
    ensure(&runtime, "team/saved:2", PullPolicy::Never).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bad_archive_leaves_nothing_behind() {
    let lab = Lab::start();
    let runtime = Containerd::connect(lab.config()).await.unwrap();
    let path = lab.dir.join("bad.tar");
    let mut lying = image("one");
    // A layer that is not what its name says.
    let layer = lying.layers[1].clone();
    lying.blobs.get_mut(&layer).unwrap().iter_mut().for_each(|byte| *byte ^= 1);
    fs::write(&path, lying.archive("docker.io/library/lying:1")).unwrap();
    let error = runtime.import_archive(&path, "bad.tar", "1").await.unwrap_err().to_string();
    assert!(error.starts_with("failed to import bad.tar: ") && error.contains("unexpected commit"), "{error}");
    let whole = image("two").archive("docker.io/library/cut:1");
    fs::write(&path, &whole[..whole.len() / 2]).unwrap();
    let error = runtime.import_archive(&path, "bad.tar", "2").await.unwrap_err().to_string();
    assert!(error.contains("cut off") || error.contains("whole"), "{error}");
    assert_eq!(lab.ctr(&["images", "list", "-q"]), "");
    assert!(runtime.preloaded().await.unwrap().is_empty());
}
