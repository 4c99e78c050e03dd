//! hostPath volumes: the path checked, and made where its type says so. After pkg/volume/hostpath/host_path.go.
//!
//! Type "" on a path that is not there: Kubernetes leaves it to the runtime, and containerd makes a directory (0755); so do we.

use std::fs::{DirBuilder, Metadata, OpenOptions};
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use k8s_openapi::api::core::v1::HostPathVolumeSource;

/// Checks the volume and returns its path. Errors: in Kubernetes' words where it has them.
pub(super) fn setup(source: &HostPathVolumeSource) -> Result<PathBuf, String> {
    let text = source.path.as_str();
    let path = Path::new(text);
    if text.split('/').any(|part| part == "..") {
        return Err(format!("invalid HostPath `{text}`: must not contain '..'"));
    }
    if !path.is_absolute() {
        return Err(format!("invalid HostPath `{text}`: must be an absolute path"));
    }
    let found = std::fs::metadata(path);
    let missing = matches!(&found, Err(e) if e.kind() == std::io::ErrorKind::NotFound);
    match source.type_.as_deref().unwrap_or_default() {
        "" | "DirectoryOrCreate" if missing => make_directory(path)?,
        "FileOrCreate" if missing => make_file(path)?,
        kind => check(kind, path, found.ok().as_ref())?,
    }
    Ok(path.to_owned())
}

fn check(kind: &str, path: &Path, found: Option<&Metadata>) -> Result<(), String> {
    let (fits, what): (fn(&Metadata) -> bool, _) = match kind {
        "" => return found.map(|_| ()).ok_or_else(|| format!("failed to stat {}", path.display())),
        "Directory" | "DirectoryOrCreate" => (Metadata::is_dir, "directory"),
        "File" | "FileOrCreate" => (Metadata::is_file, "file"),
        "Socket" => (|m| m.file_type().is_socket(), "socket file"),
        "CharDevice" => (|m| m.file_type().is_char_device(), "character device"),
        "BlockDevice" => (|m| m.file_type().is_block_device(), "block device"),
        other => return Err(format!("{other} is an invalid volume type")),
    };
    match found.is_some_and(fits) {
        true => Ok(()),
        false => Err(format!("hostPath type check failed: {} is not a {what}", path.display())),
    }
}

fn make_directory(path: &Path) -> Result<(), String> {
    DirBuilder::new().recursive(true).mode(0o755).create(path).map_err(|e| format!("failed to create {}: {e}", path.display()))
}

fn make_file(path: &Path) -> Result<(), String> {
    let made = OpenOptions::new().write(true).create(true).truncate(false).mode(0o644).open(path);
    made.map(drop).map_err(|e| format!("failed to create {}: {e}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set_up(path: &Path, kind: &str) -> Result<PathBuf, String> {
        setup(&HostPathVolumeSource { path: path.display().to_string(), type_: Some(kind.to_owned()) })
    }

    #[test]
    fn types_are_checked_in_kubernetes_words() {
        let dir = tempfile::tempdir().unwrap();
        let (file, socket) = (dir.path().join("file"), dir.path().join("socket"));
        std::fs::write(&file, "").unwrap();
        let _listener = std::os::unix::net::UnixListener::bind(&socket).unwrap();
        let device = Path::new("/dev/null").to_owned();
        let all = ["Directory", "File", "Socket", "CharDevice", "BlockDevice"];
        for (path, fits) in [(dir.path(), "Directory"), (&file, "File"), (&socket, "Socket"), (&device, "CharDevice")] {
            for kind in all {
                assert_eq!(set_up(path, kind).is_ok(), kind == fits, "{path:?} {kind}");
            }
        }
        let error = |path: &Path, kind| set_up(path, kind).unwrap_err();
        let shown = file.display();
        assert_eq!(error(&file, "Directory"), format!("hostPath type check failed: {shown} is not a directory"));
        assert_eq!(error(&file, "Socket"), format!("hostPath type check failed: {shown} is not a socket file"));
        assert_eq!(error(&file, "CharDevice"), format!("hostPath type check failed: {shown} is not a character device"));
        assert_eq!(error(&file, "Odd"), "Odd is an invalid volume type");
    }

    #[test]
    fn missing_paths_are_made_or_refused() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        set_up(&at("a/b"), "DirectoryOrCreate").unwrap();
        set_up(&at("c/d"), "").unwrap();
        set_up(&at("f"), "FileOrCreate").unwrap();
        assert!(at("a/b").is_dir() && at("c/d").is_dir() && at("f").is_file());
        for kind in ["Directory", "File", "Socket", "CharDevice", "BlockDevice"] {
            assert!(set_up(&at("gone"), kind).unwrap_err().starts_with("hostPath type check failed: "), "{kind}");
            assert!(!at("gone").exists());
        }
        assert!(set_up(&at("no/such/f"), "FileOrCreate").unwrap_err().starts_with("failed to create "));
    }

    #[test]
    fn paths_that_lead_elsewhere_are_refused() {
        assert_eq!(set_up(Path::new("/a/../b"), "").unwrap_err(), "invalid HostPath `/a/../b`: must not contain '..'");
        assert!(set_up(Path::new("a/b"), "").is_err());
        assert!(set_up(Path::new(""), "").is_err());
    }
}
