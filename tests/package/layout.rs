//! `packaging/layout/cc`: what the list names comes first in the program's text; programs of other names, and without the list, are linked as ever.

use std::path::Path;
use std::process::Command;

const SOURCE: &str = r#"
#[inline(never)] fn first(n: usize) -> usize { println!("first {n}"); n }
#[inline(never)] fn second(n: usize) -> usize { println!("second {n}"); n }
fn main() { std::process::exit((first(1) + second(2)) as i32) }
"#;

/// Links a program called `name` so that `list` comes first; the addresses of its functions `first` and `second`.
fn linked(dir: &Path, name: &str, list: &str) -> [u64; 2] {
    let linker = Path::new(env!("CARGO_MANIFEST_DIR")).join("packaging/layout/cc");
    let (source, functions, program) = (dir.join("main.rs"), dir.join("functions"), dir.join(name));
    std::fs::write(&source, SOURCE).expect("a file");
    std::fs::write(&functions, list).expect("a file");
    let built = Command::new("rustc")
        .args(["--crate-name", "demo", "-C", "codegen-units=1", "-C", &format!("linker={}", linker.display()), "-o"])
        .args([&program, &source])
        .env("LAYOUT_FUNCTIONS", &functions)
        .output()
        .expect("rustc runs");
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
    let [first, second] = linked(dir.path(), "minik8s-1", "demo::first\nno::such\n");
    assert!(first < second, "{first:x} {second:x}");
    let [first, second] = linked(dir.path(), "minik8s-2", "demo::second\n");
    assert!(second < first, "{first:x} {second:x}");
    assert!(dir.path().join("minik8s-2.map").exists());
    let as_ever = linked(dir.path(), "other-1", "");
    assert_eq!(linked(dir.path(), "other-2", "demo::second\n"), as_ever);
    assert_eq!(linked(dir.path(), "other-3", "demo::first\n"), as_ever);
}
