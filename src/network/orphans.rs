//! Plugins that an earlier agent had called and did not live to see end: two of one pod must not run at once (SPEC.md), and one that hangs would for ever.

use std::collections::BTreeSet;
use std::path::PathBuf;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::plugin;

/// Kills every process whose environment says that it was called as a plugin out of `dirs` for one of these pods; how many. The plugins that one calls in turn
/// (IPAM) inherit that. Blocking.
pub(super) fn end(dirs: &[PathBuf], uids: &[String]) -> usize {
    let path = plugin::joined(dirs, ":");
    let uids: BTreeSet<&[u8]> = uids.iter().map(String::as_bytes).collect();
    let Ok(processes) = std::fs::read_dir("/proc") else { return 0 };
    let pids = processes.flatten().filter_map(|p| p.file_name().to_str()?.parse::<i32>().ok());
    // One that ends meanwhile has no environment any more.
    let called = pids.filter(|pid| std::fs::read(format!("/proc/{pid}/environ")).is_ok_and(|all| is_called_for(&all, &path, &uids)));
    called.filter(|pid| kill(Pid::from_raw(*pid), Signal::SIGKILL).is_ok()).count()
}

fn is_called_for(environment: &[u8], path: &str, uids: &BTreeSet<&[u8]>) -> bool {
    let value = |name: &[u8]| environment.split(|b| *b == 0).find_map(|v| v.strip_prefix(name));
    value(b"CNI_PATH=") == Some(path.as_bytes()) && value(b"CNI_CONTAINERID=").is_some_and(|uid| uids.contains(uid))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_plugins_of_these_pods_are_meant() {
        let uids = BTreeSet::from([b"u-1".as_slice()]);
        assert!(is_called_for(b"PATH=/bin\0CNI_PATH=/a:/b\0CNI_CONTAINERID=u-1\0", "/a:/b", &uids));
        for other in ["CNI_CONTAINERID=u-1\0", "CNI_PATH=/a:/b\0CNI_CONTAINERID=u-12\0", "CNI_PATH=/a\0CNI_CONTAINERID=u-1\0", ""] {
            assert!(!is_called_for(other.as_bytes(), "/a:/b", &uids), "{other:?}");
        }
    }
}
