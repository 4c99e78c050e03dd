//! Apply: every file is checked first; only when none has an error are the objects written into the manifests directory.

use std::path::Path;

use tonic::Status;

use super::ApiState;
use super::editing::edit;
use super::pb::{ApplyRequest, ApplyResponse, ApplyResult, ManifestFault};
use super::status::chain;
use crate::agent::manifest_edit::{self, EditError, Place};
use crate::api::fault::{Fault, Severity};
use crate::api::manifest::decode;
use crate::api::{Key, Object};
use crate::store::Store;

/// One object to write, with its own text.
struct Wanted {
    object: Object,
    text: String,
}

/// Checks and, unless it is a dry run, writes. Errors: FAILED_PRECONDITION where a file is not ours to change.
pub async fn apply(state: &ApiState, request: ApplyRequest) -> Result<ApplyResponse, Status> {
    let (wanted, faults) = check(&request)?;
    let shown: Vec<ManifestFault> = faults.iter().map(fault).collect();
    if faults.iter().any(|fault| fault.severity == Severity::Error) {
        return Ok(ApplyResponse { results: Vec::new(), faults: shown });
    }
    let store = state.store.clone();
    let written = edit(state, move |root| {
        // Once dry, so that a refusal in the middle leaves nothing half applied.
        let dry = write_all(&*store, root, &wanted, true)?;
        if request.dry_run { Ok(dry) } else { write_all(&*store, root, &wanted, false) }
    });
    let results = written.await?;
    Ok(ApplyResponse { results, faults: shown })
}

fn write_all(store: &dyn Store, root: &Path, wanted: &[Wanted], dry_run: bool) -> Result<Vec<ApplyResult>, EditError> {
    let write = |Wanted { object, text }: &Wanted| {
        let key = object.key();
        let place = store.get(&key).as_deref().and_then(Place::of);
        let (outcome, file) = manifest_edit::write(root, place.as_ref(), text, object, dry_run)?;
        Ok(result(key, outcome.as_str(), file))
    };
    wanted.iter().map(write).collect()
}

fn check(request: &ApplyRequest) -> Result<(Vec<Wanted>, Vec<Fault>), Status> {
    let (mut wanted, mut faults) = (Vec::new(), Vec::new());
    for file in &request.files {
        let decoded = decode(&file.name, &file.content);
        faults.extend(decoded.faults);
        for document in decoded.documents {
            let Some(object) = document.object else { continue };
            let bytes = file.content.get(document.span).unwrap_or_default();
            if let Some(base) = generated_from(bytes, &object) {
                let why = "what is applied twice must have one name. Give it one, or put the file into the manifests directory: there its path decides";
                return Err(Status::invalid_argument(format!("from {base}: cannot use generate name with apply: {why}")));
            }
            wanted.push(Wanted { text: own_text(bytes, &object), object });
        }
    }
    Ok((wanted, faults))
}

/// The generateName that gave the object its name: such a name changes with the file's.
fn generated_from<'o>(bytes: &[u8], object: &'o Object) -> Option<&'o str> {
    let base = object.meta().generate_name.as_deref().filter(|base| !base.is_empty())?;
    let elsewhere = decode("/", bytes);
    let same = elsewhere.documents.iter().filter_map(|d| d.object.as_ref()).any(|o| o.meta().name == object.meta().name);
    (!same).then_some(base)
}

/// The object's own text; an item of a List, whose span is not a document of its own, is written out anew.
fn own_text(bytes: &[u8], object: &Object) -> String {
    let text = String::from_utf8_lossy(bytes).into_owned();
    let again = decode("", text.as_bytes());
    match again.documents.as_slice() {
        [only] if only.object.as_ref() == Some(object) => text,
        _ => serde_json::to_string_pretty(&object.to_json()).unwrap_or(text),
    }
}

fn result(key: Key, outcome: &str, file: String) -> ApplyResult {
    ApplyResult { kind: key.kind.as_str().to_owned(), namespace: key.namespace, name: key.name, outcome: outcome.to_owned(), file }
}

/// A fault as it is sent.
pub fn fault(fault: &Fault) -> ManifestFault {
    let severity = match fault.severity {
        Severity::Error => "error",
        Severity::Warning => "warning",
        Severity::Info => "info",
    };
    ManifestFault {
        file: fault.file.clone(),
        line: fault.line as u64,
        column: fault.column as u64,
        severity: severity.to_owned(),
        field: fault.field.clone(),
        message: fault.message.clone(),
    }
}

/// A refused edit.
pub fn edit_status(error: &EditError) -> Status {
    let message = chain(error);
    match error {
        EditError::Name(_) => Status::invalid_argument(message),
        EditError::Moved { .. } => Status::aborted(message),
        EditError::Managed { .. } | EditError::ByHand { .. } => Status::failed_precondition(message),
        EditError::Io { .. } => Status::internal(message),
    }
}
