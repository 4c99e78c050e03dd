//! Annotations of pods and Nodes that Kubernetes reads.

use super::*;

#[test]
fn annotations_that_mean_something_are_right() {
    let annotated = |key: &str, value: &str| json!({"metadata": {"annotations": {key: value}}});
    let armor = "container.apparmor.security.beta.kubernetes.io/";
    let cases: [(Value, &[&str]); 12] = [
        (annotated("controller.kubernetes.io/pod-deletion-cost", "-12"), &[]),
        (
            annotated("controller.kubernetes.io/pod-deletion-cost", "+1"),
            &["metadata.annotations[controller.kubernetes.io/pod-deletion-cost]: Invalid value: \"+1\": must be a 32bit integer"],
        ),
        (
            annotated("controller.kubernetes.io/pod-deletion-cost", "99999999999"),
            &["metadata.annotations[controller.kubernetes.io/pod-deletion-cost]: Invalid value: \"99999999999\": must be a 32bit integer"],
        ),
        (
            annotated("kubernetes.io/config.mirror", "x"),
            &[
                "metadata.annotations[kubernetes.io/config.mirror]: Invalid value: \"x\": must set spec.nodeName if mirror pod annotation is set",
            ],
        ),
        (annotated("scheduler.alpha.kubernetes.io/tolerations", ""), &[]),
        (
            annotated("scheduler.alpha.kubernetes.io/tolerations", "[{\"key\": \"k\", \"operator\": \"Like\"}]"),
            &[
                "metadata.annotations.scheduler.alpha.kubernetes.io/tolerations[0].operator: Unsupported value: \"Like\": supported values: \"Equal\", \"Exists\"",
            ],
        ),
        (annotated("seccomp.security.alpha.kubernetes.io/pod", "docker/default"), &[]),
        (
            annotated("seccomp.security.alpha.kubernetes.io/pod", "mine"),
            &["metadata.annotations.seccomp.security.alpha.kubernetes.io/pod: Invalid value: \"mine\": must be a valid seccomp profile"],
        ),
        (
            annotated("container.seccomp.security.alpha.kubernetes.io/c", "localhost/../x"),
            &["metadata.annotations.container.seccomp.security.alpha.kubernetes.io/c: Invalid value: \"../x\": must not contain '..'"],
        ),
        (annotated(&format!("{armor}c"), "localhost/mine"), &[]),
        (
            annotated(&format!("{armor}d"), "unconfined"),
            &["metadata.annotations[container.apparmor.security.beta.kubernetes.io/d]: Invalid value: \"d\": container not found"],
        ),
        (
            annotated(&format!("{armor}c"), "default"),
            &[
                "metadata.annotations[container.apparmor.security.beta.kubernetes.io/c]: Invalid value: \"default\": invalid AppArmor profile name: \"default\"",
            ],
        ),
    ];
    check(Kind::StaticPod, &pod(), &cases);
}

#[test]
fn annotations_and_fields_ask_for_the_same_profile() {
    let both = |key: &str, value: &str, context: Value| json!({"metadata": {"annotations": {key: value}}, "spec": {"containers": [{"name": "c", "image": "i", "securityContext": context}]}});
    let armor = "container.apparmor.security.beta.kubernetes.io/c";
    let seccomp = "container.seccomp.security.alpha.kubernetes.io/c";
    check(
        Kind::StaticPod,
        &pod(),
        &[
            (both(armor, "unconfined", json!({"appArmorProfile": {"type": "Unconfined"}})), &[]),
            (
                both(armor, "unconfined", json!({"appArmorProfile": {"type": "RuntimeDefault"}})),
                &["spec.containers[0].securityContext.appArmorProfile.type: Forbidden: apparmor type in annotation and field must match"],
            ),
            (
                both(armor, "localhost/a", json!({"appArmorProfile": {"type": "Localhost", "localhostProfile": "b"}})),
                &[
                    "spec.containers[0].securityContext.appArmorProfile.localhostProfile: Forbidden: apparmor profile in annotation and field must match",
                ],
            ),
            (
                both(seccomp, "unconfined", json!({"seccompProfile": {"type": "RuntimeDefault"}})),
                &["spec.containers[0].securityContext.seccompProfile.type: Forbidden: seccomp type in annotation and field must match"],
            ),
            (
                both(seccomp, "localhost/a", json!({"seccompProfile": {"type": "Localhost", "localhostProfile": "b"}})),
                &[
                    "spec.containers[0].securityContext.seccompProfile.localhostProfile: Forbidden: seccomp profile in annotation and field must match",
                ],
            ),
            (
                json!({"metadata": {"annotations": {"seccomp.security.alpha.kubernetes.io/pod": "unconfined"}}, "spec": {"securityContext": {"seccompProfile": {"type": "RuntimeDefault"}}}}),
                &["spec.securityContext.seccompProfile.type: Forbidden: seccomp type in annotation and field must match"],
            ),
        ],
    );
    let mut set = daemon_set();
    overlay(
        &mut set,
        &json!({"spec": {"template": {"metadata": {"annotations": {armor: "unconfined"}}, "spec": {"securityContext": {"appArmorProfile": {"type": "RuntimeDefault"}}}}}}),
    );
    assert_eq!(
        faults(Kind::DaemonSet, &set),
        [
            "spec.template.spec.containers[0].securityContext.appArmorProfile.type: Forbidden: apparmor type in annotation and field must match"
        ]
    );
}
