//! Events' rows, for `get events`.

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Event;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::Row;
use crate::cli::duration::since;

pub(super) const COLUMNS: &[&str] = &["LAST SEEN", "TYPE", "REASON", "OBJECT", "MESSAGE"];
pub(super) const WIDE: &[&str] =
    &["LAST SEEN", "TYPE", "REASON", "OBJECT", "SUBOBJECT", "SOURCE", "MESSAGE", "FIRST SEEN", "COUNT", "NAME"];

pub(super) fn row(event: &Event, wide: bool, now: Timestamp) -> Row {
    let about = &event.involved_object;
    let kind = about.kind.clone().unwrap_or_default().to_lowercase();
    let object = match about.name.as_deref() {
        Some(name) if !name.is_empty() => format!("{kind}/{name}"),
        _ => kind,
    };
    let first = first(event);
    let last = event.last_timestamp.clone().or_else(|| first.clone());
    let text = |text: &Option<String>| text.clone().unwrap_or_default();
    let message = text(&event.message).trim().to_owned();
    let mut row = vec![since(last.as_ref(), now), text(&event.type_), text(&event.reason), object];
    if !wide {
        row.push(message);
        return row;
    }
    row.extend([
        text(&about.field_path),
        source(event),
        message,
        since(first.as_ref(), now),
        event.count.filter(|c| *c != 0).unwrap_or(1).to_string(),
        text(&event.metadata.name),
    ]);
    row
}

/// When it was first seen.
pub(in crate::cli) fn first(event: &Event) -> Option<Time> {
    event.first_timestamp.clone().or_else(|| event.event_time.as_ref().map(|t| Time(t.0)))
}

/// `component, host`.
fn source(event: &Event) -> String {
    let source = event.source.clone().unwrap_or_default();
    let component = source.component.filter(|c| !c.is_empty()).or_else(|| event.reporting_component.clone());
    let host = source.host.filter(|h| !h.is_empty()).or_else(|| event.reporting_instance.clone());
    [component, host].into_iter().flatten().filter(|part| !part.is_empty()).collect::<Vec<_>>().join(", ")
}
