//! One command in a running container, to its end: for probes and lifecycle hooks. Not interactive; the output's beginning is kept.
//!
//! Guarantees: what is written is drained to its end, so a talkative command is not blocked; nothing is left afterwards, or it is left to
//! [`Execs::collect`]; a containerd that does not answer ends it in bounded time.

use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt as _};
use tokio::sync::oneshot;

use super::errors::Subject;
use super::exec::Execs;
use crate::runtime::exec::{ExecConfig, ExecId, ExecProcess};
use crate::runtime::{EXEC_OUTPUT_LIMIT, ExecOnce, ExecOutput, RuntimeError};

/// How long its output may lag behind its end.
const DRAIN: Duration = Duration::from_secs(1);

impl Execs {
    /// Runs a command in a task of its own, which ends it properly even if the caller is gone.
    pub(super) async fn once(self: &Arc<Self>, container: &str, exec: &ExecOnce) -> Result<ExecOutput, RuntimeError> {
        let (still_wanted, abandoned) = oneshot::channel::<()>();
        let config = ExecConfig { container_id: container.to_owned(), command: exec.command.clone(), stdin: false, tty: None };
        let (execs, timeout) = (Arc::clone(self), exec.timeout);
        let task = tokio::spawn(async move { execs.run_to_end(&config, timeout, abandoned).await });
        let ended = task.await;
        drop(still_wanted);
        ended.unwrap_or_else(|e| Err(Subject::new(&self.connection, "exec in", container).failed(e.to_string())))
    }

    async fn run_to_end(
        &self,
        config: &ExecConfig,
        timeout: Option<Duration>,
        abandoned: oneshot::Receiver<()>,
    ) -> Result<ExecOutput, RuntimeError> {
        let ExecProcess { id, stdout, stderr, .. } = self.stream(config).await?;
        let (mut out, mut err) = (Vec::new(), Vec::new());
        let (ending, ended) = oneshot::channel::<()>();
        let life = async {
            let code = self.live(&id, timeout, abandoned).await;
            if let Err(error) = self.end(&id).await {
                tracing::debug!(container = id.container, %error, "what is left of a command is removed later");
                self.leave(&id);
            }
            drop(ending);
            code
        };
        let drain = async {
            let errors = async {
                if let Some(stderr) = stderr {
                    pump(stderr, &mut err).await;
                }
            };
            let too_long = async {
                let _ = ended.await;
                tokio::time::sleep(DRAIN).await;
            };
            // Nothing is lost by dropping the other: both are over.
            tokio::select! {
                _ = async { tokio::join!(pump(stdout, &mut out), errors) } => {}
                () = too_long => {}
            }
        };
        let (code, ()) = tokio::join!(life, drain);
        out.append(&mut err);
        out.truncate(EXEC_OUTPUT_LIMIT);
        Ok(ExecOutput { code: code?, output: out })
    }

    /// Waits for its end; `None`: it takes too long, or nobody waits for it any more.
    async fn live(&self, id: &ExecId, timeout: Option<Duration>, abandoned: oneshot::Receiver<()>) -> Result<Option<u32>, RuntimeError> {
        let too_long = async {
            match timeout {
                Some(timeout) => tokio::time::sleep(timeout).await,
                None => std::future::pending().await,
            }
        };
        // Cancel-safe: a wait may be asked for again.
        tokio::select! {
            exit = self.wait(id) => exit.map(|exit| Some(exit.code)),
            () = too_long => Ok(None),
            _ = abandoned => Ok(None),
        }
    }
}

/// Keeps the beginning, reads to the end.
async fn pump(mut from: impl AsyncRead + Unpin, into: &mut Vec<u8>) {
    let mut chunk = [0u8; 4096];
    while let Ok(n @ 1..) = from.read(&mut chunk).await {
        let room = EXEC_OUTPUT_LIMIT.saturating_sub(into.len()).min(n);
        into.extend_from_slice(&chunk[..room]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_beginning_of_an_output_is_kept_and_all_of_it_is_read() {
        let (mut shim, reader) = tokio::io::duplex(512);
        let write = tokio::spawn(async move { tokio::io::AsyncWriteExt::write_all(&mut shim, &[b'x'; 200_000]).await });
        let mut kept = Vec::new();
        pump(reader, &mut kept).await;
        write.await.unwrap().unwrap();
        assert_eq!(kept, [b'x'; EXEC_OUTPUT_LIMIT]);
    }
}
