//! Probes and lifecycle hooks: exactly one handler, sane numbers (validateProbe, validateHandler, validateLifecycle).

use k8s_openapi::api::core::v1::{Container, ExecAction, HTTPGetAction, Lifecycle, Probe, SleepAction, TCPSocketAction};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use super::field::{Faults, Path};
use super::format;
use super::stop_signal::stop_signal;

/// A handler of a probe or of a hook: what of its five kinds is set.
#[derive(Default)]
struct Handler<'a> {
    exec: Option<&'a ExecAction>,
    http_get: Option<&'a HTTPGetAction>,
    tcp_socket: Option<&'a TCPSocketAction>,
    grpc_port: Option<i32>,
    sleep: Option<&'a SleepAction>,
}

/// The hooks and probes of a container that may have them. `grace`: the pod's, in seconds; `os`: its spec.os.name.
pub(super) fn of_container(container: &Container, grace: Option<i64>, os: Option<&str>, path: &Path, faults: &mut Faults) {
    if let Some(signal) = container.lifecycle.as_ref().and_then(|l| l.stop_signal.as_deref()) {
        stop_signal(signal, os, &path.child("lifecycle").child("stopSignal"), faults);
    }
    if let Some(hooks) = &container.lifecycle {
        lifecycle(hooks, grace, &path.child("lifecycle"), faults);
    }
    for (name, probe) in [("livenessProbe", &container.liveness_probe), ("startupProbe", &container.startup_probe)] {
        let (Some(probe), path) = (probe, path.child(name)) else { continue };
        self::probe(probe, &path, faults);
        if probe.success_threshold != Some(1) {
            faults.invalid(&path.child("successThreshold"), probe.success_threshold.unwrap_or(0), "must be 1");
        }
    }
    if let Some(probe) = &container.readiness_probe {
        let path = path.child("readinessProbe");
        self::probe(probe, &path, faults);
        if let Some(grace) = probe.termination_grace_period_seconds {
            faults.invalid(&path.child("terminationGracePeriodSeconds"), grace, "must not be set for readinessProbes");
        }
    }
}

/// What an init container that runs to completion must not have.
pub(super) fn forbidden_in_init(container: &Container, path: &Path, faults: &mut Faults) {
    let fields = [
        ("lifecycle", container.lifecycle.is_some()),
        ("livenessProbe", container.liveness_probe.is_some()),
        ("readinessProbe", container.readiness_probe.is_some()),
        ("startupProbe", container.startup_probe.is_some()),
    ];
    for (name, _) in fields.into_iter().filter(|(_, set)| *set) {
        faults.forbidden(&path.child(name), "may not be set for init containers without restartPolicy=Always");
    }
}

fn probe(probe: &Probe, path: &Path, faults: &mut Faults) {
    let handler = Handler {
        exec: probe.exec.as_ref(),
        http_get: probe.http_get.as_ref(),
        tcp_socket: probe.tcp_socket.as_ref(),
        grpc_port: probe.grpc.as_ref().map(|g| g.port),
        sleep: None,
    };
    self::handler(&handler, None, path, faults);
    let numbers = [
        ("initialDelaySeconds", probe.initial_delay_seconds),
        ("timeoutSeconds", probe.timeout_seconds),
        ("periodSeconds", probe.period_seconds),
        ("successThreshold", probe.success_threshold),
        ("failureThreshold", probe.failure_threshold),
    ];
    for (name, number) in numbers {
        faults.non_negative(&path.child(name), number);
    }
    if let Some(grace) = probe.termination_grace_period_seconds.filter(|g| *g <= 0) {
        faults.invalid(&path.child("terminationGracePeriodSeconds"), grace, "must be greater than 0");
    }
}

fn lifecycle(lifecycle: &Lifecycle, grace: Option<i64>, path: &Path, faults: &mut Faults) {
    for (name, hook) in [("postStart", &lifecycle.post_start), ("preStop", &lifecycle.pre_stop)] {
        let Some(hook) = hook else { continue };
        let handler = Handler {
            exec: hook.exec.as_ref(),
            http_get: hook.http_get.as_ref(),
            tcp_socket: hook.tcp_socket.as_ref(),
            sleep: hook.sleep.as_ref(),
            grpc_port: None,
        };
        self::handler(&handler, grace, &path.child(name), faults);
    }
}

/// validateHandler: the first kind counts, every further one is forbidden, none is required.
fn handler(handler: &Handler<'_>, grace: Option<i64>, path: &Path, faults: &mut Faults) {
    let kinds = [
        ("exec", handler.exec.is_some()),
        ("httpGet", handler.http_get.is_some()),
        ("tcpSocket", handler.tcp_socket.is_some()),
        ("grpc", handler.grpc_port.is_some()),
        ("sleep", handler.sleep.is_some()),
    ];
    let mut set = kinds.into_iter().filter(|(_, set)| *set).map(|(name, _)| name);
    let Some(first) = set.next() else { return faults.required(path, "must specify a handler type") };
    let at = path.child(first);
    match (first, handler) {
        ("exec", Handler { exec: Some(action), .. }) if action.command.as_deref().unwrap_or_default().is_empty() => {
            faults.required(&at.child("command"), "")
        }
        ("httpGet", Handler { http_get: Some(action), .. }) => http_get(action, &at, faults),
        ("tcpSocket", Handler { tcp_socket: Some(action), .. }) => port(&action.port, &at.child("port"), faults),
        ("grpc", Handler { grpc_port: Some(number), .. }) => port(&IntOrString::Int(*number), &at.child("port"), faults),
        ("sleep", Handler { sleep: Some(action), .. }) => sleep(action, grace, &at, faults),
        _ => {}
    }
    for name in set {
        faults.forbidden(&path.child(name), "may not specify more than 1 handler type");
    }
}

fn http_get(action: &HTTPGetAction, path: &Path, faults: &mut Faults) {
    if action.path.as_deref().unwrap_or_default().is_empty() {
        faults.required(&path.child("path"), "");
    }
    port(&action.port, &path.child("port"), faults);
    let scheme = action.scheme.as_deref().unwrap_or_default();
    if !["HTTP", "HTTPS"].contains(&scheme) {
        faults.not_supported(&path.child("scheme"), scheme, &["HTTP", "HTTPS"]);
    }
    for header in action.http_headers.iter().flatten() {
        faults.invalid_each(&path.child("httpHeaders"), &header.name, format::http_header(&header.name));
    }
}

/// ValidatePortNumOrName.
fn port(port: &IntOrString, path: &Path, faults: &mut Faults) {
    match port {
        IntOrString::Int(number) => format::port_number(*number).iter().for_each(|m| faults.invalid(path, *number, m)),
        IntOrString::String(name) => faults.invalid_each(path, name, format::port_name(name)),
    }
}

fn sleep(action: &SleepAction, grace: Option<i64>, path: &Path, faults: &mut Faults) {
    if let Some(grace) = grace.filter(|grace| !(0..=*grace).contains(&action.seconds)) {
        faults.invalid(path, action.seconds, &format!("must be non-negative and less than terminationGracePeriodSeconds ({grace})"));
    }
}
