//! What a package is made of, as far as it can be told without installing one: `tests/vm/package.sh` does that.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: &str) -> String {
    std::fs::read_to_string(root().join(path)).expect(path)
}

/// A maintainer script with the fragment that cargo-deb puts in left out, its arguments as dpkg gives them.
fn script(name: &str, arguments: &[&str], front: Option<&Path>, allow: &str) -> Output {
    let mut command = Command::new("sh");
    command.arg(root().join("packaging/debian").join(name)).args(arguments).env("MINIK8S_ALLOW_DOWNGRADE", allow);
    if let Some(front) = front {
        command.env("PATH", format!("{}:/usr/bin:/bin", front.display()));
    }
    command.output().expect("sh runs")
}

#[test]
fn going_back_is_refused_before_anything_is_unpacked() {
    let refused = script("preinst", &["upgrade", "0.2.0-1", "0.1.0-1"], None, "");
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert_eq!(refused.status.code(), Some(1), "{said}");
    assert!(said.starts_with("minik8s: not going back from 0.2.0-1 to 0.1.0-1: the state in /var/lib/minik8s"), "{said}");
    assert!(said.contains("MINIK8S_ALLOW_DOWNGRADE=yes"), "{said}");
    assert!(script("preinst", &["upgrade", "0.2.0-1", "0.1.0-1"], None, "yes").status.success());
    for fine in
        [&["install"][..], &["install", "0.1.0-1", "0.1.0-1"], &["upgrade", "0.1.0-1", "0.1.0-1"], &["upgrade", "0.9.0-1", "0.10.0-1"]]
    {
        assert!(script("preinst", fine, None, "").status.success(), "{fine:?}");
    }
}

#[test]
fn the_group_is_made_once_and_by_configure_only() {
    let front = tempfile::tempdir().unwrap();
    let log = front.path().join("log");
    let stand_in = |name: &str, code: i32| {
        let path = front.path().join(name);
        std::fs::write(&path, format!("#!/bin/sh\necho {name} $* >>{}\nexit {code}\n", log.display())).unwrap();
        std::fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    };
    let said = || std::fs::read_to_string(&log).unwrap_or_default();
    stand_in("groupadd", 0);
    stand_in("getent", 0);
    assert!(script("postinst", &["configure"], Some(front.path()), "").status.success());
    assert_eq!(said(), "getent group minik8s\n");
    stand_in("getent", 2);
    assert!(script("postinst", &["abort-upgrade"], Some(front.path()), "").status.success());
    assert_eq!(said(), "getent group minik8s\n");
    assert!(script("postinst", &["configure"], Some(front.path()), "").status.success());
    assert_eq!(said(), "getent group minik8s\ngetent group minik8s\ngroupadd --system minik8s\n");
}

#[test]
fn every_script_is_sound_and_only_a_purge_takes_state() {
    for name in ["preinst", "postinst", "prerm", "postrm"] {
        let path = root().join("packaging/debian").join(name);
        assert!(Command::new("sh").arg("-n").arg(&path).status().unwrap().success(), "{name}");
        assert!(read(&format!("packaging/debian/{name}")).contains("\n#DEBHELPER#\n"), "{name}: cargo-deb puts systemd's part there");
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
    let install = || Command::new("sh").arg(from.path().join("install.sh")).arg(to.path()).output().unwrap();
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
}
