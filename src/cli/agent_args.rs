//! The flags of `minik8s agent`, each also an environment variable MINIK8S_*. What was typed is checked here; what it means on this host is
//! [`AgentConfig`], made by [`AgentArgs::resolve`].

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use k8s_openapi::api::core::v1::Taint;

use super::flag_values as values;
use crate::agent::Settings;
use crate::agent::worker::ShutdownPeriods;
use crate::controllers::pressure;
use crate::host::Paths;
use crate::runtime::images::gc::GcPolicy;
use crate::telemetry::LogFormat;

/// Who makes cgroups.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum CgroupDriverChoice {
    /// systemd where it is the init system, else cgroupfs.
    Auto,
    /// Slices and scopes of systemd.
    Systemd,
    /// Directories in the cgroup file system.
    Cgroupfs,
}

/// Run the agent: the manifests of a directory as containers on this host.
#[derive(Clone, Debug, clap::Args)]
pub struct AgentArgs {
    /// The directory of manifests.
    #[arg(long, env = "MINIK8S_MANIFESTS", default_value = "/etc/minik8s", value_name = "DIR", value_parser = values::absolute, help_heading = "Places")]
    manifests: PathBuf,
    /// Durable state: what has run, emptyDirs, claims.
    #[arg(long, env = "MINIK8S_STATE_DIR", default_value = "/var/lib/minik8s", value_name = "DIR", value_parser = values::absolute, help_heading = "Places")]
    state_dir: PathBuf,
    /// What does not survive a reboot: the socket, namespaces.
    #[arg(long, env = "MINIK8S_RUN_DIR", default_value = "/run/minik8s", value_name = "DIR", value_parser = values::absolute, help_heading = "Places")]
    run_dir: PathBuf,
    /// Containers' logs.
    #[arg(long, env = "MINIK8S_POD_LOGS", default_value = "/var/log/pods", value_name = "DIR", value_parser = values::absolute, help_heading = "Places")]
    pod_logs: PathBuf,
    /// Links to containers' logs, for log collectors.
    #[arg(long, env = "MINIK8S_CONTAINER_LOGS", default_value = "/var/log/containers", value_name = "DIR", value_parser = values::absolute, help_heading = "Places")]
    container_logs: PathBuf,
    /// The socket of the API [default: <run-dir>/minik8s.sock].
    #[arg(long, env = "MINIK8S_SOCKET", value_name = "PATH", value_parser = values::socket, help_heading = "Places")]
    socket: Option<PathBuf>,
    /// This node's name [default: the host's name in lower case].
    #[arg(long, env = "MINIK8S_NODE_NAME", value_name = "NAME", value_parser = values::node_name, help_heading = "Node")]
    node_name: Option<String>,
    /// A label of the node, such as disk=ssd; may be given several times.
    #[arg(long = "label", env = "MINIK8S_LABEL", value_name = "KEY=VALUE", value_delimiter = ',', value_parser = values::label, help_heading = "Node")]
    labels: Vec<(String, String)>,
    /// A taint of the node, such as gpu=yes:NoSchedule; may be given several times.
    #[arg(long = "taint", env = "MINIK8S_TAINT", value_name = "KEY[=VALUE]:EFFECT", value_delimiter = ',', value_parser = values::taint, help_heading = "Node")]
    taints: Vec<Taint>,
    /// How many pods may run here.
    #[arg(long, env = "MINIK8S_MAX_PODS", default_value_t = 110, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=10_000), help_heading = "Node")]
    max_pods: u32,
    /// How many processes a pod may have; -1: as many as the host has.
    #[arg(long, env = "MINIK8S_POD_MAX_PIDS", default_value_t = -1, value_name = "N", allow_negative_numbers = true, value_parser = clap::value_parser!(i64).range(-1..=4_194_304), help_heading = "Node")]
    pod_max_pids: i64,
    /// Evict pods when so little is left [default: the kubelet's: memory.available<100Mi,nodefs.available<10%,nodefs.inodesFree<5%,
    /// imagefs.available<15%,imagefs.inodesFree<5%]; "" never.
    #[arg(long, env = "MINIK8S_EVICTION_HARD", value_name = "SIGNAL<VALUE,...", value_parser = values::eviction_hard, help_heading = "Node")]
    eviction_hard: Option<values::Thresholds>,
    /// How long MemoryPressure and the like stay after they were last observed.
    #[arg(long, env = "MINIK8S_EVICTION_PRESSURE_TRANSITION_PERIOD", default_value = "5m", value_name = "DURATION", value_parser = values::period, help_heading = "Node")]
    eviction_pressure_transition_period: Duration,
    /// The longest wait before a crashing container is started again, 1s to 300s.
    #[arg(long, env = "MINIK8S_MAX_CONTAINER_RESTART_PERIOD", default_value = "300s", value_name = "DURATION", value_parser = values::restart_period, help_heading = "Node")]
    max_container_restart_period: Duration,
    /// How long the host's shutdown waits for pods, each within its own grace; critical ones get the last part of it. 0s: not at all.
    #[arg(long, env = "MINIK8S_SHUTDOWN_GRACE_PERIOD", default_value = "90s", value_name = "DURATION", value_parser = values::shutdown_period, help_heading = "Node")]
    shutdown_grace_period: Duration,
    /// The part of it that is kept for critical pods (system-node-critical, system-cluster-critical), which end last.
    #[arg(long, env = "MINIK8S_SHUTDOWN_GRACE_PERIOD_CRITICAL_PODS", default_value = "30s", value_name = "DURATION", value_parser = values::shutdown_period, help_heading = "Node")]
    shutdown_grace_period_critical_pods: Duration,
    /// Size after which a container's log is rotated.
    #[arg(long, env = "MINIK8S_LOG_MAX_SIZE", default_value = "10Mi", value_name = "SIZE", value_parser = values::log_size, help_heading = "Node")]
    log_max_size: u64,
    /// Log files kept for a container.
    #[arg(long, env = "MINIK8S_LOG_MAX_FILES", default_value_t = 5, value_name = "N", value_parser = clap::value_parser!(u32).range(2..=1000), help_heading = "Node")]
    log_max_files: u32,
    /// containerd's socket.
    #[arg(long, env = "MINIK8S_CONTAINERD", default_value = "/run/containerd/containerd.sock", value_name = "PATH", value_parser = values::absolute, help_heading = "Runtime")]
    containerd: PathBuf,
    /// The namespace in containerd that is this agent's alone.
    #[arg(long, env = "MINIK8S_CONTAINERD_NAMESPACE", default_value = "minik8s", value_name = "NAME", value_parser = values::identifier, help_heading = "Runtime")]
    containerd_namespace: String,
    /// Where each registry's hosts.toml is: mirrors, certificates, headers.
    #[arg(long, env = "MINIK8S_REGISTRY_HOSTS", default_value = "/etc/containerd/certs.d", value_name = "DIR", value_parser = values::absolute, help_heading = "Images")]
    registry_hosts: PathBuf,
    /// This node's own logins at registries, in the form of Docker's config.json [default: config.json in the state directory].
    #[arg(long, env = "MINIK8S_REGISTRY_CONFIG", value_name = "FILE", value_parser = values::absolute, help_heading = "Images")]
    registry_config: Option<PathBuf>,
    /// Disk usage in percent from which unused images are removed; 100: never.
    #[arg(long, env = "MINIK8S_IMAGE_GC_HIGH_THRESHOLD", default_value_t = 85, value_name = "PERCENT", value_parser = clap::value_parser!(u8).range(0..=100), help_heading = "Images")]
    image_gc_high_threshold: u8,
    /// Disk usage in percent down to which they are removed.
    #[arg(long, env = "MINIK8S_IMAGE_GC_LOW_THRESHOLD", default_value_t = 80, value_name = "PERCENT", value_parser = clap::value_parser!(u8).range(0..=100), help_heading = "Images")]
    image_gc_low_threshold: u8,
    /// Unused images younger than this stay.
    #[arg(long, env = "MINIK8S_MINIMUM_IMAGE_TTL_DURATION", default_value = "2m", value_name = "DURATION", value_parser = values::duration, help_heading = "Images")]
    minimum_image_ttl_duration: Duration,
    /// containerd's snapshotter.
    #[arg(long, env = "MINIK8S_SNAPSHOTTER", default_value = "overlayfs", value_name = "NAME", value_parser = values::identifier, help_heading = "Runtime")]
    snapshotter: String,
    /// The OCI runtime: runc, crun, or a path [default: what containerd's shim finds].
    #[arg(long, env = "MINIK8S_RUNTIME", value_name = "runc|crun|PATH", value_parser = values::runtime, help_heading = "Runtime")]
    runtime: Option<PathBuf>,
    /// Who makes cgroups.
    #[arg(long, env = "MINIK8S_CGROUP_DRIVER", value_enum, default_value_t = CgroupDriverChoice::Auto, help_heading = "Runtime")]
    cgroup_driver: CgroupDriverChoice,
    /// A cgroup to put kubepods into, by a plain name.
    #[arg(long, env = "MINIK8S_CGROUP_ROOT", default_value = "", hide_default_value = true, value_name = "NAME", value_parser = values::cgroup_root, help_heading = "Runtime")]
    cgroup_root: String,
    /// Where the spec files of CDI (the Container Device Interface) are, the last counting most; may be given several times.
    #[arg(long, env = "MINIK8S_CDI_SPEC_DIR", default_value = "/etc/cdi,/var/run/cdi", value_delimiter = ',', value_name = "DIR", value_parser = values::absolute, help_heading = "Runtime")]
    cdi_spec_dir: Vec<PathBuf>,
    /// Where CNI configurations are; may be given several times.
    #[arg(long, env = "MINIK8S_CNI_CONF_DIR", default_value = "/etc/cni/net.d", value_delimiter = ',', value_name = "DIR", value_parser = values::absolute, help_heading = "Network")]
    cni_conf_dir: Vec<PathBuf>,
    /// Where CNI plugins are; may be given several times.
    #[arg(long, env = "MINIK8S_CNI_BIN_DIR", default_value = "/opt/cni/bin,/usr/lib/cni,/usr/libexec/cni", value_delimiter = ',', value_name = "DIR", value_parser = values::absolute, help_heading = "Network")]
    cni_bin_dir: Vec<PathBuf>,
    /// Pods' addresses on the built-in bridge [default: a /24 of 10.244.0.0/16 that clashes with no route].
    #[arg(long, env = "MINIK8S_POD_CIDR", value_name = "A.B.C.D/N", value_parser = values::cidr, help_heading = "Network")]
    pod_cidr: Option<String>,
    /// The built-in bridge, used where there is no CNI configuration.
    #[arg(long, env = "MINIK8S_BRIDGE_NAME", default_value = "mk8s0", value_name = "NAME", value_parser = values::link, help_heading = "Network")]
    bridge_name: String,
    /// Where /metrics, /healthz and /readyz are served beside the agent's socket, such as 127.0.0.1:9645 [default: nowhere].
    #[arg(long, env = "MINIK8S_METRICS_ADDRESS", value_name = "ADDRESS:PORT", help_heading = "Node")]
    metrics_address: Option<std::net::SocketAddr>,
    /// Form of the agent's own log; auto: the journal where systemd reads it, else text.
    #[arg(long, env = "MINIK8S_LOG_FORMAT", value_enum, default_value_t = LogFormat::Auto)]
    pub log_format: LogFormat,
}

/// All that the agent is told, checked and complete.
#[derive(Clone, Debug, PartialEq)]
pub struct AgentConfig {
    /// Where everything is.
    pub paths: Paths,
    /// What the node is and how pods are kept.
    pub settings: Settings,
    /// containerd's socket.
    pub containerd: PathBuf,
    /// The agent's namespace in containerd.
    pub containerd_namespace: String,
    /// Where each registry's hosts.toml is.
    pub registry_hosts: PathBuf,
    /// This node's own logins at registries.
    pub registry_config: PathBuf,
    /// containerd's snapshotter.
    pub snapshotter: String,
    /// The OCI runtime's binary, by name or path; `None`: the shim's default.
    pub runtime: Option<PathBuf>,
    /// Who makes cgroups.
    pub cgroup_driver: CgroupDriverChoice,
    /// The cgroup above kubepods, "" for none.
    pub cgroup_root: String,
    /// Where CDI's spec files are, the last counting most.
    pub cdi_spec_dirs: Vec<PathBuf>,
    /// Where CNI configurations are.
    pub cni_conf_dirs: Vec<PathBuf>,
    /// Where CNI plugins are.
    pub cni_bin_dirs: Vec<PathBuf>,
    /// The built-in bridge's subnet.
    pub pod_cidr: Option<String>,
    /// The built-in bridge.
    pub bridge_name: String,
    /// How long the host's shutdown waits for pods.
    pub shutdown: ShutdownPeriods,
    /// Where metrics and health are served beside the socket.
    pub metrics_address: Option<std::net::SocketAddr>,
}

impl AgentArgs {
    /// Completes what was typed. `hostname` is this host's. Errors: what contradicts itself, with what to do.
    pub fn resolve(self, hostname: &str) -> Result<AgentConfig, String> {
        let node_name = match self.node_name {
            Some(name) => name,
            None => values::node_name(&hostname.to_lowercase())
                .map_err(|why| format!("the host name {hostname:?} cannot name the node ({why}); give it a name with --node-name"))?,
        };
        let labels = unique(self.labels)?;
        let (manifests, state) = (&self.manifests, &self.state_dir);
        if manifests.starts_with(state) || state.starts_with(manifests) {
            let (manifests, state) = (manifests.display(), state.display());
            return Err(format!("--manifests {manifests} and --state-dir {state} lie within each other; give each a directory of its own"));
        }
        let (whole, critical) = (self.shutdown_grace_period, self.shutdown_grace_period_critical_pods);
        let Some(ordinary) = whole.checked_sub(critical).or(whole.is_zero().then_some(whole)) else {
            return Err(format!(
                "--shutdown-grace-period-critical-pods {}s is part of --shutdown-grace-period {}s and cannot be longer",
                critical.as_secs(),
                whole.as_secs()
            ));
        };
        let socket = match self.socket {
            Some(socket) => socket,
            None => values::socket(&self.run_dir.join("minik8s.sock").to_string_lossy()).map_err(|why| format!("--run-dir: {why}"))?,
        };
        let (high, low) = (self.image_gc_high_threshold, self.image_gc_low_threshold);
        if low > high {
            return Err(format!("--image-gc-low-threshold {low} is above --image-gc-high-threshold {high}; make it lower"));
        }
        let image_gc = GcPolicy { high_percent: high, low_percent: low, minimum_age: self.minimum_image_ttl_duration };
        Ok(AgentConfig {
            registry_hosts: self.registry_hosts,
            registry_config: self.registry_config.unwrap_or_else(|| self.state_dir.join("config.json")),
            paths: Paths {
                manifests: self.manifests,
                state: self.state_dir,
                run: self.run_dir,
                pod_logs: self.pod_logs,
                container_logs: self.container_logs,
                socket,
            },
            settings: Settings {
                node_name,
                max_restart_backoff: self.max_container_restart_period,
                log_max_bytes: self.log_max_size,
                log_max_files: self.log_max_files,
                labels,
                taints: self.taints,
                max_pods: self.max_pods,
                // The kubelet takes 0 for no limit, too.
                pod_max_pids: u64::try_from(self.pod_max_pids).ok().filter(|pids| *pids > 0),
                image_gc,
                eviction_hard: self.eviction_hard.map_or_else(pressure::defaults, |given| given.0),
                pressure_transition: self.eviction_pressure_transition_period,
            },
            containerd: self.containerd,
            containerd_namespace: self.containerd_namespace,
            snapshotter: self.snapshotter,
            runtime: self.runtime,
            cgroup_driver: self.cgroup_driver,
            cgroup_root: self.cgroup_root,
            cdi_spec_dirs: self.cdi_spec_dir,
            cni_conf_dirs: self.cni_conf_dir,
            cni_bin_dirs: self.cni_bin_dir,
            pod_cidr: self.pod_cidr,
            bridge_name: self.bridge_name,
            shutdown: ShutdownPeriods { ordinary, critical: critical.min(whole) },
            metrics_address: self.metrics_address,
        })
    }
}

fn unique(pairs: Vec<(String, String)>) -> Result<BTreeMap<String, String>, String> {
    let mut labels = BTreeMap::new();
    for (key, value) in pairs {
        if labels.insert(key.clone(), value).is_some() {
            return Err(format!("--label {key} is given twice; give it once"));
        }
    }
    Ok(labels)
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Only {
        #[command(flatten)]
        args: AgentArgs,
    }

    fn config(flags: &[&str]) -> Result<AgentConfig, String> {
        let parsed = Only::try_parse_from(std::iter::once(&"agent").chain(flags)).map_err(|e| e.to_string())?;
        parsed.args.resolve("Host-1.example")
    }

    #[test]
    fn defaults_are_an_installs() {
        let config = config(&[]).unwrap();
        assert_eq!(config.settings.node_name, "host-1.example");
        assert_eq!(config.paths.socket, PathBuf::from("/run/minik8s/minik8s.sock"));
        assert_eq!(config.settings.max_restart_backoff, Duration::from_secs(300));
        assert_eq!((config.settings.log_max_bytes, config.settings.log_max_files, config.settings.max_pods), (10 << 20, 5, 110));
        assert_eq!((config.cni_bin_dirs.len(), config.cdi_spec_dirs.len()), (3, 2));
        assert_eq!(config.settings.pod_max_pids, None);
        assert_eq!(config.registry_config, PathBuf::from("/var/lib/minik8s/config.json"));
        assert_eq!(config.settings.image_gc, GcPolicy::default());
    }

    #[test]
    fn lists_may_be_repeated_or_separated_by_commas() {
        let config =
            config(&["--label", "a=1,b=", "--label", "x.y/c=2", "--taint", "gpu=yes:NoSchedule", "--taint", "k:NoExecute"]).unwrap();
        assert_eq!(config.settings.labels.iter().map(|(k, v)| format!("{k}={v}")).collect::<Vec<_>>(), ["a=1", "b=", "x.y/c=2"]);
        let taints: Vec<_> = config.settings.taints.iter().map(|t| (t.key.as_str(), t.value.as_deref(), t.effect.as_str())).collect();
        assert_eq!(taints, [("gpu", Some("yes"), "NoSchedule"), ("k", None, "NoExecute")]);
    }

    #[test]
    fn processes_of_a_pod_are_limited_only_where_that_is_asked_for() {
        let pids = |value: &str| config(&["--pod-max-pids", value]).map(|c| c.settings.pod_max_pids);
        assert_eq!([pids("-1"), pids("0"), pids("100")], [Ok(None), Ok(None), Ok(Some(100))]);
        assert!(pids("-2").is_err() && pids("many").is_err());
    }

    #[test]
    fn critical_pods_get_the_last_part_of_the_shutdown() {
        let periods = |flags: &[&str]| config(flags).map(|c| (c.shutdown.ordinary.as_secs(), c.shutdown.critical.as_secs()));
        assert_eq!(periods(&[]), Ok((60, 30)));
        assert_eq!(periods(&["--shutdown-grace-period", "2m", "--shutdown-grace-period-critical-pods", "20s"]), Ok((100, 20)));
        assert_eq!(periods(&["--shutdown-grace-period", "0s"]), Ok((0, 0)), "nothing is waited for");
        let error = periods(&["--shutdown-grace-period", "20s"]).unwrap_err();
        assert_eq!(error, "--shutdown-grace-period-critical-pods 30s is part of --shutdown-grace-period 20s and cannot be longer");
        assert!(periods(&["--shutdown-grace-period", "2h"]).unwrap_err().contains("from 0s to 1800s"));
    }

    #[test]
    fn contradictions_say_what_to_do() {
        let error = config(&["--manifests", "/x", "--state-dir", "/x/state"]).unwrap_err();
        assert_eq!(error, "--manifests /x and --state-dir /x/state lie within each other; give each a directory of its own");
        let error = config(&["--image-gc-low-threshold", "90"]).unwrap_err();
        assert_eq!(error, "--image-gc-low-threshold 90 is above --image-gc-high-threshold 85; make it lower");
        assert_eq!(config(&["--label", "a=1", "--label", "a=2"]).unwrap_err(), "--label a is given twice; give it once");
        assert!(config(&["--run-dir", &format!("/{}", "x".repeat(120))]).unwrap_err().contains("107 bytes"));
    }
}
