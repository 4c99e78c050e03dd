//! Pods (describePod) and pod templates (DescribePodTemplate).

use k8s_openapi::api::core::v1::{Pod, PodTemplateSpec, Toleration};

use super::doc::Doc;
use super::{About, annotations, column, container, controlled_by, names, pairs, volume};
use crate::cli::duration::since;

pub(super) fn describe(doc: &mut Doc, pod: &Pod, about: &About) {
    let spec = pod.spec.clone().unwrap_or_default();
    let status = pod.status.clone().unwrap_or_default();
    names(doc, &pod.metadata);
    if let Some(priority) = spec.priority {
        doc.line(0, format!("Priority:\t{priority}"));
    }
    optional(doc, "Priority Class Name", spec.priority_class_name.as_ref());
    optional(doc, "Runtime Class Name", spec.runtime_class_name.as_ref());
    optional(doc, "Service Account", spec.service_account_name.as_ref());
    match spec.node_name.as_deref().unwrap_or_default() {
        "" => doc.line(0, "Node:\t<none>"),
        node => doc.line(0, format!("Node:\t{node}/{}", status.host_ip.clone().unwrap_or_default())),
    }
    if let Some(start) = &status.start_time {
        doc.line(0, format!("Start Time:\t{}", about.time(start)));
    }
    pairs(doc, "Labels", pod.metadata.labels.as_ref());
    annotations(doc, &pod.metadata);
    state(doc, pod, about);
    controlled_by(doc, &pod.metadata);
    optional(doc, "NominatedNodeName", status.nominated_node_name.as_ref());
    if let Some(inits) = &spec.init_containers {
        container::section(doc, "Init Containers", inits, status.init_container_statuses.as_deref(), Some(pod), about);
    }
    container::section(doc, "Containers", &spec.containers, status.container_statuses.as_deref(), Some(pod), about);
    conditions(doc, pod);
    volume::section(doc, spec.volumes.as_deref().unwrap_or_default(), "");
    doc.line(0, format!("QoS Class:\t{}", status.qos_class.unwrap_or_default()));
    pairs(doc, "Node-Selectors", spec.node_selector.as_ref());
    tolerations(doc, "Tolerations", spec.tolerations.as_deref().unwrap_or_default());
}

fn optional(doc: &mut Doc, title: &str, value: Option<&String>) {
    if let Some(value) = value.filter(|v| !v.is_empty()) {
        doc.line(0, format!("{title}:\t{value}"));
    }
}

/// Status, reason, message and addresses.
fn state(doc: &mut Doc, pod: &Pod, about: &About) {
    let status = pod.status.clone().unwrap_or_default();
    let phase = status.phase.unwrap_or_default();
    match &pod.metadata.deletion_timestamp {
        Some(deleted) if !matches!(phase.as_str(), "Failed" | "Succeeded") => {
            doc.line(0, format!("Status:\tTerminating (lasts {})", since(Some(deleted), about.now)));
            let grace = pod.metadata.deletion_grace_period_seconds.unwrap_or(0);
            doc.line(0, format!("Termination Grace Period:\t{grace}s"));
        }
        _ => doc.line(0, format!("Status:\t{phase}")),
    }
    optional(doc, "Reason", status.reason.as_ref());
    optional(doc, "Message", status.message.as_ref());
    if let Some(profile) = pod.spec.as_ref().and_then(|s| s.security_context.as_ref()).and_then(|c| c.seccomp_profile.as_ref()) {
        doc.line(0, format!("SeccompProfile:\t{}", profile.type_));
        optional(doc, "LocalhostProfile", profile.localhost_profile.as_ref());
    }
    doc.line(0, format!("IP:\t{}", status.pod_ip.unwrap_or_default()));
    match status.pod_ips.unwrap_or_default().as_slice() {
        [] => doc.line(0, "IPs:\t<none>"),
        ips => {
            doc.line(0, "IPs:");
            ips.iter().for_each(|ip| doc.line(1, format!("IP:\t{}", ip.ip)));
        }
    }
}

fn conditions(doc: &mut Doc, pod: &Pod) {
    let conditions = pod.status.as_ref().and_then(|s| s.conditions.as_deref()).unwrap_or_default();
    if conditions.is_empty() {
        return;
    }
    doc.line(0, "Conditions:");
    doc.line(1, "Type\tStatus");
    for condition in conditions {
        doc.line(1, format!("{} \t{} ", condition.type_, condition.status));
    }
}

/// The template of a workload's pods.
pub(super) fn template(doc: &mut Doc, template: &PodTemplateSpec, about: &About) {
    let meta = template.metadata.clone().unwrap_or_default();
    let spec = template.spec.clone().unwrap_or_default();
    doc.line(0, "Pod Template:");
    pairs(doc, "  Labels", meta.labels.as_ref());
    if meta.annotations.as_ref().is_some_and(|a| !a.is_empty()) {
        let lines = meta.annotations.iter().flatten().map(|(key, value)| format!("{key}: {}", value.trim_end())).collect();
        column(doc, "  Annotations", lines);
    }
    if let Some(account) = spec.service_account_name.filter(|a| !a.is_empty()) {
        doc.line(1, format!("Service Account:\t{account}"));
    }
    if let Some(inits) = &spec.init_containers {
        container::section(doc, "  Init Containers", inits, None, None, about);
    }
    container::section(doc, "  Containers", &spec.containers, None, None, about);
    volume::section(doc, spec.volumes.as_deref().unwrap_or_default(), "  ");
    if let Some(class) = spec.priority_class_name.filter(|c| !c.is_empty()) {
        doc.line(1, format!("Priority Class Name:\t{class}"));
    }
    pairs(doc, "  Node-Selectors", spec.node_selector.as_ref());
    tolerations(doc, "  Tolerations", spec.tolerations.as_deref().unwrap_or_default());
}

/// One a line, sorted by key: `key=value:Effect op=Exists for 300s`.
fn tolerations(doc: &mut Doc, title: &str, tolerations: &[Toleration]) {
    let mut sorted: Vec<&Toleration> = tolerations.iter().collect();
    sorted.sort_by_key(|t| t.key.clone().unwrap_or_default());
    column(doc, title, sorted.into_iter().map(toleration).collect());
}

fn toleration(toleration: &Toleration) -> String {
    let text = |part: &Option<String>| part.clone().unwrap_or_default();
    let (value, effect) = (text(&toleration.value), text(&toleration.effect));
    let mut line = text(&toleration.key);
    if !value.is_empty() {
        line.push_str(&format!("={value}"));
    }
    if !effect.is_empty() {
        line.push_str(&format!(":{effect}"));
    }
    if toleration.operator.as_deref() == Some("Exists") && value.is_empty() {
        line.push_str(if line.is_empty() { "op=Exists" } else { " op=Exists" });
    }
    if let Some(seconds) = toleration.toleration_seconds {
        line.push_str(&format!(" for {seconds}s"));
    }
    line
}
