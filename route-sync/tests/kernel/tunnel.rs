//! A tunnel that is not as it shall be: what it can carry it carries, and it is never open.

use crate::common::{Node1, cluster, config, ip, on_a_node, state, tunnels};
use nix::sched::{CloneFlags, unshare};
use route_sync::cleanup::cleanup;
use route_sync::query::State;
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
        let problem = &node.sync.report().problems[0];
        assert!(problem.error.contains("disable_ipv6"), "{problem:?}");
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
