//! `minik8s agent`: wires the real drivers (`real`) to the agent, runs until told to stop, and drains.
//!
//! Order: state file (one agent per state) → host facts → drivers → API → manifests → reconcile loop → containerd (waited for, adopted) →
//! pod workers. What needs no containerd works without it; what runs is not touched when the agent ends, unless the host goes down with it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::Context as _;
use minik8s::agent::image_gc::ImageGc;
use minik8s::agent::manifests::ManifestSet;
use minik8s::agent::pressure::{Guard, Reclaim};
use minik8s::agent::reconcile::{Inputs, Reconciler};
use minik8s::agent::worker::{PodWorkers, ShutdownPeriods};
use minik8s::agent::{Drivers, clock_steps, housekeeping, manifests};
use minik8s::api::Object;
use minik8s::api::fault::{Fault, Severity};
use minik8s::cli::agent_args::AgentConfig;
use minik8s::clock::{Clock as _, SystemClock};
use minik8s::controllers::pressure::Conditions;
use minik8s::grpc::{self, ApiState, Live};
use minik8s::host;
use minik8s::host::doctor::{self, Level};
use minik8s::metrics::Pulse;
use minik8s::runtime::presence::Presence;
use minik8s::store::embedded::EmbeddedStore;
use sd_notify::NotifyState;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;

mod adoption;
mod alone;
mod monitoring;
mod preload;
mod real;

use adoption::Adoption;
use alone::alone;
use preload::Preload;
use real::RealDrivers;

/// How long ending may take; the containers live on whatever happens.
const DRAIN: Duration = Duration::from_secs(10);

/// Runs the agent until `stop` says so. Errors: what prevents it from starting at all, with what to do.
pub async fn run(config: AgentConfig, stop: watch::Receiver<bool>) -> anyhow::Result<()> {
    for dir in [&config.paths.state, &config.paths.run] {
        std::fs::create_dir_all(dir).with_context(|| format!("cannot make the directory {}", dir.display()))?;
    }
    let _alone = alone(&config)?;
    let state_file = config.paths.state.join("state.redb");
    let (installed, written) = host::landmarks(&state_file);
    let clock = doctor::clock(SystemClock.now(), installed, written);
    if clock.status != Level::Ok {
        tracing::warn!("the clock of this host: {}; {}", clock.message, clock.advice);
    }
    let store = EmbeddedStore::open(state_file)?;
    let metrics = monitoring::listen(config.metrics_address).await?;
    let shutdown = config.shutdown;
    Daemon { real: RealDrivers::new(config, store).await?, shutdown, pulse: Arc::default() }.serve(metrics, stop).await
}

struct Daemon {
    real: RealDrivers,
    shutdown: ShutdownPeriods,
    pulse: Arc<Pulse>,
}

impl Daemon {
    async fn serve(self, metrics: Option<TcpListener>, stop: watch::Receiver<bool>) -> anyhow::Result<()> {
        let drivers = self.real.agents.clone();
        let watcher = manifests::spawn(drivers.paths.manifests.clone()).context("cannot watch the manifests directory")?;
        let (tell_presence, presence) = watch::channel(Presence::Awaited);
        let live = Arc::new(self.real.live()?);
        let state = ApiState { live: Some(live.clone()), ..self.api(&watcher, presence.clone()) };
        let monitoring = monitoring::spawn(metrics, &state);
        let mut api = tokio::spawn(grpc::serve(state, stopped(stop.clone())));
        let workers = PodWorkers::new(drivers.clone());
        let adopted = self.pulse.adopted.clone();
        let (tell, pressure) = watch::channel(None);
        let images = ImageGc::new(drivers.clone());
        let guarding = tokio::spawn(self.guard(&workers, tell, images.clone())?.run());
        let inputs = Inputs { pressure, ..self.inputs(&watcher, &workers, &adopted, presence) };
        let reconciler = Reconciler::new(drivers.clone(), inputs).await?;
        let mut reconciling = tokio::spawn(reconciler.run(stop.clone()));
        let housekeeping = tokio::spawn(housekeeping::run(drivers.store.clone(), drivers.clock.clone()));
        let collecting = tokio::spawn(images.run(watcher.sets.clone()));
        let watching = tokio::spawn(clock_steps::tell(drivers.clock.clone()));
        let preloading = tokio::spawn(Preload::new(drivers.clone(), self.real.containerd.clone()).run());
        let telling = tokio::spawn(tell_faults(watcher.sets.clone()));
        let listening = tokio::spawn(manifests::tell_silence(drivers.paths.manifests.clone(), watcher.looking.clone()));
        tracing::info!(node = drivers.settings.node_name, manifests = %drivers.paths.manifests.display(), "minik8s is running");
        tell_systemd(NotifyState::Ready);
        let adopting = tokio::spawn(self.adoption(tell_presence, workers.clone(), adopted).run());
        // Told to stop, all three end: that must be seen first. Nothing else is cancelled here.
        let outcome = tokio::select! {
            biased;
            () = stopped(stop.clone()) => Ok(()),
            ended = &mut api => ended.context("the API ended unexpectedly")?.context("cannot serve the API"),
            ended = &mut reconciling => match (ended, *stop.borrow()) {
                (Ok(()), true) => Ok(()),
                (Ok(()), false) => Err(anyhow::anyhow!("the reconcile loop ended unexpectedly")),
                (Err(panic), _) => Err(anyhow::Error::from(panic).context("the reconcile loop failed")),
            },
        };
        tell_systemd(NotifyState::Stopping);
        for task in [adopting, housekeeping, collecting, preloading, telling, listening, watching, guarding].into_iter().chain(monitoring) {
            task.abort();
        }
        if outcome.is_ok() {
            self.end(reconciling, &workers, &live).await;
        }
        self.real.leave_nothing_unused().await;
        outcome
    }

    /// Ends what runs in here, and the pods if the host goes down; else they live on.
    async fn end(&self, mut reconciling: JoinHandle<()>, workers: &PodWorkers, live: &Live) {
        // Its outcome no longer matters: what it had decided is committed or will be decided again.
        let mut in_time = reconciling.is_finished() || tokio::time::timeout(DRAIN, &mut reconciling).await.is_ok();
        reconciling.abort();
        if self.shutdown.any() && host::going_down().await {
            let longest = u32::try_from(self.shutdown.longest().as_micros()).unwrap_or(u32::MAX);
            tell_systemd(NotifyState::ExtendTimeoutUsec(longest));
            workers.end_pods(&self.shutdown).await;
        }
        let rest = async { tokio::join!(workers.shutdown(), live.end()) };
        in_time &= tokio::time::timeout(DRAIN, rest).await.is_ok();
        if !in_time {
            tracing::warn!("not everything ended within {} s; the containers live on", DRAIN.as_secs());
        }
    }

    /// What keeps the node from running out. Before a pod goes for want of disk, unused images do.
    fn guard(&self, workers: &Arc<PodWorkers>, tell: watch::Sender<Option<Conditions>>, images: Arc<ImageGc>) -> anyhow::Result<Guard> {
        let reclaim: Reclaim = Arc::new(move |short| {
            let images = images.clone();
            Box::pin(async move {
                if short.is_disk()
                    && let Err(error) = images.free(u64::MAX).await
                {
                    tracing::warn!(%error, "unused images cannot be removed");
                }
            })
        });
        Ok(Guard { drivers: self.real.agents.clone(), usage: self.real.usage()?, workers: workers.clone(), tell, reclaim })
    }

    fn adoption(&self, presence: watch::Sender<Presence>, workers: Arc<PodWorkers>, adopted: Arc<AtomicBool>) -> Adoption {
        let RealDrivers { agents, containerd, socket, .. } = &self.real;
        Adoption { drivers: agents.clone(), containerd: containerd.clone(), socket: socket.clone(), presence, workers, adopted }
    }

    fn api(&self, watcher: &manifests::Watcher, containerd: watch::Receiver<Presence>) -> ApiState {
        let (tell, faults) = watch::channel(Vec::new());
        let mut sets = watcher.sets.clone();
        tokio::spawn(async move {
            while sets.changed().await.is_ok() {
                let now = sets.borrow_and_update().as_ref().map(|s| s.faults.clone()).unwrap_or_default();
                tell.send_replace(now);
            }
        });
        let Drivers { store, clock, paths, settings, .. } = self.real.agents.clone();
        let state = ApiState::new(store, clock, paths, settings.node_name.clone(), containerd, faults);
        ApiState { pulse: self.pulse.clone(), sets: watcher.sets.clone(), ..state }
    }

    fn inputs(
        &self,
        watcher: &manifests::Watcher,
        workers: &Arc<PodWorkers>,
        adopted: &Arc<AtomicBool>,
        runtime: watch::Receiver<Presence>,
    ) -> Inputs {
        let (workers, adopted) = (workers.clone(), adopted.clone());
        let pods = move |_, pod: Arc<Object>| {
            // Before adoption nothing is known about what runs; afterwards every pod is told once more.
            if adopted.load(Ordering::Acquire) {
                workers.changed(pod);
            }
        };
        let (pulse, clock) = (self.pulse.clone(), self.real.agents.clock.clone());
        let beat = move || {
            pulse.beat(&*clock);
            tell_systemd(NotifyState::Watchdog);
        };
        Inputs { sets: watcher.sets.clone(), pods: Arc::new(pods), runtime, pressure: watch::channel(None).1, beat: Arc::new(beat) }
    }
}

/// Nobody listens where the agent was not started by systemd.
fn tell_systemd(state: NotifyState) {
    let _ = sd_notify::notify(&[state]);
}

async fn stopped(mut stop: watch::Receiver<bool>) {
    // The sender lives as long as the process; should it be gone, that is a reason to stop too.
    let _ = stop.wait_for(|stop| *stop).await;
}

/// Says what is wrong with the manifests, each thing once as long as it stays.
async fn tell_faults(mut sets: watch::Receiver<Option<Arc<ManifestSet>>>) {
    let mut told: Vec<Fault> = Vec::new();
    while sets.changed().await.is_ok() {
        let now = sets.borrow_and_update().as_ref().map(|s| s.faults.clone()).unwrap_or_default();
        for fault in now.iter().filter(|f| !told.contains(f)) {
            match fault.severity {
                Severity::Error => tracing::error!("{fault}"),
                Severity::Warning => tracing::warn!("{fault}"),
                Severity::Info => tracing::info!("{fault}"),
            }
        }
        told = now;
    }
}
