//! One private containerd, the built agent on a manifests directory, and the line to its API.

use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use minik8s::grpc::pb::agent_client::AgentClient;
use minik8s::grpc::pb::{GetRequest, InfoRequest, ListRequest};
use serde_json::Value;
use tonic::transport::{Channel, Endpoint};

use crate::floor::Floor;
use crate::lab::Lab;
use crate::marks::Marks;

const NODE: &str = "bench-node";
pub const IMAGE: &str = "docker.io/library/busybox:latest";

/// See the module.
pub struct Stage {
    pub lab: Lab,
    pub floor: Floor,
    pub marks: Marks,
    root: PathBuf,
    agent: Option<Child>,
    api: AgentClient<Channel>,
    bridge: String,
}

impl Stage {
    /// Everything up, no manifest yet.
    pub async fn new() -> anyhow::Result<Stage> {
        let lab = Lab::start();
        lab.import_busybox(IMAGE);
        let root = lab.dir.join("bench");
        for dir in ["manifests", "aside", "state", "run", "pods", "containers", "cni"] {
            std::fs::create_dir_all(root.join(dir))?;
        }
        // As /run is; the lab takes it away with its directory.
        nix::mount::mount(Some("tmpfs"), &root.join("run"), Some("tmpfs"), nix::mount::MsFlags::empty(), Some("mode=0755"))?;
        let socket = root.join("sock");
        let connector = tower::service_fn(move |_| {
            let socket = socket.clone();
            async move { tokio::net::UnixStream::connect(socket).await.map(hyper_util::rt::TokioIo::new) }
        });
        let channel = Endpoint::try_from("http://agent.invalid")?.connect_with_connector_lazy(connector);
        let floor = Floor::new(&lab).await?;
        let marks = Marks::new(&lab.dir.join("out"))?;
        let bridge = format!("mkb{}", std::process::id() % 100_000);
        let mut stage = Stage { lab, floor, marks, root, agent: None, api: AgentClient::new(channel), bridge };
        stage.start_agent().await?;
        Ok(stage)
    }

    /// Starts the agent; how long until its API answers and it has taken over what runs.
    pub async fn start_agent(&mut self) -> anyhow::Result<Duration> {
        let path = self.log_path();
        let known = std::fs::metadata(&path).map_or(0, |m| m.len()) as usize;
        let log = std::fs::File::options().create(true).append(true).open(&path)?;
        let begun = Instant::now();
        self.agent = Some(self.command().stdout(log.try_clone()?).stderr(log).spawn()?);
        while !self.answers().await || !self.log().get(known..).unwrap_or_default().contains("took over what runs") {
            anyhow::ensure!(begun.elapsed() < Duration::from_secs(20), "the agent does not answer");
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        Ok(begun.elapsed())
    }

    fn command(&self) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_minik8s"));
        command.arg("agent");
        for (flag, name) in [
            ("--manifests", "manifests"),
            ("--state-dir", "state"),
            ("--run-dir", "run"),
            ("--pod-logs", "pods"),
            ("--container-logs", "containers"),
            ("--socket", "sock"),
            ("--cni-conf-dir", "cni"),
        ] {
            command.arg(flag).arg(self.root.join(name));
        }
        // The lab removes the cgroups below its own name at the end.
        command.arg("--containerd").arg(self.lab.socket());
        command.args(["--containerd-namespace", &self.lab.namespace, "--cgroup-root", &self.lab.namespace, "--node-name", NODE]);
        command.args(["--bridge-name", &self.bridge, "--pod-cidr", "10.213.0.0/24"]).env("RUST_LOG", "info").stdin(Stdio::null());
        command
    }

    async fn answers(&self) -> bool {
        self.api.clone().info(InfoRequest {}).await.is_ok()
    }

    pub fn agent_pid(&self) -> i32 {
        self.agent.as_ref().map_or(0, |agent| agent.id() as i32)
    }

    /// kill -9.
    pub fn kill_agent(&mut self) -> anyhow::Result<()> {
        if let Some(mut agent) = self.agent.take() {
            agent.kill()?;
            agent.wait()?;
        }
        Ok(())
    }

    /// Not beside the manifests directory: the agent looks up when something there changes.
    fn log_path(&self) -> PathBuf {
        self.lab.dir.join("logs").join("agent.log")
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.log_path()).unwrap_or_default()
    }

    pub fn log_tail(&self) -> String {
        let log = self.log();
        log.get(log.len().saturating_sub(3000)..).unwrap_or(&log).to_owned()
    }

    /// Renames these manifests into the directory, all written before; the instant before the first rename.
    pub fn drop_in(&self, manifests: &[Value]) -> anyhow::Result<Instant> {
        let mut moves = Vec::new();
        for manifest in manifests {
            let file = format!("{}.json", manifest["metadata"]["name"].as_str().context("a name")?);
            let aside = self.root.join("aside").join(&file);
            std::fs::write(&aside, manifest.to_string())?;
            moves.push((aside, self.root.join("manifests").join(file)));
        }
        let begun = Instant::now();
        for (from, to) in moves {
            std::fs::rename(from, to)?;
        }
        Ok(begun)
    }

    /// Removes every manifest but those named, and waits until the other pods are gone.
    pub async fn keep_only(&self, kept: &[&str]) -> anyhow::Result<()> {
        for entry in std::fs::read_dir(self.root.join("manifests"))? {
            let path = entry?.path();
            if !path.file_stem().and_then(|s| s.to_str()).is_some_and(|stem| kept.contains(&stem)) {
                std::fs::remove_file(path)?;
            }
        }
        let deadline = Instant::now() + Duration::from_secs(60);
        while self.pods().await? > kept.len() {
            anyhow::ensure!(Instant::now() < deadline, "pods do not go");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        Ok(())
    }

    async fn pods(&self) -> anyhow::Result<usize> {
        Ok(self.objects("Pod").await?.len())
    }

    /// All objects of a kind.
    pub async fn objects(&self, kind: &str) -> anyhow::Result<Vec<Value>> {
        let request = ListRequest { kind: kind.to_owned(), all_namespaces: true, ..ListRequest::default() };
        let mut stream = self.api.clone().list(request).await?.into_inner();
        let mut all = Vec::new();
        while let Some(part) = stream.message().await? {
            for item in part.items {
                all.push(serde_json::from_slice(&item.json)?);
            }
        }
        Ok(all)
    }

    /// kill -9, and a state and a manifests directory as on the first day. No pod may run.
    pub fn forget_everything(&mut self) -> anyhow::Result<()> {
        self.kill_agent()?;
        for dir in ["manifests", "state"] {
            std::fs::remove_dir_all(self.root.join(dir))?;
            std::fs::create_dir_all(self.root.join(dir))?;
        }
        Ok(())
    }

    /// One object of namespace default.
    pub async fn object(&self, kind: &str, name: &str) -> anyhow::Result<Value> {
        let request = GetRequest { kind: kind.to_owned(), namespace: "default".to_owned(), name: name.to_owned() };
        let found = self.api.clone().get(request).await;
        found.map_or(Ok(Value::Null), |item| Ok(serde_json::from_slice(&item.into_inner().json)?))
    }

    /// Pods gone, the agent ended as asked; the lab removes the rest.
    pub async fn close(mut self) -> anyhow::Result<()> {
        let gone = self.keep_only(&[]).await;
        if let Some(mut agent) = self.agent.take() {
            nix::sys::signal::kill(nix::unistd::Pid::from_raw(agent.id() as i32), nix::sys::signal::Signal::SIGTERM)?;
            anyhow::ensure!(agent.wait()?.success(), "the agent did not end well");
        }
        gone
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        let _ = self.kill_agent();
        let _ = Command::new("ip").args(["link", "del", &self.bridge]).stderr(Stdio::null()).status();
    }
}
