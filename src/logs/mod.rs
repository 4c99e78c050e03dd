//! Container logs in the CRI format: the writer that runs as a process of its own beside each container, and the reader.
//!
//! A line is `<RFC 3339, nanoseconds> stdout|stderr F|P <text>`; `P` marks a piece of a longer line. The current file is
//! `<attempt>.log`, rotated ones are `<attempt>.log.<20060102-150405>`, as the kubelet names them, so that collectors work unchanged.

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};

use k8s_openapi::api::core::v1::Pod;

mod cri;
mod file;
mod follow;
mod reader;
mod stdin;
mod tail;
mod writer;

pub use follow::Follow;
pub use reader::{LogOptions, LogReader};
pub use stdin::{INPUT_DIRECTORY, has_stdin, make_stdin, stdin_path};
pub use tail::tail;
pub use writer::logger_main;

/// The argument (and the one key in the shim's `binary://` address) that makes this program a logger.
pub const LOGGER_ARGUMENT: &str = "minik8s-logger";

/// A file name is at most 255 bytes on every file system that matters, `.log` among them.
const MAX_LINK_NAME: usize = 251;

/// What a logger is told by its one argument: `<max bytes>,<max files>[:<owner>],<path>`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LoggerConfig {
    /// The current file.
    pub path: PathBuf,
    /// Bytes after which it is rotated (kubelet: containerLogMaxSize, 10 MiB).
    pub max_bytes: u64,
    /// Files kept, the current one among them (kubelet: containerLogMaxFiles, 5).
    pub max_files: u32,
    /// Whose the pipes are to be, by user and group id: a container's root with a user namespace of its own, which opens them as /dev/stdout.
    pub owner: Option<u32>,
}

impl LoggerConfig {
    /// The argument that says this.
    pub fn to_argument(&self) -> OsString {
        let owner = self.owner.map(|id| format!(":{id}")).unwrap_or_default();
        let mut text = OsString::from(format!("{},{}{owner},", self.max_bytes, self.max_files));
        text.push(&self.path);
        text
    }

    /// Reads the argument; none if it is not one.
    pub fn from_argument(argument: &OsStr) -> Option<Self> {
        use std::os::unix::ffi::OsStrExt as _;
        let mut parts = argument.as_bytes().splitn(3, |&byte| byte == b',');
        let mut number = || std::str::from_utf8(parts.next()?).ok();
        let max_bytes = number()?.parse().ok()?;
        let files = number()?;
        let (files, owner) = files.split_once(':').map_or((files, None), |(files, owner)| (files, Some(owner)));
        let (max_files, owner) = (files.parse().ok()?, owner.map(str::parse).transpose().ok()?);
        let path = PathBuf::from(OsStr::from_bytes(parts.next()?));
        path.is_absolute().then_some(Self { path, max_bytes, max_files, owner })
    }
}

/// `<root>/<namespace>_<pod>_<uid>`, the directory of a pod's logs (kubelet `BuildPodLogsDirectory`).
pub fn pod_log_directory(root: &Path, pod: &Pod) -> PathBuf {
    let meta = &pod.metadata;
    root.join(format!("{}_{}_{}", part(&meta.namespace), part(&meta.name), part(&meta.uid)))
}

/// `<container>/<attempt>.log` in the pod's directory (kubelet `BuildContainerLogsDirectory`).
pub fn container_log_path(root: &Path, pod: &Pod, container: &str, attempt: u32) -> PathBuf {
    pod_log_directory(root, pod).join(container).join(format!("{attempt}.log"))
}

/// `<root>/<pod>_<namespace>_<container>-<id>.log`, the link in `/var/log/containers` (kubelet `legacyLogSymlink`); cut to what a
/// file name may be.
pub fn container_log_link(root: &Path, pod: &Pod, container: &str, id: &str) -> PathBuf {
    let name = format!("{}_{}_{container}-{id}", part(&pod.metadata.name), part(&pod.metadata.namespace));
    root.join(name.chars().take(MAX_LINK_NAME).chain(".log".chars()).collect::<String>())
}

fn part(name: &Option<String>) -> &str {
    name.as_deref().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_argument_carries_any_path() {
        let config = LoggerConfig { path: "/var/log/pods/a,b c/0.log".into(), max_bytes: 10 << 20, max_files: 5, owner: None };
        assert_eq!(config.to_argument(), "10485760,5,/var/log/pods/a,b c/0.log");
        assert_eq!(LoggerConfig::from_argument(&config.to_argument()), Some(config.clone()));
        let owned = LoggerConfig { owner: Some(65536), ..config };
        assert_eq!(owned.to_argument(), "10485760,5:65536,/var/log/pods/a,b c/0.log");
        assert_eq!(LoggerConfig::from_argument(&owned.to_argument()), Some(owned));
        for bad in ["", "1,2:,/p", "1,2:x,/p", "1", "1,2", "1,2,relative", "x,2,/p", "1,-2,/p"] {
            assert_eq!(LoggerConfig::from_argument(OsStr::new(bad)), None, "{bad}");
        }
    }

    #[test]
    fn paths_are_the_kubelets() {
        let mut pod = Pod::default();
        (pod.metadata.namespace, pod.metadata.name, pod.metadata.uid) = (Some("default".into()), Some("web".into()), Some("u-1".into()));
        let log = container_log_path(Path::new("/var/log/pods"), &pod, "main", 3);
        assert_eq!(log, Path::new("/var/log/pods/default_web_u-1/main/3.log"));
        let link = |pod: &Pod| container_log_link(Path::new("/var/log/containers"), pod, "main", "abc");
        assert_eq!(link(&pod), Path::new("/var/log/containers/web_default_main-abc.log"));
        pod.metadata.name = Some("x".repeat(253));
        let name = link(&pod).file_name().unwrap().to_owned();
        assert_eq!((name.len(), name.to_str().unwrap().ends_with("x.log")), (255, true));
    }
}
