//! What is written down about the command line is what the program says of itself: `make docs` brings it up to date.

#[path = "../packaging/cli_docs.rs"]
mod cli_docs;

use std::path::Path;

use cli_docs::{REFERENCE, defaults, package, reference, with_table};

fn read(path: &str) -> String {
    std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).expect(path)
}

#[test]
fn the_reference_is_up_to_date() {
    assert!(read(REFERENCE) == reference(), "{REFERENCE} is not what the program says of itself; run: make docs");
}

#[test]
fn the_table_of_commands_in_the_readme_is_up_to_date() {
    let readme = read("README.md");
    assert!(readme == with_table(&readme).unwrap(), "README.md's table of commands is out of date; run: make docs");
    assert!(with_table("no such lines").is_err());
}

#[test]
fn a_package_has_a_page_for_every_command_and_completions_for_three_shells() {
    let dir = tempfile::tempdir().unwrap();
    package(dir.path()).unwrap();
    let page = |name: &str| std::fs::read_to_string(dir.path().join("man").join(name)).expect(name);
    assert!(page("minik8s.1").contains(".TH minik8s 1"));
    for line in reference().lines().filter_map(|l| l.strip_prefix("## `minik8s ")) {
        let name = line.trim_end_matches('`').replace(' ', "-");
        assert!(page(&format!("minik8s-{name}.1")).contains("SYNOPSIS"), "{name}");
    }
    assert!(page("minik8s-agent.1").contains("MINIK8S_STATE_DIR"));
    for name in ["minik8s.bash", "_minik8s", "minik8s.fish"] {
        assert!(std::fs::read_to_string(dir.path().join(name)).unwrap().contains("port-forward"), "{name}");
    }
}

#[test]
fn the_file_of_defaults_sets_nothing_and_has_every_variable() {
    let text = defaults();
    assert!(text.lines().all(|line| line.is_empty() || line.starts_with('#')));
    for line in ["#MINIK8S_MANIFESTS=/etc/minik8s", "#MINIK8S_MAX_PODS=110", "#MINIK8S_NODE_NAME=", "#MINIK8S_CGROUP_DRIVER=auto"] {
        assert!(text.lines().any(|l| l == line), "{line}");
    }
    let variables = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("src/cli/agent_args.rs")).unwrap();
    for name in variables.split("env = \"").skip(1).filter_map(|rest| rest.split('"').next()) {
        assert!(text.contains(&format!("\n#{name}=")), "{name}");
    }
}
