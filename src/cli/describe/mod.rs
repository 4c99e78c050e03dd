//! The texts of `describe`, section by section as kubectl's (`staging/src/k8s.io/kubectl/pkg/describe/describe.go`).
//!
//! Pure: an object, what belongs to it and the time in, text out. Ours beyond kubectl: why a workload is not admitted, and what is wrong in
//! the manifest an object came from.

use jiff::Timestamp;
use jiff::tz::TimeZone;
use k8s_openapi::api::core::v1::{Event, Pod};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};

use crate::api::Object;
use crate::api::well_known::{LAST_APPLIED, NOT_ADMITTED};

mod config;
mod container;
mod doc;
mod events;
mod node;
mod pod;
mod volume;
mod workload;

use doc::Doc;
pub(in crate::cli) use events::interval;

/// The longest value of an annotation shown on its key's line, and shown at all.
const MAX_ANNOTATION: usize = 140;

/// What a description needs beside the object.
pub struct About<'a> {
    /// The time.
    pub now: Timestamp,
    /// The zone times are shown in.
    pub zone: TimeZone,
    /// The events about the object; `None` leaves the section out.
    pub events: Option<&'a [Event]>,
    /// The pods its controller made (for a node: all that run there).
    pub pods: &'a [Pod],
    /// What is wrong in the manifest it came from, a line each.
    pub faults: &'a [String],
}

impl About<'_> {
    /// `Mon, 02 Jan 2006 15:04:05 -0700`.
    fn time(&self, time: &Time) -> String {
        time.0.to_zoned(self.zone.clone()).strftime("%a, %d %b %Y %H:%M:%S %z").to_string()
    }
}

/// Describes an object.
pub fn describe(object: &Object, about: &About) -> String {
    let mut doc = Doc::default();
    match object {
        Object::Pod(pod) | Object::StaticPod(pod) => pod::describe(&mut doc, pod, about),
        Object::Job(job) => workload::job(&mut doc, job, about),
        Object::CronJob(cron) => workload::cron_job(&mut doc, cron, about),
        Object::DaemonSet(set) => workload::daemon_set(&mut doc, set, about),
        Object::Node(node) => node::describe(&mut doc, node, about),
        Object::ConfigMap(map) => config::config_map(&mut doc, map),
        Object::Secret(secret) => config::secret(&mut doc, secret),
        Object::PersistentVolumeClaim(claim) => config::claim(&mut doc, claim, about),
        Object::Event(event) => events::one(&mut doc, event, about),
        Object::ControllerRevision(revision) => head(&mut doc, &revision.metadata),
    }
    if !about.faults.is_empty() {
        doc.line(0, "Manifest Faults:");
        about.faults.iter().for_each(|fault| doc.line(1, fault));
    }
    if let Some(events) = about.events.filter(|_| !matches!(object, Object::Event(_) | Object::Secret(_))) {
        events::section(&mut doc, events, about.now);
    }
    doc.finish()
}

/// A pod template alone, as `rollout history --revision` shows it.
pub(in crate::cli) fn template(template: &k8s_openapi::api::core::v1::PodTemplateSpec, about: &About) -> String {
    let mut doc = Doc::default();
    pod::template(&mut doc, template, about);
    doc.finish()
}

/// Name, namespace, labels and annotations.
fn head(doc: &mut Doc, meta: &ObjectMeta) {
    names(doc, meta);
    labels(doc, meta);
}

fn names(doc: &mut Doc, meta: &ObjectMeta) {
    doc.line(0, format!("Name:\t{}", meta.name.as_deref().unwrap_or_default()));
    if let Some(namespace) = &meta.namespace {
        doc.line(0, format!("Namespace:\t{namespace}"));
    }
}

fn labels(doc: &mut Doc, meta: &ObjectMeta) {
    pairs(doc, "Labels", meta.labels.as_ref());
    annotations(doc, meta);
}

/// Labels, node selectors and the like: one a line, the first beside the title.
fn pairs(doc: &mut Doc, title: &str, map: Option<&std::collections::BTreeMap<String, String>>) {
    let lines = map.into_iter().flatten().map(|(key, value)| format!("{key}={value}")).collect();
    column(doc, title, lines);
}

/// Lines under each other in the second column, `<none>` for none.
fn column(doc: &mut Doc, title: &str, lines: Vec<String>) {
    let indent = title.len() - title.trim_start().len();
    if lines.is_empty() {
        doc.line(0, format!("{title}:\t<none>"));
    }
    for (index, line) in lines.into_iter().enumerate() {
        let first = if index == 0 { format!("{title}:") } else { " ".repeat(indent) };
        doc.line(0, format!("{first}\t{line}"));
    }
}

fn annotations(doc: &mut Doc, meta: &ObjectMeta) {
    let mut lines = Vec::new();
    for (key, value) in meta.annotations.iter().flatten().filter(|(key, _)| ![NOT_ADMITTED, LAST_APPLIED].contains(&key.as_str())) {
        let value = value.trim_end_matches('\n');
        if value.contains('\n') || key.len() + value.len() + 2 > MAX_ANNOTATION {
            lines.push(format!("{key}:"));
            lines.extend(value.lines().map(|line| format!("  {}", shorten(line))));
        } else {
            lines.push(format!("{key}: {value}"));
        }
    }
    column(doc, "Annotations", lines);
    if let Some(reason) = meta.annotations.as_ref().and_then(|a| a.get(NOT_ADMITTED)) {
        doc.line(0, format!("Not Admitted:\t{reason}"));
    }
}

fn shorten(text: &str) -> String {
    match text.char_indices().nth(MAX_ANNOTATION - 2) {
        Some((end, _)) => format!("{}...", &text[..end]),
        None => text.to_owned(),
    }
}

/// `Kind/name` of the controller.
fn controlled_by(doc: &mut Doc, meta: &ObjectMeta) {
    if let Some(owner) = meta.owner_references.iter().flatten().find(|o| o.controller == Some(true)) {
        doc.line(0, format!("Controlled By:\t{}/{}", owner.kind, owner.name));
    }
}

/// `True`, `False`.
fn capital(value: bool) -> &'static str {
    if value { "True" } else { "False" }
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;

#[cfg(test)]
mod node_tests;
