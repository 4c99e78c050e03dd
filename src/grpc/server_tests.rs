//! The server on a real socket, asked by the generated client.

use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::PathBuf;
use std::sync::Arc;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{ConfigMap, Pod};
use tokio::sync::{oneshot, watch};
use tokio_stream::StreamExt;
use tonic::Code;
use tonic::transport::{Channel, Endpoint};

use super::*;
use crate::api::well_known::SOURCE;
use crate::api::{Kind, Object};
use crate::clock::Clock;
use crate::grpc::pb::agent_client::AgentClient;
use crate::grpc::pb::watch_event::Type;
use crate::grpc::pb::{ManifestFile, WatchRequest};
use crate::host::Paths;
use crate::runtime::presence::Presence;
use crate::store::embedded::EmbeddedStore;
use crate::store::{Op, Store};

struct At(Timestamp);

#[async_trait::async_trait]
impl Clock for At {
    fn now(&self) -> Timestamp {
        self.0
    }

    async fn sleep_until(&self, _: Timestamp) {
        std::future::pending().await
    }
}

struct Fixture {
    dir: tempfile::TempDir,
    store: Arc<EmbeddedStore>,
    stop: Option<oneshot::Sender<()>>,
    server: tokio::task::JoinHandle<Result<(), SocketError>>,
}

fn state(dir: &std::path::Path, store: Arc<EmbeddedStore>) -> ApiState {
    let clock = Arc::new(At("2026-01-01T00:00:00Z".parse().unwrap()));
    let containerd = watch::channel(Presence::Up("1.6.20".to_owned())).1;
    ApiState::new(store, clock, Arc::new(Paths::below(dir)), "n1".into(), containerd, watch::channel(Vec::new()).1)
}

impl Fixture {
    async fn start() -> Fixture {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("manifests")).unwrap();
        let store = EmbeddedStore::open(dir.path().join("state/state.redb")).unwrap();
        let (stop, stopped) = oneshot::channel::<()>();
        let served = serve(state(dir.path(), store.clone()), async {
            let _ = stopped.await;
        });
        let server = tokio::spawn(served);
        let fixture = Fixture { dir, store, stop: Some(stop), server };
        while !fixture.socket().exists() {
            tokio::task::yield_now().await;
        }
        fixture
    }

    fn socket(&self) -> PathBuf {
        self.dir.path().join("run/minik8s.sock")
    }

    async fn client(&self) -> AgentClient<Channel> {
        AgentClient::new(channel(self.socket()).await)
    }
}

async fn channel(path: PathBuf) -> Channel {
    let connect = tower::service_fn(move |_| {
        let path = path.clone();
        async move { tokio::net::UnixStream::connect(path).await.map(hyper_util::rt::TokioIo::new) }
    });
    Endpoint::from_static("http://minik8s").connect_with_connector(connect).await.unwrap()
}

fn pod(name: &str, app: &str) -> Object {
    let mut pod = Pod::default();
    pod.metadata.name = Some(name.into());
    pod.metadata.namespace = Some("default".into());
    pod.metadata.uid = Some(format!("uid-{name}"));
    pod.metadata.labels = Some([("app".to_owned(), app.to_owned())].into());
    pod.into()
}

fn all(kind: Kind) -> ListRequest {
    ListRequest { kind: kind.as_str().into(), all_namespaces: true, ..ListRequest::default() }
}

fn name(item: &Item) -> String {
    let json: serde_json::Value = serde_json::from_slice(&item.json).unwrap();
    json["metadata"]["name"].as_str().unwrap().to_owned()
}

async fn names(client: &mut AgentClient<Channel>, request: ListRequest) -> (Vec<String>, Vec<String>) {
    let mut stream = client.list(request).await.unwrap().into_inner();
    let (mut found, mut missing) = (Vec::new(), Vec::new());
    while let Some(message) = stream.next().await {
        let message = message.unwrap();
        found.extend(message.items.iter().map(name));
        missing.extend(message.missing);
    }
    (found, missing)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn list_filters_and_get_answers_in_kubernetes_words() {
    let fixture = Fixture::start().await;
    fixture.store.commit(vec![Op::Put(pod("a", "web")), Op::Put(pod("b", "db")), Op::Put(pod("c", "web"))]).await.unwrap();
    let mut client = fixture.client().await;
    assert_eq!(names(&mut client, all(Kind::Pod)).await.0, ["a", "b", "c"]);
    let web = ListRequest { label_selector: "app=web".into(), ..all(Kind::Pod) };
    assert_eq!(names(&mut client, web).await.0, ["a", "c"]);
    let other = ListRequest { all_namespaces: false, namespace: "kube-system".into(), ..all(Kind::Pod) };
    assert!(names(&mut client, other).await.0.is_empty());
    let named = ListRequest { names: vec!["b".into(), "x".into()], ..all(Kind::Pod) };
    assert_eq!(names(&mut client, named).await, (vec!["b".to_owned()], vec!["x".to_owned()]));
    let bad = client.list(ListRequest { label_selector: "a b".into(), ..all(Kind::Pod) }).await.unwrap_err();
    assert_eq!(bad.code(), Code::InvalidArgument);
    let request = |name: &str| GetRequest { kind: "Pod".into(), namespace: "default".into(), name: name.into() };
    assert_eq!(name(&client.get(request("a")).await.unwrap().into_inner()), "a");
    let missing = client.get(request("x")).await.unwrap_err();
    assert_eq!((missing.code(), missing.message()), (Code::NotFound, "pods \"x\" not found"));
    let info = client.info(InfoRequest {}).await.unwrap().into_inner();
    assert_eq!((info.node_name.as_str(), info.containerd_version.as_str()), ("n1", "1.6.20"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_large_list_comes_in_several_messages() {
    let fixture = Fixture::start().await;
    let big = |i: usize| {
        let mut map = ConfigMap { data: Some([("v".to_owned(), "x".repeat(100_000))].into()), ..ConfigMap::default() };
        map.metadata.name = Some(format!("m{i:02}"));
        map.metadata.namespace = Some("default".into());
        Op::Put(map.into())
    };
    fixture.store.commit((0..50).map(big).collect()).await.unwrap();
    let mut stream = fixture.client().await.list(all(Kind::ConfigMap)).await.unwrap().into_inner();
    let (mut messages, mut items) = (0, 0);
    while let Some(message) = stream.next().await {
        messages += 1;
        items += message.unwrap().items.len();
    }
    assert_eq!((messages, items), (5, 50));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_watch_shows_what_is_there_then_every_change() {
    let fixture = Fixture::start().await;
    fixture.store.commit(vec![Op::Put(pod("a", "web")), Op::Put(pod("other", "db"))]).await.unwrap();
    let what = Some(ListRequest { label_selector: "app=web".into(), ..all(Kind::Pod) });
    let mut events = fixture.client().await.watch(WatchRequest { what }).await.unwrap().into_inner();
    let mut next = async || {
        let event = events.next().await.unwrap().unwrap();
        (event.r#type(), event.item.as_ref().map(name).unwrap_or_default())
    };
    assert_eq!(next().await, (Type::Added, "a".into()));
    assert_eq!(next().await, (Type::Bookmark, String::new()));
    for op in [
        Op::Put(pod("b", "web")),
        Op::Put(pod("ignored", "db")),
        Op::Put(pod("a", "web")),
        Op::Put(pod("b", "db")),
        Op::Delete { key: pod("a", "").key(), uid: None },
    ] {
        fixture.store.commit(vec![op]).await.unwrap();
    }
    assert_eq!(next().await, (Type::Added, "b".into()));
    assert_eq!(next().await, (Type::Modified, "a".into()));
    assert_eq!(next().await, (Type::Deleted, "b".into()), "it no longer matches");
    assert_eq!(next().await, (Type::Deleted, "a".into()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn apply_writes_files_and_delete_takes_them_away() {
    let fixture = Fixture::start().await;
    let mut client = fixture.client().await;
    let text = "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: a\ndata: {v: '1'} # one\n---\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: b}\n";
    let request = |text: &str| ApplyRequest { files: vec![ManifestFile { name: "x.yaml".into(), content: text.into() }], dry_run: false };
    let outcomes = |response: ApplyResponse| response.results.into_iter().map(|r| format!("{} {}", r.name, r.outcome)).collect::<Vec<_>>();
    assert_eq!(outcomes(client.apply(request(text)).await.unwrap().into_inner()), ["a created", "b created"]);
    let changed = text.replace("'1'", "'2'");
    assert_eq!(outcomes(client.apply(request(&changed)).await.unwrap().into_inner()), ["a configured", "b unchanged"]);
    let file = fixture.dir.path().join("manifests/configmap-default-a.yaml");
    assert!(std::fs::read_to_string(&file).unwrap().ends_with("data: {v: '2'} # one\n"));
    let bad = client.apply(request("kind: ConfigMap\nmetadata: {name: c}\n---\nkind: {")).await.unwrap().into_inner();
    assert!(bad.results.is_empty() && bad.faults[0].severity == "error");
    assert!(!fixture.dir.path().join("manifests/configmap-default-c.yaml").exists(), "nothing is written if one has an error");
    let mut stored = ConfigMap::default();
    stored.metadata.name = Some("a".into());
    stored.metadata.namespace = Some("default".into());
    stored.metadata.annotations = Some([(SOURCE.to_owned(), "configmap-default-a.yaml#0".to_owned())].into());
    fixture.store.commit(vec![Op::Put(stored.into())]).await.unwrap();
    let request = DeleteRequest { kind: "ConfigMap".into(), namespace: "default".into(), name: "a".into(), ..DeleteRequest::default() };
    let deleted = client.delete(request).await.unwrap().into_inner();
    assert_eq!(deleted.file, "configmap-default-a.yaml");
    assert!(!file.exists());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn deleting_a_pod_marks_it_and_only_shortens_the_grace() {
    let fixture = Fixture::start().await;
    let mut bound = pod("a", "web").as_pod().unwrap().clone();
    bound.spec.get_or_insert_default().node_name = Some("n".into());
    fixture.store.commit(vec![Op::Put(bound.into())]).await.unwrap();
    let mut client = fixture.client().await;
    let mut delete = async |grace_seconds| {
        let request =
            DeleteRequest { kind: "Pod".into(), namespace: "default".into(), name: "a".into(), grace_seconds, ..DeleteRequest::default() };
        client.delete(request).await.unwrap();
        let stored = fixture.store.get(&pod("a", "").key()).unwrap();
        let meta = stored.meta().clone();
        (meta.deletion_grace_period_seconds.unwrap(), meta.deletion_timestamp.unwrap().0.to_string())
    };
    assert_eq!(delete(None).await, (30, "2026-01-01T00:00:30Z".into()));
    assert_eq!(delete(Some(60)).await, (30, "2026-01-01T00:00:30Z".into()));
    assert_eq!(delete(Some(5)).await, (5, "2026-01-01T00:00:05Z".into()));
    let missing = DeleteRequest { kind: "Job".into(), namespace: "default".into(), name: "x".into(), ..DeleteRequest::default() };
    assert_eq!(client.delete(missing).await.unwrap_err().message(), "jobs.batch \"x\" not found");
    let orphan = DeleteRequest { kind: "Pod".into(), name: "a".into(), cascade: "orphan".into(), ..DeleteRequest::default() };
    assert_eq!(client.delete(orphan).await.unwrap_err().code(), Code::InvalidArgument);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_clients_at_once_are_all_served_and_silent_ones_hold_nobody_up() {
    let fixture = Fixture::start().await;
    fixture.store.commit(vec![Op::Put(pod("a", "web"))]).await.unwrap();
    let mut silent = Vec::new();
    for _ in 0..20 {
        silent.push(tokio::net::UnixStream::connect(fixture.socket()).await.unwrap());
    }
    let tasks: Vec<_> = (0..1000)
        .map(|_| {
            let socket = fixture.socket();
            tokio::spawn(async move { names(&mut AgentClient::new(channel(socket).await), all(Kind::Pod)).await.0 })
        })
        .collect();
    for task in tasks {
        assert_eq!(task.await.unwrap(), ["a"]);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_socket_is_private_guarded_and_goes_with_the_server() {
    let mut fixture = Fixture::start().await;
    assert_eq!(fixture.socket().metadata().unwrap().permissions().mode() & 0o777, 0o660);
    assert_eq!(fixture.socket().parent().unwrap().metadata().unwrap().mode() & 0o777, 0o755);
    let second = serve(state(fixture.dir.path(), fixture.store.clone()), std::future::pending()).await;
    assert!(matches!(second, Err(SocketError::InUse { .. })));
    let mut health = tonic_health::pb::health_client::HealthClient::new(channel(fixture.socket()).await);
    let request = tonic_health::pb::HealthCheckRequest { service: "minik8s.v1.Agent".into() };
    assert_eq!(health.check(request).await.unwrap().into_inner().status, 1);
    fixture.stop.take().unwrap().send(()).unwrap();
    drop(health);
    fixture.server.await.unwrap().unwrap();
    assert!(!fixture.dir.path().join("run/minik8s.sock").exists());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_socket_that_was_removed_is_made_again_and_another_file_in_its_place_is_left_alone() {
    let fixture = Fixture::start().await;
    let before = fixture.client().await;
    std::fs::remove_file(fixture.socket()).unwrap();
    let again = async {
        while !fixture.socket().exists() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), again).await.unwrap();
    for mut client in [before, fixture.client().await] {
        names(&mut client, all(Kind::Pod)).await;
    }
    let path = fixture.dir.path().join("run/other");
    std::fs::write(&path, "theirs").unwrap();
    assert!(socket::bind_again(&path).is_none() && std::fs::read_to_string(&path).unwrap() == "theirs");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_client_too_many_is_told_so_and_served_when_another_ends() {
    let fixture = Fixture::start().await;
    let mut watching = Vec::new();
    for _ in 0..socket::CONNECTIONS {
        let mut client = fixture.client().await;
        let request = WatchRequest { what: Some(all(Kind::Pod)) };
        let mut events = client.watch(request).await.unwrap().into_inner();
        events.message().await.unwrap();
        watching.push((client, events));
    }
    let refused = fixture.client().await.list(all(Kind::Pod)).await.err().unwrap();
    assert_eq!(refused.code(), Code::ResourceExhausted);
    assert!(refused.message().starts_with("the agent serves 128 clients already"), "{refused}");
    watching.pop();
    names(&mut fixture.client().await, all(Kind::Pod)).await;
}

#[tokio::test]
async fn a_dead_agents_socket_is_replaced_and_another_file_is_not() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("s.sock");
    drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
    assert!(path.exists());
    drop(socket::bind(&path).unwrap());
    std::fs::remove_file(&path).unwrap();
    std::fs::write(&path, "mine").unwrap();
    assert!(matches!(socket::bind(&path), Err(SocketError::NoSocket { .. })));
    let long = dir.path().join("x".repeat(200)).join("s.sock");
    assert!(matches!(socket::bind(&long), Err(SocketError::Io { .. })));
}
