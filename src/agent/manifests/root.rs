//! Is a directory that looks different the user's doing, or did it vanish under us? Pure.
//!
//! SEMANTICS §15: "The whole directory vanishing (unmounted, other device or inode, unreadable) changes nothing that runs."

use std::io::ErrorKind;
use std::path::Path;

/// What identifies a directory, and whether it holds manifests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Seen {
    /// Device number.
    pub device: u64,
    /// Inode number.
    pub inode: u64,
    /// Whether any manifest lies in it or below.
    pub holds_manifests: bool,
    /// Whether the path leads through a symbolic link whose target is another than before (git-sync swaps those).
    pub link_moved: bool,
}

/// The verdict on a directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// What is there counts, and what is missing is meant to be gone.
    Accept,
    /// Nothing is concluded from what is missing; why.
    Hold(String),
}

/// Judges a directory by what it was (`before`, `None` where we never saw it) and is now (`None`: it cannot be read).
///
/// Accepted: the same directory, emptied or not; a swapped link or a replaced directory with manifests in it; a directory that holds
/// manifests where the earlier one held none (a late mount). Held: unreadable or missing; a different one without manifests (the bare
/// mount point); another device with manifests in place of one with manifests (what lies under a mount).
pub(super) fn judge(before: Option<Seen>, now: Option<Seen>) -> Verdict {
    let Some(now) = now else {
        return Verdict::Hold("it cannot be read".to_owned());
    };
    let Some(before) = before else { return Verdict::Accept };
    if (before.device, before.inode) == (now.device, now.inode) {
        return Verdict::Accept;
    }
    if !now.holds_manifests {
        return match before.holds_manifests {
            true => Verdict::Hold("another directory without manifests is in its place; was it unmounted?".to_owned()),
            false => Verdict::Accept,
        };
    }
    if now.link_moved || before.device == now.device || !before.holds_manifests {
        return Verdict::Accept;
    }
    Verdict::Hold("another file system is in its place; restart the agent if that is meant".to_owned())
}

/// What is said of a directory that is not there or cannot be read: what, where, why, what to do.
pub(super) fn absent(path: &Path, error: ErrorKind) -> String {
    // Without the slash that a join with nothing leaves.
    let path = path.components().as_path().display();
    match error {
        ErrorKind::NotFound => {
            format!("{path} does not exist; make it (mkdir -p {path}) and it is taken up by itself, or name another with --manifests")
        }
        ErrorKind::NotADirectory => format!("{path} is no directory; put one in its place and it is taken up by itself"),
        error => format!("{path} cannot be read ({error}); mend that and it is taken up by itself"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(device: u64, inode: u64, holds_manifests: bool, link_moved: bool) -> Option<Seen> {
        Some(Seen { device, inode, holds_manifests, link_moved })
    }

    #[test]
    fn what_is_accepted_and_what_is_held() {
        let full = seen(1, 10, true, false);
        let table = [
            ("first look", None, full, true),
            ("same directory, emptied by the user", full, seen(1, 10, false, false), true),
            ("unreadable", full, None, false),
            ("unmounted: bare mount point", full, seen(2, 20, false, false), false),
            ("unmounted: old files underneath", full, seen(2, 20, true, false), false),
            ("recreated empty on the same device", full, seen(1, 11, false, false), false),
            ("replaced by rename on the same device", full, seen(1, 11, true, false), true),
            ("git-sync swapped the link", full, seen(1, 12, true, true), true),
            ("git-sync on another device", full, seen(2, 12, true, true), true),
            ("late mount over an empty directory", seen(1, 10, false, false), seen(2, 20, true, false), true),
        ];
        for (what, before, now, accepted) in table {
            assert_eq!(judge(before, now) == Verdict::Accept, accepted, "{what}");
        }
    }
}
