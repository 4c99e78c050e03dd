//! From gRPC status to [`RuntimeError`]: is containerd away, is the container not there, or was the thing refused, and in whose words.

use std::error::Error as _;

use tonic::{Code, Status};

use super::connection::Connection;
use crate::runtime::RuntimeError;

/// What was tried on what, for the message.
#[derive(Clone, Copy)]
pub(super) struct Subject<'a> {
    connection: &'a Connection,
    action: &'static str,
    id: &'a str,
}

impl<'a> Subject<'a> {
    pub(super) fn new(connection: &'a Connection, action: &'static str, id: &'a str) -> Self {
        Self { connection, action, id }
    }

    /// The error for this status.
    pub(super) fn error(&self, status: Status) -> RuntimeError {
        let id = self.id.to_owned();
        match status.code() {
            _ if is_away(&status) => unavailable(self.connection, &status),
            Code::NotFound => RuntimeError::NotFound { id },
            Code::AlreadyExists => RuntimeError::Exists { id },
            _ => RuntimeError::Failed { action: self.action, id, cause: words(&status) },
        }
    }

    /// A refusal in our own words.
    pub(super) fn failed(&self, cause: impl Into<String>) -> RuntimeError {
        RuntimeError::Failed { action: self.action, id: self.id.to_owned(), cause: cause.into() }
    }
}

/// `Unavailable` for this connection.
pub(crate) fn unavailable(connection: &Connection, status: &Status) -> RuntimeError {
    RuntimeError::Unavailable { socket: connection.socket(), cause: words(status) }
}

/// Whether it is containerd that is away, rather than a shim or the thing asked for. A status with a source was made on our side:
/// the connection could not be had or broke.
pub(crate) fn is_away(status: &Status) -> bool {
    match status.code() {
        Code::Unavailable => !is_shim_gone(status),
        Code::DeadlineExceeded => true,
        _ => status.source().is_some(),
    }
}

/// Whether containerd answers but a container's shim does not: it was killed, or is about to end.
pub(super) fn is_shim_gone(status: &Status) -> bool {
    let message = status.message();
    message.contains("ttrpc: closed") || message.contains("containerd-shim") || message.contains("ttrpc: server closed")
}

/// Whether a task could not be made because the shim of its group has just been left by the last container: containerd still finds its address and
/// nobody there (runtime/v2/runc/v2/service.go, StartShim with a group), or a socket that is gone before it can remove it, or somebody who ends before
/// the answer, and takes away what was made.
pub(super) fn is_shim_leaving(status: &Status) -> bool {
    let message = status.message();
    let nobody = message.contains("connect: no such file or directory") || message.contains("connect: connection refused");
    let removed = message.contains("remove pre-existing socket") && message.contains("no such file or directory");
    let not_started = message.contains("failed to start shim") && ((message.contains("dial unix") && nobody) || removed);
    not_started || (message.contains("failed to create shim task") && message.contains("ttrpc: closed"))
}

/// What containerd or runc said, and where it is our side's error, its chain of causes.
pub(crate) fn words(status: &Status) -> String {
    let mut text = status.message().to_owned();
    let mut source = status.source();
    for _ in 0..8 {
        let Some(error) = source else { break };
        let cause = error.to_string();
        if !cause.is_empty() && !text.contains(&cause) {
            text = if text.is_empty() { cause } else { format!("{text}: {cause}") };
        }
        source = error.source();
    }
    if text.is_empty() { format!("{:?}", status.code()) } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shim_on_its_way_out_is_told_from_what_is_wrong() {
        let leaving = |message: &str| is_shim_leaving(&Status::unknown(message));
        for message in [
            "failed to start shim: start failed: io.containerd.runc.v2: remove pre-existing socket: remove /run/containerd/s/3b96: no such file or directory: exit status 1",
            "failed to start shim: start failed: dial unix /run/containerd/s/3b96: connect: connection refused",
            "failed to create shim task: ttrpc: closed: unknown",
        ] {
            assert!(leaving(message), "{message}");
        }
        for message in [
            "failed to start shim: start failed: io.containerd.runc.v2: remove pre-existing socket: remove /run/containerd/s/3b96: permission denied: exit status 1",
            "failed to start shim: start failed: fork/exec /usr/bin/containerd-shim-runc-v2: no such file or directory",
            "failed to create shim task: OCI runtime create failed: exec: \"/x\": stat /x: no such file or directory: unknown",
        ] {
            assert!(!leaving(message), "{message}");
        }
    }
}
