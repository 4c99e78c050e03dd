//! minik8s: the command line. `minik8s agent` is the daemon, the rest talks to it or works offline.

mod daemon;

use std::path::PathBuf;

#[derive(clap::Parser)]
struct Temp {
    cmd: String,
    #[arg(long)] root: PathBuf,
    #[arg(long)] containerd: PathBuf,
    #[arg(long)] ns: String,
}

fn main() -> std::process::ExitCode {
    let args: Vec<_> = std::env::args_os().collect();
    if args.get(1).is_some_and(|a| a == minik8s::logs::LOGGER_ARGUMENT) {
        return minik8s::logs::logger_main(args.get(2).cloned());
    }
    let t = <Temp as clap::Parser>::parse();
    tracing_subscriber::fmt().with_writer(std::io::stderr).init();
    let r = &t.root;
    let paths = minik8s::host::Paths { manifests: r.join("manifests"), state: r.join("state"), run: r.join("run"), pod_logs: r.join("pods"), container_logs: r.join("containers"), socket: r.join("sock") };
    let config = daemon::DaemonConfig { paths, settings: minik8s::agent::Settings { node_name: "n1".into(), ..Default::default() }, containerd: t.containerd, namespace: t.ns, snapshotter: None, runtime_binary: None, cgroup_root: "mktemp".into(), cgroup_driver: None, network: Box::new(|n| n.bridge.name = "mktest".into()) };
    let rt = tokio::runtime::Runtime::new().unwrap();
    rt.block_on(async {
        let (tx, rx) = tokio::sync::watch::channel(false);
        tokio::spawn(async move { tokio::signal::ctrl_c().await.unwrap(); tx.send_replace(true); std::future::pending::<()>().await; });
        if let Err(e) = daemon::run(config, rx).await { eprintln!("{e:#}"); }
    });
    std::process::ExitCode::SUCCESS
}
