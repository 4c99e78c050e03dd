//! The pod and the container that a command is about where they are not named in full: `TYPE/NAME`, no `-c`.

use k8s_openapi::api::core::v1::Pod;

use super::client::{Client, ClientArgs, ScopeArgs};
use super::error::CliError;
use super::output::complain;
use super::targets;
use crate::api::{Kind, Object};

/// Which container of a pod a command is about.
#[derive(Clone, Debug, clap::Args)]
pub struct ContainerArgs {
    #[command(flatten)]
    pub client: ClientArgs,
    /// The namespace of a pod that is named without one.
    #[arg(short, long, default_value = "default", value_name = "NAME")]
    pub namespace: String,
    /// The container; the first, or the annotated default one, if it is not named.
    #[arg(short, long, default_value = "", hide_default_value = true, value_name = "NAME")]
    container: String,
}

impl ContainerArgs {
    /// The container named, or [`default_container`].
    pub async fn container_of(&self, client: &mut Client, namespace: &str, pod: &str, quiet: bool) -> Result<String, CliError> {
        match self.container.as_str() {
            "" => default_container(client, namespace, pod, quiet).await,
            named => Ok(named.to_owned()),
        }
    }
}

/// The pod chosen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chosen {
    /// Its name.
    pub name: String,
    /// How many there were to choose from.
    pub among: usize,
}

/// The pod meant: itself, or one of those that the workload has.
pub async fn pod_of(client: &mut Client, namespace: &str, target: &str) -> Result<Chosen, CliError> {
    let (kind, name) = match target.contains('/') {
        true => targets::one(target)?,
        false => (Kind::Pod, target.to_owned()),
    };
    if kind == Kind::Pod {
        return Ok(Chosen { name, among: 1 });
    }
    let scope = scope(namespace);
    let owner = client.list(scope.request(kind, std::slice::from_ref(&name))).await?.objects;
    let Some(owner) = owner.first() else { return Err(CliError::local(super::get::not_found(kind, &name).trim_start_matches("error: "))) };
    let mut owners = vec![owner.uid().to_owned()];
    if kind == Kind::CronJob {
        let jobs = client.list(scope.request(Kind::Job, &[])).await?.objects;
        owners.extend(jobs.iter().filter(|job| job.controller_uid() == Some(owner.uid())).map(|job| job.uid().to_owned()));
    }
    let pods = client.list(scope.request(Kind::Pod, &[])).await?.objects;
    let mut pods: Vec<&Object> =
        pods.iter().filter(|pod| pod.controller_uid().is_some_and(|uid| owners.iter().any(|o| o == uid))).collect();
    pods.sort_by_key(|pod| preference(pod.as_pod()));
    match pods.first().and_then(|pod| pod.meta().name.clone()) {
        Some(name) => Ok(Chosen { name, among: pods.len() }),
        None => Err(CliError::local(format!("{target} has no pods here"))),
    }
}

/// The pod itself. Errors: it is not there.
pub async fn pod(client: &mut Client, namespace: &str, name: &str) -> Result<Pod, CliError> {
    let pods = client.list(scope(namespace).request(Kind::Pod, &[name.to_owned()])).await?.objects;
    let found = pods.first().and_then(Object::as_pod).cloned();
    found.ok_or_else(|| CliError::Server { reason: "NotFound", message: format!("pods \"{name}\" not found") })
}

fn scope(namespace: &str) -> ScopeArgs {
    ScopeArgs { namespace: namespace.to_owned(), all_namespaces: false, selector: String::new() }
}

/// The container meant where none is named; "" where there is no choice. Says which it took, on stderr, as kubectl does, unless `quiet`.
pub async fn default_container(client: &mut Client, namespace: &str, pod: &str, quiet: bool) -> Result<String, CliError> {
    let pods = client.list(scope(namespace).request(Kind::Pod, &[pod.to_owned()])).await?.objects;
    let Some((container, notice)) = pods.first().and_then(Object::as_pod).and_then(defaulted) else { return Ok(String::new()) };
    if !quiet {
        complain(&notice);
    }
    Ok(container)
}

/// kubectl's choice among several containers, and its words (k8s.io/kubectl/pkg/cmd/util/podcmd FindOrDefaultContainerByName).
fn defaulted(pod: &Pod) -> Option<(String, String)> {
    let spec = pod.spec.as_ref()?;
    let mains = spec.containers.iter().map(|c| c.name.clone());
    let inits = spec.init_containers.iter().flatten().map(|c| format!("{} (init)", c.name));
    let all: Vec<String> = mains.chain(inits).collect();
    let annotated = pod.metadata.annotations.as_ref().and_then(|a| a.get("kubectl.kubernetes.io/default-container"));
    let chosen = annotated.filter(|name| spec.containers.iter().any(|c| c.name == **name)).or(spec.containers.first().map(|c| &c.name))?;
    (all.len() > 1).then(|| (chosen.clone(), format!("Defaulted container {chosen:?} out of: {}", all.join(", "))))
}

/// Running and ready first, then the youngest (client-go's ByLogging: what one most likely wants to read).
fn preference(pod: Option<&Pod>) -> (bool, bool, std::cmp::Reverse<Option<jiff::Timestamp>>) {
    let status = pod.and_then(|p| p.status.as_ref());
    let running = status.and_then(|s| s.phase.as_deref()) == Some("Running");
    let ready = status.iter().flat_map(|s| s.conditions.iter().flatten()).any(|c| c.type_ == "Ready" && c.status == "True");
    let created = pod.and_then(|p| p.metadata.creation_timestamp.as_ref()).map(|t| t.0);
    (!running, !ready, std::cmp::Reverse(created))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_main_container_is_the_default_unless_annotated() {
        let pod = |annotation: Option<&str>| -> Pod {
            serde_json::from_value(serde_json::json!({
                "metadata": {"annotations": annotation.map(|a| serde_json::json!({"kubectl.kubernetes.io/default-container": a}))},
                "spec": {"containers": [{"name": "a"}, {"name": "b"}], "initContainers": [{"name": "i"}]},
            }))
            .unwrap()
        };
        let (name, notice) = defaulted(&pod(None)).unwrap();
        assert_eq!((name.as_str(), notice.as_str()), ("a", "Defaulted container \"a\" out of: a, b, i (init)"));
        assert_eq!(defaulted(&pod(Some("b"))).unwrap().0, "b");
        assert_eq!(defaulted(&pod(Some("gone"))).unwrap().0, "a");
        assert_eq!(defaulted(&serde_json::from_value(serde_json::json!({"spec": {"containers": [{"name": "a"}]}})).unwrap()), None);
    }
}
