//! List: objects of one kind in messages of bounded size.

use std::sync::Arc;

use futures::Stream;
use tonic::Status;

use super::filter::{Filter, item, revision};
use super::pb::{ListRequest, ListResponse};
use crate::api::Object;
use crate::store::Store;

/// JSON bytes after which a message is sent and the next begun.
const MESSAGE_BYTES: usize = 1 << 20;

/// Looks the objects up and makes the messages one at a time, as the client takes them: memory holds one message, not the list.
pub fn list(store: &dyn Store, request: ListRequest) -> Result<impl Stream<Item = Result<ListResponse, Status>> + Send + use<>, Status> {
    let filter = Filter::new(request)?;
    let found: Vec<Arc<Object>> = store.list(filter.kind).into_iter().filter(|object| filter.matches(object)).collect();
    let there = |name: &&String| !found.iter().any(|object| object.meta().name.as_ref() == Some(name));
    let missing = filter.names.iter().filter(there).cloned().collect();
    let first = ListResponse { missing, ..ListResponse::default() };
    let state = (found.into_iter(), Some(first));
    Ok(futures::stream::unfold(state, |(mut rest, first)| async move {
        let message = fill(&mut rest, first)?;
        Some((Ok(message), (rest, None)))
    }))
}

/// The next message; the first is sent even if it is empty.
fn fill(rest: &mut std::vec::IntoIter<Arc<Object>>, first: Option<ListResponse>) -> Option<ListResponse> {
    let is_first = first.is_some();
    let mut message = first.unwrap_or_default();
    let mut bytes = 0;
    while bytes < MESSAGE_BYTES
        && let Some(object) = rest.next()
    {
        let item = item(&object);
        bytes += item.json.len();
        message.revision = message.revision.max(revision(&object));
        message.items.push(item);
    }
    (is_first || !message.items.is_empty()).then_some(message)
}
