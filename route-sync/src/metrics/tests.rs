use super::*;
use crate::query::{Path, State};
use proptest::prelude::*;

fn figures() -> Figures {
    Figures {
        synced: true,
        nodes: 3,
        cidrs: vec![(Path::Direct, State::Synced, 2), (Path::None, State::Refused, 1)],
        desired: [4, 2, 1],
        pass_seconds: 0.25,
        repairs: vec![("route", 7)],
        bgp: crate::bgp::status::tests::report().peers,
        ..Figures::default()
    }
}

async fn get(address: SocketAddr, request: &str) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).await.unwrap();
    text
}

async fn served() -> (SocketAddr, mpsc::Receiver<Query>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (queries, asked) = mpsc::channel(16);
    start(listener, queries);
    (address, asked)
}

#[tokio::test]
async fn what_is_asked_is_answered() {
    let (address, mut asked) = served().await;
    tokio::spawn(async move {
        while let Some(query) = asked.recv().await {
            if let Query::Figures(to) = query {
                drop(to.send(figures()));
            }
        }
    });
    let text = get(address, "GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n").await;
    assert!(text.starts_with("HTTP/1.1 200 OK\r\n"), "{text}");
    let (head, body) = text.split_once("\r\n\r\n").unwrap();
    assert!(head.contains(&format!("Content-Length: {}\r\n", body.len())), "{head}");
    for line in [
        "# TYPE ferrule_route_sync_cidrs gauge",
        "ferrule_route_sync_cidrs{path=\"direct\",state=\"synced\"} 2",
        "ferrule_route_sync_cidrs{path=\"none\",state=\"refused\"} 1",
        "ferrule_route_sync_desired_objects{object=\"fdb\"} 1",
        "ferrule_route_sync_repairs_total{object=\"route\"} 7",
        "ferrule_route_sync_last_pass_duration_seconds 0.25",
        "ferrule_route_sync_synced 1",
        "ferrule_route_sync_bgp_session_up{peer=\"192.0.2.254\",asn=\"65100\"} 1",
        "ferrule_route_sync_bgp_session_up{peer=\"2001:db8::fe\",asn=\"65001\"} 0",
        "ferrule_route_sync_bgp_prefixes_rejected{peer=\"192.0.2.254\",asn=\"65100\"} 2",
        "ferrule_route_sync_bgp_prefixes_refused{peer=\"192.0.2.254\",asn=\"65100\"} 3",
    ] {
        assert!(body.lines().any(|l| l == line), "{line} is not in {body}");
    }
    let head = get(address, "HEAD /metrics HTTP/1.1\r\n\r\n").await;
    assert!(head.ends_with("\r\n\r\n") && head.contains("Content-Length: "), "{head}");
    for (request, status) in [
        ("GET /healthz?x=1 HTTP/1.0\r\n\r\n", "200"),
        ("GET /readyz HTTP/1.1\r\n\r\n", "200"),
        ("GET / HTTP/1.1\r\n\r\n", "404"),
        ("POST /metrics HTTP/1.1\r\nContent-Length: 0\r\n\r\n", "405"),
        ("nonsense\r\n\r\n", "400"),
    ] {
        let text = get(address, request).await;
        assert!(text.starts_with(&format!("HTTP/1.1 {status} ")), "{request}: {text}");
    }
}

#[tokio::test]
async fn a_loop_that_hangs_is_not_healthy() {
    let (address, _never_asked) = served().await;
    let text = get(address, "GET /healthz HTTP/1.1\r\n\r\n").await;
    assert!(text.starts_with("HTTP/1.1 503 "), "{text}");
}

#[tokio::test]
async fn a_daemon_that_is_not_synced_is_healthy_and_not_ready() {
    let (address, mut asked) = served().await;
    tokio::spawn(async move {
        while let Some(Query::Figures(to)) = asked.recv().await {
            drop(to.send(Figures::default()));
        }
    });
    let ready = get(address, "GET /readyz HTTP/1.1\r\n\r\n").await;
    assert!(ready.starts_with("HTTP/1.1 503 "), "{ready}");
    let health = get(address, "GET /healthz HTTP/1.1\r\n\r\n").await;
    assert!(health.starts_with("HTTP/1.1 200 "), "{health}");
}

/// The format's own rules: HELP and TYPE once for each name, counters end in `_total`.
#[test]
fn the_format_is_kept() {
    let text = text::metrics(&figures());
    let mut names = Vec::new();
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (name, kind) = rest.split_once(' ').unwrap();
            assert_eq!(name.ends_with("_total"), kind == "counter", "{line}");
            assert!(!names.contains(&name), "{name} twice");
            names.push(name);
        } else if !line.starts_with('#') {
            let name = line.split(['{', ' ']).next().unwrap();
            assert_eq!(names.last(), Some(&name), "{line} is under another name");
            line.rsplit(' ').next().unwrap().parse::<f64>().unwrap();
        }
    }
    let readme = include_str!("../../README.md");
    for name in names {
        assert!(readme.contains(name), "{name} is not in README.md");
    }
}

proptest! {
    #[test]
    fn no_head_panics(head in prop::collection::vec(any::<u8>(), 0..200), get in any::<bool>()) {
        let mut whole = if get { b"GET /".to_vec() } else { Vec::new() };
        whole.extend(head);
        let _ = request(&whole);
        whole.extend(b"\r\n\r\n");
        let _ = request(&whole);
    }
}
