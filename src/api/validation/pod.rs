//! A pod's spec, in a Pod or in a template (ValidatePodSpec, ValidatePodTemplateSpec, ValidatePodCreate).

use k8s_openapi::api::core::v1::{Pod, PodSpec, PodTemplateSpec};

use super::field::{Faults, Path};
use super::{annotations, container, format, metadata, network, pod_resources, scheduling, security, spread, volumes};

/// A Pod from a file.
pub(super) fn pod(pod: &Pod, faults: &mut Faults) {
    metadata::object_meta(&pod.metadata, true, faults);
    let path = Path::new("spec");
    let none = PodSpec::default();
    let spec = pod.spec.as_ref().unwrap_or(&none);
    annotations::of_pod(&pod.metadata, spec, &Path::new("metadata").child("annotations"), faults);
    self::spec(spec, pod.metadata.name.as_deref().unwrap_or_default(), &path, faults);
    annotations::agree(&pod.metadata, spec, &path, faults);
    for (i, volume) in spec.volumes.iter().flatten().enumerate() {
        if volume.image.as_ref().is_some_and(|s| s.reference.as_deref().unwrap_or_default().is_empty()) {
            faults.required(&path.child("volumes").index(i).child("image").child("reference"), "");
        }
    }
    for (name, containers) in [("containers", Some(&spec.containers)), ("initContainers", spec.init_containers.as_ref())] {
        for (i, container) in containers.into_iter().flatten().enumerate() {
            let image = container.image.as_deref().unwrap_or_default();
            if image.trim() != image {
                faults.invalid(&path.child(name).index(i).child("image"), image, "must not have leading or trailing whitespace");
            }
        }
    }
    if spec.ephemeral_containers.as_ref().is_some_and(|c| !c.is_empty()) {
        faults.forbidden(&path.child("ephemeralContainers"), "cannot be set on create");
    }
    let gated = spec.scheduling_gates.as_ref().is_some_and(|g| !g.is_empty());
    if gated && spec.node_name.as_ref().is_some_and(|n| !n.is_empty()) {
        faults.forbidden(&path.child("nodeName"), "cannot be set until all schedulingGates have been cleared");
    }
}

/// A pod template. Kubernetes leaves `metadata` out of the paths of its labels and annotations.
pub(super) fn template(template: &PodTemplateSpec, path: &Path, faults: &mut Faults) {
    if let Some(meta) = &template.metadata {
        metadata::labels(meta.labels.as_ref(), &path.child("labels"), faults);
        metadata::annotations(meta.annotations.as_ref(), &path.child("annotations"), faults);
    }
    let none = PodSpec::default();
    let spec = template.spec.as_ref();
    if let Some(meta) = &template.metadata {
        annotations::of_pod(meta, spec.unwrap_or(&none), &path.child("annotations"), faults);
        annotations::agree(meta, spec.unwrap_or(&none), &path.child("spec"), faults);
    }
    match spec {
        Some(spec) => self::spec(spec, "", &path.child("spec"), faults),
        // Without defaults the other required fields would be reported missing too; the containers are what the user forgot.
        None => faults.required(&path.child("spec").child("containers"), ""),
    }
    if spec.unwrap_or(&none).ephemeral_containers.as_ref().is_some_and(|c| !c.is_empty()) {
        faults.forbidden(&path.child("spec").child("ephemeralContainers"), "ephemeral containers not allowed in pod template");
    }
}

/// What is true of every pod spec (ValidatePodSpec). `name`: the pod's, "" for a template.
fn spec(spec: &PodSpec, name: &str, path: &Path, faults: &mut Faults) {
    let pod = container::Pod {
        volumes: volumes::volumes(spec.volumes.as_deref().unwrap_or_default(), name, &path.child("volumes"), faults),
        claims: spec.resource_claims.iter().flatten().map(|c| c.name.as_str()).collect(),
        grace: spec.termination_grace_period_seconds,
        restart_policy: spec.restart_policy.as_deref().unwrap_or_default(),
        os: spec.os.as_ref().map(|os| os.name.as_str()),
        host_users: spec.host_users != Some(false),
    };
    pod_resources::claims(spec.resource_claims.as_deref().unwrap_or_default(), &path.child("resourceClaims"), faults);
    container::regular(&spec.containers, &pod, &path.child("containers"), faults);
    container::init(spec.init_containers.as_deref().unwrap_or_default(), &spec.containers, &pod, &path.child("initContainers"), faults);
    policies(spec, path, faults);
    network::of_pod(spec, path, faults);
    names(spec, path, faults);
    placement(spec, path, faults);
    if let Some(context) = &spec.security_context {
        security::pod(context, spec, &path.child("securityContext"), faults);
    }
    pod_resources::of_pod(spec, path, faults);
}

fn policies(spec: &PodSpec, path: &Path, faults: &mut Faults) {
    if spec.termination_grace_period_seconds.is_none() {
        faults.required(&path.child("terminationGracePeriodSeconds"), "");
    }
    faults.one_of(&path.child("restartPolicy"), spec.restart_policy.as_deref(), &["Always", "OnFailure", "Never"]);
    let deadline = spec.active_deadline_seconds.filter(|d| !(1..=i64::from(i32::MAX)).contains(d));
    if let Some(deadline) = deadline {
        faults.invalid(&path.child("activeDeadlineSeconds"), deadline, &format::range(1, i64::from(i32::MAX)));
    }
    if let Some(policy) = spec.preemption_policy.as_deref() {
        faults.one_of(&path.child("preemptionPolicy"), Some(policy), &["PreemptLowerPriority", "Never"]);
    }
    if let Some(os) = &spec.os {
        match os.name.as_str() {
            "" => faults.required(&path.child("os").child("name"), "cannot be empty"),
            "linux" => security::linux(spec, path, faults),
            "windows" => {}
            other => faults.not_supported(&path.child("os"), other, &["linux", "windows"]),
        }
    }
    if spec.host_users == Some(false) {
        for (name, host) in [("hostNetwork", spec.host_network), ("HostPID", spec.host_pid), ("HostIPC", spec.host_ipc)] {
            if host == Some(true) {
                faults.forbidden(&path.child(name), "when `pod.Spec.HostUsers` is false");
            }
        }
    }
}

/// Names of other things, each in the form of that thing's names.
fn names(spec: &PodSpec, path: &Path, faults: &mut Faults) {
    type Rule = fn(&str) -> Vec<String>;
    let rules: [(&str, &Option<String>, Rule); 6] = [
        ("serviceAccountName", &spec.service_account_name, format::dns_subdomain),
        ("nodeName", &spec.node_name, format::dns_subdomain),
        ("hostname", &spec.hostname, format::dns_label),
        ("hostnameOverride", &spec.hostname_override, format::dns_subdomain),
        ("subdomain", &spec.subdomain, format::dns_label),
        ("priorityClassName", &spec.priority_class_name, format::dns_subdomain),
    ];
    for (name, value, rule) in rules {
        if let Some(value) = value.as_deref().filter(|v| !v.is_empty()) {
            faults.invalid_each(&path.child(name), value, rule(value));
        }
    }
    // Only here is an empty text not as good as none.
    if let Some(name) = &spec.runtime_class_name {
        faults.invalid_each(&path.child("runtimeClassName"), name, format::dns_subdomain(name));
    }
    if let Some(name) = spec.hostname_override.as_deref().filter(|n| !n.is_empty()) {
        hostname_override(name, spec, path, faults);
    }
    let gates = spec.scheduling_gates.as_deref().unwrap_or_default();
    for (i, gate) in gates.iter().enumerate() {
        let at = path.child("schedulingGates").index(i);
        metadata::label_key(&gate.name, &at, faults);
        if gates[..i].contains(gate) {
            faults.duplicate(&at, gate.name.as_str());
        }
    }
    for (i, gate) in spec.readiness_gates.iter().flatten().enumerate() {
        metadata::label_key(&gate.condition_type, &path.child("readinessGates").index(i).child("conditionType"), faults);
    }
}

/// validateHostnameOverride: as long as the kernel allows, and against nothing else that names the pod.
fn hostname_override(name: &str, spec: &PodSpec, path: &Path, faults: &mut Faults) {
    let at = path.child("hostnameOverride");
    if name.len() > 64 {
        faults.invalid(&at, name, "must be no more than 64 characters");
    }
    for (field, set) in [("hostNetwork", spec.host_network), ("setHostnameAsFQDN", spec.set_hostname_as_fqdn)] {
        if set == Some(true) {
            faults.forbidden(&at, &format!("may not be set when `{field}` is true"));
        }
    }
}

fn placement(spec: &PodSpec, path: &Path, faults: &mut Faults) {
    metadata::labels(spec.node_selector.as_ref(), &path.child("nodeSelector"), faults);
    if let Some(affinity) = &spec.affinity {
        scheduling::affinity(affinity, &path.child("affinity"), faults);
    }
    scheduling::tolerations(spec.tolerations.as_deref().unwrap_or_default(), &path.child("tolerations"), faults);
    let constraints = spec.topology_spread_constraints.as_deref().unwrap_or_default();
    spread::constraints(constraints, &path.child("topologySpreadConstraints"), faults);
}
