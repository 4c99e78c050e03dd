//! What `cordon`, `uncordon`, `taint`, `label` and `annotate` have said about this node, and how that combines with what is declared. Pure.
//!
//! Declared is what flags and the `kind: Node` manifest say. An edit stands above it until what is declared about the same thing (this label, this
//! annotation, the taint of this key and effect, being schedulable) changes: the last who spoke wins, as with `kubectl apply`. A manifest
//! that cannot be read at the moment says what it said last. Kept in one record of the Store, which exists only while there are edits.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{Node, Taint};
use serde::{Deserialize, Serialize};

use crate::api::well_known::DEVICES;
use crate::controllers::pressure;

/// The record's name.
pub const RECORD: &str = "node-edits";
/// The taint of an unschedulable node (staging/src/k8s.io/api/core/v1/well_known_taints.go): follows from `unschedulable`, never edited itself.
pub const UNSCHEDULABLE: &str = "node.kubernetes.io/unschedulable";
/// Annotations that are the agent's own, but for [`DEVICES`].
const OWN: &str = "minik8s.io/";

/// All about a node that a user can say.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Declared {
    /// Labels.
    pub labels: BTreeMap<String, String>,
    /// Annotations.
    pub annotations: BTreeMap<String, String>,
    /// Taints, one for each key and effect, without timeAdded.
    pub taints: Vec<Taint>,
    /// Whether new pods stay away.
    pub unschedulable: bool,
}

impl Declared {
    /// What a stored Node says.
    fn of(node: &Node) -> Declared {
        let spec = node.spec.as_ref();
        let taints = spec.and_then(|s| s.taints.clone()).unwrap_or_default();
        let plain = |t: Taint| Taint { time_added: None, ..t };
        Declared {
            labels: node.metadata.labels.clone().unwrap_or_default(),
            annotations: node.metadata.annotations.clone().unwrap_or_default(),
            taints: taints.into_iter().filter(|t| t.key != UNSCHEDULABLE && !pressure::is_taint(&t.key)).map(plain).collect(),
            unschedulable: spec.and_then(|s| s.unschedulable) == Some(true),
        }
    }

    fn taint(&self, key_effect: &str) -> Option<&Taint> {
        self.taints.iter().find(|t| key_effect == name(t))
    }
}

/// `key:Effect`, which names a taint.
fn name(taint: &Taint) -> String {
    format!("{}:{}", taint.key, taint.effect)
}

/// Edits by what they are about; `None` takes away.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Edits {
    labels: BTreeMap<String, Option<String>>,
    annotations: BTreeMap<String, Option<String>>,
    /// By `key:Effect`.
    taints: BTreeMap<String, Option<Taint>>,
    unschedulable: Option<bool>,
}

/// The edits, and what was declared when they were last looked at.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Memory {
    declared: Declared,
    edits: Edits,
}

/// What a command asks for; `None` takes away.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Wish {
    /// Cordon or uncordon.
    pub unschedulable: Option<bool>,
    /// Labels.
    pub labels: BTreeMap<String, Option<String>>,
    /// Annotations.
    pub annotations: BTreeMap<String, Option<String>>,
    /// Taints to set.
    pub taint: Vec<Taint>,
    /// Taints to take away, by key and effect ("" = any).
    pub untaint: Vec<(String, String)>,
    /// Whether what has another value already may be changed.
    pub overwrite: bool,
}

impl Memory {
    /// What is remembered: `record` as stored; without one, there are no edits and the stored Node says what is declared. Errors: the record cannot
    /// be read, with what to do.
    pub fn of(record: Option<&[u8]>, stored: Option<&Node>) -> Result<Memory, String> {
        match record {
            Some(bytes) => serde_json::from_slice(bytes).map_err(|cause| {
                format!(
                    "what cordon, taint and label have said about this node cannot be read ({cause}); say it again, what is declared holds"
                )
            }),
            None => Ok(Memory { declared: stored.map(Declared::of).unwrap_or_default(), edits: Edits::default() }),
        }
    }

    /// The record; `None` where there is nothing to remember.
    pub fn record(&self) -> Option<Vec<u8>> {
        // Into memory, string keys only: it cannot fail.
        (self.edits != Edits::default()).then(|| serde_json::to_vec(self).unwrap_or_default())
    }

    /// Takes what is declared now; `None`: it cannot be read at the moment. Edits of what is declared otherwise than before are over.
    pub fn follow(mut self, declared: Option<Declared>) -> Memory {
        let Some(now) = declared else { return self };
        let (before, edits) = (&self.declared, &mut self.edits);
        edits.labels.retain(|key, _| before.labels.get(key) == now.labels.get(key));
        edits.annotations.retain(|key, _| before.annotations.get(key) == now.annotations.get(key));
        edits.taints.retain(|name, _| before.taint(name) == now.taint(name));
        if before.unschedulable != now.unschedulable {
            edits.unschedulable = None;
        }
        self.declared = now;
        self
    }

    /// What holds: the edits above what is declared.
    pub fn effective(&self) -> Declared {
        let (declared, edits) = (&self.declared, &self.edits);
        let mut taints: Vec<Taint> = Vec::new();
        for taint in &declared.taints {
            taints.extend(edits.taints.get(&name(taint)).map_or(Some(taint.clone()), Clone::clone));
        }
        let added = edits.taints.iter().filter(|(name, _)| declared.taint(name).is_none());
        taints.extend(added.filter_map(|(_, taint)| taint.clone()));
        Declared {
            labels: above(&declared.labels, &edits.labels),
            annotations: above(&declared.annotations, &edits.annotations),
            taints,
            unschedulable: edits.unschedulable.unwrap_or(declared.unschedulable),
        }
    }

    /// With `wish` done to the node called `node`. Errors: kubectl's words for a wish that cannot be had (pkg/cmd/label, annotate, taint).
    pub fn with(&self, wish: &Wish, node: &str) -> Result<Memory, String> {
        let holds = self.effective();
        permitted(wish, &holds, node)?;
        let mut next = self.clone();
        let edits = &mut next.edits;
        edits.unschedulable = wish.unschedulable.or(edits.unschedulable);
        edits.labels.extend(wish.labels.clone());
        edits.annotations.extend(wish.annotations.clone());
        for (key, effect) in &wish.untaint {
            let meant = holds.taints.iter().filter(|t| t.key == *key && (effect.is_empty() || t.effect == *effect));
            edits.taints.extend(meant.map(|t| (name(t), None)));
        }
        edits.taints.extend(wish.taint.iter().map(|t| (name(t), Some(t.clone()))));
        next.forget_what_is_declared();
        Ok(next)
    }

    /// An edit that says what is declared anyway is none.
    fn forget_what_is_declared(&mut self) {
        let (declared, edits) = (&self.declared, &mut self.edits);
        edits.labels.retain(|key, value| declared.labels.get(key) != value.as_ref());
        edits.annotations.retain(|key, value| declared.annotations.get(key) != value.as_ref());
        edits.taints.retain(|name, taint| declared.taint(name) != taint.as_ref());
        edits.unschedulable = edits.unschedulable.filter(|wanted| *wanted != declared.unschedulable);
    }
}

fn above(declared: &BTreeMap<String, String>, edits: &BTreeMap<String, Option<String>>) -> BTreeMap<String, String> {
    let mut all = declared.clone();
    for (key, value) in edits {
        match value {
            Some(value) => all.insert(key.clone(), value.clone()),
            None => all.remove(key),
        };
    }
    all
}

/// Errors: what `wish` may not do to a node of which this `holds`.
fn permitted(wish: &Wish, holds: &Declared, node: &str) -> Result<(), String> {
    let is_own = |key: &&String| key.starts_with(OWN) && key.as_str() != DEVICES;
    if let Some(own) = wish.labels.keys().chain(wish.annotations.keys()).find(is_own) {
        return Err(format!("{own} is the agent's own; leave it to it"));
    }
    let tainted = |key: &str| key == UNSCHEDULABLE;
    if wish.taint.iter().any(|t| tainted(&t.key)) || wish.untaint.iter().any(|(key, _)| tainted(key)) {
        return Err(format!("the taint {UNSCHEDULABLE} follows from cordon and uncordon; use those"));
    }
    let followed = wish.taint.iter().map(|t| &t.key).chain(wish.untaint.iter().map(|(key, _)| key)).find(|key| pressure::is_taint(key));
    if let Some(key) = followed {
        return Err(format!("the taint {key} follows from the node's conditions; it goes when the pressure does"));
    }
    let there =
        |(key, effect): &&(String, String)| holds.taints.iter().any(|t| t.key == *key && (effect.is_empty() || t.effect == *effect));
    if let Some((key, effect)) = wish.untaint.iter().find(|pair| !there(pair)) {
        return Err(format!("taint \"{key}{}{effect}\" not found", if effect.is_empty() { "" } else { ":" }));
    }
    if wish.overwrite {
        return Ok(());
    }
    let other = |has: &BTreeMap<String, String>, wanted: &BTreeMap<String, Option<String>>| {
        let differs = |(key, value): (&String, &Option<String>)| {
            let (value, has) = (value.as_ref()?, has.get(key)?);
            (value != has).then(|| format!("'{key}' already has a value ({has})"))
        };
        wanted.iter().filter_map(differs).collect::<Vec<_>>()
    };
    if let Some(first) = other(&holds.labels, &wish.labels).first() {
        return Err(format!("{first}, and --overwrite is false"));
    }
    let annotations = other(&holds.annotations, &wish.annotations);
    if !annotations.is_empty() {
        return Err(format!("--overwrite is false but found the following declared annotation(s): {}", annotations.join("; ")));
    }
    let taken: Vec<&str> = wish.taint.iter().filter(|t| holds.taint(&name(t)).is_some()).map(|t| t.key.as_str()).collect();
    if !taken.is_empty() {
        return Err(format!("node {node} already has {} taint(s) with same effect(s) and --overwrite is false", taken.join(",")));
    }
    Ok(())
}

#[cfg(test)]
#[path = "node_edits_tests.rs"]
mod tests;
