//! What the tests of this room share: one pod, host and image that a case changes only where it matters.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::PathBuf;

use k8s_openapi::api::core::v1::{Container, Node, Pod, ResourceRequirements};
use oci_spec::image::ImageConfiguration;
use oci_spec::runtime::Spec;
use serde_json::{Value, json};

use super::{Inputs, build};
use crate::api::user_namespace::IdRange;
use crate::api::{Kind, Object};
use crate::config::Objects;
use crate::host::HostFacts;
use crate::network::{Namespace, Sandbox, UserNamespace};
use crate::runtime::ImageUsers;
use crate::volumes::PodFiles;

fn parse(text: &str) -> Value {
    serde_saphyr::from_str(text).unwrap_or_else(|e| panic!("{text}: {e}"))
}

/// `onto` with the fields of `from`, object by object.
fn merge(onto: &mut Value, from: Value) {
    match (onto, from) {
        (Value::Object(a), Value::Object(b)) => b.into_iter().for_each(|(k, v)| merge(a.entry(k).or_insert(Value::Null), v)),
        (a, b) => *a = b,
    }
}

/// An image's configuration with this `config` object (JSON).
pub(super) fn image(config: &str) -> ImageConfiguration {
    let value = json!({"architecture": "amd64", "os": "linux", "rootfs": {"type": "layers", "diff_ids": []}, "config": parse(config)});
    serde_json::from_value(value).unwrap()
}

/// A pod whose containers and (sidecar) init containers have these resources, and itself `pod`.
pub(super) fn pod_with(containers: &[&str], inits: &[&str], pod: &str) -> Pod {
    let parse = |text: &str| -> ResourceRequirements { serde_json::from_value(stringly(parse(text))).unwrap() };
    let container = |resources: &&str| Container { name: "c".to_owned(), resources: Some(parse(resources)), ..Container::default() };
    let mut out = Pod::default();
    let spec = out.spec.insert(Default::default());
    spec.containers = containers.iter().map(container).collect();
    let sidecar = |r| Container { restart_policy: Some("Always".to_owned()), ..container(r) };
    spec.init_containers = Some(inits.iter().map(sidecar).collect());
    spec.resources = Some(parse(pod)).filter(|r| *r != ResourceRequirements::default());
    out
}

/// Quantities written as numbers, as people do.
fn stringly(mut value: Value) -> Value {
    let lists = value.as_object_mut().into_iter().flat_map(|o| o.values_mut());
    for entry in lists.filter_map(Value::as_object_mut).flat_map(|o| o.values_mut()) {
        if entry.is_number() {
            *entry = Value::String(entry.to_string());
        }
    }
    value
}

/// One container in its surroundings.
pub(super) struct Case {
    pub(super) pod: Pod,
    pub(super) image: ImageConfiguration,
    pub(super) users: ImageUsers,
    pub(super) files: PodFiles,
    pub(super) sandbox: Sandbox,
    pub(super) host: HostFacts,
    pub(super) node: Node,
    pub(super) termination_log: Option<PathBuf>,
    pub(super) sub_paths: BTreeMap<usize, PathBuf>,
    pub(super) seccomp_profile: Option<String>,
    config: Objects,
    pod_ips: Vec<IpAddr>,
    host_ips: Vec<IpAddr>,
}

impl Case {
    /// A pod `shop/web` with one container `main` that has these fields (YAML).
    pub(super) fn new(container: &str) -> Case {
        let mut value = json!({"name": "main", "image": "registry.example/app:1"});
        let mut fields = parse(container);
        if let Some(resources) = fields.get_mut("resources") {
            *resources = stringly(resources.take());
        }
        merge(&mut value, fields);
        let pod = json!({
            "metadata": {"name": "web", "namespace": "shop", "uid": "u-1", "labels": {"app": "front"}, "annotations": {"a/b": "note"}},
            "spec": {"nodeName": "node1", "containers": [value]},
        });
        let file = |name: &str| Some(PathBuf::from(format!("/pods/u-1/{name}")));
        Case {
            pod: serde_json::from_value(pod).unwrap(),
            image: image(r#"{"Cmd": ["/bin/app"]}"#),
            users: ImageUsers {
                passwd: "root:x:0:0:root:/root:/bin/sh\n# no line\nwww:x:33:33::/:/x\nbroken\napp:x:1000:1001::/:/x\n".to_owned(),
                group: "root:x:0:\ndisk:x:6:root\nwww:x:33:\naudio:x:29:pulse,www\nvideo:x:44:www\n".to_owned(),
            },
            files: PodFiles { dir: "/pods/u-1".into(), hosts: file("hosts"), hostname: file("hostname"), resolv_conf: file("resolv.conf"), shm: file("shm"), ..PodFiles::default() },
            sandbox: pinned(),
            host: host(),
            node: serde_json::from_value(json!({"metadata": {"name": "node1"}, "status": {"allocatable": {"cpu": "2", "memory": "4Gi", "ephemeral-storage": "20Gi"}}})).unwrap(),
            termination_log: file("log"),
            sub_paths: BTreeMap::new(),
            seccomp_profile: None,
            config: Objects::default(),
            pod_ips: vec!["10.88.0.5".parse().unwrap(), "fd00::5".parse().unwrap()],
            host_ips: vec!["192.0.2.1".parse().unwrap(), "2001:db8::1".parse().unwrap()],
        }
    }

    /// With these fields of the pod's spec (YAML).
    pub(super) fn pod(mut self, spec: &str) -> Case {
        let mut value = serde_json::to_value(&self.pod).unwrap();
        merge(&mut value["spec"], parse(spec));
        self.pod = serde_json::from_value(value).unwrap();
        self
    }

    /// With this image configuration (JSON).
    pub(super) fn image(mut self, config: &str) -> Case {
        self.image = image(config);
        self
    }

    /// With a volume at this host path.
    pub(super) fn volume(mut self, name: &str, path: &str) -> Case {
        self.files.volumes.insert(name.to_owned(), path.into());
        self
    }

    /// With this ConfigMap or Secret (JSON) in the pod's namespace.
    pub(super) fn config(mut self, object: &str) -> Case {
        let mut value: Value = serde_json::from_str(object).unwrap();
        value["metadata"]["namespace"] = json!("shop");
        let kind = Kind::parse(value["kind"].as_str().unwrap()).unwrap();
        let object = std::sync::Arc::new(Object::from_json(kind, value.to_string().as_bytes()).unwrap());
        let before = self.config;
        self.config = Objects::gather(&self.pod, |key| if *key == object.key() { Some(object.clone()) } else { before.find(key) });
        self
    }

    /// With the host's network and UTS namespaces.
    pub(super) fn host_network(mut self) -> Case {
        (self.sandbox.network, self.sandbox.uts) = (Namespace::Host, Namespace::Host);
        self.pod("{hostNetwork: true}")
    }

    /// With a user namespace of the pod's own (`hostUsers: false`).
    pub(super) fn own_users(mut self) -> Case {
        self.sandbox.user = Some(UserNamespace { path: "/run/ns/user".into(), ids: IdRange::starting_at(131_072).unwrap() });
        self.pod("{hostUsers: false}")
    }

    /// With the host's IPC namespace.
    pub(super) fn host_ipc(mut self) -> Case {
        self.sandbox.ipc = Namespace::Host;
        self.pod("{hostIPC: true}")
    }

    pub(super) fn container(&self) -> &Container {
        &self.pod.spec.as_ref().unwrap().containers[0]
    }

    pub(super) fn inputs(&self) -> Inputs<'_> {
        Inputs {
            pod: &self.pod,
            container: self.container(),
            image: &self.image,
            users: &self.users,
            files: &self.files,
            sandbox: &self.sandbox,
            host: &self.host,
            cgroups_path: "/kubepods/besteffort/podu-1/abc".to_owned(),
            termination_log: self.termination_log.clone(),
            pod_ips: &self.pod_ips,
            host_ips: &self.host_ips,
            node: &self.node,
            config: &self.config,
            sub_paths: self.sub_paths.clone(),
            seccomp_profile: self.seccomp_profile.clone(),
            is_init: false,
        }
    }

    /// The spec, which must build.
    pub(super) fn build(&self) -> Spec {
        build(&self.inputs()).unwrap_or_else(|e| panic!("{e}"))
    }
}

fn pinned() -> Sandbox {
    let at = |name: &str| Namespace::Pinned(format!("/run/ns/{name}").into());
    Sandbox { network: at("net"), uts: at("uts"), ipc: at("ipc"), pid: None, user: None }
}

/// A host of 2 cores and 4 GiB on cgroup v1, with every capability but SYS_RESOURCE.
fn host() -> HostFacts {
    HostFacts {
        hostname: "node1".to_owned(),
        memory_bytes: 4 << 30,
        controllers: ["cpu", "memory", "pids"].map(str::to_owned).to_vec(),
        min_oom_score_adj: -1000,
        capabilities: CAPABILITIES.split_ascii_whitespace().map(|c| format!("CAP_{c}")).collect(),
        ..HostFacts::for_tests()
    }
}

const CAPABILITIES: &str = "AUDIT_CONTROL AUDIT_READ AUDIT_WRITE BLOCK_SUSPEND BPF CHECKPOINT_RESTORE CHOWN DAC_OVERRIDE DAC_READ_SEARCH FOWNER
    FSETID IPC_LOCK IPC_OWNER KILL LEASE LINUX_IMMUTABLE MAC_ADMIN MAC_OVERRIDE MKNOD NET_ADMIN NET_BIND_SERVICE NET_BROADCAST NET_RAW PERFMON
    SETFCAP SETGID SETPCAP SETUID SYSLOG SYS_ADMIN SYS_BOOT SYS_CHROOT SYS_MODULE SYS_NICE SYS_PACCT SYS_PTRACE SYS_RAWIO SYS_TIME
    SYS_TTY_CONFIG WAKE_ALARM";
