//! ADD and DEL by the record of what was asked of plugins.
//!
//! A record without a result is a half-done ADD: attach undoes it before it begins anew, remove undoes it. A record is forgotten only when DEL
//! succeeded.

use std::net::IpAddr;

use super::cache::Record;
use super::conflist::{self, ConfList};
use super::driver::CniNetwork;
use super::namespaces::{Kind, check_uid};
use super::{Network as _, NetworkError, SandboxSpec, cni, plugin, result};

impl CniNetwork {
    /// See [`super::Network::attach`].
    pub(super) async fn addresses_of(&self, spec: &SandboxSpec) -> Result<Vec<IpAddr>, NetworkError> {
        check_uid(&spec.uid, &self.config.run)?;
        if spec.host_network {
            return Ok(self.host_ips());
        }
        let recorded = self.cache.read(&spec.uid).ok().flatten();
        // A result counts only while the namespace it tells of is there; `create` sees to it that a new one has no old result.
        if let Some(result) = recorded.as_ref().and_then(|r| r.result.as_ref())
            && self.pins.is_pinned(&spec.uid, Kind::Net)
            && let Ok(ips) = result::addresses(result)
        {
            return Ok(ips);
        }
        let _turn = self.attachments.read().await;
        self.detach_recorded(&spec.uid).await?;
        self.add(spec).await
    }

    /// Undoes what the pod's record tells of; no GC runs meanwhile.
    pub(super) async fn undo(&self, uid: &str) -> Result<(), NetworkError> {
        let _turn = self.attachments.read().await;
        self.detach_recorded(uid).await
    }

    /// ADD, recorded before and after. What a failed ADD left is undone at once if it can be, else by `remove` or the next try.
    async fn add(&self, spec: &SandboxSpec) -> Result<Vec<IpAddr>, NetworkError> {
        let (list, durable) = self.current(spec).await?;
        for name in list.plugins.iter().flat_map(conflist::executables) {
            plugin::find(name, &self.plugins.dirs)?;
        }
        self.ready(&list).await?;
        let runtime = cni::runtime_config(&spec.ports, spec.bandwidth);
        let (uid, config, config_path) = (spec.uid.clone(), list.to_value(), list.path.clone());
        let mut record = Record { uid, args: cni::args(spec), config, config_path, runtime, result: None };
        self.write(&record, durable).await?;
        let netns = self.pins.path(&spec.uid, Kind::Net);
        let added = self.plugins.add(&list, &record, &netns).await.and_then(|result| {
            let plugin = list.plugins.last().map(|p| conflist::plugin_type(p).to_owned()).unwrap_or_default();
            let failed = |message| NetworkError::Plugin { plugin, command: "ADD", code: None, message };
            Ok((result::addresses(&result).map_err(failed)?, result))
        });
        match added {
            Ok((ips, result)) => {
                record.result = Some(result);
                self.write(&record, durable).await?;
                Ok(ips)
            }
            Err(e) => {
                if let Err(undo) = self.detach(&record).await {
                    tracing::warn!(uid = %spec.uid, error = %undo, "a failed CNI ADD could not be undone yet");
                }
                Err(e)
            }
        }
    }

    async fn write(&self, record: &Record, durable: bool) -> Result<(), NetworkError> {
        let record = record.clone();
        self.blocking(move |n| n.cache.write(&record, durable)).await
    }

    /// DEL by the record; forgets it when every plugin has agreed.
    async fn detach(&self, record: &Record) -> Result<(), NetworkError> {
        let list = ConfList::from_value(&record.config_path, &record.config)?;
        let netns = self.pins.path(&record.uid, Kind::Net);
        let netns = self.pins.is_pinned(&record.uid, Kind::Net).then_some(netns.as_path());
        self.plugins.del(&list, record, netns).await?;
        self.cache.remove(&record.uid)
    }

    /// Undoes what the pod's record tells of. A damaged record can only be forgotten: it is said.
    async fn detach_recorded(&self, uid: &str) -> Result<(), NetworkError> {
        match self.cache.read(uid) {
            Ok(None) => Ok(()),
            Ok(Some(record)) => self.detach(&record).await,
            Err(e @ NetworkError::Config { .. }) => {
                tracing::warn!(%uid, error = %e, "forgetting a CNI record that cannot be read; an address may stay reserved");
                self.cache.remove(uid)
            }
            Err(e) => Err(e),
        }
    }
}
