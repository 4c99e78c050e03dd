//! `minik8s rollout history|status|restart|undo`, in kubectl's words (`staging/src/k8s.io/kubectl/pkg/cmd/rollout`). DaemonSets only: nothing else
//! here has rollouts.

use std::time::Duration;

use jiff::tz::TimeZone;
use k8s_openapi::api::apps::v1::{ControllerRevision, DaemonSet};

use super::client::{Client, ClientArgs, ScopeArgs, object};
use super::describe::{About, template};
use super::error::CliError;
use super::output::put;
use super::tabwriter::{self, DESCRIBE};
use super::{kinds, targets};
use crate::api::{Kind, Object};
use crate::clock::{Clock, SystemClock};
use crate::controllers::daemonset::rollback::{self, CHANGE_CAUSE};
use crate::grpc::pb::rollout_request::Change;
use crate::grpc::pb::watch_event::Type;
use crate::grpc::pb::{GetRequest, RolloutRequest, WatchRequest};

/// Show, follow, restart and undo rollouts of DaemonSets. Restart and undo change the manifest file.
#[derive(Clone, Debug, clap::Args)]
pub struct RolloutArgs {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Clone, Debug, clap::Subcommand)]
enum Verb {
    /// Show earlier templates.
    History {
        #[command(flatten)]
        what: What,
        /// Show the template of this revision.
        #[arg(long, default_value_t = 0, value_name = "N", value_parser = clap::value_parser!(i64).range(0..))]
        revision: i64,
    },
    /// Follow a rollout until it is done.
    Status {
        #[command(flatten)]
        what: What,
        /// Wait until it is done.
        #[arg(short, long, default_value_t = true, action = clap::ArgAction::Set, num_args = 0..=1, require_equals = true, default_missing_value = "true")]
        watch: bool,
        /// Give up after so many seconds; 0 = never.
        #[arg(long, default_value = "0s", value_name = "DURATION", value_parser = seconds)]
        timeout: Duration,
    },
    /// Replace the pods by new ones of the same template.
    Restart {
        #[command(flatten)]
        what: What,
    },
    /// Go back to an earlier template.
    Undo {
        #[command(flatten)]
        what: What,
        /// The revision to go back to; 0 = the last one.
        #[arg(long, default_value_t = 0, value_name = "N", value_parser = clap::value_parser!(i64).range(0..))]
        to_revision: i64,
    },
}

/// Which DaemonSets.
#[derive(Clone, Debug, clap::Args)]
struct What {
    #[command(flatten)]
    client: ClientArgs,
    /// The namespace.
    #[arg(short, long, default_value = "default", value_name = "NAME")]
    namespace: String,
    /// daemonset NAME..., or daemonset/NAME...
    #[arg(value_name = "TYPE[/NAME]", required = true)]
    words: Vec<String>,
}

/// `30s`, `5m`, `1h` or `0`.
fn seconds(text: &str) -> Result<Duration, String> {
    let wrong = || "write a duration such as 30s, 5m or 1h".to_owned();
    let (number, factor) = match text.char_indices().next_back() {
        Some((at, 's')) => (&text[..at], 1),
        Some((at, 'm')) => (&text[..at], 60),
        Some((at, 'h')) => (&text[..at], 3600),
        _ if text == "0" => ("0", 1),
        _ => return Err(wrong()),
    };
    number.parse::<u32>().map(|n| Duration::from_secs(u64::from(n) * factor)).map_err(|_| wrong())
}

/// Runs the command. Returns the exit code.
pub async fn run(args: &RolloutArgs) -> Result<u8, CliError> {
    match &args.verb {
        Verb::History { what, revision } => history(what, *revision).await,
        Verb::Status { what, watch, timeout } => status(what, *watch, *timeout).await,
        Verb::Restart { what } => restart(what).await,
        Verb::Undo { what, to_revision } => undo(what, *to_revision).await,
    }
}

/// The names of the DaemonSets meant; `refusal` words that another kind has no rollouts.
fn names(what: &What, refusal: impl Fn(Kind, &str) -> String) -> Result<Vec<String>, CliError> {
    let mut names = Vec::new();
    for target in targets::parse(&what.words)? {
        if target.kind != Kind::DaemonSet {
            return Err(CliError::local(refusal(target.kind, target.names.first().map_or("", String::as_str))));
        }
        names.extend(target.names);
    }
    if names.is_empty() { Err(CliError::local("resource(s) were provided, but no name was specified")) } else { Ok(names) }
}

/// `Job.batch`, `Pod`.
fn group_kind(kind: Kind) -> String {
    let group = kind.api_version().split_once('/').map(|(group, _)| format!(".{group}")).unwrap_or_default();
    format!("{}{group}", kind.shown())
}

async fn get(client: &mut Client, what: &What, name: &str) -> Result<DaemonSet, CliError> {
    let request = GetRequest { kind: Kind::DaemonSet.as_str().to_owned(), namespace: what.namespace.clone(), name: name.to_owned() };
    let found = object(&client.agent.get(request).await?.into_inner())?;
    found.as_daemon_set().cloned().ok_or_else(|| CliError::local("the agent sent another kind than was asked for"))
}

/// The DaemonSet's revisions, in order.
async fn revisions(client: &mut Client, ds: &DaemonSet) -> Result<Vec<ControllerRevision>, CliError> {
    let namespace = ds.metadata.namespace.clone().unwrap_or_default();
    let scope = ScopeArgs { namespace, all_namespaces: false, selector: String::new() };
    let all = client.list(scope.request(Kind::ControllerRevision, &[])).await?.objects;
    let mine = all.iter().filter(|o| o.controller_uid() == ds.metadata.uid.as_deref()).filter_map(Object::as_controller_revision);
    let mut revisions: Vec<ControllerRevision> = mine.cloned().collect();
    revisions.sort_by_key(|r| r.revision);
    Ok(revisions)
}

async fn history(what: &What, revision: i64) -> Result<u8, CliError> {
    let names = names(what, |kind, _| format!("no history viewer has been implemented for {:?}", group_kind(kind)))?;
    let mut client = Client::connect(&what.client).await?;
    for name in names {
        let ds = get(&mut client, what, &name).await?;
        let revisions = revisions(&mut client, &ds).await?;
        let (with, text) = match revision {
            0 => (String::new(), overview(&revisions)),
            number => (format!("with revision #{number}"), details(&revisions, number)?),
        };
        put(format!("{} {with}\n{text}\n", kinds::slashed(Kind::DaemonSet, &name)))?;
    }
    Ok(0)
}

fn overview(revisions: &[ControllerRevision]) -> String {
    if revisions.is_empty() {
        return "No rollout history found.".to_owned();
    }
    let row = |r: &ControllerRevision| {
        let cause = r.metadata.annotations.as_ref().and_then(|a| a.get(CHANGE_CAUSE)).filter(|c| !c.is_empty());
        format!("{}\t{}\n", r.revision, cause.map_or("<none>", String::as_str))
    };
    let rows: String = revisions.iter().map(row).collect();
    tabwriter::align(&format!("REVISION\tCHANGE-CAUSE\n{rows}"), DESCRIBE)
}

fn details(revisions: &[ControllerRevision], number: i64) -> Result<String, CliError> {
    let found = revisions.iter().find(|r| r.revision == number);
    let revision = found.ok_or_else(|| CliError::local("unable to find the specified revision"))?;
    let name = revision.metadata.name.as_deref().unwrap_or_default();
    let old = rollback::template(revision).ok_or_else(|| CliError::local(format!("unable to parse history {name}")))?;
    let about = About { now: SystemClock.now(), zone: TimeZone::system(), events: None, pods: &[], faults: &[] };
    Ok(template(&old, &about))
}

async fn restart(what: &What) -> Result<u8, CliError> {
    let names = names(what, |kind, name| {
        let resource = group_kind(kind);
        let group = resource.split_once('.').map(|(_, group)| format!(".{group}")).unwrap_or_default();
        format!("{}{group} {name:?} restarting is not supported", kind.plural())
    })?;
    let mut client = Client::connect(&what.client).await?;
    for name in names {
        change(&mut client, what, &name, Change::Restart(true)).await?;
        put(format!("{} restarted\n", kinds::slashed(Kind::DaemonSet, &name)))?;
    }
    Ok(0)
}

async fn undo(what: &What, to: i64) -> Result<u8, CliError> {
    let names = names(what, |kind, _| format!("no rollbacker has been implemented for {:?}", group_kind(kind)))?;
    let mut client = Client::connect(&what.client).await?;
    for name in names {
        let ds = get(&mut client, what, &name).await?;
        let revisions = revisions(&mut client, &ds).await?;
        let target = rollback::target(&revisions, to).map_err(CliError::Local)?;
        let shown = kinds::slashed(Kind::DaemonSet, &name);
        if rollback::matches(&ds, target) {
            put(format!("{shown} skipped rollback (current template already matches revision {})\n", target.revision))?;
            continue;
        }
        change(&mut client, what, &name, Change::ToRevision(target.revision)).await?;
        put(format!("{shown} rolled back\n"))?;
    }
    Ok(0)
}

async fn change(client: &mut Client, what: &What, name: &str, change: Change) -> Result<(), CliError> {
    let request = RolloutRequest { namespace: what.namespace.clone(), name: name.to_owned(), change: Some(change) };
    client.agent.rollout(request).await?;
    Ok(())
}

async fn status(what: &What, watch: bool, timeout: Duration) -> Result<u8, CliError> {
    let names = names(what, |kind, _| format!("no status viewer has been implemented for {}", kind.shown()))?;
    let [name] = names.as_slice() else {
        let message = "rollout status is only supported on individual resources and resource collections";
        return Err(CliError::local(format!("{message} - {} resources were found", names.len())));
    };
    let mut client = Client::connect(&what.client).await?;
    get(&mut client, what, name).await?;
    let follow = follow(&mut client, what, name, watch);
    if timeout.is_zero() {
        return follow.await;
    }
    tokio::time::timeout(timeout, follow).await.unwrap_or_else(|_| Err(CliError::local("timed out waiting for the condition")))
}

async fn follow(client: &mut Client, what: &What, name: &str, watch: bool) -> Result<u8, CliError> {
    let scope = ScopeArgs { namespace: what.namespace.clone(), all_namespaces: false, selector: String::new() };
    let what = Some(scope.request(Kind::DaemonSet, &[name.to_owned()]));
    let mut events = client.agent.watch(WatchRequest { what }).await?.into_inner();
    while let Some(event) = events.message().await? {
        let kind = event.r#type();
        let Some(item) = &event.item else { continue };
        if kind == Type::Deleted {
            return Err(CliError::local("object has been deleted"));
        }
        let object = object(item)?;
        let Some(ds) = object.as_daemon_set() else { continue };
        let (line, done) = progress(ds).map_err(CliError::Local)?;
        put(line)?;
        if done || !watch {
            return Ok(0);
        }
    }
    Err(CliError::local("the watch has ended: the agent went away"))
}

/// One line about a rollout, and whether it is done (DaemonSetStatusViewer).
fn progress(ds: &DaemonSet) -> Result<(String, bool), String> {
    let strategy = ds.spec.as_ref().and_then(|s| s.update_strategy.as_ref()?.type_.as_deref()).unwrap_or("RollingUpdate");
    if strategy != "RollingUpdate" {
        return Err("rollout status is only available for RollingUpdate strategy type".to_owned());
    }
    let status = ds.status.clone().unwrap_or_default();
    if ds.metadata.generation.unwrap_or(0) > status.observed_generation.unwrap_or(0) {
        return Ok(("Waiting for daemon set spec update to be observed...\n".to_owned(), false));
    }
    let name = ds.metadata.name.as_deref().unwrap_or_default();
    let wanted = status.desired_number_scheduled;
    let (updated, available) = (status.updated_number_scheduled.unwrap_or(0), status.number_available.unwrap_or(0));
    let waiting = |what: String| Ok((format!("Waiting for daemon set {name:?} rollout to finish: {what}...\n"), false));
    if updated < wanted {
        return waiting(format!("{updated} out of {wanted} new pods have been updated"));
    }
    if available < wanted {
        return waiting(format!("{available} of {wanted} updated pods are available"));
    }
    Ok((format!("daemon set {name:?} successfully rolled out\n"), true))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn ds(strategy: &str, observed: i64, counts: [i32; 3]) -> DaemonSet {
        let [wanted, updated, available] = counts;
        let value = json!({
            "metadata": {"name": "web", "generation": 2},
            "spec": {"selector": {}, "template": {}, "updateStrategy": {"type": strategy}},
            "status": {"observedGeneration": observed, "desiredNumberScheduled": wanted, "updatedNumberScheduled": updated,
                "numberAvailable": available, "currentNumberScheduled": 0, "numberMisscheduled": 0, "numberReady": 0},
        });
        serde_json::from_value(value).unwrap()
    }

    #[test]
    fn every_state_of_a_rollout() {
        let line = |ds: &DaemonSet| progress(ds).map(|(line, _)| line);
        assert_eq!(line(&ds("RollingUpdate", 1, [1, 1, 1])).unwrap(), "Waiting for daemon set spec update to be observed...\n");
        assert_eq!(
            line(&ds("RollingUpdate", 2, [1, 0, 1])).unwrap(),
            "Waiting for daemon set \"web\" rollout to finish: 0 out of 1 new pods have been updated...\n"
        );
        assert_eq!(
            line(&ds("RollingUpdate", 2, [1, 1, 0])).unwrap(),
            "Waiting for daemon set \"web\" rollout to finish: 0 of 1 updated pods are available...\n"
        );
        assert_eq!(
            progress(&ds("RollingUpdate", 2, [1, 1, 1])).unwrap(),
            ("daemon set \"web\" successfully rolled out\n".to_owned(), true)
        );
        assert_eq!(
            progress(&ds("OnDelete", 2, [1, 1, 1])).unwrap_err(),
            "rollout status is only available for RollingUpdate strategy type"
        );
    }

    #[test]
    fn timeouts() {
        assert_eq!(
            (seconds("0"), seconds("90s"), seconds("2m")),
            (Ok(Duration::ZERO), Ok(Duration::from_secs(90)), Ok(Duration::from_secs(120)))
        );
        for bad in ["", "s", "5", "-1s", "1.5h", "é"] {
            assert!(seconds(bad).is_err(), "{bad}");
        }
    }
}
