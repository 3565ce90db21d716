//! A pod that sends from its first instruction: nothing passes before its policy is in force.

use std::net::{SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use crate::site::{Site, app};
use ferrule_tests::node::Place;
use ferrule_tests::{Pod, long, within};
use serde_json::json;

fn starts() -> usize {
    if long() { 500 } else { 25 }
}

/// Sends to both addresses as soon as there is a route and until told to stop.
fn send(pod: &Pod, to: &[SocketAddr], stop: &AtomicBool, sent: &AtomicUsize) {
    let bind = |at: &SocketAddr| {
        let any = if at.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
        pod.ns().enter(|| UdpSocket::bind(any)).expect("bind")
    };
    let sockets: Vec<_> = to.iter().map(|at| (bind(at), at)).collect();
    while !stop.load(Ordering::Relaxed) {
        for (socket, at) in &sockets {
            if socket.send_to(b"first", at).is_ok() {
                sent.fetch_add(1, Ordering::Relaxed);
            }
        }
        std::thread::yield_now();
    }
}

fn run(site: &mut Site, meanwhile: impl Fn(&mut Site, usize)) {
    site.policy(
        "shop",
        "silent",
        &json!({"podSelector": app("silent"), "policyTypes": ["Egress"]}),
    );
    // Files are read some time after they are written; the first packet is about what is known.
    let status = site.command("status --json");
    let known = || site.node.try_run(&status).stdout.contains("\"policies\": 1").then_some(());
    within(Duration::from_secs(20), known).expect("the policy is known");
    let sink = site.pod("other", "sink");
    let at: Vec<_> = sink.addresses.iter().map(|address| SocketAddr::new(*address, 4000)).collect();
    let receivers: Vec<_> =
        at.iter().map(|at| sink.pod.ns().enter(|| UdpSocket::bind(at)).expect("bind")).collect();
    receivers.iter().for_each(|one| one.set_nonblocking(true).expect("nonblocking"));
    let received = || receivers.iter().any(|one| one.recv_from(&mut [0; 8]).is_ok());
    site.describe("shop", "silent", &json!({"app": "silent"}));
    for nth in 0..starts() {
        meanwhile(site, nth);
        let (pod, stop, sent) = (Pod::new(), AtomicBool::new(false), AtomicUsize::new(0));
        std::thread::scope(|scope| {
            scope.spawn(|| send(&pod, &at, &stop, &sent));
            let attachment = site.attachment(&pod, "shop", "silent");
            let result = attachment.add();
            let enough = || (sent.load(Ordering::Relaxed) > 20).then_some(());
            within(Duration::from_secs(20), enough).expect("it sends");
            stop.store(true, Ordering::Relaxed);
            assert!(!received(), "start {nth}: a packet passed\n{}", site.log());
            attachment.del(Some(&result));
        });
    }
    // The same pod is heard as soon as no policy selects it.
    site.describe("shop", "silent", &json!({"app": "loud"}));
    let (pod, stop, sent) = (Pod::new(), AtomicBool::new(false), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        scope.spawn(|| send(&pod, &at, &stop, &sent));
        site.attachment(&pod, "shop", "silent").add();
        let done = within(Duration::from_secs(20), || received().then_some(()));
        stop.store(true, Ordering::Relaxed);
        done.unwrap_or_else(|| panic!("nothing is received\n{}", site.log()));
    });
}

#[test]
fn nothing_passes_before_the_policy() {
    run(&mut Site::new(), |_, _| {});
}

#[test]
fn nothing_passes_while_the_daemon_comes_and_goes() {
    run(&mut Site::with("add-wait = 50"), |site, nth| match nth % 4 {
        1 => site.kill(),
        3 => site.start(),
        _ => {}
    });
}
