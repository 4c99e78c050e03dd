//! The one event stream: `Connected` when it is surely heard, then hints, `Disconnected` when it breaks, and again, for ever.
//!
//! ```text
//!           ┌── back-off ──┐
//!           ▼              │
//!   Subscribe + probe ──▶ fails ──▶ Disconnected (once)
//!           │ first event (our own probe, at the latest)
//!           ▼
//!       Connected ──▶ Oom, Changed … ──▶ the stream ends ──▶ Disconnected
//! ```
//!
//! `Subscribe` answers with the first event only (pitfall 2), so one is published: when it comes back the subscription stands, and a
//! list made after `Connected` together with the events after it misses nothing.

use std::sync::Arc;
use std::time::Duration;

use containerd_client::events::{ContainerDelete, NamespaceUpdate, TaskDelete, TaskExit, TaskOom, TaskPaused, TaskResumed};
use containerd_client::services::v1::{PublishRequest, SubscribeRequest};
use containerd_client::types::Envelope;
use prost::Message;
use tokio::sync::broadcast;
use tokio::time::MissedTickBehavior;
use tonic::{Status, Streaming};

use super::connection::{Connection, QUICK, answer};
use super::errors::words;
use crate::runtime::RuntimeEvent;

/// The topic of our own event; its payload is one that `ctr events` can print.
const PROBE_TOPIC: &str = "/minik8s/subscribed";
const TOPICS: [&str; 7] =
    ["/tasks/oom", "/tasks/exit", "/tasks/delete", "/tasks/paused", "/tasks/resumed", "/containers/delete", PROBE_TOPIC];

const PROBE_AGAIN: Duration = Duration::from_millis(50);
const BACKOFF_FIRST: Duration = Duration::from_millis(50);
const BACKOFF_CAP: Duration = Duration::from_secs(1);

/// Never returns. That a `send` fails because nobody listens is fine.
pub(super) async fn listen_for_ever(connection: Arc<Connection>, events: broadcast::Sender<RuntimeEvent>) {
    let mut backoff = BACKOFF_FIRST;
    let mut told = false;
    loop {
        let status = match subscribe(&connection).await {
            Ok(stream) => {
                tracing::info!(socket = %connection.socket(), namespace = connection.namespace(), "connected to containerd");
                backoff = BACKOFF_FIRST;
                told = false;
                let _ = events.send(RuntimeEvent::Connected);
                forward(stream, &events).await
            }
            Err(status) => status,
        };
        if !told {
            told = true;
            tracing::warn!(socket = %connection.socket(), cause = %words(&status), "containerd does not answer; trying on");
            let _ = events.send(RuntimeEvent::Disconnected);
        }
        tokio::time::sleep(backoff).await;
        backoff = (backoff * 2).min(BACKOFF_CAP);
    }
}

/// A stream that is surely subscribed.
async fn subscribe(connection: &Connection) -> Result<Streaming<Envelope>, Status> {
    connection.ensure_namespace().await?;
    let namespace = connection.namespace();
    let filters = TOPICS.iter().map(|topic| format!("namespace==\"{namespace}\",topic==\"{topic}\"")).collect();
    let mut client = connection.events();
    let subscribed = client.subscribe(connection.request(SubscribeRequest { filters }));
    tokio::pin!(subscribed);
    let mut again = tokio::time::interval(PROBE_AGAIN);
    again.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let deadline = tokio::time::sleep(QUICK);
    tokio::pin!(deadline);
    loop {
        // `subscribed` is polled by reference and lives on; a publish given up half-way is one probe less.
        tokio::select! {
            biased;
            reply = &mut subscribed => return reply.map(tonic::Response::into_inner),
            () = &mut deadline => return Err(Status::deadline_exceeded("the event stream did not open")),
            result = async { again.tick().await; publish_probe(connection).await } => result?,
        }
    }
}

async fn publish_probe(connection: &Connection) -> Result<(), Status> {
    let payload = NamespaceUpdate { name: connection.namespace().to_owned(), labels: Default::default() };
    let event = prost_types::Any { type_url: "containerd.events.NamespaceUpdate".to_owned(), value: payload.encode_to_vec() };
    let request = connection.request(PublishRequest { topic: PROBE_TOPIC.to_owned(), event: Some(event) });
    answer(QUICK, connection.events().publish(request)).await.map(drop)
}

/// Passes events on until the stream breaks.
async fn forward(mut stream: Streaming<Envelope>, events: &broadcast::Sender<RuntimeEvent>) -> Status {
    loop {
        match stream.message().await {
            Ok(Some(envelope)) => {
                if let Some(event) = translate(&envelope) {
                    let _ = events.send(event);
                }
            }
            Ok(None) => return Status::unavailable("the event stream ended"),
            Err(status) => return status,
        }
    }
}

/// The hint in an envelope, if it is about a container (and not a process executed in one).
fn translate(envelope: &Envelope) -> Option<RuntimeEvent> {
    let bytes = envelope.event.as_ref()?.value.as_slice();
    let changed = |id: String| Some(RuntimeEvent::Changed { id });
    match envelope.topic.as_str() {
        "/tasks/oom" => Some(RuntimeEvent::Oom { id: TaskOom::decode(bytes).ok()?.container_id }),
        "/tasks/exit" => TaskExit::decode(bytes).ok().filter(|e| e.id == e.container_id).and_then(|e| changed(e.container_id)),
        "/tasks/delete" => {
            TaskDelete::decode(bytes).ok().filter(|e| e.id.is_empty() || e.id == e.container_id).and_then(|e| changed(e.container_id))
        }
        "/tasks/paused" => changed(TaskPaused::decode(bytes).ok()?.container_id),
        "/tasks/resumed" => changed(TaskResumed::decode(bytes).ok()?.container_id),
        "/containers/delete" => changed(ContainerDelete::decode(bytes).ok()?.id),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn envelope(topic: &str, event: &impl Message) -> Envelope {
        let event = prost_types::Any { type_url: String::new(), value: event.encode_to_vec() };
        Envelope { topic: topic.into(), event: Some(event), ..Default::default() }
    }

    #[test]
    fn exits_of_executed_processes_are_not_the_containers() {
        let exit = |id: &str| TaskExit { container_id: "a".into(), id: id.into(), ..Default::default() };
        assert_eq!(translate(&envelope("/tasks/exit", &exit("a"))), Some(RuntimeEvent::Changed { id: "a".into() }));
        assert_eq!(translate(&envelope("/tasks/exit", &exit("exec-1"))), None);
        assert_eq!(translate(&envelope("/tasks/oom", &TaskOom { container_id: "a".into() })), Some(RuntimeEvent::Oom { id: "a".into() }));
        assert_eq!(translate(&envelope(PROBE_TOPIC, &NamespaceUpdate::default())), None);
    }
}
