//! The terminal this command runs in: raw mode while a remote program reads it, and its size.
//!
//! Guarantees: what was before raw mode is back when [`RawTerminal`] is dropped; the signals that would end the process without that are
//! caught by [`RawTerminal::ended`] as long as it lives.

use std::io;

use nix::sys::termios::{SetArg, Termios, cfmakeraw, tcgetattr, tcsetattr};
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::grpc::pb::TerminalSize;

/// Signals that end a process unless it sees to them.
const DEADLY: [SignalKind; 4] = [SignalKind::hangup(), SignalKind::interrupt(), SignalKind::quit(), SignalKind::terminate()];

/// Standard input in raw mode.
pub struct RawTerminal {
    before: Termios,
    signals: Vec<(i32, Signal)>,
}

impl RawTerminal {
    /// Enters raw mode. Errors: it is no terminal.
    pub fn enter() -> io::Result<RawTerminal> {
        let signals = DEADLY.into_iter().map(|kind| Ok((kind.as_raw_value(), signal(kind)?))).collect::<io::Result<Vec<_>>>()?;
        let before = tcgetattr(io::stdin())?;
        let mut raw = before.clone();
        cfmakeraw(&mut raw);
        tcsetattr(io::stdin(), SetArg::TCSANOW, &raw)?;
        Ok(RawTerminal { before, signals })
    }

    /// Resolves with the number of a signal that asks this process to end. Cancel-safe.
    pub async fn ended(&mut self) -> i32 {
        let waits = self.signals.iter_mut().map(|(number, signal)| {
            Box::pin(async move {
                signal.recv().await;
                *number
            })
        });
        futures::future::select_all(waits).await.0
    }
}

impl Drop for RawTerminal {
    fn drop(&mut self) {
        // Nobody is left to be told that the terminal is gone.
        let _ = tcsetattr(io::stdin(), SetArg::TCSANOW, &self.before);
    }
}

/// The terminal's size, if there is one.
pub fn size() -> Option<TerminalSize> {
    let (width, height) = terminal_size::terminal_size_of(io::stdout()).or_else(|| terminal_size::terminal_size_of(io::stdin()))?;
    Some(TerminalSize { width: width.0.into(), height: height.0.into() })
}
