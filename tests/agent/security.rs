//! Security as it is seen from inside of containers and on pods: fsGroup, profiles, what the host cannot enforce.

use std::time::Duration;

use serde_json::Value;

use crate::rig::{Rig, phase};

const WAIT: Duration = Duration::from_secs(60);

fn name(pod: &str) -> String {
    format!("{pod}-{}", Rig::NODE)
}

fn manifest(name: &str, spec: &str) -> String {
    format!(
        "apiVersion: v1\nkind: Pod\nmetadata: {{name: {name}}}\nspec:\n  restartPolicy: Never\n  terminationGracePeriodSeconds: 1\n{spec}"
    )
}

fn status(rig: &Rig, pod: &str) -> Value {
    let pods = rig.pods();
    pods.iter().find(|p| p["metadata"]["name"] == name(pod).as_str()).map(|p| p["status"].clone()).unwrap_or_default()
}

fn waiting(rig: &Rig, pod: &str) -> (String, String) {
    let state = status(rig, pod)["containerStatuses"][0]["state"]["waiting"].clone();
    (state["reason"].as_str().unwrap_or_default().to_owned(), state["message"].as_str().unwrap_or_default().to_owned())
}

#[test]
fn a_user_that_is_not_root_writes_to_volumes_of_its_fs_group() {
    let rig = Rig::new();
    rig.write(
        "claim.yaml",
        "apiVersion: v1\nkind: PersistentVolumeClaim\nmetadata: {name: data}\nspec: {accessModes: [ReadWriteOnce], resources: {requests: {storage: 1Gi}}}\n",
    );
    rig.write("secret.yaml", "apiVersion: v1\nkind: Secret\nmetadata: {name: s}\nstringData: {key: hunter2}\n");
    let claim = rig.dir("state").join("claims/default/data");
    std::fs::create_dir_all(claim.join("old")).unwrap();
    std::fs::write(claim.join("old/f"), "before").unwrap();
    let spec = r#"
  securityContext: {runAsUser: 1234, runAsGroup: 1234, fsGroup: 4321, fsGroupChangePolicy: OnRootMismatch, supplementalGroups: [77], supplementalGroupsPolicy: Strict}
  containers:
  - name: main
    image: busybox
    command: [sh, -c, "id -G; touch /data/new /empty/new && stat -c '%n %g %a' /data/new /empty /data/old /data/old/f; cat /secret/key; echo; stat -L -c '%g %a' /secret/key; echo more >>/data/old/f && cat /data/old/f"]
    volumeMounts: [{name: data, mountPath: /data}, {name: empty, mountPath: /empty}, {name: secret, mountPath: /secret}]
  volumes:
  - {name: data, persistentVolumeClaim: {claimName: data}}
  - {name: empty, emptyDir: {}}
  - {name: secret, secret: {secretName: s, defaultMode: 0400}}
"#;
    rig.write("p.yaml", &manifest("p", spec));
    rig.wait("it ended", WAIT, |r| ["Succeeded", "Failed"].contains(&status(r, "p")["phase"].as_str().unwrap_or_default()));
    let expected =
        "1234 77 4321\n/data/new 4321 644\n/empty 4321 2777\n/data/old 4321 2775\n/data/old/f 4321 664\nhunter2\n4321 440\nbeforemore\n";
    assert_eq!(rig.cli(&["logs", &name("p")]), expected);
    rig.close();
}

#[test]
fn a_localhost_profile_is_waited_for_and_then_in_force() {
    let rig = Rig::new();
    let spec = r#"
  containers:
  - name: main
    image: busybox
    securityContext: {seccompProfile: {type: Localhost, localhostProfile: profiles/no-mkdir.json}}
    command: [sh, -c, "grep '^Seccomp:' /proc/self/status; mkdir /d 2>&1; true"]
"#;
    rig.write("p.yaml", &manifest("p", spec));
    let profiles = rig.dir("state").join("seccomp/profiles");
    let missing = format!("cannot load seccomp profile {:?}: No such file or directory (os error 2)", profiles.join("no-mkdir.json"));
    rig.wait("it waits", WAIT, |r| waiting(r, "p") == ("CreateContainerError".to_owned(), missing.clone()));
    std::fs::create_dir_all(&profiles).unwrap();
    std::fs::write(profiles.join("no-mkdir.json"), "{").unwrap();
    rig.wait("it is told what is wrong with it", WAIT, |r| waiting(r, "p").1.starts_with("decoding seccomp profile failed"));
    let profile = r#"{"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO"}]}"#;
    std::fs::write(profiles.join("no-mkdir.json"), profile).unwrap();
    rig.wait("it ended", WAIT, |r| status(r, "p")["phase"] == "Succeeded");
    assert_eq!(rig.cli(&["logs", &name("p")]), "Seccomp:\t2\nmkdir: can't create directory '/d': Operation not permitted\n");
    rig.close();
}

/// This machine has neither AppArmor nor SELinux.
#[test]
fn what_the_host_cannot_enforce_ends_the_pod_and_nothing_of_it_runs() {
    let rig = Rig::new();
    let main = "  containers: [{name: main, image: busybox, command: [sleep, '1000']}]\n";
    rig.write("aa.yaml", &manifest("aa", &format!("  securityContext: {{appArmorProfile: {{type: RuntimeDefault}}}}\n{main}")));
    rig.write(
        "sysctl.yaml",
        &manifest("sysctl", &format!("  securityContext: {{sysctls: [{{name: kernel.msgmax, value: '1'}}]}}\n{main}")),
    );
    rig.write("se.yaml", &manifest("se", &format!("  securityContext: {{seLinuxOptions: {{type: spc_t}}}}\n{main}")));
    for (pod, reason, message) in [
        ("aa", "AppArmor", "Cannot enforce AppArmor: AppArmor is not enabled on the host"),
        ("sysctl", "SysctlForbidden", "forbidden sysctl: \"kernel.msgmax\" not allowlisted"),
    ] {
        rig.wait("it is rejected", WAIT, |r| status(r, pod)["phase"] == "Failed");
        let found = status(&rig, pod);
        let told = format!("Pod was rejected: {message}");
        assert_eq!((found["reason"].as_str(), found["message"].as_str()), (Some(reason), Some(told.as_str())), "{found}");
        let event = rig.list("events").into_iter().find(|e| e["reason"] == reason).unwrap();
        assert_eq!((event["type"].as_str(), event["message"].as_str()), (Some("Warning"), Some(message)));
    }
    rig.wait("the other runs", WAIT, |r| r.pods().iter().any(|p| phase(p) == "Running"));
    assert_eq!(status(&rig, "se")["phase"], "Running");
    assert!(rig.list("events").iter().any(|e| e["reason"] == "SELinuxDisabled"));
    rig.close();
}
