//! The list of deliberate bugs (`mutations.txt`, for `make mutations`) still fits the sources: each text that a bug replaces is there.

use std::path::Path;

/// Name, file and the text as it is, of each.
fn mutations(list: &str) -> Vec<(String, String, String)> {
    let mut found: Vec<(String, String, String)> = Vec::new();
    for line in list.lines().filter(|line| !line.is_empty() && !line.starts_with(['#', '+'])) {
        match (line.strip_prefix("== "), line.strip_prefix('-'), found.last_mut()) {
            (Some(name), ..) => found.push((name.to_owned(), String::new(), String::new())),
            (None, Some(old), Some(last)) => last.2.push_str(&format!("{old}\n")),
            (None, None, Some(last)) => line.clone_into(&mut last.1),
            (None, _, None) => panic!("before any name: {line}"),
        }
    }
    found
}

#[test]
fn each_deliberate_bug_still_fits_the_sources() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let all = mutations(&std::fs::read_to_string(root.join("tests/simulation/mutations.txt")).unwrap());
    assert!(all.len() >= 11, "{all:?}");
    for (name, file, old) in all {
        let text = std::fs::read_to_string(root.join(&file)).unwrap();
        assert!(text.contains(old.trim_end_matches('\n')), "{name}: {file} does not hold\n{old}");
    }
}
