//! `minik8s apply` and `delete`: what changes the manifests directory, or takes an object away.

use std::io::Read;
use std::path::{Path, PathBuf};

use super::client::{Client, ClientArgs};
use super::error::CliError;
use super::get::fault_line;
use super::kinds;
use super::output::{complain, put};
use super::targets;
use crate::api::{Kind, files};
use crate::grpc::pb::{ApplyRequest, DeleteRequest, ManifestFile};

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

/// Delete objects: from their manifests, or gracefully where they have none.
#[derive(Clone, Debug, clap::Args)]
pub struct DeleteArgs {
    #[command(flatten)]
    client: ClientArgs,
    /// The namespace.
    #[arg(short, long, default_value = "default", value_name = "NAME")]
    namespace: String,
    /// TYPE NAME..., or TYPE/NAME...
    #[arg(value_name = "TYPE[/NAME]", required_unless_present = "files", conflicts_with = "files")]
    words: Vec<String>,
    /// The objects of a manifest, a directory of them, or - for stdin.
    #[arg(short, long = "filename", value_name = "FILE|DIR|-")]
    files: Vec<PathBuf>,
    /// Seconds a pod has to stop; its own terminationGracePeriodSeconds if not given.
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(i64).range(0..=86_400 * 365))]
    grace_period: Option<i64>,
    /// Kill at once (a grace period of 0).
    #[arg(long, conflicts_with = "grace_period")]
    now: bool,
    /// How the objects it owns go: background or foreground.
    #[arg(long, default_value = "background", value_parser = ["background", "foreground", "orphan"])]
    cascade: String,
    /// An object that is not there is no error.
    #[arg(long)]
    ignore_not_found: bool,
}

/// Runs `apply`. Returns the exit code.
pub async fn apply(args: &ApplyArgs) -> Result<u8, CliError> {
    let files = read_all(&args.files)?;
    let mut client = Client::connect(&args.client).await?;
    let response = client.agent.apply(ApplyRequest { files, dry_run: args.dry_run }).await?.into_inner();
    for fault in response.faults.iter().filter(|fault| fault.severity != "info") {
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

/// Runs `delete`. Returns the exit code.
pub async fn delete(args: &DeleteArgs) -> Result<u8, CliError> {
    let wanted = wanted(args)?;
    let mut client = Client::connect(&args.client).await?;
    let mut failed = false;
    for (kind, namespace, name) in wanted {
        let request = DeleteRequest {
            kind: kind.as_str().to_owned(),
            namespace: namespace.clone(),
            name: name.clone(),
            grace_seconds: if args.now { Some(0) } else { args.grace_period },
            cascade: args.cascade.clone(),
        };
        match client.agent.delete(request).await {
            Ok(_) => put(format!("{} deleted{}\n", kinds::quoted(kind, &name), from(kind, &namespace)))?,
            Err(status) if args.ignore_not_found && status.code() == tonic::Code::NotFound => {}
            Err(status) => {
                failed = true;
                complain(&CliError::from(status).to_string());
            }
        }
    }
    Ok(u8::from(failed))
}

/// ` from default namespace`, as kubectl has it since 1.33.
fn from(kind: Kind, namespace: &str) -> String {
    if kind.namespaced() { format!(" from {namespace} namespace") } else { String::new() }
}

/// The objects to delete.
fn wanted(args: &DeleteArgs) -> Result<Vec<(Kind, String, String)>, CliError> {
    if !args.files.is_empty() {
        let mut found = Vec::new();
        for file in read_all(&args.files)? {
            let decoded = crate::api::manifest::decode(&file.name, &file.content);
            let keys = decoded.documents.into_iter().filter_map(|document| document.object.map(|object| object.key()));
            found.extend(keys.map(|key| (if key.kind == Kind::StaticPod { Kind::Pod } else { key.kind }, key.namespace, key.name)));
        }
        if found.is_empty() {
            return Err(CliError::local("no objects found in the files to delete"));
        }
        return Ok(found);
    }
    let mut found = Vec::new();
    for target in targets::parse(&args.words)? {
        if target.names.is_empty() {
            return Err(CliError::local("resource(s) were provided, but no name was specified"));
        }
        found.extend(target.names.into_iter().map(|name| (target.kind, args.namespace.clone(), name)));
    }
    Ok(found)
}

/// The files named, and the manifests of directories. Errors: one cannot be read, or there is none.
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
