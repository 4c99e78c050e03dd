//! `make corpus`: every real manifest of `$CORPUS` is understood: accepted, passed over, or refused for the reason expected.
//!
//! `tests/corpus_refusals.tsv` is the table of refusals: file, who refuses it (decode or validation), and a part of an error that must be
//! there. A refused file that is not in the table, or one in the table that is accepted or refused for another reason, fails.

use minik8s::api::fault::Severity;
use minik8s::api::{files, manifest, report};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// How many files the corpus has.
const FILES: usize = 346;
const REFUSALS: &str = include_str!("corpus_refusals.tsv");

fn corpus() -> PathBuf {
    let path = std::env::var_os("CORPUS").map(PathBuf::from).expect("set CORPUS to the directory of real manifests (make corpus does)");
    assert!(path.join("FEATURES.tsv").is_file(), "CORPUS={}: no FEATURES.tsv there", path.display());
    path
}

fn manifests(root: &Path) -> BTreeMap<String, PathBuf> {
    let mut found = BTreeMap::new();
    for kind in ["cronjob", "daemonset", "job"] {
        for entry in std::fs::read_dir(root.join(kind)).unwrap_or_else(|e| panic!("{kind}: {e}")) {
            let path = entry.unwrap().path();
            if files::is_manifest(&path) {
                found.insert(format!("{kind}/{}", path.file_name().unwrap().to_string_lossy()), path);
            }
        }
    }
    found
}

/// The table: file → parts of messages that must be there.
fn expected() -> BTreeMap<&'static str, Vec<&'static str>> {
    let mut table: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for line in REFUSALS.lines().filter(|l| !l.is_empty() && !l.starts_with('#')) {
        let [file, by, part] = line.split('\t').collect::<Vec<_>>()[..] else { panic!("not three columns: {line:?}") };
        assert!(["decode", "validation"].contains(&by), "{line:?}");
        table.entry(file).or_default().extend((by == "decode" || validates()).then_some(part));
    }
    table
}

/// Whether validation is there: a branch without it has a stand-in that finds nothing.
fn validates() -> bool {
    !minik8s::api::validation::validate(&k8s_openapi::api::core::v1::Pod::default().into()).is_empty()
}

/// Files that FEATURES.tsv says Kubernetes refuses: they must all be in the table.
fn refused_upstream(root: &Path) -> BTreeSet<String> {
    let text = std::fs::read_to_string(root.join("FEATURES.tsv")).unwrap();
    let mut rows = text.lines().map(|l| l.split('\t').collect::<Vec<_>>());
    let header = rows.next().expect("a header");
    let column = |name: &str| header.iter().position(|h| *h == name).unwrap_or_else(|| panic!("no column {name}"));
    let (file, because, unknown) = (column("file"), column("refused_because"), column("unknown_fields"));
    let says = |row: &Vec<&str>, i: usize| row.get(i).is_some_and(|t| !t.is_empty());
    rows.filter(|r| says(r, because) || says(r, unknown)).map(|r| r[file].to_owned()).collect()
}

#[test]
#[ignore = "needs CORPUS: run by `make corpus`"]
fn every_real_manifest_is_understood() {
    let root = corpus();
    let (files, expected) = (manifests(&root), expected());
    assert_eq!(files.len(), FILES, "files in {}", root.display());
    let mut wrong = Vec::new();
    let mut counts: BTreeMap<String, usize> = BTreeMap::new();
    let mut documents = 0;
    for (file, path) in &files {
        let decoded = manifest::decode(file, &std::fs::read(path).unwrap());
        documents += decoded.documents.len();
        for d in &decoded.documents {
            let verdict = match (&d.object, d.refused) {
                (Some(_), _) => "accepted",
                (None, true) => "refused",
                (None, false) => "ignored",
            };
            *counts.entry(format!("{verdict} {}", d.kind)).or_default() += 1;
        }
        let errors = decoded.faults.iter().filter(|f| f.severity == Severity::Error).cloned().collect::<Vec<_>>();
        let reasons = expected.get(file.as_str()).cloned().unwrap_or_default();
        let text = report::lines(&errors);
        print!("{text}");
        if errors.is_empty() != reasons.is_empty() || !reasons.iter().all(|part| text.contains(part)) {
            wrong.push(format!("{file}: expected {reasons:?}, said\n{text}"));
        }
    }
    println!("{} files, {documents} documents", files.len());
    for (what, count) in counts {
        println!("{count:5} {what}");
    }
    let refused = expected.values().filter(|parts| !parts.is_empty()).count();
    println!("{refused:5} files refused, each for the reason Kubernetes has");
    if !validates() {
        println!("validation is a stand-in: {} refusals were not looked for", expected.len() - refused);
    }
    assert!(wrong.is_empty(), "{} files are not as expected\n{}", wrong.len(), wrong.join("\n"));
    let missing = refused_upstream(&root).into_iter().filter(|f| !expected.contains_key(f.as_str())).collect::<Vec<_>>();
    assert!(missing.is_empty(), "FEATURES.tsv has these refused, the table does not: {missing:?}");
}
