//! Pulls from a registry on loopback, well-behaved and not.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use minik8s::config::Keyring;
use minik8s::runtime::{Containerd, Image, ImageError, ImageRequest, PullNote, PullPolicy, Runtime};

use crate::lab::Lab;
use crate::lab::image::{Node, OciImage};
use crate::registry::{Fault, Registry};
use crate::stage::ensure;

struct Pulling {
    runtime: Containerd,
    registry: Registry,
    image: OciImage,
    digest: String,
    name: String,
    lab: Lab,
}

impl Pulling {
    async fn new() -> Self {
        let lab = Lab::start();
        let registry = Registry::start();
        let image = image("one");
        let digest = registry.push("team/app", "1", &image);
        let mut config = lab.config();
        config.pull.stall = Duration::from_secs(2);
        let runtime = Containerd::connect(config).await.unwrap();
        let name = format!("{}/team/app:1", registry.address);
        Self { runtime, registry, image, digest, name, lab }
    }

    async fn ensure(&self, policy: PullPolicy) -> Result<Image, ImageError> {
        ensure(&self.runtime, &self.name, policy).await
    }

    async fn fails(&self, policy: PullPolicy) -> String {
        match self.ensure(policy).await {
            Err(ImageError::Pull { cause, .. }) => cause,
            other => panic!("{other:?}"),
        }
    }
}

fn image(version: &str) -> OciImage {
    OciImage::busybox_with(&BTreeMap::from([("version".to_owned(), Node::File(0o644, version.into()))]))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pull_survives_garbage_collection_and_is_done_once() {
    let pulling = Pulling::new().await;
    // Twenty ask at once: one pull.
    let asks = (0..20).map(|_| pulling.ensure(PullPolicy::IfNotPresent));
    let images: Vec<Image> = futures::future::try_join_all(asks).await.unwrap();
    assert!(images.iter().all(|image| image.digest == pulling.digest && image.pulled));
    let requests = pulling.registry.requests();
    assert_eq!(requests.iter().filter(|r| r.contains("/blobs/")).count(), 3, "{requests:?}");
    // Only the image holds it now.
    let lease = pulling.lab.ctr(&["leases", "create"]);
    pulling.lab.ctr(&["leases", "delete", "--sync", lease.trim()]);
    assert_eq!(pulling.lab.ctr(&["leases", "list", "-q"]), "");
    let again = pulling.ensure(PullPolicy::IfNotPresent).await.unwrap();
    assert!(!again.pulled);
    assert_eq!(pulling.registry.requests(), [] as [String; 0]);
    let snapshots = pulling.lab.ctr(&["snapshots", "list"]);
    assert!(snapshots.contains(&again.chain_id) && !snapshots.contains("extract"), "{snapshots}");
    // ctr finds all the content, too.
    let check = pulling.lab.ctr(&["images", "check"]);
    assert!(check.contains("complete (4/4)") || check.contains("complete (3/3)"), "{check}");
}

#[tokio::test(flavor = "multi_thread")]
async fn always_asks_and_pulls_what_changed() {
    let pulling = Pulling::new().await;
    let first = pulling.ensure(PullPolicy::Always).await.unwrap();
    assert!(first.pulled);
    pulling.registry.requests();
    let told = std::sync::atomic::AtomicUsize::new(0);
    let tell = |note| {
        assert_eq!(note, PullNote::Begun);
        told.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
    };
    let keyring = Keyring::default();
    let request = |policy| ImageRequest { reference: &pulling.name, policy, keyring: &keyring };
    assert!(pulling.runtime.ensure_image(request(PullPolicy::Always), &tell).await.unwrap().pulled, "the registry was asked");
    assert!(!pulling.runtime.ensure_image(request(PullPolicy::IfNotPresent), &tell).await.unwrap().pulled);
    assert_eq!(told.into_inner(), 1, "Pulling is told of before a registry is asked, and only then");
    assert_eq!(pulling.registry.requests().iter().filter(|r| r.starts_with("GET /v2/team")).count(), 0);
    let digest = pulling.registry.push("team/app", "1", &image("two"));
    let second = pulling.ensure(PullPolicy::Always).await.unwrap();
    assert!(second.pulled && second.digest == digest && second.chain_id != first.chain_id);
    // The layer both have was not fetched again.
    let requests = pulling.registry.requests();
    assert_eq!(requests.iter().filter(|r| r.contains("/blobs/")).count(), 2, "{requests:?}");

    // A registry in trouble: the local copy. One that says no: no.
    pulling.registry.set(Fault::Status(503));
    assert_eq!(pulling.ensure(PullPolicy::Always).await.unwrap().digest, digest);
    pulling.registry.set(Fault::Status(404));
    pulling.fails(PullPolicy::Always).await;
    pulling.registry.set(Fault::Status(401));
    pulling.fails(PullPolicy::Always).await;
    // Pinned: not asked for at all.
    pulling.registry.requests();
    pulling.lab.ctr(&["images", "label", &pulling.name, "io.cri-containerd.pinned=pinned"]);
    assert_eq!(pulling.ensure(PullPolicy::Always).await.unwrap().digest, digest);
    assert_eq!(pulling.registry.requests(), [] as [String; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_registry_that_is_not_there() {
    let lab = Lab::start();
    let runtime = Containerd::connect(lab.config()).await.unwrap();
    // Nobody listens on the discard port.
    let error = ensure(&runtime, "127.0.0.1:9/x", PullPolicy::IfNotPresent).await.unwrap_err().to_string();
    assert!(
        error.starts_with("failed to pull and unpack image \"127.0.0.1:9/x\": failed to resolve reference \"127.0.0.1:9/x:latest\": "),
        "{error}"
    );
    assert!(error.contains("onnection refused"), "{error}");
    lab.import_busybox("127.0.0.1:9/x:latest");
    let image = ensure(&runtime, "127.0.0.1:9/x", PullPolicy::Always).await.unwrap();
    assert!(!image.pulled);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cut_connection_is_resumed() {
    let pulling = Pulling::new().await;
    let layer = pulling.image.layers[0].clone();
    // Within a pull, as long as each connection brings something.
    pulling.registry.set(Fault::Cut(layer.clone(), 300_000));
    assert!(pulling.ensure(PullPolicy::IfNotPresent).await.unwrap().pulled);
    let requests = pulling.registry.requests();
    let asked: Vec<&String> = requests.iter().filter(|r| r.contains(&layer)).collect();
    let size = pulling.image.blobs[&layer].len();
    assert_eq!(asked.len(), size / 300_000 + 1, "{asked:?}");
    assert!(asked[1].ends_with(" from 300000") && asked[2].ends_with(" from 600000"), "{asked:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pull_goes_on_where_an_earlier_one_stopped() {
    let pulling = Pulling::new().await;
    let layer = pulling.image.layers[0].clone();
    pulling.registry.set(Fault::Stall(layer.clone(), 300_000));
    pulling.fails(PullPolicy::IfNotPresent).await;
    pulling.registry.set(Fault::None);
    pulling.registry.requests();
    assert!(pulling.ensure(PullPolicy::IfNotPresent).await.unwrap().pulled);
    let requests = pulling.registry.requests();
    let resumed = requests.iter().find(|r| r.contains(&layer)).unwrap();
    assert!(resumed.ends_with(" from 300000"), "{requests:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn lies_and_silence_end_in_an_error() {
    let pulling = Pulling::new().await;
    let layer = pulling.image.layers[1].clone();
    pulling.registry.set(Fault::Corrupt(layer.clone()));
    let cause = pulling.fails(PullPolicy::IfNotPresent).await;
    assert!(cause.to_lowercase().contains("digest"), "{cause}");
    let begun = Instant::now();
    pulling.registry.set(Fault::Stall(layer, 10));
    let cause = pulling.fails(PullPolicy::IfNotPresent).await;
    assert!(begun.elapsed() < Duration::from_secs(15), "{:?}", begun.elapsed());
    println!("stall: {cause}");
    // Nothing half-made is used, and the lie does not poison the next try.
    assert!(matches!(pulling.ensure(PullPolicy::Never).await, Err(ImageError::NeverPull { .. })));
    pulling.registry.set(Fault::None);
    // An index that names another manifest than comes.
    pulling.registry.lie_about("team/app", &pulling.image.manifest, &image("two"));
    let cause = pulling.fails(PullPolicy::IfNotPresent).await;
    assert!(cause.starts_with("the manifest is sha256:") && cause.contains(&format!("not {}", pulling.image.manifest)), "{cause}");
    pulling.registry.push("team/app", "1", &pulling.image);
    assert!(pulling.ensure(PullPolicy::IfNotPresent).await.unwrap().pulled);
    let error = ensure(&pulling.runtime, &format!("{}/team/app:nope", pulling.registry.address), PullPolicy::IfNotPresent).await;
    let text = error.unwrap_err().to_string();
    assert!(text.contains("manifest unknown"), "{text}");
}
