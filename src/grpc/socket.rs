//! The unix socket: who may connect, how many at once, what is done about one that an earlier agent left, and about ours if it is removed.

use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::socket::{self, AddressFamily, SockFlag, SockType, UnixAddr};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tonic::transport::server::Connected;

/// Clients served at once.
pub(super) const CONNECTIONS: usize = 128;
/// Clients accepted that have said nothing yet or have no place; further ones wait in the listen queue.
const WAITING: usize = 128;
/// How long a client waits for a place before it is refused.
const PATIENCE: Duration = Duration::from_secs(5);
/// How often it is looked whether the socket is still there: a glance at one name.
const LOOK: Duration = Duration::from_secs(5);
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
    match knock(path) {
        // EAGAIN: its queue is full, so somebody lives there.
        Ok(()) | Err(Errno::EAGAIN) => Err(SocketError::InUse { path: shown() }),
        Err(_) => remove(path).map_err(|source| SocketError::Io { path: shown(), source }),
    }
}

/// Connects, without waiting for a place in the queue of one that accepts nobody.
fn knock(path: &Path) -> nix::Result<()> {
    let flags = SockFlag::SOCK_NONBLOCK | SockFlag::SOCK_CLOEXEC;
    let socket = socket::socket(AddressFamily::Unix, SockType::Stream, flags, None)?;
    socket::connect(socket.as_raw_fd(), &UnixAddr::new(path)?)
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
    /// Whether there is a place for it.
    pub admission: Admission,
}

/// A connection with its place among [`CONNECTIONS`], or one that is only told that there is none.
pub struct Connection {
    stream: UnixStream,
    /// A place, or one of [`WAITING`].
    _place: OwnedSemaphorePermit,
    /// When one without a place ends.
    end: Option<Pin<Box<tokio::time::Sleep>>>,
}

/// Whether the client has a place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Admission {
    /// It is served.
    Served,
    /// Every place is taken.
    Full,
}

/// The refusal of every call of a client without a place.
pub fn refuse_without_place<T>(request: tonic::Request<T>) -> Result<tonic::Request<T>, tonic::Status> {
    if request.extensions().get::<Peer>().is_none_or(|peer| peer.admission != Admission::Full) {
        return Ok(request);
    }
    let mut refusal = tonic::Status::resource_exhausted(format!(
        "the agent serves {CONNECTIONS} clients already; end some (watches and followed logs hold a place each), or try again later"
    ));
    // Apart from a full disk, which has the same code.
    refusal.metadata_mut().insert(super::REASON, tonic::metadata::MetadataValue::from_static("TooManyRequests"));
    Err(refusal)
}

/// Accepts for ever, until the receiver is dropped. A socket that somebody removed is made again.
pub fn accept(listener: UnixListener, path: PathBuf) -> mpsc::Receiver<io::Result<Connection>> {
    let (sender, receiver) = mpsc::channel(1);
    tokio::spawn(accept_for_ever(listener, path, sender));
    receiver
}

async fn accept_for_ever(mut listener: UnixListener, path: PathBuf, sender: mpsc::Sender<io::Result<Connection>>) {
    let (waiting, places) = (Arc::new(Semaphore::new(WAITING)), Arc::new(Semaphore::new(CONNECTIONS)));
    let mut look = tokio::time::interval(LOOK);
    look.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        let accepted = async {
            // Closed never.
            let seat = waiting.clone().acquire_owned().await.map_err(io::Error::other)?;
            Ok::<_, io::Error>((listener.accept().await?.0, seat))
        };
        // All branches are cancel-safe: a seat that is dropped is free again, and `accept` takes a connection only when it returns it.
        let accepted = tokio::select! {
            accepted = accepted => accepted,
            () = sender.closed() => return,
            _ = look.tick() => {
                if let Some(again) = bind_again(&path) {
                    listener = again;
                }
                continue;
            }
        };
        match accepted {
            Ok((stream, seat)) => drop(tokio::spawn(admit(stream, seat, places.clone(), sender.clone()))),
            Err(cause) => {
                tracing::warn!(%cause, "a client could not be accepted");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

/// A new socket where nothing is at the path any more. What somebody else put there is theirs.
pub(super) fn bind_again(path: &Path) -> Option<UnixListener> {
    let gone = path.symlink_metadata().is_err_and(|error| error.kind() == io::ErrorKind::NotFound);
    if !gone {
        return None;
    }
    match bind(path) {
        Ok(listener) => {
            tracing::warn!(socket = %path.display(), "the socket was removed by somebody; it is made again");
            Some(listener)
        }
        Err(error) => {
            tracing::warn!(%error, "the socket was removed by somebody and cannot be made again yet");
            None
        }
    }
}

async fn admit(stream: UnixStream, seat: OwnedSemaphorePermit, places: Arc<Semaphore>, sender: mpsc::Sender<io::Result<Connection>>) {
    if !matches!(tokio::time::timeout(FIRST_BYTE, stream.readable()).await, Ok(Ok(()))) {
        return;
    }
    let connection = match tokio::time::timeout(PATIENCE, places.acquire_owned()).await {
        Ok(Ok(place)) => Connection { stream, _place: place, end: None },
        _ => Connection { stream, _place: seat, end: Some(Box::pin(tokio::time::sleep(FIRST_BYTE))) },
    };
    // An error means that the server has stopped.
    let _ = sender.send(Ok(connection)).await;
}

impl Connected for Connection {
    type ConnectInfo = Peer;

    fn connect_info(&self) -> Peer {
        let admission = if self.end.is_some() { Admission::Full } else { Admission::Served };
        Peer { uid: self.stream.peer_cred().ok().map(|cred| cred.uid()), admission }
    }
}

impl AsyncRead for Connection {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        // Nothing read is the end of the stream.
        if self.end.as_mut().is_some_and(|end| end.as_mut().poll(cx).is_ready()) {
            return Poll::Ready(Ok(()));
        }
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

#[cfg(test)]
pub(crate) use tests::deaf;

#[cfg(test)]
mod tests {
    use std::os::fd::OwnedFd;

    use super::*;

    /// A socket at `path` whose queue is full and that accepts nobody, as one of a stopped process. It stands while the result lives.
    pub(crate) fn deaf(path: &Path) -> Vec<OwnedFd> {
        let fresh =
            || socket::socket(AddressFamily::Unix, SockType::Stream, SockFlag::SOCK_NONBLOCK | SockFlag::SOCK_CLOEXEC, None).unwrap();
        let (listener, address) = (fresh(), UnixAddr::new(path).unwrap());
        socket::bind(listener.as_raw_fd(), &address).unwrap();
        socket::listen(&listener, socket::Backlog::new(1).unwrap()).unwrap();
        let mut held = vec![listener];
        for _ in 0..16 {
            let client = fresh();
            match socket::connect(client.as_raw_fd(), &address) {
                Err(Errno::EAGAIN) => return held,
                connected => connected.unwrap(),
            }
            held.push(client);
        }
        panic!("its queue has no end");
    }

    #[test]
    fn a_socket_of_one_that_hangs_is_in_use_and_said_to_be_at_once() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("s");
        let _deaf = deaf(&path);
        let tried = path.clone();
        // Blocking: in a thread, which a failure leaves behind.
        let (tell, told) = std::sync::mpsc::channel();
        std::thread::spawn(move || tell.send(clear(&tried)));
        let answer = told.recv_timeout(Duration::from_secs(10)).expect("it waits for a place");
        assert!(matches!(answer, Err(SocketError::InUse { .. })), "{answer:?}");
        assert!(path.exists());
    }
}
