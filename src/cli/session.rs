//! A session of exec or attach on this side: input, sizes and signals to the agent, output from it.
//!
//! Guarantees: bounded buffers (a slow reader of our output slows the remote program); the terminal is as before however the session ends.

use std::io::{IsTerminal as _, Read as _, Write as _};

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Status};

use super::client::Client;
use super::error::CliError;
use super::output::{complain, put};
use super::terminal::{self, RawTerminal};
use crate::grpc::pb::exec_request::Message as Asked;
use crate::grpc::pb::exec_response::Message as Said;
use crate::grpc::pb::{ExecRequest, ExecStart};

/// Messages and pieces that wait for the agent.
const WAITING: usize = 4;
/// Bytes read at a time.
const CHUNK: usize = 32 << 10;

/// Which call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Call {
    /// A command.
    Exec,
    /// The container's own process.
    Attach,
}

/// What a session is connected to.
#[derive(Clone, Debug, clap::Args)]
pub struct TerminalArgs {
    /// Pass standard input to the process in the container.
    #[arg(short = 'i', long)]
    pub stdin: bool,
    /// Standard input is a terminal.
    #[arg(short = 't', long)]
    pub tty: bool,
    /// Print the process' output only.
    #[arg(short, long)]
    pub quiet: bool,
}

/// How a session went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// The command's exit code; none from attach.
    Exit(Option<u32>),
    /// A signal told this process to end.
    Signalled(i32),
}

/// Connects this process' streams (and its terminal, if `start.tty`) until the session ends.
pub async fn interactive(client: &mut Client, call: Call, mut start: ExecStart) -> Result<Ended, CliError> {
    let mut raw = match start.tty && start.stdin {
        true => Some(RawTerminal::enter()?),
        false => None,
    };
    start.size = if start.tty { terminal::size() } else { None };
    let input = if start.stdin { Some(read_stdin()) } else { None };
    let output = |said| match said {
        Said::Stderr(bytes) => {
            let mut err = std::io::stderr().lock();
            Ok(err.write_all(&bytes).and_then(|()| err.flush())?)
        }
        Said::Stdout(bytes) => put(bytes),
        Said::Exit(_) => Ok(()),
    };
    let session = run(client, call, start, input, output);
    match raw.as_mut() {
        None => session.await.map(Ended::Exit),
        // Either ends the session; dropping it ends the remote side.
        Some(raw) => tokio::select! {
            ended = session => ended.map(Ended::Exit),
            signal = raw.ended() => Ok(Ended::Signalled(signal)),
        },
    }
}

/// Whether standard input can be a terminal's; says what kubectl says where it cannot and is asked to.
pub fn can_be_tty(stdin: bool, tty: bool, quiet: bool) -> bool {
    if !stdin || !tty {
        return false;
    }
    let is = std::io::stdin().is_terminal();
    if !is && !quiet {
        complain("Unable to use a TTY - input is not a terminal or the right kind of file");
    }
    is
}

/// Runs a session with this input and output. Returns the exit code, if there is one.
pub async fn run(
    client: &mut Client,
    call: Call,
    start: ExecStart,
    input: Option<mpsc::Receiver<Vec<u8>>>,
    mut output: impl FnMut(Said) -> Result<(), CliError>,
) -> Result<Option<u32>, CliError> {
    let (ask, asked) = mpsc::channel(WAITING);
    let resizing = start.tty;
    let request = |message| ExecRequest { message: Some(message) };
    // There is room for it.
    let _ = ask.send(request(Asked::Start(start))).await;
    let mut feeders = tokio::task::JoinSet::new();
    if resizing {
        feeders.spawn(resize(ask.clone()));
    }
    feeders.spawn(feed(ask, input));
    let answers = match call {
        Call::Exec => client.streams.exec(ReceiverStream::new(asked)).await,
        Call::Attach => client.streams.attach(ReceiverStream::new(asked)).await,
    };
    let mut answers = answers.map_err(refused)?.into_inner();
    while let Some(answer) = answers.message().await.map_err(refused)? {
        match answer.message {
            Some(Said::Exit(code)) => return Ok(Some(code)),
            Some(said) => output(said)?,
            None => {}
        }
    }
    match call {
        Call::Attach => Ok(None),
        Call::Exec => Err(CliError::local("the minik8s agent ended the session without an exit code; see journalctl -u minik8s")),
    }
}

/// Passes input on. The request stream stays open after it, for sizes, and so that the agent sees us there.
async fn feed(ask: mpsc::Sender<ExecRequest>, input: Option<mpsc::Receiver<Vec<u8>>>) {
    if let Some(mut input) = input {
        while let Some(bytes) = input.recv().await {
            if ask.send(ExecRequest { message: Some(Asked::Stdin(bytes)) }).await.is_err() {
                return;
            }
        }
        let _ = ask.send(ExecRequest { message: Some(Asked::StdinClosed(true)) }).await;
    }
    ask.closed().await;
}

async fn resize(ask: mpsc::Sender<ExecRequest>) {
    let Ok(mut changes) = signal(SignalKind::window_change()) else { return };
    while changes.recv().await.is_some() {
        let Some(size) = terminal::size() else { continue };
        if ask.send(ExecRequest { message: Some(Asked::Resize(size)) }).await.is_err() {
            return;
        }
    }
}

/// Standard input, piece by piece. A thread of its own, since a read that waits for a key cannot be called off: the process ends without it.
fn read_stdin() -> mpsc::Receiver<Vec<u8>> {
    let (give, pieces) = mpsc::channel(WAITING);
    std::thread::spawn(move || {
        let mut buffer = vec![0; CHUNK];
        let mut stdin = std::io::stdin().lock();
        loop {
            match stdin.read(&mut buffer) {
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                Ok(0) | Err(_) => return,
                Ok(read) => {
                    if give.blocking_send(buffer[..read].to_vec()).is_err() {
                        return;
                    }
                }
            }
        }
    });
    pieces
}

/// A refusal in kubectl's form.
pub fn refused(status: Status) -> CliError {
    let ours = std::error::Error::source(&status).is_none() && !status.message().is_empty();
    match status.code() {
        Code::FailedPrecondition | Code::ResourceExhausted if ours => CliError::local(status.message()),
        Code::Unavailable if ours => CliError::local(status.message()),
        Code::Internal if ours => CliError::local(format!("Internal error occurred: {}", status.message())),
        _ => status.into(),
    }
}
