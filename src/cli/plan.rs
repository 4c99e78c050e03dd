//! `minik8s plan FILE|DIR...`: will these workloads run on this node, and why not; against an agent also what would change.
//!
//! Nothing is decided here: the agent, and without one this process, ask `controllers::forecast`.

use std::path::PathBuf;

use serde_json::{Value, json};

use super::apply::read_all;
use super::client::{Client, ClientArgs};
use super::error::CliError;
use super::get::fault_line;
use super::output::{complain, put};
use super::schedule::Json;
use super::simulate::{node, objects};
use super::tabwriter::{TABLE, align};
use crate::admission::Verdict;
use crate::api::{Key, Kind};
use crate::controllers::forecast::{self, Change, Row};
use crate::grpc::pb::{PlanRequest, PlannedWorkload};
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

/// Runs the command. Returns the exit code.
pub async fn run(args: &PlanArgs) -> Result<u8, CliError> {
    let asked = match (&args.node, args.offline) {
        (None, false) => from_agent(args).await?,
        _ => None,
    };
    let rows = match (asked, &args.node) {
        (Some(rows), _) => rows,
        (None, Some(path)) => forecast::offline(&objects(&args.files)?, &node(path)?),
        (None, None) => forecast::offline(&objects(&args.files)?, &scenario::defaults().node),
    };
    put(if args.output.is_some() { as_json(&rows) } else { table(&rows) })?;
    Ok(0)
}

/// The agent's answer; `None`, and a word on it, if no agent answers.
async fn from_agent(args: &PlanArgs) -> Result<Option<Vec<Row>>, CliError> {
    let files = read_all(&args.files)?;
    let mut client = match Client::connect(&args.client).await {
        Ok(client) => client,
        Err(error) => {
            complain(&format!("{error}\nplanned offline, for a node without taints and with room for all (--node FILE for another)"));
            return Ok(None);
        }
    };
    let answer = client.agent.plan(PlanRequest { files }).await?.into_inner();
    for fault in answer.faults.iter().filter(|fault| fault.severity != "info") {
        complain(&fault_line(fault));
    }
    if answer.faults.iter().any(|fault| fault.severity == "error") {
        return Err(CliError::local("the manifests have errors"));
    }
    answer.workloads.into_iter().map(row).collect::<Result<_, _>>().map(Some)
}

fn row(planned: PlannedWorkload) -> Result<Row, CliError> {
    let unknown = || CliError::local(format!("the agent is newer than this command: unknown kind {}", planned.kind));
    let kind = Kind::parse(&planned.kind).ok_or_else(unknown)?;
    let verdict = Verdict { should_run: planned.should_run, should_continue: planned.should_continue, reasons: planned.reasons };
    let change = Change { outcome: planned.change, why: planned.why, started: planned.started, stopped: planned.stopped };
    Ok(Row { key: Key::new(kind, planned.namespace, planned.name), verdict, change: Some(change) })
}

fn table(rows: &[Row]) -> String {
    let against_agent = rows.iter().any(|row| row.change.is_some());
    let header = if against_agent { "\tCHANGE\tSTARTED\tSTOPPED\tREASONS\tWHY" } else { "\tREASONS" };
    let list = |words: &[String], between: &str| if words.is_empty() { "<none>".to_owned() } else { words.join(between) };
    let line = |row: &Row| {
        let (key, verdict) = (&row.key, &row.verdict);
        let (kind, run, go_on) = (key.kind.shown(), verdict.should_run, verdict.should_continue);
        let (before, after) = row.change.as_ref().map_or_else(Default::default, |change| {
            let (started, stopped) = (list(&change.started, ","), list(&change.stopped, ","));
            (format!("\t{}\t{started}\t{stopped}", change.outcome), format!("\t{}", list(&change.why, "; ")))
        });
        format!("{}\t{kind}\t{}\t{run}\t{go_on}{before}\t{}{after}\n", key.namespace, key.name, list(&verdict.reasons, "; "))
    };
    let lines: String = rows.iter().map(line).collect();
    align(&format!("NAMESPACE\tKIND\tNAME\tSHOULD RUN\tSHOULD CONTINUE{header}\n{lines}"), TABLE)
}

fn as_json(rows: &[Row]) -> String {
    let row = |row: &Row| {
        let mut value = json!({"kind": row.key.kind.shown(), "namespace": row.key.namespace, "name": row.key.name,
            "shouldRun": row.verdict.should_run, "shouldContinueRunning": row.verdict.should_continue, "reasons": row.verdict.reasons});
        if let Some(change) = &row.change {
            value["change"] = json!(change.outcome);
            value["why"] = json!(change.why);
            value["started"] = json!(change.started);
            value["stopped"] = json!(change.stopped);
        }
        value
    };
    let all: Vec<Value> = rows.iter().map(row).collect();
    format!("{}\n", serde_json::to_string_pretty(&all).unwrap_or_default())
}
