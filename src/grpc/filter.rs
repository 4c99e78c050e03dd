//! Which objects a List or a Watch means: one rule for both.

use tonic::Status;

use super::pb::{Item, ListRequest};
use super::selector::Selector;
use super::status::parse_kind;
use crate::api::{Kind, Object};

/// A request that was understood.
pub struct Filter {
    /// The kind meant.
    pub kind: Kind,
    namespace: Option<String>,
    selector: Selector,
    /// The names meant; all if empty.
    pub names: Vec<String>,
}

impl Filter {
    /// Errors: INVALID_ARGUMENT for an unknown kind or a selector that cannot be read.
    pub fn new(request: ListRequest) -> Result<Filter, Status> {
        let kind = parse_kind(&request.kind)?;
        let namespace = (kind.namespaced() && !request.all_namespaces).then_some(request.namespace);
        let selector = Selector::parse(&request.label_selector).map_err(Status::invalid_argument)?;
        Ok(Filter { kind, namespace, selector, names: request.names })
    }

    /// Whether this object is meant.
    pub fn matches(&self, object: &Object) -> bool {
        let meta = object.meta();
        object.kind() == self.kind
            && self.namespace.as_ref().is_none_or(|ns| meta.namespace.as_ref() == Some(ns))
            && (self.names.is_empty() || meta.name.as_ref().is_some_and(|name| self.names.contains(name)))
            && self.selector.matches(meta.labels.as_ref())
    }
}

/// An object as it is sent.
pub fn item(object: &Object) -> Item {
    Item { kind: object.kind().as_str().to_owned(), json: object.to_json_text() }
}

/// An object's resourceVersion as a number, 0 if it has none.
pub fn revision(object: &Object) -> u64 {
    object.meta().resource_version.as_deref().and_then(|v| v.parse().ok()).unwrap_or(0)
}
