//! `make corpus`: every real manifest of `$CORPUS` is understood: accepted, passed over, or refused for the reason expected.
//!
//! `tests/corpus_refusals.tsv` is the table of what Kubernetes would refuse: file, then a part of an error that must be there. A refused file that
//! is not in the table, or one in the table that is accepted or refused for another reason, fails. Refusals by the support table (fields that
//! this agent does not honour yet) are counted by their reason; they go as the table grows.

#![allow(clippy::unwrap_used, reason = "a test that can't read its files fails")]

use minik8s::api::fault::{Fault, Severity};
use minik8s::api::manifest::{self, Decoded};
use minik8s::api::{files, report, support};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

#[path = "corpus/shares.rs"]
mod shares;

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
        let (file, part) = line.split_once('\t').unwrap_or_else(|| panic!("no tab in {line:?}"));
        table.entry(file).or_default().push(part);
    }
    table
}

/// The support table's reason, if it is what refused.
fn not_honoured(fault: &Fault) -> Option<&str> {
    let row = support::table().iter().map(|r| r.reason).find(|r| !r.is_empty() && fault.message.starts_with(r));
    row.or_else(|| fault.message.starts_with("not yet: ").then_some(fault.message.as_str()))
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
    let mut seen = Seen::default();
    for (file, path) in &files {
        let decoded = manifest::decode(file, &std::fs::read(path).unwrap());
        seen.add(file, &decoded, expected.get(file.as_str()).map_or(&[], Vec::as_slice));
    }
    seen.print(files.len());
    assert!(seen.wrong.is_empty(), "{} files are not as expected\n{}", seen.wrong.len(), seen.wrong.join("\n"));
    let unknown = expected.keys().filter(|f| !files.contains_key(**f)).collect::<Vec<_>>();
    assert!(unknown.is_empty(), "the table names files that are not there: {unknown:?}");
    let missing = refused_upstream(&root).into_iter().filter(|f| !expected.contains_key(f.as_str())).collect::<Vec<_>>();
    assert!(missing.is_empty(), "FEATURES.tsv has these refused, the table does not: {missing:?}");
}

/// The coverage table's shares are what the corpus has; `make corpus SHARES=write` writes them.
#[test]
#[ignore = "needs CORPUS: run by `make corpus`"]
fn the_shares_of_fields_are_those_of_the_corpus() {
    let (file, counted) = ("src/api/support/shares.tsv", shares::text(&manifests(&corpus())));
    if std::env::var("SHARES").is_ok_and(|v| v == "write") {
        std::fs::write(file, &counted).unwrap();
    }
    let known = std::fs::read_to_string(file).unwrap();
    assert!(known == counted, "{file} is out of date: make corpus SHARES=write, then put `minik8s explain -o markdown` into the README");
}

/// What was found so far.
#[derive(Default)]
struct Seen {
    documents: BTreeMap<String, usize>,
    reasons: BTreeMap<String, BTreeSet<String>>,
    accepted: usize,
    refused: usize,
    wrong: Vec<String>,
}

impl Seen {
    fn add(&mut self, file: &str, decoded: &Decoded, expected: &[&str]) {
        for d in &decoded.documents {
            let verdict = match (&d.object, d.refused) {
                (Some(_), _) => "accepted",
                (None, true) => "refused",
                (None, false) => "ignored",
            };
            *self.documents.entry(format!("{verdict} {}", d.kind)).or_default() += 1;
        }
        let errors = decoded.faults.iter().filter(|f| f.severity == Severity::Error).cloned().collect::<Vec<_>>();
        for reason in errors.iter().filter_map(not_honoured) {
            self.reasons.entry(reason.to_owned()).or_default().insert(file.to_owned());
        }
        self.accepted += usize::from(errors.is_empty());
        let refused = errors.into_iter().filter(|e| not_honoured(e).is_none()).collect::<Vec<_>>();
        self.refused += usize::from(!refused.is_empty());
        let text = report::lines(&refused);
        print!("{text}");
        if refused.is_empty() != expected.is_empty() || !expected.iter().all(|part| text.contains(part)) {
            self.wrong.push(format!("{file}: expected {expected:?}, said\n{text}"));
        }
    }

    fn print(&self, files: usize) {
        println!("\n{files} files, {} documents", self.documents.values().sum::<usize>());
        for (what, count) in &self.documents {
            println!("{count:5} {what}");
        }
        println!("{:5} files accepted", self.accepted);
        println!("{:5} files refused for the reason that Kubernetes has", self.refused);
        println!("{:5} files refused for a field that this agent does not honour:", files - self.accepted - self.refused);
        for (reason, files) in &self.reasons {
            println!("{:5} {reason}", files.len());
        }
    }
}
