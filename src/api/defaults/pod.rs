//! Defaults of a pod's spec: `SetDefaults_{Pod,PodSpec,Container,Probe,Volume,…}` in `pkg/apis/core/v1/defaults.go`.

use k8s_openapi::api::core::v1::{
    Container, EnvVarSource, HTTPGetAction, Lifecycle, ObjectFieldSelector, PodSpec, Probe, ProjectedVolumeSource, Volume, VolumeProjection,
};

use super::{pod_resources, set, set_text};
use crate::api::quantity::{self, ResourceList};

/// The permissions of files in configuration volumes.
const FILE_MODE: i32 = 0o644;

/// Fills in the defaults of a pod's spec.
pub(super) fn spec(spec: &mut PodSpec) {
    set_text(&mut spec.restart_policy, "Always");
    set_text(&mut spec.dns_policy, "ClusterFirst");
    // A Pod's grace below zero is a second (Convert_v1_Pod_To_core_Pod).
    let grace = spec.termination_grace_period_seconds.unwrap_or(30);
    spec.termination_grace_period_seconds = Some(if grace < 0 { 1 } else { grace });
    spec.security_context.get_or_insert_default();
    set_text(&mut spec.scheduler_name, "default-scheduler");
    set(&mut spec.enable_service_links, true);
    // The deprecated alias and its successor are kept equal (conversion.go); the new name wins.
    if let Some(old) = &spec.service_account {
        set_text(&mut spec.service_account_name, old);
    }
    let host_network = spec.host_network == Some(true);
    for c in spec.containers.iter_mut().chain(spec.init_containers.iter_mut().flatten()) {
        container(c, host_network);
    }
    pod_resources::apply(spec);
    spec.overhead.iter_mut().for_each(round_up);
    spec.volumes.iter_mut().flatten().for_each(volume);
}

fn container(c: &mut Container, host_network: bool) {
    let policy = if is_latest(c.image.as_deref().unwrap_or_default()) { "Always" } else { "IfNotPresent" };
    set_text(&mut c.image_pull_policy, policy);
    set_text(&mut c.termination_message_path, "/dev/termination-log");
    set_text(&mut c.termination_message_policy, "File");
    for port in c.ports.iter_mut().flatten() {
        set_text(&mut port.protocol, "TCP");
        if host_network && port.host_port.unwrap_or(0) == 0 {
            port.host_port = Some(port.container_port);
        }
    }
    for source in c.env.iter_mut().flatten().filter_map(|e| e.value_from.as_mut()) {
        env_source(source);
    }
    for probe in [&mut c.liveness_probe, &mut c.readiness_probe, &mut c.startup_probe].into_iter().flatten() {
        self::probe(probe);
    }
    c.lifecycle.iter_mut().for_each(lifecycle);
    resources(c);
}

/// Whether the image's tag is `latest`, written or implied (`pkg/util/parsers` ParseImageName). A digest without a tag is not.
pub(super) fn is_latest(image: &str) -> bool {
    let (name, digest) = image.split_once('@').map_or((image, None), |(name, digest)| (name, Some(digest)));
    let last = name.rsplit('/').next().unwrap_or_default();
    match last.split_once(':') {
        Some((_, tag)) => tag == "latest",
        None => digest.is_none() && !image.is_empty(),
    }
}

fn env_source(source: &mut EnvVarSource) {
    source.field_ref.iter_mut().for_each(field_selector);
    if let Some(file) = &mut source.file_key_ref {
        set(&mut file.optional, false);
    }
}

fn field_selector(selector: &mut ObjectFieldSelector) {
    set_text(&mut selector.api_version, "v1");
}

fn probe(probe: &mut Probe) {
    for (field, value) in [
        (&mut probe.timeout_seconds, 1),
        (&mut probe.period_seconds, 10),
        (&mut probe.success_threshold, 1),
        (&mut probe.failure_threshold, 3),
    ] {
        if field.unwrap_or(0) == 0 {
            *field = Some(value);
        }
    }
    probe.http_get.iter_mut().for_each(http_get);
    if let Some(grpc) = &mut probe.grpc {
        set(&mut grpc.service, String::new());
    }
}

fn http_get(action: &mut HTTPGetAction) {
    set_text(&mut action.path, "/");
    set_text(&mut action.scheme, "HTTP");
}

fn lifecycle(lifecycle: &mut Lifecycle) {
    for handler in [&mut lifecycle.post_start, &mut lifecycle.pre_stop].into_iter().flatten() {
        handler.http_get.iter_mut().for_each(http_get);
    }
}

/// A limit without a request is the request too; finer than a thousandth is rounded up.
fn resources(c: &mut Container) {
    let Some(resources) = &mut c.resources else { return };
    for list in [&mut resources.limits, &mut resources.requests].into_iter().flatten() {
        round_up(list);
    }
    let Some(limits) = resources.limits.as_ref().filter(|l| !l.is_empty()) else { return };
    let requests = resources.requests.get_or_insert_default();
    for (name, limit) in limits {
        requests.entry(name.clone()).or_insert_with(|| limit.clone());
    }
}

/// Rounds up what is finer than a thousandth (`SetDefaults_ResourceList`). What does not parse stays for validation.
pub(super) fn round_up(list: &mut ResourceList) {
    for text in list.values_mut() {
        if let Ok(quantity) = quantity::parse(&text.0)
            && quantity.round_up_to_milli() != quantity
        {
            text.0 = quantity.round_up_to_milli().to_string();
        }
    }
}

fn volume(volume: &mut Volume) {
    if has_no_source(volume) {
        volume.empty_dir.get_or_insert_default();
    }
    if let Some(source) = &mut volume.host_path {
        set(&mut source.type_, String::new());
    }
    if let Some(source) = &mut volume.config_map {
        set(&mut source.default_mode, FILE_MODE);
    }
    if let Some(source) = &mut volume.secret {
        set(&mut source.default_mode, FILE_MODE);
    }
    if let Some(source) = &mut volume.downward_api {
        set(&mut source.default_mode, FILE_MODE);
        source.items.iter_mut().flatten().filter_map(|f| f.field_ref.as_mut()).for_each(field_selector);
    }
    volume.projected.iter_mut().for_each(projected);
    if let Some(source) = &mut volume.image {
        let policy = if is_latest(source.reference.as_deref().unwrap_or_default()) { "Always" } else { "IfNotPresent" };
        set_text(&mut source.pull_policy, policy);
    }
    if let Some(spec) = volume.ephemeral.as_mut().and_then(|e| e.volume_claim_template.as_mut()) {
        set_text(&mut spec.spec.volume_mode, "Filesystem");
    }
}

fn projected(source: &mut ProjectedVolumeSource) {
    set(&mut source.default_mode, FILE_MODE);
    for VolumeProjection { downward_api, service_account_token, .. } in source.sources.iter_mut().flatten() {
        let files = downward_api.iter_mut().flat_map(|d| d.items.iter_mut().flatten());
        files.filter_map(|f| f.field_ref.as_mut()).for_each(field_selector);
        if let Some(token) = service_account_token {
            set(&mut token.expiration_seconds, 3600);
        }
    }
}

/// Whether only the volume's name is set: compared with a volume of that name, so that no future source is forgotten.
fn has_no_source(volume: &Volume) -> bool {
    *volume == Volume { name: volume.name.clone(), ..Volume::default() }
}
