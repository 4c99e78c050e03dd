//! Fields often written too high up: where they belong. (That a field stands too deep is seen from the types above it.)

use crate::api::suggest;

const POD_SPEC: &[&str] = &[
    "containers",
    "initContainers",
    "volumes",
    "restartPolicy",
    "nodeSelector",
    "nodeName",
    "tolerations",
    "affinity",
    "serviceAccountName",
    "serviceAccount",
    "hostNetwork",
    "hostPID",
    "hostIPC",
    "imagePullSecrets",
    "dnsPolicy",
    "dnsConfig",
    "priorityClassName",
    "hostAliases",
    "terminationGracePeriodSeconds",
    "securityContext",
    "automountServiceAccountToken",
    "hostname",
    "subdomain",
    "schedulerName",
    "topologySpreadConstraints",
    "runtimeClassName",
    "shareProcessNamespace",
];
const CONTAINER: &[&str] = &[
    "image",
    "command",
    "args",
    "env",
    "envFrom",
    "ports",
    "volumeMounts",
    "resources",
    "imagePullPolicy",
    "livenessProbe",
    "readinessProbe",
    "startupProbe",
    "lifecycle",
    "workingDir",
    "stdin",
    "tty",
    "terminationMessagePath",
    "terminationMessagePolicy",
];
const JOB_SPEC: &[&str] = &[
    "backoffLimit",
    "completions",
    "parallelism",
    "activeDeadlineSeconds",
    "ttlSecondsAfterFinished",
    "completionMode",
    "podFailurePolicy",
    "successPolicy",
    "backoffLimitPerIndex",
    "maxFailedIndexes",
    "podReplacementPolicy",
    "template",
];
const METADATA: &[&str] = &["name", "generateName", "namespace", "labels", "annotations"];
const SECURITY: &[&str] = &[
    "privileged",
    "runAsUser",
    "runAsGroup",
    "runAsNonRoot",
    "capabilities",
    "readOnlyRootFilesystem",
    "allowPrivilegeEscalation",
    "seccompProfile",
    "appArmorProfile",
    "seLinuxOptions",
];

/// (type, the fields' place below it, fields).
const BELOW: &[(&str, &str, &[&str])] = &[
    ("DaemonSet", "metadata", METADATA),
    ("DaemonSet", "spec", &["selector", "template", "updateStrategy", "minReadySeconds", "revisionHistoryLimit"]),
    ("DaemonSet", "spec.template.spec", POD_SPEC),
    ("Job", "metadata", METADATA),
    ("Job", "spec", JOB_SPEC),
    ("Job", "spec.template.spec", POD_SPEC),
    ("CronJob", "metadata", METADATA),
    ("CronJob", "spec", &["schedule", "timeZone", "jobTemplate", "concurrencyPolicy", "suspend", "startingDeadlineSeconds"]),
    ("CronJob", "spec", &["successfulJobsHistoryLimit", "failedJobsHistoryLimit"]),
    ("CronJob", "spec.jobTemplate.spec", JOB_SPEC),
    ("Pod", "metadata", METADATA),
    ("Pod", "spec", POD_SPEC),
    ("Node", "metadata", METADATA),
    ("Node", "spec", &["taints", "unschedulable", "podCIDR", "podCIDRs", "providerID"]),
    ("ConfigMap", "metadata", METADATA),
    ("Secret", "metadata", METADATA),
    ("PersistentVolumeClaim", "metadata", METADATA),
    ("PersistentVolumeClaim", "spec", &["accessModes", "resources", "storageClassName", "volumeMode", "volumeName"]),
    ("DaemonSetSpec", "template.spec", POD_SPEC),
    ("JobSpec", "template.spec", POD_SPEC),
    ("JobTemplateSpec", "metadata", METADATA),
    ("JobTemplateSpec", "spec", JOB_SPEC),
    ("JobTemplateSpec", "spec.template.spec", POD_SPEC),
    ("CronJobSpec", "jobTemplate.spec", JOB_SPEC),
    ("CronJobSpec", "jobTemplate.spec.template.spec", POD_SPEC),
    ("PodTemplateSpec", "metadata", METADATA),
    ("PodTemplateSpec", "spec", POD_SPEC),
    ("PodSpec", "containers[0]", CONTAINER),
    ("PodSpec", "metadata", METADATA),
    ("Container", "securityContext", SECURITY),
    ("Container", "resources", &["limits", "requests"]),
    ("Container", "lifecycle", &["preStop", "postStart"]),
    ("EnvFromSource", "configMapRef or secretRef", &["name", "optional"]),
    ("EnvVar", "valueFrom", &["configMapKeyRef", "secretKeyRef", "fieldRef", "resourceFieldRef"]),
    ("Volume", "hostPath", &["path", "type"]),
    ("Volume", "persistentVolumeClaim", &["claimName"]),
    ("Volume", "secret", &["secretName"]),
    ("Probe", "exec", &["command"]),
    ("Probe", "httpGet", &["path", "port", "scheme", "httpHeaders"]),
];

/// What is to be said of fields that other kinds have: (type, field, words).
const SAYINGS: &[(&str, &str, &str)] = &[
    ("DaemonSetSpec", "replicas", "a DaemonSet runs one Pod on each node that matches"),
    ("DaemonSetSpec", "strategy", "a DaemonSet has \"updateStrategy\""),
    ("JobSpec", "replicas", "a Job has \"parallelism\" and \"completions\""),
    ("JobSpec", "schedule", "only a CronJob has a schedule; its Job stands in \"jobTemplate\""),
];

/// Where below a `type_name` the field `key` belongs, and how it is spelt there.
pub(super) fn below(type_name: &str, key: &str) -> Option<(&'static str, &'static str)> {
    let places = BELOW.iter().filter(|(name, ..)| *name == type_name);
    places.flat_map(|(_, place, fields)| fields.iter().map(move |f| (*place, *f))).find(|(_, field)| suggest::same(key, field))
}

/// What is to be said of the field `key` of a `type_name`, if it is a known mistake.
pub(super) fn saying(type_name: &str, key: &str) -> Option<&'static str> {
    SAYINGS.iter().find(|(name, field, _)| *name == type_name && *field == key).map(|(.., words)| *words)
}
