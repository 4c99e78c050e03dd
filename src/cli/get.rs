//! `minik8s get`: tables, YAML or JSON of what the agent has, once or as it changes.

use jiff::Timestamp;

use super::client::{Client, ClientArgs, ScopeArgs, object};
use super::error::CliError;
use super::field_selector::FieldSelector;
use super::output::{Format, complain, nothing_found, put, structured};
use super::tables::{self, View};
use super::targets::{self, Target};
use crate::api::Object;
use crate::clock::{Clock, SystemClock};
use crate::grpc::pb::watch_event::Type;
use crate::grpc::pb::{InfoResponse, WatchRequest};

/// Faults of manifests shown under a table.
const MAX_FAULTS: usize = 5;

/// Show objects: pods, jobs, cronjobs, daemonsets, nodes, events, configmaps, secrets, pvc, all.
#[derive(Clone, Debug, clap::Args)]
pub struct GetArgs {
    #[command(flatten)]
    client: ClientArgs,
    #[command(flatten)]
    scope: ScopeArgs,
    /// TYPE[,TYPE...] [NAME...], or TYPE/NAME...
    #[arg(value_name = "TYPE[/NAME]", required = true)]
    words: Vec<String>,
    /// How to print.
    #[arg(short, long, value_enum)]
    output: Option<Format>,
    /// Print a row for each change, until interrupted.
    #[arg(short, long)]
    watch: bool,
    /// No line of headers.
    #[arg(long)]
    no_headers: bool,
    /// The labels as the last column.
    #[arg(long)]
    show_labels: bool,
    /// Only objects with these fields: `status.phase=Running,metadata.name!=web`.
    #[arg(long, default_value = "", hide_default_value = true, value_name = "QUERY")]
    field_selector: String,
}

/// Runs the command. Returns the exit code.
pub async fn run(args: &GetArgs) -> Result<u8, CliError> {
    let targets = targets::parse(&args.words)?;
    let fields = FieldSelector::parse(&args.field_selector).map_err(CliError::Local)?;
    for target in &targets {
        fields.check(target.kind).map_err(CliError::Local)?;
    }
    let mut client = Client::connect(&args.client).await?;
    if args.watch {
        let [target] = targets.as_slice() else {
            return Err(CliError::local("you may only specify a single resource type with --watch"));
        };
        return watch(&mut client, args, target, &fields).await;
    }
    let mut all = Vec::new();
    let mut missing = Vec::new();
    for target in &targets {
        let found = client.list(args.scope.request(target.kind, &target.names)).await?;
        missing.extend(found.missing.into_iter().map(|name| (target.kind, name)));
        all.push((target.kind, found.objects.into_iter().filter(|object| fields.matches(object)).collect::<Vec<_>>()));
    }
    match args.output {
        None | Some(Format::Wide) => {
            put(print_tables(args, &all, SystemClock.now()))?;
            if all.iter().all(|(_, objects)| objects.is_empty()) && missing.is_empty() {
                let kinds: Vec<_> = targets.iter().map(|target| target.kind).collect();
                complain(&nothing_found(&kinds, &args.scope.namespace, args.scope.all_namespaces));
            }
            faults(&client.info().await?);
        }
        Some(format) => {
            let single = targets.len() == 1 && targets[0].names.len() == 1;
            let objects: Vec<Object> = all.into_iter().flat_map(|(_, objects)| objects).collect();
            if !(single && objects.is_empty()) {
                put(structured(format, &objects, single))?;
            }
        }
    }
    for (kind, name) in &missing {
        complain(&not_found(*kind, name));
    }
    Ok(u8::from(!missing.is_empty()))
}

/// As the agent words it for one object.
pub fn not_found(kind: crate::api::Kind, name: &str) -> String {
    let group = kind.api_version().split_once('/').map(|(group, _)| format!(".{group}")).unwrap_or_default();
    format!("Error from server (NotFound): {}{group} \"{name}\" not found", kind.plural())
}

fn view(args: &GetArgs, kind: crate::api::Kind, several: bool) -> View {
    View {
        wide: args.output == Some(Format::Wide),
        namespace: args.scope.all_namespaces && kind.namespaced(),
        kind: several,
        headerless: args.no_headers,
        labels: args.show_labels,
    }
}

/// The tables of all kinds that have objects, an empty line between them.
fn print_tables(args: &GetArgs, all: &[(crate::api::Kind, Vec<Object>)], now: Timestamp) -> String {
    let several = all.len() > 1;
    let shown = all.iter().filter(|(_, objects)| !objects.is_empty());
    let tables: Vec<String> = shown.map(|(kind, objects)| tables::print(*kind, objects, view(args, *kind, several), now)).collect();
    tables.join("\n")
}

/// Told on stderr, so that the table stays a table.
fn faults(info: &InfoResponse) {
    let errors: Vec<_> = info.faults.iter().filter(|fault| fault.severity == "error").collect();
    for fault in errors.iter().take(MAX_FAULTS) {
        complain(&format!("Warning: {}", fault_line(fault)));
    }
    if errors.len() > MAX_FAULTS {
        complain(&format!("Warning: {} more; minik8s validate {} shows all", errors.len() - MAX_FAULTS, info.manifests));
    }
}

/// `file:line:column: error: field: message`.
pub fn fault_line(fault: &crate::grpc::pb::ManifestFault) -> String {
    let field = if fault.field.is_empty() { String::new() } else { format!("{}: ", fault.field) };
    let place = if fault.line == 0 { fault.file.clone() } else { format!("{}:{}:{}", fault.file, fault.line, fault.column) };
    format!("{place}: {}: {field}{}", fault.severity, fault.message)
}

async fn watch(client: &mut Client, args: &GetArgs, target: &Target, fields: &FieldSelector) -> Result<u8, CliError> {
    let what = Some(args.scope.request(target.kind, &target.names));
    let mut events = client.agent.watch(WatchRequest { what }).await?.into_inner();
    let mut first = Vec::new();
    let mut began = false;
    let mut widths = Vec::new();
    while let Some(event) = events.message().await? {
        let kind = event.r#type();
        let Some(item) = &event.item else {
            began = kind == Type::Bookmark;
            put(print_changes(args, target, &std::mem::take(&mut first), args.no_headers, &mut widths))?;
            continue;
        };
        let object = object(item)?;
        if !fields.matches(&object) {
            continue;
        }
        if began {
            put(print_changes(args, target, std::slice::from_ref(&object), true, &mut widths))?;
        } else {
            first.push(object);
        }
    }
    Err(CliError::local("the watch has ended: the agent went away, or this terminal was too slow"))
}

fn print_changes(args: &GetArgs, target: &Target, objects: &[Object], headerless: bool, widths: &mut Vec<usize>) -> String {
    match args.output {
        None | Some(Format::Wide) => {
            let view = View { headerless, ..view(args, target.kind, false) };
            tables::print_after(target.kind, objects, view, SystemClock.now(), widths)
        }
        Some(Format::Yaml) => objects.iter().map(|o| format!("---\n{}", structured(Format::Yaml, std::slice::from_ref(o), true))).collect(),
        Some(format) => objects.iter().map(|o| structured(format, std::slice::from_ref(o), true)).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::grpc::pb::ManifestFault;

    #[test]
    fn what_is_about_a_whole_file_has_no_line() {
        let fault = |line| ManifestFault {
            file: "a.yaml".into(),
            line,
            column: 2,
            severity: "error".into(),
            message: "m".into(),
            ..Default::default()
        };
        assert_eq!(fault_line(&fault(0)), "a.yaml: error: m");
        assert_eq!(fault_line(&fault(7)), "a.yaml:7:2: error: m");
    }
}
