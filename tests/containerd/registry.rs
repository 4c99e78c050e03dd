//! A registry on loopback that can misbehave. Plain std; one thread a connection.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::lab::image::{MANIFEST_TYPE, OciImage, go_arch, sha256};

/// What goes wrong, with every blob of this digest.
#[derive(Clone, Debug, PartialEq)]
pub enum Fault {
    None,
    /// Closes the connection after so many bytes, once.
    CutOnce(String, usize),
    /// Sends so many bytes and then nothing.
    Stall(String, usize),
    /// Sends other bytes of the same length.
    Corrupt(String),
    /// Answers everything with this status.
    Status(u16),
}

struct State {
    /// By `name` and reference (tag or digest): media type and bytes.
    manifests: BTreeMap<String, (String, Vec<u8>)>,
    blobs: BTreeMap<String, Vec<u8>>,
    fault: Fault,
    requests: Vec<String>,
}

pub struct Registry {
    pub address: String,
    state: Arc<Mutex<State>>,
}

impl Registry {
    pub fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let state = State { manifests: BTreeMap::new(), blobs: BTreeMap::new(), fault: Fault::None, requests: Vec::new() };
        let state = Arc::new(Mutex::new(state));
        let shared = state.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let state = shared.clone();
                std::thread::spawn(move || serve(stream, &state));
            }
        });
        Self { address, state }
    }

    /// Serves an image under `name:tag`, through an index that has another platform too.
    pub fn push(&self, name: &str, tag: &str, image: &OciImage) -> String {
        let manifest = &image.blobs[&image.manifest];
        let index = serde_json::json!({
            "schemaVersion": 2, "mediaType": "application/vnd.oci.image.index.v1+json",
            "manifests": [
                {"mediaType": MANIFEST_TYPE, "digest": sha256(b"none"), "size": 4, "platform": {"os": "linux", "architecture": "s390x"}},
                {"mediaType": MANIFEST_TYPE, "digest": image.manifest, "size": manifest.len(), "platform": {"os": "linux", "architecture": go_arch()}},
            ],
        });
        let index = index.to_string().into_bytes();
        let digest = sha256(&index);
        let mut state = self.state.lock().unwrap();
        state.manifests.insert(format!("{name}/{}", image.manifest), (MANIFEST_TYPE.to_owned(), manifest.clone()));
        for reference in [tag, &digest] {
            let value = ("application/vnd.oci.image.index.v1+json".to_owned(), index.clone());
            state.manifests.insert(format!("{name}/{reference}"), value);
        }
        state.blobs.extend(image.blobs.clone());
        digest
    }

    pub fn set(&self, fault: Fault) {
        self.state.lock().unwrap().fault = fault;
    }

    /// The requests since last asked, as `GET /v2/…`.
    pub fn requests(&self) -> Vec<String> {
        std::mem::take(&mut self.state.lock().unwrap().requests)
    }
}

fn serve(stream: TcpStream, state: &Mutex<State>) {
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    let mut stream = stream;
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line).unwrap_or(0) == 0 {
            return;
        }
        let mut from = 0;
        loop {
            let mut header = String::new();
            if reader.read_line(&mut header).unwrap_or(0) == 0 || header.trim().is_empty() {
                break;
            }
            if let Some(range) = header.to_ascii_lowercase().strip_prefix("range: bytes=") {
                from = range.split('-').next().unwrap().trim().parse().unwrap_or(0);
            }
        }
        let mut words = line.split(' ');
        let (method, path) = (words.next().unwrap_or("").to_owned(), words.next().unwrap_or("").to_owned());
        let answer = answer(&method, &path, from, state);
        if !send(&mut stream, method == "HEAD", answer) {
            return;
        }
    }
}

struct Answer {
    status: u16,
    kind: String,
    digest: Option<String>,
    body: Vec<u8>,
    /// Send only so much, then close or hang.
    only: Option<(usize, bool)>,
}

fn answer(method: &str, path: &str, from: usize, state: &Mutex<State>) -> Answer {
    let mut state = state.lock().unwrap();
    state.requests.push(format!("{method} {path}{}", if from > 0 { format!(" from {from}") } else { String::new() }));
    let plain = |status, body: &str| Answer { status, kind: "application/json".into(), digest: None, body: body.into(), only: None };
    if let Fault::Status(status) = state.fault {
        return plain(status, "");
    }
    if path == "/v2/" {
        return plain(200, "{}");
    }
    let rest = path.strip_prefix("/v2/").unwrap_or("");
    if let Some((name, reference)) = rest.split_once("/manifests/") {
        return match state.manifests.get(&format!("{name}/{reference}")) {
            Some((kind, body)) => Answer { status: 200, kind: kind.clone(), digest: Some(sha256(body)), body: body.clone(), only: None },
            None => plain(404, r#"{"errors":[{"code":"MANIFEST_UNKNOWN","message":"manifest unknown"}]}"#),
        };
    }
    let digest = rest.rsplit('/').next().unwrap_or("").to_owned();
    let Some(mut body) = state.blobs.get(&digest).cloned() else {
        return plain(404, r#"{"errors":[{"code":"BLOB_UNKNOWN","message":"blob unknown"}]}"#);
    };
    let mut only = None;
    match state.fault.clone() {
        Fault::CutOnce(which, at) if which == digest => {
            state.fault = Fault::None;
            only = Some((at, false));
        }
        Fault::Stall(which, at) if which == digest => only = Some((at, true)),
        Fault::Corrupt(which) if which == digest => body.iter_mut().for_each(|byte| *byte ^= 1),
        _ => {}
    }
    let status = if from > 0 { 206 } else { 200 };
    Answer { status, kind: "application/octet-stream".into(), digest: None, body: body.split_off(from.min(body.len())), only }
}

/// Whether the connection goes on.
fn send(stream: &mut TcpStream, head: bool, answer: Answer) -> bool {
    let digest = answer.digest.map(|digest| format!("Docker-Content-Digest: {digest}\r\n")).unwrap_or_default();
    let header =
        format!("HTTP/1.1 {} X\r\nContent-Type: {}\r\n{digest}Content-Length: {}\r\n\r\n", answer.status, answer.kind, answer.body.len());
    if stream.write_all(header.as_bytes()).is_err() || head {
        return head;
    }
    match answer.only {
        None => stream.write_all(&answer.body).is_ok(),
        Some((at, hang)) => {
            let _ = stream.write_all(&answer.body[..at.min(answer.body.len())]);
            let _ = stream.flush();
            if hang {
                std::thread::sleep(Duration::from_secs(30));
            }
            false
        }
    }
}
