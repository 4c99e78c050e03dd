//! Logins: which are shown to a registry, in which order, and that none is ever repeated.

use minik8s::config::Keyring;
use minik8s::runtime::{Containerd, Image, ImageError, ImageRequest, PullPolicy, Runtime};

use crate::lab::Lab;
use crate::lab::image::OciImage;
use crate::registry::{Login, Registry};

struct Private {
    runtime: Containerd,
    registry: Registry,
    name: String,
    lab: Lab,
}

impl Private {
    async fn new(login: Login) -> Self {
        let lab = Lab::start();
        let registry = Registry::start();
        registry.push("team/app", "1", &OciImage::busybox());
        registry.admit(login);
        let mut config = lab.config();
        config.registry_config = lab.dir.join("config.json");
        let runtime = Containerd::connect(config).await.unwrap();
        let name = format!("{}/team/app:1", registry.address);
        Self { runtime, registry, name, lab }
    }

    /// `(place below the registry, user, password)`.
    fn config(&self, logins: &[(&str, &str, &str)]) -> Vec<u8> {
        let auths: serde_json::Map<String, serde_json::Value> = logins
            .iter()
            .map(|(place, user, password)| {
                (format!("{}{place}", self.registry.address), serde_json::json!({"username": user, "password": password}))
            })
            .collect();
        serde_json::json!({ "auths": auths }).to_string().into_bytes()
    }

    async fn ensure(&self, logins: &[(&str, &str, &str)]) -> Result<Image, ImageError> {
        let keyring = Keyring::from_config_json(&self.config(logins)).unwrap();
        let request = ImageRequest { reference: &self.name, policy: PullPolicy::Always, keyring: &keyring };
        self.runtime.ensure_image(request, &|_| {}).await
    }

    async fn denied(&self, logins: &[(&str, &str, &str)]) -> String {
        match self.ensure(logins).await {
            Err(error @ ImageError::Pull { .. }) => error.to_string(),
            other => panic!("{other:?}"),
        }
    }
}

const DENIED: &str = "pull access denied, repository does not exist or may require authorization: ";

#[tokio::test(flavor = "multi_thread")]
async fn a_name_and_a_password() {
    let private = Private::new(Login::Basic("me", "hunter22")).await;
    let words = private.denied(&[]).await;
    assert!(words.contains(DENIED) && words.ends_with("no basic auth credentials"), "{words}");
    let words = private.denied(&[("", "me", "wrong-pw")]).await;
    assert!(words.contains(DENIED) && words.contains("401") && !words.contains("wrong-pw"), "{words}");
    assert!(matches!(private.runtime_never().await, Err(ImageError::NeverPull { .. })));
    // One that is for a part of it comes first; a wrong one does not keep the right one from being tried.
    private.registry.requests();
    assert!(private.ensure(&[("/team", "other", "wrong-pw"), ("", "me", "hunter22")]).await.unwrap().pulled);
    let refused = private.registry.requests().iter().take_while(|r| !r.contains("/blobs/")).filter(|r| r.contains("/manifests/1")).count();
    assert_eq!(refused, 4, "each login is asked for, then shown");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_nodes_own_logins_come_last_and_are_read_anew() {
    let private = Private::new(Login::Basic("node", "hunter22")).await;
    let file = private.lab.dir.join("config.json");
    std::fs::write(&file, "{ no json").unwrap();
    private.denied(&[]).await;
    std::fs::write(&file, private.config(&[("", "node", "hunter22")])).unwrap();
    assert!(private.ensure(&[("", "pod", "wrong-pw")]).await.unwrap().pulled);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_and_another_when_it_is_used_up() {
    let private = Private::new(Login::Bearer("me", "hunter22", 2)).await;
    let words = private.denied(&[("", "me", "wrong-pw")]).await;
    assert!(words.contains("failed to authorize: failed to fetch token: ") && words.contains("401"), "{words}");
    // The registry repeated the header; we do not.
    assert!(words.contains("who is Basic <redacted>") && !words.contains("wrong-pw"), "{words}");
    assert!(private.ensure(&[("", "me", "hunter22")]).await.unwrap().pulled);
    assert!(private.registry.tokens() >= 2, "a token that expires in the middle is replaced");
    let token = private.registry.requests().into_iter().find(|r| r.contains("/token?")).unwrap();
    assert!(token.ends_with("/token?service=test&scope=repository%3Ateam%2Fapp%3Apull"), "{token}");
}

impl Private {
    async fn runtime_never(&self) -> Result<Image, ImageError> {
        crate::stage::ensure(&self.runtime, &self.name, PullPolicy::Never).await
    }
}
