//! Which files are manifests: by their names, and by who may write them.

use std::path::Path;

/// Whether a file of this name is read: `*.yaml`, `*.yml` and `*.json` (as kubectl, in lower case), but no hidden file, no editor's
/// backup, lock or swap file (`x.yaml~`, `#x.yaml#`, `.x.yaml.swp`, `.#x.yaml`, `x.yaml.tmp`).
pub fn is_manifest(path: &Path) -> bool {
    let Some(name) = path.file_name().and_then(|n| n.to_str()) else { return false };
    let extension = name.rsplit_once('.').filter(|(stem, _)| !stem.is_empty()).map(|(_, e)| e);
    !is_hidden(path) && !name.starts_with(['#', '~']) && matches!(extension, Some("yaml" | "yml" | "json"))
}

/// Whether a file or directory of this name is passed over because it begins with `.` (`.git`, Kubernetes' `..data`).
pub fn is_hidden(path: &Path) -> bool {
    path.file_name().is_some_and(|n| n.as_encoded_bytes().starts_with(b"."))
}

/// Whether the permission bits of a file or directory let everybody write: it is refused then (a sticky bit does not help: they may still add some).
pub fn is_everybodys(mode: u32) -> bool {
    mode & 0o002 != 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn manifests_and_what_editors_leave() {
        for name in ["a.yaml", "dir/b.yml", "c.json", "a.b.yaml", "ünï.yaml"] {
            assert!(is_manifest(Path::new(name)), "{name}");
        }
        let not = [".a.yaml", "a.yaml~", "#a.yaml#", "#a.yaml", "~a.yaml", ".a.yaml.swp", "a.yaml.tmp", "a.yaml.bak", "a.txt", "a", "yaml"];
        for name in not.iter().chain(&[".yaml", "a.YAML", "a.yaml.swp", ".#a.yaml", "", "..", "4913"]) {
            assert!(!is_manifest(Path::new(name)), "{name}");
        }
    }
}
