//! The events at the end of a description (DescribeEvents), and an event of its own.

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Event;

use super::doc::Doc;
use super::{About, head};
use crate::cli::duration::since;
use crate::cli::tables;

pub(super) fn section(doc: &mut Doc, events: &[Event], now: Timestamp) {
    if events.is_empty() {
        return doc.line(0, "Events:\t<none>");
    }
    doc.flush();
    let mut sorted: Vec<&Event> = events.iter().collect();
    sorted.sort_by_key(|event| event.last_timestamp.as_ref().map(|t| t.0));
    doc.line(0, "Events:");
    doc.line(1, "Type\tReason\tAge\tFrom\tMessage");
    doc.line(1, "----\t------\t----\t----\t-------");
    for event in sorted {
        let text = |text: &Option<String>| text.clone().unwrap_or_default();
        let from = event.source.as_ref().and_then(|s| s.component.clone()).filter(|c| !c.is_empty());
        let from = from.or_else(|| event.reporting_component.clone()).unwrap_or_default();
        let message = text(&event.message).trim().replace('\t', " ");
        doc.line(1, format!("{}\t{}\t{}\t{from}\t{message}", text(&event.type_), text(&event.reason), interval(event, now)));
    }
}

/// `5m`, or `10s (x3 over 5m)` for one that came again.
pub(in crate::cli) fn interval(event: &Event, now: Timestamp) -> String {
    let first = since(tables::first_seen(event).as_ref(), now);
    match event.count {
        Some(count) if count > 1 => format!("{} (x{count} over {first})", since(event.last_timestamp.as_ref(), now)),
        _ => first,
    }
}

pub(super) fn one(doc: &mut Doc, event: &Event, about: &About) {
    head(doc, &event.metadata);
    let about_object = &event.involved_object;
    let text = |text: &Option<String>| text.clone().unwrap_or_default();
    doc.line(0, format!("Type:\t{}", text(&event.type_)));
    doc.line(0, format!("Reason:\t{}", text(&event.reason)));
    doc.line(0, format!("Object:\t{}/{}", text(&about_object.kind), text(&about_object.name)));
    if let Some(part) = &about_object.field_path {
        doc.line(0, format!("Subobject:\t{part}"));
    }
    doc.line(0, format!("Age:\t{}", interval(event, about.now)));
    doc.line(0, format!("Message:\t{}", text(&event.message)));
}
