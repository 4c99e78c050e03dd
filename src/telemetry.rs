//! Where the agent's own log goes: the journal, or stderr as text or JSON. RUST_LOG sets the level (`info` without it).
//!
//! What a line is about is in its spans: `pod` (namespace, pod, uid), `container` (container, attempt). No field of a span is called `name`: JSON has the
//! span's own name there, and one of the two would be lost; in the journal all spans' fields lie side by side.

use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer, Registry, fmt};

/// The form of the agent's log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum LogFormat {
    /// The journal where systemd has connected stderr to it, else text.
    Auto,
    /// Lines for people.
    Text,
    /// One JSON object a line.
    Json,
    /// The systemd journal, with fields.
    Journald,
}

/// What other crates say that is no news to anybody: notify warns of each watch that ends with its directory. RUST_LOG may name them again.
const QUIET: &str = "notify=error";

/// Why nothing can be logged as asked.
#[derive(Debug, thiserror::Error)]
pub enum TelemetryError {
    /// RUST_LOG cannot be read.
    #[error("RUST_LOG {value:?} cannot be read: {cause}; write a level (info, debug) or target=level,…")]
    Filter {
        /// The variable's value.
        value: String,
        /// What is wrong.
        cause: String,
    },
    /// No journal here.
    #[error("the journal cannot be reached; run under systemd, or use --log-format text")]
    Journal(#[source] std::io::Error),
    /// Called twice.
    #[error("logging is set up already")]
    Twice,
}

/// Sets up logging for the process; call once, before anything is logged.
pub fn init(format: LogFormat) -> Result<(), TelemetryError> {
    let filter = filter(std::env::var("RUST_LOG").ok().as_deref())?;
    let layer = layer(resolve(format, journal_stream().as_deref(), stderr_stream().as_deref()), format)?;
    Registry::default().with(layer.with_filter(filter)).try_init().map_err(|_| TelemetryError::Twice)
}

fn filter(text: Option<&str>) -> Result<EnvFilter, TelemetryError> {
    let text = text.filter(|text| !text.is_empty()).unwrap_or("info");
    EnvFilter::try_new(format!("{QUIET},{text}"))
        .map_err(|cause| TelemetryError::Filter { value: text.to_owned(), cause: cause.to_string() })
}

fn layer(resolved: LogFormat, asked: LogFormat) -> Result<Box<dyn Layer<Registry> + Send + Sync>, TelemetryError> {
    let text = || fmt::layer().with_writer(std::io::stderr).with_ansi(std::io::IsTerminal::is_terminal(&std::io::stderr()));
    Ok(match resolved {
        LogFormat::Json => json(std::io::stderr),
        LogFormat::Journald => match tracing_journald::layer() {
            Ok(journal) => journal.with_syslog_identifier("minik8s".to_owned()).boxed(),
            Err(_) if asked == LogFormat::Auto => text().boxed(),
            Err(cause) => return Err(TelemetryError::Journal(cause)),
        },
        LogFormat::Text | LogFormat::Auto => text().boxed(),
    })
}

fn json(writer: impl for<'w> MakeWriter<'w> + Send + Sync + 'static) -> Box<dyn Layer<Registry> + Send + Sync> {
    fmt::layer().json().with_writer(writer).boxed()
}

/// `auto`: the journal, if JOURNAL_STREAM names the very stream stderr is (systemd.exec(5): a child may have another one).
fn resolve(format: LogFormat, journal: Option<&str>, stderr: Option<&str>) -> LogFormat {
    match (format, journal) {
        (LogFormat::Auto, Some(journal)) if stderr == Some(journal) => LogFormat::Journald,
        (LogFormat::Auto, _) => LogFormat::Text,
        (asked, _) => asked,
    }
}

fn journal_stream() -> Option<String> {
    std::env::var("JOURNAL_STREAM").ok()
}

/// `<device>:<inode>` of stderr.
fn stderr_stream() -> Option<String> {
    let found = nix::sys::stat::fstat(std::io::stderr()).ok()?;
    Some(format!("{}:{}", found.st_dev, found.st_ino))
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use serde_json::{Value, json};

    use super::*;

    #[derive(Clone, Default)]
    struct Written(Arc<Mutex<Vec<u8>>>);

    impl std::io::Write for Written {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn auto_is_the_journal_only_where_stderr_is_its_stream() {
        assert_eq!(resolve(LogFormat::Auto, Some("8:1"), Some("8:1")), LogFormat::Journald);
        assert_eq!(resolve(LogFormat::Auto, Some("8:1"), Some("8:2")), LogFormat::Text);
        assert_eq!(resolve(LogFormat::Auto, None, Some("8:2")), LogFormat::Text);
        assert_eq!(resolve(LogFormat::Json, Some("8:1"), Some("8:1")), LogFormat::Json);
    }

    #[test]
    fn a_json_line_has_the_message_the_event_s_fields_and_all_spans_with_theirs() {
        let written = Written::default();
        let writer = written.clone();
        tracing::subscriber::with_default(Registry::default().with(super::json(move || writer.clone())), || {
            let _pod = tracing::info_span!("pod", namespace = "default", pod = "web", uid = "u-1").entered();
            let _container = tracing::info_span!("container", container = "main", attempt = 2).entered();
            tracing::warn!(code = 137, error = %"said \"no\"", "it died");
        });
        let text = String::from_utf8(written.0.lock().unwrap().clone()).unwrap();
        assert_eq!((text.lines().count(), text.ends_with('\n')), (1, true), "{text}");
        let mut line: Value = serde_json::from_str(&text).unwrap();
        let time = line["timestamp"].take();
        assert!(time.as_str().unwrap().parse::<jiff::Timestamp>().is_ok(), "{time}");
        let pod = json!({"namespace": "default", "pod": "web", "uid": "u-1", "name": "pod"});
        let container = json!({"container": "main", "attempt": 2, "name": "container"});
        let fields = json!({"message": "it died", "code": 137, "error": "said \"no\""});
        let expected = json!({"timestamp": null, "level": "WARN", "fields": fields, "target": "minik8s::telemetry::tests",
            "span": container, "spans": [pod, container]});
        assert_eq!(line, expected);
    }

    #[test]
    fn levels_are_read_and_nonsense_is_told() {
        assert_eq!(filter(None).unwrap().to_string(), "notify=error,info");
        assert_eq!(filter(Some("debug")).unwrap().to_string(), "notify=error,debug");
        assert_eq!(filter(Some("warn,notify=debug")).unwrap().to_string(), "notify=debug,warn");
        assert!(filter(Some("minik8s=loud")).unwrap_err().to_string().starts_with("RUST_LOG \"minik8s=loud\" cannot be read"));
    }
}
