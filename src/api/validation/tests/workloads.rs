//! DaemonSets, Jobs and CronJobs.

use super::*;

#[test]
fn daemon_sets() {
    let strategy = |rolling: Value| json!({"spec": {"updateStrategy": {"rollingUpdate": rolling}}});
    check(
        Kind::DaemonSet,
        &daemon_set(),
        &[
            (
                json!({"spec": {"selector": {"matchLabels": {"app": "y"}}}}),
                &["spec.template.metadata.labels: Invalid value: {\"app\":\"x\"}: `selector` does not match template `labels`"],
            ),
            // A selector that is no selector is not also said to match nothing.
            (
                json!({"spec": {"selector": {"matchExpressions": [{"key": "app", "operator": "Like", "values": ["x"]}]}}}),
                &["spec.selector.matchExpressions[0].operator: Invalid value: \"Like\": not a valid selector operator"],
            ),
            (json!({"spec": {"selector": null}}), &["spec.selector: Required value: empty selector is invalid for daemonset"]),
            (
                json!({"spec": {"template": {"spec": {"restartPolicy": "Never"}}}}),
                &["spec.template.spec.restartPolicy: Unsupported value: \"Never\": supported values: \"Always\""],
            ),
            (
                json!({"spec": {"template": {"spec": {"activeDeadlineSeconds": 5}}}}),
                &["spec.template.spec.activeDeadlineSeconds: Forbidden: activeDeadlineSeconds in DaemonSet is not Supported"],
            ),
            (json!({"spec": {"template": {"spec": null}}}), &["spec.template.spec.containers: Required value"]),
            (
                json!({"spec": {"minReadySeconds": -1, "revisionHistoryLimit": -2}}),
                &[
                    "spec.minReadySeconds: Invalid value: -1: must be greater than or equal to 0",
                    "spec.revisionHistoryLimit: Invalid value: -2: must be greater than or equal to 0",
                ],
            ),
            (
                json!({"spec": {"updateStrategy": {"type": "Recreate"}}}),
                &["spec.updateStrategy: Unsupported value: {\"type\":\"Recreate\"}: supported values: \"RollingUpdate\", \"OnDelete\""],
            ),
            (strategy(json!({"maxUnavailable": "50%"})), &[]),
            (strategy(json!({"maxUnavailable": 0, "maxSurge": "10%"})), &[]),
            (
                strategy(json!({"maxSurge": 1})),
                &["spec.updateStrategy.rollingUpdate.maxSurge: Invalid value: 1: may not be set when maxUnavailable is non-zero"],
            ),
            (
                strategy(json!({"maxUnavailable": 0})),
                &["spec.updateStrategy.rollingUpdate.maxUnavailable: Required value: cannot be 0 when maxSurge is 0"],
            ),
            (
                strategy(json!({"maxUnavailable": "101%"})),
                &["spec.updateStrategy.rollingUpdate.maxUnavailable: Invalid value: \"101%\": must not be greater than 100%"],
            ),
            (
                strategy(json!({"maxUnavailable": "1"})),
                &[
                    "spec.updateStrategy.rollingUpdate.maxUnavailable: Invalid value: \"1\": a valid percent string must be a numeric string followed by an ending '%' (e.g. '1%',  or '93%', regex used for validation is '[0-9]+%')",
                ],
            ),
            (
                json!({"spec": {"template": {"spec": {"containers": [{"name": "c", "image": "i", "volumeMounts": [{"name": "x", "mountPath": "/x"}]}]}}}}),
                &["spec.template.spec.containers[0].volumeMounts[0].name: Not found: \"x\""],
            ),
        ],
    );
}

#[test]
fn jobs() {
    let template = "spec.template.spec.restartPolicy";
    let required = format!("{template}: Required value: valid values: \"OnFailure\", \"Never\"");
    let long = "x".repeat(64);
    let label = format!("spec.template.labels: Invalid value: \"{long}\": must be no more than 63 bytes");
    check(
        Kind::Job,
        &job(),
        &[
            (json!({"spec": {"template": {"spec": {"restartPolicy": null}}}}), &[&required]),
            (json!({"spec": {"template": {"spec": {"restartPolicy": "Always"}}}}), &[&required]),
            (
                json!({"spec": {"parallelism": -1, "completions": -1, "backoffLimit": -1, "activeDeadlineSeconds": -1, "ttlSecondsAfterFinished": -1}}),
                &[
                    "spec.parallelism: Invalid value: -1: must be greater than or equal to 0",
                    "spec.completions: Invalid value: -1: must be greater than or equal to 0",
                    "spec.backoffLimit: Invalid value: -1: must be greater than or equal to 0",
                    "spec.ttlSecondsAfterFinished: Invalid value: -1: must be greater than or equal to 0",
                    "spec.activeDeadlineSeconds: Invalid value: -1: must be greater than or equal to 0",
                ],
            ),
            (json!({"spec": {"parallelism": 0}}), &[]),
            (
                json!({"spec": {"completionMode": "Sorted"}}),
                &["spec.completionMode: Unsupported value: \"Sorted\": supported values: \"NonIndexed\", \"Indexed\""],
            ),
            (
                json!({"spec": {"completionMode": "Indexed", "parallelism": 2}}),
                &["spec.completions: Required value: when completion mode is Indexed"],
            ),
            (
                json!({"spec": {"completionMode": "Indexed", "completions": 1, "parallelism": 100_001}}),
                &["spec.parallelism: Invalid value: 100001: must be less than or equal to 100000 when completion mode is Indexed"],
            ),
            (
                json!({"metadata": {"name": "x".repeat(62)}, "spec": {"completionMode": "Indexed", "completions": 2}}),
                &[&format!(
                    "metadata.name: Invalid value: \"{0}\": will not able to create pod with invalid DNS label: {0}-1",
                    "x".repeat(62)
                )],
            ),
            (json!({"metadata": {"name": long}}), &[&label]),
            (
                json!({"spec": {"backoffLimitPerIndex": 1}}),
                &["spec.backoffLimitPerIndex: Invalid value: 1: requires indexed completion mode"],
            ),
            (
                json!({"spec": {"completionMode": "Indexed", "completions": 3, "maxFailedIndexes": 4}}),
                &[
                    "spec.backoffLimitPerIndex: Required value: when maxFailedIndexes is specified",
                    "spec.maxFailedIndexes: Invalid value: 4: must be less than or equal to completions",
                ],
            ),
            (
                json!({"spec": {"selector": {"matchLabels": {"a": "b"}}}}),
                &["spec.selector: Invalid value: {\"matchLabels\":{\"a\":\"b\"}}: `selector` not auto-generated"],
            ),
            (
                json!({"spec": {"podReplacementPolicy": "Never"}}),
                &["spec.podReplacementPolicy: Unsupported value: \"Never\": supported values: \"Failed\", \"TerminatingOrFailed\""],
            ),
            (
                json!({"spec": {"managedBy": "me"}}),
                &["spec.managedBy: Invalid value: \"me\": must be a domain-prefixed path (such as \"acme.io/foo\")"],
            ),
        ],
    );
}

#[test]
fn job_policies() {
    let policy = |rule: Value| json!({"spec": {"podFailurePolicy": {"rules": [rule]}}});
    let success = |rule: Value| json!({"spec": {"completionMode": "Indexed", "completions": 5, "successPolicy": {"rules": [rule]}}});
    check(
        Kind::Job,
        &job(),
        &[
            (policy(json!({"action": "FailJob", "onExitCodes": {"operator": "In", "values": [1, 2]}})), &[]),
            (
                policy(json!({"action": "Stop"})),
                &[
                    "spec.podFailurePolicy.rules[0].action: Unsupported value: \"Stop\": supported values: \"Count\", \"FailIndex\", \"FailJob\", \"Ignore\"",
                    "spec.podFailurePolicy.rules[0]: Invalid value: specifying one of OnExitCodes and OnPodConditions is required",
                ],
            ),
            (
                policy(json!({"action": "FailIndex", "onPodConditions": [{"type": "DisruptionTarget"}]})),
                &["spec.podFailurePolicy.rules[0].action: Invalid value: \"FailIndex\": requires the backoffLimitPerIndex to be set"],
            ),
            (
                policy(json!({"action": "Ignore", "onExitCodes": {"operator": "In", "values": [2, 0, 2], "containerName": "x"}})),
                &[
                    "spec.podFailurePolicy.rules[0].onExitCodes.containerName: Invalid value: \"x\": must be one of the container or initContainer names in the pod template",
                    "spec.podFailurePolicy.rules[0].onExitCodes.values[1]: Invalid value: 0: must not be 0 for the In operator",
                    "spec.podFailurePolicy.rules[0].onExitCodes.values[2]: Duplicate value: 2",
                    "spec.podFailurePolicy.rules[0].onExitCodes.values: Invalid value: [2,0,2]: must be ordered",
                ],
            ),
            (
                json!({"spec": {"podFailurePolicy": {"rules": []}, "template": {"spec": {"restartPolicy": "OnFailure"}}}}),
                &[
                    "spec.template.spec.restartPolicy: Invalid value: \"OnFailure\": only \"Never\" is supported when podFailurePolicy is specified",
                ],
            ),
            (
                json!({"spec": {"successPolicy": {"rules": [{"succeededCount": 1}]}}}),
                &["spec.successPolicy: Invalid value: {\"rules\":[{\"succeededCount\":1}]}: requires indexed completion mode"],
            ),
            (success(json!({"succeededIndexes": "0,2-4", "succeededCount": 4})), &[]),
            (
                success(json!({"succeededIndexes": "0,2-4", "succeededCount": 5})),
                &[
                    "spec.successPolicy.rules[0].succeededCount: Invalid value: 5: must be less than or equal to 4 (the number of indexes in the specified succeededIndexes field)",
                ],
            ),
            (
                success(json!({"succeededIndexes": "3,1"})),
                &[
                    "spec.successPolicy.rules[0].succeededIndexes: Invalid value: \"3,1\": error parsing succeededIndexes: non-increasing order, previous: 3, current: 1",
                ],
            ),
            (
                success(json!({"succeededIndexes": "5"})),
                &[
                    "spec.successPolicy.rules[0].succeededIndexes: Invalid value: \"5\": error parsing succeededIndexes: too large index: \"5\"",
                ],
            ),
            (
                success(json!({})),
                &["spec.successPolicy.rules[0]: Required value: at least one of succeededCount or succeededIndexes must be specified"],
            ),
        ],
    );
}

#[test]
fn cron_jobs() {
    let zone = |zone: &str| json!({"spec": {"timeZone": zone}});
    let long = "x".repeat(53);
    check(
        Kind::CronJob,
        &cron_job(),
        &[
            (json!({"metadata": {"name": "x".repeat(52)}}), &[]),
            (
                json!({"metadata": {"name": long}}),
                &[&format!("metadata.name: Invalid value: \"{long}\": must be no more than 52 characters")],
            ),
            (json!({"spec": {"schedule": null}}), &["spec.schedule: Required value"]),
            (
                json!({"spec": {"schedule": "61 * * * *"}}),
                &["spec.schedule: Invalid value: \"61 * * * *\": end of range (61) above maximum (59): 61"],
            ),
            (
                json!({"spec": {"schedule": "CRON_TZ=UTC * * * * *"}}),
                &[
                    "spec.schedule: Invalid value: \"CRON_TZ=UTC * * * * *\": cannot use TZ or CRON_TZ in schedule, use timeZone field instead",
                ],
            ),
            (
                json!({"spec": {"concurrencyPolicy": "Deny"}}),
                &["spec.concurrencyPolicy: Unsupported value: \"Deny\": supported values: \"Allow\", \"Forbid\", \"Replace\""],
            ),
            (
                json!({"spec": {"startingDeadlineSeconds": -1, "failedJobsHistoryLimit": -1, "successfulJobsHistoryLimit": 0}}),
                &[
                    "spec.startingDeadlineSeconds: Invalid value: -1: must be greater than or equal to 0",
                    "spec.failedJobsHistoryLimit: Invalid value: -1: must be greater than or equal to 0",
                ],
            ),
            (zone("Europe/Berlin"), &[]),
            (zone("UTC"), &[]),
            (zone(""), &["spec.timeZone: Invalid value: \"\": timeZone must be nil or non-empty string"]),
            (
                zone("LOCAL"),
                &[
                    "spec.timeZone: Invalid value: \"LOCAL\": timeZone must be an explicit time zone as defined in https://www.iana.org/time-zones",
                ],
            ),
            (zone("Europe/Bärlin"), &["spec.timeZone: Invalid value: \"Europe/Bärlin\": unknown time zone Europe/Bärlin"]),
            (zone("../UTC"), &["spec.timeZone: Invalid value: \"../UTC\": unknown time zone ../UTC"]),
            (zone("Mars/Base"), &["spec.timeZone: Invalid value: \"Mars/Base\": unknown time zone Mars/Base"]),
            (
                json!({"spec": {"jobTemplate": {"spec": {"template": {"spec": {"restartPolicy": null}}}}}}),
                &["spec.jobTemplate.spec.template.spec.restartPolicy: Required value: valid values: \"OnFailure\", \"Never\""],
            ),
            (
                json!({"spec": {"jobTemplate": {"spec": {"selector": {"matchLabels": {"a": "b"}}, "manualSelector": true}}}}),
                &[
                    "spec.jobTemplate.spec.selector: Invalid value: {\"matchLabels\":{\"a\":\"b\"}}: `selector` will be auto-generated",
                    "spec.jobTemplate.spec.manualSelector: Unsupported value: true: supported values: \"nil\", \"false\"",
                ],
            ),
            (json!({"spec": {"jobTemplate": {"spec": null}}}), &["spec.jobTemplate.spec.template.spec.containers: Required value"]),
        ],
    );
}
