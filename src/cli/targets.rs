//! What a command is about: `TYPE[,TYPE] [NAME...]` or `TYPE/NAME ...`, as kubectl reads it.

use super::error::CliError;
use super::kinds;
use crate::api::Kind;

/// Objects of one kind: all, or those of these names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// The kind.
    pub kind: Kind,
    /// The names; all if empty.
    pub names: Vec<String>,
}

/// Reads the words after the command.
pub fn parse(words: &[String]) -> Result<Vec<Target>, CliError> {
    let slashed = words.iter().filter(|word| word.contains('/')).count();
    if slashed > 0 {
        return if slashed == words.len() { by_name(words) } else { Err(mixed()) };
    }
    let Some((types, names)) = words.split_first() else {
        return Err(CliError::local(
            "you must specify the type of resource: pods, jobs, cronjobs, daemonsets, nodes, events, configmaps, secrets, pvc or all",
        ));
    };
    let kinds = kinds::parse_list(types).map_err(CliError::Local)?;
    Ok(kinds.into_iter().map(|kind| Target { kind, names: names.to_vec() }).collect())
}

fn mixed() -> CliError {
    CliError::local(
        "there is no need to specify a resource type as a separate argument when passing arguments in resource/name form (e.g. 'minik8s get resource/<resource_name>' instead of 'minik8s get resource resource/<resource_name>'",
    )
}

/// One target for each kind, in the order in which the kinds are first named.
fn by_name(words: &[String]) -> Result<Vec<Target>, CliError> {
    let mut targets: Vec<Target> = Vec::new();
    for word in words {
        let (kind, name) = one(word)?;
        match targets.iter_mut().find(|target| target.kind == kind) {
            Some(target) => target.names.push(name),
            None => targets.push(Target { kind, names: vec![name] }),
        }
    }
    Ok(targets)
}

/// `TYPE/NAME`.
pub fn one(word: &str) -> Result<(Kind, String), CliError> {
    match word.split_once('/') {
        Some((kind, name)) if !kind.is_empty() && !name.is_empty() && !name.contains('/') => {
            Ok((kinds::parse(kind).map_err(CliError::Local)?, name.to_owned()))
        }
        _ => Err(CliError::local(format!("arguments in resource/name form must have a single resource and name: {word:?}"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Vec<String> {
        text.split_whitespace().map(str::to_owned).collect()
    }

    #[test]
    fn kubectls_forms() {
        let target = |kind, names: &str| Target { kind, names: words(names) };
        assert_eq!(parse(&words("po")).unwrap(), [target(Kind::Pod, "")]);
        assert_eq!(parse(&words("po,job a b")).unwrap(), [target(Kind::Pod, "a b"), target(Kind::Job, "a b")]);
        assert_eq!(parse(&words("pod/a job/b po/c")).unwrap(), [target(Kind::Pod, "a c"), target(Kind::Job, "b")]);
        for bad in ["", "pod pod/a", "pod/", "/a", "pod/a/b", "svc"] {
            assert!(parse(&words(bad)).is_err(), "{bad}");
        }
    }
}
