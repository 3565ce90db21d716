//! What others delete or alter is mended, and what is others' is left alone.

use crate::common::{Node1, bridge, cluster, ip, on_a_node, state, underlay};
use route_sync::report::{Path, State};

#[test]
fn the_first_pass_makes_all() {
    on_a_node(|| {
        let node = Node1::new(&cluster(0));
        let four = ip("-4 route show proto 118");
        assert!(four.contains("blackhole 10.1.1.0/24 metric 1000000"), "{four}");
        assert!(four.contains("10.1.2.0/24 via 192.0.2.2 dev eth0"), "{four}");
        assert!(
            four.contains("10.1.3.0/24 via 10.1.3.0 dev fvxlan.100 src 10.1.1.0 onlink"),
            "{four}"
        );
        let six = ip("-6 route show proto 118");
        assert!(six.contains("blackhole fd00:1::/64 dev lo metric 1000000"), "{six}");
        assert!(six.contains("fd00:2::/64 via 2001:db8::2 dev eth0"), "{six}");
        assert!(
            six.contains("fd00:3::/64 via fe80::56:cbff:fe00:7103 dev fvxlan.100 src fd00:1::"),
            "{six}"
        );
        let report = node.sync.report();
        assert!(report.synced && report.problems.is_empty(), "{report:#?}");
        assert!(report.cidrs.iter().all(|entry| entry.state == State::Synced), "{report:#?}");
        let link = ip("-d link show dev fvxlan.100");
        assert!(link.contains("mtu 1450") && link.contains("02:56:c0:00:02:01"), "{link}");
        assert!(link.contains("nolearning"), "{link}");
        assert_eq!(node.sync.figures().repairs, [], "nobody altered anything");
    });
}

/// What somebody altered is a repair; what the daemon makes first, or otherwise since its own
/// wishes changed, is none.
#[test]
fn only_changes_by_other_programs_count_as_repairs() {
    on_a_node(|| {
        let mut node = Node1::new(&cluster(0));
        ip("link set eth0 mtu 1400");
        node.settle();
        let mut set = cluster(0);
        set.nodes[0].addresses[0] = "192.0.2.99".parse().unwrap();
        ip("address add 192.0.2.99/24 dev eth0");
        node.sync.set(&set, false);
        node.sync.work();
        node.settle();
        assert_eq!(node.sync.figures().repairs, []);
        ip("link del fvxlan.100");
        node.settle();
        assert_eq!(node.sync.figures().repairs, [("device", 1)]);
        ip("route del 10.1.2.0/24");
        node.settle();
        assert_eq!(node.sync.figures().repairs, [("device", 1), ("route", 1)]);
        std::fs::write("/proc/sys/net/ipv4/ip_forward", "0").unwrap();
        node.settle();
        let repairs = node.sync.figures().repairs;
        assert_eq!(repairs, [("device", 1), ("route", 1), ("forwarding", 1)]);
    });
}

/// Each thing that somebody may do to what is ours.
const HARM: &[&str] = &[
    "ip route del 10.1.2.0/24",
    "ip route del 10.1.3.0/24",
    "ip route del blackhole 10.1.1.0/24 metric 1000000",
    "ip -6 route del fd00:2::/64",
    "ip -6 route del fd00:3::/64",
    "ip -6 route del blackhole fd00:1::/64 metric 1000000",
    "ip route change 10.1.2.0/24 via 192.0.2.77 proto 118",
    "ip route change 10.1.3.0/24 via 10.1.3.0 dev fvxlan.100 onlink proto 118",
    "ip route change 10.1.2.0/24 via 192.0.2.2 mtu 1300 proto 118",
    "ip -6 route change fd00:2::/64 via 2001:db8::77 proto 118",
    "ip route append 10.1.2.0/24 via 192.0.2.77 proto 118",
    "ip route append 10.1.3.0/24 via 192.0.2.77 proto 118",
    "ip route append blackhole 10.1.2.0/24 proto 118",
    "ip -6 route append fd00:2::/64 via 2001:db8::77 proto 118",
    "ip route add 10.9.9.0/24 via 192.0.2.9 proto 118",
    "ip neighbour del 10.1.3.0 dev fvxlan.100",
    "ip neighbour replace 10.1.3.0 lladdr 02:00:00:00:00:09 dev fvxlan.100",
    "ip neighbour add 10.1.9.0 lladdr 02:00:00:00:00:09 dev fvxlan.100",
    "ip neighbour del fe80::56:cbff:fe00:7103 dev fvxlan.100",
    "ip neighbour flush dev fvxlan.100 nud permanent",
    "bridge fdb del 02:56:cb:00:71:03 dev fvxlan.100 dst 203.0.113.3",
    "bridge fdb replace 02:56:cb:00:71:03 dev fvxlan.100 dst 203.0.113.9",
    "bridge fdb append 00:00:00:00:00:00 dev fvxlan.100 dst 203.0.113.9",
    "ip link del fvxlan.100",
    "ip link set fvxlan.100 down",
    "ip link set fvxlan.100 mtu 1300",
    "ip link set fvxlan.100 address 02:00:00:00:00:07",
    "ip link set fvxlan.100 type vxlan learning",
    "ip address del 10.1.1.0/32 dev fvxlan.100",
    "ip address add 10.1.77.0/32 dev fvxlan.100",
    "ip address del fd00:1::/128 dev fvxlan.100",
    "ip address flush dev fvxlan.100",
    "ip route flush proto 118",
];

#[test]
fn every_change_by_another_program_is_repaired() {
    on_a_node(|| {
        let mut node = Node1::new(&cluster(0));
        let before = state();
        for harm in HARM {
            let (program, args) = harm.split_once(' ').unwrap();
            if program == "ip" {
                ip(args)
            } else {
                bridge(args)
            };
            node.settle();
            assert_eq!(state(), before, "after {harm}");
            let report = node.sync.report();
            let well = report.cidrs.iter().all(|entry| entry.state == State::Synced);
            assert!(well && report.problems.is_empty(), "after {harm}: {report:#?}");
        }
    });
}

#[test]
fn the_underlay_is_followed() {
    on_a_node(|| {
        let mut node = Node1::new(&cluster(0));
        ip("link set eth0 mtu 1400");
        node.settle();
        assert!(ip("link show dev fvxlan.100").contains("mtu 1350"));
        assert_eq!(node.sync.node().unwrap().mtu, 1350);
        ip("link set eth0 mtu 1500");
        node.settle();
        let before = state();
        ip("link set eth0 down");
        node.settle();
        ip("link set eth0 up");
        ip("address add 2001:db8::1/64 dev eth0 nodad");
        node.settle();
        assert_eq!(state(), before);
        ip("link del eth0");
        node.settle();
        assert!(!node.sync.report().problems.is_empty());
        underlay("uplink0");
        node.settle();
        assert!(ip("route show proto 118").contains("10.1.2.0/24 via 192.0.2.2 dev uplink0"));
        assert!(node.sync.report().problems.is_empty(), "{:#?}", node.sync.report());
    });
}

#[test]
fn a_foreign_route_is_reported_and_left_alone() {
    on_a_node(|| {
        ip("route add 10.1.2.0/24 via 192.0.2.50");
        ip("route add 10.1.3.0/24 via 192.0.2.50 proto static");
        let mut node = Node1::new(&cluster(0));
        let states = |node: &Node1, state| {
            let report = node.sync.report();
            report.cidrs.iter().filter(|entry| entry.state == state).count()
        };
        assert_eq!(states(&node, State::Conflict), 2);
        assert!(ip("route show 10.1.2.0/24").contains("via 192.0.2.50"));
        ip("route del 10.1.2.0/24");
        node.settle();
        assert_eq!(states(&node, State::Conflict), 1);
        assert!(ip("route show 10.1.2.0/24").contains("proto 118"));
        // Somebody's replacing is somebody's wish.
        ip("route replace 10.1.2.0/24 via 192.0.2.51");
        node.settle();
        assert_eq!(states(&node, State::Conflict), 2);
        assert!(ip("route show 10.1.2.0/24").contains("via 192.0.2.51"));
    });
}

/// The kernel refuses a gateway that it takes for a broadcast address.
#[test]
fn one_that_is_refused_holds_nothing_up_and_is_tried_again() {
    on_a_node(|| {
        ip("route add broadcast 192.0.2.2 dev eth0 table local");
        let mut node = Node1::new(&cluster(3));
        let failing = |node: &Node1| {
            let report = node.sync.report();
            let failing = report.cidrs.into_iter().filter(|entry| entry.state == State::Failing);
            failing.map(|entry| (entry.cidr.to_string(), entry.error.unwrap())).collect::<Vec<_>>()
        };
        let refused = failing(&node);
        assert!(refused.len() == 1 && refused[0].0 == "10.1.2.0/24", "{refused:?}");
        let (what, cause) = ("create route 10.1.2.0/24 via 192.0.2.2: ", "invalid gateway");
        assert!(refused[0].1.starts_with(what) && refused[0].1.ends_with(cause), "{refused:?}");
        assert!(ip("route show proto 118").contains("11.0.2.0/24"), "the rest is served");
        let first = node.sync.next_try().expect("it is tried again");
        std::thread::sleep(first.saturating_duration_since(std::time::Instant::now()));
        node.sync.work();
        assert_eq!(failing(&node), refused);
        assert!(node.sync.next_try().unwrap() > first + std::time::Duration::from_millis(500));
        ip("route del broadcast 192.0.2.2 dev eth0 table local");
        let next = node.sync.next_try().unwrap();
        std::thread::sleep(next.saturating_duration_since(std::time::Instant::now()));
        node.settle();
        assert_eq!((failing(&node), node.sync.next_try()), (vec![], None));
        assert!(ip("route show proto 118").contains("10.1.2.0/24 via 192.0.2.2 dev eth0"));
    });
}

#[test]
fn a_node_that_leaves_takes_its_routes_along_and_a_cidr_moves() {
    on_a_node(|| {
        let mut node = Node1::new(&cluster(3));
        let mut set = cluster(3);
        let moved = set.nodes.pop().unwrap();
        set.nodes[2].pod_cidrs.extend(moved.pod_cidrs);
        node.sync.set(&set, false);
        node.sync.work();
        let report = node.sync.report();
        let of_far = report.cidrs.iter().filter(|entry| entry.node == "far");
        assert_eq!(of_far.filter(|entry| entry.path == Path::Vxlan).count(), 4);
        assert!(ip("route show 11.0.2.0/24").contains("via 10.1.3.0"));
        node.sync.set(&cluster(0), false);
        node.sync.work();
        assert!(!ip("route show proto 118").contains("11.0."));
        assert_eq!(bridge("fdb show dev fvxlan.100").lines().count(), 1);
    });
}

/// What the daemon itself took away and made again is nobody's doing.
#[test]
fn a_node_that_leaves_and_comes_back_at_once_is_no_repair() {
    on_a_node(|| {
        let mut node = Node1::new(&cluster(3));
        let (before, errors) = (state(), node.sync.figures().errors);
        for set in [cluster(0), cluster(3)] {
            node.sync.set(&set, false);
            node.sync.work();
        }
        node.settle();
        assert_eq!((node.sync.figures().repairs, node.sync.figures().errors), (vec![], errors));
        assert_eq!(state(), before);
    });
}

/// An earlier run's set adds, and takes nothing away.
#[test]
fn a_kept_set_sweeps_nothing() {
    on_a_node(|| {
        let mut node = Node1::new(&cluster(3));
        node.sync.set(&cluster(0), true);
        node.sync.work();
        assert!(ip("route show proto 118").contains("11.0.2.0/24"));
        node.sync.set(&cluster(0), false);
        node.sync.work();
        assert!(!ip("route show proto 118").contains("11.0.2.0/24"));
    });
}

#[test]
fn a_device_of_another_is_left_alone_and_named() {
    on_a_node(|| {
        ip("link add vxlan.calico type vxlan id 100 dstport 4789 local 192.0.2.1 dev eth0");
        let mut node = Node1::new(&cluster(0));
        let report = node.sync.report();
        assert!(!report.synced);
        assert!(
            report.problems[0].error.contains("device vxlan.calico has VNI 100"),
            "{report:#?}"
        );
        // What needs no tunnel is served.
        assert!(ip("route show 10.1.2.0/24").contains("via 192.0.2.2"));
        // By then it is tried again every few seconds: the event is what counts.
        for _ in 0..3 {
            let next = node.sync.next_try().unwrap();
            std::thread::sleep(next.saturating_duration_since(std::time::Instant::now()));
            node.sync.work();
        }
        ip("link del vxlan.calico");
        node.settle();
        assert!(node.sync.report().synced, "{:#?}", node.sync.report());
    });
}

#[test]
fn fifty_thousand_foreign_changes_lose_nothing() {
    on_a_node(|| {
        let mut node = Node1::new(&cluster(0));
        let before = state();
        let mut batch = String::new();
        for at in 0..25_000u32 {
            let (high, low) = (at / 250, at % 250);
            batch += &format!(
                "route add 172.{}.{}.{low}/32 via 192.0.2.9\n",
                16 + high / 250,
                high % 250
            );
        }
        batch += "route del 10.1.2.0/24\nneighbour del 10.1.3.0 dev fvxlan.100\n";
        batch += &batch
            .clone()
            .lines()
            .take(25_000)
            .map(|l| l.replace("add", "del") + "\n")
            .collect::<String>();
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), batch).unwrap();
        ip(&format!("-batch {}", file.path().display()));
        node.settle();
        assert_eq!(state(), before);
        assert!(node.sync.figures().overruns > 0, "50,000 notifications fit the buffer");
    });
}
