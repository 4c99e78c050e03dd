//! Pod-level cgroups and the probe on this machine. Needs root and a cgroup file system that can be written; fails without.
//!
//! Every test has a cgroup root of its own and asserts that nothing of it is left in any hierarchy.
#![allow(clippy::unwrap_used)]

use std::path::{Path, PathBuf};
use std::process::Command;

use k8s_openapi::api::core::v1::Pod;
use minik8s::host::{CgroupVersion, CgroupfsPods, EveryPod, Hierarchies, Hierarchy, Paths, PodCgroups, describe, probe};
use serde_json::{Value, json};

struct Lab {
    root: String,
    hierarchies: Hierarchies,
    pods: CgroupfsPods,
}

impl Lab {
    fn new(name: &str) -> Lab {
        let root = format!("mkt-{name}-{}", std::process::id());
        let hierarchies = Hierarchies::read().unwrap();
        let pods = CgroupfsPods::new(hierarchies.clone(), &root, 2000).unwrap();
        Lab { root, hierarchies, pods }
    }

    fn dir(&self, controller: &str, below: &str) -> PathBuf {
        self.hierarchies.with(controller).unwrap().mount.join(&self.root).join("kubepods").join(below)
    }

    fn read(&self, controller: &str, below: &str, v1: &str, v2: &str) -> String {
        let file = if self.hierarchies.version == CgroupVersion::V1 { v1 } else { v2 };
        std::fs::read_to_string(self.dir(controller, below).join(file)).unwrap().trim().to_owned()
    }

    fn shares(&self, below: &str) -> String {
        self.read("cpu", below, "cpu.shares", "cpu.weight")
    }

    fn finish(self) {
        assert_eq!(self.pods.list().unwrap(), Vec::<String>::new());
        self.pods.remove_root().unwrap();
        self.pods.remove_root().unwrap();
        let left: Vec<_> = self.hierarchies.mounted.iter().map(|h| h.mount.join(&self.root)).filter(|p| p.exists()).collect();
        assert_eq!(left, Vec::<PathBuf>::new());
    }
}

impl Drop for Lab {
    /// What a failed test left: cgroups are removed deepest first.
    fn drop(&mut self) {
        for root in self.hierarchies.mounted.iter().map(|h| h.mount.join(&self.root)).filter(|p| p.exists()) {
            let _ = Command::new("find").arg(root).args(["-depth", "-type", "d", "-exec", "rmdir", "{}", ";"]).status();
        }
    }
}

fn pod(uid: &str, resources: Value) -> Pod {
    let spec = json!({"containers": [{"name": "c", "resources": resources}]});
    serde_json::from_value(json!({"metadata": {"uid": uid}, "spec": spec})).unwrap()
}

#[test]
fn pods_get_their_class_s_tree_and_limits() {
    let lab = Lab::new("tree");
    let v1 = |shares: &str, weight: &str| if lab.hierarchies.version == CgroupVersion::V1 { shares.to_owned() } else { weight.to_owned() };
    lab.pods.create(&pod("g", json!({"limits": {"cpu": "500m", "memory": "64Mi"}}))).unwrap();
    lab.pods.create(&pod("b1", json!({"requests": {"cpu": "1"}}))).unwrap();
    lab.pods.create(&pod("b2", json!({"requests": {"cpu": "500m"}, "limits": {"memory": "32Mi"}}))).unwrap();
    lab.pods.create(&pod("e", json!({}))).unwrap();
    assert_eq!(lab.pods.list().unwrap(), ["b1", "b2", "e", "g"]);
    assert_eq!(lab.shares("podg"), v1("512", "20"));
    assert_eq!(lab.read("cpu", "podg", "cpu.cfs_quota_us", "cpu.max").split(' ').next(), Some("50000"));
    assert_eq!(lab.read("memory", "podg", "memory.limit_in_bytes", "memory.max"), (64 << 20).to_string());
    assert_eq!(lab.read("memory", "burstable/podb2", "memory.limit_in_bytes", "memory.max"), (32 << 20).to_string());
    assert_eq!((lab.shares(""), lab.shares("besteffort")), (v1("2048", "79"), v1("2", "1")));
    assert_eq!(lab.shares("burstable"), v1("1536", "59"));
    lab.pods.remove("b1").unwrap();
    assert_eq!(lab.shares("burstable"), v1("512", "20"), "the sum of what is left");
    // A restarted agent adopts what runs: same again.
    let again = CgroupfsPods::new(lab.hierarchies.clone(), &lab.root, 2000).unwrap();
    again.create(&pod("b2", json!({"requests": {"cpu": "500m"}, "limits": {"memory": "32Mi"}}))).unwrap();
    assert_eq!(lab.shares("burstable"), v1("512", "20"));
    for uid in ["b1", "b2", "e", "g"] {
        lab.pods.remove(uid).unwrap();
        lab.pods.remove(uid).unwrap();
    }
    lab.finish();
}

#[test]
fn a_busy_cgroup_is_an_error_to_retry() {
    let lab = Lab::new("busy");
    let pod = pod("u", json!({}));
    lab.pods.create(&pod).unwrap();
    // A container as runc makes it, in every hierarchy, with a process in one.
    let path = lab.pods.container_path(&pod, "id");
    assert_eq!(path, format!("/{}/kubepods/besteffort/podu/id", lab.root));
    let below = |mount: &Path| mount.join(path.trim_start_matches('/'));
    for hierarchy in &lab.hierarchies.mounted {
        std::fs::create_dir_all(below(&hierarchy.mount)).unwrap();
    }
    let mut process = Command::new("sleep").arg("1000").spawn().unwrap();
    let memory = below(&lab.hierarchies.with("memory").unwrap().mount);
    std::fs::write(memory.join("cgroup.procs"), process.id().to_string()).unwrap();
    assert_eq!(lab.pods.remove("u").unwrap_err().kind(), std::io::ErrorKind::ResourceBusy);
    assert_eq!(lab.pods.list().unwrap(), ["u"]);
    process.kill().unwrap();
    process.wait().unwrap();
    lab.pods.remove("u").unwrap();
    lab.finish();
}

#[test]
fn processes_can_be_put_into_every_controller_and_oom_kills_are_counted() {
    let lab = Lab::new("oom");
    let pod = pod("u", json!({"limits": {"cpu": "1", "memory": "16Mi"}}));
    lab.pods.create(&pod).unwrap();
    let path = lab.pods.container_path(&pod, "id");
    let mut files = Vec::new();
    for hierarchy in lab.hierarchies.mounted.iter().filter(|h| !h.controllers.is_empty()) {
        let dir = hierarchy.mount.join(path.trim_start_matches('/'));
        std::fs::create_dir(&dir).unwrap();
        for file in ["cpuset.cpus", "cpuset.mems"].iter().filter(|f| dir.join(f).exists()) {
            let above = std::fs::read_to_string(dir.parent().unwrap().join(file)).unwrap();
            assert!(!above.trim().is_empty(), "{file} of the pod");
            std::fs::write(dir.join(file), above).unwrap();
        }
        files.push(dir.join("cgroup.procs").display().to_string());
    }
    let memory = lab.hierarchies.with("memory").unwrap().mount.join(path.trim_start_matches('/'));
    let limit = if lab.hierarchies.version == CgroupVersion::V1 { "memory.limit_in_bytes" } else { "memory.max" };
    std::fs::write(memory.join(limit), (8 << 20).to_string()).unwrap();
    assert_eq!(lab.pods.oom_kills(&path), Some(0));
    let join: String = files.iter().map(|f| format!("echo $$ >{f} && ")).collect();
    let status = Command::new("sh").arg("-c").arg(format!("{join} exec busybox tail /dev/zero")).status().unwrap();
    assert!(!status.success());
    assert_eq!(lab.pods.oom_kills(&path), Some(1));
    lab.pods.remove("u").unwrap();
    assert_eq!(lab.pods.oom_kills(&path), None);
    lab.finish();
}

#[test]
fn the_probe_reads_this_host() {
    let dir = tempfile::tempdir().unwrap();
    let own = std::fs::read_to_string("/proc/self/oom_score_adj").unwrap();
    let at = |name: &str| dir.path().join(name);
    let (manifests, state, run, pod_logs) = (at("m"), at("not/there/yet"), at("r"), at("l"));
    let facts = probe(&Paths { manifests, state, run, pod_logs, container_logs: at("c"), socket: at("s") });
    assert_eq!(std::fs::read_to_string("/proc/self/oom_score_adj").unwrap(), own, "put back");
    assert!(facts.cpu_millis >= 1000 && facts.memory_bytes > 1 << 26 && facts.ephemeral_storage_bytes > 1 << 20, "{facts:?}");
    assert_eq!(facts.hostname, facts.hostname.to_lowercase());
    assert!(!facts.hostname.is_empty() && facts.boot_id.len() == 36 && !facts.kernel.is_empty(), "{facts:?}");
    assert_eq!(facts.sys_resource, facts.min_oom_score_adj == -1000);
    // What a child may really be given is what was found out.
    let lower = facts.min_oom_score_adj - 1;
    let tried =
        |value: i32| Command::new("sh").arg("-c").arg(format!("echo {value} 2>/dev/null >/proc/self/oom_score_adj")).status().unwrap();
    assert!(tried(facts.min_oom_score_adj).success());
    assert!(!tried(lower).success());
    println!("{facts:#?}\n{:#?}", describe(&facts, &[]));
}

#[test]
fn a_pod_has_no_more_processes_than_the_node_gives_each() {
    let lab = Lab::new("pids");
    let every_pod = EveryPod { pids: Some(64), page_sizes: Vec::new() };
    let limited = CgroupfsPods::new(lab.hierarchies.clone(), &lab.root, 2000).unwrap().holding(every_pod);
    limited.create(&pod("p", json!({}))).unwrap();
    lab.pods.create(&pod("q", json!({}))).unwrap();
    assert_eq!(lab.read("pids", "besteffort/podp", "pids.max", "pids.max"), "64");
    assert_eq!(lab.read("pids", "besteffort/podq", "pids.max", "pids.max"), "max");
    limited.remove("p").unwrap();
    limited.remove("q").unwrap();
    lab.finish();
}

/// The hierarchy of this machine that has the hugetlb controller; where v1 has it not, v2's mount, to which runc does not go, serves the test.
fn with_hugetlb() -> Hierarchies {
    let own = Hierarchies::read().unwrap();
    if own.with("hugetlb").is_some() {
        return own;
    }
    let mountinfo = std::fs::read_to_string("/proc/self/mountinfo").unwrap();
    let v2 = mountinfo.lines().filter(|l| l.contains(" - cgroup2 ")).filter_map(|l| l.split(' ').nth(4)).map(PathBuf::from);
    let has = |mount: &PathBuf| std::fs::read_to_string(mount.join("cgroup.controllers")).is_ok_and(|c| c.contains("hugetlb"));
    let mount = v2.into_iter().find(has).expect("a mount with the hugetlb controller");
    Hierarchies { version: CgroupVersion::V2, mounted: vec![Hierarchy { mount, controllers: vec!["hugetlb".to_owned()] }] }
}

#[test]
fn a_pod_is_limited_to_the_huge_pages_it_asks_for_and_to_none_of_other_sizes() {
    let root = format!("mkt-huge-{}", std::process::id());
    let hierarchies = with_hugetlb();
    let page_sizes: Vec<u64> = probe(&Paths::below(Path::new("/nowhere"))).hugepages.into_keys().collect();
    assert!(page_sizes.contains(&(2 << 20)), "{page_sizes:?}");
    let every_pod = EveryPod { pids: None, page_sizes: page_sizes.clone() };
    let pods = CgroupfsPods::new(hierarchies.clone(), &root, 2000).unwrap().holding(every_pod);
    let lab = Lab { root, hierarchies, pods };
    lab.pods.create(&pod("h", json!({"limits": {"memory": "64Mi", "cpu": "1", "hugepages-2Mi": "6Mi"}}))).unwrap();
    lab.pods.create(&pod("n", json!({}))).unwrap();
    let limit =
        |below: &str, size: &str| lab.read("hugetlb", below, &format!("hugetlb.{size}.limit_in_bytes"), &format!("hugetlb.{size}.max"));
    assert_eq!((limit("podh", "2MB"), limit("besteffort/podn", "2MB")), ((6 << 20).to_string(), "0".to_owned()));
    if page_sizes.contains(&(1 << 30)) {
        assert_eq!(limit("podh", "1GB"), "0");
    }
    lab.pods.remove("h").unwrap();
    lab.pods.remove("n").unwrap();
    lab.finish();
}
