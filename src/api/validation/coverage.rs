//! Which of the API server's checks and defaults are here, where, and by which test: a table that a reader can trust, because the tests below hold it to
//! the sources. Upstream is Kubernetes v1.36; paths are below its root.
//!
//! A row: upstream's function, ours (`file function`, below `src/api`), the test that shows it (`file test`, below `src/api/validation/tests` unless it
//! says otherwise). What has no row and stands in [`NOT_APPLICABLE`] is left out on purpose, with the reason. Where we say something else than Kubernetes
//! on purpose is [`OURS`].

use std::collections::BTreeSet;
use std::path::Path;

/// Upstream's function, our rule, the test.
type Row = (&'static str, &'static str, &'static str);

const META: (&str, &[Row]) = (
    "staging/src/k8s.io/apimachinery/pkg/{api/validation/objectmeta.go,apis/meta/v1/validation/validation.go,util/validation/validation.go}",
    &[
        ("ValidateObjectMeta", "validation/metadata.rs object_meta", "objects.rs names_labels_and_annotations"),
        ("ValidateAnnotations", "validation/metadata.rs annotations", "objects.rs names_labels_and_annotations"),
        ("ValidateLabels", "validation/metadata.rs labels", "objects.rs names_labels_and_annotations"),
        ("ValidateOwnerReferences", "validation/metadata.rs owners", "nodes.rs finalizers_and_owners"),
        ("ValidateFinalizers", "validation/metadata.rs finalizers", "nodes.rs finalizers_and_owners"),
        ("ValidateLabelSelector", "validation/metadata.rs selector", "placement.rs label_keys_of_pod_affinity"),
        ("IsDNS1123Label", "validation/format.rs dns_label", "formats.rs what_the_expressions_make_is_right"),
        ("IsDNS1123Subdomain", "validation/format.rs dns_subdomain", "formats.rs what_the_expressions_make_is_right"),
        ("IsDNS1123SubdomainWithUnderscore", "validation/format.rs dns_search", "pods.rs a_pods_own_fields"),
        ("IsQualifiedName", "validation/format.rs qualified_name", "formats.rs what_the_expressions_make_is_right"),
        ("IsValidLabelValue", "validation/format.rs label_value", "formats.rs what_the_expressions_make_is_right"),
        ("IsConfigMapKey", "validation/format.rs config_key", "formats.rs what_the_expressions_make_is_right"),
        ("IsRelaxedEnvVarName", "validation/format.rs env_name", "containers.rs environment_variables_have_one_source"),
        ("IsValidPortName", "validation/format.rs port_name", "ports.rs ports_have_numbers_names_and_protocols"),
        ("IsValidPortNum", "validation/format.rs port_number", "ports.rs ports_have_numbers_names_and_protocols"),
        ("IsValidPercent", "validation/format.rs percent", "formats.rs what_the_expressions_make_is_right"),
        ("IsHTTPHeaderName", "validation/format.rs http_header", "ports.rs probes_of_every_kind_of_container"),
        ("IsValidIP", "validation/format.rs ip", "pods.rs a_pods_own_fields"),
        ("IsValidCIDR", "validation/format.rs cidr", "nodes.rs taints_and_networks_of_nodes"),
        ("IsDomainPrefixedPath", "validation/format.rs domain_prefixed_path", "jobs.rs very_many_completions"),
        ("field.Error", "validation/field.rs push", "objects.rs everything_wrong_is_said_at_once"),
    ],
);

const POD: (&str, &[Row]) = (
    "pkg/apis/core/validation/validation.go (pods)",
    &[
        ("ValidatePodCreate", "validation/pod.rs pod", "pods.rs a_pods_own_fields"),
        ("ValidatePodTemplateSpec", "validation/pod.rs template", "workloads.rs daemon_sets"),
        ("ValidatePodSpec", "validation/pod.rs spec", "pods.rs a_pods_own_fields"),
        ("ValidatePodSpecificAnnotations", "validation/annotations.rs of_pod", "annotations.rs annotations_that_mean_something_are_right"),
        (
            "ValidateTolerationsInPodAnnotations",
            "validation/annotations.rs of_pod",
            "annotations.rs annotations_that_mean_something_are_right",
        ),
        ("ValidateSeccompPodAnnotations", "validation/annotations.rs seccomp", "annotations.rs annotations_that_mean_something_are_right"),
        ("ValidateAppArmorPodAnnotations", "validation/annotations.rs of_pod", "annotations.rs annotations_that_mean_something_are_right"),
        (
            "validateSeccompAnnotationsAndFields",
            "validation/annotations.rs agree",
            "annotations.rs annotations_and_fields_ask_for_the_same_profile",
        ),
        (
            "validateAppArmorAnnotationsAndFieldsMatchOnCreate",
            "validation/annotations.rs agree",
            "annotations.rs annotations_and_fields_ask_for_the_same_profile",
        ),
        ("validateRestartPolicy", "validation/pod.rs policies", "pods.rs a_pods_own_fields"),
        ("ValidatePreemptionPolicy", "validation/pod.rs policies", "hostile.rs no_value_anywhere_makes_the_rules_panic"),
        ("validateHostUsers", "validation/pod.rs policies", "ports.rs dns_and_host_aliases"),
        ("validateOS", "validation/pod.rs policies", "pods.rs a_pods_own_fields"),
        ("validateLinux", "validation/security.rs linux", "ports.rs dns_and_host_aliases"),
        ("ValidateRuntimeClassName", "validation/pod.rs names", "ports.rs dns_and_host_aliases"),
        ("validateSchedulingGates", "validation/pod.rs names", "hostile.rs no_value_anywhere_makes_the_rules_panic"),
        ("validateReadinessGates", "validation/pod.rs names", "hostile.rs no_value_anywhere_makes_the_rules_panic"),
        ("validateDNSPolicy", "validation/network.rs of_pod", "ports.rs dns_and_host_aliases"),
        ("validatePodDNSConfig", "validation/network.rs dns_config", "ports.rs dns_and_host_aliases"),
        ("ValidateHostAliases", "validation/network.rs host_aliases", "ports.rs dns_and_host_aliases"),
        ("validatePodHostNetworkDeps", "validation/network.rs of_pod", "pods.rs a_pods_own_fields"),
        ("validatePodResources", "validation/pod_resources.rs of_pod", "whole_pods.rs a_pod_asks_for_no_less_than_its_containers"),
        (
            "validatePodResourceConsistency",
            "validation/pod_resources.rs consistent",
            "whole_pods.rs a_pod_asks_for_no_less_than_its_containers",
        ),
        ("validateOverhead", "validation/pod_resources.rs of_pod", "whole_pods.rs overhead_and_huge_pages"),
        ("validatePodResourceClaims", "validation/pod_resources.rs claims", "whole_pods.rs claims_are_the_pods_and_each_is_named_once"),
        ("validateAffinity", "validation/scheduling.rs affinity", "pods.rs affinity_and_tolerations"),
        ("ValidateNodeSelectorRequirement", "validation/scheduling.rs node_label_requirement", "pods.rs affinity_and_tolerations"),
        (
            "ValidateNodeFieldSelectorRequirement",
            "validation/scheduling.rs node_field_requirement",
            "placement.rs values_of_preferred_terms_need_not_be_label_values",
        ),
        (
            "ValidatePreferredSchedulingTerms",
            "validation/scheduling.rs affinity",
            "placement.rs values_of_preferred_terms_need_not_be_label_values",
        ),
        ("validatePodAffinityTerm", "validation/scheduling.rs pod_term", "placement.rs label_keys_of_pod_affinity"),
        ("validateMatchLabelKeysAndMismatchLabelKeys", "validation/spread.rs affinity_keys", "placement.rs label_keys_of_pod_affinity"),
        ("ValidateTolerations", "validation/scheduling.rs tolerations", "placement.rs tolerations_of_every_form"),
        ("validateTopologySpreadConstraints", "validation/spread.rs constraints", "placement.rs spread_constraints"),
        ("validateMatchLabelKeysInTopologySpread", "validation/spread.rs spread_keys", "placement.rs spread_constraints"),
        ("validatePodSpecSecurityContext", "validation/security.rs pod", "pods.rs a_pods_own_fields"),
        ("validateSysctls", "validation/security.rs sysctls", "pods.rs a_pods_own_fields"),
        ("validateSeccompProfileField", "validation/security.rs seccomp", "containers.rs security_contexts_do_not_contradict_themselves"),
        (
            "ValidateAppArmorProfileField",
            "validation/security.rs app_armor",
            "containers.rs security_contexts_do_not_contradict_themselves",
        ),
    ],
);

const CONTAINER: (&str, &[Row]) = (
    "pkg/apis/core/validation/validation.go (containers and volumes)",
    &[
        ("validateContainers", "validation/container.rs regular", "containers.rs containers_names_ports_and_policies"),
        ("validateInitContainers", "validation/container.rs init", "containers.rs containers_names_ports_and_policies"),
        ("validateContainerCommon", "validation/container.rs common", "containers.rs containers_names_ports_and_policies"),
        ("validateContainerRestartPolicy", "validation/container.rs restart_rules", "containers.rs containers_names_ports_and_policies"),
        ("validateContainerPorts", "validation/container.rs ports", "ports.rs ports_have_numbers_names_and_protocols"),
        ("checkHostPortConflicts", "validation/container.rs host_port_conflicts", "ports.rs ports_have_numbers_names_and_protocols"),
        ("ValidateEnv", "validation/env.rs variables", "containers.rs environment_variables_have_one_source"),
        ("validateEnvVarValueFrom", "validation/env.rs source", "containers.rs environment_variables_have_one_source"),
        ("ValidateEnvFrom", "validation/env.rs from_sources", "containers.rs environment_variables_have_one_source"),
        ("validateObjectFieldSelector", "validation/env.rs field_selector", "containers.rs environment_variables_have_one_source"),
        (
            "validateContainerResourceFieldSelector",
            "validation/env.rs resource_selector",
            "containers.rs environment_variables_have_one_source",
        ),
        ("validateSecretKeySelector", "validation/env.rs key_selector", "containers.rs environment_variables_have_one_source"),
        ("ValidateVolumeMounts", "validation/container.rs mounts", "mounts.rs mounts_of_every_mode"),
        ("validateMountPropagation", "validation/container.rs mount_mode", "mounts.rs mounts_of_every_mode"),
        ("validateMountRecursiveReadOnly", "validation/container.rs mount_mode", "mounts.rs mounts_of_every_mode"),
        ("ValidateVolumeDevices", "validation/container.rs devices", "mounts.rs devices_are_block_claims_and_stand_nowhere_else"),
        (
            "ValidateContainerResourceRequirements",
            "validation/resources.rs requirements",
            "containers.rs requests_stay_within_limits_and_names_are_known",
        ),
        (
            "validateContainerResourceName",
            "validation/resources.rs of_container",
            "containers.rs requests_stay_within_limits_and_names_are_known",
        ),
        ("validatePodResourceName", "validation/resources.rs of_pod", "whole_pods.rs a_pod_asks_for_no_less_than_its_containers"),
        ("validateResourceQuantityHugePageValue", "validation/resources.rs list", "whole_pods.rs overhead_and_huge_pages"),
        ("validateResourceClaimNames", "validation/resources.rs claim_names", "whole_pods.rs claims_are_the_pods_and_each_is_named_once"),
        ("validateResizePolicy", "validation/resources.rs resize_policy", "hostile.rs no_value_anywhere_makes_the_rules_panic"),
        ("ValidateSecurityContext", "validation/security.rs container", "containers.rs security_contexts_do_not_contradict_themselves"),
        ("validateLivenessProbe", "validation/probes.rs of_container", "containers.rs probes_and_hooks_have_one_handler"),
        ("validateProbe", "validation/probes.rs probe", "ports.rs probes_of_every_kind_of_container"),
        ("validateHandler", "validation/probes.rs handler", "containers.rs probes_and_hooks_have_one_handler"),
        ("validateLifecycle", "validation/probes.rs lifecycle", "containers.rs probes_and_hooks_have_one_handler"),
        ("validateStopSignal", "validation/stop_signal.rs stop_signal", "../stop_signal.rs signals_by_name_with_and_without_a_system"),
        ("ValidateVolumes", "validation/volumes.rs volumes", "mounts.rs sources_of_volumes"),
        ("validateVolumeSource", "validation/volumes.rs source", "mounts.rs sources_of_volumes"),
        ("validateHostPathVolumeSource", "validation/volumes.rs host_path", "pods.rs volumes_and_their_mounts"),
        ("validateKeyToPath", "validation/volumes.rs key_to_path", "mounts.rs sources_of_volumes"),
        ("validateDownwardAPIVolumeFile", "validation/volumes.rs downward_file", "mounts.rs sources_of_volumes"),
        ("validateProjectedVolumeSource", "validation/volumes.rs projected", "mounts.rs sources_of_volumes"),
    ],
);

const OBJECTS: (&str, &[Row]) = (
    "pkg/apis/core/validation/validation.go (the other objects)",
    &[
        ("ValidateConfigMap", "validation/config.rs config_map", "objects.rs configuration_and_claims"),
        ("ValidateSecret", "validation/config.rs secret", "objects.rs configuration_and_claims"),
        ("ValidatePersistentVolumeClaimSpec", "validation/config.rs claim_spec", "objects.rs configuration_and_claims"),
        ("ValidateNode", "validation/node.rs node", "nodes.rs taints_and_networks_of_nodes"),
        ("ValidateNodeResources", "validation/node.rs quantities", "nodes.rs taints_and_networks_of_nodes"),
        ("validateNodeTaints", "validation/scheduling.rs taints", "nodes.rs taints_and_networks_of_nodes"),
        ("ValidateTaintsInNodeAnnotations", "validation/annotations.rs of_node", "nodes.rs taints_and_networks_of_nodes"),
    ],
);

const WORKLOADS: (&str, &[Row]) = (
    "pkg/apis/{apps,batch}/validation/validation.go",
    &[
        ("ValidateDaemonSetSpec", "validation/daemon_set.rs spec", "workloads.rs daemon_sets"),
        ("ValidateDaemonSetUpdateStrategy", "validation/daemon_set.rs update_strategy", "workloads.rs daemon_sets"),
        ("ValidateRollingUpdateDaemonSet", "validation/daemon_set.rs rolling_update", "workloads.rs daemon_sets"),
        ("ValidatePositiveIntOrPercent", "validation/daemon_set.rs count", "workloads.rs daemon_sets"),
        ("ValidateJob", "validation/job.rs job", "workloads.rs jobs"),
        ("validateGeneratedSelector", "validation/job.rs generated_labels", "jobs.rs generated_labels_are_the_jobs_own"),
        ("ValidateJobSpec", "validation/job.rs own_selector", "workloads.rs jobs"),
        ("validateJobSpec", "validation/job.rs spec", "jobs.rs very_many_completions"),
        ("validatePodReplacementPolicy", "validation/job.rs replacement", "workloads.rs jobs"),
        ("validatePodFailurePolicy", "validation/job_policy.rs failure", "jobs.rs failure_policies_at_their_limits"),
        ("validatePodFailurePolicyRuleOnExitCodes", "validation/job_policy.rs exit_codes", "jobs.rs failure_policies_at_their_limits"),
        (
            "validatePodFailurePolicyRuleOnPodConditions",
            "validation/job_policy.rs pod_conditions",
            "jobs.rs failure_policies_at_their_limits",
        ),
        ("validateSuccessPolicy", "validation/job_policy.rs success", "jobs.rs success_policies_at_their_limits"),
        ("validateIndexesFormat", "validation/job_policy.rs count_indexes", "jobs.rs success_policies_at_their_limits"),
        ("ValidateCronJobCreate", "validation/cron_job.rs cron_job", "workloads.rs cron_jobs"),
        ("validateScheduleFormat", "validation/cron_job.rs spec", "workloads.rs cron_jobs"),
        ("validateTimeZone", "validation/cron_job.rs time_zone", "workloads.rs cron_jobs"),
        ("ValidateJobTemplateSpec", "validation/cron_job.rs spec", "workloads.rs cron_jobs"),
    ],
);

const DEFAULTS: (&str, &[Row]) = (
    "pkg/apis/{core,apps,batch}/v1/defaults.go",
    &[
        ("SetDefaults_PodSpec", "defaults/pod.rs spec", "../../defaults/tests.rs a_pod_gets_what_the_api_server_fills_in"),
        ("SetDefaults_Pod", "defaults/pod.rs resources", "../../defaults/tests.rs requests_follow_limits_and_ports_follow_host_network"),
        (
            "Convert_v1_Pod_To_core_Pod",
            "defaults/pod.rs spec",
            "../../defaults/tests.rs requests_follow_limits_and_ports_follow_host_network",
        ),
        ("defaultPodRequests", "defaults/pod_resources.rs apply", "../../defaults/tests.rs a_whole_pod_asks_for_what_its_containers_do"),
        (
            "defaultHugePagePodLimits",
            "defaults/pod_resources.rs apply",
            "../../defaults/tests.rs a_whole_pod_asks_for_what_its_containers_do",
        ),
        ("SetDefaults_Container", "defaults/pod.rs container", "../../defaults/tests.rs the_pull_policy_follows_the_tag"),
        ("SetDefaults_Probe", "defaults/pod.rs probe", "../../defaults/tests.rs requests_follow_limits_and_ports_follow_host_network"),
        (
            "SetDefaults_HTTPGetAction",
            "defaults/pod.rs http_get",
            "../../defaults/tests.rs requests_follow_limits_and_ports_follow_host_network",
        ),
        (
            "SetDefaults_ObjectFieldSelector",
            "defaults/pod.rs field_selector",
            "../../defaults/tests.rs requests_follow_limits_and_ports_follow_host_network",
        ),
        (
            "SetDefaults_ResourceList",
            "defaults/pod.rs round_up",
            "../../defaults/tests.rs requests_follow_limits_and_ports_follow_host_network",
        ),
        ("SetDefaults_Volume", "defaults/pod.rs volume", "../../defaults/tests.rs a_pod_gets_what_the_api_server_fills_in"),
        (
            "SetDefaults_{Secret,ConfigMap,DownwardAPI,HostPath}VolumeSource",
            "defaults/pod.rs volume",
            "../../defaults/tests.rs volumes_get_their_modes",
        ),
        ("SetDefaults_ProjectedVolumeSource", "defaults/pod.rs projected", "../../defaults/tests.rs volumes_get_their_modes"),
        ("SetDefaults_ServiceAccountTokenProjection", "defaults/pod.rs projected", "../../defaults/tests.rs volumes_get_their_modes"),
        ("SetDefaults_PersistentVolumeClaimSpec", "defaults.rs claim", "../../defaults/tests.rs volumes_get_their_modes"),
        ("SetDefaults_Secret", "defaults.rs secret", "../../defaults/tests.rs a_secrets_texts_win_over_its_data_and_a_node_stays_as_it_is"),
        ("SetDefaults_DaemonSet", "defaults.rs daemon_set", "../../defaults/tests.rs workloads_get_their_strategies_and_limits"),
        (
            "SetDefaults_Job",
            "defaults.rs job_spec",
            "../../defaults/tests.rs a_job_without_numbers_runs_once_and_one_with_parallelism_is_a_work_queue",
        ),
        ("SetDefaults_CronJob", "defaults.rs cron_job", "../../defaults/tests.rs workloads_get_their_strategies_and_limits"),
    ],
);

const COVERED: [(&str, &[Row]); 6] = [META, POD, CONTAINER, OBJECTS, WORKLOADS, DEFAULTS];

/// What the API server also does, and why nothing here does it.
const NOT_APPLICABLE: &[(&str, &str)] = &[
    ("authentication, RBAC, admission webhooks and policies", "who may write a file below the manifests directory may do everything"),
    (
        "Pod Security admission, ResourceQuota, LimitRange, PriorityClass and RuntimeClass look-ups",
        "there are no such objects on a node alone",
    ),
    ("the ServiceAccount admission plugin", "there are no ServiceAccounts; serviceAccountToken volumes are refused by the support table"),
    ("--allow-privileged, capabilities.Get().AllowPrivileged", "always allowed, as kubeadm sets it: a manifest's author is root here"),
    ("Validate*Update, immutable fields", "controllers::sync compares with the stored object and says what it does not change"),
    ("Validate*Status*", "status is taken off manifests: the agent keeps it itself"),
    ("ValidateManagedFields, deletionTimestamp, uid, resourceVersion", "taken off manifests: they belong to the cluster of an export"),
    ("validateEphemeralContainers", "they cannot be created with a pod: the one fault says so"),
    (
        "validateWindows, validateWindowsSecurityContextOptions, validateWindowsHostProcessPod",
        "pods for Windows are refused by the support table",
    ),
    (
        "the sources awsElasticBlockStore to vsphereVolume, csi's and ephemeral's own fields, clusterTrustBundle, podCertificate",
        "refused whole by the support table; that there is only one source is checked",
    ),
    ("validateDataSource, validateDataSourceRef", "refused whole by the support table"),
    ("ValidateAvoidPodsInNodeAnnotations, validateNodeConfigSourceSpec", "what they were for is gone from Kubernetes"),
    ("ValidateReadOnlyPersistentDisks", "the disks are refused by the support table"),
    ("SetDefaults_{PersistentVolumeClaim,Node,Namespace}Status", "status is the agent's"),
    ("defaultPodLimits", "a limit that nobody wrote: left to the code that applies limits of whole pods"),
    ("feature gates", "as v1.36 has them by default; tolerations' Lt and Gt are off"),
    ("Deployment, StatefulSet, Service, Ingress, … and custom resources", "passed over by name: src/api/manifest/kinds.rs"),
];

/// Where we differ on purpose.
const OURS: &[(&str, &str)] = &[
    ("the value of a struct", "shown as JSON with the names a manifest has; Kubernetes shows its internal type's"),
    ("metadata.taints", "spec.taints, where they stand"),
    ("podCIDRs[0] for what podCIDR says", "spec.podCIDR, where it stands"),
    (
        "volumeMounts.subPath, .mountPropagation, .recursiveReadOnly and ownerReferences' fields",
        "with the index that Kubernetes leaves out",
    ),
    ("a required field that is empty", "Required value: the types cannot tell it from an absent one (spec.selector of a DaemonSet)"),
    ("a Secret's broken JSON", "without the character that Go's parser quotes"),
    ("quantities, times, types and unknown fields", "told by src/api/decode with file, line and column, all at once"),
    ("controller-uid labels of a Job's template", "no uid is known yet, so none can be right"),
];

#[cfg(test)]
mod tests {
    use super::*;

    fn root() -> &'static Path {
        Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/src/api"))
    }

    fn has_function(file: &Path, name: &str) -> bool {
        let text = std::fs::read_to_string(file).unwrap_or_else(|e| panic!("{}: {e}", file.display()));
        ["(", "<"].iter().any(|after| text.contains(&format!("fn {name}{after}")))
    }

    #[test]
    fn every_row_names_a_rule_and_a_test_that_are_there() {
        let (mut wrong, mut seen) = (Vec::new(), BTreeSet::new());
        for (upstream, ours, test) in COVERED.iter().flat_map(|(_, rows)| rows.iter()) {
            let (file, function) = ours.split_once(' ').unwrap_or_default();
            let (test_file, test_function) = test.split_once(' ').unwrap_or_default();
            if !has_function(&root().join(file), function) || !has_function(&root().join("validation/tests").join(test_file), test_function)
            {
                wrong.push(format!("{upstream}: {ours}, {test}"));
            }
            if !seen.insert(upstream) {
                wrong.push(format!("{upstream} has two rows"));
            }
        }
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
        assert!(seen.len() > 120, "{} rows", seen.len());
        assert!(NOT_APPLICABLE.iter().chain(OURS).all(|(what, why)| !what.is_empty() && !why.is_empty()));
    }

    #[test]
    fn every_file_of_rules_has_a_row() {
        let named: BTreeSet<&str> =
            COVERED.iter().flat_map(|(_, rows)| rows.iter()).filter_map(|(_, ours, _)| ours.split(' ').next()).collect();
        for entry in std::fs::read_dir(root().join("validation")).unwrap_or_else(|e| panic!("{e}")) {
            let name = entry.unwrap_or_else(|e| panic!("{e}")).file_name().to_string_lossy().into_owned();
            let exempt = ["mod.rs", "coverage.rs", "tests.rs", "tests"].contains(&name.as_str());
            assert!(exempt || named.contains(format!("validation/{name}").as_str()), "no row for {name}");
        }
    }
}
