//! `minik8s delete`: objects from their manifests, or gracefully where they have none; waits until they are gone, as kubectl does.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use super::apply::read_all;
use super::client::{Client, ClientArgs, ScopeArgs, object};
use super::error::CliError;
use super::kinds;
use super::logs::seconds;
use super::output::{complain, put};
use super::targets::{self, Target};
use crate::api::fault::Severity;
use crate::api::{Kind, Object};
use crate::grpc::pb::{DeleteRequest, GetRequest};

/// How often it is looked whether an object is gone.
const LOOK: Duration = Duration::from_millis(200);
/// kubectl's words where nothing is waited for (k8s.io/kubectl/pkg/cmd/delete).
const FORCED: &str = "Warning: Immediate deletion does not wait for confirmation that the running resource has been terminated. The resource may continue to run on the cluster indefinitely.";

/// Delete objects: from their manifests, or gracefully where they have none.
#[derive(Clone, Debug, clap::Args)]
pub struct DeleteArgs {
    #[command(flatten)]
    client: ClientArgs,
    /// The namespace.
    #[arg(short, long, default_value = "default", value_name = "NAME")]
    namespace: String,
    /// TYPE NAME..., TYPE/NAME..., or TYPE with --all or -l.
    #[arg(value_name = "TYPE[/NAME]", required_unless_present = "files", conflicts_with = "files")]
    words: Vec<String>,
    /// The objects of a manifest, a directory of them, or - for stdin.
    #[arg(short, long = "filename", value_name = "FILE|DIR|-")]
    files: Vec<PathBuf>,
    /// All objects of the type in the namespace.
    #[arg(long, conflicts_with_all = ["files", "selector"])]
    all: bool,
    /// Only objects with these labels: `app=web,tier in (a,b),!old`.
    #[arg(short = 'l', long, default_value = "", hide_default_value = true, value_name = "QUERY", conflicts_with = "files")]
    selector: String,
    /// Seconds a pod has to stop; its own terminationGracePeriodSeconds if not given. 0 only with --force, else it counts as 1.
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(i64).range(0..=86_400 * 365))]
    grace_period: Option<i64>,
    /// Stop at once (a grace period of 1).
    #[arg(long, conflicts_with = "grace_period")]
    now: bool,
    /// Kill at once (a grace period of 0).
    #[arg(long)]
    force: bool,
    /// How the objects it owns go: background or foreground.
    #[arg(long, default_value = "background", value_parser = ["background", "foreground", "orphan"])]
    cascade: String,
    /// An object that is not there is no error.
    #[arg(long)]
    ignore_not_found: bool,
    /// Wait until the objects are gone.
    #[arg(long, default_value_t = true, action = clap::ArgAction::Set, num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    wait: bool,
    /// The longest wait: 5s, 2m; 0s for no limit.
    #[arg(long, default_value = "0s", value_name = "DURATION")]
    timeout: String,
}

/// An object to delete.
type Wanted = (Kind, String, String);

/// Runs `delete`. Returns the exit code.
pub async fn run(args: &DeleteArgs) -> Result<u8, CliError> {
    let (grace, limit) = (grace(args)?, limit(&args.timeout)?);
    // Before an agent is asked: what is wrong with the files is told also where none runs.
    let (mut wanted, mut failed) = of_files(args)?;
    if failed && wanted.is_empty() {
        return Ok(1);
    }
    let mut client = Client::connect(&args.client).await?;
    if args.files.is_empty() {
        wanted = of_words(&mut client, args).await?;
        if wanted.is_empty() {
            put("No resources found\n")?;
        }
    }
    if grace == Some(0) {
        complain(FORCED);
    }
    let mut going = Vec::new();
    for (kind, namespace, name) in wanted {
        let request = DeleteRequest {
            kind: kind.as_str().to_owned(),
            namespace: namespace.clone(),
            name: name.clone(),
            grace_seconds: grace,
            cascade: args.cascade.clone(),
        };
        match client.agent.delete(request).await {
            Ok(reply) => {
                let how = if grace == Some(0) { "force deleted" } else { "deleted" };
                put(format!("{} {how}{}\n", kinds::quoted(kind, &name), from(kind, &namespace)))?;
                let deleted = reply.into_inner().item.as_ref().map(object).transpose()?;
                going.extend(deleted.map(|deleted| Going { asked: (kind, namespace, name), deleted }));
            }
            Err(status) if args.ignore_not_found && status.code() == tonic::Code::NotFound => {}
            Err(status) => {
                failed = true;
                complain(&CliError::from(status).to_string());
            }
        }
    }
    if args.wait {
        wait(&mut client, &going, limit).await?;
    }
    Ok(u8::from(failed))
}

/// The grace period by kubectl's rules (k8s.io/kubectl/pkg/cmd/delete, Complete and Validate).
fn grace(args: &DeleteArgs) -> Result<Option<i64>, CliError> {
    match (args.force, args.grace_period) {
        (true, Some(seconds)) if seconds > 0 => {
            Err(CliError::local("--force and --grace-period greater than 0 cannot be specified together"))
        }
        (true, _) => Ok(Some(0)),
        (false, _) if args.now => Ok(Some(1)),
        (false, Some(0)) => Ok(Some(1)),
        (false, given) => Ok(given),
    }
}

pub(super) fn limit(text: &str) -> Result<Option<Duration>, CliError> {
    if matches!(text, "0" | "0s") {
        return Ok(None);
    }
    Ok(Some(Duration::from_secs(u64::try_from(seconds(text, "--timeout")?).unwrap_or_default())))
}

/// ` from default namespace`, as kubectl has it since 1.33.
fn from(kind: Kind, namespace: &str) -> String {
    if kind.namespaced() { format!(" from {namespace} namespace") } else { String::new() }
}

/// The objects the files define, and whether something is wrong with them; that is told. What can be read is deleted all the same, as
/// kubectl does.
fn of_files(args: &DeleteArgs) -> Result<(Vec<Wanted>, bool), CliError> {
    let (mut found, mut faulty) = (Vec::new(), false);
    if args.files.is_empty() {
        return Ok((found, faulty));
    }
    for file in read_all(&args.files)? {
        let decoded = crate::api::manifest::decode(&file.name, &file.content);
        for fault in decoded.faults.iter().filter(|fault| fault.severity == Severity::Error) {
            faulty = true;
            complain(&fault.to_string());
        }
        let keys = decoded.documents.into_iter().filter_map(|document| document.object.map(|object| object.key()));
        found.extend(keys.map(|key| (if key.kind == Kind::StaticPod { Kind::Pod } else { key.kind }, key.namespace, key.name)));
    }
    if found.is_empty() && !faulty {
        return Err(CliError::local("no objects found in the files to delete"));
    }
    Ok((found, faulty))
}

/// The objects named on the command line, or chosen by --all or -l.
async fn of_words(client: &mut Client, args: &DeleteArgs) -> Result<Vec<Wanted>, CliError> {
    let choose = args.all || !args.selector.is_empty();
    let mut found = Vec::new();
    for Target { kind, names } in targets::parse(&args.words)? {
        let names = match (choose, names.is_empty()) {
            (true, false) => return Err(CliError::local("name cannot be provided when a selector is specified")),
            (false, true) => return Err(CliError::local("resource(s) were provided, but no name was specified")),
            (false, false) => names,
            (true, true) => {
                let scope = ScopeArgs { namespace: args.namespace.clone(), all_namespaces: false, selector: args.selector.clone() };
                let objects = client.list(scope.request(kind, &[])).await?.objects;
                objects.iter().filter_map(|object| object.meta().name.clone()).collect()
            }
        };
        found.extend(names.into_iter().map(|name| (kind, args.namespace.clone(), name)));
    }
    Ok(found)
}

/// An object that was told to go.
struct Going {
    asked: Wanted,
    deleted: Object,
}

/// Until all are gone. Errors: the time is up.
async fn wait(client: &mut Client, going: &[Going], limit: Option<Duration>) -> Result<(), CliError> {
    let begun = Instant::now();
    for one in going {
        while is_there(client, one).await? {
            if limit.is_some_and(|limit| begun.elapsed() >= limit) {
                let (kind, _, name) = &one.asked;
                return Err(CliError::local(format!("timed out waiting for the condition on {}/{name}", kind.plural())));
            }
            tokio::time::sleep(LOOK).await;
        }
    }
    Ok(())
}

/// Whether the object deleted, or (of a static pod's manifest) its pod, is there yet. Another of the same name is not the same.
async fn is_there(client: &mut Client, going: &Going) -> Result<bool, CliError> {
    let ((kind, namespace, name), uid) = (&going.asked, going.deleted.uid());
    if going.deleted.kind() == Kind::StaticPod {
        let scope = ScopeArgs { namespace: namespace.clone(), all_namespaces: false, selector: String::new() };
        let pods = client.list(scope.request(Kind::Pod, &[])).await?.objects;
        return Ok(pods.iter().any(|pod| pod.controller_uid() == Some(uid)));
    }
    let request = GetRequest { kind: kind.as_str().to_owned(), namespace: namespace.clone(), name: name.clone() };
    match client.agent.get(request).await {
        Ok(item) => Ok(object(&item.into_inner())?.uid() == uid),
        Err(status) if status.code() == tonic::Code::NotFound => Ok(false),
        Err(status) => Err(status.into()),
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        args: DeleteArgs,
    }

    #[test]
    fn grace_and_wait_by_kubectls_rules() {
        let parse = |line: &str| Line::parse_from(format!("x pod a {line}").split_whitespace()).args;
        for (line, expected) in
            [("", None), ("--now", Some(1)), ("--force", Some(0)), ("--grace-period=0", Some(1)), ("--grace-period=7", Some(7))]
        {
            assert_eq!(grace(&parse(line)).unwrap(), expected, "{line}");
        }
        assert!(grace(&parse("--force --grace-period=7")).is_err());
        assert!(parse("").wait && parse("--wait").wait && !parse("--wait=false").wait);
        assert_eq!((limit("0s").unwrap(), limit("1m").unwrap()), (None, Some(Duration::from_secs(60))));
        assert!(limit("x").is_err());
    }
}
