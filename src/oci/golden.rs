//! The specs of the three example manifests and of a pod with a user namespace of its own, whole, against the JSON files in golden/. `MINIK8S_GOLDEN=write` writes them anew.

use std::path::PathBuf;

use k8s_openapi::api::core::v1::PodTemplateSpec;
use serde_json::Value;

use super::testing::Case;

/// The pod template of a workload's manifest.
fn template(manifest: &str) -> PodTemplateSpec {
    let value: Value = serde_saphyr::from_str(manifest).unwrap();
    let template = value.pointer("/spec/jobTemplate/spec/template").or_else(|| value.pointer("/spec/template"));
    serde_json::from_value(template.unwrap().clone()).unwrap()
}

fn case(manifest: &str, image_config: &str) -> Case {
    let template = template(manifest);
    let mut case = Case::new("{}").image(image_config);
    let labels = template.metadata.and_then(|m| m.labels);
    (case.pod.spec, case.pod.metadata.labels) = (template.spec, labels);
    let hosts = case
        .pod
        .spec
        .iter()
        .flat_map(|s| s.volumes.iter().flatten())
        .filter_map(|v| Some((v.name.clone(), v.host_path.clone()?.path.into())));
    case.files.volumes = hosts.collect();
    case
}

/// Sets have no order in memory; give them one.
fn ordered(mut spec: Value) -> Value {
    for set in ["bounding", "effective", "permitted"] {
        if let Some(list) = spec.pointer_mut(&format!("/process/capabilities/{set}")).and_then(Value::as_array_mut) {
            list.sort_by_key(|v| v.as_str().map(str::to_owned));
        }
    }
    if let Some(Value::Object(map)) = spec.get_mut("annotations") {
        map.sort_keys();
    }
    spec
}

fn check(name: &str, manifest: &str, image_config: &str) {
    check_case(name, &case(manifest, image_config));
}

fn check_case(name: &str, case: &Case) {
    let spec = ordered(serde_json::to_value(case.build()).unwrap());
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(format!("src/oci/golden/{name}.json"));
    let shown = format!("{}\n", serde_json::to_string_pretty(&spec).unwrap());
    if std::env::var("MINIK8S_GOLDEN").is_ok_and(|v| v == "write") {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, &shown).unwrap();
    }
    let golden = std::fs::read_to_string(&path).unwrap_or_default();
    for (line, (got, expected)) in shown.lines().zip(golden.lines()).enumerate() {
        assert_eq!(got, expected, "{name}.json:{}", line + 1);
    }
    assert_eq!(shown.lines().count(), golden.lines().count());
}

#[test]
fn daemonset_fluentd() {
    check(
        "fluentd-elasticsearch",
        include_str!("../../examples/daemonset-fluentd-elasticsearch.yaml"),
        r#"{"Cmd": ["/run.sh"], "Env": ["PATH=/usr/bin:/bin"]}"#,
    );
}

#[test]
fn job_pi() {
    check("pi", include_str!("../../examples/job-pi.yaml"), r#"{"Cmd": ["/bin/bash"]}"#);
}

#[test]
fn cronjob_hello() {
    check("hello", include_str!("../../examples/cronjob-hello.yaml"), r#"{"Cmd": ["sh"]}"#);
}

/// `hostUsers: false`: the namespace and its ids, and every file from outside mounted with them.
#[test]
fn own_users() {
    let container = "{securityContext: {procMount: Unmasked, runAsUser: 1000}, volumeMounts: [{name: v, mountPath: /v}, {name: w, mountPath: /w, readOnly: true, subPath: s}]}";
    let mut case = Case::new(container).volume("v", "/vol/v").volume("w", "/vol/w").own_users();
    case.sub_paths.insert(1, "/pods/u-1/sub".into());
    check_case("own-users", &case);
}
