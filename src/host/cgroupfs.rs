//! Pod-level cgroups written straight into the file system: `/<root>/kubepods/{burstable,besteffort}/pod<uid>/<container>`.
//!
//! Guarantees: every call is safe to repeat; only directories under `/<root>/kubepods` are touched. runc makes the containers'
//! own cgroups below, also in v1's named hierarchies, whose parents are therefore removed here but never made.
//! After pkg/kubelet/cm (cgroup_manager_linux.go, qos_container_manager_linux.go).

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use k8s_openapi::api::core::v1::Pod;

use super::hierarchies::Hierarchy;
use super::resources::{PodLimits, Qos, hugepage_limits, pod_limits, shares, weight};
use super::{CgroupVersion, EveryPod, Hierarchies, PodCgroups, hugetlb};
use crate::oci::resources::CPU_PERIOD;

/// The deepest tree below a pod that is removed: container, and what an init system in it made.
const MAX_DEPTH: usize = 16;

/// The driver for hosts without systemd.
#[derive(Debug)]
pub struct CgroupfsPods {
    hierarchies: Hierarchies,
    /// Relative: `kubepods` or `<root>/kubepods`.
    kubepods: PathBuf,
    cpu_millis: u64,
    every_pod: EveryPod,
    /// cpu requests of burstable pods, whose sum is their parent's weight.
    burstable: Mutex<BTreeMap<String, u64>>,
}

impl CgroupfsPods {
    /// The driver under `/<root>/kubepods`; "" for `/kubepods`. `cpu_millis` is the host's.
    /// Errors: `root` is no plain name.
    pub fn new(hierarchies: Hierarchies, root: &str, cpu_millis: u64) -> io::Result<CgroupfsPods> {
        if !root.is_empty() {
            check_name(root)?;
        }
        let kubepods = Path::new(root).join("kubepods");
        Ok(CgroupfsPods { hierarchies, kubepods, cpu_millis, every_pod: EveryPod::default(), burstable: Mutex::default() })
    }

    /// With what holds for each pod.
    pub fn holding(self, every_pod: EveryPod) -> CgroupfsPods {
        CgroupfsPods { every_pod, ..self }
    }

    /// Removes `kubepods` (and the root above it), once empty; absent is no error, pods left are (EBUSY).
    pub fn remove_root(&self) -> io::Result<()> {
        let mut result = Ok(());
        for hierarchy in &self.hierarchies.mounted {
            for qos in [Qos::Burstable, Qos::BestEffort] {
                result = result.and(rmdir(&hierarchy.mount.join(self.parent(qos))));
            }
            for path in self.kubepods.ancestors().filter(|p| !p.as_os_str().is_empty()) {
                result = result.and(rmdir(&hierarchy.mount.join(path)));
            }
        }
        result
    }

    /// The QoS parent, relative to a hierarchy's mount.
    fn parent(&self, qos: Qos) -> PathBuf {
        match qos {
            Qos::Guaranteed => self.kubepods.clone(),
            Qos::Burstable => self.kubepods.join("burstable"),
            Qos::BestEffort => self.kubepods.join("besteffort"),
        }
    }

    fn pod_dir(&self, qos: Qos, uid: &str) -> PathBuf {
        self.parent(qos).join(format!("pod{uid}"))
    }

    /// Makes the directories from the mount down to `path`, each ready for children.
    fn make(&self, hierarchy: &Hierarchy, path: &Path) -> io::Result<()> {
        let mut dir = hierarchy.mount.clone();
        self.delegate(hierarchy, &dir)?;
        for part in path {
            let above = dir.clone();
            dir.push(part);
            match std::fs::create_dir(&dir) {
                Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {}
                done => done.map_err(|e| named("create", &dir, &e))?,
            }
            if hierarchy.controllers.iter().any(|c| c == "cpuset") && self.hierarchies.version == CgroupVersion::V1 {
                inherit_cpuset(&above, &dir)?;
            }
            self.delegate(hierarchy, &dir)?;
        }
        Ok(())
    }

    /// v2: gives a cgroup's children every controller that it has itself.
    fn delegate(&self, hierarchy: &Hierarchy, dir: &Path) -> io::Result<()> {
        if self.hierarchies.version == CgroupVersion::V1 {
            return Ok(());
        }
        let file = dir.join("cgroup.subtree_control");
        let enabled = std::fs::read_to_string(&file).unwrap_or_default();
        for controller in hierarchy.controllers.iter().filter(|c| !enabled.split_whitespace().any(|e| e == c.as_str())) {
            if let Err(e) = write(&file, &format!("+{controller}")) {
                if matches!(controller.as_str(), "cpu" | "memory" | "pids") {
                    return Err(e);
                }
                tracing::warn!(%controller, error = %e, "controller not given to pods");
            }
        }
        Ok(())
    }

    fn set_cpu_shares(&self, path: &Path, cpu_shares: u64) -> io::Result<()> {
        let Some(hierarchy) = self.hierarchies.with("cpu") else { return Ok(()) };
        let dir = hierarchy.mount.join(path);
        match self.hierarchies.version {
            CgroupVersion::V1 => write(&dir.join("cpu.shares"), &cpu_shares.to_string()),
            CgroupVersion::V2 => write(&dir.join("cpu.weight"), &weight(cpu_shares).to_string()),
        }
    }

    /// What the pod does not ask for itself: its processes, and huge pages of each size.
    fn set_for_every_pod(&self, path: &Path, pod: &Pod) -> io::Result<()> {
        if let (Some(pids), Some(hierarchy)) = (self.every_pod.pids, self.hierarchies.with("pids")) {
            write(&hierarchy.mount.join(path).join("pids.max"), &pids.to_string())?;
        }
        hugetlb::limit(&self.hierarchies, path, &hugepage_limits(pod, &self.every_pod.page_sizes))
    }

    fn set_limits(&self, path: &Path, limits: &PodLimits) -> io::Result<()> {
        self.set_cpu_shares(path, limits.cpu_shares)?;
        let v2 = self.hierarchies.version == CgroupVersion::V2;
        if let (Some(quota), Some(cpu)) = (limits.cpu_quota_us, self.hierarchies.with("cpu")) {
            let dir = cpu.mount.join(path);
            if v2 {
                write(&dir.join("cpu.max"), &format!("{quota} {CPU_PERIOD}"))?;
            } else {
                write(&dir.join("cpu.cfs_period_us"), &CPU_PERIOD.to_string())?;
                write(&dir.join("cpu.cfs_quota_us"), &quota.to_string())?;
            }
        }
        if let (Some(bytes), Some(memory)) = (limits.memory_bytes, self.hierarchies.with("memory")) {
            let file = if v2 { "memory.max" } else { "memory.limit_in_bytes" };
            write(&memory.mount.join(path).join(file), &bytes.to_string())?;
        }
        Ok(())
    }

    /// The shares of `kubepods` and its classes: the host's CPUs, the sum of burstable requests, and the least.
    fn set_parents(&self) -> io::Result<()> {
        let requested = self.burstable.lock().unwrap_or_else(PoisonError::into_inner).values().copied().fold(0, u64::saturating_add);
        for (path, cpu_shares) in [
            (self.kubepods.clone(), shares(self.cpu_millis)),
            (self.parent(Qos::Burstable), shares(requested)),
            (self.parent(Qos::BestEffort), shares(0)),
        ] {
            match self.set_cpu_shares(&path, cpu_shares) {
                Err(e) if e.kind() == io::ErrorKind::NotFound => {} // no pod of this class yet
                done => done?,
            }
        }
        Ok(())
    }
}

impl PodCgroups for CgroupfsPods {
    fn create(&self, pod: &Pod) -> io::Result<()> {
        let uid = pod.metadata.uid.as_deref().unwrap_or_default();
        check_name(uid)?;
        let limits = pod_limits(pod);
        let path = self.pod_dir(limits.qos, uid);
        for hierarchy in self.hierarchies.mounted.iter().filter(|h| !h.controllers.is_empty()) {
            self.make(hierarchy, &path)?;
        }
        if limits.qos == Qos::Burstable {
            let mut burstable = self.burstable.lock().unwrap_or_else(PoisonError::into_inner);
            burstable.insert(uid.to_owned(), limits.cpu_request_millis);
        }
        self.set_parents()?;
        self.set_limits(&path, &limits)?;
        self.set_for_every_pod(&path, pod)
    }

    fn remove(&self, uid: &str) -> io::Result<()> {
        check_name(uid)?;
        let mut result = Ok(());
        for qos in Qos::ALL {
            for hierarchy in &self.hierarchies.mounted {
                result = result.and(rmdir_tree(&hierarchy.mount.join(self.pod_dir(qos, uid)), MAX_DEPTH));
            }
        }
        self.burstable.lock().unwrap_or_else(PoisonError::into_inner).remove(uid);
        result.and(self.set_parents())
    }

    fn list(&self) -> io::Result<Vec<String>> {
        let mut uids = Vec::new();
        for dir in self.hierarchies.mounted.iter().flat_map(|h| Qos::ALL.map(|qos| h.mount.join(self.parent(qos)))) {
            let names = children(&dir)?.into_iter().filter_map(|p| p.file_name()?.to_str().map(str::to_owned));
            uids.extend(names.filter_map(|n| n.strip_prefix("pod").map(str::to_owned)));
        }
        uids.sort();
        uids.dedup();
        Ok(uids)
    }

    fn adopt(&self, pod: &Pod) {
        let (uid, limits) = (pod.metadata.uid.clone().unwrap_or_default(), pod_limits(pod));
        if limits.qos == Qos::Burstable {
            self.burstable.lock().unwrap_or_else(PoisonError::into_inner).insert(uid, limits.cpu_request_millis);
        }
    }

    fn oom_kills(&self, cgroups_path: &str) -> Option<u64> {
        oom_kills(&self.hierarchies, Path::new(cgroups_path.trim_start_matches('/')))
    }

    fn container_path(&self, pod: &Pod, container_id: &str) -> String {
        let uid = pod.metadata.uid.as_deref().unwrap_or_default();
        format!("/{}/{container_id}", self.pod_dir(pod_limits(pod).qos, uid).display())
    }
}

/// `oom_kill N` of a cgroup's memory.oom_control (v1) or memory.events (v2, which counts what is below too); `None` where it is gone.
pub(super) fn oom_kills(hierarchies: &Hierarchies, path: &Path) -> Option<u64> {
    let memory = hierarchies.with("memory")?;
    let file = match hierarchies.version {
        CgroupVersion::V1 => "memory.oom_control",
        CgroupVersion::V2 => "memory.events",
    };
    let text = std::fs::read_to_string(memory.mount.join(path).join(file)).ok()?;
    Some(super::parse::field(&text, "oom_kill ").and_then(|n| n.parse().ok()).unwrap_or(0))
}

/// A name that stays in its directory.
pub(super) fn check_name(name: &str) -> io::Result<()> {
    let allowed = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'-');
    let starts_well = name.bytes().next().is_some_and(|b| b.is_ascii_alphanumeric());
    match starts_well && name.bytes().all(allowed) && name.len() <= 200 {
        true => Ok(()),
        false => Err(io::Error::new(io::ErrorKind::InvalidInput, format!("invalid cgroup name {name:?}"))),
    }
}

/// v1: a new cpuset is empty and takes no task until it has its parent's CPUs and memory nodes.
fn inherit_cpuset(parent: &Path, child: &Path) -> io::Result<()> {
    for file in ["cpuset.cpus", "cpuset.mems"] {
        let own = std::fs::read_to_string(child.join(file)).unwrap_or_default();
        if own.trim().is_empty() {
            let above = std::fs::read_to_string(parent.join(file)).map_err(|e| named("read", &parent.join(file), &e))?;
            write(&child.join(file), above.trim())?;
        }
    }
    Ok(())
}

fn write(file: &Path, text: &str) -> io::Result<()> {
    std::fs::write(file, text).map_err(|e| named("write", file, &e))
}

fn named(action: &str, path: &Path, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("failed to {action} {}: {error}", path.display()))
}

/// Directories in `dir`; none where it is gone.
fn children(dir: &Path) -> io::Result<Vec<PathBuf>> {
    let entries = match std::fs::read_dir(dir) {
        Err(e) if gone(&e) => return Ok(Vec::new()),
        other => other.map_err(|e| named("read", dir, &e))?,
    };
    Ok(entries.filter_map(Result::ok).filter(|e| e.file_type().is_ok_and(|t| t.is_dir())).map(|e| e.path()).collect())
}

/// Removes a cgroup and those below it, deepest first.
fn rmdir_tree(dir: &Path, depth: usize) -> io::Result<()> {
    if depth > 0 {
        for child in children(dir)? {
            rmdir_tree(&child, depth - 1)?;
        }
    }
    rmdir(dir)
}

fn rmdir(dir: &Path) -> io::Result<()> {
    match std::fs::remove_dir(dir) {
        Err(e) if gone(&e) => Ok(()),
        other => other.map_err(|e| named("remove", dir, &e)),
    }
}

/// ENODEV: a cgroup that vanished while it was read.
fn gone(e: &io::Error) -> bool {
    e.kind() == io::ErrorKind::NotFound || e.raw_os_error() == Some(nix::errno::Errno::ENODEV as i32)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn pod(uid: &str, resources: serde_json::Value) -> Pod {
        let spec = json!({"containers": [{"name": "c", "resources": resources}]});
        serde_json::from_value(json!({"metadata": {"uid": uid}, "spec": spec})).unwrap()
    }

    /// Plain files stand in for a v2 mount: what is written is what a kernel would be told.
    fn unified(dir: &Path) -> CgroupfsPods {
        let controllers = ["cpu", "memory", "pids"].map(String::from).to_vec();
        let hierarchies = Hierarchies { version: CgroupVersion::V2, mounted: vec![Hierarchy { mount: dir.to_owned(), controllers }] };
        CgroupfsPods::new(hierarchies, "t", 2000).unwrap()
    }

    #[test]
    fn v2_is_told_weights_and_limits_down_the_path() {
        let dir = tempfile::tempdir().unwrap();
        let pods = unified(dir.path());
        let read = |file: &str| std::fs::read_to_string(dir.path().join(file)).unwrap();
        let one = pod("a-1", json!({"requests": {"cpu": "1"}, "limits": {"cpu": "2", "memory": "64Mi"}}));
        pods.create(&one).unwrap();
        pods.create(&pod("b-2", json!({"requests": {"cpu": "1"}}))).unwrap();
        assert_eq!(read("t/kubepods/burstable/poda-1/cpu.max"), "200000 100000");
        assert_eq!(read("t/kubepods/burstable/poda-1/memory.max"), "67108864");
        assert_eq!(read("t/kubepods/burstable/cpu.weight"), weight(2048).to_string());
        assert_eq!(read("t/kubepods/burstable/cgroup.subtree_control"), "+pids");
        assert_eq!(pods.list().unwrap(), ["a-1", "b-2"]);
        assert_eq!(pods.container_path(&one, "id"), "/t/kubepods/burstable/poda-1/id");
    }

    #[test]
    fn every_pod_has_so_many_processes_at_most() {
        let dir = tempfile::tempdir().unwrap();
        let limited = |pids| unified(dir.path()).holding(EveryPod { pids, page_sizes: Vec::new() });
        limited(None).create(&pod("a-1", json!({}))).unwrap();
        limited(Some(64)).create(&pod("b-2", json!({}))).unwrap();
        let max = |pod: &str| std::fs::read_to_string(dir.path().join("t/kubepods/besteffort").join(pod).join("pids.max")).ok();
        assert_eq!((max("poda-1"), max("podb-2").as_deref()), (None, Some("64")));
    }

    #[test]
    fn adopted_pods_count_in_their_class() {
        let dir = tempfile::tempdir().unwrap();
        let pods = unified(dir.path());
        pods.adopt(&pod("a-1", json!({"requests": {"cpu": "1"}})));
        pods.create(&pod("b-2", json!({"requests": {"cpu": "1"}}))).unwrap();
        let read = |file: &str| std::fs::read_to_string(dir.path().join(file)).unwrap();
        assert_eq!(read("t/kubepods/burstable/cpu.weight"), weight(2048).to_string());
    }

    #[test]
    fn oom_kills_are_read_and_absent_is_none() {
        let dir = tempfile::tempdir().unwrap();
        let pods = unified(dir.path());
        std::fs::create_dir_all(dir.path().join("p/c")).unwrap();
        std::fs::write(dir.path().join("p/c/memory.events"), "low 0\noom 4\noom_kill 3\noom_group_kill 0\n").unwrap();
        assert_eq!((pods.oom_kills("/p/c"), pods.oom_kills("/p/gone")), (Some(3), None));
    }

    #[test]
    fn names_that_lead_elsewhere_are_refused() {
        let dir = tempfile::tempdir().unwrap();
        let pods = unified(dir.path());
        for uid in ["", "..", "../x", "a/b", "/"] {
            assert_eq!(pods.remove(uid).unwrap_err().kind(), io::ErrorKind::InvalidInput, "{uid}");
            assert!(pods.create(&pod(uid, json!({}))).is_err(), "{uid}");
        }
    }
}
