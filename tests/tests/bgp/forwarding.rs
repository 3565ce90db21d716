//! Forwarding where new links do not inherit it, and where it is switched off.

use ferrule_tests::node::Place;
use ferrule_tests::outside::{NODE4, NODE6, OUTSIDE4, OUTSIDE6};
use ferrule_tests::packets::ping;
use ferrule_tests::{Node, Outside, Pod};

use crate::{dual, veth};

#[test]
fn pods_reach_the_outside_though_new_links_do_not_forward() {
    let (node, pod) = (Node::new(), Pod::new());
    let outside = Outside::beside(&node);
    outside.run(&format!("ip route add 10.1.0.0/24 via {NODE4}"));
    outside.run(&format!("ip route add fd00:1::/64 via {NODE6}"));
    for (family, all) in [("ipv4", "net/ipv4/ip_forward"), ("ipv6", "net/ipv6/conf/all/forwarding")]
    {
        node.set_sysctl(all, "1");
        node.set_sysctl(&format!("net/{family}/conf/default/forwarding"), "0");
    }
    let attachment = node.attach(&dual(), &pod);
    let result = attachment.add();
    ping(&pod, OUTSIDE4);
    ping(&pod, OUTSIDE6);
    attachment.check(&result);
    let host = veth(&result);
    for family in ["ipv4", "ipv6"] {
        node.set_sysctl(&format!("net/{family}/conf/{host}/forwarding"), "0");
        let error = attachment.try_check(&result).err();
        assert!(error.text().contains(&format!("{family}/conf/{host}/forwarding")), "{error:?}");
        node.set_sysctl(&format!("net/{family}/conf/{host}/forwarding"), "1");
    }
}
