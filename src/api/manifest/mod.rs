//! Decoding of manifest files. STAND-IN until the decoder of the `decode` branch is merged: replace this whole directory by that one.

use std::ops::Range;

use super::fault::{Fault, Severity};
use super::{Kind, Object};

/// One document of a file.
#[derive(Clone, Debug)]
pub struct Document {
    /// Its number in the file, from 0.
    pub index: usize,
    /// What it holds, unless it was refused or passed over.
    pub object: Option<Object>,
    /// Where it is, in bytes.
    pub span: Range<usize>,
    /// The kind as written.
    pub kind: String,
    /// Namespace and name as written.
    pub name: Option<(String, String)>,
}

/// What a file holds and what is wrong with it.
#[derive(Clone, Debug, Default)]
pub struct Decoded {
    /// Its documents, in order.
    pub documents: Vec<Document>,
    /// Everything found.
    pub faults: Vec<Fault>,
}

/// Reads a file of manifests.
pub fn decode(file: &str, text: &[u8]) -> Decoded {
    let text = String::from_utf8_lossy(text);
    let mut decoded = Decoded::default();
    let mut start = 0;
    let mut ends: Vec<usize> = text.match_indices("\n---").map(|(at, _)| at + 1).collect();
    ends.push(text.len());
    for (index, end) in ends.into_iter().enumerate() {
        let span = start..end;
        start = end;
        let body = text[span.clone()].trim_start_matches("---");
        match read(body) {
            Ok(Some((kind, object))) => {
                let key = object.key();
                decoded.documents.push(Document { index, object: Some(object), span, kind, name: Some((key.namespace, key.name)) });
            }
            Ok(None) => {}
            Err(message) => decoded.faults.push(Fault {
                file: file.to_owned(),
                line: 1 + text[..span.start].matches('\n').count(),
                column: 1,
                severity: Severity::Error,
                field: String::new(),
                message,
            }),
        }
    }
    decoded
}

fn read(body: &str) -> Result<Option<(String, Object)>, String> {
    let value: serde_json::Value = serde_saphyr::from_str(body).map_err(|e| e.to_string())?;
    if value.is_null() {
        return Ok(None);
    }
    let shown = value["kind"].as_str().ok_or("kind: Required value")?.to_owned();
    let kind = if shown == "Pod" { Kind::StaticPod } else { Kind::parse(&shown).ok_or("unknown kind")? };
    let mut object = Object::from_json(kind, value.to_string().as_bytes()).map_err(|e| e.to_string())?;
    if kind.namespaced() {
        object.meta_mut().namespace.get_or_insert_with(|| "default".to_owned());
    }
    Ok(Some((shown, object)))
}
