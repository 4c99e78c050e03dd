//! Namespaces, volumes and cgroups: which Pods hold some.

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;
use k8s_openapi::api::core::v1::Pod;
use oci_spec::runtime::LinuxDevice;

use super::{Double, Host, World};
use crate::controllers::pressure::DiskUsage;
use crate::host::PodCgroups;
use crate::host::devices::HostDevices;
use crate::network::{Namespace, Network, NetworkError, Sandbox, SandboxSpec};
use crate::oci::cdi::SpecFile;
use crate::volumes::{Payloads, PodFiles, SubPath, VolumeError, Volumes};

fn no_plugin() -> NetworkError {
    NetworkError::PluginMissing { plugin: "bridge".into(), dirs: "/nowhere".into() }
}

#[async_trait]
impl Network for Double {
    async fn create(&self, spec: &SandboxSpec) -> Result<Sandbox, NetworkError> {
        self.0.call("netns", |host| host.namespaces.insert(spec.uid.clone())).await;
        let pinned = |shared: bool, name: &str| match shared {
            true => Namespace::Host,
            false => Namespace::Pinned(format!("/run/ns/{}/{name}", spec.uid).into()),
        };
        let (network, uts) = (pinned(spec.host_network, "net"), pinned(spec.host_network, "uts"));
        Ok(Sandbox { network, uts, ipc: pinned(spec.host_ipc, "ipc"), pid: None, user: None })
    }
    async fn attach(&self, _: &SandboxSpec) -> Result<Vec<IpAddr>, NetworkError> {
        self.0.call("attach", |_| ()).await;
        let took = self.0.host().attach_takes;
        tokio::time::sleep(took).await;
        if self.0.host().attach_fails {
            return Err(no_plugin());
        }
        Ok(vec![IpAddr::from([10, 0, 0, 7])])
    }
    async fn remove(&self, uid: &str) -> Result<(), NetworkError> {
        let panics = std::mem::take(&mut self.0.host().detach_panics);
        assert!(!panics, "as the test wants it");
        let detach = |host: &mut Host| {
            if host.unpin_fails {
                let (path, source) = ("/run/ns".into(), std::io::ErrorKind::ResourceBusy.into());
                return Err(NetworkError::Several(vec![no_plugin(), NetworkError::Namespace { action: "unmount", path, source }]));
            }
            if host.detach_fails {
                return Err(no_plugin());
            }
            host.namespaces.remove(uid);
            Ok(())
        };
        self.0.call("detach", detach).await
    }
    async fn keep(&self, spec: &SandboxSpec, pid: u32) -> Result<bool, NetworkError> {
        let lost = !self.0.host().namespaces.contains(&spec.uid);
        if lost {
            self.0.call(&format!("pin {pid}"), |host| host.namespaces.insert(spec.uid.clone())).await;
        }
        Ok(lost)
    }
    async fn check(&self, _: &str) -> Result<(), NetworkError> {
        match self.0.call("check", |host| host.check_fails).await {
            true => Err(no_plugin()),
            false => Ok(()),
        }
    }
    async fn collect(&self) -> Result<(), NetworkError> {
        Ok(())
    }
    async fn list(&self) -> Result<Vec<String>, NetworkError> {
        Ok(self.0.host().namespaces.iter().cloned().collect())
    }
    fn host_ips(&self) -> Vec<IpAddr> {
        vec![IpAddr::from([192, 168, 0, 1])]
    }
}

#[async_trait]
impl Volumes for Double {
    async fn setup(&self, pod: &Pod, _: &str, payloads: &Arc<Payloads>) -> Result<PodFiles, VolumeError> {
        let (uid, payloads) = (pod.metadata.uid.clone().unwrap_or_default(), payloads.clone());
        let images = pod.spec.iter().flat_map(|s| s.volumes.iter().flatten()).filter(|v| v.image.is_some()).map(|v| &v.name);
        let volumes = payloads.volumes.keys().chain(images).map(|name| (name.clone(), PathBuf::from("/volumes").join(name))).collect();
        let set_up = |host: &mut Host| {
            host.payloads = payloads.volumes.clone();
            host.volumes.insert(uid)
        };
        let takes = self.0.host().setup_takes;
        tokio::time::sleep(takes).await;
        self.0.call("volumes", set_up).await;
        let dns_omitted = self.0.host().dns_omitted.clone();
        Ok(PodFiles { volumes, dns_omitted, ..PodFiles::default() })
    }
    async fn refresh(&self, _: &Pod, payloads: &Arc<Payloads>) -> Result<(), VolumeError> {
        self.0.call("refresh", |host| host.payloads = payloads.volumes.clone()).await;
        Ok(())
    }
    async fn sub_path(&self, _: &str, volume: &Path, wanted: &SubPath) -> Result<PathBuf, VolumeError> {
        Ok(volume.join(&wanted.path))
    }
    async fn over_limit(&self, _: &Pod) -> Result<Option<String>, VolumeError> {
        Ok(self.0.host().over_limit.clone())
    }
    async fn disk_usage(&self, _: &str) -> Result<DiskUsage, VolumeError> {
        Ok(self.0.host().disk)
    }
    async fn write_hosts(&self, _: &Pod, _: &str, _: &[IpAddr]) -> Result<(), VolumeError> {
        Ok(())
    }
    async fn termination_log(&self, _: &str, _: &str, _: u32) -> Result<PathBuf, VolumeError> {
        Ok(PathBuf::new())
    }
    async fn termination_message(&self, _: &str, _: &str, _: u32) -> String {
        self.0.host().message.clone()
    }
    async fn remove(&self, uid: &str) -> Result<(), VolumeError> {
        self.0.call("unmount", |host| host.volumes.remove(uid)).await;
        let _ = std::fs::remove_dir_all(self.0.dir.join("run/pods").join(uid));
        Ok(())
    }
    async fn list(&self) -> Result<Vec<String>, VolumeError> {
        Ok(self.0.host().volumes.iter().cloned().collect())
    }
}

impl HostDevices for Double {
    fn list(&self) -> std::io::Result<Vec<LinuxDevice>> {
        self.0.host().devices.clone().ok_or_else(|| std::io::Error::other("no /dev"))
    }
    fn node(&self, path: &str) -> std::io::Result<LinuxDevice> {
        let found = HostDevices::list(self)?.into_iter().find(|device| device.path() == Path::new(path));
        found.ok_or_else(|| std::io::ErrorKind::NotFound.into())
    }
    fn cdi(&self) -> Vec<SpecFile> {
        self.0.host().cdi.clone()
    }
}

/// The cgroups as one agent sees them.
pub(super) struct Cgroups(pub(super) Arc<World>, pub(super) usize);

impl PodCgroups for Cgroups {
    fn create(&self, pod: &Pod) -> std::io::Result<()> {
        let gate = self.0.host().cgroup_gate.take();
        if let Some(gate) = gate {
            self.0.host().trace.push("cgroup".to_owned());
            self.0.changed.notify_waiters();
            // Sent or dropped: either opens it.
            let _ = gate.recv();
        }
        let mut host = self.0.host();
        if host.lives == self.1 {
            host.cgroups.insert(pod.metadata.uid.clone().unwrap_or_default());
        }
        Ok(())
    }
    fn remove(&self, uid: &str) -> std::io::Result<()> {
        let mut host = self.0.host();
        if host.lives == self.1 {
            host.cgroups.remove(uid);
        }
        drop(host);
        self.0.changed.notify_waiters();
        Ok(())
    }
    fn list(&self) -> std::io::Result<Vec<String>> {
        Ok(self.0.host().cgroups.iter().cloned().collect())
    }
    fn oom_kills(&self, _: &str) -> Option<u64> {
        let host = self.0.host();
        (!host.scopes_vanish).then_some(u64::from(host.oom))
    }
    fn container_path(&self, _: &Pod, id: &str) -> String {
        format!("/kubepods/{id}")
    }
}
