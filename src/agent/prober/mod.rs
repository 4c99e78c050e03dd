//! Runs one probe or one lifecycle hook, and says what came of it (pkg/kubelet/prober/prober.go, pkg/kubelet/lifecycle/handlers.go).
//!
//! Commands run in the container; everything else goes from the host's network namespace to the Pod's address, as the kubelet's does.
//! Guarantees: a probe ends within its timeout (a hook may take for ever: the caller bounds it). Decides nothing about the container.

use std::time::Duration;

use k8s_openapi::api::core::v1::{Container, ExecAction, LifecycleHandler, Probe};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use crate::oci;
use crate::pod::probes::timeout;
use crate::runtime::{ExecOnce, Runtime};

mod grpc;
mod http;
mod tcp;

/// A probe that cannot be run is tried this often (maxProbeRetries).
const TRIES: usize = 3;

/// What came of a probe.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It passed; with a word of warning.
    Passed(Option<String>),
    /// It failed, and with what output.
    Failed(String),
    /// It could not be run, which says nothing about the container.
    Errored(String),
}

/// What came of a hook that did not fail.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HookDone {
    /// It ran.
    Ran,
    /// Asked by HTTPS, the server (this host) answered in HTTP, and was asked by HTTP.
    FellBack(String),
}

/// The running container that is probed.
#[derive(Clone, Copy)]
pub struct Target<'a> {
    /// Runs the commands.
    pub runtime: &'a dyn Runtime,
    /// The container's id.
    pub id: &'a str,
    /// Its spec.
    pub container: &'a Container,
    /// The Pod's address, "" if it has none.
    pub pod_ip: &'a str,
}

/// Runs the probe once, or again if it could not be run.
pub async fn probe(target: Target<'_>, probe: &Probe) -> Outcome {
    let mut outcome = try_probe(target, probe).await;
    for _ in 1..TRIES {
        if !matches!(outcome, Outcome::Errored(_)) {
            break;
        }
        outcome = try_probe(target, probe).await;
    }
    outcome
}

async fn try_probe(target: Target<'_>, probe: &Probe) -> Outcome {
    let timeout = timeout(probe);
    if let Some(action) = &probe.exec {
        return exec(target, action, timeout).await;
    }
    let Some(port) = probe.http_get.as_ref().map(|a| &a.port).or(probe.tcp_socket.as_ref().map(|a| &a.port)) else {
        return match &probe.grpc {
            Some(action) => match u16::try_from(action.port) {
                Ok(port) => grpc::probe(&address(target.pod_ip, port), action.service.as_deref().unwrap_or_default(), timeout).await,
                Err(_) => Outcome::Errored(format!("invalid port number: {}", action.port)),
            },
            None => Outcome::Errored(format!("missing probe handler for {}", target.container.name)),
        };
    };
    let port = match resolve_port(port, target.container) {
        Ok(port) => port,
        Err(error) => return Outcome::Errored(error),
    };
    match (&probe.http_get, &probe.tcp_socket) {
        (Some(action), _) => http::probe(action, &address(host(action.host.as_ref(), target), port), timeout).await,
        (None, Some(action)) => tcp::probe(&address(host(action.host.as_ref(), target), port), timeout).await,
        (None, None) => Outcome::Errored(format!("missing probe handler for {}", target.container.name)),
    }
}

async fn exec(target: Target<'_>, action: &ExecAction, timeout: Duration) -> Outcome {
    let env = target.container.env.as_deref().unwrap_or_default();
    let command = oci::expand_static(action.command.as_deref().unwrap_or_default(), env);
    let exec = ExecOnce { command, timeout: Some(timeout) };
    match target.runtime.exec_once(target.id, &exec).await {
        Ok(done) => match done.code {
            Some(0) => Outcome::Passed(None),
            Some(_) => Outcome::Failed(String::from_utf8_lossy(&done.output).into_owned()),
            None => Outcome::Failed(format!("command timed out: {:?} timed out after {}s", exec.command.join(" "), timeout.as_secs())),
        },
        Err(error) => Outcome::Errored(error.to_string()),
    }
}

/// Runs a hook to its end. Errors: in words for the log; they may hold what the container wrote.
pub async fn hook(target: Target<'_>, handler: &LifecycleHandler) -> Result<HookDone, String> {
    if let Some(action) = &handler.exec {
        let exec = ExecOnce { command: action.command.clone().unwrap_or_default(), timeout: None };
        let done = target.runtime.exec_once(target.id, &exec).await.map_err(|e| e.to_string())?;
        return match done.code {
            Some(0) => Ok(HookDone::Ran),
            Some(code) => Err(format!("command terminated with exit code {code}")),
            None => Err("the command was killed".to_owned()),
        };
    }
    if let Some(action) = &handler.http_get {
        let port = resolve_port(&action.port, target.container)?;
        return http::hook(action, &address(host(action.host.as_ref(), target), port)).await;
    }
    if let Some(action) = &handler.sleep {
        tokio::time::sleep(Duration::from_secs(u64::try_from(action.seconds).unwrap_or(0))).await;
        return Ok(HookDone::Ran);
    }
    // The kubelet has never run tcpSocket hooks, and neither do we: they fail.
    Err("Cannot run handler: invalid handler".to_owned())
}

fn host<'a>(own: Option<&'a String>, target: Target<'a>) -> &'a str {
    own.map(String::as_str).filter(|h| !h.is_empty()).unwrap_or(target.pod_ip)
}

/// `host:port`, with brackets where the host is an IPv6 address (net.JoinHostPort).
fn address(host: &str, port: u16) -> String {
    if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
}

/// A port by number, by name, or by a number written as a text (pkg/probe/util.go, ResolveContainerPort).
fn resolve_port(port: &IntOrString, container: &Container) -> Result<u16, String> {
    let number = match port {
        IntOrString::Int(number) => *number,
        IntOrString::String(name) => {
            let named = container.ports.iter().flatten().find(|p| p.name.as_ref() == Some(name)).map(|p| p.container_port);
            match named {
                Some(number) => number,
                None => name.parse().map_err(|_| format!("strconv.Atoi: parsing {name:?}: invalid syntax"))?,
            }
        }
    };
    u16::try_from(number).ok().filter(|n| *n > 0).ok_or_else(|| format!("invalid port number: {number}"))
}

/// What Go says of a connection that could not be made.
fn dial_error(address: &str, error: &std::io::Error) -> String {
    use std::io::ErrorKind;
    let words = match error.kind() {
        ErrorKind::ConnectionRefused => "connect: connection refused".to_owned(),
        ErrorKind::HostUnreachable => "connect: no route to host".to_owned(),
        ErrorKind::NetworkUnreachable => "connect: network is unreachable".to_owned(),
        ErrorKind::TimedOut => "i/o timeout".to_owned(),
        _ => error.to_string(),
    };
    format!("dial tcp {address}: {words}")
}

#[cfg(test)]
mod tests;
