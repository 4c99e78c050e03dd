//! `minik8s cp`, as kubectl's (`staging/src/k8s.io/kubectl/pkg/cmd/cp/cp.go`): through `tar`, which the container must have.
//!
//! Ours: a file copied into a local directory that exists gets its own name in it (kubectl fails), and what is hard-linked or special is
//! named and left out rather than written as an empty file.

use std::io::{self, Read, Write};
use std::path::Path;
use std::sync::mpsc as blocking;

use tokio::sync::mpsc;

use super::client::Client;
use super::error::CliError;
use super::output::complain;
use super::pod_target::ContainerArgs;
use super::session::{self, Call};
use crate::grpc::pb::ExecStart;
use crate::grpc::pb::exec_response::Message as Said;

mod pack;
mod spec;
mod unpack;

use spec::{Copy, Remote};

/// Pieces of an archive that wait for its reader.
const WAITING: usize = 4;

/// Copy files and directories to and from containers. The container needs `tar`.
#[derive(Clone, Debug, clap::Args)]
pub struct CpArgs {
    #[command(flatten)]
    place: ContainerArgs,
    /// Do not keep owners and permissions in the container.
    #[arg(long)]
    no_preserve: bool,
    /// From: a path, or [NAMESPACE/]POD:PATH.
    #[arg(value_name = "SRC")]
    source: String,
    /// To: likewise; one of the two is in a pod.
    #[arg(value_name = "DST")]
    destination: String,
}

/// Runs the command. Returns the exit code: tar's, where that failed.
pub async fn run(args: &CpArgs) -> Result<u8, CliError> {
    let copy = spec::parse(&args.source, &args.destination, &args.place.namespace).map_err(CliError::local)?;
    if let Copy::To { local, .. } = &copy
        && local.symlink_metadata().is_err()
    {
        return Err(CliError::local(format!("{} doesn't exist in local filesystem", local.display())));
    }
    let mut client = Client::connect(&args.place.client).await?;
    let (Copy::To { remote, .. } | Copy::From { remote, .. }) = &copy;
    let container = args.place.container_of(&mut client, &remote.namespace, &remote.pod, false).await?;
    let code = match &copy {
        Copy::To { local, remote } => upload(&mut client, local, remote, &container, args.no_preserve).await?,
        Copy::From { remote, local } => download(&mut client, remote, local, &container).await?,
    };
    match code {
        0 => Ok(0),
        code => {
            complain(&format!("command terminated with exit code {code}"));
            Ok(u8::try_from(code).unwrap_or(1))
        }
    }
}

fn start(remote: &Remote, container: &str, command: &[&str], stdin: bool) -> ExecStart {
    ExecStart {
        namespace: remote.namespace.clone(),
        pod: remote.pod.clone(),
        container: container.to_owned(),
        command: command.iter().map(|word| (*word).to_owned()).collect(),
        stdin,
        ..Default::default()
    }
}

async fn upload(client: &mut Client, local: &Path, remote: &Remote, container: &str, no_preserve: bool) -> Result<u32, CliError> {
    let is_dir = start(remote, container, &["test", "-d", &remote.path], false);
    let is_dir = session::run(client, Call::Exec, is_dir, None, |_| Ok(())).await? == Some(0);
    let (directory, name) = spec::placed(&remote.path, is_dir, local).map_err(CliError::local)?;
    let mut command = vec!["tar"];
    if no_preserve {
        command.extend(["--no-same-permissions", "--no-same-owner"]);
    }
    command.extend(["-xmf", "-", "-C", &directory]);
    let (give, pieces) = mpsc::channel(WAITING);
    let source = local.to_owned();
    let packing = std::thread::spawn(move || pack::pack(&source, &name, ToSession(give)));
    let code = session::run(client, Call::Exec, start(remote, container, &command, true), Some(pieces), show).await?;
    // Remote tar has ended, so packing has, too, or fails at its next piece.
    match packing.join().unwrap_or_else(|_| Err(io::Error::other("packing failed"))) {
        Err(error) if code == Some(0) || error.kind() != io::ErrorKind::BrokenPipe => Err(CliError::local(error.to_string())),
        _ => Ok(code.unwrap_or(0)),
    }
}

async fn download(client: &mut Client, remote: &Remote, local: &Path, container: &str) -> Result<u32, CliError> {
    let (give, pieces) = blocking::sync_channel(WAITING);
    let (prefix, destination) = (spec::prefix(&remote.path), local.to_owned());
    let unpacking = std::thread::spawn(move || unpack::unpack(FromSession { pieces, rest: Vec::new(), at: 0 }, &prefix, &destination));
    let command = start(remote, container, &["tar", "cf", "-", "--", &remote.path], false);
    let session = session::run(client, Call::Exec, command, None, |said| match said {
        // That nobody unpacks any more is told by the unpacker.
        Said::Stdout(bytes) => give.send(bytes).map_err(|_| CliError::Quiet),
        other => show(other),
    });
    let code = session.await;
    drop(give);
    let unpacked = unpacking.join().unwrap_or_else(|_| Err(io::Error::other("unpacking failed")));
    match (code, unpacked) {
        // tar's own words, and its exit code, say more than an archive that stops short.
        (Ok(Some(code)), _) if code != 0 => Ok(code),
        (_, Err(error)) => Err(CliError::local(error.to_string())),
        (code, Ok(())) => Ok(code?.unwrap_or(0)),
    }
}

/// tar's own words.
fn show(said: Said) -> Result<(), CliError> {
    if let Said::Stderr(bytes) | Said::Stdout(bytes) = said {
        // That nobody reads it is no failure.
        let _ = io::stderr().lock().write_all(&bytes);
    }
    Ok(())
}

/// What is written is the session's input.
struct ToSession(mpsc::Sender<Vec<u8>>);

impl Write for ToSession {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.blocking_send(bytes.to_vec()).map_err(|_| io::Error::from(io::ErrorKind::BrokenPipe))?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Reads the session's output.
struct FromSession {
    pieces: blocking::Receiver<Vec<u8>>,
    rest: Vec<u8>,
    at: usize,
}

impl Read for FromSession {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.at == self.rest.len() {
            match self.pieces.recv() {
                Ok(piece) => (self.rest, self.at) = (piece, 0),
                Err(_) => return Ok(0),
            }
        }
        let read = (&self.rest[self.at..]).read(buffer)?;
        self.at += read;
        Ok(read)
    }
}
