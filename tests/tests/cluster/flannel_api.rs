//! As much of an API server as flannel's daemon asks: nodes, listed, watched, and patched.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex};
use std::thread;

use serde_json::{Value, json};

/// Nodes by name, and the number of the last change.
#[derive(Default)]
struct State {
    nodes: BTreeMap<String, Value>,
    version: u64,
}

/// The server; it serves until the process ends.
#[derive(Clone, Default)]
pub struct Api {
    shared: Arc<(Mutex<State>, Condvar)>,
}

impl Api {
    /// Adds a node.
    pub fn node(&self, name: &str, pod_cidr: &str) {
        let node = json!({"apiVersion": "v1", "kind": "Node",
            "metadata": {"name": name, "uid": name, "annotations": {}},
            "spec": {"podCIDR": pod_cidr, "podCIDRs": [pod_cidr]}, "status": {}});
        self.change(name, |kept| *kept = node);
    }

    /// Sets an annotation of a node.
    pub fn annotate(&self, name: &str, key: &str, value: &str) {
        self.change(name, |node| node["metadata"]["annotations"][key] = json!(value));
    }

    fn change(&self, name: &str, change: impl FnOnce(&mut Value)) -> Value {
        let mut state = self.shared.0.lock().unwrap();
        state.version += 1;
        let version = state.version.to_string();
        let node = state.nodes.entry(name.to_owned()).or_default();
        change(node);
        node["metadata"]["resourceVersion"] = json!(version);
        let node = node.clone();
        self.shared.1.notify_all();
        node
    }

    /// Serves on a listener.
    pub fn serve(&self, listener: TcpListener) {
        let api = self.clone();
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let api = api.clone();
                thread::spawn(move || api.connection(&stream));
            }
        });
    }

    fn connection(&self, stream: &TcpStream) {
        let mut reader = BufReader::new(stream);
        while let Some((line, body)) = request(&mut reader) {
            let mut words = line.split(' ');
            let (method, target) = (words.next().unwrap_or(""), words.next().unwrap_or(""));
            let (path, query) = target.split_once('?').unwrap_or((target, ""));
            let name =
                path.strip_prefix("/api/v1/nodes/").unwrap_or("").trim_end_matches("/status");
            if query.contains("watch=true") && !query.contains("sendInitialEvents=true") {
                return self.watch(stream, query);
            }
            let (code, answer) = match (method, name) {
                // As a server that lists in pages and not by a watch.
                ("GET", "") if query.contains("watch=true") => (422, refused()),
                ("GET", "") => (200, self.list()),
                ("PATCH", name) => (200, self.change(name, |node| merge(node, &body))),
                (_, name) => (200, self.shared.0.lock().unwrap().nodes[name].clone()),
            };
            let text = answer.to_string();
            let head = format!(
                "HTTP/1.1 {code} x\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n",
                text.len()
            );
            if (&*stream).write_all((head + &text).as_bytes()).is_err() {
                return;
            }
        }
    }

    fn list(&self) -> Value {
        let state = self.shared.0.lock().unwrap();
        json!({"apiVersion": "v1", "kind": "NodeList",
            "metadata": {"resourceVersion": state.version.to_string()},
            "items": state.nodes.values().collect::<Vec<_>>()})
    }

    /// Sends every node that changed since the client's version, and each change from then on.
    fn watch(&self, mut stream: &TcpStream, query: &str) {
        let since = query.split('&').find_map(|part| part.strip_prefix("resourceVersion="));
        let mut sent: u64 = since.and_then(|text| text.parse().ok()).unwrap_or(0);
        let head = "HTTP/1.1 200 x\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n";
        if stream.write_all(head.as_bytes()).is_err() {
            return;
        }
        loop {
            let state = self.shared.0.lock().unwrap();
            let state = self.shared.1.wait_while(state, |state| state.version <= sent).unwrap();
            let newer = |node: &&Value| version(node) > sent;
            let mut changed: Vec<Value> = state.nodes.values().filter(newer).cloned().collect();
            sent = state.version;
            drop(state);
            changed.sort_by_key(version);
            for node in changed {
                let event = json!({"type": "MODIFIED", "object": node}).to_string() + "\n";
                let chunk = format!("{:x}\r\n{event}\r\n", event.len());
                if stream.write_all(chunk.as_bytes()).is_err() {
                    return;
                }
            }
        }
    }
}

fn version(node: &Value) -> u64 {
    node["metadata"]["resourceVersion"].as_str().and_then(|text| text.parse().ok()).unwrap_or(0)
}

fn refused() -> Value {
    json!({"apiVersion": "v1", "kind": "Status", "status": "Failure", "reason": "Invalid", "code": 422})
}

/// Annotations are all that flannel patches and this server keeps.
fn merge(node: &mut Value, patch: &Value) {
    for (key, value) in patch["metadata"]["annotations"].as_object().into_iter().flatten() {
        node["metadata"]["annotations"][key] = value.clone();
    }
}

/// The request line and the body.
fn request(reader: &mut impl BufRead) -> Option<(String, Value)> {
    let mut first = String::new();
    let mut length = 0;
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line).ok()? == 0 {
            return None;
        }
        let line = line.trim_end().to_owned();
        if let Some(number) = line.to_ascii_lowercase().strip_prefix("content-length:") {
            length = number.trim().parse().ok()?;
        }
        match (first.is_empty(), line.is_empty()) {
            (true, _) => first = line,
            (false, true) => break,
            (false, false) => {}
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    Some((first, serde_json::from_slice(&body).unwrap_or(Value::Null)))
}
