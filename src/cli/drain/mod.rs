//! `minik8s drain`: cordons the node, then evicts its pods and waits until they are gone, in kubectl's words
//! (staging/src/k8s.io/kubectl/pkg/cmd/drain, pkg/drain). Which pods go is [`filter`]'s to say.

mod filter;

use std::time::{Duration, Instant};

use k8s_openapi::api::core::v1::Pod;
use tonic::Code;

use self::filter::{Choice, Options};
use super::client::{Client, ClientArgs, ScopeArgs, object};
use super::cordon::{cordon, node_name};
use super::delete::limit;
use super::dry_run::DryRun;
use super::error::CliError;
use super::output::{complain, put};
use crate::api::{Kind, Object};
use crate::grpc::pb::{EvictRequest, GetRequest};

/// How often it is looked whether pods are gone.
const LOOK: Duration = Duration::from_millis(200);

/// Cordon the node and stop its pods, each within its grace; they come back after uncordon.
#[derive(Clone, Debug, clap::Args)]
pub struct DrainArgs {
    #[command(flatten)]
    client: ClientArgs,
    /// The node; this one if not given.
    node: Option<String>,
    /// Go on even if there are pods of DaemonSets, which stay.
    #[arg(long)]
    ignore_daemonsets: bool,
    /// Stop pods from Pod manifests too.
    #[arg(long)]
    force: bool,
    /// Go on even if there are pods with an emptyDir, whose data is lost.
    #[arg(long, alias = "delete-local-data")]
    delete_emptydir_data: bool,
    /// Seconds each pod has to stop; negative: its own terminationGracePeriodSeconds.
    #[arg(long, default_value_t = -1, allow_negative_numbers = true, value_name = "SECONDS", value_parser = clap::value_parser!(i64).range(-1..=86_400 * 365))]
    grace_period: i64,
    /// The longest wait: 5s, 2m; 0s for no limit.
    #[arg(long, default_value = "0s", value_name = "DURATION")]
    timeout: String,
    /// Only pods with these labels: `app=web,tier in (a,b),!old`.
    #[arg(long, default_value = "", hide_default_value = true, value_name = "QUERY")]
    pod_selector: String,
    #[command(flatten)]
    dry_run: DryRun,
}

/// Runs the command. Returns the exit code.
pub async fn run(args: &DrainArgs) -> Result<u8, CliError> {
    let bound = limit(&args.timeout)?;
    let dry_run = args.dry_run;
    let mut client = Client::connect(&args.client).await?;
    let name = node_name(&mut client, args.node.as_deref()).await?;
    cordon(&mut client, &name, true, dry_run).await?;
    let choice = choose(&mut client, args, &name).await?;
    let outcome = match choice.errors.is_empty() {
        true => evict_all(&mut client, args, &name, choice, bound, dry_run).await?,
        false => choice.errors,
    };
    if outcome.is_empty() {
        put(format!("node/{name} drained{}\n", dry_run.said()))?;
        return Ok(0);
    }
    let all = if outcome.len() == 1 { outcome.concat() } else { format!("[{}]", outcome.join(", ")) };
    complain(&format!("error: unable to drain node \"{name}\" due to error: {all}, continuing command..."));
    complain(&format!("There are pending nodes to be drained:\n {name}"));
    outcome.iter().for_each(|error| complain(error));
    Ok(1)
}

async fn choose(client: &mut Client, args: &DrainArgs, node: &str) -> Result<Choice, CliError> {
    let scope = ScopeArgs { namespace: String::new(), all_namespaces: true, selector: args.pod_selector.clone() };
    let found = client.list(scope.request(Kind::Pod, &[])).await?.objects;
    let pods: Vec<Pod> = found.iter().filter_map(Object::as_pod).cloned().collect();
    let DrainArgs { force, ignore_daemonsets, delete_emptydir_data, .. } = *args;
    Ok(filter::choose(pods, node, Options { force, ignore_daemonsets, delete_emptydir_data }))
}

/// Evicts and waits. Returns what went wrong.
async fn evict_all(
    client: &mut Client,
    args: &DrainArgs,
    node: &str,
    choice: Choice,
    bound: Option<Duration>,
    dry_run: DryRun,
) -> Result<Vec<String>, CliError> {
    if !choice.warnings.is_empty() {
        complain(&format!("Warning: {}", choice.warnings.join("; ")));
    }
    let begun = Instant::now();
    let (mut going, mut errors) = (Vec::new(), Vec::new());
    for pod in choice.evict {
        let (namespace, name, uid) = names(&pod);
        put(format!("evicting pod {namespace}/{name}{}\n", dry_run.said()))?;
        if dry_run.is_on() {
            continue;
        }
        let grace_seconds = (args.grace_period >= 0).then_some(args.grace_period);
        match client.agent.evict(EvictRequest { namespace: namespace.clone(), name: name.clone(), uid, grace_seconds }).await {
            Ok(_) => going.push(pod),
            Err(status) if status.code() == Code::NotFound => {}
            Err(status) => errors.push(format!("error when evicting pods/\"{name}\" -n \"{namespace}\": {}", CliError::from(status))),
        }
    }
    let left = wait(client, going, bound.map(|bound| begun + bound)).await?;
    let reached = format!("global timeout reached: {}", bound.map(go_duration).unwrap_or_default());
    errors.extend(left.iter().map(|pod| {
        let (namespace, name, _) = names(pod);
        format!("error when waiting for pod \"{name}\" in namespace \"{namespace}\" to terminate: {reached}")
    }));
    if !left.is_empty() {
        complain(&format!("There are pending pods in node \"{node}\" when an error occurred: {}", errors.join(", ")));
        left.iter().for_each(|pod| complain(&format!("pod/{}", names(pod).1)));
    }
    Ok(errors)
}

/// Until all are gone, saying so of each, or until `end`. Returns those that are left.
async fn wait(client: &mut Client, mut going: Vec<Pod>, end: Option<Instant>) -> Result<Vec<Pod>, CliError> {
    loop {
        let mut left = Vec::new();
        for pod in going {
            if is_there(client, &pod).await? {
                left.push(pod);
            } else {
                put(format!("pod/{} evicted\n", names(&pod).1))?;
            }
        }
        if left.is_empty() || end.is_some_and(|end| Instant::now() >= end) {
            return Ok(left);
        }
        going = left;
        tokio::time::sleep(LOOK).await;
    }
}

/// Whether this incarnation is there yet.
async fn is_there(client: &mut Client, pod: &Pod) -> Result<bool, CliError> {
    let (namespace, name, uid) = names(pod);
    match client.agent.get(GetRequest { kind: Kind::Pod.as_str().to_owned(), namespace, name }).await {
        Ok(item) => Ok(object(&item.into_inner())?.uid() == uid),
        Err(status) if status.code() == Code::NotFound => Ok(false),
        Err(status) => Err(status.into()),
    }
}

/// Namespace, name, uid.
fn names(pod: &Pod) -> (String, String, String) {
    let meta = &pod.metadata;
    (meta.namespace.clone().unwrap_or_default(), meta.name.clone().unwrap_or_default(), meta.uid.clone().unwrap_or_default())
}

/// As Go prints it: `5s`, `1m0s`, `1h0m0s`.
fn go_duration(duration: Duration) -> String {
    let seconds = duration.as_secs();
    match (seconds / 3600, seconds / 60 % 60, seconds % 60) {
        (0, 0, s) => format!("{s}s"),
        (0, m, s) => format!("{m}m{s}s"),
        (h, m, s) => format!("{h}h{m}m{s}s"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_as_go_prints_them() {
        assert_eq!([5, 60, 3661].map(|s| go_duration(Duration::from_secs(s))), ["5s", "1m0s", "1h1m1s"]);
    }
}
