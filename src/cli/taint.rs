//! `minik8s taint`, in kubectl's words (staging/src/k8s.io/kubectl/pkg/cmd/taint).

use super::client::{Client, ClientArgs};
use super::cordon::{edit, node_name};
use super::dry_run::DryRun;
use super::error::CliError;
use super::flag_values;
use super::kinds;
use super::output::put;
use crate::api::Kind;
use crate::grpc::pb::{EditNodeRequest, TaintEdit};

/// Set and take away taints of the node: kept across restarts, until its manifest says otherwise.
#[derive(Clone, Debug, clap::Args)]
pub struct TaintArgs {
    #[command(flatten)]
    client: ClientArgs,
    /// node NAME KEY=VALUE:EFFECT..., and KEY[:EFFECT]- to take one away.
    #[arg(value_name = "node NAME KEY=VALUE:EFFECT", required = true)]
    words: Vec<String>,
    /// Replace the value of a taint that is there.
    #[arg(long)]
    overwrite: bool,
    #[command(flatten)]
    dry_run: DryRun,
}

/// Runs the command. Returns the exit code.
pub async fn run(args: &TaintArgs) -> Result<u8, CliError> {
    let (name, taints) = parse(&args.words).map_err(CliError::Local)?;
    let mut client = Client::connect(&args.client).await?;
    let name = node_name(&mut client, name.as_deref()).await?;
    let verb = operation(&taints, args.overwrite);
    let TaintArgs { overwrite, dry_run, .. } = *args;
    let request = EditNodeRequest { name: name.clone(), taints, overwrite, dry_run: dry_run.is_on(), ..EditNodeRequest::default() };
    edit(&mut client, request).await?;
    put(format!("node/{name} {verb}{}\n", dry_run.said()))?;
    Ok(0)
}

/// The node's name, and the taints. Errors: kubectl's words.
fn parse(words: &[String]) -> Result<(Option<String>, Vec<TaintEdit>), String> {
    let is_taint = |word: &&String| word.contains('=') || word.contains(':') || word.ends_with('-');
    let first = words.iter().position(|word| is_taint(&word)).unwrap_or(words.len());
    let (resources, taints) = words.split_at(first);
    if let Some(late) = taints.iter().find(|word| !is_taint(word)) {
        return Err(format!("all resources must be specified before taint changes: {late}"));
    }
    let name = match resources {
        [] => return Err("one or more resources must be specified as <resource> <name>".to_owned()),
        [kind] if !kind.contains('/') => {
            is_node(kind)?;
            return Err("at least one resource name must be specified since 'all' parameter is not set".to_owned());
        }
        [one] => {
            is_node(one.split('/').next().unwrap_or_default())?;
            one.clone()
        }
        [kind, name] => {
            is_node(kind)?;
            name.clone()
        }
        _ => return Err("there is one node here: name it once".to_owned()),
    };
    if taints.is_empty() {
        return Err("at least one taint update is required".to_owned());
    }
    let edits: Vec<TaintEdit> = taints.iter().map(|word| taint(word)).collect::<Result<_, _>>()?;
    conflicts(&edits)?;
    Ok((Some(name), edits))
}

fn is_node(kind: &str) -> Result<(), String> {
    match kinds::parse(kind)? {
        Kind::Node => Ok(()),
        _ => Err(format!("invalid resource type {kind}, only node types are supported")),
    }
}

fn taint(word: &str) -> Result<TaintEdit, String> {
    let wrong = |why: String| format!("invalid taint spec: {word}, {why}");
    if let Some(removed) = word.strip_suffix('-') {
        let (head, effect) = removed.split_once(':').unwrap_or((removed, ""));
        let key = head.split('=').next().unwrap_or_default();
        // What is looked for is checked as what is set.
        flag_values::taint(&format!("{key}:{}", if effect.is_empty() { "NoSchedule" } else { effect })).map_err(wrong)?;
        return Ok(TaintEdit { key: key.to_owned(), value: String::new(), effect: effect.to_owned(), remove: true });
    }
    let taint = flag_values::taint(word).map_err(wrong)?;
    Ok(TaintEdit { key: taint.key, value: taint.value.unwrap_or_default(), effect: taint.effect, remove: false })
}

fn conflicts(edits: &[TaintEdit]) -> Result<(), String> {
    let (removed, set): (Vec<_>, Vec<_>) = edits.iter().partition(|edit| edit.remove);
    for (at, one) in set.iter().enumerate() {
        if set[..at].iter().any(|other| (&other.key, &other.effect) == (&one.key, &one.effect)) {
            return Err(format!("duplicated taints with the same key and effect: {}:{}", one.key, one.effect));
        }
        if let Some(gone) = removed.iter().find(|r| r.key == one.key && (r.effect.is_empty() || r.effect == one.effect)) {
            let pair = format!("{{\"{}\":\"{}\"}}", gone.key, gone.effect);
            return Err(format!("can not both modify and remove the following taint(s) in the same command: {pair}"));
        }
    }
    Ok(())
}

fn operation(edits: &[TaintEdit], overwrite: bool) -> &'static str {
    let (added, removed) = (edits.iter().any(|e| !e.remove), edits.iter().any(|e| e.remove));
    match (added, removed) {
        _ if overwrite => "modified",
        (true, true) => "modified",
        (true, false) => "tainted",
        _ => "untainted",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(line: &str) -> Result<(Option<String>, Vec<TaintEdit>), String> {
        parse(&line.split_whitespace().map(str::to_owned).collect::<Vec<_>>())
    }

    #[test]
    fn kubectls_forms() {
        let edit = |key: &str, value: &str, effect: &str, remove| TaintEdit {
            key: key.into(),
            value: value.into(),
            effect: effect.into(),
            remove,
        };
        let expected = vec![edit("a", "b", "NoExecute", false), edit("c", "", "NoSchedule", true), edit("d", "", "", true)];
        assert_eq!(read("nodes n a=b:NoExecute c:NoSchedule- d-").unwrap(), (Some("n".to_owned()), expected.clone()));
        assert_eq!(read("node/n a:NoSchedule").unwrap().1, [edit("a", "", "NoSchedule", false)]);
        assert_eq!(operation(&expected, false), "modified");
        assert_eq!((operation(&expected[..1], false), operation(&expected[1..], false)), ("tainted", "untainted"));
    }

    #[test]
    fn what_kubectl_refuses() {
        for (line, message) in [
            ("a=b:NoSchedule", "one or more resources must be specified as <resource> <name>"),
            ("nodes a=b:NoSchedule", "at least one resource name must be specified since 'all' parameter is not set"),
            ("nodes n", "at least one taint update is required"),
            ("pods p a=b:NoSchedule", "invalid resource type pods, only node types are supported"),
            ("nodes n a=b:NoSchedule x", "all resources must be specified before taint changes: x"),
            ("nodes n a:NoSchedule a-", "can not both modify and remove the following taint(s) in the same command: {\"a\":\"\"}"),
            ("nodes n a:NoSchedule a=b:NoSchedule", "duplicated taints with the same key and effect: a:NoSchedule"),
        ] {
            assert_eq!(read(line).unwrap_err(), message, "{line}");
        }
        assert!(read("nodes n a=b:Never").unwrap_err().starts_with("invalid taint spec: a=b:Never, "));
        assert!(read("nodes n a=b").is_err() && read("nodes n -b:NoSchedule-").is_err());
    }
}
