//! Which logins an image calls for.

use k8s_openapi::ByteString;
use serde_json::json;

use super::*;

fn ring(locations: &[&str]) -> Keyring {
    let auths: serde_json::Map<_, _> =
        locations.iter().map(|l| ((*l).to_owned(), json!({"auth": STANDARD.encode(format!("{l}:secret"))}))).collect();
    Keyring::from_config_json(json!({"auths": auths}).to_string().as_bytes()).unwrap()
}

fn users(locations: &[&str], image: &str) -> Vec<String> {
    ring(locations).lookup(image).into_iter().map(|c| c.username).collect()
}

/// Rows after the kubelet's keyring_test.go: a location, an image, whether it is for it.
#[test]
fn a_location_is_for_an_image() {
    let rows = [
        ("123456789012.dkr.ecr.*.example.com", "123456789012.dkr.ecr.eu-1.example.com/a", true),
        ("*.kubernetes.io", "prefix.kubernetes.io/foo", true),
        ("*.kubernetes.io", "kubernetes.io/foo", false),
        ("*.kubernetes.io", "a.b.kubernetes.io/foo", false),
        ("*.*.kubernetes.io", "a.b.kubernetes.io/foo", true),
        ("prefix.*.io", "prefix.kubernetes.io/foo", true),
        ("pre*.kubernetes.io", "prefix.kubernetes.io/foo", true),
        ("*.kubernetes.io/prefix", "registry.kubernetes.io/prefix/a", true),
        ("*.kubernetes.io/prefix", "registry.kubernetes.io/prefixes/a", true),
        ("*.kubernetes.io/prefix", "registry.kubernetes.io/other/a", false),
        ("*.kubernetes.io:5000", "r.kubernetes.io:5000/a", true),
        ("*.kubernetes.io:5000", "r.kubernetes.io:5001/a", false),
        ("*.kubernetes.io:5000", "r.kubernetes.io/a", false),
        ("*.kubernetes.io", "r.kubernetes.io:5000/a", false),
        ("r.io:*", "r.io:5000/a", false),
        ("https://r.io/v2/team", "r.io/team/app", true),
        ("[::1]:5000", "[::1]:5000/app", true),
        ("index.docker.io", "docker.io/library/busybox", true),
        ("https://index.docker.io/v1/", "docker.io/library/busybox", true),
        ("docker.io", "docker.io/library/busybox", true),
        ("https://index.docker.io/v1/", "quay.io/library/busybox", false),
    ];
    for (location, image, expected) in rows {
        assert_eq!(!users(&[location], image).is_empty(), expected, "{location} {image}");
    }
}

#[test]
fn longer_paths_come_first_and_all_are_tried() {
    let locations = ["r.io", "r.io/a", "r.io/a/b", "*.io", "other.io"];
    assert_eq!(users(&locations, "r.io/a/b/c"), ["r.io/a/b", "r.io/a", "r.io", "*.io"]);
    assert_eq!(users(&locations, "r.io/x"), ["r.io", "*.io"]);
    // What matches by itself comes before Docker Hub's own.
    assert_eq!(users(&["docker.io", "index.docker.io"], "docker.io/library/a"), ["docker.io"]);
    assert_eq!(users(&[], "r.io/x"), [] as [&str; 0]);
}

fn secret(name: &str, kind: &str, key: &str, text: &str) -> Secret {
    let mut secret = Secret { type_: Some(kind.to_owned()), ..Secret::default() };
    secret.metadata.name = Some(name.to_owned());
    secret.data = Some(BTreeMap::from([(key.to_owned(), ByteString(text.as_bytes().to_vec()))]));
    secret
}

#[test]
fn secrets_of_both_types_are_read_and_others_are_not() {
    let secrets = [
        secret("new", "kubernetes.io/dockerconfigjson", ".dockerconfigjson", r#"{"auths":{"r.io":{"username":"a","password":"p"}}}"#),
        secret("old", "kubernetes.io/dockercfg", ".dockercfg", r#"{"r.io":{"auth":"Yjpw"}}"#),
        secret("opaque", "Opaque", ".dockerconfigjson", r#"{"auths":{"r.io":{"auth":"Yzpw"}}}"#),
        secret("empty", "kubernetes.io/dockerconfigjson", ".dockerconfigjson", r#"{"auths":null}"#),
    ];
    let found: Vec<String> = Keyring::from_secrets(&secrets).unwrap().lookup("r.io/x").into_iter().map(|c| c.username).collect();
    assert_eq!(found, ["a", "b"]);
}

#[test]
fn faults_name_the_secret_and_no_value() {
    let bad = |text: &str| Keyring::from_secrets([&secret("s", "kubernetes.io/dockerconfigjson", ".dockerconfigjson", text)]);
    for text in [r#"{"auths":{"r.io":{"auth":"aHVudGVyMg=="}}}"#, r#"{"auths":"hunter2"}"#, r#"{"auths":{"r.io":{"auth":"hunter2!"}}}"#] {
        let (name, error) = bad(text).unwrap_err();
        assert_eq!(name, "s");
        assert!(!format!("{error} {error:?}").contains("hunter2") && !error.to_string().contains("aHVud"), "{error}");
    }
}

#[test]
fn programs_that_know_logins_are_named() {
    let ring =
        Keyring::from_config_json(br#"{"auths":{"r.io":{}},"credsStore":"pass","credHelpers":{"r.io":"x"},"HttpHeaders":{}}"#).unwrap();
    assert_eq!(ring.passed_over(), ["credsStore", "credHelpers"]);
    assert!(Keyring::from_config_json(b"{}").unwrap().passed_over().is_empty());
}

#[test]
fn nothing_prints_a_password() {
    let ring = ring(&["r.io"]);
    assert!(!format!("{ring:?}").contains("secret"), "{ring:?}");
    let credential = Credential { username: "me".into(), password: "hunter2".into() };
    let sent = STANDARD.encode("me:hunter2");
    assert_eq!(credential.redact(format!("bad password hunter2 in Basic {sent}")), "bad password <redacted> in Basic <redacted>");
}
