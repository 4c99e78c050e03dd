//! Names of labels, annotations, finalizers and records that more than one room uses.

/// Annotation on what came from a file: `<path relative to the manifests directory>#<document, from 0>`.
pub const SOURCE: &str = "minik8s.io/source";
/// Annotation on what came from a file: sha256 of the decoded object as the file has it (before defaults by controllers).
pub const MANIFEST_HASH: &str = "minik8s.io/manifest-hash";
/// On an immutable ConfigMap or Secret: the [`MANIFEST_HASH`] of a change that was refused and told of.
pub const REFUSED_MANIFEST: &str = "minik8s.io/refused-manifest";
/// Annotation in which `kubectl apply` notes the whole object, a Secret's values too.
pub const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";
/// Annotation on a workload that does not run here: why (admission's words).
pub const NOT_ADMITTED: &str = "minik8s.io/not-admitted";
/// Annotation on a Pod: restart back-off by container, JSON `{"<container>": {"seconds": 40, "key": "<hash of image and resources>"}}`.
pub const RESTART_BACKOFF: &str = "minik8s.io/restart-backoff";
/// Annotation on a Pod: the boot id of the host it was last seen running on.
pub const BOOT_ID: &str = "minik8s.io/boot-id";
/// Annotation on a Pod with `hostUsers: false` that is bound: the first of the host's ids that are its own. See [`super::user_namespace`].
pub const USER_NAMESPACE: &str = "minik8s.io/user-namespace";
/// Annotation on a Pod that is being stopped but whose object and logs stay: once its containers are stopped its worker sets a terminal
/// phase, takes deletionTimestamp away and leaves the object.
pub const KEEP_OBJECT: &str = "minik8s.io/keep-object";
/// Annotation on a Node: which devices stand for its extended resources (`api::devices`).
pub const DEVICES: &str = "minik8s.io/devices";
/// Annotation on a Pod: which of them its containers were given, from its binding to its end.
pub const ASSIGNED_DEVICES: &str = "minik8s.io/assigned-devices";
/// Finalizer on a Job's pods until they are counted (Kubernetes' own).
pub const JOB_TRACKING_FINALIZER: &str = "batch.kubernetes.io/job-tracking";
/// Finalizer on a workload whose pods must be gone before it is.
pub const FOREGROUND_FINALIZER: &str = "foregroundDeletion";
/// Annotation kubelet puts on static pods.
pub const CONFIG_SOURCE: &str = "kubernetes.io/config.source";
/// Prefix of the record that remembers a Job removed by its TTL: `job-tombstone/<ns>/<name>` → manifest hash.
pub const JOB_TOMBSTONE: &str = "job-tombstone/";
/// Record: the seed of generated names, 8 bytes big endian.
pub const SEED: &str = "seed";

/// The kubelet's safe sysctls (pkg/kubelet/sysctl/safe_sysctls.go); the newest, tcp_rmem and tcp_wmem, need Linux 4.15.
pub const SAFE_SYSCTLS: [&str; 12] = [
    "kernel.shm_rmid_forced",
    "net.ipv4.ip_local_port_range",
    "net.ipv4.tcp_syncookies",
    "net.ipv4.ping_group_range",
    "net.ipv4.ip_unprivileged_port_start",
    "net.ipv4.ip_local_reserved_ports",
    "net.ipv4.tcp_keepalive_time",
    "net.ipv4.tcp_fin_timeout",
    "net.ipv4.tcp_keepalive_intvl",
    "net.ipv4.tcp_keepalive_probes",
    "net.ipv4.tcp_rmem",
    "net.ipv4.tcp_wmem",
];

/// Labels the CRI plugin puts on containers, and ours for stopping an orphan rightly.
pub mod container_labels {
    /// Pod's name.
    pub const POD_NAME: &str = "io.kubernetes.pod.name";
    /// Pod's namespace.
    pub const POD_NAMESPACE: &str = "io.kubernetes.pod.namespace";
    /// Pod's uid.
    pub const POD_UID: &str = "io.kubernetes.pod.uid";
    /// Container's name.
    pub const CONTAINER_NAME: &str = "io.kubernetes.container.name";
    /// Which start of the container this is, from 0 (= restartCount).
    pub const ATTEMPT: &str = "io.kubernetes.container.restartCount";
    /// Termination grace in seconds.
    pub const GRACE: &str = "io.kubernetes.pod.terminationGracePeriod";
    /// Signal number to ask it to stop with.
    pub const STOP_SIGNAL: &str = "minik8s.io/stop-signal";
}
