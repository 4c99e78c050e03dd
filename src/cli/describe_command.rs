//! `minik8s describe`: one object, or several, in detail.

use jiff::tz::TimeZone;
use k8s_openapi::api::core::v1::{Event, Pod};

use super::client::{Client, ClientArgs, ScopeArgs};
use super::describe::{About, describe};
use super::error::CliError;
use super::get::fault_line;
use super::output::{complain, nothing_found, put};
use super::targets;
use crate::agent::manifest_edit::Place;
use crate::api::{Kind, Object};
use crate::clock::{Clock, SystemClock};
use crate::grpc::pb::InfoResponse;

/// Show objects in detail, with their events and what is wrong in their manifests.
#[derive(Clone, Debug, clap::Args)]
pub struct DescribeArgs {
    #[command(flatten)]
    client: ClientArgs,
    #[command(flatten)]
    scope: ScopeArgs,
    /// TYPE [NAME...], or TYPE/NAME...
    #[arg(value_name = "TYPE[/NAME]", required = true)]
    words: Vec<String>,
}

/// Runs the command. Returns the exit code.
pub async fn run(args: &DescribeArgs) -> Result<u8, CliError> {
    let targets = targets::parse(&args.words)?;
    let mut client = Client::connect(&args.client).await?;
    let info = client.info().await?;
    let mut missing = false;
    let mut texts = Vec::new();
    for target in &targets {
        let found = client.list(args.scope.request(target.kind, &target.names)).await?;
        for name in &found.missing {
            missing = true;
            complain(&super::get::not_found(target.kind, name));
        }
        for object in &found.objects {
            texts.push(one(&mut client, object, &info).await?);
        }
    }
    if texts.is_empty() && !missing {
        let kinds: Vec<_> = targets.iter().map(|target| target.kind).collect();
        complain(&nothing_found(&kinds, &args.scope.namespace, args.scope.all_namespaces));
    }
    put(texts.join("\n\n"))?;
    Ok(u8::from(missing))
}

async fn one(client: &mut Client, object: &Object, info: &InfoResponse) -> Result<String, CliError> {
    let everywhere = ScopeArgs { namespace: String::new(), all_namespaces: true, selector: String::new() };
    let events = client.list(everywhere.request(Kind::Event, &[])).await?.objects;
    let events: Vec<Event> = events.iter().filter_map(Object::as_event).filter(|event| is_about(event, object)).cloned().collect();
    let pods = client.list(everywhere.request(Kind::Pod, &[])).await?.objects;
    let pods: Vec<Pod> = pods.iter().filter(|pod| belongs(pod, object)).filter_map(Object::as_pod).cloned().collect();
    let source = Place::of(object).map(|place| place.file);
    let from_it = |file: &str| source.as_ref().is_some_and(|source| file == source || file.ends_with(&format!("/{source}")));
    let faults: Vec<String> = info.faults.iter().filter(|fault| from_it(&fault.file)).map(fault_line).collect();
    let about = About { now: SystemClock.now(), zone: TimeZone::system(), events: Some(&events), pods: &pods, faults: &faults };
    Ok(describe(object, &about))
}

fn is_about(event: &Event, object: &Object) -> bool {
    let about = &event.involved_object;
    match about.uid.as_deref() {
        Some(uid) if !uid.is_empty() => uid == object.uid(),
        _ => {
            about.kind.as_deref() == Some(object.kind().shown())
                && about.name == object.meta().name
                && about.namespace.as_deref().unwrap_or_default() == object.meta().namespace.as_deref().unwrap_or_default()
        }
    }
}

/// The pods a description counts or names. A node's are those that are bound to it, as kubectl's.
fn belongs(pod: &Object, object: &Object) -> bool {
    match object.kind() {
        Kind::Node => pod.as_pod().and_then(|pod| pod.spec.as_ref()?.node_name.as_ref()) == object.meta().name.as_ref(),
        Kind::PersistentVolumeClaim => pod.meta().namespace == object.meta().namespace,
        _ => pod.controller_uid().is_some_and(|uid| uid == object.uid()),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_node_s_pods_are_those_bound_to_it() {
        let object = |kind, value: serde_json::Value| Object::from_json(kind, value.to_string().as_bytes()).unwrap();
        let node = object(Kind::Node, json!({"metadata": {"name": "n1"}}));
        let pod = |spec| object(Kind::Pod, json!({"metadata": {"name": "p", "namespace": "ns"}, "spec": spec}));
        assert!(belongs(&pod(json!({"containers": [], "nodeName": "n1"})), &node));
        assert!(!belongs(&pod(json!({"containers": [], "nodeName": "n2"})), &node));
        assert!(!belongs(&pod(json!({"containers": []})), &node), "it waits: it takes nothing of the node yet");
    }
}
