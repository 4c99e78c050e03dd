//! A process executed in a running container, with its streams: the values. [`super::containerd::Containerd`] starts it.

use tokio::net::unix::pipe;

/// What to execute, and how it is connected.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExecConfig {
    /// The container's id.
    pub container_id: String,
    /// The program and its arguments; not empty.
    pub command: Vec<String>,
    /// Whether the process gets an input.
    pub stdin: bool,
    /// Whether it gets a terminal, and of which size (columns, lines).
    pub tty: Option<Option<(u16, u16)>>,
}

/// Names one executed process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExecId {
    /// The container.
    pub container: String,
    /// The process in it.
    pub exec: String,
}

/// A started process. Whoever holds it ends it: `exec_kill`, `exec_wait`, `exec_remove`.
#[derive(Debug)]
pub struct ExecProcess {
    /// Its name.
    pub id: ExecId,
    /// Its input, if it has one.
    pub stdin: Option<pipe::Sender>,
    /// Its output.
    pub stdout: pipe::Receiver,
    /// Its errors; with a terminal they are output.
    pub stderr: Option<pipe::Receiver>,
}
