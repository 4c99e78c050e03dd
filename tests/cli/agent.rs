//! The API of an agent, served by this process over a real Store, for the built binary to talk to.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;

use minik8s::agent::manifests::ManifestSet;
use minik8s::api::{Kind, Object};
use minik8s::clock::SystemClock;
use minik8s::grpc::{ApiState, serve};
use minik8s::host::Paths;
use minik8s::runtime::presence::Presence;
use minik8s::store::embedded::EmbeddedStore;
use minik8s::store::{Op, Store};
use serde_json::{Value, json};
use tokio::sync::watch;

use super::{minik8s, said};

/// The API of an agent, served by this process over a real Store.
pub struct Agent {
    pub dir: tempfile::TempDir,
    pub store: Arc<EmbeddedStore>,
    pub runtime: tokio::runtime::Runtime,
    /// What the manifests directory is said to say.
    pub sets: watch::Sender<Option<Arc<ManifestSet>>>,
}

impl Agent {
    pub fn start() -> Agent {
        let dir = tempfile::tempdir().expect("a directory");
        let paths = Paths::below(dir.path());
        std::fs::create_dir(&paths.manifests).expect("a directory");
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().expect("a runtime");
        let store = EmbeddedStore::open(paths.state.join("state.redb")).expect("a store");
        let (containerd, faults) = (watch::channel(Presence::Awaited).1, watch::channel(Vec::new()).1);
        let (sets, told) = watch::channel(None);
        let state = ApiState::new(store.clone(), Arc::new(SystemClock), Arc::new(paths), "n1".into(), containerd, faults);
        let state = ApiState { sets: told, ..state };
        runtime.spawn(serve(state, std::future::pending()));
        let agent = Agent { dir, store, runtime, sets };
        while !agent.socket().exists() {
            std::thread::yield_now();
        }
        agent
    }

    pub fn socket(&self) -> PathBuf {
        self.dir.path().join("run/minik8s.sock")
    }

    pub fn put(&self, kind: Kind, value: Value) {
        let object = Object::from_json(kind, value.to_string().as_bytes()).expect("an object");
        self.runtime.block_on(self.store.commit(vec![Op::Put(object)])).expect("a commit");
    }

    pub fn run(&self, args: &[&str]) -> (i32, String, String) {
        said(&minik8s(args).env("MINIK8S_SOCKET", self.socket()).output().expect("it runs"))
    }

    /// What the built binary is started with, for those who do something while it runs.
    pub fn spawn(&self, args: &[&str]) -> std::process::Child {
        let mut command = minik8s(args);
        command.env("MINIK8S_SOCKET", self.socket()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command.spawn().expect("it runs")
    }

    /// With something on stdin.
    pub fn run_with(&self, args: &[&str], input: &str) -> (i32, String, String) {
        let mut command = assert_cmd::Command::from_std(minik8s(args));
        said(&command.env("MINIK8S_SOCKET", self.socket()).write_stdin(input).output().expect("it runs"))
    }

    pub fn write(&self, name: &str, text: &str) -> String {
        let path = self.dir.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap_or(Path::new("/"))).expect("a directory");
        std::fs::write(&path, text).expect("a file");
        path.to_string_lossy().into_owned()
    }
}

pub fn pod(name: &str) -> Value {
    json!({
        "metadata": {"name": name, "namespace": "default", "uid": format!("uid-{name}")},
        "spec": {"nodeName": "n", "containers": [{"name": "c", "image": "i"}]},
        "status": {"phase": "Running", "containerStatuses": [
            {"name": "c", "image": "i", "imageID": "", "ready": true, "restartCount": 0, "state": {"running": {}}}]},
    })
}
