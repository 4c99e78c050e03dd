//! Containers of a pod, with their states, or of a template (describeContainers).

use k8s_openapi::api::core::v1::{Container, ContainerPort, ContainerState, ContainerStatus, EnvVar, Pod, Probe, ResourceRequirements};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use super::doc::Doc;
use super::{About, capital};
use crate::cli::tables::or_none;

/// `title` carries the indent of a template; `pod` resolves fieldRefs.
pub(super) fn section(
    doc: &mut Doc,
    title: &str,
    containers: &[Container],
    statuses: Option<&[ContainerStatus]>,
    pod: Option<&Pod>,
    about: &About,
) {
    let none = if containers.is_empty() { " <none>" } else { "" };
    doc.line(0, format!("{title}:{none}"));
    let indent = if title.starts_with(' ') { " " } else { "" };
    for container in containers {
        let status = statuses.unwrap_or_default().iter().find(|s| s.name == container.name);
        doc.line(1, format!("{indent}{}:", container.name));
        basics(doc, container, status);
        command(doc, "Command", container.command.as_deref());
        command(doc, "Args", container.args.as_deref());
        if let Some(status) = status {
            states(doc, status, about);
        }
        resources(doc, container.resources.as_ref());
        probe(doc, "Liveness", container.liveness_probe.as_ref());
        probe(doc, "Readiness", container.readiness_probe.as_ref());
        probe(doc, "Startup", container.startup_probe.as_ref());
        env_from(doc, container);
        env(doc, container, pod);
        mounts(doc, container);
    }
}

fn basics(doc: &mut Doc, container: &Container, status: Option<&ContainerStatus>) {
    if let Some(status) = status {
        doc.line(2, format!("Container ID:\t{}", status.container_id.as_deref().unwrap_or_default()));
    }
    doc.line(2, format!("Image:\t{}", container.image.as_deref().unwrap_or_default()));
    if let Some(status) = status {
        doc.line(2, format!("Image ID:\t{}", status.image_id));
    }
    ports(doc, "Port", container, |port| port.container_port);
    ports(doc, "Host Port", container, |port| port.host_port.unwrap_or(0));
    if let Some(profile) = container.security_context.as_ref().and_then(|c| c.seccomp_profile.as_ref()) {
        doc.line(2, format!("SeccompProfile:\t{}", profile.type_));
        if let Some(local) = &profile.localhost_profile {
            doc.line(3, format!("LocalhostProfile:\t{local}"));
        }
    }
}

fn ports(doc: &mut Doc, title: &str, container: &Container, number: impl Fn(&ContainerPort) -> i32) {
    let shown = |port: &ContainerPort| {
        let protocol = port.protocol.as_deref().unwrap_or("TCP");
        let name = port.name.as_deref().filter(|n| !n.is_empty()).map(|n| format!(" ({n})")).unwrap_or_default();
        format!("{}/{protocol}{name}", number(port))
    };
    let all: Vec<String> = container.ports.iter().flatten().map(shown).collect();
    let plural = if all.len() > 1 { "s" } else { "" };
    doc.line(2, format!("{title}{plural}:\t{}", or_none(all.join(", "))));
}

fn command(doc: &mut Doc, title: &str, words: Option<&[String]>) {
    let words = words.unwrap_or_default();
    if !words.is_empty() {
        doc.line(2, format!("{title}:"));
        words.iter().flat_map(|word| word.split('\n')).for_each(|line| doc.line(3, line));
    }
}

fn states(doc: &mut Doc, status: &ContainerStatus, about: &About) {
    state(doc, "State", status.state.as_ref(), about);
    if status.last_state.as_ref().is_some_and(|s| s.terminated.is_some()) {
        state(doc, "Last State", status.last_state.as_ref(), about);
    }
    doc.line(2, format!("Ready:\t{}", capital(status.ready)));
    doc.line(2, format!("Restart Count:\t{}", status.restart_count));
}

fn state(doc: &mut Doc, title: &str, state: Option<&ContainerState>, about: &About) {
    let state = state.cloned().unwrap_or_default();
    if let Some(running) = state.running {
        doc.line(2, format!("{title}:\tRunning"));
        doc.line(3, format!("Started:\t{}", running.started_at.map(|t| about.time(&t)).unwrap_or_default()));
    } else if let Some(ended) = state.terminated.filter(|_| state.waiting.is_none()) {
        doc.line(2, format!("{title}:\tTerminated"));
        let mut detail = |name: &str, value: Option<String>| {
            if let Some(value) = value.filter(|v| !v.is_empty()) {
                doc.line(3, format!("{name}:\t{value}"));
            }
        };
        detail("Reason", ended.reason);
        detail("Message", ended.message);
        detail("Exit Code", Some(ended.exit_code.to_string()));
        detail("Signal", ended.signal.filter(|s| *s > 0).map(|s| s.to_string()));
        detail("Started", ended.started_at.map(|t| about.time(&t)));
        detail("Finished", ended.finished_at.map(|t| about.time(&t)));
    } else {
        doc.line(2, format!("{title}:\tWaiting"));
        if let Some(reason) = state.waiting.and_then(|w| w.reason).filter(|r| !r.is_empty()) {
            doc.line(3, format!("Reason:\t{reason}"));
        }
    }
}

fn resources(doc: &mut Doc, resources: Option<&ResourceRequirements>) {
    let Some(resources) = resources else { return };
    for (title, list) in [("Limits", &resources.limits), ("Requests", &resources.requests)] {
        let list = list.iter().flatten().collect::<Vec<_>>();
        if !list.is_empty() {
            doc.line(2, format!("{title}:"));
            list.into_iter().for_each(|(name, quantity)| doc.line(3, format!("{name}:\t{}", quantity.0)));
        }
    }
}

fn probe(doc: &mut Doc, title: &str, probe: Option<&Probe>) {
    let Some(probe) = probe else { return };
    let port = |port: &IntOrString| match port {
        IntOrString::Int(number) => number.to_string(),
        IntOrString::String(name) => name.clone(),
    };
    let action = if let Some(exec) = &probe.exec {
        format!("exec [{}]", exec.command.clone().unwrap_or_default().join(" "))
    } else if let Some(get) = &probe.http_get {
        let scheme = get.scheme.as_deref().unwrap_or("HTTP").to_lowercase();
        let (host, path) = (get.host.as_deref().unwrap_or_default(), get.path.as_deref().unwrap_or_default());
        format!("http-get {scheme}://{host}:{}{path}", port(&get.port))
    } else if let Some(tcp) = &probe.tcp_socket {
        format!("tcp-socket {}:{}", tcp.host.as_deref().unwrap_or_default(), port(&tcp.port))
    } else if let Some(grpc) = &probe.grpc {
        format!("grpc <pod>:{} {}", grpc.port, grpc.service.as_deref().unwrap_or_default())
    } else {
        "unknown".to_owned()
    };
    doc.line(
        2,
        format!(
            "{title}:\t{action} delay={}s timeout={}s period={}s #success={} #failure={}",
            probe.initial_delay_seconds.unwrap_or(0),
            probe.timeout_seconds.unwrap_or(1),
            probe.period_seconds.unwrap_or(10),
            probe.success_threshold.unwrap_or(1),
            probe.failure_threshold.unwrap_or(3)
        ),
    );
}

fn env_from(doc: &mut Doc, container: &Container) {
    let sources = container.env_from.as_deref().unwrap_or_default();
    if !sources.is_empty() {
        doc.line(2, "Environment Variables from:");
    }
    for source in sources {
        let (from, name, optional) = match (&source.config_map_ref, &source.secret_ref) {
            (Some(map), _) => ("ConfigMap", map.name.clone(), map.optional),
            (None, Some(secret)) => ("Secret", secret.name.clone(), secret.optional),
            (None, None) => ("", String::new(), None),
        };
        let prefix = source.prefix.as_deref().filter(|p| !p.is_empty()).map(|p| format!(" with prefix '{p}'")).unwrap_or_default();
        doc.line(3, format!("{name}\t{from}{prefix}\tOptional: {}", optional.unwrap_or(false)));
    }
}

fn env(doc: &mut Doc, container: &Container, pod: Option<&Pod>) {
    let variables = container.env.as_deref().unwrap_or_default();
    doc.line(2, if variables.is_empty() { "Environment:\t<none>" } else { "Environment:" });
    for variable in variables {
        match value_from(variable, container, pod) {
            Some(text) => doc.line(3, format!("{}:\t{text}", variable.name)),
            None => {
                let value = variable.value.as_deref().unwrap_or_default();
                for (index, line) in value.split('\n').enumerate() {
                    let name = if index == 0 { format!("{}:", variable.name) } else { String::new() };
                    doc.line(3, format!("{name}\t{line}"));
                }
            }
        }
    }
}

fn value_from(variable: &EnvVar, container: &Container, pod: Option<&Pod>) -> Option<String> {
    let source = variable.value_from.as_ref()?;
    let set_to = |text: String, optional: Option<bool>| format!("<set to the key {text}>\tOptional: {}", optional.unwrap_or(false));
    if let Some(field) = &source.field_ref {
        let value = pod.and_then(|pod| field_value(pod, &field.field_path)).unwrap_or_default();
        return Some(format!("{value} ({}:{})", field.api_version.as_deref().unwrap_or("v1"), field.field_path));
    }
    if let Some(resource) = &source.resource_field_ref {
        let (list, name) = resource.resource.split_once('.')?;
        let own = container.resources.as_ref().and_then(|r| if list == "limits" { r.limits.as_ref() } else { r.requests.as_ref() });
        let value = own.and_then(|list| list.get(name)).map(|q| q.0.clone());
        let missing = if list == "limits" { "node allocatable" } else { "0" };
        return Some(format!("{} ({})", value.as_deref().unwrap_or(missing), resource.resource));
    }
    if let Some(key) = &source.secret_key_ref {
        return Some(set_to(format!("'{}' in secret '{}'", key.key, key.name), key.optional));
    }
    let key = source.config_map_key_ref.as_ref()?;
    Some(set_to(format!("'{}' of config map '{}'", key.key, key.name), key.optional))
}

/// The fields that fieldRef knows (SEMANTICS.md §12).
fn field_value(pod: &Pod, path: &str) -> Option<String> {
    let (meta, spec, status) = (&pod.metadata, pod.spec.as_ref(), pod.status.as_ref());
    if let Some((map, key)) = path.strip_suffix("']").and_then(|p| p.split_once("['")) {
        let map = if map == "metadata.labels" { meta.labels.as_ref() } else { meta.annotations.as_ref() };
        return map?.get(key).cloned();
    }
    match path {
        "metadata.name" => meta.name.clone(),
        "metadata.namespace" => meta.namespace.clone(),
        "metadata.uid" => meta.uid.clone(),
        "spec.nodeName" => spec?.node_name.clone(),
        "spec.serviceAccountName" => spec?.service_account_name.clone(),
        "status.hostIP" => status?.host_ip.clone(),
        "status.podIP" => status?.pod_ip.clone(),
        "status.podIPs" => Some(status?.pod_ips.iter().flatten().map(|ip| ip.ip.clone()).collect::<Vec<_>>().join(",")),
        "status.hostIPs" => Some(status?.host_ips.iter().flatten().map(|ip| ip.ip.clone()).collect::<Vec<_>>().join(",")),
        _ => None,
    }
}

fn mounts(doc: &mut Doc, container: &Container) {
    let mut mounts: Vec<_> = container.volume_mounts.iter().flatten().collect();
    mounts.sort_by(|a, b| a.mount_path.cmp(&b.mount_path));
    doc.line(2, if mounts.is_empty() { "Mounts:\t<none>" } else { "Mounts:" });
    for mount in mounts {
        let mode = if mount.read_only == Some(true) { "ro" } else { "rw" };
        let path = mount.sub_path.as_deref().filter(|p| !p.is_empty()).map(|p| format!(",path={p:?}")).unwrap_or_default();
        doc.line(3, format!("{} from {} ({mode}{path})", mount.mount_path, mount.name));
    }
}
