use super::*;
use crate::query::Figures;
use crate::status::tests::report;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

fn node(condition: Option<&str>, taint: bool) -> Value {
    let condition =
        condition.map(|status| json!({"type": CONDITION, "status": status, "reason": "x"}));
    let taint = taint.then(|| json!({"key": TAINT, "effect": "NoSchedule"}));
    let conditions: Vec<Value> = condition.into_iter().collect();
    let taints: Vec<Value> = taint.into_iter().collect();
    json!({"metadata": {"name": "one", "uid": "uid-1", "resourceVersion": "1"},
           "spec": {"taints": taints}, "status": {"conditions": conditions}})
}

#[test]
fn the_condition_is_set_only_where_a_controller_expects_it() {
    for (condition, taint, expected) in [
        (None, false, false),
        (Some("False"), false, false),
        (Some("True"), false, true),
        (None, true, true),
        (Some("Unknown"), true, true),
        (Some("Unknown"), false, false),
        // The controller manager is about to remove the taint.
        (Some("False"), true, false),
    ] {
        let node: Node = serde_json::from_value(node(condition, taint)).unwrap();
        assert_eq!(is_expected(&node), expected, "{condition:?} {taint}");
    }
}

/// An API server with one node; what it is asked to change is sent, with the request's line.
async fn serve(mut stream: TcpStream, requests: mpsc::Sender<(String, Value)>) -> Option<()> {
    let mut text = Vec::new();
    loop {
        let mut part = [0; 4096];
        let length = stream.read(&mut part).await.ok().filter(|length| *length > 0)?;
        text.extend_from_slice(&part[..length]);
        let Some(end) = text.windows(4).position(|end| end == b"\r\n\r\n") else { continue };
        let head = String::from_utf8(text[..end].to_vec()).unwrap().to_lowercase();
        let length = head.split("content-length: ").nth(1).and_then(|it| it.lines().next());
        let length: usize = length.map_or(0, |it| it.trim().parse().unwrap());
        if text.len() < end + 4 + length {
            continue;
        }
        let line = head.lines().next()?.trim_end_matches(" http/1.1").to_owned();
        let body: Vec<u8> = text.drain(..end + 4 + length).skip(end + 4).collect();
        let answer = if line.contains("watch=") {
            // Nothing changes.
            std::future::pending::<()>().await;
            return None;
        } else if line.starts_with("get ") {
            json!({"metadata": {"resourceVersion": "1"}, "items": [node(Some("True"), true)]})
        } else {
            let body = serde_json::from_slice(&body).unwrap();
            requests.send((line, body)).await.ok()?;
            json!({"metadata": {"name": "one"}})
        };
        let answer = answer.to_string();
        let head = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length:";
        let whole = format!("{head} {}\r\n\r\n{answer}", answer.len());
        stream.write_all(whole.as_bytes()).await.ok()?;
    }
}

async fn api_server() -> (tempfile::TempDir, Access, mpsc::Receiver<(String, Value)>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (requests, received) = mpsc::channel(64);
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(serve(stream, requests.clone()));
        }
    });
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("kubeconfig");
    let config = json!({"apiVersion": "v1", "kind": "Config", "current-context": "c",
        "contexts": [{"name": "c", "context": {"cluster": "k", "user": "u"}}],
        "clusters": [{"name": "k", "cluster": {"server": format!("http://{address}")}}],
        "users": [{"name": "u", "user": {"token": "t"}}]});
    std::fs::write(&path, config.to_string()).unwrap();
    (dir, Access::Kubeconfig(path), received)
}

#[tokio::test]
async fn once_the_node_is_ready_the_condition_is_set_and_what_is_wrong_is_sent() {
    let (_dir, access, mut requests) = api_server().await;
    let (queries, mut asked) = mpsc::channel(16);
    let (ready, is_ready) = watch::channel(false);
    let (asked_once, mut was_asked) = mpsc::channel(64);
    tokio::spawn(async move {
        while let Some(query) = asked.recv().await {
            match query {
                Query::Figures(to) => {
                    let not_ready = (!*is_ready.borrow()).then(|| "not yet".to_owned());
                    drop(to.send(Figures { not_ready, ..Figures::default() }));
                    let _ = asked_once.try_send(());
                }
                Query::Status(to) => drop(to.send(report())),
                Query::Alive(_) | Query::Bgp(_) => {}
            }
        }
    });
    let (problems, received) = watch::channel(Vec::new());
    tokio::spawn(run(access, "one".to_owned(), queries, problems));
    for _ in 0..3 {
        was_asked.recv().await.unwrap();
    }
    assert!(requests.try_recv().is_err(), "a node without routes has none");
    ready.send_replace(true);
    let mut seen = vec![];
    while seen.len() < 5 {
        let (line, body) = requests.recv().await.unwrap();
        if line.starts_with("patch ") {
            assert_eq!(line, "patch /api/v1/nodes/one/status");
            let condition = &body["status"]["conditions"][0];
            let said = (&condition["type"], &condition["status"], &condition["reason"]);
            assert_eq!(said, (&json!(CONDITION), &json!("False"), &json!("RouteCreated")));
            seen.push("patch".to_owned());
        } else {
            assert!(line.starts_with("post /apis/events.k8s.io/v1/namespaces/default/events"));
            assert_eq!(body["regarding"]["uid"], "uid-1");
            seen.push(body["reason"].as_str().unwrap().to_owned());
        }
    }
    for wanted in ["patch", "RouteFailed", "RouteConflict", "PodCIDRRefused", "NetworkProblem"] {
        assert!(seen.iter().any(|it| it == wanted), "{wanted} is not in {seen:?}");
    }
    assert_eq!(*received.borrow(), []);
}
