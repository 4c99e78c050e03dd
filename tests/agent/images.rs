//! Images through the built agent: pull secrets, preloaded archives, collection of unused ones.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::lab::image::{Node, OciImage};
use crate::registry::{Login, Registry, other_platform};
use crate::rig::{Rig, phase};

const WAIT: Duration = Duration::from_secs(30);

fn pod(name: &str, image: &str, more: &str) -> String {
    format!(
        "apiVersion: v1\nkind: Pod\nmetadata: {{name: {name}}}\nspec:\n  terminationGracePeriodSeconds: 1\n  containers:\n  - name: main\n    image: {image:?}\n    imagePullPolicy: IfNotPresent\n    command: [sleep, \"900\"]\n{more}"
    )
}

fn secret(registry: &str, password: &str) -> String {
    let config = serde_json::json!({"auths": {registry: {"username": "me", "password": password}}}).to_string();
    format!(
        "apiVersion: v1\nkind: Secret\nmetadata: {{name: login}}\ntype: kubernetes.io/dockerconfigjson\nstringData:\n  .dockerconfigjson: '{config}'\n"
    )
}

fn waiting(rig: &Rig, name: &str) -> (String, String) {
    let found = rig.pods().into_iter().find(|p| p["metadata"]["name"] == format!("{name}-{}", Rig::NODE)).unwrap_or_default();
    let waiting = &found["status"]["containerStatuses"][0]["state"]["waiting"];
    let text = |key: &str| waiting[key].as_str().unwrap_or_default().to_owned();
    (text("reason"), text("message"))
}

fn runs(rig: &Rig, name: &str) -> bool {
    rig.pods().iter().any(|p| p["metadata"]["name"] == format!("{name}-{}", Rig::NODE) && phase(p) == "Running")
}

#[test]
fn a_pull_secret_that_is_missing_then_wrong_then_right() {
    let registry = Registry::start();
    registry.push("team/app", "1", &OciImage::busybox());
    registry.admit(Login::Basic("me", "hunter22"));
    let image = format!("{}/team/app:1", registry.address);
    let rig = Rig::new();
    rig.write("p.yaml", &pod("private", &image, "  imagePullSecrets: [{name: login}]\n"));
    rig.wait("the pull backs off", WAIT, |r| waiting(r, "private").0 == "ImagePullBackOff");
    let events = rig.cli(&["get", "events", "-A"]);
    let missing = "Unable to retrieve some image pull secrets (login); attempting to pull the image may not succeed.";
    assert!(events.contains("FailedToRetrieveImagePullSecret") && events.contains(missing), "{events}");
    let (_, message) = waiting(&rig, "private");
    let expected = format!("Back-off pulling image {image:?}: ErrImagePull: failed to pull and unpack image {image:?}: ");
    assert!(message.starts_with(&expected) && message.ends_with("no basic auth credentials"), "{message}");
    // A wrong one: the next try, after the back-off.
    rig.write("s.yaml", &secret(&registry.address, "wrong-pw-1"));
    rig.wait("it is refused", WAIT, |r| waiting(r, "private").1.contains("401"));
    rig.write("s.yaml", &secret(&registry.address, "hunter22"));
    rig.wait("it runs", Duration::from_secs(60), |r| runs(r, "private"));
    let told = rig.log() + &rig.cli(&["get", "events", "-A"]) + &rig.cli(&["get", "pods", "-A", "-o", "yaml"]);
    assert!(!told.contains("hunter22") && !told.contains("wrong-pw-1"), "a password is told");
    rig.close();
}

#[test]
fn an_image_for_another_machine_fails_alone() {
    let registry = Registry::start();
    registry.push_index("other", "1", &OciImage::busybox(), vec![other_platform()]);
    let rig = Rig::new();
    rig.write("ok.yaml", &pod("ok", "busybox", ""));
    rig.write("bad.yaml", &pod("bad", &format!("{}/other:1", registry.address), ""));
    rig.wait("it backs off", WAIT, |r| waiting(r, "bad").0 == "ImagePullBackOff");
    assert!(waiting(&rig, "bad").1.contains("no match for platform in manifest: linux/"), "{:?}", waiting(&rig, "bad"));
    rig.wait("the other runs", WAIT, |r| runs(r, "ok"));
    let events = rig.cli(&["get", "events", "-A"]);
    for reason in ["Pulling", "Failed", "BackOff"] {
        assert!(events.contains(reason), "{reason}: {events}");
    }
    rig.close();
}

#[test]
fn archives_in_the_state_directory_are_images() {
    let rig = Rig::new();
    let files = BTreeMap::from([("word".to_owned(), Node::File(0o644, b"x".to_vec()))]);
    let dir = rig.dir("state/images");
    std::fs::write(dir.join("app.tar"), OciImage::busybox_with(&files).docker_archive("team/app:1")).unwrap();
    std::fs::write(dir.join("bad.tar"), b"no archive").unwrap();
    rig.wait("it is imported", WAIT, |r| r.log().contains("imported and pinned"));
    rig.write("p.yaml", &pod("loaded", "team/app:1", ""));
    rig.wait("it runs", WAIT, |r| runs(r, "loaded"));
    rig.wait("the bad one is told of", WAIT, |r| r.cli(&["get", "events", "-A"]).contains("FailedToImportImages"));
    std::fs::remove_file(dir.join("app.tar")).unwrap();
    rig.wait("it is no longer pinned", WAIT, |r| r.log().contains("no longer pinned"));
    assert!(runs(&rig, "loaded"));
    rig.close();
}

#[test]
fn unused_images_go_when_the_disk_is_too_full() {
    let rig = Rig::with(|rig| {
        rig.write("p.yaml", &pod("user", "used:1", ""));
        for name in ["used", "unused"] {
            let files = BTreeMap::from([(name.to_owned(), Node::File(0o644, name.into()))]);
            rig.lab.import(&OciImage::busybox_with(&files), &format!("docker.io/library/{name}:1"), &[]);
        }
        let flags = ["--image-gc-high-threshold", "0", "--image-gc-low-threshold", "0", "--minimum-image-ttl-duration", "0s"];
        flags.map(str::to_owned).into()
    });
    rig.wait("it runs", WAIT, |r| runs(r, "user"));
    rig.wait("the unused one goes", WAIT, |r| !r.lab.ctr(&["images", "list", "-q"]).contains("unused:1"));
    let left = rig.lab.ctr(&["images", "list", "-q"]);
    assert_eq!(left.lines().collect::<Vec<_>>(), ["docker.io/library/busybox:latest", "docker.io/library/used:1"], "pinned, in use");
    let events = rig.cli(&["get", "events", "-A"]);
    assert!(events.contains("FreeDiskSpaceFailed") && events.contains("Failed to garbage collect required amount of images."), "{events}");
    rig.close();
}
