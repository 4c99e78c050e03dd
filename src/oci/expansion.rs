//! `$(VAR)` in env values, command and args, exactly as Kubernetes expands it (third_party/forked/golang/expansion).

use k8s_openapi::api::core::v1::EnvVar;

/// `$(NAME)` becomes `lookup(NAME)`, or stays where that is `None`; `$$` becomes `$`; any other `$` stays as it is.
pub(super) fn expand(input: &str, lookup: impl Fn(&str) -> Option<String>) -> String {
    let mut out = String::with_capacity(input.len());
    let mut rest = input;
    while let Some(dollar) = rest.find('$') {
        out.push_str(&rest[..dollar]);
        let after = &rest[dollar + 1..];
        rest = match after.bytes().next() {
            Some(b'$') => {
                out.push('$');
                &after[1..]
            }
            Some(b'(') => reference(after, &mut out, &lookup),
            _ => {
                out.push('$');
                after
            }
        };
    }
    out.push_str(rest);
    out
}

/// A probe's command with the variables whose values stand in the manifest (pkg/kubelet/container/helpers.go, ExpandContainerCommandOnlyStatic).
pub fn expand_static(command: &[String], env: &[EnvVar]) -> Vec<String> {
    let value = |name: &str| env.iter().rev().find(|v| v.name == name).map(|v| v.value.clone().unwrap_or_default());
    command.iter().map(|word| expand(word, value)).collect()
}

/// Reads `(NAME)` at the start of `after` and writes its value; returns what follows. Without `)` the `$(` is text.
fn reference<'a>(after: &'a str, out: &mut String, lookup: &impl Fn(&str) -> Option<String>) -> &'a str {
    let Some(close) = after.find(')') else {
        out.push_str("$(");
        return &after[1..];
    };
    let name = &after[1..close];
    match lookup(name) {
        Some(value) => out.push_str(&value),
        None => {
            out.push_str("$(");
            out.push_str(name);
            out.push(')');
        }
    }
    &after[close + 1..]
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The cases of third_party/forked/golang/expansion/expand_test.go that differ in kind.
    #[test]
    fn expansions() {
        let lookup = |name: &str| match name {
            "VAR_A" => Some("A".to_owned()),
            "VAR_B" => Some("B".to_owned()),
            "VAR_REF" => Some("$(VAR_A)".to_owned()),
            "VAR_EMPTY" => Some(String::new()),
            _ => None,
        };
        for (input, expected) in [
            ("$(VAR_A)", "A"),
            ("___$(VAR_B)___", "___B___"),
            ("$(VAR_A)$(VAR_B)", "AB"),
            ("$(VAR_REF)", "$(VAR_A)"),
            ("foo$(VAR_EMPTY)bar", "foobar"),
            ("$(NONE)-$(VAR_A)", "$(NONE)-A"),
            ("$$(VAR_A)", "$(VAR_A)"),
            ("$$$(VAR_A)", "$A"),
            ("$$$$(VAR_A)", "$$(VAR_A)"),
            ("f000-$$VAR_A", "f000-$VAR_A"),
            ("$VAR_A", "$VAR_A"),
            ("$(VAR_A", "$(VAR_A"),
            ("$(VAR_A$(VAR_B)", "$(VAR_A$(VAR_B)"),
            ("$(VAR_A_$(VAR_B)_x", "$(VAR_A_$(VAR_B)_x"),
            ("$()", "$()"),
            ("$", "$"),
            ("$$", "$"),
            ("\n$(VAR_A) ä$ü", "\nA ä$ü"),
            ("$(\\$(VAR_A))", "$(\\$(VAR_A))"),
        ] {
            assert_eq!(expand(input, lookup), expected, "{input}");
        }
    }
}
