//! What a package is made of, as far as it can be told without installing one: `tests/vm/package.sh` does that.

mod layout;
mod purge;

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: &str) -> String {
    std::fs::read_to_string(root().join(path)).expect(path)
}

/// What runs before a version is unpacked, its arguments as dpkg gives them.
fn preinst(arguments: &[&str], allow: &str) -> Output {
    let script = root().join("packaging/debian/preinst");
    Command::new("sh").arg(script).args(arguments).env("MINIK8S_ALLOW_DOWNGRADE", allow).output().expect("sh runs")
}

#[test]
fn going_back_is_refused_before_anything_is_unpacked_also_after_a_removal() {
    for back in [["upgrade", "0.2.0-1", "0.1.0-1"], ["install", "0.2.0-1", "0.1.0-1"]] {
        let refused = preinst(&back, "");
        let said = String::from_utf8_lossy(&refused.stderr).into_owned();
        assert_eq!(refused.status.code(), Some(1), "{said}");
        assert!(said.starts_with("minik8s: not going back from 0.2.0-1 to 0.1.0-1: the state in /var/lib/minik8s"), "{said}");
        assert!(said.contains("MINIK8S_ALLOW_DOWNGRADE=yes"), "{said}");
        assert!(preinst(&back, "yes").status.success());
    }
    for fine in [
        &["install"][..],
        &["install", "0.1.0-1", "0.1.0-1"],
        &["upgrade", "0.1.0-1", "0.1.0-1"],
        &["upgrade", "0.9.0-1", "0.10.0-1"],
        &["abort-upgrade", "0.2.0-1"],
    ] {
        assert!(preinst(fine, "").status.success(), "{fine:?}");
    }
}

#[test]
fn the_group_is_made_before_the_service_starts_by_what_the_package_depends_on() {
    assert!(read("packaging/sysusers.d/minik8s.conf").contains("\ng minik8s -\n"));
    let cargo = read("Cargo.toml");
    assert!(cargo.contains(r#"["packaging/sysusers.d/minik8s.conf", "usr/lib/sysusers.d/minik8s.conf", "644"]"#));
    assert!(cargo.lines().any(|line| line.starts_with("depends = ") && line.contains("systemd | systemd-standalone-sysusers")));
}

#[test]
fn every_script_is_sound_and_only_a_purge_takes_state() {
    for name in ["preinst", "postinst", "prerm", "postrm"] {
        let path = root().join("packaging/debian").join(name);
        assert!(Command::new("sh").arg("-n").arg(&path).status().unwrap().success(), "{name}");
        let text = read(&format!("packaging/debian/{name}"));
        assert!(text.contains("\n#DEBHELPER#\n"), "{name}: cargo-deb puts systemd's part there");
        assert_eq!(text.matches("#DEBHELPER#").count(), 1, "{name}: it does so wherever the word stands, in a comment, too");
    }
    let postrm = read("packaging/debian/postrm");
    let (before, _) = postrm.split_once("if [ \"$1\" = purge ]").expect("a purge is told apart");
    assert!(!before.contains("\nrm ") && !before.contains("\nend_containers\n"));
    for deletes in postrm.lines().filter(|l| l.contains("rm -rf")) {
        assert!(deletes.contains("--one-file-system"), "a file system of the user's may be mounted there: {deletes}");
    }
}

#[test]
fn versions_agree_and_what_is_packaged_is_there() {
    let version = env!("CARGO_PKG_VERSION");
    assert!(read("packaging/debian/changelog").starts_with(&format!("minik8s ({version}-1) ")), "packaging/debian/changelog");
    let cargo = read("Cargo.toml");
    let sources = cargo
        .lines()
        .filter_map(|l| l.trim().strip_prefix("[\"").or(l.trim().strip_prefix("{ source = \"")))
        .filter_map(|l| l.split('"').next());
    let sources: Vec<&str> = sources.filter(|s| s.contains('/') && !s.starts_with("target/")).collect();
    assert!(sources.len() >= 10, "{sources:?}");
    for source in sources {
        let dir = source.trim_end_matches("/*").trim_end_matches("/*.yaml");
        assert!(root().join(dir).exists(), "{source}");
    }
}

#[test]
fn the_example_is_valid_and_its_name_keeps_it_from_being_run() {
    let dir = tempfile::tempdir().unwrap();
    let name = "example.yaml.example";
    assert!(!["yaml", "yml", "json"].iter().any(|ending| name.ends_with(&format!(".{ending}"))));
    let copy = dir.path().join("example.yaml");
    std::fs::copy(root().join("packaging").join(name), &copy).unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_minik8s")).arg("validate").arg(&copy).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn the_tarballs_script_installs_below_a_directory_and_keeps_settings() {
    let (from, to) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let put = |name: &str, text: &str| {
        let path = from.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    };
    for name in ["minik8s", "minik8s.conf", "minik8s.default", "example.yaml.example", "README.md", "CHANGELOG.md", "LICENSE"] {
        put(name, "new");
    }
    for name in ["man/minik8s.1.gz", "completions/minik8s.bash", "completions/_minik8s", "completions/minik8s.fish", "examples/a.yaml"] {
        put(name, "new");
    }
    for name in ["packaging/install.sh", "systemd/minik8s.service"] {
        std::fs::copy(root().join(name), from.path().join(Path::new(name).file_name().unwrap())).unwrap();
    }
    let script = from.path().join("install.sh");
    let install = || Command::new("sh").arg(&script).arg(to.path()).output().unwrap();
    let output = install();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let installed = |name: &str| std::fs::read_to_string(to.path().join(name)).expect(name);
    assert_eq!(installed("usr/bin/minik8s"), "new");
    assert!(installed("usr/lib/systemd/system/minik8s.service").contains("ExecStart=/usr/bin/minik8s agent"));
    for name in ["etc/default/minik8s", "etc/minik8s/example.yaml.example"] {
        std::fs::write(to.path().join(name), "mine").unwrap();
    }
    assert!(install().status.success());
    assert_eq!((installed("etc/default/minik8s"), installed("etc/minik8s/example.yaml.example")), ("mine".into(), "mine".into()));
    assert_eq!(installed_by_variable(&script, to.path()), "new");
}

/// What is below DESTDIR afterwards. All else is read-only meanwhile: a script that did not heed the variable would install on this very host.
fn installed_by_variable(script: &Path, to: &Path) -> String {
    let below = r#"mount -t tmpfs none "$2" && mount -o remount,bind,ro / && DESTDIR="$2" sh "$1" && cat "$2/usr/bin/minik8s""#;
    let output =
        Command::new("unshare").args(["--mount", "sh", "-c", below, "sh"]).args([script, to]).output().expect("unshare is of util-linux");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("text")
}
