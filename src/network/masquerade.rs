//! Masquerading for the built-in bridge: one rule a bridge, not the bridge plugin's chain a pod.
//!
//! The plugin's `ipMasq` executes iptables some six times at every ADD and DEL (measured here: ADD 14 → 30 ms, DEL 30 → 75 ms) to
//! say of each address what one rule says of the subnet. Rules are written when the first pod is attached, again at every start
//! of the agent (a chain is replaced whole, so that repeats nothing), and taken away by [`uninstall`].

use std::io::Write;
use std::process::{Command, Stdio};

use super::bridge::Abilities;

/// Tries what the packet filter can do. Blocking, some 10 ms; rules are tried in a network namespace of their own.
pub(super) fn probe() -> Abilities {
    let masquerade = std::thread::Builder::new().name("probe".into()).spawn(try_in_a_namespace);
    let masquerade = masquerade.ok().and_then(|t| t.join().ok()).unwrap_or(false);
    let forward = Command::new("iptables").args(["-w", "5", "-S", "FORWARD"]).stdin(Stdio::null()).output();
    let forward_drops = forward.is_ok_and(|o| String::from_utf8_lossy(&o.stdout).lines().any(|l| l.trim() == "-P FORWARD DROP"));
    Abilities { masquerade, forward_drops }
}

/// Runs in a thread of its own: it enters a network namespace that ends with it.
fn try_in_a_namespace() -> bool {
    nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWNET).is_ok() && install("probe", "10.244.0.0/24").is_ok()
}

/// Masquerades what leaves `subnet` for anywhere but the subnet itself and multicast. Blocking. Errors: iptables' words.
pub(super) fn install(bridge: &str, subnet: &str) -> Result<(), String> {
    let mut restore = Command::new("iptables-restore");
    restore.args(["-w", "5", "--noflush"]).stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped());
    let mut child = restore.spawn().map_err(|e| format!("iptables-restore: {e}"))?;
    if let Some(mut stdin) = child.stdin.take() {
        stdin.write_all(rules(bridge, subnet).as_bytes()).map_err(|e| format!("iptables-restore: {e}"))?;
    }
    let output = child.wait_with_output().map_err(|e| format!("iptables-restore: {e}"))?;
    if !output.status.success() {
        return Err(format!("iptables-restore: {}", String::from_utf8_lossy(&output.stderr).trim()));
    }
    let chain = chain(bridge);
    let jump = |verb| iptables(&[verb, "POSTROUTING", "-s", subnet, "-j", &chain]);
    jump("-C").or_else(|_| jump("-A"))
}

/// Takes the rules away; none there is no error. Blocking.
pub(super) fn uninstall(bridge: &str) -> Result<(), String> {
    let chain = chain(bridge);
    let Ok(output) = Command::new("iptables").args(["-w", "5", "-t", "nat", "-S"]).stdin(Stdio::null()).output() else { return Ok(()) };
    let text = String::from_utf8_lossy(&output.stdout);
    for rule in text.lines().filter(|l| l.ends_with(&format!("-j {chain}"))) {
        let words: Vec<&str> = rule.split_whitespace().skip(1).collect();
        iptables(&[&["-D"], words.as_slice()].concat())?;
    }
    if text.lines().any(|l| l == format!("-N {chain}")) {
        iptables(&["-F", &chain])?;
        iptables(&["-X", &chain])?;
    }
    Ok(())
}

/// A chain's name is at most 28 bytes, a link's 15.
fn chain(bridge: &str) -> String {
    format!("MINIK8S-{bridge}")
}

/// Naming a chain empties it, so that this may be said again.
fn rules(bridge: &str, subnet: &str) -> String {
    let chain = chain(bridge);
    let returns: String = [subnet, "224.0.0.0/4"].iter().map(|to| format!("-A {chain} -d {to} -j RETURN\n")).collect();
    format!("*nat\n:{chain} - [0:0]\n{returns}-A {chain} -j MASQUERADE\nCOMMIT\n")
}

fn iptables(arguments: &[&str]) -> Result<(), String> {
    let mut command = Command::new("iptables");
    let output = command.args(["-w", "5", "-t", "nat"]).args(arguments).stdin(Stdio::null()).output();
    match output.map_err(|e| format!("iptables: {e}"))? {
        output if output.status.success() => Ok(()),
        output => Err(format!("iptables {}: {}", arguments.join(" "), String::from_utf8_lossy(&output.stderr).trim())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_stays_in_the_subnet_is_left_alone() {
        let expected = "*nat\n:MINIK8S-mk8s0 - [0:0]\n-A MINIK8S-mk8s0 -d 10.244.1.0/24 -j RETURN\n\
            -A MINIK8S-mk8s0 -d 224.0.0.0/4 -j RETURN\n-A MINIK8S-mk8s0 -j MASQUERADE\nCOMMIT\n";
        assert_eq!(rules("mk8s0", "10.244.1.0/24"), expected);
    }
}
