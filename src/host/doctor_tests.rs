//! A sound host, and each thing that can be wrong with one.

use super::*;

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

fn sound() -> Found {
    let host = HostFacts {
        cgroup_version: CgroupVersion::V2,
        cgroup_driver: CgroupDriver::Systemd,
        controllers: ["cpu", "cpuset", "hugetlb", "memory", "pids"].map(String::from).to_vec(),
        sys_resource: true,
        capabilities: crate::host::capabilities::names(u64::MAX),
        ..HostFacts::for_tests()
    };
    let dir = |path: &str| Directory { path: path.into(), mode: 0o755, ..Directory::default() };
    Found {
        version: "0.1.0",
        settings: Settings { path: "/etc/default/minik8s".into(), ..Settings::default() },
        root: true,
        host,
        cgroups: true,
        containerd: Ok("1.6.20~ds1".into()),
        containerd_socket: "/run/containerd/containerd.sock".into(),
        runtime: Ok("runc version 1.1.5".into()),
        network: Vec::new(),
        lacking: Vec::new(),
        manifests: dir("/etc/minik8s"),
        state: dir("/var/lib/minik8s"),
        state_file: String::new(),
        room: Some(Room { bytes: 20 << 30, files: Some(1000) }),
        socket: AtSocket::Agent("0.1.0".into()),
        held: true,
        now: at("2026-06-01T00:00:00Z"),
        installed: Some(at("2026-01-01T00:00:00Z")),
        written: Some(at("2026-06-01T10:00:00Z")),
    }
}

#[test]
fn a_sound_host_has_only_good_news() {
    let checks = judge(&sound());
    let bad: Vec<_> = checks.iter().filter(|c| c.status != Level::Ok || !c.advice.is_empty()).collect();
    assert!(bad.is_empty(), "{bad:?}");
    assert_eq!(checks.len(), 13);
}

#[test]
fn a_host_without_user_namespaces_is_sound_and_told_so() {
    let mut found = sound();
    found.host.user_namespaces = Err("runc is too old".into());
    let check = judge(&found).into_iter().find(|c| c.name == "user namespaces").unwrap();
    assert_eq!((check.status, check.message.as_str()), (Level::Ok, "pods with hostUsers: false are refused here: runc is too old"));
}

/// The one finding that is not ok, after `change`.
fn spoilt(change: impl Fn(&mut Found)) -> (&'static str, Level, String) {
    let mut found = sound();
    change(&mut found);
    let bad: Vec<Check> = judge(&found).into_iter().filter(|c| c.status != Level::Ok).collect();
    assert_eq!(bad.len(), 1, "{bad:?}");
    assert!(!bad[0].advice.is_empty(), "it says what to do: {bad:?}");
    (bad[0].name, bad[0].status, bad[0].message.clone())
}

#[test]
fn each_fault_is_one_finding_of_its_own() {
    use Level::{Failure, Warning};
    let is = |change: &dyn Fn(&mut Found), name: &str, level: Level, part: &str| {
        let (found, status, message) = spoilt(change);
        assert!((found, status) == (name, level) && message.contains(part), "{found} {status:?}: {message}");
    };
    is(&|f| f.settings.error = "invalid value 'x'".into(), "settings", Failure, "/etc/default/minik8s: invalid value 'x'");
    is(&|f| f.settings.idle = vec!["line 1".into()], "settings", Warning, "/etc/default/minik8s: line 1");
    is(&|f| f.root = false, "privileges", Failure, "not root");
    is(&|f| f.host.capabilities.clear(), "privileges", Warning, "CAP_SYS_ADMIN");
    is(&|f| f.lacking = vec!["overlayfs"], "kernel", Failure, "lacks overlayfs");
    is(&|f| f.host.kernel = "4.19.0-1".into(), "kernel", Failure, "older than 5.6");
    is(&|f| f.cgroups = false, "cgroups", Failure, "mounted");
    is(&|f| f.host.cgroup_version = CgroupVersion::V1, "cgroups", Warning, "v1, systemd");
    is(&|f| f.host.controllers.retain(|c| c != "memory"), "cgroups", Warning, "controllers memory");
    is(&|f| f.containerd = Err("connection refused".into()), "containerd", Failure, "connection refused");
    is(&|f| f.containerd = Ok("v1.5.2".into()), "containerd", Failure, "older than 1.6");
    is(&|f| f.containerd = Ok("mine".into()), "containerd", Warning, "no version known");
    is(&|f| f.runtime = Err("runc: not found".into()), "runtime", Failure, "not found");
    is(&|f| f.network = vec!["pods without hostNetwork cannot start: no bridge".into()], "network", Failure, "bridge");
    is(&|f| f.network = vec!["nothing beyond: iptables cannot masquerade here".into()], "network", Warning, "masquerade");
    is(&|f| f.manifests.absent = true, "manifests", Warning, "does not exist");
    is(&|f| f.manifests.error = "I/O error".into(), "manifests", Failure, "I/O error");
    is(&|f| f.manifests.mode = 0o777, "manifests", Failure, "writable by everyone");
    is(&|f| f.manifests.writers.everyone = vec!["a.yaml".into()], "manifests", Warning, "refused: a.yaml");
    is(&|f| f.manifests.writers.others = vec!["b/".into()], "manifests", Warning, "not only root may write b/; who may is as good as root");
    is(&|f| f.state.mode = 0o775, "state", Warning, "0775");
    is(&|f| f.state.error = "is no directory".into(), "state", Failure, "no directory");
    is(&|f| f.state_file = "it has format 9".into(), "state", Failure, "format 9");
    is(&|f| f.room = Some(Room { bytes: 1 << 20, files: None }), "disk", Failure, "1 MiB");
    is(&|f| f.room = Some(Room { bytes: 500 << 20, files: None }), "disk", Warning, "500 MiB");
    is(&|f| f.room = Some(Room { bytes: 20 << 30, files: Some(0) }), "disk", Failure, "no more files");
    is(&|f| f.now = at("2016-06-01T00:00:00Z"), "clock", Failure, "before this program");
    is(&|f| f.written = Some(at("2026-09-01T00:00:00Z")), "clock", Warning, "set back");
    is(&|f| f.now = at("2037-06-01T00:00:00Z"), "clock", Warning, "ten years");
    is(&|f| f.socket = AtSocket::Agent("0.0.9".into()), "agent", Warning, "version 0.0.9 answers, and this program is 0.1.0");
    is(&|f| f.socket = AtSocket::Nobody, "agent", Failure, "another agent");
    is(&|f| f.socket = AtSocket::Other("/x is no socket".into()), "agent", Failure, "no socket");
}

#[test]
fn a_fresh_host_is_no_fault() {
    let mut found = sound();
    found.settings.path.clear();
    (found.socket, found.held, found.state.absent, found.written, found.installed) = (AtSocket::Nobody, false, true, None, None);
    assert!(judge(&found).iter().all(|c| c.status == Level::Ok));
}

#[test]
fn versions() {
    for (text, expected) in [("1.6.20~ds1", Some((1, 6))), ("v2.1.9", Some((2, 1))), ("6.1.0-13-amd64", Some((6, 1))), ("x", None)] {
        assert_eq!(version(text), expected);
    }
}
