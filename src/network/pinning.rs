//! Which namespaces a pod has of its own, and their pins: made for its first container, made again from a process of its where they were lost.

use super::driver::{CniNetwork, Parts};
use super::namespaces::{Kind, check_uid};
use super::{Namespace, NetworkError, Sandbox, SandboxSpec, UserNamespace};

impl CniNetwork {
    /// See [`super::Network::create`].
    pub(super) async fn pin_namespaces(&self, spec: &SandboxSpec) -> Result<Sandbox, NetworkError> {
        let kinds = own_namespaces(spec);
        let namespace = |kind| match kinds.contains(&kind) {
            true => Namespace::Pinned(self.pins.path(&spec.uid, kind)),
            false => Namespace::Host,
        };
        let sandbox = Sandbox {
            network: namespace(Kind::Net),
            uts: namespace(Kind::Uts),
            ipc: namespace(Kind::Ipc),
            pid: spec.share_processes.then(|| self.pins.pid_path(&spec.uid)),
            user: spec.ids.map(|ids| UserNamespace { path: self.pins.path(&spec.uid, Kind::User), ids }),
        };
        check_uid(&spec.uid, &self.config.run)?;
        // With a user namespace all are made anew where one is missing.
        let last = if spec.ids.is_some() { &[Kind::Uts, Kind::Ipc, Kind::User][..] } else { &[] };
        if [Kind::Net].iter().chain(last).any(|kind| !self.pins.is_pinned(&spec.uid, *kind)) {
            // A record older than its namespace (a reboot lies between) tells of addresses that the new one will not have.
            self.undo(&spec.uid).await?;
        }
        let (uid, hostname, share_processes) = (spec.uid.clone(), spec.hostname.clone(), spec.share_processes);
        let users = sandbox.user.clone();
        let pin = move |n: &Parts| {
            match &users {
                None => n.pins.pin(&uid, &kinds, &hostname)?,
                Some(users) => n.pins.pin_with_users(&uid, &kinds, &hostname, users)?,
            }
            if share_processes { n.pins.pin_pid(&uid, users.as_ref()) } else { Ok(()) }
        };
        self.blocking(pin).await?;
        Ok(sandbox)
    }

    /// See [`super::Network::keep`].
    pub(super) async fn pin_again(&self, spec: &SandboxSpec, pid: u32) -> Result<bool, NetworkError> {
        let (uid, users, mut kinds) = (spec.uid.clone(), spec.ids, own_namespaces(spec));
        kinds.extend(spec.share_processes.then_some(Kind::Pid));
        self.blocking(move |n| n.pins.pin_again(&uid, &kinds, users, pid)).await
    }
}

/// The namespaces a pod has of its own.
fn own_namespaces(spec: &SandboxSpec) -> Vec<Kind> {
    let mut kinds = Vec::new();
    if !spec.host_network {
        kinds.extend([Kind::Net, Kind::Uts]);
    }
    if !spec.host_ipc {
        kinds.push(Kind::Ipc);
    }
    kinds
}
