//! The bounds of Jobs: labels that are generated, policies at their limits, very many indexes.

use super::*;

fn policy(rules: Value) -> Value {
    json!({"spec": {"podFailurePolicy": {"rules": rules}}})
}

#[test]
fn generated_labels_are_the_jobs_own() {
    let labels = |labels: Value| json!({"spec": {"template": {"metadata": {"labels": labels}}}});
    let at = "spec.template.metadata.labels";
    check(
        Kind::Job,
        &job(),
        &[
            (labels(json!({"job-name": "j", "batch.kubernetes.io/job-name": "j", "a": "b"})), &[]),
            (labels(json!({"job-name": "other"})), &[&format!("{at}[job-name]: Invalid value: {{\"job-name\":\"other\"}}: must be 'j'")]),
            (
                labels(json!({"batch.kubernetes.io/controller-uid": "u"})),
                &[&format!(
                    "{at}[batch.kubernetes.io/controller-uid]: Invalid value: {{\"batch.kubernetes.io/controller-uid\":\"u\"}}: must be the uid that the Job gets when it is made: remove the label"
                )],
            ),
        ],
    );
    let mut templated = cron_job();
    overlay(&mut templated, &json!({"spec": {"jobTemplate": {"spec": {"template": {"metadata": {"labels": {"job-name": "other"}}}}}}}));
    assert_eq!(faults(Kind::CronJob, &templated), Vec::<String>::new(), "the API server looks only once the Job is made");
}

#[test]
fn failure_policies_at_their_limits() {
    let rule = json!({"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget"}]});
    let codes = |values: Vec<i32>| policy(json!([{"action": "FailJob", "onExitCodes": {"operator": "NotIn", "values": values}}]));
    let rules = |n: usize| policy(Value::Array(vec![rule.clone(); n]));
    let patterns =
        |n: usize| policy(json!([{"action": "Count", "onPodConditions": vec![json!({"type": "Ready", "status": "Unknown"}); n]}]));
    let at = "spec.podFailurePolicy.rules";
    check(
        Kind::Job,
        &job(),
        &[
            (rules(20), &[]),
            (rules(21), &[&format!("{at}: Too many: 21: must have at most 20 items")]),
            (codes((1..=255).collect()), &[]),
            (codes((0..=255).collect()), &[&format!("{at}[0].onExitCodes.values: Too many: 256: must have at most 255 items")]),
            (codes(vec![]), &[&format!("{at}[0].onExitCodes.values: Invalid value: []: at least one value is required")]),
            (patterns(20), &[]),
            (patterns(21), &[&format!("{at}[0].onPodConditions: Too many: 21: must have at most 20 items")]),
            (
                policy(
                    json!([{"action": "", "onExitCodes": {"operator": "", "values": [1]}, "onPodConditions": [{"type": "", "status": "Maybe"}]}]),
                ),
                &[
                    &format!("{at}[0].action: Required value: valid values: [\"Count\" \"FailIndex\" \"FailJob\" \"Ignore\"]"),
                    &format!("{at}[0].onExitCodes.operator: Required value: valid values: [\"In\" \"NotIn\"]"),
                    &format!("{at}[0].onPodConditions[0].type: Invalid value: \"\": name part must be non-empty"),
                    &format!(
                        "{at}[0].onPodConditions[0].type: Invalid value: \"\": name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')"
                    ),
                    &format!(
                        "{at}[0].onPodConditions[0].status: Unsupported value: \"Maybe\": supported values: \"False\", \"True\", \"Unknown\""
                    ),
                    &format!("{at}[0]: Invalid value: specifying both OnExitCodes and OnPodConditions is not supported"),
                ],
            ),
        ],
    );
}

#[test]
fn success_policies_at_their_limits() {
    let success = |rules: Value| json!({"spec": {"completionMode": "Indexed", "completions": 3, "successPolicy": {"rules": rules}}});
    let indexes = |text: &str| success(json!([{"succeededIndexes": text}]));
    let at = "spec.successPolicy.rules";
    let long = "0,".repeat(32 * 1024) + "0";
    check(
        Kind::Job,
        &job(),
        &[
            (
                success(json!([])),
                &[&format!("{at}: Required value: at least one rules must be specified when the successPolicy is specified")],
            ),
            (success(Value::Array(vec![json!({"succeededCount": 1}); 21])), &[&format!("{at}: Too many: 21: must have at most 20 items")]),
            (
                success(json!([{"succeededCount": 4}, {"succeededCount": -1}])),
                &[
                    &format!(
                        "{at}[0].succeededCount: Invalid value: 4: must be less than or equal to 3 (the number of specified completions)"
                    ),
                    &format!("{at}[1].succeededCount: Invalid value: -1: must be greater than or equal to 0"),
                ],
            ),
            (indexes("0,1-2"), &[]),
            (
                indexes("99999999999"),
                &[&format!(
                    "{at}[0].succeededIndexes: Invalid value: \"99999999999\": error parsing succeededIndexes: too large index: \"99999999999\""
                )],
            ),
            (
                indexes("0-1-2"),
                &[&format!(
                    "{at}[0].succeededIndexes: Invalid value: \"0-1-2\": error parsing succeededIndexes: the fragment \"0-1-2\" violates the requirement that an index interval can have at most two parts separated by '-'"
                )],
            ),
            (
                indexes("1-1"),
                &[&format!(
                    "{at}[0].succeededIndexes: Invalid value: \"1-1\": error parsing succeededIndexes: non-increasing order, previous: 1, current: 1"
                )],
            ),
            (
                indexes("one"),
                &[&format!(
                    "{at}[0].succeededIndexes: Invalid value: \"one\": error parsing succeededIndexes: cannot convert string to integer for index: \"one\""
                )],
            ),
            (
                indexes(&long),
                &[
                    &format!("{at}[0].succeededIndexes: Too long: may not be more than 65536 bytes"),
                    &format!(
                        "{at}[0].succeededIndexes: Invalid value: \"{long}\": error parsing succeededIndexes: non-increasing order, previous: 0, current: 0"
                    ),
                ],
            ),
        ],
    );
}

#[test]
fn very_many_completions() {
    let indexed = |spec: Value| {
        let mut whole = json!({"completionMode": "Indexed", "completions": 100_001, "parallelism": 1});
        overlay(&mut whole, &spec);
        json!({"spec": whole})
    };
    let with = "when completions are above 100000 and used with backoff limit per index";
    check(
        Kind::Job,
        &job(),
        &[
            (indexed(json!({})), &[]),
            (indexed(json!({"backoffLimitPerIndex": 1, "maxFailedIndexes": 10_000, "parallelism": 10_000})), &[]),
            (
                indexed(json!({"backoffLimitPerIndex": 1})),
                &["spec.maxFailedIndexes: Required value: must be specified when completions is above 100000"],
            ),
            (
                indexed(json!({"backoffLimitPerIndex": 1, "maxFailedIndexes": 100_001, "parallelism": 10_001})),
                &[
                    "spec.maxFailedIndexes: Invalid value: 100001: must be less than or equal to 100000",
                    &format!("spec.parallelism: Invalid value: 10001: must be less than or equal to 10000 {with}"),
                    &format!("spec.maxFailedIndexes: Invalid value: 100001: must be less than or equal to 10000 {with}"),
                ],
            ),
            (
                json!({"spec": {"managedBy": "Acme.io/a b"}}),
                &[
                    &format!("spec.managedBy: Invalid value: \"Acme.io\": {SUBDOMAIN}"),
                    "spec.managedBy: Invalid value: \"a b\": Invalid path (regex used for validation is '[A-Za-z0-9/\\-._~%!$&'()*+,;=:]+')",
                ],
            ),
            (
                json!({"spec": {"managedBy": format!("acme.io/{}", "x".repeat(60))}}),
                &["spec.managedBy: Too long: may not be more than 63 bytes"],
            ),
        ],
    );
}
