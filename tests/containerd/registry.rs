//! A registry on loopback that can misbehave. Plain std; one thread a connection.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::lab::image::{MANIFEST_TYPE, OciImage, go_arch, sha256};

/// What goes wrong, with every blob of this digest.
#[derive(Clone, Debug, PartialEq)]
pub enum Fault {
    None,
    /// Closes the connection after so many bytes, each time.
    Cut(String, usize),
    /// Sends so many bytes and then nothing.
    Stall(String, usize),
    /// Sends other bytes of the same length.
    Corrupt(String),
    /// Answers everything with this status.
    Status(u16),
}

/// Who may come in: a name and a password.
#[derive(Clone, Debug, PartialEq)]
pub enum Login {
    Nobody,
    /// With each request.
    Basic(&'static str, &'static str),
    /// For a token, which is good for so many requests.
    Bearer(&'static str, &'static str, u32),
}

struct State {
    address: String,
    /// By `name` and reference (tag or digest): media type and bytes.
    manifests: BTreeMap<String, (String, Vec<u8>)>,
    blobs: BTreeMap<String, Vec<u8>>,
    fault: Fault,
    login: Login,
    /// Before the repository.
    root: String,
    requests: Vec<String>,
    /// How often each token may still be shown.
    tokens: Vec<u32>,
}

impl State {
    fn good_token(&mut self, authorization: &str) -> bool {
        let number = authorization.strip_prefix("Bearer t").and_then(|n| n.parse::<usize>().ok());
        let Some(uses) = number.and_then(|n| self.tokens.get_mut(n)).filter(|uses| **uses > 0) else { return false };
        *uses -= 1;
        true
    }
}

pub struct Registry {
    pub address: String,
    state: Arc<Mutex<State>>,
}

impl Registry {
    pub fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let state = State {
            address: address.clone(),
            manifests: BTreeMap::new(),
            blobs: BTreeMap::new(),
            fault: Fault::None,
            login: Login::Nobody,
            root: "/v2/".into(),
            requests: Vec::new(),
            tokens: Vec::new(),
        };
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
        let size = image.blobs[&image.manifest].len();
        let ours = serde_json::json!({
            "mediaType": MANIFEST_TYPE, "digest": image.manifest, "size": size, "platform": {"os": "linux", "architecture": go_arch()},
        });
        self.push_index(name, tag, image, vec![other_platform(), ours])
    }

    /// The same, through an index of these entries.
    pub fn push_index(&self, name: &str, tag: &str, image: &OciImage, entries: Vec<serde_json::Value>) -> String {
        const INDEX_TYPE: &str = "application/vnd.oci.image.index.v1+json";
        let index = serde_json::json!({"schemaVersion": 2, "mediaType": INDEX_TYPE, "manifests": entries});
        let index = index.to_string().into_bytes();
        let digest = sha256(&index);
        let mut state = self.state.lock().unwrap();
        let manifest = image.blobs[&image.manifest].clone();
        state.manifests.insert(format!("{name}/{}", image.manifest), (MANIFEST_TYPE.to_owned(), manifest));
        for reference in [tag, &digest] {
            state.manifests.insert(format!("{name}/{reference}"), (INDEX_TYPE.to_owned(), index.clone()));
        }
        state.blobs.extend(image.blobs.clone());
        digest
    }

    /// Answers with another manifest than the digest asked for.
    pub fn lie_about(&self, name: &str, digest: &str, image: &OciImage) {
        let lie = (MANIFEST_TYPE.to_owned(), image.blobs[&image.manifest].clone());
        self.state.lock().unwrap().manifests.insert(format!("{name}/{digest}"), lie);
    }

    pub fn set(&self, fault: Fault) {
        self.state.lock().unwrap().fault = fault;
    }

    pub fn admit(&self, login: Login) {
        self.state.lock().unwrap().login = login;
    }

    /// Serves below another path than `/v2/`.
    pub fn root(&self, root: &str) {
        self.state.lock().unwrap().root = root.to_owned();
    }

    /// The requests since last asked, as `GET /v2/…`, and what else of them is of interest.
    pub fn requests(&self) -> Vec<String> {
        std::mem::take(&mut self.state.lock().unwrap().requests)
    }

    /// How many tokens were given out.
    pub fn tokens(&self) -> usize {
        self.state.lock().unwrap().tokens.len()
    }
}

/// An index' entry for a machine that this is not.
pub fn other_platform() -> serde_json::Value {
    serde_json::json!({"mediaType": MANIFEST_TYPE, "digest": sha256(b"none"), "size": 4, "platform": {"os": "linux", "architecture": "s390x"}})
}

/// What of a request matters here.
#[derive(Default)]
struct Request {
    method: String,
    path: String,
    from: usize,
    authorization: String,
    mirror: String,
}

fn serve(stream: TcpStream, state: &Mutex<State>) {
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    let mut stream = stream;
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line).unwrap_or(0) == 0 {
            return;
        }
        let mut words = line.split(' ');
        let mut request =
            Request { method: words.next().unwrap_or("").into(), path: words.next().unwrap_or("").into(), ..Request::default() };
        loop {
            let mut header = String::new();
            if reader.read_line(&mut header).unwrap_or(0) == 0 || header.trim().is_empty() {
                break;
            }
            let (name, value) = header.trim().split_once(": ").unwrap_or((&header, ""));
            match name.to_ascii_lowercase().as_str() {
                "range" => request.from = value.trim_start_matches("bytes=").split('-').next().unwrap().parse().unwrap_or(0),
                "authorization" => request.authorization = value.to_owned(),
                "x-mirror" => request.mirror = value.to_owned(),
                _ => {}
            }
        }
        let answer = answer(&request, &mut state.lock().unwrap());
        if !send(&mut stream, request.method == "HEAD", answer) {
            return;
        }
    }
}

struct Answer {
    status: u16,
    kind: String,
    /// Further headers, each with its line's end.
    headers: String,
    body: Vec<u8>,
    /// Send only so much, then close or hang.
    only: Option<(usize, bool)>,
}

fn plain(status: u16, body: &str) -> Answer {
    Answer { status, kind: "application/json".into(), headers: String::new(), body: body.into(), only: None }
}

fn answer(request: &Request, state: &mut State) -> Answer {
    let from = if request.from > 0 { format!(" from {}", request.from) } else { String::new() };
    let mirror = if request.mirror.is_empty() { String::new() } else { format!(" mirror {}", request.mirror) };
    state.requests.push(format!("{} {}{from}{mirror}", request.method, request.path));
    if let Fault::Status(status) = state.fault {
        return plain(status, "");
    }
    if let Some(refusal) = admit(request, state) {
        return refusal;
    }
    let path = request.path.split('?').next().unwrap_or("");
    let Some(rest) = path.strip_prefix(&state.root) else { return plain(404, "") };
    if let Some((name, reference)) = rest.split_once("/manifests/") {
        return match state.manifests.get(&format!("{name}/{reference}")) {
            Some((kind, body)) => {
                let headers = format!("Docker-Content-Digest: {}\r\n", sha256(body));
                Answer { status: 200, kind: kind.clone(), headers, body: body.clone(), only: None }
            }
            None => plain(404, r#"{"errors":[{"code":"MANIFEST_UNKNOWN","message":"manifest unknown"}]}"#),
        };
    }
    let digest = rest.rsplit('/').next().unwrap_or("").to_owned();
    match state.blobs.get(&digest).cloned() {
        Some(body) => blob(&digest, body, request.from, &state.fault),
        None => plain(404, r#"{"errors":[{"code":"BLOB_UNKNOWN","message":"blob unknown"}]}"#),
    }
}

fn blob(digest: &str, mut body: Vec<u8>, from: usize, fault: &Fault) -> Answer {
    let mut only = None;
    match fault {
        Fault::Cut(which, at) if which == digest => only = Some((*at, false)),
        Fault::Stall(which, at) if which == digest => only = Some((*at, true)),
        Fault::Corrupt(which) if which == digest => body.iter_mut().for_each(|byte| *byte ^= 1),
        _ => {}
    }
    let status = if from > 0 { 206 } else { 200 };
    let kind = "application/octet-stream".into();
    Answer { status, kind, headers: String::new(), body: body.split_off(from.min(body.len())), only }
}

/// A refusal, or a token; none: come in.
fn admit(request: &Request, state: &mut State) -> Option<Answer> {
    let basic = |user: &str, password: &str| format!("Basic {}", STANDARD.encode(format!("{user}:{password}")));
    let refused = |challenge: String| Answer { headers: format!("WWW-Authenticate: {challenge}\r\n"), ..plain(401, "") };
    match state.login.clone() {
        Login::Nobody => None,
        Login::Basic(user, password) => (request.authorization != basic(user, password)).then(|| refused("Basic realm=\"r\"".into())),
        Login::Bearer(user, password, uses) if request.path.starts_with("/token?") => {
            Some(if request.authorization == basic(user, password) {
                state.tokens.push(uses);
                plain(200, &format!("{{\"token\":\"t{}\"}}", state.tokens.len() - 1))
            } else {
                // It says what it was told: no error may repeat that.
                plain(401, &format!("{{\"errors\":[{{\"message\":\"who is {}\"}}]}}", request.authorization))
            })
        }
        Login::Bearer(..) if state.good_token(&request.authorization) => None,
        Login::Bearer(..) => Some(refused(format!("Bearer realm=\"http://{}/token\",service=\"test\"", state.address))),
    }
}

/// Whether the connection goes on.
fn send(stream: &mut TcpStream, head: bool, answer: Answer) -> bool {
    let Answer { status, kind, headers, body, only } = answer;
    let header = format!("HTTP/1.1 {status} X\r\nContent-Type: {kind}\r\n{headers}Content-Length: {}\r\n\r\n", body.len());
    if stream.write_all(header.as_bytes()).is_err() || head {
        return head;
    }
    match only {
        Some((at, hang)) if at < body.len() => {
            let _ = stream.write_all(&body[..at]);
            let _ = stream.flush();
            if hang {
                std::thread::sleep(Duration::from_secs(30));
            }
            false
        }
        _ => stream.write_all(&body).is_ok(),
    }
}
