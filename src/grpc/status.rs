//! Failures as gRPC statuses, in Kubernetes' words (apimachinery `api/errors/errors.go`).

use tonic::{Code, Status};

use crate::api::{Key, Kind};
use crate::store::StoreError;

/// The resource as Kubernetes writes it in messages: `pods`, `jobs.batch`.
pub fn resource(kind: Kind) -> String {
    let kind = if kind == Kind::StaticPod { Kind::Pod } else { kind };
    match kind.api_version().split_once('/') {
        Some((group, _)) => format!("{}.{group}", kind.plural()),
        None => kind.plural().to_owned(),
    }
}

/// `pods "x" not found`.
pub fn not_found(kind: Kind, name: &str) -> Status {
    Status::not_found(format!("{} \"{name}\" not found", resource(kind)))
}

/// The kind of a request.
pub fn parse_kind(text: &str) -> Result<Kind, Status> {
    Kind::parse(text).ok_or_else(|| Status::invalid_argument(format!("there is no kind {text:?} here")))
}

/// A failed commit.
pub fn from_store(error: &StoreError) -> Status {
    match error {
        StoreError::Conflict(key) => Status::aborted(format!(
            "Operation cannot be fulfilled on {} \"{}\": the object has been modified; please apply your changes to the latest version and try again",
            resource(key.kind),
            key.name
        )),
        StoreError::Exists(Key { kind, name, .. }) => Status::already_exists(format!("{} \"{name}\" already exists", resource(*kind))),
        StoreError::Missing(Key { kind, name, .. }) => not_found(*kind, name),
        StoreError::Full { .. } => Status::new(Code::ResourceExhausted, error.to_string()),
        other => Status::internal(chain(other)),
    }
}

/// An error with its causes.
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        next = cause.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_read_as_the_api_servers() {
        assert_eq!(not_found(Kind::Pod, "x").message(), "pods \"x\" not found");
        assert_eq!(not_found(Kind::StaticPod, "x").message(), "pods \"x\" not found");
        assert_eq!(not_found(Kind::Job, "pi").message(), "jobs.batch \"pi\" not found");
        assert_eq!(not_found(Kind::DaemonSet, "d").message(), "daemonsets.apps \"d\" not found");
        let full = from_store(&StoreError::Full { path: "/x".into() });
        assert_eq!(full.code(), Code::ResourceExhausted);
    }
}
