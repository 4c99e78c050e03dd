//! Pod-level cgroups as systemd slices: `kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod<uid>.slice`.
//!
//! systemd owns the tree, so it is asked (`busctl`, `systemctl`: two short-lived processes a pod) and never written behind its
//! back. The host's shutdown is no reason for systemd to stop a slice by itself (`slice_drop_ins`). Names and properties are `slices`'. runc's systemd driver then makes `cri-containerd-<id>.scope` inside the slice.
//! Calls block for some 10 ms: not for an async thread.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Mutex, PoisonError};

use k8s_openapi::api::core::v1::Pod;

use super::cgroupfs::{check_name, oom_kills};
use super::resources::{Qos, hugepage_limits, pod_limits, shares};
use super::slice_drop_ins::{self, RUNTIME_UNITS};
use super::slices::{self, Property};
use super::{CgroupVersion, EveryPod, Hierarchies, PodCgroups, hugetlb};

/// The driver for hosts whose PID 1 is systemd.
#[derive(Debug)]
pub struct SystemdPods {
    hierarchies: Hierarchies,
    root: String,
    cpu_millis: u64,
    every_pod: EveryPod,
    /// cpu requests of burstable pods, whose sum is their parent's weight.
    burstable: Mutex<BTreeMap<String, u64>>,
    /// The shares of the slices above the pods, as systemd was last told: most pods change none, and telling costs a process.
    told: Mutex<BTreeMap<String, u64>>,
    /// Whether systemd was told that shutdown is no reason to stop slices: by one pod for all, as they may start at once.
    dropped_in: Mutex<bool>,
    /// How many OOM kills of each pod's slice were laid to a container or lie before our time.
    accounted: Mutex<BTreeMap<PathBuf, u64>>,
}

impl SystemdPods {
    /// The driver under `kubepods.slice`, or `<root>-kubepods.slice`. Errors: `root` is no plain name.
    pub fn new(hierarchies: Hierarchies, root: &str, cpu_millis: u64) -> io::Result<SystemdPods> {
        if !root.is_empty() {
            check_name(root)?;
        }
        Ok(SystemdPods {
            hierarchies,
            root: root.to_owned(),
            cpu_millis,
            every_pod: EveryPod::default(),
            burstable: Mutex::default(),
            told: Mutex::default(),
            dropped_in: Mutex::default(),
            accounted: Mutex::default(),
        })
    }

    /// With what holds for each pod.
    pub fn holding(self, every_pod: EveryPod) -> SystemdPods {
        SystemdPods { every_pod, ..self }
    }

    /// Stops the slices above the pods; pods left are an error (EBUSY), absent is none.
    pub fn remove_root(&self) -> io::Result<()> {
        if !self.list()?.is_empty() {
            return Err(io::Error::new(io::ErrorKind::ResourceBusy, "pods are left in kubepods.slice"));
        }
        for qos in [Qos::Burstable, Qos::BestEffort, Qos::Guaranteed] {
            let slice = slices::parent(&self.root, qos);
            self.stop(&slice)?;
            // What `set` left for a slice that systemd made by itself (a pod's own goes with its transient unit).
            if Path::new("/run/systemd/system.control").join(format!("{slice}.d")).exists() {
                run(Command::new("systemctl").args(["revert", &slice]))?;
            }
        }
        slice_drop_ins::remove(Path::new(RUNTIME_UNITS), &slices::parent(&self.root, Qos::Guaranteed))
    }

    /// Starts a slice with these properties, or sets them on one that runs.
    fn start(&self, slice: &str, properties: &[Property]) -> io::Result<()> {
        self.outlast_shutdown()?;
        let mut all: Vec<Property> = vec![("Description", "s", format!("minik8s {slice}"))];
        for accounting in ["CPUAccounting", "MemoryAccounting", "TasksAccounting"] {
            all.push((accounting, "b", "true".into()));
        }
        all.extend(properties.iter().cloned());
        match run(Command::new("busctl").args(start_arguments(slice, &all))) {
            Err(e) if e.to_string().contains("already") && properties.is_empty() => Ok(()),
            Err(e) if e.to_string().contains("already") => self.set(slice, properties),
            done => done,
        }
    }

    /// Before the first slice is made; its drop-ins stay as long as the host is up.
    fn outlast_shutdown(&self) -> io::Result<()> {
        let mut written = self.dropped_in.lock().unwrap_or_else(PoisonError::into_inner);
        if !*written {
            slice_drop_ins::write(Path::new(RUNTIME_UNITS), &slices::parent(&self.root, Qos::Guaranteed))?;
            *written = true;
        }
        Ok(())
    }

    /// Sets properties of a running slice until the next boot.
    fn set(&self, slice: &str, properties: &[Property]) -> io::Result<()> {
        let mut command = Command::new("systemctl");
        command.args(["set-property", "--runtime", slice]).args(properties.iter().map(assignment));
        run(&mut command)
    }

    /// systemd has no property for them.
    fn limit_hugepages(&self, pod: &Pod, path: &Path) -> io::Result<()> {
        let limits = hugepage_limits(pod, &self.every_pod.page_sizes);
        if !limits.is_empty() {
            hugetlb::delegate(&self.hierarchies, path);
        }
        hugetlb::limit(&self.hierarchies, path, &limits)
    }

    fn stop(&self, slice: &str) -> io::Result<()> {
        match self.exists(slice) {
            false => Ok(()),
            true => run(Command::new("systemctl").args(["stop", slice])),
        }
    }

    /// Whether the slice has a cgroup in any hierarchy.
    fn exists(&self, slice: &str) -> bool {
        let path = slices::path(slice);
        self.hierarchies.mounted.iter().any(|h| h.mount.join(&path).is_dir())
    }

    /// Whether a process is left in the slice: stopping it would kill that.
    fn populated(&self, slice: &str) -> bool {
        let path = slices::path(slice);
        self.hierarchies.mounted.iter().any(|h| has_processes(&h.mount.join(&path), 8))
    }

    /// OOM kills below a slice since this was last asked; `None` where that is gone, or counts only itself (v1).
    fn new_oom_kills(&self, slice: PathBuf) -> Option<u64> {
        if self.hierarchies.version == CgroupVersion::V1 {
            return None;
        }
        let mut accounted = self.accounted.lock().unwrap_or_else(PoisonError::into_inner);
        let kills = oom_kills(&self.hierarchies, &slice)?;
        Some(kills.saturating_sub(accounted.insert(slice, kills).unwrap_or(0)))
    }

    /// Tells systemd the shares of the slices above the pods, as far as they changed. One at a time, so that the newest sum is told last.
    fn set_parents(&self) -> io::Result<()> {
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        told.retain(|slice, _| self.exists(slice));
        let requested = self.burstable.lock().unwrap_or_else(PoisonError::into_inner).values().copied().fold(0, u64::saturating_add);
        for (slice, shares) in untold(&told, &self.root, self.cpu_millis, requested) {
            if self.exists(&slice) {
                self.set(&slice, &[slices::cpu_shares(self.hierarchies.version, shares)])?;
                told.insert(slice, shares);
            }
        }
        Ok(())
    }
}

/// The slices above the pods whose shares systemd does not know yet: the host's CPUs, what burstable pods request, and the least.
fn untold(told: &BTreeMap<String, u64>, root: &str, cpu_millis: u64, requested: u64) -> Vec<(String, u64)> {
    let wanted = [(Qos::Guaranteed, cpu_millis), (Qos::Burstable, requested), (Qos::BestEffort, 0)];
    let wanted = wanted.map(|(qos, millis)| (slices::parent(root, qos), shares(millis)));
    wanted.into_iter().filter(|(slice, shares)| told.get(slice) != Some(shares)).collect()
}

impl PodCgroups for SystemdPods {
    fn create(&self, pod: &Pod) -> io::Result<()> {
        let uid = pod.metadata.uid.as_deref().unwrap_or_default();
        check_name(uid)?;
        let limits = pod_limits(pod);
        let slice = slices::pod(&self.root, limits.qos, uid);
        // systemd would start the slices above by itself, but as ones that conflict with shutdown.target, and all that is in them with them.
        for above in slices::above(&slice).iter().filter(|above| !self.exists(above)) {
            self.start(above, &[])?;
        }
        self.start(&slice, &slices::properties(self.hierarchies.version, &limits, self.every_pod.pids))?;
        self.limit_hugepages(pod, &slices::path(&slice))?;
        if limits.qos == Qos::Burstable {
            let mut burstable = self.burstable.lock().unwrap_or_else(PoisonError::into_inner);
            burstable.insert(uid.to_owned(), limits.cpu_request_millis);
        }
        self.set_parents()
    }

    fn remove(&self, uid: &str) -> io::Result<()> {
        check_name(uid)?;
        for slice in Qos::ALL.map(|qos| slices::pod(&self.root, qos, uid)) {
            if self.populated(&slice) {
                return Err(io::Error::new(io::ErrorKind::ResourceBusy, format!("processes are left in {slice}")));
            }
            self.stop(&slice)?;
            self.accounted.lock().unwrap_or_else(PoisonError::into_inner).remove(&slices::path(&slice));
        }
        let was_burstable = self.burstable.lock().unwrap_or_else(PoisonError::into_inner).remove(uid).is_some();
        if was_burstable { self.set_parents() } else { Ok(()) }
    }

    fn list(&self) -> io::Result<Vec<String>> {
        let parents = Qos::ALL.map(|qos| slices::path(&slices::parent(&self.root, qos)));
        let dirs = self.hierarchies.mounted.iter().flat_map(|h| parents.iter().map(|p| h.mount.join(p)));
        let entries = dirs.filter_map(|d| std::fs::read_dir(d).ok()).flatten();
        let names = entries.filter_map(|e| e.ok()?.file_name().into_string().ok());
        let mut uids: Vec<String> = names.filter_map(|n| slices::uid_of(&self.root, &n)).collect();
        uids.sort();
        uids.dedup();
        Ok(uids)
    }

    fn adopt(&self, pod: &Pod) {
        let (uid, limits) = (pod.metadata.uid.clone().unwrap_or_default(), pod_limits(pod));
        self.new_oom_kills(slices::path(&slices::pod(&self.root, limits.qos, &uid)));
        if limits.qos == Qos::Burstable {
            self.burstable.lock().unwrap_or_else(PoisonError::into_inner).insert(uid, limits.cpu_request_millis);
        }
    }

    fn oom_kills(&self, cgroups_path: &str) -> Option<u64> {
        let container = slices::container_path(cgroups_path);
        let own = oom_kills(&self.hierarchies, &container);
        // Asked in any case: what is laid to this container is not new any more.
        let new_in_pod = container.parent().and_then(|slice| self.new_oom_kills(slice.to_owned()));
        own.or(new_in_pod)
    }

    fn container_path(&self, pod: &Pod, container_id: &str) -> String {
        let uid = pod.metadata.uid.as_deref().unwrap_or_default();
        format!("{}:cri-containerd:{container_id}", slices::pod(&self.root, pod_limits(pod).qos, uid))
    }
}

/// `busctl`'s words for org.freedesktop.systemd1.Manager.StartTransientUnit.
fn start_arguments(slice: &str, properties: &[Property]) -> Vec<String> {
    let manager = ["org.freedesktop.systemd1", "/org/freedesktop/systemd1", "org.freedesktop.systemd1.Manager"];
    let mut arguments: Vec<String> = ["--system", "call"].into_iter().chain(manager).map(str::to_owned).collect();
    arguments.extend(["StartTransientUnit", "ssa(sv)a(sa(sv))", slice, "fail"].map(str::to_owned));
    arguments.push(properties.len().to_string());
    for (name, kind, value) in properties {
        arguments.extend([(*name).to_owned(), (*kind).to_owned(), value.clone()]);
    }
    arguments.push("0".into());
    arguments
}

/// A property as `systemctl set-property` takes it.
fn assignment((name, _, value): &Property) -> String {
    match *name {
        "CPUQuotaPerSecUSec" => {
            let hundredths = value.parse::<u64>().unwrap_or(0) / 100;
            format!("CPUQuota={}.{:02}%", hundredths / 100, hundredths % 100)
        }
        name => format!("{name}={value}"),
    }
}

fn has_processes(dir: &std::path::Path, depth: usize) -> bool {
    let here = std::fs::read_to_string(dir.join("cgroup.procs")).is_ok_and(|t| !t.trim().is_empty());
    let below = || {
        let entries = std::fs::read_dir(dir).into_iter().flatten().filter_map(Result::ok);
        entries.filter(|e| e.file_type().is_ok_and(|t| t.is_dir())).any(|e| has_processes(&e.path(), depth - 1))
    };
    here || (depth > 0 && below())
}

/// Runs a command to its end. Errors: it cannot be executed, or its own words.
fn run(command: &mut Command) -> io::Result<()> {
    let output = command.stdin(Stdio::null()).output()?;
    match output.status.success() {
        true => Ok(()),
        false => Err(io::Error::other(String::from_utf8_lossy(&output.stderr).trim().to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Plain files stand in for a v2 mount, on which systemd has removed the scopes of what ended.
    #[test]
    fn a_scope_that_is_gone_is_told_by_its_pod_s_slice() {
        let dir = tempfile::tempdir().unwrap();
        let hierarchy = crate::host::hierarchies::Hierarchy { mount: dir.path().to_owned(), controllers: vec!["memory".into()] };
        let hierarchies = Hierarchies { version: crate::host::CgroupVersion::V2, mounted: vec![hierarchy] };
        let pods = SystemdPods::new(hierarchies.clone(), "", 1000).unwrap();
        let pod: Pod =
            serde_json::from_value(serde_json::json!({"metadata": {"uid": "a-b"}, "spec": {"containers": [{"name": "c"}]}})).unwrap();
        let slice = dir.path().join("kubepods.slice/kubepods-besteffort.slice/kubepods-besteffort-poda_b.slice");
        std::fs::create_dir_all(slice.join("cri-containerd-there.scope")).unwrap();
        let count =
            |cgroup: &str, kills: u64| std::fs::write(slice.join(cgroup).join("memory.events"), format!("oom_kill {kills}\n")).unwrap();
        let killed = |pods: &SystemdPods, id: &str| pods.oom_kills(&pods.container_path(&pod, id));

        assert_eq!(killed(&pods, "gone"), None, "nothing is counted there yet");
        count("", 0);
        assert_eq!(killed(&pods, "gone"), Some(0));
        count("", 1);
        assert_eq!(killed(&pods, "gone"), Some(1));
        assert_eq!(killed(&pods, "another"), Some(0), "each kill is laid to one container");
        count("", 2);
        count("cri-containerd-there.scope", 1);
        assert_eq!((killed(&pods, "there"), killed(&pods, "gone")), (Some(1), Some(0)));

        let next_agent = SystemdPods::new(hierarchies, "", 1000).unwrap();
        next_agent.adopt(&pod);
        assert_eq!(killed(&next_agent, "gone"), Some(0), "what was before is not laid to what was adopted");
        count("", 3);
        assert_eq!(killed(&next_agent, "gone"), Some(1));
    }

    /// v1's counters are each cgroup's own: a slice's 0 says nothing of a scope that is gone.
    #[test]
    fn v1_cannot_tell_of_a_scope_that_is_gone() {
        let dir = tempfile::tempdir().unwrap();
        let hierarchy = crate::host::hierarchies::Hierarchy { mount: dir.path().to_owned(), controllers: vec!["memory".into()] };
        let pods = SystemdPods::new(Hierarchies { version: CgroupVersion::V1, mounted: vec![hierarchy] }, "", 1000).unwrap();
        let slice = dir.path().join("kubepods.slice/kubepods-poda.slice");
        for (cgroup, kills) in [("", 0), ("cri-containerd-there.scope", 1)] {
            std::fs::create_dir_all(slice.join(cgroup)).unwrap();
            std::fs::write(slice.join(cgroup).join("memory.oom_control"), format!("under_oom 0\noom_kill {kills}\n")).unwrap();
        }
        let killed = |id: &str| pods.oom_kills(&format!("kubepods-poda.slice:cri-containerd:{id}"));
        assert_eq!((killed("there"), killed("gone")), (Some(1), None));
    }

    #[test]
    fn a_slice_is_started_with_typed_properties() {
        let words = start_arguments("kubepods-poda.slice", &[("CPUWeight", "t", "20".into()), ("MemoryAccounting", "b", "true".into())]);
        let tail = ["kubepods-poda.slice", "fail", "2", "CPUWeight", "t", "20", "MemoryAccounting", "b", "true", "0"];
        assert_eq!(words[words.len() - tail.len()..], tail);
    }

    #[test]
    fn only_shares_that_changed_are_told() {
        let mut told = BTreeMap::new();
        let all = untold(&told, "", 2000, 100);
        let expected = [("kubepods.slice", 2048), ("kubepods-burstable.slice", 102), ("kubepods-besteffort.slice", 2)];
        assert_eq!(all, expected.map(|(slice, shares)| (slice.to_owned(), shares)));
        told.extend(all);
        assert_eq!(untold(&told, "", 2000, 100), []);
        assert_eq!(untold(&told, "", 2000, 600), [("kubepods-burstable.slice".to_owned(), 614)]);
    }

    #[test]
    fn quotas_are_percents() {
        assert_eq!(assignment(&("CPUQuotaPerSecUSec", "t", "500000".into())), "CPUQuota=50.00%");
        assert_eq!(assignment(&("CPUQuotaPerSecUSec", "t", "2010000".into())), "CPUQuota=201.00%");
        assert_eq!(assignment(&("MemoryMax", "t", "5".into())), "MemoryMax=5");
    }
}
