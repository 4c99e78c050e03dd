//! One CNI plugin executed: found, fed its configuration, bounded in time and output, its whole process group killed when it hangs.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::process::{Child, Command};

use super::{NetworkError, result};
use crate::host::process_group::KillGroup;

/// Most bytes of standard output that are read; more is an error.
const MAX_OUTPUT: u64 = 1 << 20;
/// Most bytes of standard error that are kept.
const MAX_STDERR: u64 = 16 << 10;
/// A plugin being replaced while it is executed is tried again this often (libcni: 5 times, 1 s apart).
const BUSY_TRIES: u32 = 50;

/// The variable that tells the next agent whose call it was: its run directory.
pub(super) const RUN: &str = "MINIK8S_RUN";

/// What a plugin is called with.
#[derive(Clone, Debug)]
pub(super) struct Call<'a> {
    /// ADD, DEL, CHECK, GC or STATUS.
    pub command: &'static str,
    /// CNI_CONTAINERID: the pod's uid; "" where the call is about no pod.
    pub container_id: &'a str,
    /// CNI_NETNS: the pin, "" where it is gone.
    pub netns: &'a str,
    /// CNI_IFNAME.
    pub ifname: &'a str,
    /// CNI_ARGS.
    pub args: &'a str,
    /// CNI_PATH: where plugins, and the plugins they call, are looked for.
    pub dirs: &'a [PathBuf],
    /// Of the agent that calls, for [`RUN`].
    pub run: &'a Path,
    /// After this a plugin is killed.
    pub timeout: Duration,
}

/// Executes `plugin` with `config` on its standard input and returns its standard output.
pub(super) async fn exec(call: &Call<'_>, plugin: &str, config: &[u8]) -> Result<Vec<u8>, NetworkError> {
    let path = find(plugin, call.dirs)?;
    let failed = |message: String| NetworkError::Plugin { plugin: plugin.to_owned(), command: call.command, code: None, message };
    let mut child = spawn(call, &path).await.map_err(|e| failed(format!("cannot execute {}: {e}", path.display())))?;
    let group = KillGroup::of(child.id());
    let finished = tokio::time::timeout(call.timeout, talk(&mut child, config)).await;
    let (status, stdout, stderr) = match finished {
        Err(_) => return Err(failed(format!("killed: no answer within {} s", call.timeout.as_secs_f32()))),
        Ok(Err(e)) => return Err(failed(format!("killed: {e}"))),
        Ok(Ok(done)) => done,
    };
    group.disarm();
    match status.success() {
        true => Ok(stdout),
        false => Err(NetworkError::Plugin {
            plugin: plugin.to_owned(),
            command: call.command,
            code: result::error_code(&stdout),
            message: result::error_message(&status.to_string(), &stdout, &stderr),
        }),
    }
}

/// The first executable file of that name in the directories (libcni `pkg/invoke/find.go`).
pub(super) fn find(plugin: &str, dirs: &[PathBuf]) -> Result<PathBuf, NetworkError> {
    let found = dirs.iter().map(|d| d.join(plugin)).find(|p| p.is_file());
    found.ok_or_else(|| NetworkError::PluginMissing { plugin: plugin.to_owned(), dirs: joined(dirs, ", ") })
}

pub(super) fn joined(dirs: &[PathBuf], separator: &str) -> String {
    dirs.iter().map(|d| d.display().to_string()).collect::<Vec<_>>().join(separator)
}

async fn spawn(call: &Call<'_>, path: &Path) -> std::io::Result<Child> {
    let mut command = Command::new(path);
    command.env("CNI_COMMAND", call.command).env("CNI_CONTAINERID", call.container_id).env("CNI_NETNS", call.netns);
    command.env("CNI_IFNAME", call.ifname).env("CNI_ARGS", call.args).env("CNI_PATH", joined(call.dirs, ":"));
    command.env(RUN, call.run);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).process_group(0).kill_on_drop(true);
    for _ in 0..BUSY_TRIES {
        match command.spawn() {
            Err(e) if e.kind() == std::io::ErrorKind::ExecutableFileBusy => tokio::time::sleep(Duration::from_millis(100)).await,
            other => return other,
        }
    }
    command.spawn()
}

type Finished = (std::process::ExitStatus, Vec<u8>, Vec<u8>);

/// Feeds standard input and reads both outputs until the plugin has ended.
async fn talk(child: &mut Child, config: &[u8]) -> std::io::Result<Finished> {
    let (stdin, stdout, stderr) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
    let feed = async {
        if let Some(mut stdin) = stdin {
            // A plugin that does not read its configuration (EPIPE) is judged by what it prints.
            let _ = stdin.write_all(config).await;
        }
        Ok(())
    };
    let ((), stdout, stderr) = tokio::try_join!(feed, bounded(stdout), kept(stderr))?;
    Ok((child.wait().await?, stdout, stderr))
}

async fn bounded(pipe: Option<impl AsyncRead + Unpin>) -> std::io::Result<Vec<u8>> {
    let mut text = Vec::new();
    let Some(pipe) = pipe else { return Ok(text) };
    pipe.take(MAX_OUTPUT + 1).read_to_end(&mut text).await?;
    match text.len() as u64 > MAX_OUTPUT {
        true => Err(std::io::Error::other(format!("it printed more than {MAX_OUTPUT} bytes"))),
        false => Ok(text),
    }
}

async fn kept(pipe: Option<impl AsyncRead + Unpin>) -> std::io::Result<Vec<u8>> {
    let mut text = Vec::new();
    let Some(pipe) = pipe else { return Ok(text) };
    let mut pipe = pipe.take(MAX_STDERR);
    pipe.read_to_end(&mut text).await?;
    tokio::io::copy(&mut pipe.into_inner(), &mut tokio::io::sink()).await?;
    Ok(text)
}
