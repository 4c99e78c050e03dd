//! The table itself: one row a field, grouped by struct. See the parent for what a row means.

use super::{Row, Status};

const ALONE: &str = "means nothing on a node alone; ignored";
const NO_ENV_FILES: &str = "files of variables cannot be read: the feature is off in Kubernetes too; use a ConfigMap with envFrom";
const NO_API: &str = "there is no API server that would issue it, or accept it; remove the source";
const NO_DRIVER: &str =
    "volumes of this type need a storage driver that this agent does not have; mount it on the host and use hostPath, or use emptyDir";
const NO_SELINUX: &str = "not yet: SELinux labels cannot be applied, and the container must not run without; remove them";
const NO_SNAPSHOTS: &str = "a claim begins as an empty directory: nothing here can copy another volume into it; copy in an init container";
const NO_CLASSES: &str = "there are no PersistentVolumes or classes of them on a node alone: every claim is a directory under the agent's state directory; ignored";
const NO_WINDOWS: &str = "this agent runs Linux containers only";
const NO_DEVICES: &str = "dynamic resource allocation needs a driver that this agent does not have; remove it";

/// A group of rows: `Struct { field: Status ... }`.
macro_rules! rows {
    ($($owner:ident { $($field:literal: $status:ident $(($reason:expr))? $(unless [$($except:literal),*])? $(=> $inner:ident)?;)* })*) => {
        &[$($(Row {
            owner: stringify!($owner),
            field: $field,
            status: Status::$status,
            reason: concat_or_empty!($($reason)?),
            except: &[$($($except),*)?],
            inner: inner_or_empty!($($inner)?),
        },)*)*]
    };
}

macro_rules! concat_or_empty {
    () => {
        ""
    };
    ($reason:expr) => {
        $reason
    };
}

macro_rules! inner_or_empty {
    () => {
        ""
    };
    ($inner:ident) => {
        stringify!($inner)
    };
}

static ROWS: &[Row] = rows! {
    DaemonSetSpec {
        "minReadySeconds": Honoured;
        "revisionHistoryLimit": Honoured;
        "selector": Honoured;
        "template": Honoured => PodTemplateSpec;
        "updateStrategy": Honoured => DaemonSetUpdateStrategy;
    }
    DaemonSetUpdateStrategy {
        "rollingUpdate": Honoured;
        "type": Honoured;
    }
    JobSpec {
        "activeDeadlineSeconds": Honoured;
        "backoffLimit": Honoured;
        "backoffLimitPerIndex": Honoured;
        "completionMode": Honoured;
        "completions": Honoured;
        "managedBy": Refused("another controller would have to run this Job, and there is none; remove the field") unless ["kubernetes.io/job-controller"];
        "manualSelector": Refused("selectors of Jobs are generated here; remove the field and the selector") unless ["false"];
        "maxFailedIndexes": Honoured;
        "parallelism": Honoured;
        "podFailurePolicy": Honoured;
        "podReplacementPolicy": Honoured;
        "selector": Honoured;
        "successPolicy": Honoured;
        "suspend": Honoured;
        "template": Honoured => PodTemplateSpec;
        "ttlSecondsAfterFinished": Honoured;
    }
    CronJobSpec {
        "concurrencyPolicy": Honoured;
        "failedJobsHistoryLimit": Honoured;
        "jobTemplate": Honoured => JobTemplateSpec;
        "schedule": Honoured;
        "startingDeadlineSeconds": Honoured;
        "successfulJobsHistoryLimit": Honoured;
        "suspend": Honoured;
        "timeZone": Honoured;
    }
    JobTemplateSpec {
        "metadata": Honoured;
        "spec": Honoured => JobSpec;
    }
    PodTemplateSpec {
        "metadata": Honoured;
        "spec": Honoured => PodSpec;
    }
    NodeSpec {
        "configSource": NotApplicable(ALONE);
        "externalID": NotApplicable(ALONE);
        "podCIDR": NotApplicable("pod addresses are the CNI plugin's to give; ignored");
        "podCIDRs": NotApplicable("pod addresses are the CNI plugin's to give; ignored");
        "providerID": NotApplicable(ALONE);
        "taints": Honoured;
        "unschedulable": Honoured;
    }
    PodSpec {
        "activeDeadlineSeconds": Honoured;
        "affinity": Honoured => Affinity;
        "automountServiceAccountToken": NotApplicable("there are no service account tokens on a node alone; ignored");
        "containers": Honoured => Container;
        "dnsConfig": Honoured;
        "dnsPolicy": Honoured;
        "enableServiceLinks": NotApplicable("there are no Services on a node alone; ignored");
        "ephemeralContainers": Refused("ephemeral containers cannot be set in a manifest");
        "hostAliases": Honoured;
        "hostIPC": Honoured;
        "hostNetwork": Honoured;
        "hostPID": Honoured;
        "hostUsers": Honoured;
        "hostname": Honoured;
        "hostnameOverride": Honoured;
        "imagePullSecrets": Honoured;
        "initContainers": Honoured => Container;
        "nodeName": Honoured;
        "nodeSelector": Honoured;
        "os": Honoured => PodOS;
        "overhead": Honoured;
        "preemptionPolicy": NotApplicable(ALONE);
        "priority": Honoured;
        "priorityClassName": NotApplicable("there are no PriorityClasses on a node alone; ignored") unless ["system-node-critical", "system-cluster-critical"];
        "readinessGates": Refused("nothing on a node alone would ever open a readiness gate; remove it");
        "resourceClaims": Refused(NO_DEVICES);
        "resources": Honoured => ResourceRequirements;
        "restartPolicy": Honoured;
        "runtimeClassName": Refused("not yet: all containers run with the agent's one runtime, and the pod must not run with another than it asks for; remove the field");
        "schedulerName": NotApplicable("there is no scheduler on a node alone; ignored");
        "schedulingGates": Refused("nothing on a node alone would ever open a scheduling gate; remove it");
        "schedulingGroup": NotApplicable("there is no scheduler on a node alone; ignored");
        "securityContext": Honoured => PodSecurityContext;
        "serviceAccount": NotApplicable("there are no ServiceAccounts on a node alone; ignored");
        "serviceAccountName": NotApplicable("there are no ServiceAccounts on a node alone; ignored");
        "setHostnameAsFQDN": Honoured;
        "shareProcessNamespace": Honoured;
        "subdomain": NotApplicable("there is no cluster DNS on a node alone: the full name is known to the pod itself only");
        "terminationGracePeriodSeconds": Honoured;
        "tolerations": Honoured;
        "topologySpreadConstraints": NotApplicable("there is one node only; ignored");
        "volumes": Honoured => Volume;
    }
    PodOS {
        "name": Refused(NO_WINDOWS) unless ["linux"];
    }
    Affinity {
        "nodeAffinity": Honoured => NodeAffinity;
        "podAffinity": NotApplicable("there is one node only; ignored");
        "podAntiAffinity": NotApplicable("there is one node only; ignored");
    }
    NodeAffinity {
        "preferredDuringSchedulingIgnoredDuringExecution": NotApplicable("there is one node only, so a preference changes nothing; ignored");
        "requiredDuringSchedulingIgnoredDuringExecution": Honoured;
    }
    PodSecurityContext {
        "appArmorProfile": Honoured => AppArmorProfile;
        "fsGroup": Honoured;
        "fsGroupChangePolicy": Honoured;
        "runAsGroup": Honoured;
        "runAsNonRoot": Honoured;
        "runAsUser": Honoured;
        "seLinuxChangePolicy": Refused(NO_SELINUX);
        "seLinuxOptions": Honoured;
        "seccompProfile": Honoured => SeccompProfile;
        "supplementalGroups": Honoured;
        "supplementalGroupsPolicy": Honoured;
        "sysctls": Honoured;
        "windowsOptions": Refused(NO_WINDOWS) unless ["{}"];
    }
    SecurityContext {
        "allowPrivilegeEscalation": Honoured;
        "appArmorProfile": Honoured => AppArmorProfile;
        "capabilities": Honoured;
        "privileged": Honoured;
        "procMount": Honoured;
        "readOnlyRootFilesystem": Honoured;
        "runAsGroup": Honoured;
        "runAsNonRoot": Honoured;
        "runAsUser": Honoured;
        "seLinuxOptions": Honoured;
        "seccompProfile": Honoured => SeccompProfile;
        "windowsOptions": Refused(NO_WINDOWS) unless ["{}"];
    }
    SeccompProfile {
        "localhostProfile": Honoured;
        "type": Honoured;
    }
    AppArmorProfile {
        "localhostProfile": Honoured;
        "type": Honoured;
    }
    Container {
        "args": Honoured;
        "command": Honoured;
        "env": Honoured => EnvVar;
        "envFrom": Honoured;
        "image": Honoured;
        "imagePullPolicy": Honoured;
        "lifecycle": Honoured => Lifecycle;
        "livenessProbe": Honoured;
        "name": Honoured;
        "ports": Honoured;
        "readinessProbe": Honoured;
        "resizePolicy": NotApplicable("containers are not resized in place: a change of resources makes a new pod; ignored");
        "resources": Honoured => ResourceRequirements;
        "restartPolicy": Honoured;
        "restartPolicyRules": Honoured => ContainerRestartRule;
        "securityContext": Honoured => SecurityContext;
        "startupProbe": Honoured;
        "stdin": Honoured;
        "stdinOnce": Honoured;
        "terminationMessagePath": Honoured;
        "terminationMessagePolicy": Honoured;
        "tty": Honoured;
        "volumeDevices": Refused("not yet: block devices; use a hostPath volume of type BlockDevice");
        "volumeMounts": Honoured => VolumeMount;
        "workingDir": Honoured;
    }
    Lifecycle {
        "postStart": Honoured;
        "preStop": Honoured;
        "stopSignal": Honoured;
    }
    ContainerRestartRule {
        "action": Honoured;
        "exitCodes": Honoured;
    }
    EnvVar {
        "name": Honoured;
        "value": Honoured;
        "valueFrom": Honoured => EnvVarSource;
    }
    EnvVarSource {
        "configMapKeyRef": Honoured;
        "fieldRef": Honoured;
        "fileKeyRef": Refused(NO_ENV_FILES);
        "resourceFieldRef": Honoured;
        "secretKeyRef": Honoured;
    }
    ResourceRequirements {
        "claims": Refused(NO_DEVICES);
        "limits": Honoured;
        "requests": Honoured;
    }
    VolumeMount {
        "mountPath": Honoured;
        "mountPropagation": Honoured;
        "name": Honoured;
        "readOnly": Honoured;
        "recursiveReadOnly": Honoured;
        "subPath": Honoured;
        "subPathExpr": Honoured;
    }
    Volume {
        "awsElasticBlockStore": Refused(NO_DRIVER);
        "azureDisk": Refused(NO_DRIVER);
        "azureFile": Refused(NO_DRIVER);
        "cephfs": Refused(NO_DRIVER);
        "cinder": Refused(NO_DRIVER);
        "configMap": Honoured;
        "csi": Refused(NO_DRIVER);
        "downwardAPI": Honoured;
        "emptyDir": Honoured => EmptyDirVolumeSource;
        "ephemeral": Refused(NO_DRIVER);
        "fc": Refused(NO_DRIVER);
        "flexVolume": Refused(NO_DRIVER);
        "flocker": Refused(NO_DRIVER);
        "gcePersistentDisk": Refused(NO_DRIVER);
        "gitRepo": Refused("removed from Kubernetes; clone in an init container into an emptyDir");
        "glusterfs": Refused(NO_DRIVER);
        "hostPath": Honoured;
        "image": Honoured;
        "iscsi": Refused(NO_DRIVER);
        "name": Honoured;
        "nfs": Honoured;
        "persistentVolumeClaim": Honoured;
        "photonPersistentDisk": Refused(NO_DRIVER);
        "portworxVolume": Refused(NO_DRIVER);
        "projected": Honoured => ProjectedVolumeSource;
        "quobyte": Refused(NO_DRIVER);
        "rbd": Refused(NO_DRIVER);
        "scaleIO": Refused(NO_DRIVER);
        "secret": Honoured;
        "storageos": Refused(NO_DRIVER);
        "vsphereVolume": Refused(NO_DRIVER);
    }
    ProjectedVolumeSource {
        "defaultMode": Honoured;
        "sources": Honoured => VolumeProjection;
    }
    VolumeProjection {
        "clusterTrustBundle": Refused(NO_API);
        "configMap": Honoured;
        "downwardAPI": Honoured;
        "podCertificate": Refused(NO_API);
        "secret": Honoured;
        "serviceAccountToken": Refused(NO_API);
    }
    EmptyDirVolumeSource {
        "medium": Honoured;
        "sizeLimit": Honoured;
    }
    PersistentVolumeClaimSpec {
        "accessModes": NotApplicable("every pod of this node may use the claim, whatever its access modes; ignored") unless ["[\"ReadWriteOnce\"]", "[\"ReadWriteMany\"]"];
        "dataSource": Refused(NO_SNAPSHOTS);
        "dataSourceRef": Refused(NO_SNAPSHOTS);
        "resources": NotApplicable("a claim is a directory under the agent's state directory, and may take what that disk has; ignored");
        "selector": Warned(NO_CLASSES);
        "storageClassName": NotApplicable(NO_CLASSES);
        "volumeAttributesClassName": NotApplicable(NO_CLASSES);
        "volumeMode": Refused("a claim is a directory, not a block device; use a hostPath volume of type BlockDevice") unless ["Filesystem"];
        "volumeName": Warned(NO_CLASSES);
    }
};

/// Every row, grouped by struct.
pub fn table() -> &'static [Row] {
    ROWS
}
