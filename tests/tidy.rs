//! The house rules that the compiler does not check: layers, purity, `//!` headers, file lengths, one clock, paths named in documents.
//!
//! Reads sources as text. Guarantees: every finding of a rule is shown at once, as `file:line: what`. Only the part of a file before its
//! first `#[cfg(test)] mod` (and outside tests/) is held to the rules for code.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

/// Files that may read the clock: the clock, and the logger process, which has no agent to be handed the time by.
const MAY_READ_THE_CLOCK: [&str; 2] = ["src/clock.rs", "src/logs/writer.rs"];
/// Files that may have `unsafe`: system calls that no safe library has.
const MAY_BE_UNSAFE: [&str; 1] = ["src/runtime/containerd/idmap.rs"];
/// Lines a file may have, tests too (STYLE.md: about 200, rarely over 400).
const MAX_LINES: usize = 400;
/// Rooms that must stay pure, and what they may not name.
const PURE: [&str; 7] = ["api", "admission", "config", "controllers", "pod", "oci", "simulation"];
const IMPURE: [&str; 11] = [
    "async fn",
    ".await",
    "async_trait",
    "tokio",
    "tracing",
    "std::fs",
    "std::net::Tcp",
    "std::process",
    "std::thread",
    "Instant::now",
    "std::time::SystemTime",
];
const CLOCK: [&str; 4] = ["Timestamp::now", "SystemTime::now", "Zoned::now", "Instant::now"];
/// Rooms of layer 2 whose plain types (HostFacts, Sandbox, PodFiles, ImageUsers, Exit) pure rooms take as values.
const VALUES_FOR_PURE: [&str; 4] = ["host", "network", "volumes", "runtime"];

struct Source {
    /// Relative to the repository.
    path: String,
    text: String,
    /// Whether a `#[cfg(test)] mod` of another file declares it.
    is_test: bool,
}

impl Source {
    /// `api`, `oci`, … or the file's stem for files directly under src.
    fn room(&self) -> &str {
        let inside = self.path.strip_prefix("src/").unwrap_or(&self.path);
        inside.split('/').next().unwrap_or_default().trim_end_matches(".rs")
    }

    /// The lines before the first test module, with comments blanked; number from 1.
    fn code(&self) -> Vec<(usize, String)> {
        let mut out = Vec::new();
        let lines: Vec<&str> = self.text.lines().collect();
        for (index, line) in lines.iter().enumerate() {
            let next = lines.get(index + 1).map_or("", |l| l.trim_start());
            if line.trim() == "#[cfg(test)]" && next.starts_with("mod ") && next.ends_with('{') {
                break;
            }
            let comment = line.trim_start().starts_with("//");
            let code = if comment { "" } else { line.split(" // ").next().unwrap_or_default() };
            out.push((index + 1, code.to_owned()));
        }
        out
    }
}

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn files(dir: &Path, extension: &str, out: &mut Vec<PathBuf>) {
    let Ok(entries) = fs::read_dir(dir) else { return };
    for entry in entries.flatten() {
        let path = entry.path();
        if path.is_dir() {
            files(&path, extension, out);
        } else if path.extension().is_some_and(|e| e == extension) {
            out.push(path);
        }
    }
    out.sort();
}

fn sources(dir: &str) -> Vec<Source> {
    let mut paths = Vec::new();
    files(&root().join(dir), "rs", &mut paths);
    let source = |path: PathBuf| Source {
        text: fs::read_to_string(&path).expect("a source is UTF-8"),
        path: path.strip_prefix(root()).expect("inside the repository").display().to_string(),
        is_test: false,
    };
    let mut all: Vec<Source> = paths.into_iter().map(source).collect();
    let tests: Vec<String> = all.iter().flat_map(test_modules).collect();
    for source in &mut all {
        // A test module's own modules lie in a directory of its name.
        source.is_test = tests.iter().any(|t| *t == source.path || source.path.starts_with(&format!("{}/", t.trim_end_matches(".rs"))));
    }
    all
}

/// The files that `#[cfg(test)] mod name;` lines of a source declare.
fn test_modules(source: &Source) -> Vec<String> {
    let (dir, file) = source.path.rsplit_once('/').unwrap_or(("", &source.path));
    let inside = match file {
        "mod.rs" | "lib.rs" | "main.rs" => dir.to_owned(),
        other => format!("{dir}/{}", other.trim_end_matches(".rs")),
    };
    let mut out = Vec::new();
    let mut lines = source.text.lines().map(str::trim);
    while let Some(line) = lines.next() {
        if line != "#[cfg(test)]" {
            continue;
        }
        let mut path = None;
        for next in lines.by_ref() {
            if let Some(given) = next.strip_prefix("#[path = \"").and_then(|p| p.strip_suffix("\"]")) {
                path = Some(format!("{dir}/{given}"));
            } else if !next.starts_with('#') && !next.starts_with("//") {
                let name = next.strip_suffix(';').and_then(|n| n.rsplit_once("mod ")).map(|(_, name)| name.to_owned());
                out.extend(name.map(|n| path.unwrap_or_else(|| format!("{inside}/{n}.rs"))));
                break;
            }
        }
    }
    out
}

fn none(findings: &[String]) {
    let mut shown = String::new();
    for finding in findings {
        writeln!(shown, "  {finding}").expect("a string can be written to");
    }
    assert!(findings.is_empty(), "\n{shown}");
}

/// The layer table of src/lib.rs: room → layer.
fn layers() -> Vec<(String, u32)> {
    let lib = fs::read_to_string(root().join("src/lib.rs")).expect("src/lib.rs is there");
    let mut out = Vec::new();
    for line in lib.lines().filter(|l| l.starts_with("//! | ")) {
        let mut cells = line.trim_start_matches("//! |").split('|').map(str::trim);
        let (Some(layer), Some(rooms)) = (cells.next().and_then(|c| c.parse::<u32>().ok()), cells.next()) else { continue };
        out.extend(rooms.split_whitespace().map(|r| (r.trim_matches('`').to_owned(), layer)));
    }
    assert!(out.len() > 10, "src/lib.rs has no layer table: {out:?}");
    out
}

/// The rooms of ours that a line names: `crate::store`, `use crate::{api, store::Op}`.
fn named(line: &str) -> Vec<String> {
    let mut out = Vec::new();
    for (at, _) in line.match_indices("crate::") {
        let rest = &line[at + "crate::".len()..];
        let word = |text: &str| {
            text.trim_start().chars().take_while(|c| c.is_ascii_lowercase() || *c == '_' || c.is_ascii_digit()).collect::<String>()
        };
        match rest.strip_prefix('{') {
            None => out.push(word(rest)),
            Some(list) => {
                let mut depth = 0;
                let mut start = 0;
                for (i, c) in list.char_indices() {
                    match c {
                        '{' => depth += 1,
                        '}' if depth == 0 => break,
                        '}' => depth -= 1,
                        ',' if depth == 0 => {
                            out.push(word(&list[start..i]));
                            start = i + 1;
                        }
                        _ => {}
                    }
                }
                out.push(word(&list[start..]));
            }
        }
    }
    out.retain(|w| !w.is_empty());
    out
}

#[test]
fn rooms_use_only_what_the_layer_table_allows() {
    let layers = layers();
    let layer = |room: &str| layers.iter().find(|(r, _)| r == room).map(|(_, l)| *l);
    let mut findings = Vec::new();
    for source in sources("src").iter().filter(|s| !s.is_test && s.path != "src/lib.rs") {
        let room = source.room();
        let Some(own) = layer(room) else {
            findings.push(format!("{}: the room {room:?} is not in the layer table of src/lib.rs", source.path));
            continue;
        };
        for (line, code) in source.code() {
            for used in named(&code).into_iter().filter(|u| u != room) {
                let value = PURE.contains(&room) && VALUES_FOR_PURE.contains(&used.as_str());
                match layer(&used) {
                    Some(theirs) if theirs <= own || (own == 1 && value) => {}
                    Some(theirs) => findings.push(format!("{}:{line}: {room} (layer {own}) uses {used} (layer {theirs})", source.path)),
                    None => {}
                }
            }
        }
    }
    none(&findings);
}

#[test]
fn pure_rooms_name_nothing_impure() {
    let mut findings = Vec::new();
    for source in sources("src").iter().filter(|s| PURE.contains(&s.room()) && !s.is_test) {
        for (line, code) in source.code() {
            let found = IMPURE.iter().chain(&CLOCK).filter(|word| code.contains(**word));
            findings.extend(found.map(|word| format!("{}:{line}: {word} in a pure room", source.path)));
        }
    }
    none(&findings);
}

#[test]
fn only_named_files_are_unsafe() {
    let mut findings = Vec::new();
    for source in sources("src").iter().filter(|s| !MAY_BE_UNSAFE.contains(&s.path.as_str())) {
        let found = source.text.lines().enumerate().filter(|(_, line)| line.contains("unsafe_code") || line.contains("unsafe {"));
        findings.extend(found.map(|(index, _)| format!("{}:{}: unsafe", source.path, index + 1)));
    }
    none(&findings);
}

#[test]
fn only_the_clock_reads_the_time() {
    let mut findings = Vec::new();
    for source in sources("src").iter().filter(|s| !MAY_READ_THE_CLOCK.contains(&s.path.as_str()) && !s.is_test) {
        for (line, code) in source.code() {
            // Instant is a stop watch: drivers may measure with it, pure rooms may not (above).
            let found = CLOCK.iter().filter(|w| **w != "Instant::now" && code.contains(**w));
            findings.extend(found.map(|word| format!("{}:{line}: {word}; take the time as an argument, or use clock.rs", source.path)));
        }
    }
    none(&findings);
}

#[test]
fn every_file_opens_with_what_it_is_for() {
    let headless = |s: &Source| !s.text.trim_start_matches("#!").starts_with("//! ");
    let all = sources("src").into_iter().chain(sources("tests")).chain(sources("benches"));
    none(&all.filter(headless).map(|s| format!("{}:1: opens without `//! `", s.path)).collect::<Vec<_>>());
}

#[test]
fn files_stay_small() {
    let mut findings = Vec::new();
    for source in sources("src").iter().chain(&sources("tests")).chain(&sources("benches")) {
        let lines = source.code().len();
        if lines > MAX_LINES {
            findings.push(format!("{}: {lines} lines (without a test module at its end); at most {MAX_LINES}", source.path));
        }
    }
    none(&findings);
}

#[test]
fn nothing_unwraps_outside_tests() {
    let mut findings = Vec::new();
    for source in sources("src").iter().filter(|s| !s.is_test) {
        for (line, code) in source.code() {
            let found = [".unwrap()", "todo!(", "unimplemented!(", "dbg!("].into_iter().filter(|w| code.contains(w));
            findings.extend(found.map(|word| format!("{}:{line}: {word}", source.path)));
        }
    }
    none(&findings);
}

#[test]
fn no_module_is_a_mixed_bag() {
    let bags = ["utils", "util", "helpers", "helper", "common", "manager", "misc"];
    let stem = |s: &Source| Path::new(&s.path).file_stem().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
    let bag = |s: &Source| bags.contains(&stem(s).as_str()) || bags.iter().any(|b| s.path.contains(&format!("/{b}/")));
    none(&sources("src").into_iter().filter(bag).map(|s| format!("{}: a name that says nothing", s.path)).collect::<Vec<_>>());
}

/// What stands in backquotes and looks like a path of the repository.
fn paths_named(text: &str) -> Vec<(usize, String)> {
    const HERE: [&str; 12] = [
        "src/",
        "tests/",
        "proto/",
        "systemd/",
        "examples/",
        "benches/",
        "packaging/",
        "docs/",
        ".ci/",
        ".cargo/",
        "Cargo.toml",
        "build.rs",
    ];
    let mut out = Vec::new();
    let mut fenced = false;
    for (index, line) in text.lines().enumerate() {
        if line.trim_start().starts_with("```") {
            fenced = !fenced;
        }
        let words: Vec<&str> = if fenced { line.split_whitespace().collect() } else { line.split('`').skip(1).step_by(2).collect() };
        for word in words {
            let word = word.trim_end_matches([',', '.', ':', ';']);
            let plain = word.chars().all(|c| c.is_ascii_alphanumeric() || "/._-".contains(c));
            if plain && HERE.iter().any(|h| word.starts_with(h)) {
                out.push((index + 1, word.to_owned()));
            }
        }
    }
    out
}

#[test]
fn paths_named_in_documents_exist() {
    let mut findings = Vec::new();
    for document in ["README.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "CHANGELOG.md"] {
        let text = fs::read_to_string(root().join(document)).unwrap_or_default();
        assert!(!text.is_empty(), "{document} is missing");
        let gone = paths_named(&text).into_iter().filter(|(_, path)| !root().join(path).exists());
        findings.extend(gone.map(|(line, path)| format!("{document}:{line}: {path} does not exist")));
    }
    none(&findings);
}

/// The tests that a table of rows names: "`FILE`: test, test; `FILE`: …" in the last cell.
fn tests_named(text: &str) -> Vec<(usize, String, String)> {
    let mut out = Vec::new();
    for (index, line) in text.lines().enumerate().filter(|(_, line)| line.starts_with("| ")) {
        let cell = line.trim_end_matches(" |").rsplit(" | ").next().unwrap_or_default();
        // The others are headings.
        if !line.starts_with("| §") && !cell.starts_with('`') {
            continue;
        }
        for part in cell.split("; ") {
            let (file, names) = part.split_once(": ").unwrap_or((part, ""));
            let names = names.split(", ").map(|name| (index + 1, file.trim_matches('`').to_owned(), name.to_owned()));
            out.extend(names);
        }
    }
    out
}

/// Whether the file has this test; in `tests/scenarios` a test is a text with its golden timeline.
fn is_test(file: &str, name: &str) -> bool {
    if file == "tests/scenarios" {
        return ["txt", "timeline"].iter().all(|kind| root().join(file).join(format!("{name}.{kind}")).is_file());
    }
    let text = fs::read_to_string(root().join(file)).unwrap_or_default();
    let at = text.find(&format!("fn {name}("));
    at.is_some_and(|at| {
        text[..at].rsplit("\n\n").next().is_some_and(|head| ["#[test]", "#[tokio::test"].iter().any(|mark| head.contains(mark)))
    })
}

#[test]
fn every_row_of_the_semantics_names_tests_that_exist() {
    const TABLE: &str = "tests/SEMANTICS_TESTS.md";
    let text = fs::read_to_string(root().join(TABLE)).expect("the table is there");
    let named = tests_named(&text);
    let gone = named.iter().filter(|(_, file, name)| !is_test(file, name));
    let mut findings: Vec<String> = gone.map(|(line, file, name)| format!("{TABLE}:{line}: {file} has no test {name:?}")).collect();
    let sections = (1..=15).filter(|n| !text.contains(&format!("\n| §{n} ")));
    findings.extend(sections.map(|n| format!("{TABLE}: nothing proves §{n}")));
    let mut scenarios = Vec::new();
    files(&root().join("tests/scenarios"), "txt", &mut scenarios);
    let stem = |path: PathBuf| path.file_stem().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
    let silent = scenarios.into_iter().map(stem).filter(|name| !named.iter().any(|(_, file, n)| file == "tests/scenarios" && n == name));
    findings.extend(silent.map(|name| format!("{TABLE}: the scenario {name} is in no row")));
    none(&findings);
}

/// The rules can fail: each is shown something it must find.
#[test]
fn the_rules_find_what_they_are_for() {
    assert_eq!(named("use crate::{api::Key, store::{Op, Store}, clock};"), ["api", "store", "clock"]);
    assert_eq!(named("    let x = crate::host::probe(crate::clock::now());"), ["host", "clock"]);
    let text = "//! x\nfn a() {} // y.unwrap()\n// z.unwrap()\nb.unwrap();\n#[cfg(test)]\nmod tests {\n c.unwrap();\n}\n";
    let source = Source { path: "src/oci/x.rs".to_owned(), text: text.to_owned(), is_test: false };
    let found: Vec<_> = source.code().into_iter().filter(|(_, c)| c.contains("unwrap")).map(|(l, _)| l).collect();
    assert_eq!((found, source.room()), (vec![4], "oci"));
    let rows = "| row | tests |\n| §1 a | `tests/tidy.rs`: files_stay_small, none; `tests/scenarios`: static-pod, gone |\n\
        | a port | waits | `tests/tidy.rs`: no_such_test |";
    let tests: Vec<bool> = tests_named(rows).iter().map(|(_, file, name)| is_test(file, name)).collect();
    assert_eq!(tests, [true, false, true, false, false]);
    assert_eq!(
        paths_named("see `src/lib.rs`, not `lib.rs`\n```\nsrc/gone/ x\n```"),
        [(1, "src/lib.rs".to_owned()), (3, "src/gone/".to_owned())]
    );
}
