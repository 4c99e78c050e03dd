//! hosts.toml: mirrors before the registry, their paths, headers and capabilities.

use std::fs;

use minik8s::runtime::{Containerd, ImageError, PullPolicy};

use crate::lab::Lab;
use crate::lab::image::OciImage;
use crate::registry::{Fault, Registry};
use crate::stage::ensure;

struct Mirrored {
    runtime: Containerd,
    mirror: Registry,
    origin: Registry,
    lab: Lab,
}

/// No name server knows it; only hosts.toml leads anywhere.
const NAME: &str = "registry.invalid/team/app:1";

impl Mirrored {
    async fn new(hosts: impl Fn(&str, &str) -> String) -> Self {
        let lab = Lab::start();
        let (mirror, origin) = (Registry::start(), Registry::start());
        for registry in [&mirror, &origin] {
            registry.push("team/app", "1", &OciImage::busybox());
        }
        let mut config = lab.config();
        config.registry_hosts = lab.dir.join("certs.d");
        fs::create_dir_all(config.registry_hosts.join("registry.invalid")).unwrap();
        let this = Self { runtime: Containerd::connect(config).await.unwrap(), mirror, origin, lab };
        this.write(&hosts(&this.mirror.address, &this.origin.address));
        this
    }

    fn write(&self, hosts: &str) {
        fs::write(self.lab.dir.join("certs.d/registry.invalid/hosts.toml"), hosts).unwrap();
    }

    async fn pulls(&self) {
        let image = ensure(&self.runtime, NAME, PullPolicy::Always).await.unwrap();
        assert!(image.pulled && image.name == NAME, "{image:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mirror_is_asked_first_and_the_registry_for_what_it_lacks() {
    let hosts = |mirror: &str, origin: &str| {
        format!("server = \"http://{origin}\"\n[host.\"http://{mirror}/cache\"]\noverride_path = true\nheader = {{ x-mirror = \"yes\" }}\n")
    };
    let mirrored = Mirrored::new(hosts).await;
    mirrored.mirror.root("/cache/");
    // The manifest is there, the layers are not.
    mirrored.mirror.set(Fault::None);
    mirrored.pulls().await;
    let asked = mirrored.mirror.requests();
    assert!(asked[0].starts_with("GET /cache/team/app/manifests/1?ns=registry.invalid mirror yes"), "{asked:?}");
    assert_eq!(mirrored.origin.requests(), [] as [String; 0]);
    // It is in trouble: the registry itself, by the same name.
    mirrored.mirror.set(Fault::Status(500));
    let digest = mirrored.origin.push("team/app", "1", &OciImage::busybox_with(&std::collections::BTreeMap::new()));
    let image = ensure(&mirrored.runtime, NAME, PullPolicy::Always).await.unwrap();
    assert_eq!(image.digest, digest);
    let asked = mirrored.origin.requests();
    assert!(asked.iter().all(|r| r.contains("/v2/team/app/") && r.contains("?ns=registry.invalid") && !r.contains("mirror")), "{asked:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_that_may_only_be_pulled_from_is_not_asked_for_tags() {
    let hosts =
        |mirror: &str, origin: &str| format!("server = \"http://{origin}\"\n[host.\"http://{mirror}\"]\ncapabilities = [\"pull\"]\n");
    let mirrored = Mirrored::new(hosts).await;
    mirrored.pulls().await;
    let (mirror, origin) = (mirrored.mirror.requests(), mirrored.origin.requests());
    assert!(origin[0].contains("/manifests/1") && origin.len() == 1, "{origin:?}");
    assert!(mirror.iter().all(|r| r.contains("sha256:")) && mirror.iter().any(|r| r.contains("/blobs/")), "{mirror:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_is_wrong_is_named_and_acts_when_it_is_right() {
    let mirrored = Mirrored::new(|_, _| "server = hunter2".to_owned()).await;
    let error = ensure(&mirrored.runtime, NAME, PullPolicy::Always).await.unwrap_err();
    let ImageError::Pull { cause, .. } = &error else { panic!("{error:?}") };
    let expected = "certs.d/registry.invalid/hosts.toml: line 1, column 10: it is no TOML";
    assert!(cause.ends_with(expected) && !cause.contains("hunter2"), "{cause}");
    mirrored.write(&format!("server = \"http://{}\"", mirrored.origin.address));
    mirrored.pulls().await;
}
