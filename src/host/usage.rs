//! What cgroups say about CPU and memory in use, as the kubelet counts it: CPU time, and the working set (memory without file cache that
//! was not used of late). Parsing is pure.
//!
//! After cAdvisor's `container/libcontainer/handler.go` (setMemoryStats) and opencontainers/cgroups `fs2/memory.go` (rootStatsFromMeminfo).

use std::path::Path;
use std::time::Duration;

use super::{CgroupVersion, Hierarchies, parse, slices};

/// What a cgroup has used up to now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sample {
    /// CPU time since it was made, in nanoseconds.
    pub cpu_nanos: u64,
    /// The working set in bytes.
    pub memory_bytes: u64,
}

/// CPU used between two samples, in nanocores: 1,000,000,000 is one CPU for all of `window`.
pub fn rate(before: Sample, after: Sample, window: Duration) -> u64 {
    let used = u128::from(after.cpu_nanos.saturating_sub(before.cpu_nanos));
    u64::try_from(used * 1_000_000_000 / window.as_nanos().max(1)).unwrap_or(u64::MAX)
}

/// Reads samples from this host's cgroups.
#[derive(Clone, Debug)]
pub struct UsageReader {
    hierarchies: Hierarchies,
}

impl UsageReader {
    /// A reader of these hierarchies.
    pub fn new(hierarchies: Hierarchies) -> UsageReader {
        UsageReader { hierarchies }
    }

    /// A container's sample, by its OCI spec's linux.cgroupsPath; `None` where its cgroup is gone.
    pub fn container(&self, cgroups_path: &str) -> Option<Sample> {
        let path = slices::container_path(cgroups_path);
        let stat = self.read("memory", &path, "memory.stat")?;
        let (usage, cpu_nanos) = match self.hierarchies.version {
            CgroupVersion::V1 => {
                (self.read("memory", &path, "memory.usage_in_bytes")?, number(&self.read("cpuacct", &path, "cpuacct.usage")?)?)
            }
            CgroupVersion::V2 => (self.read("memory", &path, "memory.current")?, cpu_nanos(&self.read("cpu", &path, "cpu.stat")?)?),
        };
        Some(Sample { cpu_nanos, memory_bytes: working_set(number(&usage)?, &stat, self.hierarchies.version) })
    }

    /// The whole node's sample, from the root cgroup. v2 has no memory.current there: what /proc/meminfo calls used is taken.
    pub fn node(&self) -> Option<Sample> {
        let root = Path::new("");
        let stat = self.read("memory", root, "memory.stat").unwrap_or_default();
        let (usage, cpu_nanos) = match self.hierarchies.version {
            CgroupVersion::V1 => {
                (number(&self.read("memory", root, "memory.usage_in_bytes")?)?, number(&self.read("cpuacct", root, "cpuacct.usage")?)?)
            }
            CgroupVersion::V2 => {
                let meminfo = std::fs::read_to_string("/proc/meminfo").ok()?;
                (meminfo_used(&meminfo)?, cpu_nanos(&self.read("cpu", root, "cpu.stat")?)?)
            }
        };
        Some(Sample { cpu_nanos, memory_bytes: working_set(usage, &stat, self.hierarchies.version) })
    }

    /// How many processes a container has; none where that is not counted.
    pub fn processes(&self, cgroups_path: &str) -> u64 {
        let path = slices::container_path(cgroups_path);
        self.read("pids", &path, "pids.current").and_then(|text| number(&text)).unwrap_or(0)
    }

    fn read(&self, controller: &str, path: &Path, file: &str) -> Option<String> {
        std::fs::read_to_string(self.hierarchies.with(controller)?.mount.join(path).join(file)).ok()
    }
}

fn number(text: &str) -> Option<u64> {
    text.trim().parse().ok()
}

/// `usage_usec` of a v2 cpu.stat.
fn cpu_nanos(stat: &str) -> Option<u64> {
    number(parse::field(stat, "usage_usec ")?)?.checked_mul(1000)
}

/// Memory without inactive file pages (v1: of the whole subtree).
fn working_set(usage: u64, stat: &str, version: CgroupVersion) -> u64 {
    let name = if version == CgroupVersion::V1 { "total_inactive_file " } else { "inactive_file " };
    usage.saturating_sub(parse::field(stat, name).and_then(number).unwrap_or(0))
}

/// MemTotal less MemFree, in bytes.
fn meminfo_used(meminfo: &str) -> Option<u64> {
    let free: u64 = parse::field(meminfo, "MemFree:")?.split_whitespace().next()?.parse().ok()?;
    Some(parse::mem_total(meminfo)?.saturating_sub(free.saturating_mul(1024)))
}

#[cfg(test)]
mod tests {
    use super::super::hierarchies::Hierarchy;
    use super::*;

    fn reader(dir: &Path, version: CgroupVersion, files: &[(&str, &str)]) -> UsageReader {
        for (file, text) in files {
            let file = dir.join(file);
            std::fs::create_dir_all(file.parent().unwrap()).unwrap();
            std::fs::write(file, text).unwrap();
        }
        let controllers = ["cpu", "cpuacct", "memory"].map(String::from).to_vec();
        UsageReader::new(Hierarchies { version, mounted: vec![Hierarchy { mount: dir.to_owned(), controllers }] })
    }

    #[test]
    fn v1_counts_nanoseconds_and_the_subtree() {
        let dir = tempfile::tempdir().unwrap();
        let files = [
            ("p/c/cpuacct.usage", "1500000000\n"),
            ("p/c/memory.usage_in_bytes", "10485760\n"),
            ("p/c/memory.stat", "inactive_file 1\ntotal_inactive_file 2097152\n"),
        ];
        let reader = reader(dir.path(), CgroupVersion::V1, &files);
        assert_eq!(reader.container("/p/c"), Some(Sample { cpu_nanos: 1_500_000_000, memory_bytes: 8 << 20 }));
        assert_eq!(reader.container("/p/gone"), None);
    }

    #[test]
    fn v2_counts_microseconds_and_scopes_are_found() {
        let dir = tempfile::tempdir().unwrap();
        let scope = "kubepods.slice/kubepods-podx.slice/cri-containerd-id.scope";
        let (cpu, memory, stat) = (format!("{scope}/cpu.stat"), format!("{scope}/memory.current"), format!("{scope}/memory.stat"));
        let files =
            [(cpu.as_str(), "usage_usec 2000\nuser_usec 1\n"), (memory.as_str(), "4096\n"), (stat.as_str(), "inactive_file 8192\n")];
        let reader = reader(dir.path(), CgroupVersion::V2, &files);
        let sample = reader.container("kubepods-podx.slice:cri-containerd:id");
        assert_eq!(sample, Some(Sample { cpu_nanos: 2_000_000, memory_bytes: 0 }), "never less than nothing");
    }

    #[test]
    fn rates_are_per_second() {
        let at = |cpu_nanos| Sample { cpu_nanos, memory_bytes: 0 };
        assert_eq!(rate(at(0), at(500_000_000), Duration::from_secs(1)), 500_000_000);
        assert_eq!(rate(at(0), at(500_000_000), Duration::from_secs(2)), 250_000_000);
        assert_eq!(rate(at(5), at(0), Duration::from_secs(1)), 0, "a cgroup made anew");
        assert_eq!(rate(at(0), at(1), Duration::ZERO), 1_000_000_000);
    }

    #[test]
    fn meminfo_is_what_is_not_free() {
        assert_eq!(meminfo_used("MemTotal: 100 kB\nMemFree: 40 kB\n"), Some(60 * 1024));
        assert_eq!(meminfo_used("MemTotal: 100 kB\n"), None);
    }
}
