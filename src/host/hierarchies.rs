//! Where cgroups are mounted: one hierarchy a controller (v1) or one for all (v2). Parsing is pure.
//!
//! A hybrid host (v1 controllers and a v2 mount beside them) is v1: that is where the limits are. Its v2 mount is listed too, since runc
//! makes cgroups there that must go with the pod.

use std::path::{Path, PathBuf};

use super::CgroupVersion;

/// One mounted hierarchy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hierarchy {
    /// The mount point.
    pub mount: PathBuf,
    /// Its controllers; empty for v1's named ones (`name=systemd`).
    pub controllers: Vec<String>,
}

/// The cgroup hierarchies of this host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hierarchies {
    /// Which interface rules.
    pub version: CgroupVersion,
    /// v1: all, the named ones too (runc makes cgroups there and leaves the parents); v2: the one.
    pub mounted: Vec<Hierarchy>,
}

/// Controllers of v1 as mount options name them.
const CONTROLLERS: &[&str] = &[
    "cpu",
    "cpuacct",
    "cpuset",
    "memory",
    "pids",
    "devices",
    "freezer",
    "blkio",
    "hugetlb",
    "net_cls",
    "net_prio",
    "perf_event",
    "rdma",
    "misc",
];

impl Hierarchies {
    /// Reads this host's mounts. Errors: /proc/self/mountinfo cannot be read, or no cgroups are mounted.
    pub fn read() -> std::io::Result<Hierarchies> {
        let mountinfo = std::fs::read_to_string("/proc/self/mountinfo")?;
        let controllers = |mount: &Path| std::fs::read_to_string(mount.join("cgroup.controllers")).unwrap_or_default();
        let missing = || std::io::Error::new(std::io::ErrorKind::NotFound, "no cgroup hierarchy is mounted under /sys/fs/cgroup");
        Hierarchies::parse(&mountinfo, controllers).ok_or_else(missing)
    }

    /// The hierarchies in a `/proc/self/mountinfo`; `v2_controllers` reads a v2 mount's `cgroup.controllers`.
    /// A mount point named twice counts once; of hierarchies mounted twice the first place counts.
    pub fn parse(mountinfo: &str, v2_controllers: impl Fn(&Path) -> String) -> Option<Hierarchies> {
        let (mut v1, mut v2): (Vec<Hierarchy>, Vec<Hierarchy>) = (Vec::new(), Vec::new());
        for (mount, kind, options) in mountinfo.lines().filter_map(mount_of) {
            let known =
                |all: &[Hierarchy], new: &[String]| all.iter().any(|h| h.mount == mount || (!new.is_empty() && h.controllers == new));
            if kind == "cgroup2" {
                let controllers: Vec<_> = v2_controllers(&mount).split_whitespace().map(str::to_owned).collect();
                if !known(&v2, &[]) {
                    v2.push(Hierarchy { mount, controllers });
                }
            } else if kind == "cgroup" {
                let controllers: Vec<_> = options.split(',').filter(|o| CONTROLLERS.contains(o)).map(str::to_owned).collect();
                if !known(&v1, &controllers) {
                    v1.push(Hierarchy { mount, controllers });
                }
            }
        }
        let rules = |h: &&Hierarchy| h.mount == Path::new("/sys/fs/cgroup") || (v1.is_empty() && !h.controllers.is_empty());
        match v2.iter().find(rules) {
            Some(unified) => Some(Hierarchies { version: CgroupVersion::V2, mounted: vec![unified.clone()] }),
            None if v1.is_empty() => None,
            // runc makes every container's cgroup in the v2 mount of a hybrid host too: pods' parents there are ours to remove. It limits nothing
            // there, whatever controllers are left in it.
            None => {
                v1.extend(v2.into_iter().map(|unified| Hierarchy { controllers: Vec::new(), ..unified }));
                Some(Hierarchies { version: CgroupVersion::V1, mounted: v1 })
            }
        }
    }

    /// All controllers, sorted.
    pub fn controllers(&self) -> Vec<String> {
        let mut all: Vec<String> = self.mounted.iter().flat_map(|h| h.controllers.clone()).collect();
        all.sort();
        all.dedup();
        all
    }

    /// The hierarchy that has this controller.
    pub fn with(&self, controller: &str) -> Option<&Hierarchy> {
        self.mounted.iter().find(|h| h.controllers.iter().any(|c| c == controller))
    }
}

/// Mount point, file system and its options of a mountinfo line.
fn mount_of(line: &str) -> Option<(PathBuf, &str, &str)> {
    let (before, after) = line.split_once(" - ")?;
    let mount = before.split(' ').nth(4)?.replace("\\040", " ");
    let mut after = after.split(' ');
    let (kind, options) = (after.next()?, after.nth(1)?);
    Some((mount.into(), kind, options))
}

#[cfg(test)]
mod tests {
    use super::*;

    const HYBRID: &str = "31 23 0:28 / /sys/fs/cgroup rw,relatime - tmpfs tmpfs rw,mode=755
32 31 0:29 / /sys/fs/cgroup/cpu,cpuacct rw,relatime shared:9 - cgroup cgroup rw,cpu,cpuacct
33 31 0:30 / /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory
34 31 0:31 / /sys/fs/cgroup/systemd rw,relatime - cgroup cgroup rw,name=systemd
35 31 0:32 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw
";

    #[test]
    fn a_hybrid_host_is_v1() {
        let h = Hierarchies::parse(HYBRID, |_| String::new()).unwrap();
        assert_eq!((h.version, h.mounted.len()), (CgroupVersion::V1, 4));
        assert_eq!(h.controllers(), ["cpu", "cpuacct", "memory"]);
        assert_eq!(h.with("cpuacct").unwrap().mount, Path::new("/sys/fs/cgroup/cpu,cpuacct"));
        assert_eq!(h.with("pids"), None);
        let left_over = Hierarchies::parse(HYBRID, |_| "hugetlb\n".into()).unwrap();
        assert_eq!(left_over, h, "runc, which is v1's there, limits nothing in the v2 mount");
    }

    #[test]
    fn a_unified_host_is_v2() {
        let text = "30 23 0:26 / /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw,nsdelegate\n";
        let h = Hierarchies::parse(text, |_| "cpuset cpu io memory pids\n".into()).unwrap();
        assert_eq!((h.version, h.mounted.len()), (CgroupVersion::V2, 1));
        assert_eq!(h.controllers(), ["cpu", "cpuset", "io", "memory", "pids"]);
    }

    #[test]
    fn a_host_without_cgroups_has_none() {
        assert_eq!(Hierarchies::parse("22 1 0:20 / /proc rw - proc proc rw\ngarbage\n\n", |_| String::new()), None);
    }
}
