//! The plugin bgp beside the daemon: pods of two nodes that are peers.

use crate::pair::Pair;
use crate::speaker::{Speaker, network};
use ferrule_tests::invoke::addresses;
use ferrule_tests::node::{Place, Pod};
use ferrule_tests::packets::{ping, tcp_source};
use serde_json::Value;

fn peer(listen: &str, address: &str) -> String {
    format!(
        "[bgp]\nasn = 65000\nconnect-retry = 1\nlisten = [\"{listen}\"]\n\
         [[bgp.peer]]\naddress = \"{address}\"\nasn = 65000\n"
    )
}

#[test]
fn pods_of_two_nodes_reach_each_other_as_themselves() {
    let (mut one, mut two) = (Speaker::new(1), Speaker::new(2));
    let near = ["198.51.100.1/24", "2001:db8:f::1/64"];
    let far = ["198.51.100.2/24", "2001:db8:f::2/64"];
    one.wire("eth0", &two, "eth0", [&near, &far]);
    let (first, second) = (Pod::new(), Pod::new());
    let before = one.node.attach(&network(), &first).status();
    before.err().expect(50, "route-sync has not said yet what this node is");
    one.configure(&peer("198.51.100.1", "198.51.100.2"));
    two.configure(&peer("198.51.100.2", "198.51.100.1"));
    one.start();
    two.start();
    for (node, other) in [(&one, 2), (&two, 1)] {
        node.is_up();
        node.learns(&format!("10.244.{other}.0/24"), 1);
        node.learns(&format!("fd00:10:244:{other}::/64"), 1);
    }
    let here = one.node.attach(&network(), &first);
    one.until("STATUS is well", |_| here.status().code == Some(0));
    let ours = here.add();
    let theirs = two.node.attach(&network(), &second).add();
    assert_eq!(addresses(&ours), ["10.244.1.2", "fd00:10:244:1::2"]);
    for (from, to) in [(&first, &theirs), (&second, &ours)] {
        addresses(to).iter().for_each(|address| ping(from, address));
    }
    // Masqueraded, but not within the cluster.
    for (seen, to) in addresses(&ours).iter().zip(addresses(&theirs)) {
        assert_eq!(tcp_source(&first, &second, &to), Ok(seen.parse().unwrap()));
    }
    assert_eq!(tcp_source(&first, &two, "198.51.100.2"), Ok("198.51.100.1".parse().unwrap()));
    let routes = one.run("ip route show proto 117");
    assert!(routes.starts_with("10.244.1.2 dev veth"), "{routes}");
    here.check(&ours);
    // The daemon ends: the pod lives, and no more are sent here.
    drop(one.daemon.take());
    here.status().ok();
    one.run("touch -d @1 /run/ferrule/route-sync.lock");
    here.status().err().expect(50, "route-sync does not run");
    here.check(&ours);
    addresses(&ours).iter().for_each(|address| ping(&one, address));
    assert!(
        one.run("ip route show proto 117").starts_with("10.244.1.2 dev veth"),
        "not its matter"
    );
    here.del(Some(&ours));
    assert_eq!(one.run("ip route show proto 117"), "");
}

/// What the daemon looks at is not of the pods: none of them costs a pass over all routes, nor is the
/// MTU of one the node's.
#[test]
fn a_pod_is_no_matter_of_the_daemon() {
    let pair = Pair::up();
    let node = &pair.node;
    let passes = || node.log().matches("full pass").count();
    let written =
        || serde_json::from_str::<Value>(&node.run("cat /run/ferrule/node.json")).unwrap();
    assert_eq!(written()["mtu"], 1500);
    let before = passes();
    let mut network = network();
    network["mtu"] = 1400.into();
    let pod = Pod::new();
    let attached = node.node.attach(&network, &pod);
    for _ in 0..2 {
        let result = attached.add();
        attached.del(Some(&result));
    }
    attached.add();
    // The kernel reports this after all that.
    node.run("ip address add 203.0.113.9/32 dev up0");
    node.until("a pass", |_| passes() > before);
    assert_eq!(passes(), before + 1, "{}", node.log());
    assert_eq!(written()["mtu"], 1500);
}
