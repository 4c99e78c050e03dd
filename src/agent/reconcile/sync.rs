//! Node and workloads brought in line with the manifests: gathers what `agent::node` and `agent::wishes` decide from, and commits what they say.

use super::writing::Writing;
use super::{Reconciler, commit, node_key};
use crate::agent::manifests::ManifestSet;
use crate::agent::node_edits::{self, Memory};
use crate::agent::wishes::{self, Due, Wanted};
use crate::agent::{events, node};
use crate::api::{Kind, Object, well_known};
use crate::controllers::pressure;
use crate::cores::on_all_cores;
use crate::store::{Op, Store};

/// Of so many objects' manifests one transaction is made at most.
const PART: usize = 250;
/// So many parts are planned before they are committed, and written in one sync.
const PARTS_AT_ONCE: usize = 4;

impl Reconciler {
    /// Brings Node and workloads in line with the manifests. Whether all of it is committed.
    pub(super) async fn sync(&mut self) -> bool {
        let Some(set) = self.inputs.sets.borrow_and_update().clone() else { return true };
        if !self.sync_node(&set).await {
            return false;
        }
        let due = self.wishes.take(&set);
        let done = self.sync_due(&due, &set).await;
        if done {
            self.wishes.done(set)
        } else {
            self.wishes.failed(due)
        }
        done
    }

    /// Some parts at once, one a core: while they are written, the next are planned. Each key's plan rests on nothing but what is stored of that
    /// key. Ends at the first that cannot be committed.
    async fn sync_due(&mut self, due: &Due, set: &ManifestSet) -> bool {
        let (node, wanted) = (self.node(), Wanted::of(due, set));
        let (mut writing, mut done): (Option<Writing>, bool) = (None, true);
        for parts in due.parts(PART, set, &*self.drivers.store).chunks(PARTS_AT_ONCE) {
            let (planner, first) = (self.planner(&node), self.ordinals(parts.len()));
            let transactions = on_all_cores(parts, 1, |n, part| {
                let mut cx = planner.context("manifests", first.wrapping_add(n as u64));
                let plan = wishes::plan(part, &wanted, planner.store, &mut cx);
                (node_key(&self.drivers), commit::operations(planner.store, plan, planner.now))
            });
            let next = Writing::begin(&self.drivers.store, transactions).await;
            if let Some(before) = writing.replace(next) {
                done &= self.written(before).await;
            }
            if !done {
                break;
            }
        }
        if let Some(last) = writing {
            done &= self.written(last).await;
        }
        done
    }

    async fn sync_node(&mut self, set: &ManifestSet) -> bool {
        let key = node_key(&self.drivers);
        let manifest = set.objects.iter().filter_map(|o| o.as_node()).find(|n| n.metadata.name.as_deref() == Some(key.name.as_str()));
        let previous = self.drivers.store.get(&key);
        let previous = previous.as_deref().and_then(Object::as_node);
        let runtime = self.inputs.runtime.borrow_and_update().clone();
        let pressure = self.inputs.pressure.borrow_and_update().clone();
        let inputs = node::Inputs {
            settings: &self.drivers.settings,
            host: &self.drivers.host,
            manifest,
            previous,
            addresses: &self.drivers.network.host_ips(),
            runtime: &runtime,
            pressure: pressure.as_ref(),
            now: self.drivers.clock.now(),
        };
        let source = previous.and_then(|n| n.metadata.annotations.as_ref()?.get(well_known::SOURCE));
        let unread = manifest.is_none() && source.is_some_and(|source| set.keeps(source));
        let others = self.drivers.store.list(Kind::Node).into_iter().map(|o| o.key()).filter(|k| *k != key);
        let mut ops: Vec<Op> = others.map(|key| Op::Delete { key, uid: None }).collect();
        ops.extend(node_operations(&*self.drivers.store, &inputs, unread));
        self.commit_all(vec![(key, ops)]).await
    }
}

/// What brings the Node in line with flags, manifest and edits. By compare-and-swap: an edit may come at any time.
fn node_operations(store: &dyn Store, inputs: &node::Inputs, unread: bool) -> Vec<Op> {
    let record = store.record(node_edits::RECORD);
    let memory = Memory::of(record.as_deref(), inputs.previous).unwrap_or_else(|why| {
        tracing::error!("{why}");
        Memory::default()
    });
    let memory = node::follow(memory, inputs, unread);
    let built = node::build(inputs, &memory.effective());
    if inputs.previous == Some(&built) && memory.record() == record {
        return Vec::new();
    }
    let drafts: Vec<_> = node::event(inputs.previous, &built).into_iter().chain(pressure::events(inputs.previous, &built)).collect();
    let told = events::record(store, &drafts, inputs.now);
    let put = if inputs.previous.is_some() { Op::Update(built.into()) } else { Op::Create(built.into()) };
    let value = memory.record();
    let kept = (value != record).then(|| Op::Record { name: node_edits::RECORD.to_owned(), value });
    [put].into_iter().chain(kept).chain(told).collect()
}
