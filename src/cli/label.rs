//! `minik8s label` and `annotate`, in kubectl's words (staging/src/k8s.io/kubectl/pkg/cmd/label and annotate). For the node: everything else is
//! what its manifest says.

use k8s_openapi::api::core::v1::Node;

use super::client::{Client, ClientArgs};
use super::cordon::{edit, node_name};
use super::dry_run::DryRun;
use super::error::CliError;
use super::flag_values;
use super::output::{complain, put};
use super::targets::{self, Target};
use crate::api::Kind;
use crate::grpc::pb::{EditNodeRequest, ValueEdit};

/// Which of the two.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum What {
    /// `metadata.labels`.
    Label,
    /// `metadata.annotations`.
    Annotation,
}

/// Set and take away labels or annotations of the node: kept across restarts, until its manifest says otherwise.
#[derive(Clone, Debug, clap::Args)]
pub struct LabelArgs {
    #[command(flatten)]
    client: ClientArgs,
    /// node NAME KEY=VALUE..., and KEY- to take one away.
    #[arg(value_name = "node NAME KEY=VALUE", required = true)]
    words: Vec<String>,
    /// Replace the value of what is there.
    #[arg(long)]
    overwrite: bool,
    /// Print what the node has, and would have with the changes; nothing is changed.
    #[arg(long)]
    list: bool,
    #[command(flatten)]
    dry_run: DryRun,
}

/// Runs the command. Returns the exit code.
pub async fn run(args: &LabelArgs, what: What) -> Result<u8, CliError> {
    let (name, edits) = parse(&args.words, what, args.list)?;
    let mut client = Client::connect(&args.client).await?;
    let name = node_name(&mut client, Some(&name)).await?;
    let dry_run = args.list || args.dry_run.is_on();
    let mut request = EditNodeRequest { name: name.clone(), overwrite: args.overwrite, dry_run, ..EditNodeRequest::default() };
    match what {
        What::Label => request.labels.clone_from(&edits),
        What::Annotation => request.annotations.clone_from(&edits),
    }
    let (before, after) = edit(&mut client, request).await?;
    if what == What::Label {
        let had = before.metadata.labels.clone().unwrap_or_default();
        edits
            .iter()
            .filter(|e| e.value.is_none() && !had.contains_key(&e.key))
            .for_each(|e| complain(&format!("label \"{}\" not found.", e.key)));
    }
    match args.list {
        true => put(listed(what, &after))?,
        false => put(format!("node/{name} {}{}\n", operation(what, &before, &after, args.overwrite), args.dry_run.said()))?,
    }
    Ok(0)
}

/// A line for each.
fn listed(what: What, node: &Node) -> String {
    let all = if what == What::Label { &node.metadata.labels } else { &node.metadata.annotations };
    all.iter().flatten().map(|(key, value)| format!("{key}={value}\n")).collect()
}

fn operation(what: What, before: &Node, after: &Node, overwrite: bool) -> &'static str {
    if what == What::Annotation {
        return "annotated";
    }
    let count = |node: &Node| node.metadata.labels.as_ref().map_or(0, std::collections::BTreeMap::len);
    match () {
        () if before.metadata.labels == after.metadata.labels => "not labeled",
        () if !overwrite && count(after) < count(before) => "unlabeled",
        () => "labeled",
    }
}

/// The node's name and the edits.
fn parse(words: &[String], what: What, list: bool) -> Result<(String, Vec<ValueEdit>), CliError> {
    let noun = if what == What::Label { "label" } else { "annotation" };
    let is_edit = |word: &&String| word.contains('=') || word.ends_with('-');
    let first = words.iter().position(|word| is_edit(&word)).unwrap_or(words.len());
    let (resources, edits) = words.split_at(first);
    if let Some(late) = edits.iter().find(|word| !is_edit(word)) {
        return Err(CliError::local(format!("all resources must be specified before {noun} changes: {late}")));
    }
    if resources.is_empty() {
        return Err(CliError::local("one or more resources must be specified as <resource> <name> or <resource>/<name>"));
    }
    if edits.is_empty() && !list {
        return Err(CliError::local(format!("at least one {noun} update is required")));
    }
    let name = node_of(&targets::parse(resources)?)?;
    let edits = edits.iter().map(|word| value(word, what).map_err(|why| CliError::local(format!("invalid {noun} spec: {word}, {why}"))));
    Ok((name, edits.collect::<Result<_, _>>()?))
}

fn node_of(found: &[Target]) -> Result<String, CliError> {
    match found {
        [Target { kind: Kind::Node, names }] => match names.as_slice() {
            [only] => Ok(only.clone()),
            [] => Err(CliError::local("resource(s) were provided, but no name was specified")),
            _ => Err(CliError::local("there is one node here: name it once")),
        },
        _ => Err(CliError::local("only the node can be labeled or annotated by a command: for everything else change its manifest")),
    }
}

fn value(word: &str, what: What) -> Result<ValueEdit, String> {
    let (key, value) = match word.split_once('=') {
        Some((key, value)) => (key, Some(value)),
        None => (word.strip_suffix('-').unwrap_or(word), None),
    };
    let checked = if what == What::Label { value.unwrap_or_default() } else { "" };
    flag_values::label(&format!("{key}={checked}"))?;
    Ok(ValueEdit { key: key.to_owned(), value: value.map(str::to_owned) })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(line: &str, what: What) -> Result<(String, Vec<ValueEdit>), String> {
        parse(&line.split_whitespace().map(str::to_owned).collect::<Vec<_>>(), what, false).map_err(|error| error.to_string())
    }

    #[test]
    fn kubectls_forms() {
        let edit = |key: &str, value: Option<&str>| ValueEdit { key: key.into(), value: value.map(str::to_owned) };
        let expected = ("n".to_owned(), vec![edit("a", Some("b")), edit("x.y/c", None), edit("d", Some(""))]);
        assert_eq!(read("node n a=b x.y/c- d=", What::Label).unwrap(), expected);
        assert_eq!(read("node/n a={\"x\":1}", What::Annotation).unwrap().1, [edit("a", Some("{\"x\":1}"))]);
        assert!(read("node/n a={\"x\":1}", What::Label).unwrap_err().starts_with("error: invalid label spec: a={\"x\":1}, "));
        for (line, message) in [
            ("node n", "error: at least one label update is required"),
            ("a=b", "error: one or more resources must be specified as <resource> <name> or <resource>/<name>"),
            ("node n a=b c", "error: all resources must be specified before label changes: c"),
            ("node a=b", "error: resource(s) were provided, but no name was specified"),
            ("node n a--", "error: invalid label spec: a--, \"a-\" is no key: write [domain/]name, such as example.com/disk"),
            ("pod p a=b", "error: only the node can be labeled or annotated by a command: for everything else change its manifest"),
        ] {
            assert_eq!(read(line, What::Label).unwrap_err(), message, "{line}");
        }
    }
}
