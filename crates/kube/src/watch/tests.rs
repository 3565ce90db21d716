use super::*;
use crate::objects::Node;
use crate::server::{PATIENCE, Server, started};
use tokio::sync::mpsc::Receiver;

const SHORT: Times = Times {
    idle: PATIENCE,
    gather: Duration::from_millis(1),
    first: Duration::from_millis(5),
    longest: Duration::from_millis(20),
    unknown: Duration::from_millis(20),
};

/// A node as the API server sends it; `cidr` may be empty, `beat` is what heartbeats change.
fn node(name: &str, cidr: &str, version: u32, beat: u32) -> String {
    let cidrs = if cidr.is_empty() { String::new() } else { format!("\"{cidr}\"") };
    format!(
        "{{\"metadata\": {{\"name\": \"{name}\", \"uid\": \"u-{name}\", \"resourceVersion\": \"{version}\", \
         \"annotations\": {{\"other/beat\": \"{beat}\"}}}}, \"spec\": {{\"podCIDRs\": [{cidrs}]}}, \"status\": \
         {{\"conditions\": [{{\"type\": \"Ready\", \"status\": \"True\", \"lastHeartbeatTime\": \"{beat}\"}}]}}}}"
    )
}

fn page(version: u32, next: &str, nodes: &[String]) -> String {
    let items = nodes.join(", ");
    format!(
        "{{\"kind\": \"NodeList\", \"metadata\": {{\"resourceVersion\": \"{version}\", \"continue\": \"{next}\"}}, \
         \"items\": [{items}]}}"
    )
}

fn event(kind: &str, object: &str) -> String {
    format!("{{\"type\": \"{kind}\", \"object\": {object}}}\n")
}

fn bookmark(version: u32) -> String {
    event("BOOKMARK", &format!("{{\"metadata\": {{\"resourceVersion\": \"{version}\"}}}}"))
}

fn gone() -> String {
    "{\"kind\": \"Status\", \"code\": 410, \"reason\": \"Expired\", \"message\": \"too old resource version\"}".to_owned()
}

fn follow(server: &Server, times: Times) -> Receiver<Reading<Node>> {
    watch_with(server.access(), Selection::default(), times)
}

async fn next(readings: &mut Receiver<Reading<Node>>) -> Reading<Node> {
    timeout(PATIENCE, readings.recv()).await.expect("nothing was sent").unwrap()
}

/// The next reading, a set, as names and CIDRs.
async fn set(readings: &mut Receiver<Reading<Node>>) -> Vec<(String, String)> {
    match next(readings).await {
        Reading::Set(nodes) => {
            let cidr = |node: &Node| node.spec.pod_cidrs.first().cloned().unwrap_or_default();
            nodes.iter().map(|node| (node.metadata.name.clone(), cidr(node))).collect()
        }
        Reading::Failed(why) => panic!("{why}"),
    }
}

async fn names(readings: &mut Receiver<Reading<Node>>) -> Vec<String> {
    set(readings).await.into_iter().map(|(name, _)| name).collect()
}

async fn failure(readings: &mut Receiver<Reading<Node>>) -> String {
    match next(readings).await {
        Reading::Failed(why) => why,
        Reading::Set(nodes) => panic!("{nodes:?}"),
    }
}

/// A watch that has begun with one node, `a`, at version 10.
async fn begun(times: Times) -> (Server, Receiver<Reading<Node>>, crate::server::Stream) {
    let mut server = started().await;
    let mut readings = follow(&server, times);
    server
        .expect("GET /api/v1/nodes?limit=100")
        .await
        .json(200, &page(10, "", &[node("a", "", 3, 0)]))
        .await;
    let stream = server.expect(&watch_at(10)).await.stream().await;
    assert_eq!(names(&mut readings).await, ["a"]);
    (server, readings, stream)
}

fn watch_at(version: u32) -> String {
    format!(
        "GET /api/v1/nodes?watch=1&allowWatchBookmarks=1&resourceVersion={version}&timeoutSeconds="
    )
}

#[tokio::test]
async fn pages_are_one_set_and_each_change_is_a_set_more() {
    let mut server = started().await;
    let mut readings = follow(&server, SHORT);
    let request = server.expect("GET /api/v1/nodes?limit=100").await;
    assert_eq!(request.line(), "GET /api/v1/nodes?limit=100");
    assert_eq!(request.header("authorization"), "Bearer secret-1");
    request.json(200, &page(10, "b=/1", &[node("c", "", 3, 0), node("d", "", 4, 0)])).await;
    let request = server.expect("GET /api/v1/nodes?limit=100&continue=b%3D%2F1").await;
    request.json(200, &page(10, "", &[node("e", "", 5, 0)])).await;
    let stream = server.expect(&watch_at(10)).await.stream().await;
    assert_eq!(names(&mut readings).await, ["c", "d", "e"]);
    stream.send(&event("ADDED", &node("a", "", 11, 0))).await;
    assert_eq!(names(&mut readings).await, ["a", "c", "d", "e"]);
    stream.send(&event("MODIFIED", &node("d", "10.244.4.0/24", 12, 0))).await;
    let cidr = ("d".to_owned(), "10.244.4.0/24".to_owned());
    assert_eq!(set(&mut readings).await[2], cidr);
    stream.send(&event("DELETED", &node("c", "", 13, 0))).await;
    assert_eq!(names(&mut readings).await, ["a", "d", "e"]);
    // Its end costs nothing, and the next one begins after the last change.
    stream.end().await;
    let stream = server.expect(&watch_at(13)).await.stream().await;
    // An event may come in pieces.
    let text = event("DELETED", &node("d", "", 14, 0));
    let (first, second) = text.split_at(40);
    stream.send(first).await;
    stream.send(second).await;
    assert_eq!(names(&mut readings).await, ["a", "e"]);
}

#[tokio::test]
async fn heartbeats_and_bookmarks_send_nothing() {
    let (mut server, mut readings, stream) = begun(SHORT).await;
    for beat in 1..=50 {
        stream.send(&event("MODIFIED", &node("a", "", 20 + beat, beat))).await;
    }
    stream.send(&bookmark(90)).await;
    stream.end().await;
    let stream = server.expect(&watch_at(90)).await.stream().await;
    stream.send(&event("ADDED", &node("b", "", 91, 0))).await;
    assert_eq!(names(&mut readings).await, ["a", "b"]);
}

#[tokio::test]
async fn a_burst_is_one_set() {
    let times = Times { gather: Duration::from_secs(2), ..SHORT };
    let (_server, mut readings, stream) = begun(times).await;
    let burst: String =
        (0..200).map(|at| event("ADDED", &node(&format!("n{at}"), "", 11 + at, 0))).collect();
    stream.send(&burst).await;
    assert_eq!(names(&mut readings).await.len(), 201);
}

#[tokio::test]
async fn a_receiver_that_is_busy_gets_the_latest_set() {
    let (mut server, mut readings, stream) = begun(SHORT).await;
    for at in 0..200 {
        stream.send(&event("ADDED", &node(&format!("n{at}"), "", 11 + at, 0))).await;
    }
    // All of it was read when the next watch begins.
    stream.end().await;
    let _stream = server.expect(&watch_at(210)).await.stream().await;
    let mut sets = 0;
    while names(&mut readings).await.len() < 201 {
        sets += 1;
    }
    // One waits in the channel; the other is made when that was taken.
    assert!(sets <= 1, "{sets} sets were kept for a receiver that did not receive");
}

#[tokio::test]
async fn pages_that_expire_are_read_again() {
    let mut server = started().await;
    let mut readings = follow(&server, SHORT);
    for _ in 0..2 {
        let request = server.expect("GET /api/v1/nodes?limit=100").await;
        request.json(200, &page(10, "x", &[node("a", "", 3, 0)])).await;
        server.expect("GET /api/v1/nodes?limit=100&continue=x").await.json(410, &gone()).await;
    }
    let nodes = [node("a", "", 3, 0), node("b", "", 12, 0)];
    server.expect("GET /api/v1/nodes?limit=100").await.json(200, &page(12, "", &nodes)).await;
    // Half a list is no set.
    assert_eq!(names(&mut readings).await, ["a", "b"]);
    server.expect(&watch_at(12)).await;
}

#[tokio::test]
async fn after_an_absence_a_list_finds_what_is_gone() {
    for by_event in [true, false] {
        let (mut server, mut readings, stream) = begun(SHORT).await;
        stream.end().await;
        let request = server.expect(&watch_at(10)).await;
        if by_event {
            request.stream().await.send(&event("ERROR", &gone())).await;
        } else {
            request.json(410, &gone()).await;
        }
        let nodes = [node("b", "", 1000, 0)];
        let request = server.expect("GET /api/v1/nodes?limit=100").await;
        request.json(200, &page(1001, "", &nodes)).await;
        assert_eq!(names(&mut readings).await, ["b"]);
        server.expect(&watch_at(1001)).await;
    }
}

#[tokio::test]
async fn a_list_that_finds_nothing_new_sends_nothing() {
    let (mut server, mut readings, stream) = begun(SHORT).await;
    stream.send(&event("ERROR", &gone())).await;
    let request = server.expect("GET /api/v1/nodes?limit=100").await;
    request.json(200, &page(50, "", &[node("a", "", 49, 7)])).await;
    let stream = server.expect(&watch_at(50)).await.stream().await;
    stream.send(&event("ADDED", &node("b", "", 51, 0))).await;
    assert_eq!(names(&mut readings).await, ["a", "b"]);
}

#[tokio::test]
async fn a_watch_that_goes_silent_is_begun_anew() {
    let times = Times { idle: Duration::from_millis(300), ..SHORT };
    let (mut server, mut readings, stream) = begun(times).await;
    stream.send(&bookmark(15)).await;
    // Its connection stays open, and nothing comes.
    let request = server.expect(&watch_at(15)).await;
    let other = request.stream().await;
    other.send(&event("ADDED", &node("b", "", 16, 0))).await;
    assert_eq!(names(&mut readings).await, ["a", "b"]);
    drop(stream);
}

#[tokio::test]
async fn an_api_server_that_restarts_is_followed_from_where_it_was() {
    let (mut server, mut readings, stream) = begun(SHORT).await;
    stream.send(&bookmark(15)).await;
    server.stop().await;
    let why = failure(&mut readings).await;
    assert!(why.contains("does not answer: ") && why.contains("refused"), "{why}");
    server.start().await;
    let stream = server.expect(&watch_at(15)).await.stream().await;
    // The set is in force again, and the receiver is told so.
    assert_eq!(names(&mut readings).await, ["a"]);
    stream.send(&event("ADDED", &node("b", "", 16, 0))).await;
    assert_eq!(names(&mut readings).await, ["a", "b"]);
    // A connection that is cut, and a server that is there, is nothing to tell.
    stream.cut().await;
    let stream = server.expect(&watch_at(16)).await.stream().await;
    stream.send(&event("DELETED", &node("a", "", 17, 0))).await;
    assert_eq!(names(&mut readings).await, ["b"]);
}

#[tokio::test]
async fn one_that_is_away_at_the_start_is_told_once() {
    let mut server = started().await;
    server.stop().await;
    let mut readings = follow(&server, SHORT);
    failure(&mut readings).await;
    server.start().await;
    let request = server.expect("GET /api/v1/nodes?limit=100").await;
    request.json(200, &page(10, "", &[])).await;
    assert_eq!(names(&mut readings).await, [""; 0]);
}

#[tokio::test]
async fn throttling_is_told_and_survived() {
    let mut server = started().await;
    let mut readings = follow(&server, SHORT);
    let busy = "{\"kind\": \"Status\", \"code\": 429, \"message\": \"too many requests\"}";
    let request = server.expect("GET /api/v1/nodes").await;
    request.json_with(429, "Retry-After: 1\r\n", busy).await;
    let told = tokio::time::Instant::now();
    assert!(failure(&mut readings).await.contains("it wants 1 s of rest"));
    let request = server.expect("GET /api/v1/nodes?limit=100").await;
    // What it wants is a lower bound.
    assert!(told.elapsed() > Duration::from_millis(500));
    request.json(200, &page(10, "", &[node("a", "", 3, 0)])).await;
    server.expect(&watch_at(10)).await.json_with(429, "Retry-After: 0\r\n", busy).await;
    assert_eq!(names(&mut readings).await, ["a"]);
    failure(&mut readings).await;
    // The watch alone is tried again.
    server.expect(&watch_at(10)).await.stream().await.send(&bookmark(11)).await;
    assert_eq!(names(&mut readings).await, ["a"]);
}

#[tokio::test]
async fn a_permission_that_is_withdrawn_is_told_and_the_set_stays() {
    let (mut server, mut readings, stream) = begun(SHORT).await;
    stream.end().await;
    let message = "nodes is forbidden: User \\\"system:serviceaccount:ferrule:route-sync\\\" cannot watch resource";
    let refused = format!("{{\"kind\": \"Status\", \"code\": 403, \"message\": \"{message}\"}}");
    for _ in 0..3 {
        server.expect(&watch_at(10)).await.json(403, &refused).await;
    }
    let why = failure(&mut readings).await;
    assert!(why.contains("service account route-sync of namespace ferrule watch nodes"), "{why}");
    server.expect(&watch_at(10)).await.stream().await.send(&bookmark(11)).await;
    assert_eq!(names(&mut readings).await, ["a"]);
}

#[tokio::test]
async fn a_token_that_rotates_is_read_again() {
    let (mut server, mut readings, stream) = begun(SHORT).await;
    server.write("token", "secret-2");
    stream.end().await;
    let unauthorized = "{\"kind\": \"Status\", \"code\": 401, \"message\": \"Unauthorized\"}";
    let request = server.expect(&watch_at(10)).await;
    request.json(401, unauthorized).await;
    assert!(failure(&mut readings).await.contains("does not accept the credentials"));
    let request = server.expect(&watch_at(10)).await;
    assert_eq!(request.header("authorization"), "Bearer secret-2");
    request.stream().await.send(&bookmark(11)).await;
    assert_eq!(names(&mut readings).await, ["a"]);
}

#[tokio::test]
async fn certificates_that_change_are_read_again() {
    let (mut server, mut readings, _stream) = begun(SHORT).await;
    server.stop().await;
    let authority = server.change_certificate();
    failure(&mut readings).await;
    server.start().await;
    let mut why = failure(&mut readings).await;
    while why.contains("does not answer") {
        why = failure(&mut readings).await;
    }
    assert!(why.contains("is not trusted: ") && why.contains("ca.crt"), "{why}");
    server.write("ca.crt", &authority);
    server.expect(&watch_at(10)).await.stream().await.send(&bookmark(11)).await;
    assert_eq!(names(&mut readings).await, ["a"]);
}

#[tokio::test]
async fn a_kind_that_is_not_there_may_be_an_empty_set() {
    let missing = "404 page not found";
    let mut server = started().await;
    let mut readings = follow(&server, SHORT);
    server.expect("GET /api/v1/nodes").await.json(404, missing).await;
    assert!(failure(&mut readings).await.contains("install its CustomResourceDefinition"));
    let mut server = started().await;
    let selection = Selection {
        fields: "spec.nodeName=a".to_owned(),
        labels: "x in (y)".to_owned(),
        optional: true,
    };
    let mut readings = watch_with(server.access(), selection, SHORT);
    let selected = "GET /api/v1/nodes?limit=100&fieldSelector=spec.nodeName%3Da&labelSelector=x%20in%20%28y%29";
    server.expect(selected).await.json(404, missing).await;
    assert_eq!(names(&mut readings).await, [""; 0]);
    // It may come later.
    server.expect(selected).await.json(200, &page(10, "", &[node("a", "", 3, 0)])).await;
    assert_eq!(names(&mut readings).await, ["a"]);
}

#[tokio::test]
async fn an_answer_that_is_not_understood_is_told() {
    let mut server = started().await;
    let mut readings = follow(&server, SHORT);
    server.expect("GET /api/v1/nodes").await.json(200, "<html>").await;
    let why = failure(&mut readings).await;
    assert!(why.contains("what the API server answers to list nodes is not understood"), "{why}");
    let request = server.expect("GET /api/v1/nodes?limit=100").await;
    request.json(200, &page(10, "", &[node("a", "", 3, 0)])).await;
    let stream = server.expect(&watch_at(10)).await.stream().await;
    assert_eq!(names(&mut readings).await, ["a"]);
    stream.send("{\"type\": \"ADDED\", \"object\": 7}\n").await;
    assert!(failure(&mut readings).await.contains("to watch nodes"));
}

#[tokio::test]
async fn a_kubeconfig_that_is_missing_is_named() {
    let access = Access::Kubeconfig("/nonexistent/config".into());
    let mut readings = watch_with::<Node>(access, Selection::default(), SHORT);
    let why = failure(&mut readings).await;
    assert!(why.starts_with("/nonexistent/config: "), "{why}");
}
