//! The Store: the real planning of transactions over the real mirror, and a disk that is slow, full, or lies.

use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use minik8s::api::{Key, Kind, Object};
use minik8s::store::mirror::Batch;
use minik8s::store::{Change, Op, Store, StoreError};
use tokio::sync::{broadcast, mpsc, oneshot};

use crate::world::{State, World};

type Answer = Result<Vec<Arc<Object>>, StoreError>;
type Reply = oneshot::Sender<Answer>;
type Request = (Vec<Op>, Reply);

/// One agent's Store: what is in it outlives the agent, its writer and watchers do not.
pub struct Disk {
    world: Arc<World>,
    life: u64,
    requests: mpsc::UnboundedSender<Request>,
    waiting: Mutex<Option<mpsc::UnboundedReceiver<Request>>>,
    watchers: broadcast::Sender<Change>,
}

impl Disk {
    pub fn new(world: &Arc<World>) -> Arc<Disk> {
        let (requests, waiting) = mpsc::unbounded_channel();
        let mut state = world.state();
        let lag = state.dice.pick(&[256, 256, 256, 8]);
        let waiting = Mutex::new(Some(waiting));
        let disk = Disk { world: world.clone(), life: state.life, requests, waiting, watchers: broadcast::Sender::new(lag) };
        // The file is opened: what the agent before was told had failed is read with the rest.
        if let Some(late) = state.limbo.take() {
            disk.apply(&mut state, &late);
        }
        drop(state);
        Arc::new(disk)
    }

    /// The one writer: commits that arrive while it syncs are put together into the next.
    pub async fn write(self: Arc<Disk>) {
        let Some(mut requests) = self.waiting.lock().unwrap().take() else { return };
        while let Some(first) = requests.recv().await {
            let mut together = vec![first];
            while let Ok(next) = requests.try_recv() {
                together.push(next);
            }
            let takes = self.world.state().disk_takes;
            if !takes.is_zero() {
                tokio::time::sleep(takes).await;
            }
            if !self.world.lives(self.life) {
                return;
            }
            let dies = self.world.count();
            if dies == Some(false) {
                self.world.note(|| "dies before a sync".into());
                return self.world.die();
            }
            let answers = self.sync(together);
            self.world.report();
            if dies == Some(true) {
                self.world.note(|| "dies after a sync".into());
                return self.world.die();
            }
            for (reply, answer) in answers {
                let _ = reply.send(answer);
            }
        }
    }

    fn sync(&self, together: Vec<Request>) -> Vec<(Reply, Answer)> {
        let mut state = self.world.state();
        if state.disk_full {
            return together.into_iter().map(|(_, reply)| (reply, Err(StoreError::Full { path: "state".into() }))).collect();
        }
        if let Some(late) = state.limbo.take() {
            self.apply(&mut state, &late);
        }
        let mut batch = Batch::after(state.mirror.revision);
        let mut answers: Vec<_> = together.into_iter().map(|(ops, reply)| (reply, batch.add(&state.mirror, ops))).collect();
        let faults = state.faults;
        if !batch.is_empty() && state.dice.chance(faults) {
            let lies = state.dice.chance(500);
            for (_, answer) in answers.iter_mut().filter(|(_, a)| a.is_ok()) {
                *answer = Err(StoreError::Engine { path: "state".into(), action: "written", source: "simulated fault".into() });
            }
            // Found out only when the file is opened again: before this agent's next sync, or by the next agent.
            state.limbo = lies.then_some(batch);
            drop(state);
            self.world.note(|| format!("a sync fails{}", if lies { ", but it is on the disk" } else { "" }));
            return answers;
        }
        self.apply(&mut state, &batch);
        drop(state);
        if !batch.changes.is_empty() {
            let change = |c: &Change| format!("{:?} {}", c.kind, summary(&c.object));
            self.world.note(|| batch.changes.iter().map(change).collect::<Vec<_>>().join(", "));
        }
        answers
    }

    fn apply(&self, state: &mut State, batch: &Batch) {
        state.mirror.apply(batch);
        let State { referee, mirror, containers, .. } = state;
        referee.committed(&batch.changes, mirror, containers);
        for change in &batch.changes {
            let _ = self.watchers.send(change.clone());
        }
    }
}

/// What a change is about, for the trace.
fn summary(object: &Object) -> String {
    let deleting = if object.meta().deletion_timestamp.is_some() { " (deleting)" } else { "" };
    let detail = match object {
        Object::Pod(pod) => format!(" {}", minik8s::controllers::pods::phase(pod)),
        Object::Job(job) => {
            let status = job.status.clone().unwrap_or_default();
            let conditions: Vec<String> =
                status.conditions.iter().flatten().filter(|c| c.status == "True").map(|c| c.type_.clone()).collect();
            format!(" active {:?} succeeded {:?} failed {:?} {conditions:?}", status.active, status.succeeded, status.failed)
        }
        Object::Event(event) => format!(" {}", event.reason.as_deref().unwrap_or_default()),
        _ => String::new(),
    };
    format!("{} [{}]{detail}{deleting}", object.key(), crate::world::short(object.uid()))
}

#[async_trait]
impl Store for Disk {
    fn get(&self, key: &Key) -> Option<Arc<Object>> {
        self.world.state().mirror.get(key).cloned()
    }

    fn list(&self, kind: Kind) -> Vec<Arc<Object>> {
        self.world.state().mirror.list(kind)
    }

    fn owned(&self, controller_uid: &str) -> Vec<Arc<Object>> {
        self.world.state().mirror.owned(controller_uid)
    }

    fn record(&self, name: &str) -> Option<Vec<u8>> {
        self.world.state().mirror.record(name).map(|value| value.to_vec())
    }

    fn records(&self, prefix: &str) -> Vec<(String, Vec<u8>)> {
        self.world.state().mirror.records(prefix)
    }

    async fn commit(&self, ops: Vec<Op>) -> Result<Vec<Arc<Object>>, StoreError> {
        let (reply, answer) = oneshot::channel();
        let sent = self.requests.send((ops, reply));
        match (sent, answer.await) {
            (Ok(()), Ok(answer)) => answer,
            // The agent is dead.
            _ => std::future::pending().await,
        }
    }

    fn watch(&self) -> broadcast::Receiver<Change> {
        self.watchers.subscribe()
    }
}
