//! What fails is told, tried again with pauses, and forgotten when it is over.

use crate::common::{Node1, cluster, config, ip, nft, on_a_node, state, tunnels};
use net::Mac;
use node::Node;
use route_sync::config::{Config, Mode};
use route_sync::report::State;
use route_sync::source::nodes::NodeSet;
use std::fs;
use std::io::Write;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// The kernel refuses a gateway that it takes for a broadcast address.
const REFUSE: &str = "route add broadcast 192.0.2.2 dev eth0 table local";
const TAKE: &str = "route del broadcast 192.0.2.2 dev eth0 table local";

/// Somebody who owns the table `inet ferrule`: nobody else may change it until nft ends.
struct Owner(Child);

impl Owner {
    fn new() -> Owner {
        let spawned =
            Command::new("nft").arg("-i").stdin(Stdio::piped()).stdout(Stdio::null()).spawn();
        let mut child = spawned.unwrap_or_else(|e| panic!("nft: {e}: apt-get install nftables"));
        let text = b"add table inet ferrule { flags owner; }\n";
        child.stdin.as_mut().unwrap().write_all(text).unwrap();
        let owner = Owner(child);
        let begin = Instant::now();
        while !nft("list tables").contains("inet ferrule") {
            assert!(begin.elapsed() < Duration::from_secs(20), "nft makes no table");
            std::thread::yield_now();
        }
        owner
    }
}

impl Drop for Owner {
    fn drop(&mut self) {
        drop(self.0.stdin.take());
        let _ = self.0.wait();
    }
}

#[test]
fn what_another_vni_solves_is_forgotten() {
    on_a_node(|| {
        ip("link add vxlan.calico type vxlan id 100 dstport 4789 local 192.0.2.1 dev eth0");
        let mut node = Node1::new(&cluster(0));
        assert_eq!(node.sync.report().problems[0].what, "vxlan fvxlan.100");
        let mut config = config(node.run_dir.path());
        config.vxlan.vni = 7;
        node.sync.reconfigure(config);
        node.sync.work();
        node.settle();
        let report = node.sync.report();
        assert!(report.synced && report.problems.is_empty(), "{report:#?}");
        assert_eq!(node.sync.next_try(), None);
    });
}

#[test]
fn nothing_is_due_after_a_pass() {
    on_a_node(|| {
        let owner = Owner::new();
        let mut node = Node1::new(&cluster(0));
        let problems = |node: &Node1| {
            let problems = node.sync.report().problems;
            problems.into_iter().map(|problem| problem.what).collect::<Vec<_>>()
        };
        assert_eq!(problems(&node), ["nftables", "vxlan fvxlan.100"]);
        let report = node.sync.report();
        let why = &report.problems[1].error;
        assert!(why.starts_with("it is not made: its port cannot be guarded"), "{why}");
        assert!(!report.synced && tunnels().is_empty(), "its port would be open to everybody");
        assert!(ip("route show 10.1.2.0/24").contains("via 192.0.2.2"), "the rest is served");
        // Rules are not made of a set without this node.
        let mut set = cluster(0);
        set.nodes.remove(0);
        node.sync.set(&set, false);
        node.try_again();
        assert_eq!(problems(&node), ["nftables", "node own"]);
        let passes = node.sync.figures().passes;
        for _ in 0..100 {
            node.sync.work();
        }
        assert_eq!(node.sync.figures().passes, passes);
        node.sync.set(&cluster(0), false);
        node.sync.work();
        assert_eq!(problems(&node), ["nftables", "vxlan fvxlan.100"]);
        drop(owner);
        // Nobody has to wait until it is tried again.
        node.sync.ruleset_changed();
        node.sync.work();
        let report = node.sync.report();
        assert!(report.synced && report.problems.is_empty(), "{report:#?}");
        assert_eq!(tunnels(), ["fvxlan.100"]);
    });
}

/// A set of our name that is not like ours: the guard is not put, whatever is tried.
const IN_THE_WAY: &str = "add table inet ferrule; \
                          add set inet ferrule overlay-peers4 { type inet_service; }";

/// What carries packets goes on when its guard cannot be put, and is not made anew without it.
#[test]
fn a_tunnel_without_its_guard_stays_and_is_not_made() {
    on_a_node(|| {
        let mut node = Node1::new(&cluster(0));
        let before = state();
        nft("flush ruleset");
        nft(IN_THE_WAY);
        node.sync.pass("the interval is over");
        assert_eq!(state(), before);
        assert_eq!(node.sync.report().problems[0].what, "nftables");
        ip("link del fvxlan.100");
        node.settle();
        assert_eq!(tunnels(), [""; 0]);
        let far = ["10.1.3.0/24", "fd00:3::/64"].map(|cidr| cidr.parse().unwrap());
        let report = node.sync.report();
        let failing = report.cidrs.iter().filter(|entry| entry.state == State::Failing);
        assert_eq!(failing.map(|entry| entry.cidr).collect::<Vec<_>>(), far);
        nft("flush ruleset");
        node.sync.ruleset_changed();
        node.sync.work();
        node.settle();
        assert_eq!(state(), before);
        assert!(nft("list table inet ferrule").contains("udp dport 4789 drop"));
    });
}

/// The guard is of the configured port, and does not leave a device at another one behind, not
/// even when the node set is an earlier run's.
#[test]
fn a_tunnel_that_is_wanted_no_more_is_never_left_open() {
    on_a_node(|| {
        let mut node = Node1::new(&cluster(0));
        let change = |node: &mut Node1, alter: fn(&mut Config)| {
            let mut config = config(node.run_dir.path());
            alter(&mut config);
            node.sync.reconfigure(config);
            node.sync.set(&cluster(0), true);
            node.sync.work();
            let report = node.sync.report();
            assert!(report.problems.is_empty(), "{report:#?}");
        };
        change(&mut node, |config| (config.vxlan.vni, config.vxlan.port) = (7, 8472));
        assert_eq!(tunnels(), ["fvxlan.7"]);
        assert!(ip("-d link show type vxlan").contains("dstport 8472"));
        let guard = nft("list table inet ferrule");
        assert!(guard.contains("udp dport 8472 drop") && !guard.contains("4789"), "{guard}");
        change(&mut node, |config| config.vxlan.vni = 7);
        assert_eq!(tunnels(), ["fvxlan.7"]);
        assert!(nft("list table inet ferrule").contains("udp dport 4789 drop"));
        change(&mut node, |config| config.mode = Mode::Direct);
        assert_eq!(tunnels(), [""; 0]);
        assert!(!nft("list ruleset").contains("overlay"));
    });
}

#[test]
fn other_passes_lengthen_no_pause() {
    on_a_node(|| {
        ip(REFUSE);
        let mut node = Node1::new(&cluster(0));
        let begin = Instant::now();
        for _ in 0..20 {
            node.sync.pass("the interval is over");
        }
        // Each pause is at most as long as all the time before it, and two of the first.
        let pause = node.sync.next_try().unwrap().saturating_duration_since(Instant::now());
        assert!(pause <= 2 * begin.elapsed() + Duration::from_secs(2), "{pause:?}");
    });
}

/// Each entry was tried: what one of them lacks is shown, and keeps nobody from the others.
#[test]
fn one_entry_that_fails_keeps_no_pods_away() {
    on_a_node(|| {
        ip(REFUSE);
        let mut node = Node1::new(&cluster(0));
        let failing = |node: &Node1| {
            let cidrs = node.sync.report().cidrs;
            cidrs.iter().filter(|entry| entry.state == State::Failing).count()
        };
        assert!(node.sync.report().synced && node.sync.node().unwrap().synced);
        assert_eq!(failing(&node), 1);
        assert!(node.sync.summary().contains("1 failing"), "{}", node.sync.summary());
        ip(TAKE);
        node.try_again();
        assert_eq!(failing(&node), 0);
    });
}

/// A node that is not in its set has carried out nothing.
#[test]
fn without_this_node_nothing_is_carried_out() {
    on_a_node(|| {
        let mut set = cluster(0);
        let own = set.nodes.remove(0);
        let mut node = Node1::new(&set);
        assert!(!node.sync.report().synced && node.sync.node().is_none());
        set.nodes.push(own);
        node.sync.set(&set, false);
        node.sync.work();
        assert!(node.sync.report().synced && node.sync.node().unwrap().synced);
    });
}

#[test]
fn a_repair_that_is_refused_is_none() {
    on_a_node(|| {
        let mut node = Node1::new(&cluster(0));
        ip(REFUSE);
        ip("route del 10.1.2.0/24");
        node.settle();
        let failing = node.sync.report().cidrs.iter().any(|cidr| cidr.state == State::Failing);
        assert!(failing, "{:#?}", node.sync.report());
        assert_eq!(node.sync.figures().repairs, []);
        assert!(node.sync.figures().errors > 0);
    });
}

#[test]
fn node_json_is_kept_too() {
    on_a_node(|| {
        let mut node = Node1::new(&cluster(0));
        let path = Node::path(node.run_dir.path());
        let read = |node: &Node1| Node::read(node.run_dir.path()).unwrap();
        assert_eq!(read(&node), node.sync.node());
        let mac = Mac([0x02, 0x56, 192, 0, 2, 1]).to_string();
        assert_eq!(read(&node).unwrap().vxlan.unwrap().mac, mac);
        fs::remove_file(&path).unwrap();
        node.sync.pass("the interval is over");
        assert_eq!(read(&node), node.sync.node());
        // What cannot be written is a problem, and tried again.
        fs::remove_file(&path).unwrap();
        fs::create_dir(&path).unwrap();
        node.sync.pass("the interval is over");
        let report = node.sync.report();
        assert_eq!(report.problems[0].what, "node.json", "{report:#?}");
        fs::remove_dir(&path).unwrap();
        node.try_again();
        assert!(node.sync.report().problems.is_empty() && node.sync.next_try().is_none());
        // Nobody routes to the pods of a node that is in no set.
        let mut set = cluster(0);
        let own = set.nodes.remove(0);
        node.sync.set(&set, false);
        node.sync.work();
        let file = read(&node).unwrap();
        assert!(!file.synced && file.pod_cidrs == own.pod_cidrs, "{file:?}");
        node.sync.set(&cluster(0), false);
        node.sync.work();
        assert!(read(&node).unwrap().synced);
    });
}

/// The node set of [`cluster`] after this node and `near` have swapped their CIDRs.
fn swapped() -> NodeSet {
    let mut set = cluster(0);
    let [own, near, ..] = &mut set.nodes[..] else { unreachable!() };
    std::mem::swap(&mut own.pod_cidrs, &mut near.pod_cidrs);
    set
}

/// A CIDR that was this node's becomes another's: its route is refused, and the blackhole of before
/// is removed in the same pass. That solves nothing.
#[test]
fn a_refused_route_is_shown_until_it_is_there() {
    on_a_node(|| {
        let mut node = Node1::new(&cluster(0));
        ip("route add 10.1.1.0/24 via 192.0.2.9");
        ip("route add fd00:1::/64 via 2001:db8::9 metric 1024");
        node.sync.set(&swapped(), false);
        node.sync.work();
        node.settle();
        let of_near = |node: &Node1| -> Vec<State> {
            let cidrs = node.sync.report().cidrs.into_iter();
            cidrs.filter(|entry| entry.node == "near").map(|entry| entry.state).collect()
        };
        assert_eq!(of_near(&node), [State::Conflict, State::Conflict]);
        assert!(!ip("route show type blackhole").contains("10.1.1.0/24"));
        node.try_again();
        assert_eq!(of_near(&node), [State::Conflict, State::Conflict]);
        ip("route del 10.1.1.0/24 via 192.0.2.9");
        node.settle();
        assert_eq!(of_near(&node), [State::Synced, State::Conflict]);
        ip("route del fd00:1::/64 via 2001:db8::9 metric 1024");
        node.settle();
        assert_eq!(of_near(&node), [State::Synced, State::Synced]);
        assert!(ip("route get 10.1.1.5").contains("via 192.0.2.2"));
        assert!(ip("route get fd00:1::5").contains("via 2001:db8::2"));
        assert_eq!(node.sync.next_try(), None);
    });
}
