//! Which version of CDI a file says it is, and which it must be for what is in it (specs-go/version.go).

use super::file::{Edits, Spec};

/// All there are, oldest first.
const KNOWN: [&str; 10] = ["0.1.0", "0.2.0", "0.3.0", "0.4.0", "0.5.0", "0.6.0", "0.7.0", "0.8.0", "1.0.0", "1.1.0"];

/// Errors: no version, or one that lacks something the file has.
pub(super) fn check(spec: &Spec) -> Result<(), String> {
    let written = spec.cdi_version.strip_prefix('v').unwrap_or(&spec.cdi_version);
    let Some(said) = KNOWN.iter().position(|known| *known == written) else {
        return Err(format!("invalid version {:?}", spec.cdi_version));
    };
    let needed = KNOWN.iter().position(|known| *known == needed(spec)).unwrap_or(0);
    if needed > said { Err(format!("the spec version must be at least v{}", KNOWN[needed])) } else { Ok(()) }
}

fn needed(spec: &Spec) -> &'static str {
    let edits = || spec.devices.iter().map(|d| &d.container_edits).chain([&spec.container_edits]);
    let any = |uses: fn(&Edits) -> bool| edits().any(uses);
    let class = spec.kind.split_once('/').map_or("", |(_, class)| class);
    let rdt_of_1_1 =
        |e: &Edits| e.intel_rdt.as_ref().is_some_and(|rdt| ["schemata", "enableMonitoring"].iter().any(|f| rdt.get(f).is_some()));
    if any(|e| e.net_devices.is_some()) || edits().any(rdt_of_1_1) {
        "1.1.0"
    } else if any(|e| e.intel_rdt.is_some() || !e.additional_gids.is_empty()) {
        "0.7.0"
    } else if !spec.annotations.is_empty() || spec.devices.iter().any(|d| !d.annotations.is_empty()) || class.contains('.') {
        "0.6.0"
    } else if any(|e| e.device_nodes.iter().any(|n| n.host_path.is_some()))
        || spec.devices.iter().any(|d| d.name.starts_with(|c: char| c.is_ascii_digit()))
    {
        "0.5.0"
    } else if any(|e| e.mounts.iter().any(|m| m.kind.is_some())) {
        "0.4.0"
    } else {
        "0.3.0"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_field_needs_its_version() {
        for (kind, device, edits, needed) in [
            ("v.com/x", "a", "{env: [A=1]}", "0.3.0"),
            ("v.com/x", "a", "{mounts: [{hostPath: /a, containerPath: /b, type: none}]}", "0.4.0"),
            ("v.com/x", "a", "{deviceNodes: [{path: /a, hostPath: /b}]}", "0.5.0"),
            ("v.com/x", "0", "{env: [A=1]}", "0.5.0"),
            ("v.com/x.y", "a", "{env: [A=1]}", "0.6.0"),
            ("v.com/x", "a", "{env: [A=1]}, annotations: {b: c}", "0.6.0"),
            ("v.com/x", "a", "{additionalGids: [1]}", "0.7.0"),
            ("v.com/x", "a", "{intelRdt: {closID: c}}", "0.7.0"),
            ("v.com/x", "a", "{intelRdt: {schemata: [x]}}", "1.1.0"),
            ("v.com/x", "a", "{netDevices: [{hostInterfaceName: a}]}", "1.1.0"),
        ] {
            let at = |version: &str| {
                Spec::read(&format!("cdiVersion: {version}\nkind: {kind}\ndevices: [{{name: \"{device}\", containerEdits: {edits}}}]"))
            };
            let first = KNOWN.iter().position(|v| *v == needed).unwrap();
            for version in &KNOWN[first..] {
                assert!(at(version).is_ok(), "{version} {edits}: {:?}", at(version));
            }
            assert_eq!(at(&format!("v{needed}")).err(), None);
            for version in &KNOWN[..first] {
                assert_eq!(at(version).unwrap_err(), format!("the spec version must be at least v{needed}"), "{version} {edits}");
            }
        }
        let unknown = |version: &str| Spec::read(&format!("cdiVersion: \"{version}\"\nkind: v.com/x\ndevices: []")).unwrap_err();
        assert_eq!((unknown("0.9.0"), unknown("1")), ("invalid version \"0.9.0\"".to_owned(), "invalid version \"1\"".to_owned()));
    }
}
