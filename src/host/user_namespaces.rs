//! Whether pods can have user namespaces of their own (`hostUsers: false`): what the kernel and the OCI runtime must have. Pure.

use super::parse;

/// The first kernel whose tmpfs has idmapped mounts (KEP-127): Secrets are always on one.
const OLDEST_KERNEL: (u32, u32) = (6, 3);

/// Whether the kernel has what it takes. `max` is what is in /proc/sys/user/max_user_namespaces; "" where there is none. Errors: why not.
pub(super) fn kernel_has_them(release: &str, max: &str) -> Result<(), String> {
    if max.is_empty() || max == "0" {
        return Err("they are switched off in this kernel (user.max_user_namespaces)".to_owned());
    }
    match parse::version(release).is_some_and(|v| v >= OLDEST_KERNEL) {
        true => Ok(()),
        false => Err(format!("Linux {release} has no idmapped mounts of tmpfs, Linux 6.3 is the first")),
    }
}

/// Whether the OCI runtime does, by what its command `features` says (runtime-spec, features-linux.md; the same is asked by containerd's CRI
/// plugin). Errors: why not.
pub fn runtime_has_them(name: &str, features: Result<&str, &str>) -> Result<(), String> {
    const ABLE: &str = "runc 1.2 and crun 1.9 are the first that do";
    let text = features.map_err(|e| format!("{name} does not tell its features ({e}); {ABLE}"))?;
    let parsed: serde_json::Value = serde_json::from_str(text).map_err(|_| format!("{name} does not tell its features; {ABLE}"))?;
    let linux = &parsed["linux"];
    if !linux["namespaces"].as_array().is_some_and(|all| all.iter().any(|n| n == "user")) {
        return Err(format!("{name} makes none"));
    }
    match linux["mountExtensions"]["idmap"]["enabled"].as_bool() {
        Some(true) => Ok(()),
        _ => Err(format!("{name} has no idmapped mounts; {ABLE}")),
    }
}

/// Whether the snapshotter does: containers' roots are overlays whose layers are mounted anew with the pod's ids.
pub fn snapshotter_has_them(snapshotter: &str) -> Result<(), String> {
    match snapshotter {
        "overlayfs" => Ok(()),
        other => Err(format!("the snapshotter {other} has no idmapped layers, overlayfs has")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kernels() {
        assert_eq!(kernel_has_them("6.18.44-fc", "96365"), Ok(()));
        assert_eq!(kernel_has_them("6.3.0", "1"), Ok(()));
        let old = kernel_has_them("6.1.0-18-amd64", "1").unwrap_err();
        assert_eq!(old, "Linux 6.1.0-18-amd64 has no idmapped mounts of tmpfs, Linux 6.3 is the first");
        for off in ["", "0"] {
            assert!(kernel_has_them("6.18", off).unwrap_err().contains("switched off"));
        }
    }

    #[test]
    fn runtimes() {
        let features = |namespaces: &str, extensions: &str| format!(r#"{{"linux": {{"namespaces": [{namespaces}], {extensions}}}}}"#);
        let able = features(r#""pid", "user""#, r#""mountExtensions": {"idmap": {"enabled": true}}"#);
        assert_eq!(runtime_has_them("runc", Ok(&able)), Ok(()));
        for (text, why) in [
            (features(r#""user""#, r#""cgroup": {}"#), "runc has no idmapped mounts; runc 1.2 and crun 1.9 are the first that do"),
            (features(r#""user""#, r#""mountExtensions": {"idmap": {"enabled": false}}"#), "runc has no idmapped mounts"),
            (features(r#""pid""#, r#""mountExtensions": {"idmap": {"enabled": true}}"#), "runc makes none"),
            ("{}".to_owned(), "runc makes none"),
            ("unknown command".to_owned(), "runc does not tell its features"),
        ] {
            let found = runtime_has_them("runc", Ok(&text)).unwrap_err();
            assert!(found.starts_with(why), "{found}");
        }
        let silent = runtime_has_them("crun", Err("unknown command features")).unwrap_err();
        assert!(silent.starts_with("crun does not tell its features (unknown command features)"), "{silent}");
        assert!(snapshotter_has_them("overlayfs").is_ok() && snapshotter_has_them("native").is_err());
    }
}
