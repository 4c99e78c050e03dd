//! The input of a container without a terminal: this program in front of the OCI runtime.
//!
//! A shim whose output goes to a logger (`binary://`) gives its containers no input: `runc create` is started with `/dev/null`
//! (containerd `cmd/containerd-shim-runc-v2/process/io.go`, `NewBinaryIO`), and a container without a terminal inherits that. So a
//! container that is to have an input names as its runtime binary a link to this program ([`front`]). At `create` it opens the pipe
//! named by the bundle's annotation [`STDIN_ANNOTATION`] and becomes the runtime; at all else it just becomes the runtime.
//!
//! The other end is the shim's: told of the pipe as the task's stdin it holds it open for writing until CloseIO, as for the CRI plugin
//! (`openStdin` in `init.go` there). So agents and those who attach come and go, and a container sees the end of its input exactly when
//! it is told.

use std::ffi::{OsStr, OsString};
use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use nix::fcntl::{FcntlArg, OFlag, fcntl};

/// The annotation of an OCI spec that names the pipe.
pub(super) const STDIN_ANNOTATION: &str = "io.minik8s.stdin";
/// The link's name, by which this program knows what it is.
const FRONT: &str = "minik8s-stdin-front";
/// The link beside it, to the runtime behind it; it may be a bare name.
const BEHIND: &str = "runtime";
/// What the shim would have started.
const DEFAULT_RUNTIME: &str = "runc";

/// Whether the program was started under the name of the front.
pub fn is_front(argv0: &OsStr) -> bool {
    Path::new(argv0).file_name() == Some(OsStr::new(FRONT))
}

/// The path of a front for a runtime, made below the run directory if needed. One for each runtime: containers made with another than
/// today's keep theirs.
pub(super) fn front(run_dir: &Path, program: &Path, runtime: Option<&Path>) -> io::Result<PathBuf> {
    let runtime = runtime.unwrap_or(Path::new(DEFAULT_RUNTIME));
    let dir = run_dir.join("stdin").join(directory_name(runtime));
    std::fs::create_dir_all(&dir)?;
    link(runtime, &dir.join(BEHIND))?;
    link(program, &dir.join(FRONT))?;
    Ok(dir.join(FRONT))
}

/// A path as one name; no two have the same.
fn directory_name(path: &Path) -> String {
    path.to_string_lossy().replace('%', "%25").replace('/', "%2F")
}

/// A link to this target, in one step where another is there.
fn link(target: &Path, at: &Path) -> io::Result<()> {
    if std::fs::read_link(at).is_ok_and(|there| there == target) {
        return Ok(());
    }
    let aside = at.with_extension(format!("new-{:?}", std::thread::current().id()));
    match std::fs::remove_file(&aside) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => std::os::unix::fs::symlink(target, &aside)?,
    }
    std::fs::rename(&aside, at)
}

/// Becomes the runtime. Returns only if that cannot be; the shim reads why in the log that it names.
pub fn front_main(argv0: &OsStr, arguments: impl Iterator<Item = OsString>) -> ExitCode {
    let arguments: Vec<OsString> = arguments.collect();
    let why = become_runtime(Path::new(argv0), &arguments);
    eprintln!("{FRONT}: {why}");
    if let Some(log) = after(&arguments, "--log") {
        let entry = serde_json::json!({"level": "error", "msg": why}).to_string();
        // Stderr has it, too.
        let _ = OpenOptions::new().create(true).append(true).open(log).and_then(|mut file| writeln!(file, "{entry}"));
    }
    ExitCode::FAILURE
}

/// Why it could not.
fn become_runtime(front: &Path, arguments: &[OsString]) -> String {
    let runtime = match std::fs::read_link(front.with_file_name(BEHIND)) {
        Ok(runtime) => runtime,
        Err(error) => return format!("the runtime's link beside {} cannot be read: {error}", front.display()),
    };
    let mut command = Command::new(&runtime);
    command.args(arguments);
    if arguments.iter().any(|argument| argument == "create") {
        match after(arguments, "--bundle").map(|bundle| open_stdin(Path::new(bundle))) {
            Some(Ok(Some(pipe))) => drop(command.stdin(pipe)),
            Some(Err(why)) => return why,
            Some(Ok(None)) | None => {}
        }
    }
    format!("cannot run {}: {}", runtime.display(), command.exec())
}

/// What follows a flag.
fn after<'a>(arguments: &'a [OsString], flag: &str) -> Option<&'a OsString> {
    let at = arguments.iter().position(|argument| argument == flag)?;
    arguments.get(at + 1)
}

/// The pipe that the bundle names.
fn open_stdin(bundle: &Path) -> Result<Option<File>, String> {
    let path = bundle.join("config.json");
    let config = std::fs::read(&path).map_err(|e| format!("cannot read {}: {e}", path.display()))?;
    let Some(pipe) = annotation(&config).map_err(|e| format!("cannot read {}: {e}", path.display()))? else { return Ok(None) };
    // Opened without waiting for the shim, which opens its end once this is done; read with waiting, as programs expect.
    let open = || {
        let file = OpenOptions::new().read(true).custom_flags(OFlag::O_NONBLOCK.bits()).open(&pipe)?;
        fcntl(&file, FcntlArg::F_SETFL(OFlag::empty()))?;
        Ok(file)
    };
    open().map(Some).map_err(|e: io::Error| format!("cannot open the container's stdin {}: {e}", pipe.display()))
}

fn annotation(config: &[u8]) -> serde_json::Result<Option<PathBuf>> {
    let config: serde_json::Value = serde_json::from_slice(config)?;
    Ok(config["annotations"][STDIN_ANNOTATION].as_str().map(PathBuf::from))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_runtime_has_its_own_front_which_stays() {
        let run = tempfile::tempdir().unwrap();
        let made = front(run.path(), Path::new("/usr/bin/minik8s"), None).unwrap();
        assert_eq!(made, run.path().join("stdin/runc/minik8s-stdin-front"));
        assert_eq!(std::fs::read_link(&made).unwrap(), Path::new("/usr/bin/minik8s"));
        assert_eq!(std::fs::read_link(made.with_file_name("runtime")).unwrap(), Path::new("runc"));
        let other = front(run.path(), Path::new("/opt/minik8s"), Some(Path::new("/opt/a/crun"))).unwrap();
        assert_eq!(other, run.path().join("stdin/%2Fopt%2Fa%2Fcrun/minik8s-stdin-front"));
        assert!(is_front(other.as_os_str()) && !is_front(OsStr::new("/usr/bin/minik8s")));
        let again = front(run.path(), Path::new("/opt/minik8s"), None).unwrap();
        assert_eq!((std::fs::read_link(&again).unwrap(), again), (PathBuf::from("/opt/minik8s"), made));
        assert_eq!(std::fs::read_dir(run.path().join("stdin/runc")).unwrap().count(), 2);
    }

    #[test]
    fn the_annotation_names_the_pipe() {
        let config = br#"{"ociVersion": "1.0.2", "annotations": {"io.minik8s.stdin": "/var/log/pods/x/0.input"}}"#;
        assert_eq!(annotation(config).unwrap(), Some("/var/log/pods/x/0.input".into()));
        assert_eq!(annotation(b"{}").unwrap(), None);
        assert!(annotation(b"{").is_err());
        let arguments: Vec<OsString> = ["--root", "/r", "create", "--bundle", "/b", "id"].iter().map(OsString::from).collect();
        assert_eq!(after(&arguments, "--bundle"), Some(&OsString::from("/b")));
        assert_eq!((after(&arguments, "--log"), after(&arguments, "id")), (None, None));
    }
}
