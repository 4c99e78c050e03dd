//! A TCP connection from inside a pod's network namespace to its loopback, as port-forward needs it.
//!
//! Guarantees: only a thread that ends afterwards ever enters the namespace; a connection is there, or an error, within the time limit.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::sched::{CloneFlags, setns};

/// For each of the two addresses.
const LIMIT: Duration = Duration::from_secs(5);

/// Connects to `localhost:port` (127.0.0.1, then ::1) in the pinned namespace, or the host's own for `None`. Blocks up to 10 s.
///
/// # Errors
/// The namespace cannot be entered, or nobody listens: then IPv4's cause.
pub fn dial(namespace: Option<PathBuf>, port: u16) -> io::Result<TcpStream> {
    let Some(path) = namespace else { return connect(port) };
    // A thread of its own: nothing else may ever run in the namespace it has entered.
    let dialer = std::thread::Builder::new().name("dial".into()).spawn(move || enter(&path).and_then(|()| connect(port)))?;
    dialer.join().unwrap_or_else(|_| Err(io::Error::other("the dialling thread panicked")))
}

fn enter(namespace: &Path) -> io::Result<()> {
    let file = std::fs::File::open(namespace)?;
    Ok(setns(file, CloneFlags::CLONE_NEWNET)?)
}

fn connect(port: u16) -> io::Result<TcpStream> {
    let to = |ip: IpAddr| TcpStream::connect_timeout(&SocketAddr::new(ip, port), LIMIT);
    to(Ipv4Addr::LOCALHOST.into()).or_else(|first| to(Ipv6Addr::LOCALHOST.into()).map_err(|_| first))
}
