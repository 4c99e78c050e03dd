//! ConfigMaps, Secrets and claims from files of the directory: what is missing is waited for, what changes arrives.

use std::time::Duration;

use crate::rig::{Rig, phase, pod_name};

const WAIT: Duration = Duration::from_secs(40);
/// From a file's change to what depends on it: nothing polls.
const SOON: Duration = Duration::from_secs(5);

fn waiting(rig: &Rig, pod: &str) -> (String, String) {
    let status = rig.get(&format!("pod/{}", pod_name(pod)))["status"]["containerStatuses"][0]["state"]["waiting"].clone();
    let text = |field: &str| status[field].as_str().unwrap_or_default().to_owned();
    (text("reason"), text("message"))
}

fn is(rig: &Rig, pod: &str, wanted: &str) -> bool {
    rig.pods().iter().any(|p| p["metadata"]["name"] == pod_name(pod) && phase(p) == wanted)
}

fn lines(rig: &Rig, pod: &str) -> Vec<String> {
    rig.cli(&["logs", &pod_name(pod)]).lines().map(str::to_owned).collect()
}

const VALUE: &str = "correct-horse-battery";

#[test]
fn variables_wait_for_their_objects_and_start_when_those_come() {
    let rig = Rig::new();
    rig.write(
        "p.yaml",
        r#"
apiVersion: v1
kind: Pod
metadata: {name: p}
spec:
  restartPolicy: Never
  containers:
  - name: main
    image: busybox
    envFrom: [{configMapRef: {name: settings}}, {prefix: DB_, secretRef: {name: db}}, {secretRef: {name: none, optional: true}}]
    env:
    - {name: ONE, valueFrom: {secretKeyRef: {name: db, key: password}}}
    - {name: COLOR, value: "$(COLOR)ish"}
    - {name: NONE, valueFrom: {configMapKeyRef: {name: settings, key: none, optional: true}}}
    command: [sh, -c, "env | grep -E '^(COLOR|SIZE|DB_password|DB_user|ONE|NONE)=' | sort"]
"#,
    );
    let missing = ("CreateContainerConfigError".to_owned(), "configmap \"settings\" not found".to_owned());
    rig.wait("the ConfigMap is missed", WAIT, |r| waiting(r, "p") == missing);
    rig.write("other/settings.yaml", "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: settings}\ndata: {COLOR: blue, SIZE: '3'}\n");
    rig.wait("the Secret is missed", SOON, |r| waiting(r, "p").1 == "secret \"db\" not found");
    rig.write(
        "db.yaml",
        &format!("apiVersion: v1\nkind: Secret\nmetadata: {{name: db}}\ndata: {{user: YWRtaW4=, password: b2xk}}\nstringData: {{password: {VALUE}}}\n"),
    );
    rig.wait("it ran", SOON, |r| is(r, "p", "Succeeded"));
    let expected = ["COLOR=blueish", &format!("DB_password={VALUE}"), "DB_user=admin", &format!("ONE={VALUE}"), "SIZE=3"];
    assert_eq!(lines(&rig, "p"), expected);

    // A Secret's value is in no log, event or description, not even of a container whose command it is.
    rig.write(
        "bad.yaml",
        r#"
apiVersion: v1
kind: Pod
metadata: {name: bad}
spec:
  restartPolicy: Never
  containers: [{name: main, image: busybox, env: [{name: PW, valueFrom: {secretKeyRef: {name: db, key: password}}}], command: ["$(PW)"]}]
"#,
    );
    rig.wait("it cannot start", WAIT, |r| is(r, "bad", "Failed"));
    let told = |r: &Rig| r.cli(&["describe", "pod", &pod_name("bad")]).contains("<secret contents redacted>");
    rig.wait("and says so", WAIT, told);
    let said = [
        rig.log(),
        rig.cli(&["get", "events", "-A", "-o", "yaml"]),
        rig.cli(&["describe", "pod", &pod_name("p")]),
        rig.cli(&["describe", "secret", "db"]),
        rig.cli(&["get", "pods", "-A", "-o", "yaml"]),
        rig.cli(&["describe", "pod", &pod_name("bad")]),
    ];
    assert!(said[3].contains(&format!("{} bytes", VALUE.len())), "{}", said[3]);
    assert!(said.iter().all(|text| !text.contains(VALUE)), "{said:?}");
    rig.close();
}

#[test]
fn a_volume_waits_is_mounted_and_follows_its_file_but_for_sub_paths() {
    let rig = Rig::new();
    rig.write(
        "p.yaml",
        r#"
apiVersion: v1
kind: Pod
metadata: {name: p, labels: {app: demo}}
spec:
  terminationGracePeriodSeconds: 1
  containers:
  - name: main
    image: busybox
    securityContext: {runAsUser: 1000}
    command: [sh, -c, "while :; do echo $(cat /all/conf/a.conf) $(cat /one) $(cat /all/pw); touch /all/x 2>/dev/null && echo written; sleep 0.2; done"]
    volumeMounts: [{name: all, mountPath: /all}, {name: map, mountPath: /one, subPath: a.conf}, {name: map, mountPath: /map}]
  volumes:
  - {name: map, configMap: {name: m}}
  - name: all
    projected:
      sources:
      - configMap: {name: m, items: [{key: a.conf, path: conf/a.conf}]}
      - secret: {name: s, items: [{key: pw, path: pw, mode: 0444}]}
      - downwardAPI: {items: [{path: labels, fieldRef: {fieldPath: metadata.labels}}]}
"#,
    );
    let event = |r: &Rig, text: &str| r.list("events").iter().any(|e| e["reason"] == "FailedMount" && e["message"] == text);
    rig.wait("it is missed", WAIT, |r| event(r, "MountVolume.SetUp failed for volume \"map\" : configmap \"m\" not found"));
    assert_eq!(waiting(&rig, "p"), ("ContainerCreating".to_owned(), String::new()));
    rig.write("m.yaml", "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: m}\ndata: {a.conf: first}\n");
    rig.wait("the other too", WAIT, |r| event(r, "MountVolume.SetUp failed for volume \"all\" : secret \"s\" not found"));
    rig.write("s.yaml", &format!("apiVersion: v1\nkind: Secret\nmetadata: {{name: s}}\nstringData: {{pw: {VALUE}}}\n"));
    rig.wait("it runs", SOON, |r| is(r, "p", "Running"));
    let last = |r: &Rig| lines(r, "p").last().cloned().unwrap_or_default();
    rig.wait("it reads", WAIT, |r| last(r) == format!("first first {VALUE}"));
    rig.write("m.yaml", "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: m}\ndata: {a.conf: second}\n");
    rig.wait("the change arrives, but not in the subPath", SOON, |r| last(r) == format!("second first {VALUE}"));
    assert!(!lines(&rig, "p").contains(&"written".to_owned()), "configuration is read-only");
    assert!(!rig.log().contains(VALUE));
    rig.close();
}

#[test]
fn a_claim_keeps_what_was_written_and_a_link_in_it_leads_nowhere() {
    let rig = Rig::new();
    let job = |name: &str, script: &str, sub_path: &str| {
        format!(
            r#"
apiVersion: v1
kind: Pod
metadata: {{name: {name}}}
spec:
  restartPolicy: Never
  containers:
  - name: main
    image: busybox
    env: [{{name: WHO, valueFrom: {{fieldRef: {{fieldPath: metadata.namespace}}}}}}]
    command: [sh, -c, "{script}"]
    volumeMounts: [{{name: data, mountPath: /data{sub_path}}}]
  volumes: [{{name: data, persistentVolumeClaim: {{claimName: c}}}}]
"#
        )
    };
    rig.write("a.yaml", &job("a", "echo kept > /data/f", ", subPathExpr: $(WHO)/deep"));
    let missed = "MountVolume.SetUp failed for volume \"data\" : persistentvolumeclaim \"c\" not found";
    rig.wait("the claim is missed", WAIT, |r| r.list("events").iter().any(|e| e["message"] == missed));
    let claim = "apiVersion: v1\nkind: PersistentVolumeClaim\nmetadata: {name: c}\nspec: {accessModes: [ReadWriteOnce], resources: {requests: {storage: 1Gi}}}\n";
    rig.write("c.yaml", claim);
    rig.wait("it wrote", SOON, |r| is(r, "a", "Succeeded"));
    assert_eq!(rig.get("pvc/c")["status"]["phase"], "Bound");
    rig.remove("a.yaml");
    rig.remove("c.yaml");
    rig.wait("the pod is gone", WAIT, |r| r.pods().is_empty());
    rig.write("c.yaml", claim);
    rig.write("b.yaml", &job("b", "cat /data/default/deep/f; rm -r /data/default; ln -s / /data/default", ""));
    rig.wait("it is there still", WAIT, |r| is(r, "b", "Succeeded"));
    assert_eq!(lines(&rig, "b"), ["kept"]);
    // The link that b left in the place of a's directory.
    rig.write("a.yaml", &job("a", "touch /data/minik8s-attack", ", subPathExpr: $(WHO)/tmp"));
    let refused =
        ("CreateContainerConfigError".to_owned(), "failed to prepare subPath for volumeMount \"data\" of container \"main\"".to_owned());
    rig.wait("it is refused", WAIT, |r| waiting(r, "a") == refused);
    assert!(!std::path::Path::new("/tmp/minik8s-attack").exists());
    rig.close();
}
