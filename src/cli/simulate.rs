//! `minik8s simulate FILE`: what manifests will do, hour by hour, in a moment and without an agent.

use std::path::{Path, PathBuf};

use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::Node;
use serde_json::json;

use super::apply::read_all;
use super::error::CliError;
use super::output::{complain, put};
use super::schedule::{Json, rfc3339};
use super::tables;
use super::tabwriter::{TABLE, align};
use crate::api::fault::Severity;
use crate::api::{Kind, Object, manifest, schedule};
use crate::clock::{Clock, SystemClock};
use crate::controllers::sync::sourced;
use crate::simulation::{self, Change, Ending, Outcome, scenario};

/// Play manifests in virtual time and show the timeline, without an agent.
#[derive(Clone, Debug, clap::Args)]
pub struct SimulateArgs {
    /// A manifest, a directory of them, or - for stdin.
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// How the runs of a container end, in order, counted for each Job, DaemonSet or Pod; the last repeats. If not given: with 0, and what has
    /// restartPolicy Always runs for ever.
    #[arg(long, value_name = "CODE,...", value_parser = codes)]
    exit_codes: Option<Codes>,
    /// How long a container runs.
    #[arg(long, default_value = "30s", value_name = "DURATION", value_parser = positive)]
    run_time: SignedDuration,
    /// From a pod's creation to its container's start.
    #[arg(long, default_value = "1.5s", value_name = "DURATION", value_parser = positive)]
    start_time: SignedDuration,
    /// When it begins (RFC 3339); now if not given.
    #[arg(long, value_name = "RFC3339")]
    from: Option<Timestamp>,
    /// How long to go on at most.
    #[arg(long, default_value = "2h", value_name = "DURATION", value_parser = positive)]
    until: SignedDuration,
    /// The Node (as `get node -o yaml` prints it); one without taints and with room for all if not given.
    #[arg(long, value_name = "FILE")]
    node: Option<PathBuf>,
    /// How to print it.
    #[arg(short, long, value_enum)]
    output: Option<Json>,
}

#[derive(Clone, Debug)]
struct Codes(Vec<i32>);

fn codes(text: &str) -> Result<Codes, String> {
    scenario::exit_codes(text).map(Codes)
}

fn positive(text: &str) -> Result<SignedDuration, String> {
    let longest = SignedDuration::from_hours(10 * 366 * 24);
    let read = schedule::duration(text).ok().filter(|d| !d.is_negative() && *d <= longest);
    read.ok_or_else(|| "write a duration such as 90s, 1h30m or 48h, ten years at most".to_owned())
}

/// Runs the command. Returns the exit code.
pub fn run(args: &SimulateArgs) -> Result<u8, CliError> {
    let objects = objects(&args.files)?;
    let settings = simulation::Settings {
        node: match &args.node {
            Some(path) => node(path)?,
            None => scenario::defaults().node,
        },
        zone: TimeZone::system(),
        from: args.from.unwrap_or_else(|| SystemClock.now()),
        until: args.until,
        run_time: args.run_time,
        start_time: args.start_time,
        exit_codes: args.exit_codes.clone().map(|c| c.0).unwrap_or_default(),
        ..scenario::defaults()
    };
    let outcome = simulation::run(&settings, vec![(SignedDuration::ZERO, Change::Manifests(objects))]);
    put(if args.output.is_some() { as_json(&outcome) } else { shown(&outcome) })?;
    if outcome.ending == Ending::Restless {
        return Err(CliError::local("the controllers do not come to rest; this is a fault of minik8s: please report it with the manifest"));
    }
    Ok(0)
}

/// The objects of the files. Errors: something is refused, which is told.
pub(super) fn objects(paths: &[PathBuf]) -> Result<Vec<Object>, CliError> {
    let (mut objects, mut refused) = (Vec::new(), false);
    for file in read_all(paths)? {
        let decoded = manifest::decode(&file.name, &file.content);
        for fault in decoded.faults.iter().filter(|f| f.severity != Severity::Info) {
            refused |= fault.severity == Severity::Error;
            complain(&fault.to_string());
        }
        objects.extend(decoded.documents.into_iter().filter_map(|d| Some(sourced(d.object?, &file.name, d.index))));
    }
    match refused {
        true => Err(CliError::local("the manifests have errors")),
        false => Ok(objects),
    }
}

/// A Node as Kubernetes writes it, its status too.
pub(super) fn node(path: &Path) -> Result<Node, CliError> {
    let failed = |cause: String| CliError::local(format!("{} is no Node: {cause}", path.display()));
    let mut files = read_all(&[path.to_owned()])?;
    let text = String::from_utf8(files.remove(0).content).map_err(|e| failed(e.to_string()))?;
    let options = serde_saphyr::options! { strict_booleans: true, legacy_octal_numbers: true };
    let mut value: serde_json::Value = serde_saphyr::from_str_with_options(&text, options).map_err(|e| failed(e.to_string()))?;
    if value["kind"] != "Node" {
        return Err(failed("write one document of kind: Node".to_owned()));
    }
    // Quantities may be written as numbers.
    for amounts in ["/status/allocatable", "/status/capacity"] {
        let amounts = value.pointer_mut(amounts).and_then(|v| v.as_object_mut());
        let numbers = amounts.into_iter().flat_map(|map| map.iter_mut()).map(|(_, amount)| amount).filter(|amount| amount.is_number());
        numbers.for_each(|amount| *amount = json!(amount.to_string()));
    }
    let node: Node = serde_json::from_value(value).map_err(|e| failed(e.to_string()))?;
    match node.metadata.name.as_deref() {
        None | Some("") => Err(failed("metadata.name is missing".to_owned())),
        Some(_) => Ok(node),
    }
}

fn ending(outcome: &Outcome) -> String {
    let after = simulation::elapsed(outcome.elapsed);
    match outcome.ending {
        Ending::Quiet => format!("Nothing more happens after {after}."),
        Ending::Until => format!("Stopped after {after} (--until)."),
        Ending::TooLong => format!("Stopped after {after}: the timeline has {} rows.", simulation::MAX_ENTRIES),
        Ending::Restless => format!("Stopped after {after}: no rest."),
    }
}

/// The timeline and what is left, as `get` prints it.
pub fn shown(outcome: &Outcome) -> String {
    let rows: String = outcome.timeline.iter().map(|entry| format!("{entry}\n")).collect();
    let mut out = align(&format!("TIME\tTYPE\tREASON\tOBJECT\tMESSAGE\n{rows}"), TABLE);
    for kind in [Kind::DaemonSet, Kind::CronJob, Kind::Job, Kind::Pod] {
        let objects: Vec<&Object> = outcome.objects.iter().filter(|o| o.kind() == kind).collect();
        if !objects.is_empty() {
            let view = tables::View { kind: true, ..tables::View::default() };
            out = format!("{out}\n{}", tables::print(kind, objects, view, outcome.now));
        }
    }
    format!("{out}\n{}\n", ending(outcome))
}

fn as_json(outcome: &Outcome) -> String {
    let row = |e: &simulation::Entry| {
        json!({"time": rfc3339(e.time, &TimeZone::UTC), "elapsed": simulation::elapsed(e.elapsed), "type": e.kind, "reason": e.reason,
            "kind": e.about.kind.shown(), "namespace": e.about.namespace, "name": e.about.name, "message": e.message})
    };
    let timeline: Vec<_> = outcome.timeline.iter().map(row).collect();
    let objects: Vec<_> = outcome.objects.iter().map(Object::to_json).collect();
    let ending = match outcome.ending {
        Ending::Quiet => "Quiet",
        Ending::Until => "Until",
        Ending::TooLong => "TooLong",
        Ending::Restless => "Restless",
    };
    let all = json!({"timeline": timeline, "objects": objects, "ending": ending, "elapsed": simulation::elapsed(outcome.elapsed)});
    format!("{}\n", serde_json::to_string_pretty(&all).unwrap_or_default())
}
