//! The name that an agent holds while it uses a containerd namespace: an abstract socket, which goes with the process however that ends.

use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixListener};
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

/// So many links that follow each other are more than anybody makes.
const MOST_LINKS: usize = 40;

/// Takes the name for this namespace of the containerd at `socket`; dropping the listener gives it back. Errors: `AddrInUse` if another agent has it.
pub fn hold(socket: &Path, namespace: &str) -> io::Result<UnixListener> {
    UnixListener::bind_addr(&address(socket, namespace)?)
}

fn address(socket: &Path, namespace: &str) -> io::Result<SocketAddr> {
    let name = format!("minik8s/{namespace}/{}", real(socket).display());
    let digest: String = Sha256::digest(name).iter().map(|byte| format!("{byte:02x}")).collect();
    SocketAddr::from_abstract_name(format!("minik8s/{digest}"))
}

/// Where `path` leads, the same whether anything is there yet or not: links are followed as far as directories are there, and at the end.
fn real(path: &Path) -> PathBuf {
    let mut end = path.to_owned();
    for _ in 0..MOST_LINKS {
        let Ok(target) = std::fs::read_link(&end) else { break };
        end = end.parent().unwrap_or(Path::new("/")).join(target);
    }
    // A link is never followed twice: beyond the nearest directory there is nothing.
    let above = end.ancestors().skip(1).find_map(|above| Some((above, std::fs::canonicalize(above).ok()?)));
    match above.and_then(|(above, there)| Some(there.join(end.strip_prefix(above).ok()?))) {
        Some(found) => found,
        None => end,
    }
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

    /// As `/var/run`, which leads to `/run`: before containerd has made its directory, then before its socket, and after.
    #[test]
    fn it_is_one_name_by_whatever_way_and_whenever_it_is_taken() {
        let dir = tempfile::tempdir().unwrap();
        let run = dir.path().join("run");
        std::fs::create_dir(&run).unwrap();
        std::os::unix::fs::symlink(&run, dir.path().join("link")).unwrap();
        std::os::unix::fs::symlink("containerd/containerd.sock", run.join("short.sock")).unwrap();
        let ways = ["run/containerd/containerd.sock", "link/containerd/containerd.sock", "link/short.sock"];
        let same = || {
            let held = hold(&dir.path().join(ways[0]), "a").unwrap();
            let taken = |way: &&str| hold(&dir.path().join(way), "a").is_err_and(|cause| cause.kind() == io::ErrorKind::AddrInUse);
            assert!(ways.iter().all(taken), "{:?}", ways.map(|way| real(&dir.path().join(way))));
            held
        };
        let before = same();
        std::fs::create_dir(run.join("containerd")).unwrap();
        assert!(hold(&dir.path().join(ways[1]), "a").is_err());
        let _listener = UnixListener::bind(run.join("containerd/containerd.sock")).unwrap();
        assert!(ways.iter().all(|way| hold(&dir.path().join(way), "a").is_err()), "the name of before is the name of after");
        drop(before);
        same();
    }
}
