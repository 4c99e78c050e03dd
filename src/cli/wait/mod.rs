//! `minik8s wait`: until objects are as they should be, in kubectl's words (staging/src/k8s.io/kubectl/pkg/cmd/wait). Told by the agent's watch.
//!
//! Guarantees: objects are waited for in the order they were named in, within one time limit for all; each that fails is told, and the others are
//! looked at all the same. Left to others: what a condition means (`condition`) and paths (`path`).

use std::pin::Pin;
use std::time::Duration;

use serde_json::Value;
use tokio::time::Sleep;

use super::client::{Client, ClientArgs, ScopeArgs, object};
use super::error::CliError;
use super::field_selector::FieldSelector;
use super::get::not_found;
use super::logs::seconds;
use super::output::{Format, complain, put, structured};
use super::{kinds, targets};
use crate::api::{Kind, Object};
use crate::grpc::pb::WatchRequest;
use crate::grpc::pb::watch_event::Type;
use condition::Condition;

mod condition;
mod path;

/// What a negative limit means.
const A_WEEK: Duration = Duration::from_secs(7 * 86_400);
/// How often a watch that fell behind is begun anew.
const WATCHES: usize = 1000;

/// Wait for objects to be as they should.
#[derive(Clone, Debug, clap::Args)]
pub struct WaitArgs {
    #[command(flatten)]
    client: ClientArgs,
    #[command(flatten)]
    scope: ScopeArgs,
    /// TYPE NAME..., TYPE/NAME..., or TYPE with --all or -l.
    #[arg(value_name = "TYPE[/NAME]", required = true)]
    words: Vec<String>,
    /// What to wait for: condition=NAME[=VALUE], jsonpath='{PATH}'[=VALUE], create or delete.
    #[arg(long = "for", value_name = "CONDITION", required = true)]
    condition: String,
    /// All objects of the type in the namespace.
    #[arg(long, conflicts_with = "selector")]
    all: bool,
    /// Only objects with these fields: `status.phase=Running,metadata.name!=web`.
    #[arg(long, default_value = "", hide_default_value = true, value_name = "QUERY")]
    field_selector: String,
    /// The longest wait; 0s looks once, a negative one is a week.
    #[arg(long, default_value = "30s", value_name = "DURATION", allow_hyphen_values = true)]
    timeout: String,
    /// How to print an object that is as it should.
    #[arg(short, long, value_enum)]
    output: Option<Format>,
}

/// One object to wait for.
struct Wanted {
    kind: Kind,
    namespace: String,
    name: String,
    /// For `delete`: which incarnation.
    uid: String,
}

/// How waiting for one object ended.
enum Ended {
    Met(Box<Object>),
    /// With kubectl's words.
    Unmet(String),
}

/// Runs the command. Returns the exit code.
pub async fn run(args: &WaitArgs) -> Result<u8, CliError> {
    let condition = Condition::parse(&args.condition).map_err(CliError::Local)?;
    let limit = limit(&args.timeout)?;
    let fields = FieldSelector::parse(&args.field_selector).map_err(CliError::Local)?;
    let mut client = Client::connect(&args.client).await?;
    let mut timer = Box::pin(tokio::time::sleep(limit));
    let (wanted, mut failures) = wanted(&mut client, args, &condition, &fields).await?;
    if wanted.is_empty() && failures.is_empty() && condition != Condition::Delete {
        return Err(CliError::local("no matching resources found"));
    }
    for one in &wanted {
        match until(&mut client, one, &condition, limit, timer.as_mut()).await? {
            Ended::Met(object) => put(shown(args.output, *object))?,
            Ended::Unmet(why) => failures.push(why),
        }
    }
    tell(&failures);
    Ok(u8::from(!failures.is_empty()))
}

/// As kubectl prints one error or several (kubectl/pkg/cmd/util/helpers.go).
fn tell(failures: &[String]) {
    match failures {
        [one] if !one.starts_with("Error from server") => complain(&format!("error: {one}")),
        several => several.iter().for_each(|why| complain(why)),
    }
}

fn limit(text: &str) -> Result<Duration, CliError> {
    match text {
        "0" | "0s" | "-0s" => Ok(Duration::ZERO),
        negative if negative.starts_with('-') => seconds(&negative[1..], "--timeout").map(|_| A_WEEK),
        given => Ok(Duration::from_secs(u64::try_from(seconds(given, "--timeout")?).unwrap_or_default())),
    }
}

fn shown(output: Option<Format>, object: Object) -> String {
    match output {
        Some(format) if format != Format::Wide => structured(format, &[object], true),
        _ => format!("{} condition met\n", kinds::slashed(object.kind(), object.meta().name.as_deref().unwrap_or_default())),
    }
}

/// The objects named, or chosen by --all, -l or fields; and which of those named are not there. Of what is to be created all names count, of what
/// is to be gone only what is there.
async fn wanted(
    client: &mut Client,
    args: &WaitArgs,
    condition: &Condition,
    fields: &FieldSelector,
) -> Result<(Vec<Wanted>, Vec<String>), CliError> {
    let choose = args.all || !args.scope.selector.is_empty() || !args.field_selector.is_empty();
    let (mut wanted, mut missing) = (Vec::new(), Vec::new());
    for target in targets::parse(&args.words)? {
        fields.check(target.kind).map_err(CliError::Local)?;
        match (choose, target.names.is_empty()) {
            (true, false) => return Err(CliError::local("name cannot be provided when a selector is specified")),
            (false, true) => return Err(CliError::local("resource(s) were provided, but no name was specified")),
            _ => {}
        }
        let found = client.list(args.scope.request(target.kind, &target.names)).await?;
        let chosen = found.objects.iter().filter(|object| fields.matches(object));
        wanted.extend(chosen.map(|object| Wanted {
            kind: target.kind,
            namespace: object.meta().namespace.clone().unwrap_or_default(),
            name: object.meta().name.clone().unwrap_or_default(),
            uid: object.uid().to_owned(),
        }));
        for name in found.missing {
            match condition {
                Condition::Create => {
                    wanted.push(Wanted { kind: target.kind, namespace: args.scope.namespace.clone(), name, uid: String::new() });
                }
                Condition::Delete => {}
                _ => missing.push(not_found(target.kind, &name)),
            }
        }
        in_order(&mut wanted, target.kind, &target.names);
    }
    Ok((wanted, missing))
}

/// As named on the command line.
fn in_order(wanted: &mut [Wanted], kind: Kind, names: &[String]) {
    let place = |one: &Wanted| names.iter().position(|name| *name == one.name);
    wanted.sort_by_key(|one| if one.kind == kind { place(one) } else { None });
}

/// Until it is as it should be, or the time is up. With no time at all, what is there first counts.
async fn until(
    client: &mut Client,
    one: &Wanted,
    condition: &Condition,
    limit: Duration,
    mut timer: Pin<&mut Sleep>,
) -> Result<Ended, CliError> {
    let on = format!("{}/{}", one.kind.plural(), one.name);
    let late = match (limit.is_zero(), condition) {
        (_, Condition::Create) => "timed out waiting for the condition".to_owned(),
        (true, _) => format!("condition not met for {on}"),
        (false, _) => format!("timed out waiting for the condition on {on}"),
    };
    let scope = ScopeArgs { namespace: one.namespace.clone(), all_namespaces: false, selector: String::new() };
    for _ in 0..WATCHES {
        let what = Some(scope.request(one.kind, std::slice::from_ref(&one.name)));
        let mut events = client.agent.watch(WatchRequest { what }).await?.into_inner();
        let (mut last, mut looked) = (None, false);
        loop {
            // What is there is looked at even when the time is up. Cancel-safe: an event is taken only when it is returned.
            let event = tokio::select! {
                biased;
                event = events.message() => event,
                () = timer.as_mut(), if looked && !limit.is_zero() => return Ok(Ended::Unmet(late)),
            };
            let event = match event {
                Ok(Some(event)) => event,
                // Too slow a reader is told to look again.
                Err(status) if status.code() == tonic::Code::Aborted => break,
                Ok(None) => return Err(CliError::local("the watch has ended: the agent went away")),
                Err(status) => return Err(status.into()),
            };
            let kind = event.r#type();
            looked |= kind == Type::Bookmark;
            let seen = event.item.as_ref().map(object).transpose()?;
            match step(one, condition, kind, seen, &mut last) {
                Some(Ok(object)) => return Ok(Ended::Met(Box::new(object))),
                Some(Err(why)) => return Ok(Ended::Unmet(why)),
                None if kind == Type::Bookmark && limit.is_zero() => return Ok(Ended::Unmet(late)),
                None => {}
            }
        }
    }
    Err(CliError::local("the objects change faster than this can read"))
}

/// What one event of the watch means: nothing yet, met, or never. `last` is the object as last seen.
fn step(
    one: &Wanted,
    condition: &Condition,
    kind: Type,
    seen: Option<Object>,
    last: &mut Option<Object>,
) -> Option<Result<Object, String>> {
    match (condition, kind, seen) {
        (Condition::Delete, Type::Deleted, Some(gone)) => Some(Ok(gone)),
        // Another of the same name: the one meant is gone.
        (Condition::Delete, _, Some(other)) if other.uid() != one.uid => Some(Ok(other)),
        (_, Type::Bookmark, _) => match (last.take(), condition) {
            (Some(there), _) => {
                *last = Some(there);
                None
            }
            (None, Condition::Create) => None,
            (None, Condition::Delete) => Some(Ok(gone(one))),
            (None, _) => Some(Err(not_found(one.kind, &one.name))),
        },
        (_, Type::Deleted, _) | (_, _, None) => None,
        (_, _, Some(there)) => {
            let met = condition.met(&there.to_json());
            *last = Some(there.clone());
            match met {
                Ok(true) => Some(Ok(there)),
                Ok(false) => None,
                Err(why) => Some(Err(why)),
            }
        }
    }
}

/// What is left of an object that went before it could be watched: its name.
fn gone(one: &Wanted) -> Object {
    let json = serde_json::json!({"metadata": {"name": one.name, "namespace": one.namespace, "uid": one.uid}});
    let named = |json: &Value| Object::from_json(one.kind, json.to_string().as_bytes()).ok();
    named(&json).unwrap_or_else(|| k8s_openapi::api::core::v1::Pod::default().into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pod(uid: &str) -> Object {
        gone(&Wanted { kind: Kind::Pod, namespace: "default".into(), name: "web".into(), uid: uid.into() })
    }

    #[test]
    fn gone_is_what_was_meant_and_not_another_of_its_name() {
        let one = Wanted { kind: Kind::Pod, namespace: "default".into(), name: "web".into(), uid: "a".into() };
        let mut last = None;
        let mut next = |kind, seen| step(&one, &Condition::Delete, kind, seen, &mut last).map(|met| met.is_ok());
        assert_eq!(next(Type::Added, Some(pod("a"))), None);
        assert_eq!(next(Type::Bookmark, None), None);
        assert_eq!(next(Type::Modified, Some(pod("a"))), None);
        assert_eq!(next(Type::Deleted, Some(pod("a"))), Some(true));
        assert_eq!(next(Type::Added, Some(pod("b"))), Some(true));
        let before = step(&one, &Condition::Delete, Type::Bookmark, None, &mut None);
        assert!(before.is_some_and(|met| met.is_ok()), "it went before it could be watched");
        let condition = Condition::parse("condition=ready").unwrap();
        assert!(step(&one, &condition, Type::Deleted, Some(pod("a")), &mut None).is_none(), "it may come back");
        let missing = step(&one, &condition, Type::Bookmark, None, &mut None);
        assert_eq!(missing.unwrap().unwrap_err(), "Error from server (NotFound): pods \"web\" not found");
    }

    #[test]
    fn limits_as_kubectls() {
        assert_eq!((limit("0").unwrap(), limit("0s").unwrap()), (Duration::ZERO, Duration::ZERO));
        assert_eq!((limit("2m").unwrap(), limit("-1s").unwrap()), (Duration::from_secs(120), A_WEEK));
        assert!(limit("soon").is_err() && limit("-x").is_err());
    }
}
