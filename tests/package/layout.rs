//! `packaging/layout/cc`: what the list names comes first in the program's text; other programs, and with other linkers, are linked as ever.

use std::path::Path;
use std::process::{Command, Output};

const SOURCE: &str = r#"
#[inline(never)] fn first(n: usize) -> usize { println!("first {n}"); n }
#[inline(never)] fn second(n: usize) -> usize { println!("second {n}"); n }
fn main() { std::process::exit((first(1) + second(2)) as i32) }
"#;

/// Compiles and links a program called `name` so that `list` comes first.
fn link(dir: &Path, name: &str, list: &str, arguments: &[&str]) -> Output {
    let linker = Path::new(env!("CARGO_MANIFEST_DIR")).join("packaging/layout/cc");
    let (source, functions) = (dir.join("main.rs"), dir.join("functions"));
    std::fs::write(&source, SOURCE).expect("a file");
    std::fs::write(&functions, list).expect("a file");
    let mut rustc = Command::new("rustc");
    rustc.args(["--crate-name", "demo", "-C", "codegen-units=1", "-C", &format!("linker={}", linker.display()), "-o"]);
    rustc.args([&dir.join(name), &source]).args(arguments).env("LAYOUT_FUNCTIONS", &functions).output().expect("rustc runs")
}

/// The addresses of its functions `first` and `second`.
fn linked(dir: &Path, name: &str, list: &str, arguments: &[&str]) -> [u64; 2] {
    let (built, program) = (link(dir, name, list, arguments), dir.join(name));
    assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
    assert_eq!(Command::new(&program).output().expect("it runs").status.code(), Some(3));
    let symbols = Command::new("nm").arg("-C").arg(&program).output().expect("nm is of binutils").stdout;
    let symbols = String::from_utf8(symbols).expect("symbols");
    let address = |name: &str| {
        let line = symbols.lines().find(|line| line.contains(&format!("demo::{name}")));
        let address = line.and_then(|line| line.split(' ').next()).expect("the function is there");
        u64::from_str_radix(address, 16).expect("an address")
    };
    [address("first"), address("second")]
}

#[test]
#[cfg_attr(not(target_arch = "x86_64"), ignore = "the linker is not lld there")]
fn what_is_run_is_laid_out_together() {
    let dir = tempfile::tempdir().expect("a directory");
    let dir = dir.path();
    let [first, second] = linked(dir, "minik8s-1", "demo::first\nno::such\n", &[]);
    assert!(first < second, "{first:x} {second:x}");
    let [first, second] = linked(dir, "minik8s-2", "demo::second\n", &[]);
    assert!(second < first, "{first:x} {second:x}");
    assert!(dir.join("minik8s-2.map").exists());
    let as_ever = linked(dir, "other-1", "", &[]);
    assert_eq!(linked(dir, "other-2", "demo::second\n", &[]), as_ever);
    assert_eq!(linked(dir, "other-3", "demo::first\n", &[]), as_ever);
    // Another linker than lld, the last one named, does not know how.
    linked(dir, "minik8s-3", "demo::second\n", &["-C", "link-arg=-fuse-ld=bfd"]);
    assert!(!dir.join("minik8s-3.map").exists());
}

#[test]
#[cfg_attr(not(target_arch = "x86_64"), ignore = "the linker is not lld there")]
fn a_list_that_fits_nothing_is_told() {
    let dir = tempfile::tempdir().expect("a directory");
    let refused = link(dir.path(), "minik8s-1", "no::such\n", &[]);
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(!refused.status.success() && said.contains("names nothing of this program") && said.contains("make layout"), "{said}");
}
