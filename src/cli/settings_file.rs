//! The service's file of settings (`/etc/default/minik8s`), for who is not started by systemd: what systemd makes of it, as flags.
//!
//! Pure. The form is that of systemd.exec(5), EnvironmentFile=.

use std::collections::BTreeMap;

use clap::{Args as _, Command};

use super::agent_args::AgentArgs;
use crate::api::suggest;

/// What all settings' names begin with.
const PREFIX: &str = "MINIK8S_";

/// What a file says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SettingsFile {
    /// Variables by name.
    pub variables: BTreeMap<String, String>,
    /// What has no effect, a sentence each, with its line.
    pub idle: Vec<String>,
}

/// Takes a file apart.
pub fn parse(text: &str) -> SettingsFile {
    let mut file = SettingsFile::default();
    let mut lines = text.lines().enumerate();
    while let Some((index, line)) = lines.next() {
        let mut whole = line.trim().to_owned();
        if whole.is_empty() || whole.starts_with(['#', ';']) {
            continue;
        }
        while whole.ends_with('\\') {
            whole.pop();
            let Some((_, next)) = lines.next() else { break };
            whole.push_str(next.trim_end());
        }
        let number = index + 1;
        match whole.split_once('=') {
            Some((name, value)) => {
                let name = name.trim();
                file.idle.extend(unknown([name]).into_iter().map(|why| format!("line {number}: {why}")));
                file.variables.insert(name.to_owned(), unquoted(value.trim()));
            }
            None => file.idle.push(format!("line {number}: there is no = in {whole:?}")),
        }
    }
    file
}

/// Without quotes around it and backslashes in it.
fn unquoted(value: &str) -> String {
    let quoted = |quote| value.strip_prefix(quote).and_then(|v| v.strip_suffix(quote));
    if let Some(literal) = quoted('\'') {
        return literal.to_owned();
    }
    let mut out = String::new();
    let mut chars = quoted('"').unwrap_or(value).chars();
    while let Some(next) = chars.next() {
        out.extend(if next == '\\' { chars.next() } else { Some(next) });
    }
    out
}

/// The agent's settings: variable → flag.
fn known() -> BTreeMap<String, String> {
    let agent = AgentArgs::augment_args(Command::new("agent"));
    let named = |arg: &clap::Arg| Some((arg.get_env()?.to_str()?.to_owned(), arg.get_long()?.to_owned()));
    agent.get_arguments().filter_map(named).collect()
}

/// Those of these variables that look like settings and are none, a sentence each.
pub fn unknown<'n>(names: impl IntoIterator<Item = &'n str>) -> Vec<String> {
    let known = known();
    let stray = names.into_iter().filter(|name| name.starts_with(PREFIX) && !known.contains_key(*name));
    let said = |name: &str| match suggest::nearest(name, known.keys().map(String::as_str)) {
        Some(near) => format!("{name} is no setting; did you mean {near}?"),
        None => format!("{name} is no setting"),
    };
    stray.map(said).collect()
}

/// The file's settings as flags, but for those that were typed (`typed`) or stand in the environment (`set`): these win.
pub fn flags(file: &SettingsFile, typed: &[String], set: impl Fn(&str) -> bool) -> Vec<String> {
    let was_typed = |flag: &str| typed.iter().any(|word| word == flag || word.strip_prefix(flag).is_some_and(|rest| rest.starts_with('=')));
    let as_flag = |(name, long): (String, String)| {
        let (flag, value) = (format!("--{long}"), file.variables.get(&name)?);
        (!was_typed(&flag) && !set(&name)).then(|| format!("{flag}={value}"))
    };
    known().into_iter().filter_map(as_flag).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "\
# a comment
; another
MINIK8S_MAX_PODS = 7
MINIK8S_LABEL='a=1,b=\\'
MINIK8S_TAINT=\"gpu=\\\"x\\\":NoSchedule\"
MINIK8S_NODE_NAME=one\\
-more

MINIK8S_MAXPODS=9
HTTP_PROXY=http://x
nothing
";

    #[test]
    fn a_file_is_read_as_systemd_reads_it_and_what_has_no_effect_is_told() {
        let file = parse(TEXT);
        let value = |name: &str| file.variables.get(name).map(String::as_str);
        assert_eq!((value("MINIK8S_MAX_PODS"), value("MINIK8S_LABEL")), (Some("7"), Some("a=1,b=\\")));
        assert_eq!((value("MINIK8S_TAINT"), value("MINIK8S_NODE_NAME")), (Some("gpu=\"x\":NoSchedule"), Some("one-more")));
        let idle = ["line 9: MINIK8S_MAXPODS is no setting; did you mean MINIK8S_MAX_PODS?", "line 11: there is no = in \"nothing\""];
        assert_eq!(file.idle, idle);
        assert_eq!(parse("MINIK8S_NODE_NAME=x\\").variables.len(), 1, "a line that ends too early");
    }

    #[test]
    fn what_was_typed_or_set_wins_over_the_file() {
        let file = parse("MINIK8S_MAX_PODS=7\nMINIK8S_NODE_NAME=n\nMINIK8S_RUNTIME=crun\nOTHER=1\nMINIK8S_EVICTION_HARD=\n");
        let typed = ["doctor".to_owned(), "--node-name=other".to_owned()];
        assert_eq!(flags(&file, &typed, |name| name == "MINIK8S_RUNTIME"), ["--eviction-hard=", "--max-pods=7"]);
    }
}
