//! The daemon from outside: its configuration read anew, its metrics, its privileges, what it
//! reports to systemd.

use crate::cluster::{ALL, Cluster, LOG, Member, network};
use ferrule_tests::node::Place;
use ferrule_tests::packets::{first_ping, ping};
use ferrule_tests::within;
use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixDatagram;
use std::time::Duration;

const CONFIG: &str = "/run/route-sync.toml";
const LIMIT: Duration = Duration::from_secs(10);

/// Waits until a member's status says this of a CIDR's path.
fn path_is(member: &Member, cidr: &str, path: &str, state: &str) {
    member.status_when(|status| {
        let mut cidrs = status["cidrs"].as_array().into_iter().flatten();
        let entry = cidrs.find(|entry| entry["cidr"] == cidr);
        entry.is_some_and(|entry| entry["path"] == path && entry["state"] == state)
    });
}

#[test]
fn the_configuration_is_read_anew_when_it_changes() {
    let cluster = Cluster::new();
    let (near, _) = cluster.members[0].pod();
    let (_two, on_link) = cluster.members[1].pod();
    let all = |from: &str, to: &str| {
        for member in &cluster.members {
            let text = member.node.read(CONFIG);
            assert!(text.contains(from), "{text}");
            member.node.write("/run/new.toml", &(text.replacen(from, to, 1) + "\n"));
            member.node.run(&format!("mv /run/new.toml {CONFIG}"));
        }
    };
    let flows = || {
        let flows = || on_link.iter().all(|to| first_ping(&near, to)).then_some(());
        within(LIMIT, flows).unwrap_or_else(|| panic!("{}", cluster.members[0].log()));
    };
    let member = &cluster.members[0];
    path_is(member, "10.244.2.0/24", "direct", "synced");
    all("[source]", "mode = \"vxlan\"\n[source]");
    path_is(member, "10.244.2.0/24", "vxlan", "synced");
    flows();
    // Another VNI is another device, and the old one goes.
    all("mode = \"vxlan\"\n[source]", "[vxlan]\nvni = 7\n[source]");
    path_is(member, "10.244.2.0/24", "direct", "synced");
    let devices = || member.node.run("ip -br link show type vxlan");
    let only = within(LIMIT, || (!devices().contains("fvxlan.100")).then_some(()));
    assert!(only.is_some() && devices().contains("fvxlan.7"), "{}", devices());
    flows();
    // One with errors changes nothing, and each is reported.
    let before = member.kept();
    let right = member.node.read(CONFIG);
    member.node.write(CONFIG, &(right.replace("vni = 7", "vni = 0\ntypo = 1") + "\n"));
    let reported = || member.log().contains("the configuration stands as it was").then_some(());
    within(LIMIT, reported).expect("a wrong configuration is reported");
    for part in ["vxlan.vni is 0", "typo"] {
        assert!(member.log().contains(part), "{}", member.log());
    }
    assert_eq!(member.kept(), before);
    // SIGHUP is enough where no notification reports the change.
    member.node.write(CONFIG, &(right.replace("vni = 7", "vni = 100") + "\n"));
    member.node.sh(&format!("kill -HUP {}", member.pid()));
    within(LIMIT, || devices().contains("fvxlan.100").then_some(())).expect("it is read anew");
}

/// The new way is there before the old one goes, and the tunnel is never there without its guard.
#[test]
fn a_switch_of_modes_opens_no_gap() {
    let cluster = Cluster::with("mode = \"vxlan\"", &["one", "two"]);
    let member = &cluster.members[0];
    let switch = |from: &str, to: &str, path: &str| {
        let (text, logged) = (member.node.read(CONFIG), member.log().len());
        let (from, to) = (format!("mode = \"{from}\""), format!("mode = \"{to}\""));
        assert!(text.contains(&from), "{text}");
        member.node.write(CONFIG, &(text.replace(&from, &to) + "\n"));
        member.node.sh(&format!("kill -HUP {}", member.pid()));
        path_is(member, "10.244.2.0/24", path, "synced");
        member.log().split_off(logged)
    };
    let follow = |log: &str, parts: &[&str]| {
        let places: Vec<_> = parts.iter().map(|part| log.find(part)).collect();
        assert!(places.is_sorted() && places.iter().all(Option::is_some), "{parts:?}:\n{log}");
    };
    let log = switch("vxlan", "direct", "direct");
    for cidr in ["10.244.2.0/24", "fd00:10:244:2::/64"] {
        let replaced = format!("replace route {cidr}");
        follow(&log, &[&replaced, "removed: the configuration", "nftables rules put in step"]);
    }
    let log = switch("direct", "vxlan", "vxlan");
    let replaced = "replace route 10.244.2.0/24";
    follow(&log, &["nftables rules put in step", "made device fvxlan.100", replaced]);
}

fn get(member: &Member, path: &str) -> String {
    member.node.ns().enter(|| {
        let mut stream = TcpStream::connect("127.0.0.1:9478").expect("connect to the metrics");
        write!(stream, "GET {path} HTTP/1.1\r\nHost: node\r\n\r\n").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    })
}

#[test]
fn metrics_count_and_nothing_but_net_admin_is_kept() {
    let mut cluster = Cluster::new();
    let member = &mut cluster.members[0];
    let text = member.node.read(CONFIG);
    member.kill();
    member.node.write(CONFIG, &(text + "\n[metrics]\nlisten = \"127.0.0.1:9478\"\n"));
    member.start();
    member.in_sync();
    assert!(get(member, "/healthz").starts_with("HTTP/1.1 200"));
    assert!(get(member, "/readyz").starts_with("HTTP/1.1 200"));
    let has = |line: &str| get(member, "/metrics").lines().any(|found| found == line);
    assert!(has("ferrule_route_sync_nodes 3"), "{}", get(member, "/metrics"));
    assert!(has("ferrule_route_sync_cidrs{path=\"vxlan\",state=\"synced\"} 2"));
    assert!(!get(member, "/metrics").contains("repairs_total{"), "no program altered anything");
    member.node.run("ip route del 10.244.3.0/24");
    let counted = || has("ferrule_route_sync_repairs_total{object=\"route\"} 1").then_some(());
    within(LIMIT, counted).unwrap_or_else(|| panic!("{}", get(member, "/metrics")));
    // CAP_NET_ADMIN is bit 12.
    let status = std::fs::read_to_string(format!("/proc/{}/status", member.pid())).unwrap();
    for line in ["CapPrm:\t0000000000001000", "CapEff:\t0000000000001000", "NoNewPrivs:\t1"] {
        assert!(status.contains(line), "{line} is not in {status}");
    }
}

/// What the kernel refuses of one node is shown, and keeps no pods away from the others.
#[test]
fn one_broken_peer_keeps_no_pods_away() {
    let mut cluster = Cluster::with("[metrics]\nlisten = \"127.0.0.1:9478\"", &ALL);
    let (_far, addresses) = cluster.members[2].pod();
    let member = &mut cluster.members[0];
    member.kill();
    member.node.run(&member.command("cleanup"));
    // The kernel refuses a gateway that it takes for a broadcast address.
    member.node.run("ip route add broadcast 192.0.2.2 dev eth0 table local");
    member.start();
    path_is(member, "10.244.2.0/24", "direct", "failing");
    path_is(member, "10.244.3.0/24", "vxlan", "synced");
    assert_eq!(member.status().unwrap()["synced"], true);
    assert_eq!(member.node.try_run(&member.command("status")).status.code(), Some(1));
    assert!(get(member, "/readyz").starts_with("HTTP/1.1 200"));
    let failing = "ferrule_route_sync_cidrs{path=\"direct\",state=\"failing\"} 1";
    assert!(get(member, "/metrics").contains(failing), "{}", get(member, "/metrics"));
    let pod = member.node.pod();
    member.node.attach(&network(), &pod).status().ok();
    let (near, _) = member.pod();
    addresses.iter().for_each(|address| ping(&near, address));
    // It is tried again.
    member.node.run("ip route del broadcast 192.0.2.2 dev eth0 table local");
    path_is(member, "10.244.2.0/24", "direct", "synced");
}

/// SIGTERM ends it with 0, and all flows on.
#[test]
fn systemd_is_notified_and_stopping_leaves_all() {
    let mut cluster = Cluster::new();
    let (near, _) = cluster.members[0].pod();
    let (_far, addresses) = cluster.members[2].pod();
    let member = &mut cluster.members[0];
    member.kill();
    let manager = member.node.ns().enter(|| UnixDatagram::bind("/run/notify").unwrap());
    manager.set_read_timeout(Some(LIMIT)).unwrap();
    member.start_with(&[("NOTIFY_SOCKET", "/run/notify")]);
    let log = member.node.ns().duplicate();
    let received = |wanted: &str| {
        let mut all = vec![];
        let mut text = [0; 512];
        loop {
            match manager.recv(&mut text) {
                Ok(length) => all.push(String::from_utf8_lossy(&text[..length]).into_owned()),
                // A receive with a time limit is not begun anew after a signal (signal(7)).
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(_) => break,
            }
            if all.last().is_some_and(|last| last.contains(wanted)) {
                return;
            }
        }
        panic!(
            "{wanted} is not reported, but {all:?}: {}",
            log.enter(|| std::fs::read_to_string(LOG).unwrap_or_default())
        );
    };
    received("READY=1");
    received("STATUS=3 nodes, 6 CIDRs");
    member.node.run("ip route replace 10.244.3.0/24 via 192.0.2.77");
    received("STATUS=3 nodes, 6 CIDRs, 1 failing");
    member.node.run("ip route del 10.244.3.0/24 via 192.0.2.77");
    received("STATUS=3 nodes, 6 CIDRs");
    member.in_sync();
    let before = member.kept();
    let pid = member.pid();
    member.node.sh(&format!("kill -TERM {pid}"));
    received("STOPPING=1");
    let ended = || (!member.daemon.as_mut().unwrap().running()).then_some(());
    within(LIMIT, ended).expect("SIGTERM ends it");
    assert!(member.log().contains("stopped; routes and tunnel stay"), "{}", member.log());
    assert_eq!(member.kept(), before);
    addresses.iter().for_each(|address| ping(&near, address));
}
