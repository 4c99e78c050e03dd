//! hosts.toml → endpoints, row by row.

use std::path::Path;

use super::hosts::*;

fn parsed(text: &str, domain: &str) -> Vec<Endpoint> {
    parse(text, Path::new("/c"), domain).unwrap().0
}

fn bases(text: &str, domain: &str) -> Vec<String> {
    parsed(text, domain).into_iter().map(|e| e.base).collect()
}

#[test]
fn hosts_come_in_the_files_order_and_the_server_last() {
    let text = "server = \"https://up.example\"\n[host.\"https://z.example\"]\n[host.\"http://a.example:5000\"]\n";
    assert_eq!(bases(text, "docker.io"), ["https://z.example/v2", "http://a.example:5000/v2", "https://up.example/v2"]);
    // Without a server: the registry itself.
    assert_eq!(bases("[host.\"m.example\"]", "docker.io"), ["https://m.example/v2", "https://registry-1.docker.io/v2"]);
    assert_eq!(bases("", "r.example:5000"), ["https://r.example:5000/v2"]);
}

#[test]
fn paths_get_their_version_unless_told() {
    let rows = [
        ("https://m.example", "https://m.example/v2"),
        ("https://m.example/", "https://m.example/v2"),
        ("https://m.example/v2", "https://m.example/v2"),
        ("https://m.example/v2/proxy", "https://m.example/v2/proxy/v2"),
        ("m.example:443//a", "https://m.example:443/a/v2"),
    ];
    for (server, expected) in rows {
        assert_eq!(bases(&format!("server = {server:?}"), "r.example"), [expected], "{server}");
    }
    assert_eq!(bases("server = \"https://m.example/v2/proxy\"\noverride_path = true", "r.example"), ["https://m.example/v2/proxy"]);
    assert_eq!(bases("server = \"https://m.example\"\noverride_path = true", "r.example"), ["https://m.example"]);
}

#[test]
fn capabilities_say_what_a_host_is_asked_for() {
    let of = |text: &str| {
        let endpoint = parsed(&format!("[host.\"m.example\"]\n{text}"), "r.example").remove(0);
        (endpoint.resolve, endpoint.pull)
    };
    assert_eq!(of(""), (true, true));
    assert_eq!(of("capabilities = [\"pull\"]"), (false, true));
    assert_eq!(of("capabilities = [\"Resolve\", \"push\"]"), (true, false));
}

#[test]
fn certificates_may_be_given_in_every_form() {
    let tls = |text: &str| parsed(text, "r.example").remove(0).tls;
    assert_eq!(tls("ca = \"ca.pem\"").ca, [Path::new("/c/ca.pem")]);
    assert_eq!(tls("ca = [\"a.pem\", \"/abs/b.pem\"]").ca, [Path::new("/c/a.pem"), Path::new("/abs/b.pem")]);
    assert_eq!(tls("client = \"both.pem\"").client, [("/c/both.pem".into(), None)]);
    assert_eq!(tls("client = [\"both.pem\"]").client, [("/c/both.pem".into(), None)]);
    assert_eq!(tls("client = [[\"c.pem\", \"k.pem\"]]").client, [("/c/c.pem".into(), Some("/c/k.pem".into()))]);
    assert!(tls("skip_verify = true").skip_verify);
    let docker = certificates(Path::new("/d"), &["x.crt".into(), "me.cert".into(), "me.key".into(), "README".into()]);
    assert_eq!((docker.ca, docker.client), (vec!["/d/x.crt".into()], vec![("/d/me.cert".into(), Some("/d/me.key".into()))]));
}

#[test]
fn mirrors_are_told_whose_images_are_meant() {
    let namespace = |host: &str, domain: &str| parsed(&format!("server = {host:?}"), domain).remove(0).namespace;
    assert_eq!(namespace("https://m.example", "quay.io").as_deref(), Some("quay.io"));
    assert_eq!(namespace("https://quay.io", "quay.io"), None);
    assert_eq!(namespace("https://registry-1.docker.io", "docker.io"), None);
}

#[test]
fn headers_are_sent_and_never_printed() {
    let endpoint = parsed("server = \"m.example\"\n[header]\nx-a = \"hunter2\"\nx-b = [\"1\", \"2\"]", "r.example").remove(0);
    let expected = [("x-a", "hunter2"), ("x-b", "1"), ("x-b", "2")].map(|(k, v)| (k.to_owned(), v.to_owned()));
    assert_eq!(endpoint.headers, expected);
    assert!(!format!("{endpoint:?}").contains("hunter2"));
}

#[test]
fn faults_say_where_and_never_what() {
    let fault = |text: &str| parse(text, Path::new("/c"), "r.example").unwrap_err();
    assert_eq!(fault("server = \"m\"\n[header]\nx = hunter2"), "line 3, column 5: it is no TOML");
    assert_eq!(fault("server = 1"), "server: it must be a string");
    assert_eq!(fault("host = []"), "host: it must be a table, [host.\"https://mirror.example\"]");
    assert_eq!(fault("[host.\"m\"]\ncapabilities = [\"fly\"]"), "host \"m\": unknown capability \"fly\"; there are pull, resolve and push");
    assert_eq!(fault("[host.\"ftp://m\"]"), "host \"ftp://m\": it must be a URL of scheme, host and path alone");
    assert_eq!(fault("server = \"httpx://m\""), "it must be an http or https URL");
    assert_eq!(fault("dial_timeout = \"soon\""), "dial_timeout: \"soon\" is no duration such as 5s");
    assert_eq!(fault("client = [[\"a\", \"b\", \"c\"]]"), "client: an entry is a file, or a certificate and its key");
    for text in ["ca = 1", "skip_verify = \"hunter2\"", "header = \"hunter2\""] {
        let words = fault(text);
        assert!(!words.is_empty() && !words.contains("hunter2"), "{words}");
    }
    assert_eq!(parse("a = 1\n[host.\"m\"]\nb = 2", Path::new("/c"), "r").unwrap().1, ["b", "a"]);
}

#[test]
fn directories_are_looked_for_by_host_and_port() {
    assert_eq!(directories("r.example:5000"), ["r.example_5000_", "r.example:5000", "_default"]);
    assert_eq!(directories("docker.io"), ["docker.io", "_default"]);
}

#[test]
fn only_this_host_is_spoken_to_in_the_clear() {
    for domain in ["localhost", "localhost:5000", "127.0.0.1:5000", "127.1.2.3", "[::1]:5000", "[::1]"] {
        assert!(registry(domain, Tls::default()).base.starts_with("http://"), "{domain}");
        // Who gives it certificates means TLS.
        assert!(registry(domain, Tls { skip_verify: true, ..Tls::default() }).base.starts_with("https://"), "{domain}");
    }
    for domain in ["docker.io", "127.0.0.1.evil.org", "localhost.evil.org:80", "10.0.0.1:5000", "[fe80::1]:5000"] {
        assert!(registry(domain, Tls::default()).base.starts_with("https://"), "{domain}");
    }
}
