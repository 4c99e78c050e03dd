//! Moving bytes from what is read to a session's answers, a chunk at a time; and to an input.

use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::unix::pipe;
use tokio::sync::watch;

use super::{CHUNK, Out};

/// A process that has ended may have left its output open to a child: after so long without a byte it is not waited for.
const QUIET: Duration = Duration::from_secs(2);

/// Writes to a process' input; one that takes no more is forgotten.
pub(super) async fn give(to: &mut Option<pipe::Sender>, bytes: &[u8]) {
    if let Some(pipe) = to
        && pipe.write_all(bytes).await.is_err()
    {
        *to = None;
    }
}

/// Sends what is read, wrapped, until it ends, nobody receives it, or `ended` is true and nothing has come for a while.
pub(super) async fn pump<T>(mut from: impl AsyncRead + Unpin, to: Out<T>, wrap: fn(Vec<u8>) -> T, mut ended: watch::Receiver<bool>) {
    let mut buffer = vec![0; CHUNK];
    loop {
        let quiet = async {
            // A sender that is gone has nothing more to say: that is an end, too.
            let _ = ended.wait_for(|ended| *ended).await;
            tokio::time::sleep(QUIET).await;
        };
        // Reading is cancel-safe: what was taken is returned.
        let read = tokio::select! {
            biased;
            read = from.read(&mut buffer) => read.unwrap_or(0),
            () = quiet => 0,
        };
        if read == 0 || to.send(Ok(wrap(buffer[..read].to_vec()))).await.is_err() {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::sync::mpsc;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn an_output_left_open_is_not_waited_for() {
        let (mut write, read) = tokio::io::duplex(64);
        let (out, mut received) = mpsc::channel(4);
        let (tell, ended) = watch::channel(false);
        let pumping = tokio::spawn(pump(read, out, |bytes| bytes, ended));
        write.write_all(b"one").await.unwrap();
        assert_eq!(received.recv().await.unwrap().unwrap(), b"one");
        tell.send_replace(true);
        write.write_all(b"two").await.unwrap();
        assert_eq!(received.recv().await.unwrap().unwrap(), b"two", "what comes after the end still counts");
        pumping.await.unwrap();
        assert!(received.recv().await.is_none());
    }
}
