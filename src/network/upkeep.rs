//! What is asked of a network beside ADD and DEL: CHECK of what runs, GC of what was forgotten, STATUS before the next ADD.
//!
//! None of them changes what runs. CHECK is asked of the configuration that ADD was made with, GC and STATUS of today's.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::conflist::{self, ConfList};
use super::driver::CniNetwork;
use super::namespaces::{Kind, check_uid, failed};
use super::{NetworkError, cni};

/// How long plugins that said that they are ready, or not, are believed (the kubelet asks its runtime every 5 s: pkg/kubelet/kubelet.go updateRuntimeUp).
const READY_FOR: Duration = Duration::from_secs(5);
/// A plugin that does not answer a question is not waited for as long as an ADD: nothing depends on a CHECK, and all pods wait for GC and STATUS.
const LONGEST_CHECK: Duration = Duration::from_secs(10);

/// What plugins said when they were last asked whether they are ready.
#[derive(Debug)]
pub(super) struct Readiness {
    /// When they had answered.
    at: Instant,
    /// The configuration they were asked of.
    of: ConfList,
    /// Why they are not.
    refusal: Option<Arc<NetworkError>>,
}

impl CniNetwork {
    /// See [`super::Network::check`].
    pub(super) async fn check_attachment(&self, uid: &str) -> Result<(), NetworkError> {
        check_uid(uid, &self.config.run)?;
        if !self.pins.is_pinned(uid, Kind::Net) {
            return Ok(());
        }
        let pin = self.pins.path(uid, Kind::Net);
        let owned = uid.to_owned();
        let record = self.blocking(move |n| n.cache.read(&owned)).await?;
        let Some(record) = record.filter(|r| r.result.is_some()) else {
            return Err(conflist::unusable(&pin, "nothing is recorded of how this namespace was attached"));
        };
        let list = ConfList::from_value(&record.config_path, &record.config)?;
        if list.disable_check || !list.is_at_least("0.4.0") {
            return Ok(());
        }
        self.questioned().check(&list, &record, &pin).await
    }

    /// See [`super::Network::collect`]. What is recorded or pinned is valid, whosever it is: the agent takes away by DEL what belongs to no pod.
    /// Where that cannot be listed, or another runtime has attachments in the network, nothing is collected.
    pub(super) async fn collect_attachments(&self) -> Result<(), NetworkError> {
        let Some(list) = self.blocking(|n| conflist::load(&n.config.conf_dirs)).await? else { return Ok(()) };
        if list.disable_gc || !list.is_at_least("1.1.0") {
            return Ok(());
        }
        let _alone = self.attachments.write().await;
        let valid = self.blocking(|n| Ok([n.cache.list_all()?, n.pins.list()?].concat())).await?;
        let name = list.name.clone();
        if let Some(result) = self.blocking(move |n| foreign_result(&n.config.foreign_results, &name)).await? {
            let result = result.display();
            tracing::warn!(
                network = list.name,
                "another runtime uses this CNI network, too ({result}): its plugins are not asked to collect garbage"
            );
            return Ok(());
        }
        self.questioned().gc(&list, &valid).await
    }

    /// Whether the plugins can attach now, where the list's version has STATUS. Errors: [`NetworkError::NotReady`].
    pub(super) async fn ready(&self, list: &ConfList) -> Result<(), NetworkError> {
        if !list.is_at_least("1.1.0") {
            return Ok(());
        }
        // Held while asking: of many pods at once, one asks.
        let mut ready = self.ready.lock().await;
        let known = ready.take().filter(|known| known.at.elapsed() < READY_FOR && known.of == *list);
        let known = match known {
            Some(known) => known,
            None => {
                let refusal = self.questioned().status(list).await.err().map(Arc::new);
                Readiness { at: Instant::now(), of: list.clone(), refusal }
            }
        };
        let refusal = known.refusal.clone();
        *ready = Some(known);
        refusal.map_or(Ok(()), |refusal| Err(NetworkError::NotReady(refusal)))
    }

    /// What pods would go without because plugins say that they are not ready; as a sentence of [`CniNetwork::describe`], which does not wait for them.
    pub async fn describe_readiness(&self) -> Option<String> {
        let list = self.blocking(|n| conflist::load(&n.config.conf_dirs)).await.ok()??;
        let refusal = self.ready(&list).await.err()?;
        Some(format!("pods without hostNetwork cannot start: {refusal}"))
    }

    /// The plugins for what is no ADD or DEL.
    fn questioned(&self) -> cni::Plugins {
        cni::Plugins { timeout: self.plugins.timeout.min(LONGEST_CHECK), ..self.plugins.clone() }
    }
}

/// A result of this network that libcni keeps for somebody else: `<network>-<container id>-<interface>` (libcni/api.go getCacheFilePath).
fn foreign_result(dir: &Path, network: &str) -> Result<Option<PathBuf>, NetworkError> {
    let entries = match std::fs::read_dir(dir) {
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        entries => entries.map_err(|e| failed("read", dir, e))?,
    };
    let prefix = format!("{network}-");
    Ok(entries.flatten().find(|e| e.file_name().to_string_lossy().starts_with(&prefix)).map(|e| e.path()))
}
