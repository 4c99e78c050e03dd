//! The runc shim's options, which containerd-client does not compile in, and what the OCI runtime binary can do.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use nix::unistd::mkdtemp;
use prost::Message as _;
use tokio::process::Command;

use super::ContainerdConfig;
use crate::host::user_namespaces;

/// The name containerd looks the message up by; without a slash or host before it.
const TYPE_URL: &str = "containerd.runc.v1.Options";

/// `containerd.runc.v1.Options` (containerd `runtime/v2/runc/options/oci.proto`), with the fields that are set here.
#[derive(Clone, PartialEq, prost::Message)]
struct RuncOptions {
    #[prost(uint32, tag = "4")]
    io_uid: u32,
    #[prost(uint32, tag = "5")]
    io_gid: u32,
    #[prost(string, tag = "6")]
    binary_name: String,
    #[prost(string, tag = "7")]
    root: String,
    #[prost(bool, tag = "9")]
    systemd_cgroup: bool,
}

/// The options of a container that is run by this binary; none: by what the shim finds. `owner`: whose the pipes of what is executed in it are to
/// be, if not root's.
pub(super) fn runc_options(config: &ContainerdConfig, binary: Option<&Path>, owner: Option<u32>) -> prost_types::Any {
    let options = RuncOptions {
        io_uid: owner.unwrap_or_default(),
        io_gid: owner.unwrap_or_default(),
        binary_name: binary.map(|path| path.display().to_string()).unwrap_or_default(),
        root: config.run_dir.join("runc").display().to_string(),
        systemd_cgroup: config.systemd_cgroup,
    };
    prost_types::Any { type_url: TYPE_URL.to_owned(), value: options.encode_to_vec() }
}

/// What an OCI runtime binary turned out to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RuntimeFeatures {
    /// Its path or name as given.
    pub binary: PathBuf,
    /// The first line of `--version`, such as `crun version 1.8.1`.
    pub version: String,
}

/// Finds out whether an OCI runtime works on this host, by running a container without a program: that far must it come.
/// crun 1.8.1, for one, refuses a hybrid cgroup hierarchy. `scratch` may be anybody's, as /tmp is, and is left as it was: what root then runs lies in
/// a directory below it that is made here, ours alone and of a name that nobody can make before.
///
/// # Errors
/// The runtime's own words. The caller then falls back to runc, and says so.
pub async fn probe_runtime_binary(binary: &Path, scratch: &Path) -> Result<RuntimeFeatures, String> {
    let version = output(Command::new(binary).arg("--version")).await?;
    let line = version.stdout.lines().next().unwrap_or_default().to_owned();
    let bundle =
        mkdtemp(&scratch.join("minik8s-probe-XXXXXX")).map_err(|e| format!("cannot make a directory in {}: {e}", scratch.display()))?;
    let result = probe_in(binary, &bundle).await;
    // What stays is small; on tmpfs it is gone with the boot.
    let _ = std::fs::remove_dir_all(&bundle);
    result.map(|()| RuntimeFeatures { binary: binary.to_path_buf(), version: line })
}

/// Whether the OCI runtime (none: the shim's default) and the snapshotter can give containers a user namespace of their own. Errors: why not.
pub async fn user_namespaces(runtime: Option<&Path>, snapshotter: &str) -> Result<(), String> {
    user_namespaces::snapshotter_has_them(snapshotter)?;
    let binary = runtime.unwrap_or(Path::new("runc"));
    let said = output(Command::new(binary).arg("features")).await;
    let said = said.and_then(|o| if o.success { Ok(o.stdout) } else { Err(o.stderr.trim().to_owned()) });
    user_namespaces::runtime_has_them(&binary.display().to_string(), said.as_deref().map_err(String::as_str))
}

async fn probe_in(binary: &Path, bundle: &Path) -> Result<(), String> {
    let state = bundle.join("state");
    for directory in [bundle.join("rootfs"), state.clone()] {
        std::fs::create_dir(&directory).map_err(|e| format!("cannot make {}: {e}", directory.display()))?;
    }
    let spec = serde_json::json!({
        "ociVersion": "1.0.2",
        "process": {"user": {"uid": 0, "gid": 0}, "args": [PROBE_PROGRAM], "cwd": "/"},
        "root": {"path": "rootfs"},
        // /dev: device nodes must work although the bundle lies on /run, which systemd mounts nodev.
        "mounts": [
            {"destination": "/proc", "type": "proc", "source": "proc"},
            {"destination": "/dev", "type": "tmpfs", "source": "tmpfs", "options": ["nosuid", "mode=755", "size=64k"]},
        ],
        "linux": {"namespaces": [{"type": "pid"}, {"type": "mount"}]},
    });
    std::fs::write(bundle.join("config.json"), spec.to_string()).map_err(|e| e.to_string())?;
    let name = format!("minik8s-probe-{}", std::process::id());
    let run = output(Command::new(binary).arg("--root").arg(&state).arg("run").arg("--bundle").arg(bundle).arg(&name)).await?;
    // Reaching the program that is not there proves namespaces, mounts and cgroups.
    if run.success || run.stderr.contains(PROBE_PROGRAM) { Ok(()) } else { Err(run.stderr.trim().to_owned()) }
}

const PROBE_PROGRAM: &str = "/minik8s-probe-no-such-program";

pub(super) struct Output {
    success: bool,
    stdout: String,
    stderr: String,
}

/// Runs a program of the runtime's to its end. Errors: it cannot be started, or it takes longer than 10 s and is killed.
pub(super) async fn output(command: &mut Command) -> Result<Output, String> {
    let run = command.stdin(Stdio::null()).kill_on_drop(true).output();
    let done = tokio::time::timeout(Duration::from_secs(10), run).await.map_err(|_| "no answer within 10 s".to_owned())?;
    let done = done.map_err(|e| e.to_string())?;
    Ok(Output {
        success: done.status.success(),
        stdout: String::from_utf8_lossy(&done.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&done.stderr).into_owned(),
    })
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};

    use super::*;

    /// A runtime that works, and notes who may write where its bundle lies.
    #[tokio::test]
    async fn the_bundle_that_is_tried_is_nobody_elses() {
        let scratch = tempfile::tempdir().unwrap();
        let (binary, seen) = (scratch.path().join("oci"), scratch.path().join("seen"));
        let text =
            format!("#!/bin/sh\n[ \"$1\" = --root ] && stat -c '%a %u %n' \"$(dirname \"$2\")\" >>{}\necho version 1\n", seen.display());
        std::fs::write(&binary, text).unwrap();
        std::fs::set_permissions(&binary, std::fs::Permissions::from_mode(0o755)).unwrap();
        for _ in 0..2 {
            assert_eq!(probe_runtime_binary(&binary, scratch.path()).await.unwrap().version, "version 1");
        }
        let seen = std::fs::read_to_string(&seen).unwrap();
        let ours = format!("700 {} {}/", std::fs::metadata(&binary).unwrap().uid(), scratch.path().display());
        let names: Vec<&str> = seen.lines().map(|line| line.strip_prefix(&ours).expect(line)).collect();
        assert!(names.len() == 2 && names[0] != names[1], "a name that can be foretold can be taken: {names:?}");
        assert_eq!(std::fs::read_dir(scratch.path()).unwrap().count(), 2, "it is left as it was");
    }

    #[test]
    fn options_carry_the_bare_type_name_and_runc_field_numbers() {
        let mut config = ContainerdConfig::new("/s", "ns", "/run/x");
        config.systemd_cgroup = true;
        let any = runc_options(&config, Some(Path::new("crun")), None);
        assert_eq!(any.type_url, "containerd.runc.v1.Options");
        assert_eq!(any.value, b"\x32\x04crun\x3a\x0b/run/x/runc\x48\x01");
        assert_eq!(
            runc_options(&config, Some(Path::new("crun")), Some(65536)).value,
            b"\x20\x80\x80\x04\x28\x80\x80\x04\x32\x04crun\x3a\x0b/run/x/runc\x48\x01"
        );
    }
}
