//! Plugins that an earlier agent had called and did not live to see end: two of one pod must not run at once (SPEC.md), and one that hangs would for ever.

use std::collections::BTreeSet;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::plugin;

/// Kills every process whose environment says that it was called as a plugin out of `dirs` for one of these pods, or for a network as a whole (GC, STATUS)
/// by the agent of `run`; how many. The plugins that one calls in turn (IPAM) inherit that. Blocking.
pub(super) fn end(dirs: &[PathBuf], run: &Path, uids: &[String]) -> usize {
    let path = plugin::joined(dirs, ":");
    let uids: BTreeSet<&[u8]> = uids.iter().map(String::as_bytes).collect();
    let Ok(processes) = std::fs::read_dir("/proc") else { return 0 };
    let pids = processes.flatten().filter_map(|p| p.file_name().to_str()?.parse::<i32>().ok());
    // One that ends meanwhile has no environment any more.
    let called = pids.filter(|pid| {
        std::fs::read(format!("/proc/{pid}/environ")).is_ok_and(|all| is_called_for(&all, &path, &uids) || is_asked(&all, run))
    });
    called.filter(|pid| kill(Pid::from_raw(*pid), Signal::SIGKILL).is_ok()).count()
}

fn is_called_for(environment: &[u8], path: &str, uids: &BTreeSet<&[u8]>) -> bool {
    let value = |name: &[u8]| environment.split(|b| *b == 0).find_map(|v| v.strip_prefix(name));
    value(b"CNI_PATH=") == Some(path.as_bytes()) && value(b"CNI_CONTAINERID=").is_some_and(|uid| uids.contains(uid))
}

/// GC and STATUS are about no pod, so what says whose they are is our own mark.
fn is_asked(environment: &[u8], run: &Path) -> bool {
    let value = |name: &str| environment.split(|b| *b == 0).find_map(|v| v.strip_prefix(name.as_bytes())?.strip_prefix(b"="));
    value(plugin::RUN) == Some(run.as_os_str().as_bytes()) && matches!(value("CNI_COMMAND"), Some(b"GC" | b"STATUS"))
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

    #[test]
    fn what_is_asked_of_a_network_is_known_by_the_mark() {
        let run = Path::new("/run/m");
        for ours in ["CNI_CONTAINERID=\0CNI_COMMAND=GC\0MINIK8S_RUN=/run/m\0", "MINIK8S_RUN=/run/m\0CNI_COMMAND=STATUS\0"] {
            assert!(is_asked(ours.as_bytes(), run), "{ours:?}");
        }
        let other =
            ["CNI_COMMAND=GC\0", "MINIK8S_RUN=/run/m2\0CNI_COMMAND=GC\0", "MINIK8S_RUN=/run/m\0", "MINIK8S_RUN=/run/m\0CNI_COMMAND=ADD\0"];
        for other in other {
            assert!(!is_asked(other.as_bytes(), run), "{other:?}");
        }
    }
}
