//! Manifest files → exactly what is said of them.
//!
//! Each file of `tests/manifests/{valid,invalid}` has its expected output beside it (`<file>.expected`); `UPDATE_GOLDEN=1 cargo test
//! --test manifests` writes them anew (read the diff!). Limits and junk that would be large files are made here.

#![allow(clippy::unwrap_used, reason = "a test that can't read its files fails")]

use minik8s::api::fault::Severity;
use minik8s::api::manifest::{self, Decoded, MAX_FAULTS};
use minik8s::api::{files, report};
use proptest::prelude::*;
use std::fmt::Write;
use std::path::{Path, PathBuf};

fn directory(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/manifests").join(name)
}

/// A directory's manifests, sorted.
fn manifests(directory: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(directory).unwrap_or_else(|e| panic!("{}: {e}", directory.display()));
    let mut paths = entries.map(|e| e.unwrap().path()).filter(|p| files::is_manifest(p)).collect::<Vec<_>>();
    paths.sort();
    assert!(paths.len() > 5, "too few files in {}", directory.display());
    paths
}

fn shown(decoded: &Decoded) -> String {
    let mut text = String::new();
    for d in &decoded.documents {
        let (namespace, name) = d.name.clone().unwrap_or_default();
        let verdict = match (&d.object, d.refused) {
            (Some(_), _) => "accepted",
            (None, true) => "refused",
            (None, false) => "passed over",
        };
        writeln!(text, "#{} line {} bytes {:?} {:?} {namespace}/{name}: {verdict}", d.index, d.line, d.span, d.kind).unwrap();
    }
    text + &report::lines(&decoded.faults)
}

fn check(name: &str, valid: bool) {
    let mut wrong = Vec::new();
    for path in manifests(&directory(name)) {
        let file = path.file_name().unwrap().to_string_lossy().into_owned();
        let decoded = manifest::decode(&file, &std::fs::read(&path).unwrap());
        let expected_path = path.with_file_name(format!("{file}.expected"));
        let output = shown(&decoded);
        if std::env::var_os("UPDATE_GOLDEN").is_some() {
            std::fs::write(&expected_path, &output).unwrap();
        }
        let expected = std::fs::read_to_string(&expected_path).unwrap_or_default();
        if output != expected {
            wrong.push(format!("{file}\n--- expected\n{expected}+++ is\n{output}"));
        }
        if decoded.is_valid() != valid {
            wrong.push(format!("{file} is {}\n{output}", if valid { "refused" } else { "accepted" }));
        }
    }
    assert!(wrong.is_empty(), "{} differences\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn valid_manifests_are_accepted() {
    check("valid", true);
}

#[test]
fn invalid_manifests_are_refused_with_exact_messages() {
    check("invalid", false);
}

fn object(file: &str, index: usize) -> serde_json::Value {
    let text = std::fs::read(directory("valid").join(file)).unwrap();
    manifest::decode(file, &text).documents.remove(index).object.unwrap_or_else(|| panic!("{file} #{index}")).to_json()
}

#[test]
fn values_mean_what_they_mean_to_kubernetes() {
    let job = object("octal-and-numeric.yaml", 0);
    assert_eq!(job["spec"]["backoffLimit"], 2);
    let pod = &job["spec"]["template"]["spec"];
    assert_eq!(pod["securityContext"]["runAsUser"], 0o1750);
    assert_eq!(pod["containers"][0]["ports"][0]["containerPort"], 8080);
    let limits = serde_json::json!({"cpu": "0.15", "memory": "1Gi", "nvidia.com/gpu": "1"});
    assert_eq!(pod["containers"][0]["resources"]["limits"], limits);

    assert_eq!(object("crlf.yaml", 0)["data"]["text"], "one\ntwo\n");
    assert_eq!(object("tabs.json", 0)["data"]["a"], "é\n");
    assert_eq!(object("list.yaml", 2)["data"]["key"], "aGVsbG8sIHdvcmxk");
    let labels = serde_json::json!({"app": "anchors", "more": "yes"});
    assert_eq!(object("anchors.yaml", 0)["spec"]["template"]["metadata"]["labels"], labels);
    let command = "/spec/jobTemplate/spec/template/spec/containers/0/command/2";
    assert_eq!(object("kyaml.yaml", 0).pointer(command).and_then(|c| c.as_str()), Some("date; echo folded"));
}

#[test]
fn old_versions_become_the_present_ones_with_their_own_defaults() {
    let set = object("old-versions.yaml", 0);
    assert_eq!((&set["apiVersion"], &set["kind"]), (&"apps/v1".into(), &"DaemonSet".into()));
    assert_eq!(set["spec"]["selector"]["matchLabels"], serde_json::json!({"app": "old"}));
    assert_eq!(set["metadata"]["labels"], serde_json::json!({"app": "old"}));
    assert_eq!(set["spec"]["updateStrategy"]["type"], "OnDelete");
    assert_eq!(object("old-versions.yaml", 1)["apiVersion"], "batch/v1");
    assert_ne!(object("old-versions.yaml", 2)["spec"]["updateStrategy"]["type"], "OnDelete");
}

#[test]
fn what_a_server_set_is_not_kept() {
    let job = object("exported.yaml", 0);
    assert_eq!(job["status"], serde_json::Value::Null);
    for field in ["uid", "resourceVersion", "creationTimestamp", "ownerReferences", "managedFields"] {
        assert_eq!(job["metadata"][field], serde_json::Value::Null, "{field}");
    }
    assert_eq!(job["metadata"]["namespace"], "default");
}

/// What validation refuses is shown where it stands.
#[test]
fn what_validation_says_is_located() {
    let text = "apiVersion: v1\nkind: Pod\nmetadata: {name: with-node-affinity}\nspec:\n  affinity: {}\n";
    let faults = manifest::decode("x.yaml", text.as_bytes()).faults;
    assert!(report::lines(&faults).contains("x.yaml:4:1: error: spec.containers: Required value"), "{}", report::lines(&faults));
    let text = "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: item-$ITEM\n";
    let faults = manifest::decode("x.yaml", text.as_bytes()).faults;
    assert_eq!((faults[0].line, faults[0].column, faults[0].field.as_str()), (4, 9, "metadata.name"));
    assert!(faults[0].message.contains("unrendered template"), "{}", faults[0]);
    let text = "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: a\n  labels:\n    good: a\n    bad: ${X}\n    ~bad: a\n";
    let faults = manifest::decode("x.yaml", text.as_bytes()).faults;
    let places = faults.iter().map(|f| (f.line, f.column, f.field.as_str())).collect::<Vec<_>>();
    assert_eq!(places, [(7, 10, "metadata.labels"), (8, 5, "metadata.labels")], "{}", report::lines(&faults));
}

fn only_error(text: &[u8], part: &str) {
    let decoded = manifest::decode("x.yaml", text);
    let errors = decoded.faults.iter().filter(|f| f.severity == Severity::Error).collect::<Vec<_>>();
    assert_eq!(errors.len(), 1, "{}", report::lines(&decoded.faults));
    assert!(errors[0].message.contains(part), "{}", errors[0]);
}

#[test]
fn deep_nesting_is_refused() {
    only_error(format!("a: {}{}", "[".repeat(200), "]".repeat(200)).as_bytes(), "nested deeper than 100 levels");
    let block = (0..200).map(|i| format!("{}a:\n", " ".repeat(i))).collect::<String>();
    only_error(block.as_bytes(), "nested deeper than 100 levels");
    let aliases = (1..200).fold("a0: &a0 x\n".to_owned(), |text, i| text + &format!("a{i}: &a{i} [*a{}]\n", i - 1));
    only_error(aliases.as_bytes(), "nested deeper than 100 levels");
}

#[test]
fn junk_of_ten_megabytes_is_refused_quickly() {
    let mut junk = Vec::with_capacity(10 << 20);
    let mut state = 1u32;
    while junk.len() < 10 << 20 {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        junk.push(b' ' + (state >> 24) as u8 % 95);
    }
    let decoded = manifest::decode("x.yaml", &junk);
    assert!(!decoded.is_valid());
    junk.push(b'x');
    only_error(&junk, "more than 10485760 are not read");
    only_error("- a\n".repeat(600_000).as_bytes(), "more than 500000 values");
}

#[test]
fn a_long_value_makes_no_long_message() {
    let long = "z".repeat(1_000_000);
    let named = format!("apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: {long}}}\n");
    let decoded = manifest::decode("a.yaml", format!("{named}---\napiVersion: v1\nkind: ConfigMap\n{long}: 1\n").as_bytes());
    assert_eq!(decoded.faults.len(), 2);
    decoded.faults.iter().for_each(|fault| assert!(fault.to_string().len() < 5000, "{}", fault.to_string().len()));
}

#[test]
fn documents_and_faults_are_bounded() {
    let decoded = manifest::decode("x.yaml", "--- x\n".repeat(20_000).as_bytes());
    assert_eq!(decoded.documents.len(), 10_001);
    assert_eq!(decoded.faults.len(), MAX_FAULTS + 1);
    assert!(decoded.faults.last().is_some_and(|f| f.message.contains("the rest is not shown")));
    let many = (0..5000).map(|i| format!("x{i}: 1\n")).collect::<String>();
    assert!(manifest::decode("x.yaml", format!("apiVersion: v1\nkind: Pod\n{many}").as_bytes()).faults.len() <= MAX_FAULTS + 1);
}

#[test]
fn generated_names_depend_on_the_file_and_the_document_alone() {
    let text = b"apiVersion: v1\nkind: Pod\nmetadata: {generateName: a-}\nspec: {containers: [{name: a, image: b}]}\n";
    let name = |file: &str| manifest::decode(file, text).documents[0].name.clone().unwrap().1;
    assert_eq!(name("one.yaml"), name("one.yaml"));
    assert_ne!(name("one.yaml"), name("two.yaml"));
    assert_eq!(name("one.yaml").len(), "a-".len() + 5);
}

#[test]
fn a_document_can_be_cut_out_by_its_span() {
    for (path, text) in manifests(&directory("valid")).iter().map(|p| (p, std::fs::read(p).unwrap())) {
        let whole = manifest::decode("x.yaml", &text).documents;
        for cut in whole.iter().filter(|d| d.object.is_some()) {
            let rest = [&text[..cut.span.start], &text[cut.span.end..]].concat();
            let left = manifest::decode("x.yaml", &rest);
            let names = |documents: &[manifest::Document], index: usize| {
                let others = documents.iter().enumerate().filter(|(i, _)| *i != index);
                others.map(|(_, d)| (d.kind.clone(), d.name.clone())).collect::<Vec<_>>()
            };
            assert_eq!(names(&left.documents, usize::MAX), names(&whole, cut.index), "{} without #{}", path.display(), cut.index);
        }
    }
}

fn samples() -> Vec<Vec<u8>> {
    manifests(&directory("valid")).iter().chain(&manifests(&directory("invalid"))).map(|p| std::fs::read(p).unwrap()).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        sane(&bytes);
    }

    #[test]
    fn no_yaml_like_text_makes_it_panic(text in "([a-c&*<!|>'\"%@`#,:\\[\\]{}~?0-9.é\t -]|---|\n|\r\n| {2}|- |: |kind: Job\n|spec: |<<: ){0,80}") {
        sane(text.as_bytes());
    }

    #[test]
    fn no_mutation_of_a_manifest_makes_it_panic(
        which in any::<prop::sample::Index>(),
        edits in proptest::collection::vec((any::<prop::sample::Index>(), any::<prop::sample::Index>(), 0u8..5, any::<u8>()), 1..6),
    ) {
        let samples = samples();
        let mut text = samples[which.index(samples.len())].clone();
        for (at, to, how, byte) in edits {
            if text.is_empty() {
                break;
            }
            let (a, b) = (at.index(text.len()), to.index(text.len()));
            let (a, b) = (a.min(b), a.max(b));
            match how {
                0 => text[a] = byte,
                1 => text.insert(a, byte),
                2 => drop(text.drain(a..b)),
                3 => text.extend_from_within(a..b),
                _ => text.truncate(b),
            }
        }
        sane(&text);
    }
}

/// Decoding ends, and what it says is in order and within the file.
fn sane(text: &[u8]) {
    let decoded = manifest::decode("x.yaml", text);
    let lines = text.iter().filter(|b| **b == b'\n').count() + 1;
    for fault in &decoded.faults {
        assert!(fault.line <= lines + 1, "{fault}");
        assert!(!fault.message.is_empty());
    }
    for (i, d) in decoded.documents.iter().enumerate() {
        assert_eq!(d.index, i);
        assert!(d.span.start <= d.span.end && d.span.end <= text.len(), "{:?} of {}", d.span, text.len());
        assert!(!(d.refused && d.object.is_some()));
    }
    assert!(decoded.documents.iter().all(|d| !d.refused) || !decoded.is_valid());
    assert!(decoded.faults.is_sorted_by_key(|f| (f.line, f.column)) || decoded.faults.len() > MAX_FAULTS);
}
