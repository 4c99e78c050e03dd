//! What a command can fail with, as the user reads it.

use std::path::Path;

use tonic::{Code, Status};

use crate::grpc::REASON;

/// A failed command. Its text is printed to stderr as it is; the exit code is 1.
#[derive(Debug, thiserror::Error)]
pub enum CliError {
    /// Refused by the agent, in kubectl's form.
    #[error("Error from server ({reason}): {message}")]
    Server {
        /// Kubernetes' reason (`NotFound`).
        reason: &'static str,
        /// The agent's words.
        message: String,
    },
    /// Anything found out on this side.
    #[error("error: {0}")]
    Local(String),
    /// The output's reader has gone (`| head`): nothing to say.
    #[error("")]
    Quiet,
}

impl CliError {
    /// An error of this side.
    pub fn local(message: impl Into<String>) -> CliError {
        CliError::Local(message.into())
    }

    /// Nobody answers, or not to us: says what to do.
    pub fn unreachable(socket: &Path, cause: &std::io::Error) -> CliError {
        let socket = socket.display();
        CliError::Local(match cause.kind() {
            std::io::ErrorKind::PermissionDenied => {
                format!(
                    "permission denied on {socket}: be root, or a member of the group minik8s (usermod -aG minik8s $USER, then log in again)"
                )
            }
            std::io::ErrorKind::NotFound | std::io::ErrorKind::ConnectionRefused => format!(
                "no minik8s agent answers on {socket}: start it (systemctl start minik8s), or name its socket with --socket or MINIK8S_SOCKET"
            ),
            _ => format!("the minik8s agent's socket {socket} cannot be used: {cause}"),
        })
    }
}

impl From<Status> for CliError {
    fn from(status: Status) -> CliError {
        if std::error::Error::source(&status).is_some() {
            // A failure of the connection, not an answer.
            return CliError::local("the connection to the minik8s agent broke; see journalctl -u minik8s");
        }
        let reason = match status.code() {
            Code::NotFound => "NotFound",
            Code::AlreadyExists => "AlreadyExists",
            Code::Aborted => "Conflict",
            Code::DeadlineExceeded => "Timeout",
            Code::InvalidArgument => "BadRequest",
            Code::FailedPrecondition | Code::PermissionDenied => "Forbidden",
            Code::ResourceExhausted if status.metadata().contains_key(REASON) => "TooManyRequests",
            Code::ResourceExhausted => "InsufficientStorage",
            Code::Unavailable | Code::Cancelled => return CliError::local("the minik8s agent went away; see journalctl -u minik8s"),
            _ => "InternalError",
        };
        CliError::Server { reason, message: status.message().to_owned() }
    }
}

impl From<std::io::Error> for CliError {
    fn from(error: std::io::Error) -> CliError {
        match error.kind() {
            std::io::ErrorKind::BrokenPipe => CliError::Quiet,
            _ => CliError::Local(error.to_string()),
        }
    }
}
