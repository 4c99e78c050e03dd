//! [`HostVolumes`]: the driver of [`Volumes`] on a real host.
//!
//! ```text
//! <run>/pods/<uid>/{etc-hosts,hostname,resolv.conf,shm/,containers/<c>/<attempt>.log,volume-subpaths/<volume>/<c>/<index>}
//! <run>/pods/<uid>/volumes/{empty-dir,secret,projected,downward-api}/<name>   (tmpfs)
//! <run>/pods/<uid>/volumes/nfs/<name>                                         (an export)
//! <run>/pods/<uid>/volumes/image/<name>                                       (a view of an image; the runtime mounts it)
//! <state>/pods/<uid>/volumes/{empty-dir,config-map}/<name>                    (disk)
//! <state>/claims/<namespace>/<name>                                           (disk, never removed)
//! ```

use std::collections::BTreeMap;
use std::io;
use std::net::IpAddr;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;
use k8s_openapi::api::core::v1::{EmptyDirVolumeSource, Pod, Volume};
use nix::mount::MsFlags;

use super::atomic_writer::Contents;
use super::config::VolumesConfig;
use super::nfs;
use super::turns::{Turn, Turns};
use super::{
    Payloads, PodFiles, SubPath, VolumeError, Volumes, claims, configuration, empty_dir, host_path, hosts, ownership, resolv, sub_path,
    teardown, termination, usage,
};
use crate::controllers::pressure::DiskUsage;
use crate::pod::attempt;

/// The volumes driver of a real host.
#[derive(Clone, Debug)]
pub struct HostVolumes {
    config: VolumesConfig,
    turns: Turns,
}

impl HostVolumes {
    /// The driver; touches nothing yet.
    pub fn new(config: VolumesConfig) -> HostVolumes {
        HostVolumes { config, turns: Turns::default() }
    }

    fn run_dir(&self, uid: &str) -> PathBuf {
        self.config.run.join("pods").join(uid)
    }

    fn state_dir(&self, uid: &str) -> PathBuf {
        self.config.state.join("pods").join(uid)
    }

    async fn turn(&self, uid: &str) -> Result<Turn, VolumeError> {
        let turn = self.turns.take(uid).await;
        turn.map_err(|e| VolumeError::files("get a turn in", &self.run_dir(uid), e))
    }

    /// Runs what changes the pod's directories to its end, even if the caller is cancelled; the turn is kept as long.
    async fn in_turn<T: Send + 'static>(
        &self,
        turn: Turn,
        work: impl FnOnce(&HostVolumes) -> Result<T, VolumeError> + Send + 'static,
    ) -> Result<T, VolumeError> {
        let work = move |driver: &HostVolumes| {
            let _turn = turn;
            work(driver)
        };
        self.blocking(work).await
    }

    /// Runs what blocks where it may.
    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&HostVolumes) -> Result<T, VolumeError> + Send + 'static,
    ) -> Result<T, VolumeError> {
        let driver = self.clone();
        let joined = tokio::task::spawn_blocking(move || work(&driver)).await;
        joined.unwrap_or_else(|e| Err(VolumeError::files("work in", &self.config.run, io::Error::other(e))))
    }

    fn setup_blocking(&self, pod: &Pod, hostname: &str, payloads: &Payloads) -> Result<PodFiles, VolumeError> {
        let uid = uid_of(pod)?;
        let dir = self.run_dir(uid);
        make_private(&dir)?;
        let mut volumes = BTreeMap::new();
        for volume in pod.spec.iter().flat_map(|s| s.volumes.iter().flatten()) {
            let failed = |message| VolumeError::SetUp { volume: volume.name.clone(), message };
            volumes.insert(volume.name.clone(), self.volume(pod, uid, volume, payloads).map_err(failed)?);
        }
        let read_only = configuration::read_only(pod);
        let hosts = dir.join("etc-hosts");
        if !hosts.exists() {
            write_in_place(&hosts, &hosts::content(pod, hostname, &[], &self.host_file(&self.config.hosts)))?;
        }
        let (hostname_file, resolv_conf) = (dir.join("hostname"), dir.join("resolv.conf"));
        write_once(&hostname_file, &format!("{}\n", kernels_name(pod, hostname)))?;
        let (resolv, dns_omitted) = resolv::content(pod, &self.host_resolv_conf());
        write_once(&resolv_conf, &resolv)?;
        let shm = Some(self.shm(pod, &dir)?);
        let (hosts, hostname, resolv_conf) = (Some(hosts), Some(hostname_file), Some(resolv_conf));
        Ok(PodFiles { volumes, read_only, dir, hosts, hostname, resolv_conf, shm, dns_omitted })
    }

    /// Sets one volume up. Errors: in Kubernetes' words where it has them.
    fn volume(&self, pod: &Pod, uid: &str, volume: &Volume, payloads: &Payloads) -> Result<PathBuf, String> {
        if !is_plain_name(&volume.name) {
            return Err(format!("invalid volume name {:?}", volume.name));
        }
        if let Some(source) = &volume.host_path {
            return host_path::setup(source);
        }
        if volume.nfs.is_some() {
            return Ok(nfs::path(&self.run_dir(uid), volume));
        }
        if volume.image.is_some() {
            let path = self.run_dir(uid).join("volumes/image").join(&volume.name);
            // The runtime mounts it there, once a container that mounts it is made.
            return make_private(&path).map(|()| path).map_err(|e| e.to_string());
        }
        let group = ownership::group(pod)?;
        let (path, made) = if let Some(source) = &volume.empty_dir {
            self.empty_dir(pod, uid, volume, source)?
        } else if let Some(place) = configuration::place(volume) {
            let path = self.configuration_path(uid, volume, place);
            let files = payloads.volumes.get(&volume.name).ok_or("its files were not put together")?;
            let contents = Contents { files, at: payloads.at, group };
            let made = self.private_state(uid).and_then(|()| configuration::setup(&path, place, self.payload_bytes(pod), &contents));
            (path, made)
        } else if let Some(source) = &volume.persistent_volume_claim {
            let namespace = pod.metadata.namespace.as_deref().unwrap_or_default();
            if !is_plain_name(namespace) || !is_plain_name(&source.claim_name) {
                return Err(format!("invalid claim {namespace}/{}", source.claim_name));
            }
            let above = self.config.state.join("claims");
            let path = above.join(namespace).join(&source.claim_name);
            let done = self.run_dir(uid).join("fs-group").join(&volume.name);
            let made = make_private(&above).map_err(io::Error::other).and_then(|()| claims::setup(&path, pod, volume, &done));
            (path, made)
        } else {
            return Err(not_honoured(volume));
        };
        made.map_err(|e| format!("failed to set up {}: {e}", path.display()))?;
        Ok(path)
    }

    fn empty_dir(&self, pod: &Pod, uid: &str, volume: &Volume, source: &EmptyDirVolumeSource) -> Result<(PathBuf, io::Result<()>), String> {
        let below = Path::new("volumes/empty-dir").join(&volume.name);
        let group = ownership::group(pod)?;
        match source.medium.as_deref().unwrap_or_default() {
            "" => {
                let path = self.state_dir(uid).join(below);
                let made = self.private_state(uid).and_then(|()| empty_dir::on_disk(&path, group));
                Ok((path, made))
            }
            "Memory" => {
                let path = self.run_dir(uid).join(below);
                let made = empty_dir::in_memory(&path, empty_dir::memory_size(source, pod, self.config.memory_bytes), group);
                Ok((path, made))
            }
            medium if empty_dir::is_huge(medium) => {
                let huge = empty_dir::huge_pages(source, pod)?;
                let path = self.run_dir(uid).join(below);
                let made = empty_dir::on_huge_pages(&path, huge, group);
                Ok((path, made))
            }
            medium => Err(format!("unknown storage medium {medium:?}")),
        }
    }

    fn private_state(&self, uid: &str) -> io::Result<()> {
        make_private(&self.state_dir(uid)).map_err(io::Error::other)
    }

    /// The most that a configuration volume on tmpfs may take.
    fn payload_bytes(&self, pod: &Pod) -> u64 {
        empty_dir::memory_size(&EmptyDirVolumeSource::default(), pod, self.config.memory_bytes)
    }

    fn configuration_path(&self, uid: &str, volume: &Volume, place: configuration::Place) -> PathBuf {
        let dir = if place.in_memory { self.run_dir(uid) } else { self.state_dir(uid) };
        dir.join("volumes").join(place.kind).join(&volume.name)
    }

    fn refresh_blocking(&self, pod: &Pod, payloads: &Payloads) -> Result<(), VolumeError> {
        let uid = uid_of(pod)?;
        for volume in pod.spec.iter().flat_map(|s| s.volumes.iter().flatten()).filter(|v| is_plain_name(&v.name)) {
            let (Some(place), Some(files)) = (configuration::place(volume), payloads.volumes.get(&volume.name)) else { continue };
            let path = self.configuration_path(uid, volume, place);
            let failed = |e: io::Error| VolumeError::SetUp { volume: volume.name.clone(), message: e.to_string() };
            if path.is_dir() {
                let contents = Contents { files, at: payloads.at, group: ownership::group(pod).map_err(|e| failed(io::Error::other(e)))? };
                configuration::setup(&path, place, self.payload_bytes(pod), &contents).map_err(failed)?;
            }
        }
        Ok(())
    }

    fn sub_path_blocking(&self, uid: &str, volume: &Path, wanted: &SubPath) -> Result<PathBuf, VolumeError> {
        check_uid(uid)?;
        let bad = || VolumeError::files("use", Path::new(&wanted.container), io::Error::from(io::ErrorKind::InvalidInput));
        if !is_plain_name(&wanted.volume) || !is_plain_name(&wanted.container) {
            return Err(bad());
        }
        let above = self.run_dir(uid).join("volume-subpaths").join(&wanted.volume).join(&wanted.container);
        let target = above.join(wanted.index.to_string());
        sub_path::bind(volume, &wanted.path, &target).map_err(|e| VolumeError::files("bind a subPath at", &target, e))
    }

    fn over_limit_blocking(&self, pod: &Pod) -> Result<Option<String>, VolumeError> {
        let dir = self.state_dir(uid_of(pod)?).join("volumes/empty-dir");
        for (volume, limit) in usage::limits(pod).into_iter().filter(|(name, _)| is_plain_name(name)) {
            let path = dir.join(&volume);
            match usage::exceeds(&path, limit) {
                Ok(true) => return Ok(Some(volume)),
                Ok(false) => {}
                Err(e) if e.kind() == io::ErrorKind::NotFound => {}
                Err(e) => return Err(VolumeError::files("measure", &path, e)),
            }
        }
        Ok(None)
    }

    /// 64 MiB of shared memory, as the CRI plugin gives; the host's where IPC is the host's.
    fn shm(&self, pod: &Pod, dir: &Path) -> Result<PathBuf, VolumeError> {
        if pod.spec.as_ref().and_then(|s| s.host_ipc) == Some(true) {
            return Ok("/dev/shm".into());
        }
        let path = dir.join("shm");
        let flags = MsFlags::MS_NOEXEC | MsFlags::MS_NOSUID | MsFlags::MS_NODEV;
        empty_dir::tmpfs(&path, "mode=1777,size=65536k", flags).map_err(|e| VolumeError::files("mount", &path, e))?;
        Ok(path)
    }

    /// A file of the host's, "" where it has none.
    fn host_file(&self, path: &Path) -> String {
        std::fs::read_to_string(path).unwrap_or_default()
    }

    fn host_resolv_conf(&self) -> String {
        let own = self.host_file(&self.config.resolv_conf);
        match resolv::is_stub(&own) {
            true => std::fs::read_to_string(&self.config.resolved_conf).unwrap_or(own),
            false => own,
        }
    }

    fn log_path(&self, uid: &str, container: &str, attempt: u32) -> Result<PathBuf, VolumeError> {
        let path = self.run_dir(uid).join("containers").join(container).join(format!("{attempt}.log"));
        match is_plain_name(uid) && is_plain_name(container) {
            true => Ok(path),
            false => Err(VolumeError::files("use", &path, io::Error::from(io::ErrorKind::InvalidInput))),
        }
    }

    fn list_blocking(&self) -> Result<Vec<String>, VolumeError> {
        let mut uids = Vec::new();
        for dir in [self.config.run.join("pods"), self.config.state.join("pods")] {
            match std::fs::read_dir(&dir) {
                Ok(entries) => uids.extend(entries.filter_map(|e| e.ok()?.file_name().into_string().ok())),
                Err(e) if e.kind() == io::ErrorKind::NotFound => {}
                Err(e) => return Err(VolumeError::files("read", &dir, e)),
            }
        }
        uids.sort();
        uids.dedup();
        Ok(uids)
    }
}

#[async_trait]
impl Volumes for HostVolumes {
    async fn setup(&self, pod: &Pod, hostname: &str, payloads: &Arc<Payloads>) -> Result<PodFiles, VolumeError> {
        let uid = uid_of(pod)?;
        let turn = self.turn(uid).await?;
        nfs::mount_all(&self.config.mount, &self.run_dir(uid), pod, &turn).await?;
        let (pod, hostname, payloads) = (pod.clone(), hostname.to_owned(), payloads.clone());
        self.in_turn(turn, move |v| v.setup_blocking(&pod, &hostname, &payloads)).await
    }

    async fn refresh(&self, pod: &Pod, payloads: &Arc<Payloads>) -> Result<(), VolumeError> {
        let turn = self.turn(uid_of(pod)?).await?;
        let (pod, payloads) = (pod.clone(), payloads.clone());
        self.in_turn(turn, move |v| v.refresh_blocking(&pod, &payloads)).await
    }

    /// Without a turn: a server that is gone may keep it for ever, and nobody gives it up.
    async fn sub_path(&self, uid: &str, volume: &Path, wanted: &SubPath) -> Result<PathBuf, VolumeError> {
        let (uid, volume, wanted) = (uid.to_owned(), volume.to_owned(), wanted.clone());
        self.blocking(move |v| v.sub_path_blocking(&uid, &volume, &wanted)).await
    }

    async fn over_limit(&self, pod: &Pod) -> Result<Option<String>, VolumeError> {
        let pod = pod.clone();
        self.blocking(move |v| v.over_limit_blocking(&pod)).await
    }

    async fn disk_usage(&self, uid: &str) -> Result<DiskUsage, VolumeError> {
        check_uid(uid)?;
        let dir = self.state_dir(uid).join("volumes");
        self.blocking(move |_| usage::disk_usage(&dir).map_err(|e| VolumeError::files("measure", &dir, e))).await
    }

    async fn write_hosts(&self, pod: &Pod, hostname: &str, ips: &[IpAddr]) -> Result<(), VolumeError> {
        let path = self.run_dir(uid_of(pod)?).join("etc-hosts");
        let text = hosts::content(pod, hostname, ips, &self.host_file(&self.config.hosts));
        write_in_place(&path, &text)
    }

    async fn termination_log(&self, uid: &str, container: &str, attempt: u32) -> Result<PathBuf, VolumeError> {
        let path = self.log_path(uid, container, attempt)?;
        termination::create(&path).map_err(|e| VolumeError::files("create", &path, e))?;
        Ok(path)
    }

    async fn termination_message(&self, uid: &str, container: &str, attempt: u32) -> String {
        self.log_path(uid, container, attempt).map(|path| termination::read(&path)).unwrap_or_default()
    }

    /// Goes on past an error in one of the two directories; the first is returned, the second said.
    async fn remove(&self, uid: &str) -> Result<(), VolumeError> {
        check_uid(uid)?;
        let turn = self.turn(uid).await?;
        let uid = uid.to_owned();
        let remove = |dir: &Path| teardown::remove(dir).map_err(|e| VolumeError::files("remove", dir, e));
        self.in_turn(turn, move |v| {
            let (run, state) = (remove(&v.run_dir(&uid)), remove(&v.state_dir(&uid)));
            if let (Err(_), Err(second)) = (&run, &state) {
                tracing::warn!(%uid, error = %second, "a pod's directory cannot be removed either");
            }
            run.and(state)
        })
        .await
    }

    async fn list(&self) -> Result<Vec<String>, VolumeError> {
        self.blocking(HostVolumes::list_blocking).await
    }
}

/// What the kernel calls the pod is in its `/etc/hostname`, too (containerd: internal/cri/server/sandbox_run_linux.go setupSandboxFiles): the full
/// name where the pod asks for it. `hostname` in the host's network.
fn kernels_name(pod: &Pod, hostname: &str) -> String {
    match pod.spec.as_ref().and_then(|s| s.host_network) {
        Some(true) => hostname.to_owned(),
        // One that is too long is refused with the namespaces.
        _ => attempt::kernel_hostname(pod).unwrap_or_else(|_| hostname.to_owned()),
    }
}

fn uid_of(pod: &Pod) -> Result<&str, VolumeError> {
    let uid = pod.metadata.uid.as_deref().unwrap_or_default();
    check_uid(uid).map(|()| uid)
}

fn check_uid(uid: &str) -> Result<(), VolumeError> {
    match is_plain_name(uid) {
        true => Ok(()),
        false => Err(VolumeError::files("use", Path::new(uid), io::Error::new(io::ErrorKind::InvalidInput, "invalid pod uid"))),
    }
}

/// A name that stays in its directory (validation holds names to less than this).
pub(super) fn is_plain_name(name: &str) -> bool {
    let allowed = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'-');
    name.bytes().next().is_some_and(|b| b.is_ascii_alphanumeric()) && name.bytes().all(allowed) && name.len() <= 255
}

/// The kind of a volume that validation should not have let through.
fn not_honoured(volume: &Volume) -> String {
    let fields = serde_json::to_value(volume).unwrap_or_default();
    let kind = fields.as_object().and_then(|o| o.keys().find(|k| *k != "name"));
    format!("volumes of kind {:?} are not supported on this node", kind.map_or("", String::as_str))
}

/// Makes a directory that only root reaches into from outside of containers (0750, as the kubelet's).
pub(super) fn make_private(dir: &Path) -> Result<(), VolumeError> {
    let made = std::fs::DirBuilder::new().recursive(true).mode(0o750).create(dir);
    made.map_err(|e| VolumeError::files("create", dir, e))
}

/// Writes over a file, keeping it the same file.
fn write_in_place(path: &Path, text: &str) -> Result<(), VolumeError> {
    std::fs::write(path, text).map_err(|e| VolumeError::files("write", path, e))
}

/// Writes a file whole, unless it is there.
fn write_once(path: &Path, text: &str) -> Result<(), VolumeError> {
    if path.exists() {
        return Ok(());
    }
    let temporary = path.with_extension("tmp");
    write_in_place(&temporary, text)?;
    std::fs::rename(&temporary, path).map_err(|e| VolumeError::files("write", path, e))
}
