//! nfs volumes: an export mounted into the pod's directory by mount(8) (pkg/volume/nfs/nfs.go, k8s.io/mount-utils mount_linux.go).
//!
//! Guarantees: a server that does not answer holds up its own pod only: mount runs as a process of its own, and is killed with its helper when
//! it takes too long or nobody waits for it any more. Nobody else has a turn in the pod's directories until both have ended, so no mount comes
//! after the pod's removal. Nothing here looks into the mount; it is told from its directory by mountinfo. Detaching is the teardown's.

use std::io;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use k8s_openapi::api::core::v1::{NFSVolumeSource, Pod, Volume};
use tokio::process::Command;

use super::VolumeError;
use super::driver::{is_plain_name, make_private};
use super::turns::Turn;
use crate::host::mounts::is_mounted;
use crate::host::process_group::output_of_group;

/// How mounts are made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MountProgram {
    /// mount(8), by path or by name.
    pub program: PathBuf,
    /// After this it is killed. mount.nfs itself tries for two minutes (nfs(5), `retry`).
    pub limit: Duration,
}

impl Default for MountProgram {
    fn default() -> Self {
        Self { program: "mount".into(), limit: Duration::from_secs(150) }
    }
}

/// Where an export is mounted below the pod's own directory.
pub(super) fn path(dir: &Path, volume: &Volume) -> PathBuf {
    dir.join("volumes/nfs").join(&volume.name)
}

/// Mounts the pod's exports below its own directory, before anything else of it is made: a server may take its time.
/// Giving up is heeded at any time.
pub(super) async fn mount_all(program: &MountProgram, dir: &Path, pod: &Pod, turn: &Turn) -> Result<(), VolumeError> {
    for volume in pod.spec.iter().flat_map(|s| s.volumes.iter().flatten()).filter(|v| is_plain_name(&v.name)) {
        let Some(source) = &volume.nfs else { continue };
        make_private(dir)?;
        let mounted = mount(program, source, &path(dir, volume), turn).await;
        mounted.map_err(|message| VolumeError::SetUp { volume: volume.name.clone(), message })?;
    }
    Ok(())
}

/// Mounts the export at `at`, unless something is mounted there. Errors: in the kubelet's words, and what to install.
async fn mount(mount: &MountProgram, source: &NFSVolumeSource, at: &Path, turn: &Turn) -> Result<(), String> {
    let files = |error: io::Error| format!("failed to prepare {}: {error}", at.display());
    // Not to touch the directory before: under a dead server's mount that would hang.
    if is_mounted(at).map_err(files)? {
        return Ok(());
    }
    std::fs::create_dir_all(at).map_err(files)?;
    let arguments = arguments(source, at);
    let mut command = Command::new(&mount.program);
    command.args(&arguments).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let (how, output) = match output_of_group(&mut command, mount.limit, turn.clone()).await {
        Ok(Some(done)) if done.status.success() => return Ok(()),
        Ok(Some(done)) => {
            let text = [done.stdout, done.stderr].concat();
            let how = done.status.code().map_or_else(|| "killed".to_owned(), |code| format!("exit status {code}"));
            (how, String::from_utf8_lossy(&text).into_owned())
        }
        Ok(None) => (format!("no end after {}s, killed", mount.limit.as_secs()), String::new()),
        Err(error) => (error.to_string(), String::new()),
    };
    Err(failure(&mount.program, &arguments, &how, &output))
}

/// `-t nfs [-o ro] server:path directory`.
fn arguments(source: &NFSVolumeSource, at: &Path) -> Vec<String> {
    let options = if source.read_only == Some(true) { &["-o", "ro"][..] } else { &[] };
    let mut all: Vec<String> = ["-t", "nfs"].iter().chain(options).map(|word| (*word).to_owned()).collect();
    all.extend([format!("{}:{}", source.server, source.path), at.display().to_string()]);
    all
}

fn failure(program: &Path, arguments: &[String], how: &str, output: &str) -> String {
    let (program, arguments, output) = (program.display(), arguments.join(" "), output.trim_end());
    // mount(8)'s own words for a type that it has no helper for, where the kernel knows it and where it does not.
    let lacking = ["helper program", "unknown filesystem type"].iter().any(|words| output.contains(words));
    let hint = if lacking { "\nThis node has no mount.nfs: apt-get install nfs-common" } else { "" };
    format!("mount failed: {how}\nMounting command: {program}\nMounting arguments: {arguments}\nOutput: {output}{hint}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(read_only: Option<bool>) -> NFSVolumeSource {
        NFSVolumeSource { server: "nas".into(), path: "/export/a".into(), read_only }
    }

    #[test]
    fn mount_is_called_as_the_kubelet_calls_it() {
        assert_eq!(arguments(&source(None), Path::new("/at")), ["-t", "nfs", "nas:/export/a", "/at"]);
        assert_eq!(arguments(&source(Some(true)), Path::new("/at")), ["-t", "nfs", "-o", "ro", "nas:/export/a", "/at"]);
    }

    #[test]
    fn a_failure_has_the_kubelets_words_and_says_what_to_install() {
        let arguments = arguments(&source(None), Path::new("/at"));
        let text = failure(Path::new("mount"), &arguments, "exit status 32", "mount.nfs: access denied\n");
        let words = "mount failed: exit status 32\nMounting command: mount\nMounting arguments: -t nfs nas:/export/a /at\nOutput: ";
        assert_eq!(text, format!("{words}mount.nfs: access denied"));
        let missing =
            "mount: /at: bad option; for several filesystems (e.g. nfs, cifs) you might need a /sbin/mount.<type> helper program.\n";
        let text = failure(Path::new("mount"), &arguments, "exit status 32", missing);
        assert_eq!(text, format!("{words}{}\nThis node has no mount.nfs: apt-get install nfs-common", missing.trim_end()));
    }
}
