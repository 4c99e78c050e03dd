//! Reads what this host is. Thin: everything read is parsed in `parse`, `hierarchies` and `capabilities`.

use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use jiff::Timestamp;
use nix::sys::statvfs::statvfs;

use super::{CgroupDriver, CgroupVersion, Hierarchies, HostFacts, Paths, capabilities, parse, user_namespaces};

/// What this host is and allows. Reads files only, but for one attempt to lower this process' own oom_score_adj (put back at once).
/// What cannot be read is empty or zero, and [`super::describe`] says so where it matters.
pub fn probe(paths: &Paths) -> HostFacts {
    let status = text("/proc/self/status");
    let hierarchies = Hierarchies::read().ok();
    let (min_oom_score_adj, sys_resource) = oom_score_adj(parse::capability_mask(&status, "CapEff:").unwrap_or(0));
    let kernel = text("/proc/sys/kernel/osrelease");
    let controllers = hierarchies.as_ref().map(Hierarchies::controllers).unwrap_or_default();
    HostFacts {
        hostname: hostname(),
        user_namespaces: user_namespaces::kernel_has_them(&kernel, &text("/proc/sys/user/max_user_namespaces")),
        kernel,
        arch: parse::go_arch(std::env::consts::ARCH).to_owned(),
        os_image: parse::pretty_name(&text("/etc/os-release")).unwrap_or_else(|| "Linux".into()),
        machine_id: text("/etc/machine-id"),
        boot_id: text("/proc/sys/kernel/random/boot_id"),
        cpu_millis: cpus().saturating_mul(1000),
        memory_bytes: parse::mem_total(&text("/proc/meminfo")).unwrap_or(0),
        ephemeral_storage_bytes: storage(&paths.state),
        hugepages: hugepages(Path::new("/sys/kernel/mm/hugepages")),
        cgroup_version: hierarchies.map_or(CgroupVersion::V2, |h| h.version),
        cgroup_driver: cgroup_driver(Path::new("/")),
        controllers,
        min_oom_score_adj,
        sys_resource,
        capabilities: capabilities::names(bounding_set(&text("/proc/1/status"), &status)),
        apparmor: text("/sys/module/apparmor/parameters/enabled") == "Y",
        selinux: Path::new("/sys/fs/selinux/enforce").exists(),
        seccomp: parse::field(&status, "Seccomp:").is_some(),
    }
}

/// When this program was installed, and when this state file was last written: what a clock can be measured by.
pub fn landmarks(state_file: &Path) -> (Option<Timestamp>, Option<Timestamp>) {
    let modified = |path: &Path| Timestamp::from_second(std::fs::metadata(path).ok()?.mtime()).ok();
    (std::env::current_exe().ok().and_then(|program| modified(&program)), modified(state_file))
}

/// What containers may have: containerd's bounding set, which it has from the first process. The agent's own may be less (its unit gives away
/// what the agent does not need), and counts only where that process cannot be looked at.
fn bounding_set(first: &str, own: &str) -> u64 {
    let mask = |status| parse::capability_mask(status, "CapBnd:");
    mask(first).or_else(|| mask(own)).unwrap_or(0)
}

/// systemd is asked for cgroups where it runs and can be: runc and `busctl` reach it over the system's message bus.
fn cgroup_driver(root: &Path) -> CgroupDriver {
    let systemd = root.join("run/systemd/system").is_dir();
    let bus = root.join("run/dbus/system_bus_socket").exists();
    if systemd && !bus {
        tracing::warn!("on this host: systemd runs without a message bus (no dbus), so cgroups are made without it (cgroupfs)");
    }
    if systemd && bus { CgroupDriver::Systemd } else { CgroupDriver::Cgroupfs }
}

/// A file's text without surrounding blanks, "" where it cannot be read.
fn text(path: &str) -> String {
    std::fs::read_to_string(path).map(|t| t.trim().to_owned()).unwrap_or_default()
}

/// As the kubelet's default node name: lower case (pkg/util/node GetHostname).
fn hostname() -> String {
    let name = nix::unistd::gethostname().map(|n| n.to_string_lossy().trim().to_lowercase());
    name.ok().filter(|n| !n.is_empty()).unwrap_or_else(|| "localhost".into())
}

fn cpus() -> u64 {
    let available = || std::thread::available_parallelism().map_or(1, |n| n.get() as u64);
    parse::cpu_count(&text("/sys/devices/system/cpu/online")).unwrap_or_else(available)
}

/// Size of the file system that holds `path`, or will: of its nearest directory that exists.
fn storage(path: &Path) -> u64 {
    let stat = path.ancestors().find_map(|p| statvfs(p).ok());
    stat.map_or(0, |s| s.blocks().saturating_mul(s.fragment_size()))
}

/// Size of pages → how many there are: `hugepages-2048kB/nr_hugepages` and the like.
fn hugepages(dir: &Path) -> BTreeMap<u64, u64> {
    let entries = std::fs::read_dir(dir).into_iter().flatten().flatten();
    let size = |entry: std::fs::DirEntry| {
        let size = parse::page_size(entry.file_name().to_str()?)?;
        let count = std::fs::read_to_string(entry.path().join("nr_hugepages")).ok()?;
        Some((size, count.trim().parse().ok()?))
    };
    entries.filter_map(size).collect()
}

/// The least oom_score_adj a child may have, and whether CAP_SYS_RESOURCE really works here (in a user namespace the bit alone
/// does not tell): by trying, where the bit is set.
fn oom_score_adj(cap_eff: u64) -> (i32, bool) {
    const FILE: &str = "/proc/self/oom_score_adj";
    const CAP_SYS_RESOURCE: u64 = 1 << 24;
    let own: i32 = text(FILE).parse().unwrap_or(0);
    let allowed = cap_eff & CAP_SYS_RESOURCE != 0 && std::fs::write(FILE, "-1000").is_ok();
    if !allowed {
        return (own, false);
    }
    if let Err(e) = std::fs::write(FILE, own.to_string()) {
        tracing::warn!(error = %e, "cannot put the agent's oom_score_adj back to {own}");
    }
    (-1000, true)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn containers_may_have_what_the_first_process_has_not_what_the_units_hardening_leaves() {
        let status = |mask: &str| format!("Name:\tx\nCapBnd:\t{mask}\n");
        assert_eq!(bounding_set(&status("000001ffffffffff"), &status("0000000000200000")), 0x1ff_ffff_ffff);
        assert_eq!(bounding_set("", &status("0000000000200000")), 1 << 21);
        assert_eq!(bounding_set("", ""), 0);
    }

    #[test]
    fn huge_pages_of_every_size_are_counted() {
        let dir = tempfile::tempdir().unwrap();
        for (name, count) in [("hugepages-2048kB", "3\n"), ("hugepages-1048576kB", "0\n"), ("other", "5\n")] {
            std::fs::create_dir(dir.path().join(name)).unwrap();
            std::fs::write(dir.path().join(name).join("nr_hugepages"), count).unwrap();
        }
        assert_eq!(hugepages(dir.path()), BTreeMap::from([(2 << 20, 3), (1 << 30, 0)]));
        assert_eq!(hugepages(&dir.path().join("gone")), BTreeMap::new());
    }

    #[test]
    fn systemd_makes_cgroups_only_where_it_can_be_asked() {
        let root = tempfile::tempdir().unwrap();
        assert_eq!(cgroup_driver(root.path()), CgroupDriver::Cgroupfs);
        std::fs::create_dir_all(root.path().join("run/systemd/system")).unwrap();
        assert_eq!(cgroup_driver(root.path()), CgroupDriver::Cgroupfs);
        std::fs::create_dir_all(root.path().join("run/dbus")).unwrap();
        std::fs::write(root.path().join("run/dbus/system_bus_socket"), "").unwrap();
        assert_eq!(cgroup_driver(root.path()), CgroupDriver::Systemd);
    }
}
