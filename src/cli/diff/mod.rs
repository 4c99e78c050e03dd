//! `minik8s diff -f`: what `apply` would change of what the agent has, as `kubectl diff` shows it (staging/src/k8s.io/kubectl/pkg/cmd/diff).
//!
//! Guarantees: both sides have every default, so that only what would change is shown; Secrets' values are not. Exit code 0: nothing differs, 1:
//! something does, 2: it could not be told. Left to others: what an object would become (`controllers::sync::preview`).

use std::path::PathBuf;

use serde_json::Value;
use similar::TextDiff;

use super::client::{Client, ClientArgs, object};
use super::error::CliError;
use super::output::{complain, put};
use super::simulate::objects;
use super::{kinds, yaml};
use crate::api::{Key, Kind, Object};
use crate::clock::{Clock, SystemClock};
use crate::controllers::sync::preview::{Outcome, changed_fields, preview};
use crate::grpc::pb::GetRequest;

mod mask;

/// Something differs.
const DIFFERENT: u8 = 1;
/// It could not be told.
const FAILED: u8 = 2;
/// Lines shown around a change.
const CONTEXT: usize = 3;

/// Show what apply would change. Exit code 0: nothing, 1: something, 2: it could not be told.
#[derive(Clone, Debug, clap::Args)]
pub struct DiffArgs {
    #[command(flatten)]
    client: ClientArgs,
    /// A manifest, a directory of them, or - for stdin; may be given several times.
    #[arg(short, long = "filename", required = true, value_name = "FILE|DIR|-")]
    files: Vec<PathBuf>,
}

/// Runs the command. Returns the exit code.
pub async fn run(args: &DiffArgs) -> Result<u8, CliError> {
    match compare(args).await {
        Ok(code) => Ok(code),
        // Whoever read the output has seen enough.
        Err(CliError::Quiet) => Ok(DIFFERENT),
        Err(error) => {
            complain(&error.to_string());
            Ok(FAILED)
        }
    }
}

async fn compare(args: &DiffArgs) -> Result<u8, CliError> {
    let wanted = objects(&args.files)?;
    if wanted.is_empty() {
        return Err(CliError::local("no objects passed to diff"));
    }
    let mut client = Client::connect(&args.client).await?;
    let mut code = 0;
    for desired in &wanted {
        let key = desired.key();
        if key.kind == Kind::Node {
            complain(&format!("Warning: node/{} is not compared: the agent merges its manifest with flags and edits", key.name));
            continue;
        }
        let stored = stored(&mut client, &key).await?;
        let (outcome, old, new) = preview(stored.as_ref(), desired, SystemClock.now());
        match outcome {
            Outcome::Refused(why) => return Err(CliError::local(format!("The {} \"{}\" is invalid: {why}", key.kind.shown(), key.name))),
            Outcome::Replaced => {
                let fields = changed_fields(old.as_ref().unwrap_or(&Value::Null), &new).join("; ");
                let shown = kinds::slashed(key.kind, &key.name);
                complain(&format!(
                    "Warning: {shown} would be replaced, and its pods stopped: what changes cannot change in place ({fields})"
                ));
            }
            Outcome::Created | Outcome::Configured | Outcome::Unchanged => {}
        }
        let text = unified(&key, old, new);
        if !text.is_empty() {
            put(text)?;
            code = DIFFERENT;
        }
    }
    Ok(code)
}

async fn stored(client: &mut Client, key: &Key) -> Result<Option<Object>, CliError> {
    let request = GetRequest { kind: key.kind.as_str().to_owned(), namespace: key.namespace.clone(), name: key.name.clone() };
    match client.agent.get(request).await {
        Ok(item) => object(&item.into_inner()).map(Some),
        Err(status) if status.code() == tonic::Code::NotFound => Ok(None),
        Err(status) => Err(status.into()),
    }
}

/// The unified diff of the two as YAML, "" where they are the same.
fn unified(key: &Key, old: Option<Value>, new: Value) -> String {
    let (old, new) = if key.kind == Kind::Secret { mask::mask(old, new) } else { (old, new) };
    let (old, new) = (old.map(|old| yaml::emit(&old)).unwrap_or_default(), yaml::emit(&new));
    if old == new {
        return String::new();
    }
    let name = format!("{}.{}.{}.{}", key.kind.api_version().replace('/', "."), key.kind.shown(), key.namespace, key.name);
    let (from, to) = (format!("LIVE/{name}"), format!("MERGED/{name}"));
    let diff = TextDiff::from_lines(&old, &new);
    format!("diff -u -N {from} {to}\n{}", diff.unified_diff().context_radius(CONTEXT).header(&from, &to))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_unified_diff_with_three_lines_around_or_nothing() {
        let key = Key::new(Kind::Job, "default", "pi");
        let old = json!({"a": 1, "b": 2, "c": 3, "d": 4, "e": 5});
        let new = json!({"a": 1, "b": 2, "c": 3, "d": 4, "e": 6});
        let expected = "diff -u -N LIVE/batch.v1.Job.default.pi MERGED/batch.v1.Job.default.pi\n--- LIVE/batch.v1.Job.default.pi\n+++ MERGED/batch.v1.Job.default.pi\n@@ -2,4 +2,4 @@\n b: 2\n c: 3\n d: 4\n-e: 5\n+e: 6\n";
        assert_eq!(unified(&key, Some(old.clone()), new), expected);
        assert_eq!(unified(&key, Some(old.clone()), old), "");
        assert!(unified(&key, None, json!({"a": 1})).ends_with("@@ -0,0 +1 @@\n+a: 1\n"));
    }
}
