//! Mode `auto` with both: a list of nodes and BGP.

use crate::pair::{Pair, ROUTER};
use ferrule_tests::node::Place;

/// A route learned by BGP wins over the tunnel, which is used again when the route is withdrawn.
#[test]
fn bgp_wins_over_vxlan_and_falls_back() {
    let mut pair = Pair::new();
    pair.start_router("");
    pair.node.run("ip route add default via 172.16.0.2");
    pair.node.write(
        "/run/nodes.toml",
        "[[node]]\nname = \"node-1\"\naddresses = [\"172.16.0.1\"]\n\
         pod-cidrs = [\"10.244.1.0/24\", \"fd00:10:244:1::/64\"]\n\
         [[node]]\nname = \"far\"\naddresses = [\"203.0.113.9\"]\n\
         pod-cidrs = [\"10.244.9.0/24\", \"fd00:10:244:9::/64\"]\n",
    );
    pair.node.configure_whole(&format!(
        "[source]\ntype = \"file\"\npath = \"/run/nodes.toml\"\n\
         [bgp]\nasn = 65001\nconnect-retry = 1\n\
         [[bgp.peer]]\naddress = \"{ROUTER}\"\nasn = 65100\n"
    ));
    pair.node.start();
    pair.node.is_up();
    let ways = |family: &str, dst: &str| pair.node.run(&format!("ip {family} route show {dst}"));
    let (four, six) = ("10.244.9.0/24", "fd00:10:244:9::/64");
    for _ in 0..2 {
        pair.node.until("BGP's way", |_| {
            ways("-4", four).contains("via 172.16.0.2 dev up0 proto 119")
                && ways("-6", six).contains("via 2001:db8:f::2 dev up0 proto 119")
        });
        assert_eq!(ways("-4", four).lines().count(), 1);
        let shown = pair.node.command("status").stdout;
        assert!(shown.contains("far     10.244.9.0/24       bgp via 172.16.0.2"), "{shown}");
        // From one to the other without a moment in between: replaced, never deleted.
        pair.router.ask("disable node");
        pair.node.until("the tunnel", |_| {
            ways("-4", four).contains("dev fvxlan.100 proto 118")
                && ways("-6", six).contains("dev fvxlan.100 proto 118")
        });
        assert_eq!(ways("-4", four).lines().count(), 1);
        pair.router.ask("enable node");
    }
    let log = pair.node.log();
    assert!(!log.contains("delete route"), "{log}");
}
