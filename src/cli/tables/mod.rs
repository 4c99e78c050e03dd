//! The tables of `get`: columns and cells of each kind as kube-apiserver makes them (`pkg/printers/internalversion/printers.go`) and
//! kubectl prints them (`cli-runtime/pkg/printers/tableprinter.go`). Pure: objects and the time in, text out.

use std::collections::BTreeMap;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Container;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;

use super::kinds;
use super::tabwriter::{self, TABLE};
use crate::api::{Kind, Object};

mod config;
mod event;
mod node;
mod pod;
mod workload;

pub(in crate::cli) use config::access_modes;
pub(in crate::cli) use event::first as first_seen;
pub(in crate::cli) use node::roles;

/// What of a table is shown.
#[derive(Clone, Copy, Debug, Default)]
pub struct View {
    /// The columns of `-o wide` too.
    pub wide: bool,
    /// A first column with the namespace (`-A`).
    pub namespace: bool,
    /// Names with their kind (`pod/web`), where several kinds are listed.
    pub kind: bool,
    /// No header (`--no-headers`, and all but the first table of a watch).
    pub headerless: bool,
    /// A last column with the labels (`--show-labels`).
    pub labels: bool,
}

/// A row: the cells of all columns, wide ones last.
type Row = Vec<String>;

/// The headers of a kind, and how many of them are shown without `-o wide`. The columns that are only wide come last, but for events.
fn columns(kind: Kind, wide: bool) -> &'static [&'static str] {
    match kind {
        Kind::Pod | Kind::StaticPod => pick(wide, 5, pod::COLUMNS),
        Kind::Job => pick(wide, 5, workload::JOB),
        Kind::CronJob => pick(wide, 7, workload::CRON_JOB),
        Kind::DaemonSet => pick(wide, 8, workload::DAEMON_SET),
        Kind::Node => pick(wide, 5, node::COLUMNS),
        Kind::Event if wide => event::WIDE,
        Kind::Event => event::COLUMNS,
        Kind::ConfigMap => config::CONFIG_MAP,
        Kind::Secret => config::SECRET,
        Kind::PersistentVolumeClaim => pick(wide, 8, config::CLAIM),
        Kind::ControllerRevision => workload::REVISION,
    }
}

fn pick(wide: bool, narrow: usize, columns: &'static [&'static str]) -> &'static [&'static str] {
    if wide { columns } else { &columns[..narrow] }
}

fn row(object: &Object, wide: bool, now: Timestamp) -> Row {
    let mut cells = match object {
        Object::Pod(pod) | Object::StaticPod(pod) => pod::row(pod, now),
        Object::Job(job) => workload::job(job, now),
        Object::CronJob(cron) => workload::cron_job(cron, now),
        Object::DaemonSet(set) => workload::daemon_set(set, now),
        Object::Node(node) => node::row(node, now),
        Object::Event(event) => event::row(event, wide, now),
        Object::ConfigMap(map) => config::config_map(map, now),
        Object::Secret(secret) => config::secret(secret, now),
        Object::PersistentVolumeClaim(claim) => config::claim(claim, now),
        Object::ControllerRevision(revision) => workload::revision(revision, now),
    };
    cells.truncate(columns(object.kind(), wide).len());
    cells
}

/// Prints objects of one kind as kubectl does, each line ended.
pub fn print<'o>(kind: Kind, objects: impl IntoIterator<Item = &'o Object>, view: View, now: Timestamp) -> String {
    tabwriter::align(&text(kind, objects, view, now), TABLE)
}

/// As [`print`], for rows that follow others: columns stay as wide as `widths` says, which is brought up to date.
pub fn print_after<'o>(
    kind: Kind,
    objects: impl IntoIterator<Item = &'o Object>,
    view: View,
    now: Timestamp,
    widths: &mut Vec<usize>,
) -> String {
    tabwriter::align_after(&text(kind, objects, view, now), TABLE, widths)
}

/// The table with tabs between its cells.
fn text<'o>(kind: Kind, objects: impl IntoIterator<Item = &'o Object>, view: View, now: Timestamp) -> String {
    let mut text = String::new();
    if !view.headerless {
        let namespace = if view.namespace { &["NAMESPACE"][..] } else { &[] };
        let labels = if view.labels { &["LABELS"][..] } else { &[] };
        push(&mut text, namespace.iter().chain(columns(kind, view.wide)).chain(labels).copied());
    }
    let name_at = columns(kind, view.wide).iter().position(|column| *column == "NAME");
    for object in objects {
        let mut cells = row(object, view.wide, now);
        if let Some(cell) = name_at.filter(|_| view.kind).and_then(|at| cells.get_mut(at)) {
            *cell = kinds::slashed(kind, cell);
        }
        let namespace = view.namespace.then(|| object.meta().namespace.clone().unwrap_or_default());
        let labels = view.labels.then(|| format_labels(object.meta().labels.as_ref()));
        push(&mut text, namespace.iter().chain(&cells).chain(&labels).map(String::as_str));
    }
    text
}

fn push<'c>(text: &mut String, cells: impl Iterator<Item = &'c str>) {
    for (index, cell) in cells.enumerate() {
        if index > 0 {
            text.push('\t');
        }
        // As kubectl: a cell ends where its first line ends.
        match cell.find(['\n', '\r', '\u{c}']) {
            Some(end) => text.extend([&cell[..end].replace('\t', " "), "..."]),
            None => text.push_str(&cell.replace('\t', " ")),
        }
    }
    text.push('\n');
}

/// `k=v,k2=v2`, `<none>` for no labels (apimachinery labels.FormatLabels).
pub fn format_labels(labels: Option<&BTreeMap<String, String>>) -> String {
    let pairs: Vec<String> = labels.into_iter().flatten().map(|(key, value)| format!("{key}={value}")).collect();
    or_none(pairs.join(","))
}

/// A selector as text, `<none>` for one that selects everything (metav1.FormatLabelSelector).
pub fn format_selector(selector: Option<&LabelSelector>) -> String {
    or_none(selector.map(selector_text).unwrap_or_default())
}

/// `a=b,c in (d,e),!f`: requirements by key, as apimachinery's labels.Selector prints itself.
pub fn selector_text(selector: &LabelSelector) -> String {
    let equal = selector.match_labels.iter().flatten().map(|(key, value)| (key.clone(), format!("{key}={value}")));
    let expressions = selector.match_expressions.iter().flatten().map(|requirement| {
        let key = &requirement.key;
        let mut values = requirement.values.clone().unwrap_or_default();
        values.sort();
        let text = match requirement.operator.as_str() {
            "In" => format!("{key} in ({})", values.join(",")),
            "NotIn" => format!("{key} notin ({})", values.join(",")),
            "DoesNotExist" => format!("!{key}"),
            _ => key.clone(),
        };
        (key.clone(), text)
    });
    let mut all: Vec<(String, String)> = equal.chain(expressions).collect();
    all.sort();
    all.into_iter().map(|(_, text)| text).collect::<Vec<_>>().join(",")
}

/// `<none>` for nothing.
pub fn or_none(text: String) -> String {
    if text.is_empty() { "<none>".to_owned() } else { text }
}

/// Names and images of containers, each in one cell.
fn containers(containers: &[Container]) -> [String; 2] {
    let join = |text: &dyn Fn(&Container) -> String| containers.iter().map(text).collect::<Vec<_>>().join(",");
    [join(&|c| c.name.clone()), join(&|c| c.image.clone().unwrap_or_default())]
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
