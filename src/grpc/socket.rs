//! The unix socket: who may connect, how many at once, and what is done about one that an earlier agent left.

use std::io;
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tonic::transport::server::Connected;

/// Clients served at once; further ones wait in the listen queue for their turn.
const CONNECTIONS: usize = 128;
/// A client that says nothing after connecting gives its place back.
const FIRST_BYTE: Duration = Duration::from_secs(5);
/// Who may use the socket beside root.
const GROUP: &str = "minik8s";

/// Why the socket cannot be served.
#[derive(Debug, thiserror::Error)]
pub enum SocketError {
    /// Another agent answers on it.
    #[error("another minik8s agent answers on {path}; stop that one, or give this one its own --socket and --state-dir")]
    InUse {
        /// The socket.
        path: String,
    },
    /// Something else is there.
    #[error("{path} is no socket; move it away, or choose another --socket")]
    NoSocket {
        /// The path.
        path: String,
    },
    /// The operating system refuses.
    #[error("the socket {path} cannot be made; check the directory, or choose another --socket")]
    Io {
        /// The socket.
        path: String,
        /// The cause.
        #[source]
        source: io::Error,
    },
}

/// Listens on `path`: mode 0660, group minik8s where that exists, in a directory of mode 0755. A socket nobody answers on is replaced.
pub fn bind(path: &Path) -> Result<UnixListener, SocketError> {
    let shown = || path.display().to_string();
    clear(path)?;
    let io = |source| SocketError::Io { path: shown(), source };
    if let Some(parent) = path.parent() {
        std::fs::DirBuilder::new().recursive(true).mode(0o755).create(parent).map_err(io)?;
    }
    // Under another name until its owner and mode are right.
    let mut fresh = path.as_os_str().to_owned();
    fresh.push("~");
    let fresh = PathBuf::from(fresh);
    remove(&fresh).map_err(io)?;
    let listener = UnixListener::bind(&fresh).map_err(io)?;
    permit(&fresh).and_then(|()| std::fs::rename(&fresh, path)).map_err(io)?;
    Ok(listener)
}

/// Makes room: a dead socket goes, a living one or another file is an error.
fn clear(path: &Path) -> Result<(), SocketError> {
    let shown = || path.display().to_string();
    let Ok(found) = path.symlink_metadata() else { return Ok(()) };
    if !found.file_type().is_socket() {
        return Err(SocketError::NoSocket { path: shown() });
    }
    match std::os::unix::net::UnixStream::connect(path) {
        Ok(_) => Err(SocketError::InUse { path: shown() }),
        // EAGAIN: its queue is full, so somebody lives there.
        Err(cause) if cause.kind() == io::ErrorKind::WouldBlock => Err(SocketError::InUse { path: shown() }),
        Err(_) => remove(path).map_err(|source| SocketError::Io { path: shown(), source }),
    }
}

fn remove(path: &Path) -> io::Result<()> {
    match std::fs::remove_file(path) {
        Err(cause) if cause.kind() != io::ErrorKind::NotFound => Err(cause),
        _ => Ok(()),
    }
}

fn permit(path: &Path) -> io::Result<()> {
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o660))?;
    match nix::unistd::Group::from_name(GROUP) {
        Ok(Some(group)) => std::os::unix::fs::chown(path, None, Some(group.gid.as_raw())),
        _ => Ok(()),
    }
}

/// Who connected.
#[derive(Clone, Copy, Debug)]
pub struct Peer {
    /// The user, as the kernel says.
    pub uid: Option<u32>,
}

/// A connection with its place among [`CONNECTIONS`].
pub struct Connection {
    stream: UnixStream,
    _place: OwnedSemaphorePermit,
}

/// Accepts for ever, at most [`CONNECTIONS`] at a time, until the receiver is dropped.
pub fn accept(listener: UnixListener) -> mpsc::Receiver<io::Result<Connection>> {
    let (sender, receiver) = mpsc::channel(1);
    tokio::spawn(async move {
        let places = Arc::new(Semaphore::new(CONNECTIONS));
        while let Ok(place) = places.clone().acquire_owned().await {
            // Both branches are cancel-safe: `accept` takes a connection only when it returns it.
            let accepted = tokio::select! {
                accepted = listener.accept() => accepted,
                () = sender.closed() => return,
            };
            match accepted {
                Ok((stream, _)) => drop(tokio::spawn(admit(stream, place, sender.clone()))),
                Err(cause) => {
                    tracing::warn!(%cause, "a client could not be accepted");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            }
        }
    });
    receiver
}

async fn admit(stream: UnixStream, place: OwnedSemaphorePermit, sender: mpsc::Sender<io::Result<Connection>>) {
    if matches!(tokio::time::timeout(FIRST_BYTE, stream.readable()).await, Ok(Ok(()))) {
        // An error means that the server has stopped.
        let _ = sender.send(Ok(Connection { stream, _place: place })).await;
    }
}

impl Connected for Connection {
    type ConnectInfo = Peer;

    fn connect_info(&self) -> Peer {
        Peer { uid: self.stream.peer_cred().ok().map(|cred| cred.uid()) }
    }
}

impl AsyncRead for Connection {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl AsyncWrite for Connection {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
