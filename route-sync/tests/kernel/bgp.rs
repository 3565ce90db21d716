//! What BGP tells, as routes of the kernel.

use crate::common::{Node1, cluster, config, ip, on_a_node};
use ipnetwork::IpNetwork;
use net::route::Hop;
use route_sync::config::{Config, Mode};
use route_sync::routes::learned::Hops;
use route_sync::sync::Announced;
use std::collections::BTreeMap;

/// A node that speaks BGP, and whose peers have sent all.
fn node() -> (Node1, Config) {
    let mut node = Node1::new(&cluster(0));
    let file = node.run_dir.path().join("route-sync.toml");
    let text = "node-name = \"own\"\n[bgp]\nasn = 65000\nimport-cidrs = [\"10.0.0.0/8\"]\n\
                [[bgp.peer]]\naddress = \"192.0.2.2\"\nasn = 65001\n\
                [source]\ntype = \"file\"\npath = \"/nodes\"\n";
    std::fs::write(&file, text).unwrap();
    let mut config = config(node.run_dir.path());
    config.bgp = route_sync::config::read(&file).unwrap().bgp;
    node.sync.reconfigure(config.clone());
    node.sync.learn(all_sent([].into()));
    node.sync.work();
    node.settle();
    (node, config)
}

/// Every peer has sent its routes, these changes the last.
fn all_sent(changes: BTreeMap<IpNetwork, Option<Hops>>) -> Announced {
    Announced { changes, has_routes: true, complete: true, refuses: false }
}

/// By gateways on `eth0`.
fn hops(gateways: &[&str]) -> Hops {
    let link = ip("-o link show eth0").split(':').next().unwrap().parse().unwrap();
    let hop = |to: &&str| Hop { gateway: Some(to.parse().unwrap()), link, onlink: false };
    gateways.iter().map(hop).collect()
}

fn prefix(text: &str) -> IpNetwork {
    text.parse().unwrap()
}

fn learn(node: &mut Node1, changes: impl IntoIterator<Item = (IpNetwork, Option<Hops>)>) {
    node.sync.learn(all_sent(changes.into_iter().collect()));
    node.sync.work();
}

/// While the node set tells nothing of this node, what stands is not given another source, and
/// what peers withdraw or alter is carried out all the same.
#[test]
fn peers_are_followed_while_this_node_is_not_in_its_set() {
    on_a_node(|| {
        let (mut node, _) = node();
        let [stays, alters, goes, comes] =
            ["10.6.0.0/24", "10.7.0.0/24", "10.8.0.0/24", "10.9.0.0/24"].map(prefix);
        let (one, two) = (hops(&["192.0.2.2"]), hops(&["192.0.2.2", "192.0.2.3"]));
        learn(&mut node, [stays, alters, goes].map(|prefix| (prefix, Some(two.clone()))));
        node.settle();
        let before = ip("route show proto 119");
        let mut set = cluster(0);
        let own = set.nodes.remove(0);
        node.sync.set(&set, false);
        node.sync.work();
        node.settle();
        assert_eq!(ip("route show proto 119"), before);
        learn(&mut node, [(goes, None)]);
        assert_eq!(ip("route show 10.8.0.0/24"), "");
        learn(&mut node, [(alters, Some(one.clone())), (comes, Some(one))]);
        node.settle();
        let after = ip("route show proto 119");
        let only = |prefix: &str| format!("{prefix} via 192.0.2.2 dev eth0 src 10.1.1.0");
        assert!(after.contains(&only("10.7.0.0/24")), "{after}");
        assert!(after.contains(&only("10.9.0.0/24")), "{after}");
        assert!(ip("route show 10.6.0.0/24").contains("192.0.2.3"), "{after}");
        assert_eq!(node.sync.next_try(), None, "{:#?}", node.sync.report());
        set.nodes.push(own);
        node.sync.set(&set, false);
        node.sync.work();
        node.settle();
        assert_eq!(ip("route show proto 119"), after);
    });
}

/// `vxlan` means the tunnel for what the node set gives another node, whatever is known of this.
#[test]
fn in_mode_vxlan_other_nodes_keep_the_tunnel_while_this_one_is_not_in_its_set() {
    on_a_node(|| {
        let (mut node, mut config) = node();
        config.mode = Mode::Vxlan;
        node.sync.reconfigure(config);
        let mut set = cluster(0);
        set.nodes.remove(0);
        node.sync.set(&set, false);
        node.sync.work();
        let before = ip("route show proto 118");
        let [far, comes] = ["10.1.3.0/24", "10.9.0.0/24"].map(prefix);
        let by = hops(&["192.0.2.2"]);
        learn(&mut node, [(far, Some(by.clone())), (comes, Some(by))]);
        node.settle();
        assert!(ip("route show proto 119").starts_with("10.9.0.0/24 via 192.0.2.2"));
        assert_eq!(ip("route show proto 118"), before);
    });
}

/// One's own deletion is heard of after one's own creation: nobody else's route is there.
#[test]
fn a_route_withdrawn_and_announced_at_once_is_no_other_programs() {
    on_a_node(|| {
        let (mut node, _) = node();
        let flaps = prefix("10.9.0.0/24");
        let by = hops(&["192.0.2.2"]);
        learn(&mut node, [(flaps, Some(by.clone()))]);
        node.settle();
        let errors = node.sync.figures().errors;
        learn(&mut node, [(flaps, None)]);
        learn(&mut node, [(flaps, Some(by))]);
        node.settle();
        assert_eq!((node.sync.figures().repairs, node.sync.figures().errors), (vec![], errors));
        assert!(ip("route show 10.9.0.0/24").contains("via 192.0.2.2"));
    });
}

/// Even if the deletion is heard of alone: the full pass that follows sees whose the route is.
#[test]
fn a_conflict_is_reported_after_a_full_pass_has_seen_it() {
    on_a_node(|| {
        let (mut node, _) = node();
        let flaps = prefix("10.9.0.0/24");
        let by = hops(&["192.0.2.2"]);
        learn(&mut node, [(flaps, Some(by.clone()))]);
        node.settle();
        let errors = node.sync.figures().errors;
        learn(&mut node, [(flaps, None)]);
        let gone = node.monitor.read().unwrap();
        assert!(gone.iter().any(|event| matches!(event, net::Event::RouteGone(_))), "{gone:?}");
        learn(&mut node, [(flaps, Some(by.clone()))]);
        node.sync.events(gone);
        node.sync.work();
        assert_eq!(node.sync.figures().errors, errors);
        node.settle();
        assert_eq!((node.sync.figures().errors, node.sync.next_try()), (errors, None));
        // Somebody else's is told.
        learn(&mut node, [(flaps, None)]);
        node.settle();
        ip("route add 10.9.0.0/24 via 192.0.2.3 proto static");
        learn(&mut node, [(flaps, Some(by))]);
        assert_eq!(node.sync.figures().errors, errors + 1);
        let report = node.sync.report();
        let entry = report.cidrs.iter().find(|entry| entry.cidr == flaps).unwrap();
        assert_eq!(entry.state, route_sync::report::State::Conflict);
    });
}
