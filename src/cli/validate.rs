//! `minik8s validate [-o json] FILE|DIR...`: what the agent would say of these manifests, without an agent.
//!
//! Guarantees: reads only; files in a fixed order (each argument in turn, directories sorted), symlinks followed, none twice by a cycle.
//! Exit codes: 0 valid, 1 a manifest is refused, 2 wrong usage or something can't be read (which outweighs 1).

use crate::api::fault::{Fault, Severity};
use crate::api::object::Key;
use crate::api::yaml::MAX_FILE;
use crate::api::{files, manifest, report};
use std::collections::{HashMap, HashSet};
use std::fs;
use std::io::{self, IsTerminal, Read, Write};
use std::path::{Path, PathBuf};

/// All went well.
pub const VALID: u8 = 0;
/// A manifest is refused.
pub const INVALID: u8 = 1;
/// Wrong usage, or something can't be read.
pub const UNREADABLE: u8 = 2;

/// Deepest directory looked into below an argument.
const MAX_DIRECTORIES: usize = 64;

/// Check manifests as the agent would, offline: every fault with file:line:column and the name that was probably meant.
#[derive(Clone, Debug, clap::Args)]
pub struct ValidateArgs {
    /// Manifests (*.yaml, *.yml, *.json), directories of them with their sub-directories, or - for stdin.
    #[arg(required = true, value_name = "FILE|DIR|-")]
    pub paths: Vec<PathBuf>,
    /// How to print the faults.
    #[arg(short, long, value_enum, default_value_t = Output::Text)]
    pub output: Output,
}

/// Forms of output.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Output {
    /// A line per fault, with excerpts on a terminal.
    #[default]
    Text,
    /// A list of {file, line, column, severity, field, message}.
    Json,
}

/// Checks the manifests and prints to the process' standard output. Returns the exit code.
pub fn run(args: &ValidateArgs) -> u8 {
    let stdout = io::stdout();
    let terminal = stdout.is_terminal();
    run_to(args, terminal, &mut stdout.lock(), &mut io::stderr().lock())
}

/// As [`run`], printing to `out`; with `terminal`, in colour and with excerpts. What can't be read goes to `errors`.
pub fn run_to(args: &ValidateArgs, terminal: bool, out: &mut dyn Write, errors: &mut dyn Write) -> u8 {
    let mut check = Check::default();
    for path in &args.paths {
        check.argument(path);
    }
    let refused = check.counts.errors > 0;
    // A reader that hung up (`| head`) changes no verdict.
    let _ = check.print(args.output, terminal, out);
    for (path, error) in &check.unreadable {
        let _ = writeln!(errors, "error: {}: {error}", path.display());
    }
    match (check.unreadable.is_empty(), refused) {
        (false, _) => UNREADABLE,
        (true, true) => INVALID,
        (true, false) => VALID,
    }
}

/// What was found so far.
#[derive(Default)]
struct Check {
    counts: report::Counts,
    faults: Vec<(Fault, usize)>,
    sources: Vec<String>,
    seen: HashMap<Key, String>,
    read: HashSet<PathBuf>,
    unreadable: Vec<(PathBuf, io::Error)>,
}

impl Check {
    /// A file named on the command line is read whatever its name is.
    fn argument(&mut self, path: &Path) {
        if path == Path::new("-") {
            return match read_from(io::stdin().lock()) {
                Ok(text) => self.text("STDIN", &text),
                Err(error) => self.unreadable.push(("STDIN".into(), error)),
            };
        }
        match fs::metadata(path) {
            Err(error) => self.unreadable.push((path.to_owned(), error)),
            Ok(meta) if meta.is_dir() => self.directory(path, 0),
            Ok(_) => self.file(path),
        }
    }

    /// Reads the manifests of a directory and of those below it, each real directory once however many links lead to it.
    fn directory(&mut self, path: &Path, depth: usize) {
        let entries = fs::canonicalize(path).and_then(|real| Ok((real, sorted(path)?)));
        let entries = match entries {
            Ok((real, _)) if depth == MAX_DIRECTORIES || !self.read.insert(real.clone()) => return,
            Ok((_, entries)) => entries,
            Err(error) => return self.unreadable.push((path.to_owned(), error)),
        };
        for entry in entries.iter().filter(|e| !files::is_hidden(e)) {
            match fs::metadata(entry) {
                Ok(meta) if meta.is_dir() => self.directory(entry, depth + 1),
                Ok(meta) if meta.is_file() && files::is_manifest(entry) => self.file(entry),
                Err(error) if files::is_manifest(entry) => self.unreadable.push((entry.clone(), error)),
                _ => {}
            }
        }
    }

    fn file(&mut self, path: &Path) {
        let text = match fs::canonicalize(path).and_then(|real| Ok((real, read(path)?))) {
            Ok((real, _)) if !self.read.insert(real.clone()) => return,
            Ok((_, text)) => text,
            Err(error) => return self.unreadable.push((path.to_owned(), error)),
        };
        self.text(&path.display().to_string(), &text);
    }

    fn text(&mut self, name: &str, text: &[u8]) {
        let mut decoded = manifest::decode(name, text);
        self.refuse_known(name, &mut decoded);
        self.counts.files += 1;
        self.counts.objects += decoded.documents.iter().filter(|d| d.object.is_some()).count();
        self.counts.add(&decoded.faults);
        let source = self.sources.len();
        self.faults.extend(decoded.faults.into_iter().map(|f| (f, source)));
        self.sources.push(String::from_utf8_lossy(text).into_owned());
    }

    /// An object that an earlier file has already is an error (SEMANTICS.md §15).
    fn refuse_known(&mut self, file: &str, decoded: &mut manifest::Decoded) {
        for document in &mut decoded.documents {
            let Some(key) = document.object.as_ref().map(|o| o.key()) else { continue };
            let Some(first) = self.seen.get(&key) else {
                self.seen.insert(key, file.to_owned());
                continue;
            };
            let message = format!("{key} is already defined in {first}: the first path in order wins");
            let (file, line) = (file.to_owned(), document.line);
            decoded.faults.push(Fault { file, line, column: 1, severity: Severity::Error, field: String::new(), message });
            document.object = None;
        }
        decoded.faults.sort_by_key(|f| (f.line, f.column));
    }

    fn print(&self, output: Output, terminal: bool, out: &mut dyn Write) -> io::Result<()> {
        if output == Output::Json {
            let faults = self.faults.iter().map(|(f, _)| f.clone()).collect::<Vec<_>>();
            return out.write_all(report::json(&faults).as_bytes());
        }
        for (fault, source) in &self.faults {
            let text = if terminal { report::shown(fault, &self.sources[*source], true) } else { format!("{fault}\n") };
            out.write_all(text.as_bytes())?;
        }
        writeln!(out, "{}", self.counts)
    }
}

fn sorted(path: &Path) -> io::Result<Vec<PathBuf>> {
    let mut entries = fs::read_dir(path)?.map(|e| e.map(|e| e.path())).collect::<io::Result<Vec<_>>>()?;
    entries.sort();
    Ok(entries)
}

/// Reads a file, and one byte more than is allowed so that decoding can say it is too large.
fn read(path: &Path) -> io::Result<Vec<u8>> {
    read_from(fs::File::open(path)?)
}

fn read_from(from: impl Read) -> io::Result<Vec<u8>> {
    let mut text = Vec::new();
    from.take(MAX_FILE as u64 + 1).read_to_end(&mut text)?;
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    const POD: &str = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\n";

    fn check(paths: &[&Path], output: Output) -> (u8, String, String) {
        let args = ValidateArgs { paths: paths.iter().map(|p| p.to_path_buf()).collect(), output };
        let (mut out, mut errors) = (Vec::new(), Vec::new());
        let code = run_to(&args, false, &mut out, &mut errors);
        (code, String::from_utf8(out).unwrap(), String::from_utf8(errors).unwrap())
    }

    #[test]
    fn directories_are_walked_and_doubles_refused() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path();
        fs::create_dir_all(root.join("sub/.git")).unwrap();
        fs::write(root.join("b.yaml"), POD).unwrap();
        fs::write(root.join("sub/a.yml"), POD).unwrap();
        fs::write(root.join("sub/.git/c.yaml"), "kind: [").unwrap();
        fs::write(root.join("notes.txt"), "kind: [").unwrap();
        std::os::unix::fs::symlink(root, root.join("sub/cycle")).unwrap();
        std::os::unix::fs::symlink(root.join("b.yaml"), root.join("same.yaml")).unwrap();
        let (code, out, errors) = check(&[root], Output::Text);
        let (b, a) = (root.join("b.yaml"), root.join("sub/a.yml"));
        let message = format!("ConfigMap default/a is already defined in {}: the first path in order wins", b.display());
        assert_eq!(out, format!("{}:1:1: error: {message}\n2 files: 1 object valid, 1 error\n", a.display()));
        assert_eq!((code, errors.as_str()), (INVALID, ""));
    }

    #[test]
    fn exit_codes_and_json() {
        let dir = tempfile::tempdir().unwrap();
        let (good, bad, gone) = (dir.path().join("good.yaml"), dir.path().join("bad.conf"), dir.path().join("gone.yaml"));
        fs::write(&good, POD).unwrap();
        fs::write(&bad, "kind: Job\n").unwrap();
        assert_eq!(check(&[&good], Output::Text), (VALID, "1 file: 1 object valid\n".into(), String::new()));
        assert_eq!(check(&[&good], Output::Json), (VALID, "[]\n".into(), String::new()));
        let (code, out, _) = check(&[&bad], Output::Json);
        let faults: Vec<serde_json::Value> = serde_json::from_str(&out).unwrap();
        assert_eq!((code, faults.len(), faults[0]["field"].as_str()), (INVALID, 1, Some("apiVersion")));
        let (code, _, errors) = check(&[&bad, &gone], Output::Text);
        assert_eq!(code, UNREADABLE);
        assert!(errors.starts_with(&format!("error: {}: No such file", gone.display())), "{errors}");
    }
}
