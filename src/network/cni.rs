//! libcni's part: a list of plugins called in a chain (ADD and CHECK forwards, DEL backwards; prevResult, runtimeConfig and CNI_ARGS), and what
//! is asked of a network as a whole (GC, STATUS).
//!
//! After `libcni/api.go` (addNetwork, CheckNetworkList, DelNetworkList, GCNetworkList, GetStatusNetworkList, buildOneConfig, injectRuntimeConfig) of containernetworking/cni v1.
//! One difference: DEL goes on past a plugin's error and returns all of them, so that one broken plugin leaks no more than its own.

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::{Map, Value, json};

use super::cache::Record;
use super::conflist::{ConfList, plugin_type};
use super::plugin::{self, Call};
use super::{Bandwidth, NetworkError, PortMapping, SandboxSpec, result};

/// The interface in the pod.
pub(super) const INTERFACE: &str = "eth0";

/// How plugins are executed.
#[derive(Clone, Debug)]
pub(super) struct Plugins {
    /// Where they are.
    pub dirs: Vec<PathBuf>,
    /// The agent's run directory.
    pub run: PathBuf,
    /// After this one is killed.
    pub timeout: Duration,
}

impl Plugins {
    /// Calls every plugin with ADD and returns the last one's result.
    pub(super) async fn add(&self, list: &ConfList, record: &Record, netns: &Path) -> Result<Map<String, Value>, NetworkError> {
        let netns = netns.display().to_string();
        let call = self.call("ADD", record, &netns);
        let mut previous: Option<Map<String, Value>> = None;
        for config in &list.plugins {
            let name = plugin_type(config);
            let stdout = plugin::exec(&call, name, &plugin_input(list, config, record, previous.as_ref())).await?;
            let failed = |message| NetworkError::Plugin { plugin: name.to_owned(), command: "ADD", code: None, message };
            previous = Some(result::parse(&stdout, &list.version).map_err(failed)?);
        }
        Ok(previous.unwrap_or_default())
    }

    /// Calls every plugin with DEL in reverse. `netns` is `None` where the namespace is gone.
    pub(super) async fn del(&self, list: &ConfList, record: &Record, netns: Option<&Path>) -> Result<(), NetworkError> {
        let netns = netns.map(|p| p.display().to_string()).unwrap_or_default();
        let call = self.call("DEL", record, &netns);
        // DEL has prevResult since 0.4.0 (libcni DelNetworkList).
        let previous = record.result.as_ref().filter(|_| list.is_at_least("0.4.0"));
        let mut errors = Vec::new();
        for config in list.plugins.iter().rev() {
            if let Err(e) = plugin::exec(&call, plugin_type(config), &plugin_input(list, config, record, previous)).await {
                errors.push(e);
            }
        }
        NetworkError::collect(errors)
    }

    /// Calls every plugin with CHECK, up to the first that finds something wrong. A plugin that knows no CHECK is passed over.
    pub(super) async fn check(&self, list: &ConfList, record: &Record, netns: &Path) -> Result<(), NetworkError> {
        let netns = netns.display().to_string();
        let call = self.call("CHECK", record, &netns);
        for config in &list.plugins {
            let input = plugin_input(list, config, record, record.result.as_ref());
            unless_unknown(plugin::exec(&call, plugin_type(config), &input).await)?;
        }
        Ok(())
    }

    /// Calls every plugin with GC and returns all errors. `valid`: the container ids of all attachments there are.
    pub(super) async fn gc(&self, list: &ConfList, valid: &[String]) -> Result<(), NetworkError> {
        let attachments: Vec<Value> = valid.iter().map(|id| json!({"containerID": id, "ifname": INTERFACE})).collect();
        // The older name is for plugins that followed the text of a draft (libcni#1101).
        let told = ["cni.dev/valid-attachments", "cni.dev/attachments"].map(|key| (key, Value::Array(attachments.clone())));
        let mut errors = Vec::new();
        for config in &list.plugins {
            errors.extend(unless_unknown(self.ask("GC", list, config, &told).await).err());
        }
        NetworkError::collect(errors)
    }

    /// Calls every plugin with STATUS, up to the first that is not ready.
    pub(super) async fn status(&self, list: &ConfList) -> Result<(), NetworkError> {
        for config in &list.plugins {
            unless_unknown(self.ask("STATUS", list, config, &[]).await)?;
        }
        Ok(())
    }

    /// A call about the network as a whole.
    async fn ask(
        &self,
        command: &'static str,
        list: &ConfList,
        config: &Map<String, Value>,
        told: &[(&str, Value)],
    ) -> Result<Vec<u8>, NetworkError> {
        let (dirs, run, timeout) = (self.dirs.as_slice(), self.run.as_path(), self.timeout);
        let call = Call { command, container_id: "", netns: "", ifname: "", args: "", dirs, run, timeout };
        let mut input = named(list, config);
        input.extend(told.iter().map(|(key, value)| ((*key).to_owned(), value.clone())));
        plugin::exec(&call, plugin_type(config), Value::Object(input).to_string().as_bytes()).await
    }

    fn call<'a>(&'a self, command: &'static str, record: &'a Record, netns: &'a str) -> Call<'a> {
        let (dirs, run, timeout) = (self.dirs.as_slice(), self.run.as_path(), self.timeout);
        Call { command, container_id: &record.uid, netns, ifname: INTERFACE, args: &record.args, dirs, run, timeout }
    }
}

/// Fine, too, where the plugin does not know the command: code 1 (a version it does not speak, or one before the command) and 4 (skel's for an
/// unknown CNI_COMMAND).
fn unless_unknown(answer: Result<Vec<u8>, NetworkError>) -> Result<(), NetworkError> {
    match answer {
        Err(NetworkError::Plugin { plugin, command, code: Some(1 | 4), message }) => {
            tracing::debug!(plugin, command, message, "the CNI plugin does not know it");
            Ok(())
        }
        other => other.map(drop),
    }
}

fn named(list: &ConfList, config: &Map<String, Value>) -> Map<String, Value> {
    let mut input = config.clone();
    input.insert("name".into(), Value::String(list.name.clone()));
    input.insert("cniVersion".into(), Value::String(list.version.clone()));
    input
}

/// What one plugin reads: its configuration with name, cniVersion, the runtimeConfig it declares capabilities for, and prevResult.
fn plugin_input(list: &ConfList, config: &Map<String, Value>, record: &Record, previous: Option<&Map<String, Value>>) -> Vec<u8> {
    let mut input = named(list, config);
    let declared = |capability: &str| config.get("capabilities").and_then(|c| c.get(capability)) == Some(&Value::Bool(true));
    let wanted: Map<String, Value> = record.runtime.iter().filter(|(k, _)| declared(k)).map(|(k, v)| (k.clone(), v.clone())).collect();
    if !wanted.is_empty() {
        input.insert("runtimeConfig".into(), Value::Object(wanted));
    }
    if let Some(previous) = previous {
        input.insert("prevResult".into(), Value::Object(previous.clone()));
    }
    Value::Object(input).to_string().into_bytes()
}

/// CNI_ARGS as containerd's CRI plugin and the kubelet give them (`K8S_POD_INFRA_CONTAINER_ID` is the sandbox: here the uid).
pub(super) fn args(spec: &SandboxSpec) -> String {
    let (namespace, name, uid) = (&spec.namespace, &spec.name, &spec.uid);
    format!("IgnoreUnknown=1;K8S_POD_NAMESPACE={namespace};K8S_POD_NAME={name};K8S_POD_INFRA_CONTAINER_ID={uid};K8S_POD_UID={uid}")
}

/// The capability arguments of a pod: `portMappings` where it publishes ports, `bandwidth` where it is held to one (CONVENTIONS.md).
pub(super) fn runtime_config(ports: &[PortMapping], bandwidth: Bandwidth) -> Map<String, Value> {
    let mapping = |p: &PortMapping| {
        let (host, container) = (p.host_port, p.container_port);
        let mut mapping = json!({"hostPort": host, "containerPort": container, "protocol": p.protocol.to_lowercase()});
        if !p.host_ip.is_empty() {
            mapping["hostIP"] = Value::String(p.host_ip.clone());
        }
        mapping
    };
    let published: Vec<Value> = ports.iter().filter(|p| p.host_port > 0).map(mapping).collect();
    let mut config = Map::new();
    if !published.is_empty() {
        config.insert("portMappings".to_owned(), Value::Array(published));
    }
    let mut limits = Map::new();
    for (direction, rate) in [("ingress", bandwidth.ingress), ("egress", bandwidth.egress)] {
        let Some(rate) = rate else { continue };
        limits.insert(format!("{direction}Rate"), rate.into());
        // As containerd's CRI plugin and the kubelet gave it (internal/cri/server/sandbox_run.go toCNIBandWidth).
        limits.insert(format!("{direction}Burst"), u32::MAX.into());
    }
    if !limits.is_empty() {
        config.insert("bandwidth".to_owned(), Value::Object(limits));
    }
    config
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(ports: &[PortMapping]) -> Record {
        Record {
            uid: "u".into(),
            args: String::new(),
            config: Map::new(),
            config_path: PathBuf::new(),
            runtime: runtime_config(ports, Bandwidth { ingress: Some(1_000_000), egress: None }),
            result: None,
        }
    }

    fn tcp(host_port: u16) -> PortMapping {
        PortMapping { protocol: "TCP".into(), container_port: 80, host_port, host_ip: String::new() }
    }

    #[test]
    fn runtime_config_goes_only_to_plugins_that_declare_it() {
        let text = br#"{"cniVersion":"1.0.0","name":"n","plugins":[{"type":"a"},{"type":"b","capabilities":{"portMappings":true}},
            {"type":"c","capabilities":{"portMappings":false,"bandwidth":true}}]}"#;
        let list = ConfList::parse_list(Path::new("/x"), text).unwrap();
        let record = record(&[tcp(8080), tcp(0)]);
        let inputs: Vec<Value> =
            list.plugins.iter().map(|c| serde_json::from_slice(&plugin_input(&list, c, &record, None)).unwrap()).collect();
        assert_eq!(inputs[0], json!({"type":"a","name":"n","cniVersion":"1.0.0"}));
        let ports = json!([{"hostPort":8080,"containerPort":80,"protocol":"tcp"}]);
        assert_eq!(inputs[1]["runtimeConfig"]["portMappings"], ports);
        assert_eq!(inputs[1]["runtimeConfig"].get("bandwidth"), None);
        assert_eq!(inputs[2]["runtimeConfig"], json!({"bandwidth": {"ingressRate": 1_000_000, "ingressBurst": 4_294_967_295_u32}}));
    }

    #[test]
    fn bandwidth_is_read_from_annotations_and_held_to_what_makes_sense() {
        let of = |key: &str, text: &str| Bandwidth::of(Some(&[(format!("kubernetes.io/{key}-bandwidth"), text.to_owned())].into()));
        assert_eq!(of("egress", "10M"), Ok(Bandwidth { ingress: None, egress: Some(10_000_000) }));
        assert_eq!(Bandwidth::of(None), Ok(Bandwidth::default()));
        for (text, why) in [
            ("999", "unreasonably small"),
            ("2P", "unreasonably large"),
            ("-5M", "unreasonably small"),
            ("fast", "ingress-bandwidth: \"fast\""),
        ] {
            assert!(of("ingress", text).unwrap_err().contains(why), "{text}");
        }
    }

    #[test]
    fn the_previous_result_is_passed_on() {
        let list = ConfList::parse_list(Path::new("/x"), br#"{"cniVersion":"1.0.0","name":"n","plugins":[{"type":"a"}]}"#).unwrap();
        let previous = Map::from_iter([("ips".to_owned(), json!([]))]);
        let input: Value = serde_json::from_slice(&plugin_input(&list, &list.plugins[0], &record(&[]), Some(&previous))).unwrap();
        assert_eq!(input["prevResult"], json!({"ips": []}));
    }
}
