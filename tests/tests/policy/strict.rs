//! Connections that a change forbids are cut, and others go on.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::time::Duration;

use crate::site::{Member, Probe, Site, app};
use ferrule_tests::node::Place;
use ferrule_tests::{patience, within};
use serde_json::json;

/// A connection whose ends are tried by a byte each way.
struct Open {
    client: TcpStream,
    server: TcpStream,
}

impl Open {
    fn between(from: &Member, to: &Member, nth: usize) -> Open {
        let at = SocketAddr::new(to.addresses[nth], 8080);
        let listener = to.pod.ns().enter(|| TcpListener::bind(at)).unwrap();
        let client = from.pod.ns().enter(|| TcpStream::connect(at)).unwrap();
        let server = listener.accept().unwrap().0;
        for end in [&client, &server] {
            end.set_read_timeout(Some(patience(Duration::from_millis(400)))).unwrap();
            end.set_nodelay(true).unwrap();
        }
        Open { client, server }
    }

    fn passes(&mut self) -> bool {
        let _ = self.client.write_all(b"a");
        let asked = self.server.read(&mut [0; 64]).is_ok_and(|length| length > 0);
        let _ = self.server.write_all(b"b");
        asked && self.client.read(&mut [0; 64]).is_ok_and(|length| length > 0)
    }

    /// Neither end gets through to the other.
    fn is_cut(&mut self) -> bool {
        let _ = self.client.write_all(b"a");
        let _ = self.server.write_all(b"b");
        let silent = |end: &mut TcpStream| end.read(&mut [0; 64]).is_err();
        silent(&mut self.server) && silent(&mut self.client)
    }
}

fn admit(site: &Site, name: &str) {
    site.policy(
        "shop",
        "web",
        &json!({
            "podSelector": app("web"), "ingress": [{"from": [{"podSelector": app(name)}]}],
        }),
    );
}

#[test]
fn what_is_forbidden_now_is_cut_and_what_is_allowed_goes_on() {
    let site = Site::new();
    let (web, one, two) =
        (site.pod("shop", "web"), site.pod("shop", "one"), site.pod("shop", "two"));
    for nth in [0, 1] {
        site.no_policy_if_any("shop", "web");
        site.expect(&one, &web, Probe::Tcp(9090), true);
        let mut forbidden = Open::between(&one, &web, nth);
        let mut allowed = Open::between(&two, &web, nth);
        assert!(forbidden.passes() && allowed.passes());
        admit(&site, "two");
        within(Duration::from_secs(10), || forbidden.is_cut().then_some(())).expect("cut");
        assert!(forbidden.is_cut(), "and stays so when its other end sends");
        assert!(allowed.passes());
        // Admitted again, TCP goes on where it was.
        admit(&site, "one");
        within(Duration::from_secs(20), || forbidden.passes().then_some(())).expect("goes on");
        within(Duration::from_secs(10), || allowed.is_cut().then_some(())).expect("cut");
    }
}

#[test]
fn a_udp_flow_ends_too_and_its_answers_do_not_bring_it_back() {
    let site = Site::new();
    let (web, one) = (site.pod("shop", "web"), site.pod("shop", "one"));
    let at = SocketAddr::new(web.addresses[0], 5353);
    let server = web.pod.ns().enter(|| UdpSocket::bind(at)).unwrap();
    let client = one.pod.ns().enter(|| UdpSocket::bind("0.0.0.0:4000")).unwrap();
    for end in [&server, &client] {
        end.set_read_timeout(Some(patience(Duration::from_millis(300)))).unwrap();
    }
    let back = SocketAddr::new(one.addresses[0], 4000);
    let passes = || {
        client.send_to(b"ask", at).unwrap();
        server.recv_from(&mut [0; 8]).is_ok()
    };
    let answers = || {
        server.send_to(b"say", back).unwrap();
        client.recv_from(&mut [0; 8]).is_ok()
    };
    assert!(passes() && answers());
    admit(&site, "nobody");
    within(Duration::from_secs(10), || (!passes()).then_some(())).expect("cut");
    for _ in 0..3 {
        assert!(!answers() && !passes());
    }
    admit(&site, "one");
    within(Duration::from_secs(10), || passes().then_some(())).expect("admitted again");
}

#[test]
fn without_strict_connections_go_on() {
    let site = Site::with("strict = false");
    let (web, one) = (site.pod("shop", "web"), site.pod("shop", "one"));
    let mut open = Open::between(&one, &web, 0);
    assert!(open.passes());
    admit(&site, "nobody");
    site.expect(&one, &web, Probe::Tcp(9090), false);
    assert!(open.passes());
}
