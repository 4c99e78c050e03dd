//! Reading and decoding files, many at once on all cores.

use std::collections::BTreeMap;
use std::path::Path;

use sha2::Digest as _;

use super::scan;
use super::set::{FileEntry, entry, refused};
use crate::api::manifest::decode;
use crate::cores::on_all_cores;

/// Fewer files than this for each thread are not worth one.
const WORTH_A_THREAD: usize = 64;

/// Tells one file's bytes from another's.
pub(super) type Digest = [u8; 32];

/// What came of reading one file.
#[derive(Debug)]
pub(super) enum Read {
    /// Its bytes are those of the digest that was known.
    Same,
    /// Decoded, with its digest.
    Decoded(FileEntry, Digest),
    /// It could not be read or may not be used.
    Refused(FileEntry),
}

/// Reads these files below `root`, in the same order. A file whose bytes have the `known` digest is not decoded.
pub(super) fn read_all(root: &Path, relative: &[&str], known: &BTreeMap<String, Digest>) -> Vec<Read> {
    on_all_cores(relative, WORTH_A_THREAD, |_, path| read(root, path, known.get(*path)))
}

fn read(root: &Path, relative: &str, known: Option<&Digest>) -> Read {
    let text = match scan::read(&root.join(relative)) {
        Ok(text) => text,
        Err(message) => return Read::Refused(refused(relative, &message)),
    };
    let digest = sha2::Sha256::digest(&text).into();
    if known == Some(&digest) {
        return Read::Same;
    }
    Read::Decoded(entry(relative, decode(relative, &text)), digest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_files_come_in_their_order_and_only_other_bytes_are_decoded() {
        let dir = tempfile::tempdir().unwrap();
        let names: Vec<String> = (0..300).map(|n| format!("{n:03}.yaml")).collect();
        for name in &names {
            std::fs::write(dir.path().join(name), format!("apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: c{}}}\n", &name[..3]))
                .unwrap();
        }
        std::fs::remove_file(dir.path().join("007.yaml")).unwrap();
        let paths: Vec<&str> = names.iter().map(String::as_str).collect();
        let mut known = BTreeMap::new();
        for (name, read) in names.iter().zip(read_all(dir.path(), &paths, &known.clone())) {
            match read {
                Read::Decoded(file, digest) => {
                    assert_eq!(file.objects[0].meta().name, Some(format!("c{}", &name[..3])));
                    known.insert(name.clone(), digest);
                }
                Read::Refused(file) => assert!(name == "007.yaml" && file.keep),
                Read::Same => panic!("{name} was never read"),
            }
        }
        std::fs::write(dir.path().join("100.yaml"), "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: other}\n").unwrap();
        let again = read_all(dir.path(), &paths, &known);
        let decoded: Vec<usize> = again.iter().enumerate().filter(|(_, r)| matches!(r, Read::Decoded(..))).map(|(n, _)| n).collect();
        assert_eq!(decoded, [100]);
    }
}
