//! `minik8s logs`: what a pod's containers have written.

use futures::{StreamExt, stream};

use super::client::{Client, ClientArgs, ScopeArgs};
use super::error::CliError;
use super::output::{complain, nothing_found, put};
use super::pod_target;
use crate::api::Kind;
use crate::grpc::pb::{LogsChunk, LogsRequest};

/// Show what the containers of a pod, a job or a daemon set have written.
#[derive(Clone, Debug, clap::Args)]
pub struct LogsArgs {
    #[command(flatten)]
    client: ClientArgs,
    /// The namespace.
    #[arg(short, long, default_value = "default", value_name = "NAME")]
    namespace: String,
    /// POD, or TYPE/NAME.
    #[arg(value_name = "POD|TYPE/NAME", required_unless_present = "selector")]
    target: Option<String>,
    /// All pods with these labels, the last 10 lines of each unless --tail says otherwise.
    #[arg(short = 'l', long, default_value = "", hide_default_value = true, value_name = "QUERY", conflicts_with_all = ["target", "positional"])]
    selector: String,
    /// With -l and -f: at most so many logs at once.
    #[arg(long, default_value_t = 5, value_name = "N")]
    max_log_requests: usize,
    /// The container, as with -c.
    #[arg(value_name = "CONTAINER", conflicts_with = "container")]
    positional: Option<String>,
    /// The container.
    #[arg(short, long, value_name = "NAME")]
    container: Option<String>,
    /// Go on as the log grows.
    #[arg(short, long)]
    follow: bool,
    /// The previous run of the container.
    #[arg(short, long)]
    previous: bool,
    /// Only so many lines from the end (-1: all).
    #[arg(long, allow_negative_numbers = true, value_name = "LINES")]
    tail: Option<i64>,
    /// Only what is younger than this: 5s, 2m, 3h.
    #[arg(long, value_name = "DURATION")]
    since: Option<String>,
    /// Only what was written after this, in RFC 3339.
    #[arg(long, value_name = "TIME", conflicts_with = "since")]
    since_time: Option<String>,
    /// Each line with its time.
    #[arg(long)]
    timestamps: bool,
    /// All containers of the pod.
    #[arg(long, conflicts_with_all = ["container", "positional"])]
    all_containers: bool,
    /// Begin each line with the pod and the container.
    #[arg(long)]
    prefix: bool,
    /// At most so many bytes.
    #[arg(long, value_name = "BYTES")]
    limit_bytes: Option<u64>,
}

/// Runs the command. Returns the exit code.
pub async fn run(args: &LogsArgs) -> Result<u8, CliError> {
    let since_seconds = args.since.as_deref().map(|text| seconds(text, "--since")).transpose()?;
    let mut client = Client::connect(&args.client).await?;
    let pods = match &args.target {
        Some(target) => {
            let chosen = pod_target::pod_of(&mut client, &args.namespace, target).await?;
            if chosen.among > 1 {
                complain(&format!("Found {} pods, using pod/{}", chosen.among, chosen.name));
            }
            vec![chosen.name]
        }
        None => selected(&mut client, args).await?,
    };
    let mut streams = Vec::new();
    for pod in pods {
        let container = match args.container.clone().or_else(|| args.positional.clone()) {
            Some(container) => container,
            None if args.all_containers => String::new(),
            None => pod_target::default_container(&mut client, &args.namespace, &pod, false).await?,
        };
        let request = request(args, &pod, container, since_seconds);
        let head = args.prefix.then(|| pod.clone());
        let stream = client.agent.logs(request).await?.into_inner();
        streams.push(stream.map(move |chunk| chunk.map(|chunk| head.as_ref().map_or(chunk.data.clone(), |pod| prefixed(pod, &chunk)))));
    }
    // One after the other, but for those that go on: as they come.
    let mut all = if args.follow { stream::select_all(streams).boxed() } else { stream::iter(streams).flatten().boxed() };
    while let Some(text) = all.next().await {
        put(text?)?;
    }
    Ok(0)
}

fn request(args: &LogsArgs, pod: &str, container: String, since_seconds: Option<i64>) -> LogsRequest {
    // kubectl's defaults: all of one log, the end of several.
    let tail = args.tail.unwrap_or(if args.target.is_some() { -1 } else { 10 });
    LogsRequest {
        namespace: args.namespace.clone(),
        container,
        follow: args.follow,
        previous: args.previous,
        tail_lines: u64::try_from(tail).ok(),
        since_seconds,
        since_time: args.since_time.clone().unwrap_or_default(),
        timestamps: args.timestamps,
        all_containers: args.all_containers,
        limit_bytes: args.limit_bytes,
        pod: pod.to_owned(),
    }
}

/// The pods of -l.
async fn selected(client: &mut Client, args: &LogsArgs) -> Result<Vec<String>, CliError> {
    let scope = ScopeArgs { namespace: args.namespace.clone(), all_namespaces: false, selector: args.selector.clone() };
    let objects = client.list(scope.request(Kind::Pod, &[])).await?.objects;
    let pods: Vec<String> = objects.iter().filter_map(|pod| pod.meta().name.clone()).collect();
    if pods.is_empty() {
        complain(&nothing_found(&[Kind::Pod], &args.namespace, false));
    }
    if args.follow && pods.len() > args.max_log_requests {
        return Err(CliError::local(format!(
            "you are attempting to follow {} log streams, but maximum allowed concurrency is {}, use --max-log-requests to increase the limit",
            pods.len(),
            args.max_log_requests
        )));
    }
    Ok(pods)
}

/// `[pod/web/c] line`.
fn prefixed(pod: &str, chunk: &LogsChunk) -> Vec<u8> {
    let head = format!("[pod/{pod}/{}] ", chunk.container);
    chunk.data.split_inclusive(|byte| *byte == b'\n').flat_map(|line| [head.as_bytes(), line].concat()).collect()
}

/// Whole seconds of a Go duration such as `1h30m`; rounded up as kubectl does.
pub(super) fn seconds(text: &str, flag: &str) -> Result<i64, CliError> {
    let bad = || CliError::local(format!("invalid argument {text:?} for \"{flag}\" flag: write a duration such as 5s, 2m or 3h"));
    let (mut rest, mut total) = (text, 0.0_f64);
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.').ok_or_else(bad)?;
        let number: f64 = rest[..digits].parse().map_err(|_| bad())?;
        rest = &rest[digits..];
        let units = [("ms", 0.001), ("h", 3600.0), ("m", 60.0), ("s", 1.0)];
        let (unit, factor) = units.into_iter().find(|(unit, _)| rest.starts_with(unit)).ok_or_else(bad)?;
        total += number * factor;
        rest = &rest[unit.len()..];
    }
    if total <= 0.0 || total > 1e12 {
        return Err(bad());
    }
    // In range: checked above.
    Ok(total.ceil() as i64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_as_go_reads_them() {
        for (text, expected) in [("5s", 5), ("2m", 120), ("1h30m", 5400), ("1.5m", 90), ("1500ms", 2)] {
            assert_eq!(seconds(text, "--since").unwrap(), expected, "{text}");
        }
        for bad in ["", "5", "m", "5x", "-5s", "0s", "1..2s", "99999999999h"] {
            assert!(seconds(bad, "--since").is_err(), "{bad}");
        }
    }
}
