//! `minik8s plan FILE|DIR...`: will these workloads run on this node, and why not; against an agent also what would change.
//!
//! What would change is computed here, by `controllers::sync` on the agent's objects: nothing is sent to the agent but questions.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;

use jiff::tz::TimeZone;
use k8s_openapi::api::core::v1::Node;
use serde_json::{Value, json};

use super::client::{Client, ClientArgs};
use super::error::CliError;
use super::output::{complain, put};
use super::schedule::Json;
use super::simulate::{node, objects};
use super::tabwriter::{TABLE, align};
use crate::admission::Verdict;
use crate::api::names::Names;
use crate::api::{Key, Kind, Object};
use crate::clock::{Clock, SystemClock};
use crate::controllers::{Context, Plan, forecast, pods, sync};
use crate::grpc::pb::ListRequest;
use crate::simulation::scenario;

/// Show whether workloads will run on this node, and why not.
#[derive(Clone, Debug, clap::Args)]
pub struct PlanArgs {
    #[command(flatten)]
    client: ClientArgs,
    /// Manifests, or directories of them.
    #[arg(required = true, value_name = "FILE|DIR")]
    files: Vec<PathBuf>,
    /// The Node (as `get node -o yaml` prints it); no agent is asked.
    #[arg(long, value_name = "FILE")]
    node: Option<PathBuf>,
    /// Ask no agent; without --node, for a node without taints and with room for all.
    #[arg(long)]
    offline: bool,
    /// How to print it.
    #[arg(short, long, value_enum)]
    output: Option<Json>,
}

/// What the agent has.
struct Snapshot {
    node: Node,
    workloads: Vec<Arc<Object>>,
    pods: Vec<Object>,
}

/// One workload's row.
struct Row {
    key: Key,
    verdict: Verdict,
    /// `created`, `replaced`, `configured` or `unchanged`; `None` offline.
    change: Option<&'static str>,
    /// Pods that would be stopped.
    stopped: Vec<String>,
}

/// Runs the command. Returns the exit code.
pub async fn run(args: &PlanArgs) -> Result<u8, CliError> {
    let objects = objects(&args.files)?;
    let snapshot = match (&args.node, args.offline) {
        (None, false) => snapshot(&args.client).await?,
        _ => None,
    };
    let node = match (&snapshot, &args.node) {
        (Some(snapshot), _) => snapshot.node.clone(),
        (None, Some(path)) => node(path)?,
        (None, None) => scenario::defaults().node,
    };
    let rows: Vec<Row> = rows(&objects, &node, snapshot.as_ref());
    put(if args.output.is_some() { as_json(&rows) } else { table(&rows) })?;
    Ok(0)
}

/// The agent's objects; `None`, and a word on it, if no agent answers.
async fn snapshot(args: &ClientArgs) -> Result<Option<Snapshot>, CliError> {
    let mut client = match Client::connect(args).await {
        Ok(client) => client,
        Err(error) => {
            complain(&format!("{error}\nplanned offline, for a node without taints and with room for all (--node FILE for another)"));
            return Ok(None);
        }
    };
    let mut all = Vec::new();
    for kind in [Kind::Node, Kind::DaemonSet, Kind::Job, Kind::CronJob, Kind::StaticPod, Kind::Pod] {
        let request = ListRequest { kind: kind.as_str().to_owned(), all_namespaces: true, ..ListRequest::default() };
        all.extend(client.list(request).await?.objects);
    }
    let node = all.iter().find_map(|o| o.as_node().cloned()).ok_or(CliError::local("the agent has no Node yet; try again"))?;
    let (pods, rest): (Vec<Object>, Vec<Object>) = all.into_iter().partition(|o| o.kind() == Kind::Pod);
    Ok(Some(Snapshot { node, workloads: rest.into_iter().filter(|o| o.kind() != Kind::Node).map(Arc::new).collect(), pods }))
}

fn rows(objects: &[Object], node: &Node, snapshot: Option<&Snapshot>) -> Vec<Row> {
    let plan = snapshot.map(|snapshot| would_do(objects, snapshot));
    let row = |object: &Object| {
        let (key, verdict) = (object.key(), forecast::verdict(object, node)?);
        let change = plan.as_ref().map(|plan| change(plan, &key));
        let goes = change == Some("replaced") || !verdict.should_continue;
        let stopped = snapshot.filter(|_| goes).map_or_else(Vec::new, |snapshot| running(snapshot, &key));
        Some(Row { key, verdict, change, stopped })
    };
    objects.iter().filter_map(row).collect()
}

/// What the agent would do about these manifests; nothing else is touched, so nothing else is given.
fn would_do(objects: &[Object], snapshot: &Snapshot) -> Plan {
    let desired: Vec<&Object> = objects.iter().collect();
    let keys: BTreeSet<Key> = desired.iter().map(|o| o.key()).collect();
    let stored: Vec<Arc<Object>> = snapshot.workloads.iter().filter(|o| keys.contains(&o.key())).cloned().collect();
    let now = SystemClock.now();
    let mut cx = Context { node: &snapshot.node, now, names: Names::new(0, "plan", now), zone: TimeZone::system() };
    let mut plan = sync::reconcile(&desired, &stored, &BTreeSet::new(), &BTreeMap::new(), &mut cx);
    // Another file's name for the same manifest is no change.
    let hash = |o: &Object| pods::annotation(o.meta(), crate::api::well_known::MANIFEST_HASH).map(str::to_owned);
    plan.update.retain(|new| stored.iter().any(|old| old.key() == new.key() && hash(old) != hash(new)));
    plan
}

fn change(plan: &Plan, key: &Key) -> &'static str {
    match () {
        () if plan.create.iter().any(|o| o.key() == *key) => "created",
        () if plan.delete.iter().any(|d| d.key == *key) => "replaced",
        () if plan.update.iter().any(|o| o.key() == *key) => "configured",
        () => "unchanged",
    }
}

/// The pods of a workload, those of a CronJob's Jobs too, that have not ended.
fn running(snapshot: &Snapshot, key: &Key) -> Vec<String> {
    let mut owners: BTreeSet<&str> = snapshot.workloads.iter().filter(|o| o.key() == *key).map(|o| o.uid()).collect();
    let jobs = snapshot.workloads.iter().filter(|o| o.controller_uid().is_some_and(|uid| owners.contains(uid))).map(|o| o.uid());
    let jobs: Vec<&str> = jobs.collect();
    owners.extend(jobs);
    let own = snapshot.pods.iter().filter(|o| o.controller_uid().is_some_and(|uid| owners.contains(uid)));
    own.filter(|o| o.as_pod().is_some_and(|p| !pods::terminal(p))).filter_map(|o| o.meta().name.clone()).collect()
}

fn table(rows: &[Row]) -> String {
    let header = if rows.iter().any(|r| r.change.is_some()) { "\tCHANGE\tSTOPPED" } else { "" };
    let line = |row: &Row| {
        let reasons = if row.verdict.reasons.is_empty() { "<none>".to_owned() } else { row.verdict.reasons.join("; ") };
        let stopped = if row.stopped.is_empty() { "<none>".to_owned() } else { row.stopped.join(",") };
        let change = row.change.map(|change| format!("\t{change}\t{stopped}")).unwrap_or_default();
        let (key, verdict) = (&row.key, &row.verdict);
        let (kind, run, go_on) = (key.kind.shown(), verdict.should_run, verdict.should_continue);
        format!("{}\t{kind}\t{}\t{run}\t{go_on}{change}\t{reasons}\n", key.namespace, key.name)
    };
    let lines: String = rows.iter().map(line).collect();
    align(&format!("NAMESPACE\tKIND\tNAME\tSHOULD RUN\tSHOULD CONTINUE{header}\tREASONS\n{lines}"), TABLE)
}

fn as_json(rows: &[Row]) -> String {
    let row = |row: &Row| {
        let mut value = json!({"kind": row.key.kind.shown(), "namespace": row.key.namespace, "name": row.key.name,
            "shouldRun": row.verdict.should_run, "shouldContinueRunning": row.verdict.should_continue, "reasons": row.verdict.reasons});
        if let Some(change) = row.change {
            value["change"] = json!(change);
            value["stopped"] = json!(row.stopped);
        }
        value
    };
    let all: Vec<Value> = rows.iter().map(row).collect();
    format!("{}\n", serde_json::to_string_pretty(&all).unwrap_or_default())
}
