//! One enum over the kinds the agent keeps, and the key that names an object in the Store.

use k8s_openapi::api::apps::v1::{ControllerRevision, DaemonSet};
use k8s_openapi::api::batch::v1::{CronJob, Job};
use k8s_openapi::api::core::v1::{ConfigMap, Event, Node, PersistentVolumeClaim, Pod, Secret};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde::{Deserialize, Serialize};

/// What a workload takes as text, bytes: it need not grow while it is written.
const USUAL_TEXT: usize = 2048;

macro_rules! kinds {
    ($($(#[$doc:meta])* $kind:ident : $type:ty => $plural:literal, $api:literal, $shown:literal;)*) => {
        /// A kind of object the Store keeps.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        pub enum Kind { $($(#[$doc])* $kind),* }

        impl Kind {
            /// Every kind, in the order of the enum.
            pub const ALL: &'static [Kind] = &[$(Kind::$kind),*];
            /// Kubernetes' plural resource name (`daemonsets`).
            pub fn plural(self) -> &'static str { match self { $(Kind::$kind => $plural),* } }
            /// The apiVersion objects of this kind are stored and shown with.
            pub fn api_version(self) -> &'static str { match self { $(Kind::$kind => $api),* } }
            /// The name users know: `Pod` for a static pod's template too.
            pub fn shown(self) -> &'static str { match self { $(Kind::$kind => $shown),* } }
            /// The name of the kind as the Store's keys spell it.
            pub fn as_str(self) -> &'static str { match self { $(Kind::$kind => stringify!($kind)),* } }
        }

        /// A stored object. Boxed by the callers' `Arc`; cloning is a deep copy.
        #[derive(Clone, Debug, PartialEq)]
        pub enum Object { $($(#[$doc])* $kind(Box<$type>)),* }

        impl Object {
            /// Which kind this is.
            pub fn kind(&self) -> Kind { match self { $(Object::$kind(_) => Kind::$kind),* } }
            /// The object's metadata.
            pub fn meta(&self) -> &ObjectMeta { match self { $(Object::$kind(o) => &o.metadata),* } }
            /// The object's metadata, to change.
            pub fn meta_mut(&mut self) -> &mut ObjectMeta { match self { $(Object::$kind(o) => &mut o.metadata),* } }
            /// The object as the text of Kubernetes JSON, with apiVersion and kind.
            pub fn to_json_text(&self) -> Vec<u8> {
                let mut text = Vec::with_capacity(USUAL_TEXT);
                let written = match self { $(Object::$kind(o) => serde_json::to_writer(&mut text, o)),* };
                // Into memory, and these types have string keys only: it cannot fail.
                written.map_or_else(|_| Vec::new(), |()| text)
            }
            /// The object as a value of Kubernetes JSON, with apiVersion and kind.
            pub fn to_json(&self) -> serde_json::Value {
                // By way of the text: a second serializer for all these types would be half a megabyte of program.
                serde_json::from_slice(&self.to_json_text()).unwrap_or_default()
            }
            /// Reads what [`Object::to_json_text`] wrote. Errors: the JSON is not an object of this kind.
            pub fn from_json(kind: Kind, json: &[u8]) -> Result<Object, serde_json::Error> {
                Ok(match kind { $(Kind::$kind => Object::$kind(Box::new(serde_json::from_slice(json)?))),* })
            }
        }
    };
}

kinds! {
    /// apps/v1 DaemonSet.
    DaemonSet: DaemonSet => "daemonsets", "apps/v1", "DaemonSet";
    /// batch/v1 Job.
    Job: Job => "jobs", "batch/v1", "Job";
    /// batch/v1 CronJob.
    CronJob: CronJob => "cronjobs", "batch/v1", "CronJob";
    /// A Pod manifest from a file: the template of a static pod, never run itself and not shown.
    StaticPod: Pod => "staticpods", "v1", "Pod";
    /// v1 Pod: one that runs, or ran, here.
    Pod: Pod => "pods", "v1", "Pod";
    /// v1 ConfigMap.
    ConfigMap: ConfigMap => "configmaps", "v1", "ConfigMap";
    /// v1 Secret.
    Secret: Secret => "secrets", "v1", "Secret";
    /// v1 PersistentVolumeClaim.
    PersistentVolumeClaim: PersistentVolumeClaim => "persistentvolumeclaims", "v1", "PersistentVolumeClaim";
    /// v1 Node: this host (cluster-scoped, namespace "").
    Node: Node => "nodes", "v1", "Node";
    /// v1 Event.
    Event: Event => "events", "v1", "Event";
    /// apps/v1 ControllerRevision: a template a DaemonSet had.
    ControllerRevision: ControllerRevision => "controllerrevisions", "apps/v1", "ControllerRevision";
}

macro_rules! conversions {
    ($($kind:ident : $type:ty, $get:ident;)*) => {$(
        impl From<$type> for Object { fn from(o: $type) -> Self { Object::$kind(Box::new(o)) } }
        impl Object {
            /// The object, if it is of this kind.
            pub fn $get(&self) -> Option<&$type> { match self { Object::$kind(o) => Some(o), _ => None } }
        }
    )*};
}

conversions! {
    DaemonSet: DaemonSet, as_daemon_set;
    Job: Job, as_job;
    CronJob: CronJob, as_cron_job;
    Pod: Pod, as_pod;
    ConfigMap: ConfigMap, as_config_map;
    Secret: Secret, as_secret;
    PersistentVolumeClaim: PersistentVolumeClaim, as_claim;
    Node: Node, as_node;
    Event: Event, as_event;
    ControllerRevision: ControllerRevision, as_controller_revision;
}

impl Kind {
    /// Reads what [`Kind::as_str`] wrote.
    pub fn parse(text: &str) -> Option<Kind> {
        Kind::ALL.iter().copied().find(|k| k.as_str() == text)
    }

    /// Whether objects of this kind live in a namespace.
    pub fn namespaced(self) -> bool {
        self != Kind::Node
    }
}

impl Object {
    /// The key that names this object in the Store.
    pub fn key(&self) -> Key {
        let meta = self.meta();
        Key { kind: self.kind(), namespace: meta.namespace.clone().unwrap_or_default(), name: meta.name.clone().unwrap_or_default() }
    }

    /// The object's uid, "" before it has one.
    pub fn uid(&self) -> &str {
        self.meta().uid.as_deref().unwrap_or_default()
    }

    /// Whether a pod is judged by this Node as by `other`: all that decides is the same, whatever else they tell (conditions, addresses, when it
    /// was last heard of; pressure decides by the taints that stand for it). Of other kinds: whether they are one version.
    pub fn judges_alike(&self, other: &Object) -> bool {
        let (Object::Node(one), Object::Node(other)) = (self, other) else {
            return self.meta().resource_version == other.meta().resource_version;
        };
        decisive(one) == decisive(other)
    }

    /// The uid of the controller that owns this object, if one does.
    pub fn controller_uid(&self) -> Option<&str> {
        let owners = self.meta().owner_references.as_deref().unwrap_or_default();
        owners.iter().find(|o| o.controller == Some(true)).map(|o| o.uid.as_str())
    }
}

/// What of a Node a pod is judged by.
fn decisive(node: &Node) -> impl PartialEq {
    let (meta, status) = (&node.metadata, node.status.as_ref());
    (meta.labels.as_ref(), meta.annotations.as_ref(), node.spec.as_ref(), status.and_then(|s| s.allocatable.as_ref()))
}

/// Names one object: kind, namespace ("" where the kind has none) and name.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Key {
    /// The kind.
    pub kind: Kind,
    /// The namespace, "" for cluster-scoped kinds.
    pub namespace: String,
    /// The name.
    pub name: String,
}

impl Key {
    /// A key from its parts.
    pub fn new(kind: Kind, namespace: impl Into<String>, name: impl Into<String>) -> Key {
        Key { kind, namespace: namespace.into(), name: name.into() }
    }
}

impl std::fmt::Display for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.namespace.as_str() {
            "" => write!(f, "{} {}", self.kind.shown(), self.name),
            ns => write!(f, "{} {ns}/{}", self.kind.shown(), self.name),
        }
    }
}
