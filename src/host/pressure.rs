//! What is left on this host of memory, disk and process ids. Thin: two statvfs and a few files of /proc and the root cgroup.

use std::path::Path;

use nix::sys::statvfs::statvfs;

use super::parse;
use super::usage::UsageReader;
use crate::controllers::pressure::{Observation, Observations, Signal};

/// Measures. `node_fs`: where the agent's state is; `image_fs`: where images and layers are, if that is known. What cannot be read is absent.
pub fn observe(usage: &UsageReader, node_fs: &Path, image_fs: Option<&Path>) -> Observations {
    let mut seen = Observations::new();
    let meminfo = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
    if let (Some(capacity), Some(used)) = (parse::mem_total(&meminfo), usage.node()) {
        seen.insert(Signal::MemoryAvailable, Observation { available: capacity.saturating_sub(used.memory_bytes), capacity });
    }
    disk(&mut seen, node_fs, [Signal::NodefsAvailable, Signal::NodefsInodesFree]);
    if let Some(image_fs) = image_fs {
        disk(&mut seen, image_fs, [Signal::ImagefsAvailable, Signal::ImagefsInodesFree]);
    }
    seen.extend(pids().map(|pids| (Signal::PidAvailable, pids)));
    seen
}

/// Whether two places are on file systems of their own (HasDedicatedImageFs).
pub fn apart(one: &Path, other: &Path) -> bool {
    use std::os::unix::fs::MetadataExt;
    let device = |path: &Path| std::fs::metadata(path).map(|m| m.dev()).ok();
    device(one) != device(other)
}

/// A file system that counts no inodes (btrfs) is never short of them.
fn disk(seen: &mut Observations, path: &Path, signals: [Signal; 2]) {
    let Ok(stat) = statvfs(path) else { return };
    let [bytes, inodes] = signals;
    let size = |blocks: u64| blocks.saturating_mul(stat.fragment_size());
    seen.insert(bytes, Observation { available: size(stat.blocks_available()), capacity: size(stat.blocks()) });
    if stat.files() > 0 {
        seen.insert(inodes, Observation { available: stat.files_free(), capacity: stat.files() });
    }
}

/// pid_max or threads-max, whichever is less, and what runs (pkg/kubelet/stats/pidlimit).
fn pids() -> Option<Observation> {
    let number = |path: &str| std::fs::read_to_string(path).ok()?.trim().parse::<u64>().ok();
    let capacity = number("/proc/sys/kernel/pid_max")?.min(number("/proc/sys/kernel/threads-max")?);
    let running = running(&std::fs::read_to_string("/proc/loadavg").ok()?)?;
    Some(Observation { available: capacity.saturating_sub(running), capacity })
}

/// The number of tasks in a /proc/loadavg: `0.1 0.2 0.3 1/234 567`.
fn running(loadavg: &str) -> Option<u64> {
    loadavg.split_whitespace().nth(3)?.split_once('/')?.1.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tasks_are_the_number_behind_the_slash() {
        assert_eq!(running("0.10 0.20 0.30 1/234 567\n"), Some(234));
        assert_eq!((running(""), running("1 2 3 4 5")), (None, None));
    }

    #[test]
    fn a_file_system_has_what_it_has_and_a_missing_one_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let mut seen = Observations::new();
        disk(&mut seen, dir.path(), [Signal::NodefsAvailable, Signal::NodefsInodesFree]);
        disk(&mut seen, &dir.path().join("gone"), [Signal::ImagefsAvailable, Signal::ImagefsInodesFree]);
        let bytes = seen[&Signal::NodefsAvailable];
        assert!(bytes.capacity > 0 && bytes.available <= bytes.capacity && !seen.contains_key(&Signal::ImagefsAvailable));
        assert!(!apart(dir.path(), dir.path()) && apart(Path::new("/proc"), dir.path()));
    }
}
