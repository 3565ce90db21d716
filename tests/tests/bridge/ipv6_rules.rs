//! Traps of IPv6 on a node.

use std::net::Ipv6Addr;
use std::time::Duration;

use ferrule_tests::conf::{self, GATEWAY4};
use ferrule_tests::node::Place;
use ferrule_tests::outside::UPLINK;
use ferrule_tests::packets::ping;
use ferrule_tests::{Node, Outside, Pod, raw, within};
use serde_json::json;

/// A network of IPv4 alone needs nothing of IPv6.
#[test]
fn an_ipv4_network_needs_no_ipv6() {
    let (node, pod) = (Node::new(), Pod::new());
    node.run("mount -t tmpfs tmpfs /proc/sys/net/ipv6");
    let attachment = node.attach(&conf::v4(), &pod).with(&json!({"ipMasq": true}));
    let result = attachment.add();
    ping(&pod, GATEWAY4);
    attachment.check(&result);
    attachment.del(Some(&result));
}

/// A router advertisement: lifetime 1800 s, from a link-local address, to all nodes.
fn advertisement(source: Ipv6Addr, mac: raw::Mac) -> Vec<u8> {
    let target: Ipv6Addr = "ff02::1".parse().unwrap();
    let mut icmp = vec![134, 0, 0, 0, 64, 0, 0x07, 0x08, 0, 0, 0, 0, 0, 0, 0, 0];
    let words = |bytes: &[u8]| -> u32 {
        bytes.chunks(2).map(|pair| u32::from(pair[0]) << 8 | u32::from(pair[1])).sum()
    };
    let length = u32::try_from(icmp.len()).unwrap();
    let mut sum = words(&source.octets()) + words(&target.octets()) + length + 58 + words(&icmp);
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    let checksum = !u16::try_from(sum).unwrap();
    icmp[2..4].copy_from_slice(&checksum.to_be_bytes());
    let header = [0x60, 0, 0, 0, 0, 16, 58, 255];
    let ethernet = [[0x33, 0x33, 0, 0, 0, 1], mac].concat();
    [
        ethernet,
        vec![0x86, 0xdd],
        header.to_vec(),
        source.octets().to_vec(),
        target.octets().to_vec(),
        icmp,
    ]
    .concat()
}

/// Forwarding makes the kernel forget a default route that it learned, unless `accept_ra` is 2.
#[test]
fn the_nodes_learned_default_route_stays() {
    let (node, pod) = (Node::new(), Pod::new());
    let outside = Outside::beside(&node);
    node.set_sysctl(&format!("net/ipv6/conf/{UPLINK}/accept_ra"), "1");
    outside.settle();
    let listed = outside.json("ip -6 -j addr show dev eth0 scope link");
    let addresses =
        listed.as_array().unwrap().iter().filter_map(|link| link["addr_info"].as_array());
    let source = addresses.flatten().find_map(|address| address["local"].as_str()).unwrap();
    let source = source.parse().unwrap();
    let mac = raw::mac(outside.link("eth0").unwrap()["address"].as_str().unwrap());
    let learned = || {
        let default = node.run("ip -6 route show default");
        default.contains("proto ra").then_some(())
    };
    raw::send(&outside, "eth0", &advertisement(source, mac));
    within(Duration::from_secs(2), learned).expect("the node takes the advertisement");
    let attachment = node.attach(&conf::dual(), &pod);
    let result = attachment.add();
    assert!(learned().is_some(), "{}", node.run("ip -6 route"));
    // And is refreshed by the next one.
    node.run("ip -6 route flush proto ra");
    raw::send(&outside, "eth0", &advertisement(source, mac));
    within(Duration::from_secs(2), learned).expect("the node still takes advertisements");
    attachment.check(&result);
}
