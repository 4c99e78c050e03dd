//! Namespaces, addresses, volumes and cgroups: which pods hold some.

use std::io;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;
use k8s_openapi::api::core::v1::Pod;
use minik8s::controllers::pressure::DiskUsage;
use minik8s::host::PodCgroups;
use minik8s::network::{Namespace, Network, NetworkError, Sandbox, SandboxSpec, UserNamespace};
use minik8s::volumes::{Payloads, PodFiles, SubPath, VolumeError, Volumes};

use super::Driver;

fn no_network() -> NetworkError {
    NetworkError::Config { path: "cni".into(), message: "simulated fault".into() }
}

fn no_volume() -> VolumeError {
    VolumeError::SetUp { volume: "v".into(), message: "simulated fault".into() }
}

fn uid(pod: &Pod) -> String {
    pod.metadata.uid.clone().unwrap_or_default()
}

#[async_trait]
impl Network for Driver {
    async fn create(&self, spec: &SandboxSpec) -> Result<Sandbox, NetworkError> {
        let pinned = |name: &str| Namespace::Pinned(format!("/run/ns/{}/{name}", spec.uid).into());
        let sandbox = Sandbox {
            network: pinned("net"),
            uts: pinned("uts"),
            ipc: pinned("ipc"),
            pid: None,
            user: spec.ids.map(|ids| UserNamespace { path: format!("/run/ns/{}/user", spec.uid).into(), ids }),
        };
        let create = |state: &mut crate::world::State| {
            state.namespaces.insert(spec.uid.clone());
            Ok(sandbox)
        };
        self.world.call(self.life, ("namespaces", &spec.name), create, no_network).await
    }

    async fn attach(&self, spec: &SandboxSpec) -> Result<Vec<IpAddr>, NetworkError> {
        let attach = |state: &mut crate::world::State| {
            if !state.namespaces.contains(&spec.uid) {
                return Err(NetworkError::Config { path: "cni".into(), message: "no namespace".into() });
            }
            state.addresses.insert(spec.uid.clone());
            Ok(vec![IpAddr::from([10, 0, 0, 7])])
        };
        self.world.call(self.life, ("attach", &spec.name), attach, no_network).await
    }

    async fn remove(&self, uid: &str) -> Result<(), NetworkError> {
        let remove = |state: &mut crate::world::State| {
            state.namespaces.remove(uid);
            state.addresses.remove(uid);
            Ok(())
        };
        self.world.call(self.life, ("detach", uid), remove, no_network).await
    }

    async fn keep(&self, _: &SandboxSpec, _: u32) -> Result<bool, NetworkError> {
        // As long as the host is up its pins are.
        Ok(false)
    }

    async fn check(&self, uid: &str) -> Result<(), NetworkError> {
        match self.world.state().addresses.contains(uid) {
            true => Ok(()),
            false => Err(no_network()),
        }
    }

    async fn collect(&self) -> Result<(), NetworkError> {
        // Plugins of these addresses know no GC.
        Ok(())
    }

    async fn list(&self) -> Result<Vec<String>, NetworkError> {
        let list = |state: &mut crate::world::State| Ok(state.namespaces.union(&state.addresses).cloned().collect());
        self.world.call(self.life, ("list namespaces", ""), list, no_network).await
    }

    fn host_ips(&self) -> Vec<IpAddr> {
        vec![IpAddr::from([192, 168, 0, 1])]
    }
}

#[async_trait]
impl Volumes for Driver {
    async fn setup(&self, pod: &Pod, _: &str, _: &Arc<Payloads>) -> Result<PodFiles, VolumeError> {
        let setup = |state: &mut crate::world::State| {
            state.volumes.insert(uid(pod));
            Ok(PodFiles::default())
        };
        self.world.call(self.life, ("volumes", &uid(pod)), setup, no_volume).await
    }

    async fn refresh(&self, pod: &Pod, _: &Arc<Payloads>) -> Result<(), VolumeError> {
        self.world.call(self.life, ("refresh", &uid(pod)), |_| Ok(()), no_volume).await
    }

    async fn sub_path(&self, _: &str, volume: &Path, wanted: &SubPath) -> Result<PathBuf, VolumeError> {
        Ok(volume.join(&wanted.path))
    }

    async fn over_limit(&self, _: &Pod) -> Result<Option<String>, VolumeError> {
        Ok(None)
    }

    async fn disk_usage(&self, _: &str) -> Result<DiskUsage, VolumeError> {
        Ok(DiskUsage::default())
    }

    async fn write_hosts(&self, pod: &Pod, _: &str, _: &[IpAddr]) -> Result<(), VolumeError> {
        self.world.call(self.life, ("hosts", &uid(pod)), |_| Ok(()), no_volume).await
    }

    async fn termination_log(&self, uid: &str, _: &str, _: u32) -> Result<PathBuf, VolumeError> {
        self.world.call(self.life, ("termination log", uid), |_| Ok(PathBuf::new()), no_volume).await
    }

    async fn termination_message(&self, _: &str, _: &str, _: u32) -> String {
        String::new()
    }

    async fn remove(&self, uid: &str) -> Result<(), VolumeError> {
        let dir = self.world.dir.join("run/pods").join(uid);
        let remove = |state: &mut crate::world::State| {
            state.volumes.remove(uid);
            let _ = std::fs::remove_dir_all(dir);
            Ok(())
        };
        self.world.call(self.life, ("unmount", uid), remove, no_volume).await
    }

    async fn list(&self) -> Result<Vec<String>, VolumeError> {
        let list = |state: &mut crate::world::State| Ok(state.volumes.iter().cloned().collect());
        self.world.call(self.life, ("list volumes", ""), list, no_volume).await
    }
}

#[async_trait]
impl PodCgroups for Driver {
    fn create(&self, _: &Pod) -> io::Result<()> {
        unreachable!("the agent does not block its thread")
    }

    fn remove(&self, _: &str) -> io::Result<()> {
        unreachable!("the agent does not block its thread")
    }

    async fn make(self: Arc<Self>, pod: Arc<Pod>) -> io::Result<()> {
        let make = |state: &mut crate::world::State| {
            state.cgroups.insert(uid(&pod));
            Ok(())
        };
        self.world.call(self.life, ("cgroup", &uid(&pod)), make, || io::Error::other("simulated fault")).await
    }

    async fn give_back(self: Arc<Self>, uid: String) -> io::Result<()> {
        let remove = |state: &mut crate::world::State| {
            if state.containers.values().any(|c| c.uid == uid && matches!(c.state.task, minik8s::runtime::TaskState::Running { .. })) {
                return Err(io::Error::new(io::ErrorKind::ResourceBusy, "a process is left"));
            }
            state.cgroups.remove(&uid);
            Ok(())
        };
        self.world.call(self.life, ("drop cgroup", &uid), remove, || io::Error::other("simulated fault")).await
    }

    fn list(&self) -> io::Result<Vec<String>> {
        Ok(self.world.state().cgroups.iter().cloned().collect())
    }

    fn oom_kills(&self, _: &str) -> Option<u64> {
        Some(0)
    }

    fn container_path(&self, _: &Pod, id: &str) -> String {
        format!("/kubepods/{id}")
    }
}
