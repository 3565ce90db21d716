use super::*;
use crate::report::{Path, State};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

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

async fn get(address: SocketAddr, path: &str) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let request = format!("GET {path} HTTP/1.1\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).await.unwrap();
    text
}

/// Serves a loop that answers with these figures.
fn served(figures: Figures) -> SocketAddr {
    let (queries, mut asked) = mpsc::channel(16);
    tokio::spawn(async move {
        while let Some(query) = asked.recv().await {
            if let Query::Figures(to) = query {
                drop(to.send(figures.clone()));
            }
        }
    });
    listen("127.0.0.1:0".parse().unwrap(), queries).unwrap()
}

#[tokio::test]
async fn metrics_have_the_values_of_the_figures() {
    let body = get(served(figures()), "/metrics").await;
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
}

#[tokio::test]
async fn a_daemon_that_is_not_synced_is_healthy_and_not_ready() {
    let waits = Figures { not_ready: Some("no set yet".to_owned()), ..Figures::default() };
    let ready = get(served(waits.clone()), "/readyz").await;
    assert!(ready.starts_with("HTTP/1.1 503 ") && ready.ends_with("no set yet\n"), "{ready}");
    let health = get(served(waits), "/healthz").await;
    assert!(health.starts_with("HTTP/1.1 200 "), "{health}");
    let ready = get(served(figures()), "/readyz").await;
    assert!(ready.starts_with("HTTP/1.1 200 "), "{ready}");
}

/// The format's own rules: HELP and TYPE once for each name, counters end in `_total`.
#[test]
fn the_format_is_kept() {
    let text = metrics(&figures());
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
