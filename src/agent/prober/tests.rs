//! One probe and one hook against servers on the loopback interface.

use std::time::Duration;

use k8s_openapi::api::core::v1::{Container, HTTPGetAction};
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

use super::{HookDone, Outcome, grpc, http, resolve_port, tcp};

const SECOND: Duration = Duration::from_secs(5);

/// Answers each connection with the next of these texts; returns its address and, in the end, what it was asked.
async fn server(answers: Vec<String>) -> (String, tokio::task::JoinHandle<Vec<String>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let task = tokio::spawn(async move {
        let mut asked = Vec::new();
        for answer in answers {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut request = vec![0; 4096];
            let n = stream.read(&mut request).await.unwrap();
            asked.push(String::from_utf8_lossy(&request[..n]).into_owned());
            stream.write_all(answer.as_bytes()).await.unwrap();
        }
        asked
    });
    (address, task)
}

fn answer(status: &str, headers: &str, body: &str) -> String {
    format!("HTTP/1.1 {status}\r\n{headers}content-length: {}\r\nconnection: close\r\n\r\n{body}", body.len())
}

fn action(value: serde_json::Value) -> HTTPGetAction {
    serde_json::from_value(value).unwrap()
}

#[tokio::test]
async fn http_passes_from_200_to_399_and_sends_the_kubelets_headers() {
    let get = action(
        json!({"path": "/healthz?full=1", "port": 1, "httpHeaders": [{"name": "Host", "value": "shop"}, {"name": "X-A", "value": "b"}]}),
    );
    let (address, asked) = server(vec![answer("204 No Content", "", "")]).await;
    assert_eq!(http::probe(&get, &address, SECOND).await, Outcome::Passed(None));
    let asked = asked.await.unwrap().remove(0).to_lowercase();
    assert!(asked.starts_with("get /healthz?full=1 http/1.1\r\n"), "{asked}");
    for line in ["host: shop\r\n", "x-a: b\r\n", "user-agent: kube-probe/1.36\r\n", "accept: */*\r\n"] {
        assert_eq!(asked.matches(line).count(), 1, "{line:?} in {asked}");
    }
    for (status, words) in
        [("404 Not Found", "HTTP probe failed with statuscode: 404"), ("503 Busy", "HTTP probe failed with statuscode: 503")]
    {
        let (address, _) = server(vec![answer(status, "", "secret")]).await;
        assert_eq!(http::probe(&get, &address, SECOND).await, Outcome::Failed(words.into()));
    }
}

#[tokio::test]
async fn redirects_are_followed_on_the_same_host_only() {
    let get = action(json!({"path": "/", "port": 1}));
    let (address, asked) = server(vec![answer("302 Found", "location: /there\r\n", ""), answer("500 Oops", "", "")]).await;
    assert_eq!(http::probe(&get, &address, SECOND).await, Outcome::Failed("HTTP probe failed with statuscode: 500".into()));
    assert!(asked.await.unwrap()[1].starts_with("GET /there "));
    let (address, _) = server(vec![answer("302 Found", "location: http://example.invalid/\r\n", "gone")]).await;
    let warning = "Probe terminated redirects, Response body: gone".to_owned();
    assert_eq!(http::probe(&get, &address, SECOND).await, Outcome::Passed(Some(warning)));
}

#[tokio::test]
async fn nobody_listening_and_nobody_answering_are_said_as_go_says_them() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let silent = listener.local_addr().unwrap().to_string();
    let free = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().to_string();
    let get = action(json!({"path": "/", "port": 1}));
    let refused = format!("dial tcp {free}: connect: connection refused");
    assert_eq!(http::probe(&get, &free, SECOND).await, Outcome::Failed(format!("Get \"http://{free}/\": {refused}")));
    assert_eq!(tcp::probe(&free, SECOND).await, Outcome::Failed(refused));
    assert_eq!(tcp::probe(&silent, SECOND).await, Outcome::Passed(None));
    let Outcome::Failed(words) = http::probe(&get, &silent, Duration::from_millis(50)).await else { panic!("it passed") };
    assert!(words.contains("context deadline exceeded"), "{words}");
    assert!(
        matches!(grpc::probe(&free, "", SECOND).await, Outcome::Failed(words) if words.starts_with("timeout: failed to connect service"))
    );
}

#[tokio::test]
async fn grpc_asks_the_health_service_by_name() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let (reporter, service) = tonic_health::server::health_reporter();
    reporter.set_service_status("up", tonic_health::ServingStatus::Serving).await;
    reporter.set_service_status("down", tonic_health::ServingStatus::NotServing).await;
    let stream = tokio_stream::wrappers::TcpListenerStream::new(listener);
    let serving = tokio::spawn(tonic::transport::Server::builder().add_service(service).serve_with_incoming(stream));
    assert_eq!(grpc::probe(&address, "up", SECOND).await, Outcome::Passed(None));
    let down = Outcome::Failed("service unhealthy (responded with \"NOT_SERVING\")".into());
    assert_eq!(grpc::probe(&address, "down", SECOND).await, down);
    assert!(
        matches!(grpc::probe(&address, "none", SECOND).await, Outcome::Failed(words) if words.starts_with("error: health rpc probe failed"))
    );
    serving.abort();
}

#[tokio::test]
async fn a_hook_takes_any_answer_and_falls_back_to_http() {
    let get = action(json!({"path": "/", "port": 1}));
    let (address, _) = server(vec![answer("500 Oops", "", "")]).await;
    assert_eq!(http::hook(&get, &address).await, Ok(HookDone::Ran));
    let secure =
        action(json!({"path": "/", "port": 1, "scheme": "HTTPS", "httpHeaders": [{"name": "Authorization", "value": "Bearer x"}]}));
    let (address, asked) = server(vec![answer("400 Bad", "", "not TLS"), answer("200 OK", "", "")]).await;
    assert_eq!(http::hook(&secure, &address).await, Ok(HookDone::FellBack(address.clone())));
    assert!(!asked.await.unwrap()[1].to_lowercase().contains("authorization"));
}

#[test]
fn ports_by_number_by_name_and_by_neither() {
    let container: Container = serde_json::from_value(json!({"name": "c", "ports": [{"name": "web", "containerPort": 8080}]})).unwrap();
    let port = |value: serde_json::Value| resolve_port(&serde_json::from_value(value).unwrap(), &container);
    assert_eq!(port(json!(80)), Ok(80));
    assert_eq!(port(json!("web")), Ok(8080));
    assert_eq!(port(json!("81")), Ok(81));
    assert_eq!(port(json!("none")), Err("strconv.Atoi: parsing \"none\": invalid syntax".into()));
    assert_eq!(port(json!(0)), Err("invalid port number: 0".into()));
}
