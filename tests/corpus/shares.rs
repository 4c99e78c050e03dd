//! Which fields of PodSpec and Container the real manifests set: what `src/api/support/shares.tsv` must say.
//!
//! A file counts once for a field, if at least one of its DaemonSets, Jobs, CronJobs or Pods sets it to something else than null.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::PathBuf;

use minik8s::api::support;
use minik8s::api::yaml::{self, Node, Place, Value};

/// The file's text for these manifests.
pub fn text(files: &BTreeMap<String, PathBuf>) -> String {
    let mut counts: BTreeMap<(&str, String), usize> = BTreeMap::new();
    for path in files.values() {
        let text = String::from_utf8_lossy(&std::fs::read(path).unwrap()).into_owned();
        let documents = yaml::parse(&text, Place { line: 1, column: 1, offset: 0 });
        let mut set = BTreeSet::new();
        for root in documents.iter().filter_map(|d| d.root.as_ref()) {
            pods(root, &mut set);
        }
        for field in set {
            *counts.entry(field).or_default() += 1;
        }
    }
    let mut out = "# Made by `make corpus SHARES=write`: struct, field, and how many files of the corpus set it.\n".to_owned();
    writeln!(out, "files\t{}", files.len()).unwrap();
    for ((owner, field), count) in counts {
        writeln!(out, "{owner}\t{field}\t{count}").unwrap();
    }
    out
}

fn pods(document: &Node, set: &mut BTreeSet<(&'static str, String)>) {
    let path: &[&str] = match document.get("kind").and_then(Node::as_str).unwrap_or_default() {
        "DaemonSet" | "Job" => &["spec", "template", "spec"],
        "CronJob" => &["spec", "jobTemplate", "spec", "template", "spec"],
        "Pod" => &["spec"],
        kind if kind.ends_with("List") => {
            return items(document.get("items")).for_each(|item| pods(item, set));
        }
        _ => return,
    };
    let Some(spec) = path.iter().try_fold(document, |node, key| node.get(key)) else { return };
    fields("PodSpec", spec, set);
    for list in ["containers", "initContainers", "ephemeralContainers"] {
        items(spec.get(list)).for_each(|container| fields("Container", container, set));
    }
}

fn fields(owner: &'static str, node: &Node, set: &mut BTreeSet<(&'static str, String)>) {
    set.extend(
        node.pairs()
            .iter()
            .filter(|pair| !pair.value.is_null() && support::row(owner, &pair.key).is_some())
            .map(|pair| (owner, pair.key.clone())),
    );
}

fn items(node: Option<&Node>) -> impl Iterator<Item = &Node> {
    let items = match node.map(|n| &n.value) {
        Some(Value::Sequence(items)) => items.as_slice(),
        _ => &[],
    };
    items.iter()
}
