//! `minik8s apply`: manifests into the manifests directory; and the reading of manifests that a command names.

use std::io::Read;
use std::path::{Path, PathBuf};

use super::client::{Client, ClientArgs};
use super::error::CliError;
use super::get::fault_line;
use super::kinds;
use super::output::{complain, put};
use crate::api::{Kind, files};
use crate::grpc::pb::{ApplyRequest, ManifestFault, ManifestFile};

/// Bytes read from one file or from stdin.
const MAX_FILE: u64 = 16 << 20;
/// Files of one command.
const MAX_FILES: usize = 10_000;
/// Directories below each other.
const MAX_DEPTH: usize = 32;

/// Check manifests, then write them into the manifests directory.
#[derive(Clone, Debug, clap::Args)]
pub struct ApplyArgs {
    #[command(flatten)]
    client: ClientArgs,
    /// A manifest, a directory of them, or - for stdin; may be given several times.
    #[arg(short, long = "filename", required = true, value_name = "FILE|DIR|-")]
    files: Vec<PathBuf>,
    /// Say what would be done, and do nothing.
    #[arg(long)]
    dry_run: bool,
}

/// Runs `apply`. Returns the exit code.
pub async fn apply(args: &ApplyArgs) -> Result<u8, CliError> {
    let files = read_all(&args.files)?;
    let mut client = Client::connect(&args.client).await?;
    let response = client.agent.apply(ApplyRequest { files, dry_run: args.dry_run }).await?.into_inner();
    for fault in response.faults.iter().filter(|fault| is_told(fault)) {
        complain(&fault_line(fault));
    }
    if response.faults.iter().any(|fault| fault.severity == "error") {
        return Err(CliError::local("nothing was applied: the manifests have errors"));
    }
    if response.results.is_empty() {
        return Err(CliError::local("no objects passed to apply"));
    }
    let dry = if args.dry_run { " (dry run)" } else { "" };
    for result in &response.results {
        let kind = Kind::parse(&result.kind).unwrap_or(Kind::Pod);
        put(format!("{} {}{dry}\n", kinds::slashed(kind, &result.name), result.outcome))?;
    }
    Ok(0)
}

/// Errors, warnings, and which documents are passed over and why; not each field that means nothing on a node alone.
fn is_told(fault: &ManifestFault) -> bool {
    fault.severity != "info" || fault.field.is_empty()
}

/// The files named, directories with what lies in them, and stdin.
pub(super) fn read_all(paths: &[PathBuf]) -> Result<Vec<ManifestFile>, CliError> {
    let mut files = Vec::new();
    for path in paths {
        if path == Path::new("-") {
            files.push(ManifestFile { name: "STDIN".to_owned(), content: read(std::io::stdin().lock(), "stdin")? });
        } else {
            add(path, 0, &mut files)?;
        }
    }
    if files.is_empty() {
        let shown: Vec<String> = paths.iter().map(|path| path.display().to_string()).collect();
        return Err(CliError::local(format!("no *.yaml, *.yml or *.json files in {}", shown.join(", "))));
    }
    Ok(files)
}

/// A file, or the manifests of a directory and those below it, in order of their names.
fn add(path: &Path, depth: usize, files: &mut Vec<ManifestFile>) -> Result<(), CliError> {
    let failed = |cause: std::io::Error| match cause.kind() {
        std::io::ErrorKind::NotFound => CliError::local(format!("the path {:?} does not exist", path.display().to_string())),
        _ => CliError::local(format!("{} cannot be read: {cause}", path.display())),
    };
    if !std::fs::metadata(path).map_err(failed)?.is_dir() {
        if files.len() >= MAX_FILES {
            return Err(CliError::local(format!("more than {MAX_FILES} files; apply them in parts")));
        }
        let file = std::fs::File::open(path).map_err(failed)?;
        files.push(ManifestFile { name: path.display().to_string(), content: read(file, &path.display().to_string())? });
        return Ok(());
    }
    if depth > MAX_DEPTH {
        return Err(CliError::local(format!("{} lies too deep (a cycle of links?)", path.display())));
    }
    let mut entries: Vec<PathBuf> = std::fs::read_dir(path).map_err(failed)?.filter_map(|entry| entry.ok().map(|e| e.path())).collect();
    entries.sort();
    for entry in entries.iter().filter(|entry| is_meant(entry)) {
        add(entry, depth + 1, files)?;
    }
    Ok(())
}

/// In a directory: what the agent would read there.
fn is_meant(path: &Path) -> bool {
    !files::is_hidden(path) && (files::is_manifest(path) || path.is_dir())
}

fn read(from: impl Read, name: &str) -> Result<Vec<u8>, CliError> {
    let mut content = Vec::new();
    from.take(MAX_FILE + 1).read_to_end(&mut content).map_err(|cause| CliError::local(format!("{name} cannot be read: {cause}")))?;
    if content.len() as u64 > MAX_FILE {
        return Err(CliError::local(format!("{name} is larger than {} MiB", MAX_FILE >> 20)));
    }
    Ok(content)
}
