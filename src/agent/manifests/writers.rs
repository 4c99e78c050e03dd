//! Who else may write where this agent reads manifests: for `doctor`. Who may is as good as root on this host.

use std::os::unix::fs::MetadataExt;
use std::path::Path;

use super::scan::walk_some;
use crate::api::files::is_everybodys;
use crate::host::doctor::Writers;

/// At most so many entries are looked at.
const MAX_ENTRIES: usize = 10_000;

/// Looks through the manifests directory as the agent does, at most `most` names for each list.
pub fn writers(root: &Path, most: usize) -> Writers {
    let scan = walk_some(root, MAX_ENTRIES);
    let mut writers = Writers::default();
    for name in scan.files.keys().chain(scan.dirs.keys()) {
        let Ok(meta) = std::fs::metadata(root.join(name)) else { continue };
        let name = if name.is_empty() { "." } else { name };
        let list = match () {
            () if is_everybodys(meta.mode()) => &mut writers.everyone,
            () if meta.uid() != 0 || (meta.mode() & 0o020 != 0 && meta.gid() != 0) => &mut writers.others,
            () => continue,
        };
        if list.len() < most {
            list.push(name.to_owned());
        }
    }
    writers
}

#[cfg(test)]
mod tests {
    use std::fs::{Permissions, create_dir, set_permissions, write};
    use std::os::unix::fs::{PermissionsExt as _, chown};

    use super::*;

    /// Needs root, as the agent does.
    #[test]
    fn whoever_is_not_root_alone_is_named_also_in_a_directory_below() {
        let dir = tempfile::tempdir().unwrap();
        let put = |name: &str, mode: u32, uid: u32, gid: u32| {
            write(dir.path().join(name), "").unwrap();
            chown(dir.path().join(name), Some(uid), Some(gid)).unwrap();
            set_permissions(dir.path().join(name), Permissions::from_mode(mode)).unwrap();
        };
        create_dir(dir.path().join("sub")).unwrap();
        put("roots.yaml", 0o644, 0, 0);
        put("roots-group.yaml", 0o664, 0, 0);
        put("read-by-a-group.yaml", 0o640, 0, 7);
        put("sub/everyones.yaml", 0o646, 0, 0);
        put("sub/a-groups.yaml", 0o664, 0, 7);
        put("sub/a-users.yaml", 0o644, 7, 0);
        put("a-users.txt", 0o666, 7, 0);
        let found = |everyone: &[&str], others: &[&str]| {
            let owned = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect();
            Writers { everyone: owned(everyone), others: owned(others) }
        };
        assert_eq!(writers(dir.path(), 9), found(&["sub/everyones.yaml"], &["sub/a-groups.yaml", "sub/a-users.yaml"]));
        assert_eq!(writers(dir.path(), 1), found(&["sub/everyones.yaml"], &["sub/a-groups.yaml"]));
        set_permissions(dir.path().join("sub"), Permissions::from_mode(0o777)).unwrap();
        assert_eq!(writers(dir.path(), 9).everyone, ["sub/everyones.yaml", "sub/"]);
        chown(dir.path(), Some(7), None).unwrap();
        assert_eq!(writers(dir.path(), 9).others, ["sub/a-groups.yaml", "sub/a-users.yaml", "."]);
        assert_eq!(writers(&dir.path().join("absent"), 9), Writers::default());
    }
}
