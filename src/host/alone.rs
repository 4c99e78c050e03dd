//! The name that an agent holds while it uses a containerd namespace: an abstract socket, which goes with the process however that ends.

use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixListener};
use std::path::Path;

use sha2::{Digest, Sha256};

/// Takes the name for this namespace of the containerd at `socket`; dropping the listener gives it back. Errors: `AddrInUse` if another agent has it.
pub fn hold(socket: &Path, namespace: &str) -> io::Result<UnixListener> {
    UnixListener::bind_addr(&address(socket, namespace)?)
}

fn address(socket: &Path, namespace: &str) -> io::Result<SocketAddr> {
    let socket = std::fs::canonicalize(socket).unwrap_or_else(|_| socket.to_owned());
    let name = format!("minik8s/{namespace}/{}", socket.display());
    let digest: String = Sha256::digest(name).iter().map(|byte| format!("{byte:02x}")).collect();
    SocketAddr::from_abstract_name(format!("minik8s/{digest}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_holds_a_namespace_and_gives_it_back() {
        let dir = tempfile::tempdir().unwrap();
        let socket = dir.path().join("containerd.sock");
        let held = hold(&socket, "a").unwrap();
        assert_eq!(hold(&socket, "a").unwrap_err().kind(), io::ErrorKind::AddrInUse);
        assert!(hold(&socket, "b").is_ok());
        drop(held);
        assert!(hold(&socket, "a").is_ok());
    }
}
