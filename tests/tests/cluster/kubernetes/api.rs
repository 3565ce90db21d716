//! An API server of Node objects, without TLS.

use ferrule_tests::node::Place;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;

/// Where it is: an address of the router.
pub const ADDRESS: &str = "192.0.2.254:6443";

#[derive(Default)]
struct State {
    version: u64,
    nodes: BTreeMap<String, Value>,
    /// Each change, by its version.
    events: Vec<(u64, String)>,
    watches: Vec<TcpStream>,
    away: bool,
    refusal: Option<String>,
}

/// The server; it ends with the test.
pub struct Api(Arc<Mutex<State>>);

impl Api {
    /// Begins it in a place.
    pub fn start(place: &impl Place) -> Api {
        let listener = place.ns().enter(|| TcpListener::bind(ADDRESS).unwrap());
        let state = Arc::new(Mutex::new(State::default()));
        let shared = Arc::clone(&state);
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let state = Arc::clone(&shared);
                thread::spawn(move || serve(stream, &state));
            }
        });
        Api(state)
    }

    pub fn kubeconfig(&self) -> String {
        format!(
            "apiVersion: v1\nkind: Config\ncurrent-context: c\ncontexts:\n- name: c\n  context: {{cluster: k, \
             user: u}}\nclusters:\n- name: k\n  cluster: {{server: 'http://{ADDRESS}'}}\nusers:\n- name: u\n  \
             user: {{token: t}}\n"
        )
    }

    /// A node is there, as it is now.
    pub fn put(&self, node: Value) {
        let name = node["metadata"]["name"].as_str().unwrap().to_owned();
        self.change(&name, Some(node));
    }

    /// A heartbeat of a node.
    pub fn beat(&self, name: &str, beat: u64) {
        let mut node = self.0.lock().unwrap().nodes[name].clone();
        node["status"]["conditions"][0]["lastHeartbeatTime"] = json!(beat);
        self.put(node);
    }

    /// A node is gone.
    pub fn remove(&self, name: &str) {
        self.change(name, None);
    }

    fn change(&self, name: &str, node: Option<Value>) {
        let mut state = self.0.lock().unwrap();
        state.version += 1;
        let version = state.version;
        let before = match node {
            Some(mut node) => {
                node["metadata"]["resourceVersion"] = json!(version.to_string());
                state.nodes.insert(name.to_owned(), node)
            }
            None => state.nodes.remove(name),
        };
        let (kind, mut object) = match (state.nodes.get(name), before) {
            (Some(now), None) => ("ADDED", now.clone()),
            (Some(now), Some(_)) => ("MODIFIED", now.clone()),
            (None, before) => ("DELETED", before.unwrap()),
        };
        // That of the deletion.
        object["metadata"]["resourceVersion"] = json!(version.to_string());
        let event = chunk(&format!("{}\n", json!({"type": kind, "object": object})));
        state.watches.retain_mut(|watch| watch.write_all(event.as_bytes()).is_ok());
        state.events.push((version, event));
    }

    /// It closes every connection, or serves again.
    pub fn away(&self, away: bool) {
        let mut state = self.0.lock().unwrap();
        state.away = away;
        state.end_watches();
    }

    /// It answers 403 in these words, or serves again.
    pub fn refuse(&self, message: Option<&str>) {
        let mut state = self.0.lock().unwrap();
        state.refusal = message.map(str::to_owned);
        state.end_watches();
    }
}

impl State {
    fn end_watches(&mut self) {
        for watch in self.watches.drain(..) {
            let _ = watch.shutdown(Shutdown::Both);
        }
    }
}

fn chunk(text: &str) -> String {
    format!("{:x}\r\n{text}\r\n", text.len())
}

/// One connection.
fn serve(mut stream: TcpStream, state: &Mutex<State>) {
    while let Some(head) = head(&mut stream) {
        let mut state = state.lock().unwrap();
        let target = head.split(' ').nth(1).unwrap_or_default();
        if state.away {
            return;
        }
        let answer = if let Some(message) = &state.refusal {
            document(403, &json!({"kind": "Status", "code": 403, "message": message}))
        } else if target.contains("watch=1") {
            let from = target.split("resourceVersion=").nth(1).unwrap().split('&').next().unwrap();
            let from: u64 = from.parse().unwrap();
            let missed = state.events.iter().filter(|(version, _)| *version > from);
            let missed: String = missed.map(|(_, event)| event.as_str()).collect();
            state.watches.push(stream.try_clone().unwrap());
            format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{missed}")
        } else {
            let nodes: Vec<&Value> = state.nodes.values().collect();
            let version = state.version.to_string();
            document(200, &json!({"metadata": {"resourceVersion": version}, "items": nodes}))
        };
        if stream.write_all(answer.as_bytes()).is_err() {
            return;
        }
    }
}

fn document(status: u16, body: &Value) -> String {
    let body = body.to_string();
    format!("HTTP/1.1 {status} x\r\nContent-Length: {}\r\n\r\n{body}", body.len())
}

/// The head of the next request; `None` at the end. No request here has a body.
fn head(stream: &mut TcpStream) -> Option<String> {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        match stream.read(&mut byte) {
            Ok(1) => head.push(byte[0]),
            _ => return None,
        }
    }
    String::from_utf8(head).ok()
}
