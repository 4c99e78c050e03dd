//! Mounts: the kernel's file systems, the pod's own files, the volumes.
//!
//! Rules: internal/cri/opts/spec_linux_opts.go (withMounts), internal/cri/server/container_create.go (linuxContainerMounts),
//! kubelet_pods.go (makeMounts). A mount of the manifest wins over one of ours at the same path; a `/dev` of the manifest's takes
//! everything of ours under it away. /dev is always a tmpfs of its own otherwise.

use std::path::{Path, PathBuf};

use k8s_openapi::api::core::v1::{Container, Volume, VolumeMount};
use oci_spec::runtime::{Mount, MountBuilder};

use super::{Inputs, OciError, namespaces, security, sub_path};
use crate::network::Namespace;

/// Kubernetes' default of terminationMessagePath.
const TERMINATION_LOG: &str = "/dev/termination-log";

/// All mounts in the order runc makes them: kernel file systems, then binds, outer paths first.
pub(super) fn mounts(inputs: &Inputs) -> Result<Vec<Mount>, OciError> {
    let mut binds = volumes(inputs)?;
    let taken: Vec<PathBuf> = binds.iter().map(|m| clean(m.destination())).collect();
    let dev_taken = taken.iter().any(|t| t == Path::new("/dev"));
    binds.extend(own_files(inputs).into_iter().filter(|m| !taken.contains(&clean(m.destination()))));
    binds.sort_by_key(|m| clean(m.destination()).components().count());
    // In a user namespace files have their owners as they would outside of one (KEP-127); the kernel's own file systems belong to it anyway.
    for bind in &mut binds {
        let mappings = namespaces::id_mappings(inputs.sandbox);
        bind.set_uid_mappings(mappings.clone()).set_gid_mappings(mappings);
    }

    let covered: Vec<PathBuf> = binds.iter().map(|m| clean(m.destination())).collect();
    let mut all: Vec<Mount> = kernel(inputs).into_iter().filter(|m| !covered.contains(m.destination())).collect();
    if dev_taken {
        all.retain(|m| !m.destination().starts_with("/dev/"));
    }
    all.extend(binds);
    Ok(all)
}

/// linux.rootfsPropagation: what mount propagation of a volume needs of the root.
pub(super) fn root_propagation(container: &Container) -> Option<String> {
    let modes = || container.volume_mounts.iter().flatten().filter_map(|m| m.mount_propagation.as_deref());
    if modes().any(|m| m == "Bidirectional") {
        return Some("rshared".to_owned());
    }
    modes().any(|m| m == "HostToContainer").then(|| "rslave".to_owned())
}

fn mount(destination: impl Into<PathBuf>, typ: &str, source: impl Into<PathBuf>, options: &[&str]) -> Mount {
    let options: Vec<String> = options.iter().map(|o| (*o).to_owned()).collect();
    let mount = MountBuilder::default().destination(destination).typ(typ).source(source).options(options).build();
    mount.expect("no id mappings are given")
}

/// proc, dev, sys and cgroup as containerd's default spec has them (pkg/oci/mounts.go); /sys and cgroups writable when privileged.
fn kernel(inputs: &Inputs) -> Vec<Mount> {
    let access = if security::privileged(inputs.container) { "rw" } else { "ro" };
    vec![
        mount("/proc", "proc", "proc", &["nosuid", "noexec", "nodev"]),
        mount("/dev", "tmpfs", "tmpfs", &["nosuid", "strictatime", "mode=755", "size=65536k"]),
        mount("/dev/pts", "devpts", "devpts", &["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"]),
        mount("/dev/shm", "tmpfs", "shm", &["nosuid", "noexec", "nodev", "mode=1777", "size=65536k"]),
        mount("/dev/mqueue", "mqueue", "mqueue", &["nosuid", "noexec", "nodev"]),
        mount("/sys", "sysfs", "sysfs", &["nosuid", "noexec", "nodev", access]),
        mount("/sys/fs/cgroup", "cgroup", "cgroup", &["nosuid", "noexec", "nodev", "relatime", access]),
    ]
}

/// The files the agent gives every container; the image's own stay where `files` has none.
fn own_files(inputs: &Inputs) -> Vec<Mount> {
    let files = inputs.files;
    let access = if security::read_only_root(inputs.container) { "ro" } else { "rw" };
    let mut out = Vec::new();
    let etc = [("/etc/hosts", &files.hosts), ("/etc/hostname", &files.hostname), ("/etc/resolv.conf", &files.resolv_conf)];
    for (path, file) in etc {
        out.extend(file.iter().map(|f| bind(path, f, "rprivate", access)));
    }
    let shm = match inputs.sandbox.ipc {
        Namespace::Host => Some(Path::new("/dev/shm")),
        Namespace::Pinned(_) => files.shm.as_deref(),
    };
    out.extend(shm.map(|s| bind("/dev/shm", s, "rprivate", "rw")));
    let path = inputs.container.termination_message_path.as_deref().filter(|p| !p.is_empty()).unwrap_or(TERMINATION_LOG);
    out.extend(inputs.termination_log.iter().map(|file| bind(path, file, "rprivate", "rw")));
    out
}

fn bind(destination: &str, source: &Path, propagation: &str, access: &str) -> Mount {
    mount(destination, "bind", source, &["rbind", propagation, access])
}

/// volumeMounts, in the manifest's order.
fn volumes(inputs: &Inputs) -> Result<Vec<Mount>, OciError> {
    let mounts = inputs.container.volume_mounts.iter().flatten().enumerate();
    mounts.map(|(index, wanted)| volume(inputs, index, wanted)).collect()
}

fn volume(inputs: &Inputs, index: usize, wanted: &VolumeMount) -> Result<Mount, OciError> {
    let field = |name: &str| format!("volumeMounts[{index}].{name}");
    let not_there = || OciError::VolumeNotFound { name: wanted.name.clone(), index };
    if inputs.sandbox.user.is_some()
        && let Some(kind) = never_with_own_ids(inputs, &wanted.name)
    {
        let why =
            format!("{kind} volumes cannot be mounted with the ids of a user namespace: set hostUsers to true or leave the volume out");
        return Err(OciError::refused(field("name"), why));
    }
    let whole = inputs.files.volumes.get(&wanted.name);
    let source = if sub_path::asked(wanted) { inputs.sub_paths.get(&index) } else { whole }.ok_or_else(not_there)?;
    let propagation = match wanted.mount_propagation.as_deref() {
        None | Some("" | "None") => "rprivate",
        Some("HostToContainer") => "rslave",
        Some("Bidirectional") if security::privileged(inputs.container) => "rshared",
        Some("Bidirectional") => {
            return Err(OciError::refused(
                field("mountPropagation"),
                "Bidirectional mount propagation is available only to privileged containers",
            ));
        }
        Some(other) => {
            return Err(OciError::invalid(
                field("mountPropagation"),
                other,
                "supported values: \"Bidirectional\", \"HostToContainer\", \"None\"",
            ));
        }
    };
    let access = access(inputs, wanted, propagation, &field("recursiveReadOnly"))?;
    // Kubernetes reads a relative mountPath from the root (kubelet_pods.go makeMounts).
    let path = if wanted.mount_path.starts_with('/') { wanted.mount_path.clone() } else { format!("/{}", wanted.mount_path) };
    let mut options = vec!["rbind", propagation, access];
    if is_image(inputs, &wanted.name) {
        // A bind does not keep what its source was mounted with (types.go, ImageVolumeSource: read-only and non-executable).
        options.extend(["nosuid", "nodev", "noexec"]);
    }
    Ok(mount(path, "bind", source, &options))
}

fn is_image(inputs: &Inputs, volume: &str) -> bool {
    source(inputs, volume).is_some_and(|v| v.image.is_some())
}

fn source<'a>(inputs: &Inputs<'a>, volume: &str) -> Option<&'a Volume> {
    inputs.pod.spec.iter().flat_map(|s| s.volumes.iter().flatten()).find(|v| v.name == volume)
}

/// The volume's kind, if the kernel has no idmapped mounts of its file system: that of nfs, and the overlay that an image of several layers is.
fn never_with_own_ids(inputs: &Inputs, volume: &str) -> Option<&'static str> {
    let found = source(inputs, volume)?;
    found.image.as_ref().map(|_| "image").or(found.nfs.as_ref().map(|_| "nfs"))
}

/// `rw`, `ro`, or `rro` (every mount below too), which needs Linux 5.12.
fn access(inputs: &Inputs, wanted: &VolumeMount, propagation: &str, field: &str) -> Result<&'static str, OciError> {
    let read_only = wanted.read_only.unwrap_or(false);
    let never_written = inputs.files.read_only.contains(&wanted.name);
    let able = kernel_at_least(&inputs.host.kernel, (5, 12));
    match wanted.recursive_read_only.as_deref() {
        None | Some("" | "Disabled") => Ok(if read_only || never_written { "ro" } else { "rw" }),
        Some("IfPossible" | "Enabled") if !read_only => Err(OciError::refused(field, "may only be specified when readOnly is true")),
        Some("IfPossible" | "Enabled") if propagation != "rprivate" => {
            Err(OciError::refused(field, "may only be specified when mountPropagation is None or not specified"))
        }
        Some("IfPossible") => Ok(if able { "rro" } else { "ro" }),
        Some("Enabled") if able => Ok("rro"),
        Some("Enabled") => Err(OciError::refused(field, "needs Linux 5.12 or newer")),
        Some(other) => Err(OciError::invalid(field, other, "supported values: \"Disabled\", \"Enabled\", \"IfPossible\"")),
    }
}

pub(super) fn kernel_at_least(release: &str, wanted: (u32, u32)) -> bool {
    let mut numbers = release.split(|c: char| !c.is_ascii_digit()).map_while(|n| n.parse::<u32>().ok());
    match (numbers.next(), numbers.next()) {
        (Some(major), minor) => (major, minor.unwrap_or(0)) >= wanted,
        _ => false,
    }
}

/// The path without `.`, `//` or a trailing slash; `..` taken literally upwards, as Go's filepath.Clean.
fn clean(path: &Path) -> PathBuf {
    let mut out = PathBuf::from("/");
    for part in path.components() {
        match part {
            std::path::Component::Normal(name) => out.push(name),
            std::path::Component::ParentDir => drop(out.pop()),
            _ => {}
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::super::build;
    use super::super::testing::Case;
    use super::*;

    /// destination → "source options".
    fn table(case: &Case) -> Vec<(String, String)> {
        let spec = case.build();
        let shown = |m: &Mount| {
            let options = m.options().as_ref().map(|o| o.join(",")).unwrap_or_default();
            (m.destination().display().to_string(), format!("{} {options}", m.source().as_ref().unwrap().display()))
        };
        spec.mounts().iter().flatten().map(shown).collect()
    }

    fn paths(case: &Case) -> Vec<String> {
        table(case).into_iter().map(|(d, _)| d).collect()
    }

    #[test]
    fn defaults_in_order() {
        let expected = [
            "/proc",
            "/dev",
            "/dev/pts",
            "/dev/mqueue",
            "/sys",
            "/sys/fs/cgroup",
            "/etc/hosts",
            "/etc/hostname",
            "/etc/resolv.conf",
            "/dev/shm",
            "/dev/termination-log",
        ];
        assert_eq!(paths(&Case::new("{}")), expected);
        let find = |case: &Case, path: &str| table(case).into_iter().find(|(d, _)| d == path).unwrap().1;
        assert_eq!(find(&Case::new("{}"), "/sys"), "sysfs nosuid,noexec,nodev,ro");
        assert_eq!(find(&Case::new("{securityContext: {privileged: true}}"), "/sys"), "sysfs nosuid,noexec,nodev,rw");
        assert_eq!(find(&Case::new("{}"), "/dev/shm"), "/pods/u-1/shm rbind,rprivate,rw");
        assert_eq!(
            find(&Case::new("{securityContext: {readOnlyRootFilesystem: true}}"), "/etc/hosts"),
            "/pods/u-1/hosts rbind,rprivate,ro"
        );
        assert_eq!(find(&Case::new("{}").host_ipc(), "/dev/shm"), "/dev/shm rbind,rprivate,rw");
        assert_eq!(find(&Case::new("{terminationMessagePath: /tmp/why}"), "/tmp/why"), "/pods/u-1/log rbind,rprivate,rw");
        let mut bare = Case::new("{}");
        bare.files = crate::volumes::PodFiles::default();
        bare.termination_log = None;
        assert_eq!(find(&bare, "/dev/shm"), "shm nosuid,noexec,nodev,mode=1777,size=65536k");
    }

    #[test]
    fn volumes_are_sorted_by_depth_and_shadow_ours() {
        let mounts = |list: &str| Case::new(&format!("{{volumeMounts: [{list}]}}")).volume("v", "/vol").volume("w", "/w");
        let case = mounts("{name: v, mountPath: /a/b/c}, {name: w, mountPath: /a}, {name: v, mountPath: x/y, readOnly: true}");
        let binds: Vec<_> = table(&case).into_iter().skip(6).filter(|(_, s)| s.starts_with("/vol") || s.starts_with("/w")).collect();
        let expected = [("/a", "/w rbind,rprivate,rw"), ("/x/y", "/vol rbind,rprivate,ro"), ("/a/b/c", "/vol rbind,rprivate,rw")];
        assert_eq!(binds, expected.map(|(d, s)| (d.to_owned(), s.to_owned())));

        let case = mounts("{name: v, mountPath: /etc/hosts}, {name: w, mountPath: /dev/shm/}, {name: v, mountPath: /sys}");
        let table = table(&case);
        for (path, source) in [("/etc/hosts", "/vol"), ("/dev/shm/", "/w"), ("/sys", "/vol")] {
            let found: Vec<_> = table.iter().filter(|(d, _)| d.trim_end_matches('/') == path.trim_end_matches('/')).collect();
            assert_eq!(found.len(), 1, "{path}");
            assert!(found[0].1.starts_with(source), "{path}");
        }
        let dev = paths(&mounts("{name: v, mountPath: /dev}"));
        assert!(!dev.iter().any(|p| p == "/dev/pts" || p == "/dev/mqueue"));
    }

    #[test]
    fn propagation_and_recursive_read_only() {
        for (container, rest, expected) in [
            ("", "mountPropagation: None", Ok(("rbind,rprivate,rw", None))),
            ("", "mountPropagation: HostToContainer", Ok(("rbind,rslave,rw", Some("rslave")))),
            ("securityContext: {privileged: true}, ", "mountPropagation: Bidirectional", Ok(("rbind,rshared,rw", Some("rshared")))),
            (
                "",
                "mountPropagation: Bidirectional",
                Err("volumeMounts[0].mountPropagation: Bidirectional mount propagation is available only to"),
            ),
            ("", "mountPropagation: Odd", Err("volumeMounts[0].mountPropagation: Invalid value: \"Odd\"")),
            ("", "readOnly: true, recursiveReadOnly: Enabled", Ok(("rbind,rprivate,rro", None))),
            ("", "readOnly: true, recursiveReadOnly: IfPossible", Ok(("rbind,rprivate,rro", None))),
            ("", "readOnly: true, recursiveReadOnly: Disabled", Ok(("rbind,rprivate,ro", None))),
            ("", "recursiveReadOnly: Enabled", Err("volumeMounts[0].recursiveReadOnly: may only be specified when readOnly is true")),
            ("", "subPath: x", Err("volumeMounts[0]: volume \"v\" is not there")),
        ] {
            let case = Case::new(&format!("{{{container}volumeMounts: [{{name: v, mountPath: /m, {rest}}}]}}")).volume("v", "/vol");
            match (build(&case.inputs()), expected) {
                (Ok(spec), Ok((options, root))) => {
                    let mount = spec.mounts().iter().flatten().find(|m| m.destination() == "/m").unwrap();
                    assert_eq!(mount.options().as_ref().unwrap().join(","), options, "{rest}");
                    assert_eq!(spec.linux().as_ref().unwrap().rootfs_propagation().as_deref(), root, "{rest}");
                }
                (Err(error), Err(start)) => assert!(error.to_string().starts_with(start), "{error}"),
                (got, _) => panic!("{rest}: {got:?}"),
            }
        }
        let error = build(&Case::new("{volumeMounts: [{name: gone, mountPath: /m}]}").inputs()).unwrap_err().to_string();
        assert_eq!(error, "volumeMounts[0]: volume \"gone\" is not there");
    }

    #[test]
    fn configuration_is_read_only_and_a_sub_path_is_mounted_from_where_it_was_made_safe() {
        let mut case = Case::new("{volumeMounts: [{name: v, mountPath: /m}, {name: v, mountPath: /n, subPath: a/b}]}").volume("v", "/vol");
        case.files.read_only.insert("v".to_owned());
        case.sub_paths.insert(1, "/pods/u-1/sub".into());
        let find = |path: &str| table(&case).into_iter().find(|(d, _)| d == path).unwrap().1;
        assert_eq!((find("/m").as_str(), find("/n").as_str()), ("/vol rbind,rprivate,ro", "/pods/u-1/sub rbind,rprivate,ro"));
    }

    #[test]
    fn nothing_in_an_image_that_is_a_volume_is_written_or_run() {
        let mounts = "{volumeMounts: [{name: v, mountPath: /m}, {name: w, mountPath: /n}]}";
        let mut case = Case::new(mounts).pod("volumes: [{name: v, image: {reference: i}}]").volume("v", "/vol").volume("w", "/w");
        case.files.read_only.insert("v".to_owned());
        let find = |path: &str| table(&case).into_iter().find(|(d, _)| d == path).unwrap().1;
        assert_eq!((find("/m").as_str(), find("/n").as_str()), ("/vol rbind,rprivate,ro,nosuid,nodev,noexec", "/w rbind,rprivate,rw"));
    }

    #[test]
    fn what_has_no_idmapped_mounts_is_refused_in_a_user_namespace() {
        let volumes = "volumes: [{name: v, image: {reference: i}}, {name: w, nfs: {server: s, path: /}}, {name: x, emptyDir: {}}]";
        let case = |mounted: &str| {
            let case = Case::new(&format!("{{volumeMounts: [{{name: {mounted}, mountPath: /m}}]}}")).pod(volumes);
            case.volume("v", "/v").volume("w", "/w").volume("x", "/x")
        };
        for (name, kind) in [("v", "image"), ("w", "nfs")] {
            case(name).build();
            let error = build(&case(name).own_users().inputs()).unwrap_err().to_string();
            let begin = format!("volumeMounts[0].name: {kind} volumes cannot be mounted with the ids of a user namespace: ");
            assert!(error.starts_with(&begin), "{error}");
        }
        case("x").own_users().build();
    }

    #[test]
    fn kernels_and_paths() {
        for (release, able) in [("6.18.5", true), ("5.12.0-rc1", true), ("5.11.22-amd64", false), ("6", true), ("", false), ("4.19", false)]
        {
            assert_eq!(kernel_at_least(release, (5, 12)), able, "{release}");
        }
        for (path, expected) in [("/a//b/", "/a/b"), ("a/./b/../c", "/a/c"), ("/../..", "/")] {
            assert_eq!(clean(Path::new(path)), PathBuf::from(expected));
        }
    }
}
