//! Whether the directory's file system answers: one that hangs (a dead NFS server) holds whoever looks at it, for ever and without a word.
//!
//! The watching thread says when it begins to look and when it is done; whoever does not hang along with it makes of that what is told.

use std::path::PathBuf;
use std::time::Duration;

use tokio::sync::watch;

/// A look that lasts longer than this is told. A directory of 10,000 files is read in two seconds.
const PATIENCE: Duration = Duration::from_secs(15);

/// Says once that the directory does not answer, and once that it does again, as long as the watching thread lives.
pub async fn tell_silence(root: PathBuf, mut looking: watch::Receiver<bool>) {
    let shown = root.display();
    while silent(&mut looking).await {
        tracing::error!(
            "the manifests directory {shown} has not answered for {} s: its file system hangs (see findmnt -T {shown}); what runs goes on as last read, and what was changed is taken up by itself when it answers",
            PATIENCE.as_secs()
        );
        if looking.wait_for(|looking| !looking).await.is_err() {
            return;
        }
        tracing::info!("the manifests directory {shown} answers again");
    }
}

/// Waits until one look has lasted longer than it may; `false`: nobody looks any more. Cancel-safe.
async fn silent(looking: &mut watch::Receiver<bool>) -> bool {
    loop {
        if looking.wait_for(|looking| *looking).await.is_err() {
            return false;
        }
        // The end of this look, and the beginning of another, are changes.
        match tokio::time::timeout(PATIENCE, looking.changed()).await {
            Ok(Ok(())) => {}
            Ok(Err(_)) => return false,
            Err(_) => return true,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn only_one_look_that_lasts_is_silence() {
        let (tell, mut looking) = watch::channel(false);
        let busy = tokio::spawn(async move {
            for _ in 0..10 {
                tell.send_replace(true);
                tokio::time::sleep(PATIENCE / 2).await;
                tell.send_replace(false);
                // No pause: the next look begins before anybody has seen the end of this one.
            }
            tell
        });
        assert!(tokio::time::timeout(PATIENCE * 4, silent(&mut looking)).await.is_err(), "many short looks");
        let tell = busy.await.unwrap();
        assert!(tokio::time::timeout(PATIENCE * 4, silent(&mut looking)).await.is_err(), "nobody looks");
        tell.send_replace(true);
        assert!(silent(&mut looking).await);
        drop(tell);
        assert!(!silent(&mut looking).await, "the thread has ended");
    }
}
