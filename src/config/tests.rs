//! The room's tests: one pod, a ConfigMap and a Secret, and what comes of them.

use std::net::IpAddr;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{EnvVarSource, Node, Pod};
use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;

const SECRET_TEXT: &str = "hunter2";

fn object(kind: Kind, name: &str, fields: Value) -> Arc<Object> {
    let mut value = json!({"metadata": {"name": name, "namespace": "shop"}});
    value.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
    Arc::new(Object::from_json(kind, value.to_string().as_bytes()).unwrap())
}

fn stored() -> Vec<Arc<Object>> {
    vec![
        object(Kind::ConfigMap, "cm", json!({"data": {"a.conf": "A", "b": "B"}, "binaryData": {"bin": "AP8="}})),
        object(Kind::Secret, "sec", json!({"data": {"pw": "aHVudGVyMg==", "nul": "aHUAbnRlcjI=", "raw": "aHVudGVyMv8="}})),
        object(Kind::Secret, "plain", json!({"data": {"b": "c2VjcmV0LWI="}})),
        object(Kind::PersistentVolumeClaim, "disk", json!({"spec": {"volumeMode": "Filesystem"}})),
        object(Kind::PersistentVolumeClaim, "block", json!({"spec": {"volumeMode": "Block"}})),
    ]
}

fn pod(spec: Value) -> Pod {
    let metadata = json!({"name": "web", "namespace": "shop", "uid": "u-1", "labels": {"app": "front", "tier": "\"x\"\n"},
        "annotations": {"a/b": "note", "minik8s.io/boot-id": "no"}});
    let mut pod: Pod = serde_json::from_value(json!({"metadata": metadata, "spec": {"containers": []}})).unwrap();
    let mut value = serde_json::to_value(&pod).unwrap();
    value["spec"].as_object_mut().unwrap().extend(spec.as_object().unwrap().clone());
    pod = serde_json::from_value(value).unwrap();
    pod
}

fn objects(pod: &Pod) -> Objects {
    let stored = stored();
    Objects::gather(pod, |key| stored.iter().find(|o| o.key() == *key).cloned())
}

fn node() -> Node {
    serde_json::from_value(
        json!({"metadata": {"name": "node1"}, "status": {"allocatable": {"cpu": "2", "memory": "4Gi", "ephemeral-storage": "20Gi"}}}),
    )
    .unwrap()
}

const POD_IPS: [&str; 2] = ["10.88.0.5", "fd00::5"];
const HOST_IPS: [&str; 2] = ["192.0.2.1", "2001:db8::1"];

fn ips(all: [&str; 2]) -> [IpAddr; 2] {
    all.map(|ip| ip.parse().unwrap())
}

fn of_container(container: Value) -> (Pod, Objects) {
    let mut whole = json!({"name": "main"});
    whole.as_object_mut().unwrap().extend(container.as_object().unwrap().clone());
    let pod = pod(json!({"containers": [whole], "nodeName": "node1"}));
    let objects = objects(&pod);
    (pod, objects)
}

fn env_from(sources: Value) -> Result<BTreeMap<String, String>, String> {
    let (pod, objects) = of_container(json!({"envFrom": sources}));
    from_sources(&pod.spec.unwrap().containers[0], &objects).map_err(|e| e.to_string())
}

#[test]
fn whole_environments_with_prefixes_and_the_later_source_wins() {
    let env = env_from(json!([
        {"configMapRef": {"name": "cm"}}, {"prefix": "S_", "secretRef": {"name": "plain"}}, {"secretRef": {"name": "plain"}},
        {"configMapRef": {"name": "none", "optional": true}}, {"secretRef": {"name": "none", "optional": true}},
    ]));
    let expected = [("S_b", "secret-b"), ("a.conf", "A"), ("b", "secret-b")];
    assert_eq!(env.unwrap(), expected.map(|(k, v)| (k.to_owned(), v.to_owned())).into());
    assert_eq!(env_from(json!([{"configMapRef": {"name": "none"}}])).unwrap_err(), "configmap \"none\" not found");
    assert_eq!(env_from(json!([{"secretRef": {"name": "none"}}])).unwrap_err(), "secret \"none\" not found");
}

#[test]
fn a_value_no_variable_can_have_is_refused_without_being_told() {
    let error = env_from(json!([{"secretRef": {"name": "sec"}}])).unwrap_err();
    assert!(error.starts_with("secret \"sec\": the value of key \"nul\" cannot be") && !error.contains("hu"), "{error}");
}

fn value(from: Value) -> Result<Option<String>, String> {
    let (_, objects) = of_container(json!({"env": [{"name": "X", "valueFrom": from.clone()}]}));
    let source: EnvVarSource = serde_json::from_value(from).unwrap();
    value_of(&source, &objects).map_err(|e| e.to_string())
}

#[test]
fn single_keys() {
    let key =
        |kind: &str, name: &str, key: &str, optional: Option<bool>| value(json!({kind: {"name": name, "key": key, "optional": optional}}));
    let (map, secret) = ("configMapKeyRef", "secretKeyRef");
    assert_eq!(key(map, "cm", "b", None), Ok(Some("B".to_owned())));
    assert_eq!(key(secret, "sec", "pw", None), Ok(Some(SECRET_TEXT.to_owned())));
    for (kind, name, wanted, message) in [
        (map, "cm", "bin", "couldn't find key bin in ConfigMap shop/cm"),
        (secret, "sec", "none", "couldn't find key none in Secret shop/sec"),
        (map, "none", "b", "configmap \"none\" not found"),
        (secret, "none", "b", "secret \"none\" not found"),
    ] {
        assert_eq!(key(kind, name, wanted, None), Err(message.to_owned()));
        assert_eq!(key(kind, name, wanted, Some(false)), Err(message.to_owned()));
        assert_eq!(key(kind, name, wanted, Some(true)), Ok(None));
    }
    assert!(key(secret, "sec", "raw", Some(true)).unwrap_err().ends_with("it is not UTF-8; mount it as a volume"));
}

fn laid_out(volumes: Value) -> Result<Vec<(String, String, String, u32)>, String> {
    let pod = pod(json!({"containers": [{"name": "main", "resources": {"limits": {"memory": "100Mi"}}}], "volumes": volumes}));
    let (node, objects) = (node(), objects(&pod));
    let facts = Downward { pod: &pod, node: &node, pod_ips: &[], host_ips: &[] };
    let payloads = payloads(&facts, &objects, Timestamp::UNIX_EPOCH).map_err(|e| e.to_string())?;
    let one = |(volume, files): (String, BTreeMap<String, crate::volumes::PayloadFile>)| {
        files.into_iter().map(move |(path, f)| (volume.clone(), path, String::from_utf8_lossy(&f.data).into_owned(), f.mode))
    };
    Ok(payloads.volumes.into_iter().flat_map(one).collect())
}

fn rows(expected: &[(&str, &str, &str, u32)]) -> Vec<(String, String, String, u32)> {
    expected.iter().map(|(v, p, d, m)| ((*v).to_owned(), (*p).to_owned(), (*d).to_owned(), *m)).collect()
}

#[test]
fn volumes_hold_all_keys_or_the_items_with_their_modes() {
    let volumes = json!([
        {"name": "all", "configMap": {"name": "cm"}},
        {"name": "items", "configMap": {"name": "cm", "defaultMode": 0o400, "items": [{"key": "b", "path": "./x//y"}, {"key": "bin", "path": "z", "mode": 0o755}]}},
        {"name": "none", "configMap": {"name": "none", "optional": true}},
        {"name": "part", "secret": {"secretName": "sec", "optional": true, "items": [{"key": "pw", "path": "p"}, {"key": "none", "path": "n"}]}},
    ]);
    let expected = [
        ("all", "a.conf", "A", 0o644),
        ("all", "b", "B", 0o644),
        ("all", "bin", "\0\u{fffd}", 0o644),
        ("items", "x/y", "B", 0o400),
        ("items", "z", "\0\u{fffd}", 0o755),
        ("part", "p", SECRET_TEXT, 0o644),
    ];
    assert_eq!(laid_out(volumes).unwrap(), rows(&expected));
}

#[test]
fn what_is_missing_is_told_in_the_kubelets_words() {
    for (source, why) in [
        (json!({"configMap": {"name": "none"}}), "configmap \"none\" not found"),
        (json!({"secret": {"secretName": "none"}}), "secret \"none\" not found"),
        (json!({"configMap": {"name": "cm", "items": [{"key": "k", "path": "k"}]}}), "configmap references non-existent config key: k"),
        (json!({"secret": {"secretName": "sec", "items": [{"key": "k", "path": "k"}]}}), "references non-existent secret key: k"),
        (json!({"persistentVolumeClaim": {"claimName": "none"}}), "persistentvolumeclaim \"none\" not found"),
        (json!({"persistentVolumeClaim": {"claimName": "block"}}), "volume v has volumeMode Block, but is specified in volumeMounts"),
        (
            json!({"projected": {"sources": [{"configMap": {"name": "x"}}, {"secret": {"name": "y"}}]}}),
            "[configmap \"x\" not found, secret \"y\" not found]",
        ),
        (
            json!({"downwardAPI": {"items": [{"path": "p", "resourceFieldRef": {"containerName": "gone", "resource": "limits.cpu"}}]}}),
            "container gone not found",
        ),
    ] {
        let mut volume = json!({"name": "v"});
        volume.as_object_mut().unwrap().extend(source.as_object().unwrap().clone());
        assert_eq!(laid_out(json!([volume])).unwrap_err(), format!("MountVolume.SetUp failed for volume \"v\" : {why}"));
    }
    assert_eq!(laid_out(json!([{"name": "v", "persistentVolumeClaim": {"claimName": "disk"}}])), Ok(vec![]));
}

#[test]
fn projected_and_downward_volumes() {
    let field = |path: &str, field: &str| json!({"path": path, "fieldRef": {"fieldPath": field}});
    let items = json!([
        field("name", "metadata.name"),
        field("uid", "metadata.uid"),
        field("labels", "metadata.labels"),
        field("annotations", "metadata.annotations"),
        field("one", "metadata.labels['app']"),
        {"path": "mem", "mode": 0o600, "resourceFieldRef": {"containerName": "main", "resource": "limits.memory", "divisor": "1Mi"}},
        {"path": "cpu", "resourceFieldRef": {"containerName": "main", "resource": "limits.cpu", "divisor": "1m"}},
    ]);
    let sources = json!([
        {"configMap": {"name": "cm", "items": [{"key": "b", "path": "d/b"}]}}, {"secret": {"name": "plain"}}, {"downwardAPI": {"items": items}},
        {"configMap": {"name": "cm", "items": [{"key": "a.conf", "path": "b", "mode": 0o440}]}},
    ]);
    let expected = [
        ("p", "annotations", "a/b=\"note\"", 0o444),
        ("p", "b", "A", 0o440),
        ("p", "cpu", "2000", 0o444),
        ("p", "d/b", "B", 0o444),
        ("p", "labels", "app=\"front\"\ntier=\"\\\"x\\\"\\n\"", 0o444),
        ("p", "mem", "100", 0o600),
        ("p", "name", "web", 0o444),
        ("p", "one", "front", 0o444),
        ("p", "uid", "u-1", 0o444),
    ];
    assert_eq!(laid_out(json!([{"name": "p", "projected": {"defaultMode": 0o444, "sources": sources}}])).unwrap(), rows(&expected));
}

#[test]
fn everything_a_pod_names_is_found_and_only_in_its_namespace() {
    let pod = pod(json!({
        "initContainers": [{"name": "i", "envFrom": [{"secretRef": {"name": "s1"}}]}],
        "containers": [{"name": "c", "env": [{"name": "A", "valueFrom": {"configMapKeyRef": {"name": "c1", "key": "k"}}}, {"name": "B", "valueFrom": {"secretKeyRef": {"name": "s2", "key": "k"}}}]}],
        "volumes": [{"name": "a", "configMap": {"name": "c2"}}, {"name": "b", "secret": {"secretName": "s3"}}, {"name": "c", "persistentVolumeClaim": {"claimName": "p"}},
            {"name": "d", "projected": {"sources": [{"configMap": {"name": "c3"}}, {"secret": {"name": "s1"}}]}}, {"name": "e", "emptyDir": {}}],
    }));
    let named: Vec<String> = references(&pod).iter().map(ToString::to_string).collect();
    let expected = [
        "ConfigMap shop/c1",
        "ConfigMap shop/c2",
        "ConfigMap shop/c3",
        "Secret shop/s1",
        "Secret shop/s2",
        "Secret shop/s3",
        "PersistentVolumeClaim shop/p",
    ];
    assert_eq!(named, expected);
    assert!(has_files(&pod));
}

#[test]
fn no_secret_is_shown_by_debug() {
    let pod = pod(json!({"volumes": [{"name": "v", "secret": {"secretName": "sec"}}]}));
    let (node, objects) = (node(), objects(&pod));
    let facts = Downward { pod: &pod, node: &node, pod_ips: &[], host_ips: &[] };
    let payloads = payloads(&facts, &objects, Timestamp::UNIX_EPOCH).unwrap();
    let shown = format!("{objects:?} {payloads:?}");
    assert!(shown.contains("Secret shop/sec") && shown.contains("7 bytes"), "{shown}");
    assert!(!shown.contains(SECRET_TEXT) && !shown.contains("104, 117"), "{shown}");
}

#[test]
fn a_message_that_quotes_a_secret_is_redacted() {
    let (_, objects) = of_container(json!({"envFrom": [{"secretRef": {"name": "sec"}}, {"configMapRef": {"name": "cm"}}]}));
    let text = "exec: \"hunter2\": executable file not found, A".to_owned();
    assert_eq!(objects.redact(text), "exec: \"<secret contents redacted>\": executable file not found, A");
}

fn variable(from: Value) -> Result<String, ConfigError> {
    let (pod, _) = of_container(json!({"resources": {"limits": {"cpu": "1500m", "memory": "100Mi"}}}));
    let (node, pod_ips, host_ips) = (node(), ips(POD_IPS), ips(HOST_IPS));
    let facts = Downward { pod: &pod, node: &node, pod_ips: &pod_ips, host_ips: &host_ips };
    let source: EnvVarSource = serde_json::from_value(from).unwrap();
    match (source.field_ref, source.resource_field_ref) {
        (Some(selector), _) => field(&facts, &selector.field_path),
        (_, selector) => resource(&facts, pod.spec.as_ref().unwrap().containers.first(), &selector.unwrap()),
    }
}

#[test]
fn fields() {
    let value = |path: &str| variable(json!({"fieldRef": {"fieldPath": path}}));
    for (path, expected) in [
        ("metadata.name", "web"),
        ("metadata.namespace", "shop"),
        ("metadata.uid", "u-1"),
        ("metadata.labels['app']", "front"),
        ("metadata.labels['none']", ""),
        ("metadata.annotations['a/b']", "note"),
        ("spec.nodeName", "node1"),
        ("spec.serviceAccountName", "default"),
        ("status.hostIP", "192.0.2.1"),
        ("status.hostIPs", "192.0.2.1,2001:db8::1"),
        ("status.podIP", "10.88.0.5"),
        ("status.podIPs", "10.88.0.5,fd00::5"),
    ] {
        assert_eq!(value(path).as_deref(), Ok(expected), "{path}");
    }
    assert!(value("spec.schedulerName").is_err() && value("spec.nodeSelector['x']").is_err());
}

#[test]
fn resources_divide_round_up_and_fall_back() {
    let value = |resource: &str, divisor: Option<&str>, container: Option<&str>| {
        variable(json!({"resourceFieldRef": {"resource": resource, "divisor": divisor, "containerName": container}}))
    };
    for (resource, divisor, expected) in [
        ("limits.cpu", None, "2"),
        ("limits.cpu", Some("1m"), "1500"),
        ("requests.cpu", Some("1m"), "1500"),
        ("limits.memory", None, "104857600"),
        ("limits.memory", Some("1Mi"), "100"),
        ("limits.memory", Some("1G"), "1"),
        ("limits.memory", Some("0"), "104857600"),
        ("limits.ephemeral-storage", Some("1Gi"), "20"),
        ("requests.ephemeral-storage", None, "0"),
        ("limits.hugepages-2Mi", None, "0"),
    ] {
        assert_eq!(value(resource, divisor, None).as_deref(), Ok(expected), "{resource} {divisor:?}");
    }
    assert_eq!(value("limits.cpu", None, Some("other")), Err(ConfigError::ContainerNotFound("other".to_owned())));
    assert!(value("limits.gpu", None, None).is_err());
}

#[test]
fn pod_ip_is_needed_only_where_named() {
    let needs = |path: &str| {
        let (pod, _) = of_container(json!({"env": [{"name": "X", "valueFrom": {"fieldRef": {"fieldPath": path}}}]}));
        needs_pod_ip(&pod.spec.unwrap().containers[0])
    };
    assert!(needs("status.podIP") && needs("status.podIPs") && !needs("status.hostIP"));
}

proptest! {
    /// Whatever keys and values a ConfigMap has, a volume of it holds exactly those, and envFrom gives each with its prefix.
    #[test]
    fn a_config_maps_data_arrives_whole(data in prop::collection::btree_map("[-._a-zA-Z0-9]{1,8}", "[^\\x00]{0,8}", 0..6), prefix in "[A-Z_]{0,3}") {
        let pod = pod(json!({
            "containers": [{"name": "c", "envFrom": [{"prefix": prefix, "configMapRef": {"name": "m"}}]}], "volumes": [{"name": "v", "configMap": {"name": "m"}}],
        }));
        let map = object(Kind::ConfigMap, "m", json!({"data": data}));
        let objects = Objects::gather(&pod, |key| (*key == map.key()).then(|| map.clone()));
        let node = node();
        let facts = Downward { pod: &pod, node: &node, pod_ips: &[], host_ips: &[] };
        let mut payloads = payloads(&facts, &objects, Timestamp::UNIX_EPOCH).unwrap();
        let files: BTreeMap<String, Vec<u8>> = payloads.volumes.remove("v").unwrap().into_iter().map(|(path, f)| (path, f.data)).collect();
        prop_assert_eq!(files, data.iter().map(|(k, v)| (k.clone(), v.clone().into_bytes())).collect::<BTreeMap<_, _>>());
        let env = from_sources(&pod.spec.as_ref().unwrap().containers[0], &objects).unwrap();
        prop_assert_eq!(env, data.iter().map(|(k, v)| (format!("{prefix}{k}"), v.clone())).collect::<BTreeMap<_, _>>());
    }
}
