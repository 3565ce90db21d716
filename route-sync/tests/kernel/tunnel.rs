//! A tunnel that is not as it shall be: what it can carry it carries, and it is never open.

use crate::common::{Node1, cluster, config, ip, nft, on_a_node, state, tunnels};
use nix::sched::{CloneFlags, unshare};
use route_sync::cleanup::cleanup;
use route_sync::config::Mode;
use route_sync::report::State;
use std::fs;
use std::process::Command;

fn mount(args: &str) {
    let done = Command::new("mount").args(args.split(' ')).status();
    assert!(done.unwrap_or_else(|e| panic!("mount: {e}: apt install mount")).success(), "{args}");
}

/// Makes /proc/sys read-only, as container runtimes do, for this test alone.
fn no_sysctl_can_be_set() {
    unshare(CloneFlags::CLONE_NEWNS).unwrap();
    mount("--make-rprivate /");
    mount("--bind /proc/sys /proc/sys");
    mount("-o remount,ro,bind /proc/sys");
}

fn problems(node: &Node1) -> Vec<String> {
    node.sync.report().problems.into_iter().map(|problem| problem.what).collect()
}

fn failing(node: &Node1) -> Vec<String> {
    let cidrs = node.sync.report().cidrs.into_iter();
    cidrs.filter(|cidr| cidr.state == State::Failing).map(|cidr| cidr.cidr.to_string()).collect()
}

#[test]
fn one_that_cannot_be_mended_carries_what_it_can() {
    on_a_node(|| {
        let mut node = Node1::new(&cluster(0));
        let (before, four) = (state(), ip("-4 route show proto 118"));
        fs::write("/proc/sys/net/ipv6/conf/fvxlan.100/disable_ipv6", "1").unwrap();
        no_sysctl_can_be_set();
        node.settle();
        assert_eq!(ip("-4 route show proto 118"), four);
        assert!(ip("-6 route show fd00:2::/64").contains("via 2001:db8::2 dev eth0"));
        assert_eq!(
            (problems(&node), failing(&node)),
            (vec!["vxlan fvxlan.100".to_owned()], vec!["fd00:3::/64".to_owned()])
        );
        mount("-o remount,rw,bind /proc/sys");
        node.try_again();
        node.settle();
        assert_eq!((state(), problems(&node)), (before, vec![]));
    });
}

#[test]
fn what_ipv6_lacks_is_no_matter_of_ipv4() {
    on_a_node(|| {
        fs::write("/proc/sys/net/ipv6/conf/default/disable_ipv6", "1").unwrap();
        no_sysctl_can_be_set();
        let node = Node1::new(&cluster(0));
        let link = ip("-d link show dev fvxlan.100");
        assert!(link.contains("alias ferrule vxlan") && link.contains(",UP"), "{link}");
        let four = ip("-4 route show proto 118");
        assert!(four.contains("10.1.3.0/24 via 10.1.3.0 dev fvxlan.100 src 10.1.1.0"), "{four}");
        assert!(four.contains("10.1.2.0/24 via 192.0.2.2 dev eth0 src 10.1.1.0"), "{four}");
        assert!(ip("-6 route show fd00:2::/64").contains("via 2001:db8::2 dev eth0"));
        let problems = node.sync.report().problems;
        let named = problems.iter().any(|problem| problem.error.contains("disable_ipv6"));
        assert!(named, "{problems:?}");
        assert!(node.sync.report().synced && failing(&node) == ["fd00:3::/64"]);
    });
}

/// A maker that was killed before it marked it.
const UNMARKED: &str = "link add fvxlan.7 address 02:56:c0:00:02:01 type vxlan id 7 dstport 4789 \
                        local 192.0.2.1 dev eth0 nolearning";

#[test]
fn one_that_its_maker_did_not_live_to_mark_is_ours() {
    on_a_node(|| {
        ip(UNMARKED);
        let node = Node1::new(&cluster(0));
        assert_eq!(tunnels(), ["fvxlan.100"]);
        let config = config(node.run_dir.path());
        drop(node);
        ip(UNMARKED);
        ip("link add others type vxlan id 8 dstport 4789 local 192.0.2.1 dev eth0");
        let cleaned = cleanup(&config).unwrap();
        assert!(cleaned.removed.contains(&"device fvxlan.7".to_owned()), "{cleaned:?}");
        assert_eq!(tunnels(), ["others"]);
    });
}

/// It stays up, and so does what keeps strangers from it.
#[test]
fn its_guard_is_kept_while_this_node_is_in_no_set() {
    on_a_node(|| {
        let mut node = Node1::new(&cluster(0));
        let guard = || nft("list table inet ferrule");
        let before = guard();
        let mut set = cluster(0);
        set.nodes.remove(0);
        node.sync.set(&set, false);
        node.sync.work();
        nft("flush ruleset");
        node.sync.ruleset_changed();
        node.settle();
        assert_eq!((tunnels(), guard()), (vec!["fvxlan.100".to_owned()], before.clone()));
        nft("flush ruleset");
        node.sync.pass("the interval is over");
        assert_eq!(guard(), before);
        // Nor while the underlay is away.
        node.sync.set(&cluster(0), false);
        node.sync.work();
        ip("address flush dev eth0");
        node.settle();
        assert_eq!(problems(&node), ["node own"]);
        nft("flush ruleset");
        node.sync.ruleset_changed();
        assert_eq!(guard(), before);
    });
}

#[test]
fn what_was_done_to_it_without_its_guard_is_mended_with_it() {
    on_a_node(|| {
        let mut node = Node1::new(&cluster(0));
        let before = state();
        nft("flush ruleset");
        nft(IN_THE_WAY);
        node.sync.pass("the interval is over");
        ip("link set fvxlan.100 mtu 1300");
        node.settle();
        assert!(ip("link show dev fvxlan.100").contains("mtu 1300"), "it is not guarded");
        nft("flush ruleset");
        node.sync.ruleset_changed();
        node.sync.work();
        node.settle();
        assert_eq!((state(), problems(&node)), (before, vec![]));
    });
}

/// A set of our name that is not like ours: the rules are not put, whatever is tried.
const IN_THE_WAY: &str = "add table inet ferrule; \
                          add set inet ferrule cluster4 { type inet_service; }";

/// Then the rules are for masquerade alone, and pods are reached without.
#[test]
fn where_there_is_none_nothing_waits_for_its_guard() {
    on_a_node(|| {
        nft(IN_THE_WAY);
        let mut node = Node1::new(&cluster(0));
        assert!(!node.sync.report().synced);
        let mut config = config(node.run_dir.path());
        config.mode = Mode::Direct;
        node.sync.reconfigure(config);
        node.sync.work();
        assert!(node.sync.report().synced && node.sync.node().unwrap().synced);
        assert_eq!(problems(&node), ["nftables"]);
    });
}

/// Fabrics that route have a node's address on its loopback device.
#[test]
fn one_from_the_loopback_device_is_bound_to_no_link() {
    on_a_node(|| {
        let mut node = Node1::new(&cluster(0));
        ip("address del 192.0.2.1/24 dev eth0");
        ip("address add 10.9.9.9/24 dev eth0");
        ip("address add 192.0.2.1/32 dev lo");
        node.settle();
        let link = ip("-d link show dev fvxlan.100");
        assert!(link.contains("mtu 1450") && link.contains("local 192.0.2.1 srcport"), "{link}");
        let guard = nft("list chain inet ferrule overlay");
        assert!(!guard.contains("iifname"), "{guard}");
        let transit = nft("list chain inet ferrule overlay-transit");
        let rule = "udp dport 4789 ip saddr @overlay-peers4 fib saddr . iif oif missing drop";
        assert!(transit.contains(rule), "{transit}");
        assert!(node.sync.report().synced && problems(&node).is_empty(), "{:#?}", problems(&node));
        ip("link set eth0 mtu 1400");
        node.settle();
        assert!(ip("link show dev fvxlan.100").contains("mtu 1350"));
        ip("address del 192.0.2.1/32 dev lo");
        ip("address add 192.0.2.1/24 dev eth0");
        node.settle();
        let link = ip("-d link show dev fvxlan.100");
        assert!(link.contains("local 192.0.2.1 dev eth0"), "{link}");
        assert!(nft("list chain inet ferrule overlay").contains("iifname \"eth0\""));
        assert!(problems(&node).is_empty());
    });
}

/// What a link without ARP or with one other end carries is not this node's choice.
#[test]
fn auto_takes_the_tunnel_over_links_that_are_not_shared() {
    on_a_node(|| {
        let mut node = Node1::new(&cluster(0));
        let to_near = || ip("route show 10.1.2.0/24");
        assert!(to_near().contains("via 192.0.2.2"), "{}", to_near());
        ip("link set eth0 arp off");
        node.settle();
        assert!(to_near().contains("dev fvxlan.100"), "{}", to_near());
        assert!(ip("-6 route show fd00:2::/64").contains("dev fvxlan.100"));
        ip("link set eth0 arp on");
        node.settle();
        assert!(to_near().contains("via 192.0.2.2"), "{}", to_near());
        ip("link set eth0 down");
        ip("tuntap add tun0 mode tun");
        ip("address add 203.0.113.1/24 dev tun0");
        ip("link set tun0 up");
        ip("link set eth0 up");
        ip("address add 2001:db8::1/64 dev eth0 nodad");
        node.settle();
        let to_far = ip("route show 10.1.3.0/24");
        assert!(to_far.contains("dev fvxlan.100"), "{to_far}");
    });
}
