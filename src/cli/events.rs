//! `minik8s events`: what happened, oldest first (kubectl's pkg/cmd/events).

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Event;

use super::client::{Client, ClientArgs, ScopeArgs, object};
use super::describe::interval;
use super::error::CliError;
use super::output::{complain, put};
use super::tabwriter::{self, TABLE};
use super::targets;
use crate::api::{Kind, Object};
use crate::clock::{Clock, SystemClock};
use crate::grpc::pb::{WatchRequest, watch_event::Type};

/// Show what happened, oldest first.
#[derive(Clone, Debug, clap::Args)]
pub struct EventsArgs {
    #[command(flatten)]
    client: ClientArgs,
    /// The namespace.
    #[arg(short, long, default_value = "default", value_name = "NAME")]
    namespace: String,
    /// All namespaces.
    #[arg(short = 'A', long)]
    all_namespaces: bool,
    /// Only what happened to this object.
    #[arg(long = "for", value_name = "TYPE/NAME")]
    about: Option<String>,
    /// Only events of these types.
    #[arg(long, value_delimiter = ',', value_name = "Normal,Warning")]
    types: Vec<String>,
    /// Print what happens from now on too.
    #[arg(short, long)]
    watch: bool,
    /// No line of headers.
    #[arg(long)]
    no_headers: bool,
}

/// Runs the command. Returns the exit code.
pub async fn run(args: &EventsArgs) -> Result<u8, CliError> {
    let about = args.about.as_deref().map(targets::one).transpose()?;
    if let Some(wrong) = args.types.iter().find(|t| !["normal", "warning"].contains(&t.to_lowercase().as_str())) {
        return Err(CliError::local(format!("valid --types are Normal or Warning, not {wrong:?}")));
    }
    let scope = ScopeArgs { namespace: args.namespace.clone(), all_namespaces: args.all_namespaces, selector: String::new() };
    let wanted = |object: &Object| object.as_event().filter(|event| means(args, about.as_ref(), event)).cloned();
    let mut client = Client::connect(&args.client).await?;
    if args.watch {
        return watch(&mut client, args, &scope, wanted).await;
    }
    let objects = client.list(scope.request(Kind::Event, &[])).await?.objects;
    let events: Vec<Event> = objects.iter().filter_map(wanted).collect();
    if events.is_empty() {
        complain(&if args.all_namespaces {
            "No events found.".to_owned()
        } else {
            format!("No events found in {} namespace.", args.namespace)
        });
        return Ok(0);
    }
    put(print(events, args.all_namespaces, args.no_headers, SystemClock.now()))?;
    Ok(0)
}

async fn watch(
    client: &mut Client,
    args: &EventsArgs,
    scope: &ScopeArgs,
    wanted: impl Fn(&Object) -> Option<Event>,
) -> Result<u8, CliError> {
    let what = Some(scope.request(Kind::Event, &[]));
    let mut changes = client.agent.watch(WatchRequest { what }).await?.into_inner();
    let (mut first, mut began) = (Vec::new(), false);
    while let Some(change) = changes.message().await? {
        match (&change.item, change.r#type()) {
            (None, _) => {
                began = true;
                put(print(std::mem::take(&mut first), args.all_namespaces, args.no_headers, SystemClock.now()))?;
            }
            (Some(item), Type::Added | Type::Modified) => {
                let Some(event) = wanted(&object(item)?) else { continue };
                if began {
                    put(print(vec![event], args.all_namespaces, true, SystemClock.now()))?;
                } else {
                    first.push(event);
                }
            }
            (Some(_), _) => {}
        }
    }
    Err(CliError::local("the watch has ended: the agent went away, or this terminal was too slow"))
}

fn means(args: &EventsArgs, about: Option<&(Kind, String)>, event: &Event) -> bool {
    let object = &event.involved_object;
    let is_it = |(kind, name): &(Kind, String)| object.kind.as_deref() == Some(kind.shown()) && object.name.as_ref() == Some(name);
    let kind = event.type_.as_deref().unwrap_or_default();
    about.is_none_or(is_it) && (args.types.is_empty() || args.types.iter().any(|t| t.eq_ignore_ascii_case(kind)))
}

/// The table, sorted by when each was last seen.
fn print(mut events: Vec<Event>, namespace: bool, headerless: bool, now: Timestamp) -> String {
    events.sort_by_key(|event| event.last_timestamp.as_ref().or(event.first_timestamp.as_ref()).map(|t| t.0));
    let mut text = String::new();
    if !headerless {
        text.push_str(if namespace { "NAMESPACE\t" } else { "" });
        text.push_str("LAST SEEN\tTYPE\tREASON\tOBJECT\tMESSAGE\n");
    }
    for event in &events {
        let field = |field: &Option<String>| field.clone().unwrap_or_default();
        if namespace {
            text.push_str(&format!("{}\t", field(&event.metadata.namespace)));
        }
        let object = format!("{}/{}", field(&event.involved_object.kind), field(&event.involved_object.name));
        let message = field(&event.message).trim().replace(['\t', '\n'], " ");
        text.push_str(&format!("{}\t{}\t{}\t{object}\t{message}\n", interval(event, now), field(&event.type_), field(&event.reason)));
    }
    tabwriter::align(&text, TABLE)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn events_are_printed_oldest_first() {
        let event = |name: &str, count: i32, last: &str| -> Event {
            serde_json::from_value(
                json!({"metadata": {"namespace": "default"}, "involvedObject": {"kind": "Pod", "name": name}, "type": "Warning",
                "reason": "BackOff", "message": "m\nn", "count": count, "firstTimestamp": "2026-01-01T11:00:00Z", "lastTimestamp": last}),
            )
            .unwrap()
        };
        let events = vec![event("b", 3, "2026-01-01T11:59:50Z"), event("a", 1, "2026-01-01T11:00:00Z")];
        let expected = "\
LAST SEEN           TYPE      REASON    OBJECT   MESSAGE
60m                 Warning   BackOff   Pod/a    m n
10s (x3 over 60m)   Warning   BackOff   Pod/b    m n
";
        let now = "2026-01-01T12:00:00Z".parse().unwrap();
        assert_eq!(print(events.clone(), false, false, now), expected);
        let all = print(events, true, true, now);
        assert!(all.starts_with("default   60m "), "{all}");
    }
}
