//! CHECK sees each single thing that is not as ADD made it.

use ferrule_tests::conf::with;
use ferrule_tests::node::Place;
use ferrule_tests::{Node, Pod};
use serde_json::{Value, json};

use crate::{full, veth};

/// Makes an attachment, has CHECK pass, alters one thing and has CHECK fail naming it.
#[track_caller]
fn sees(name: &str, alter: impl FnOnce(&Node, &Pod, &Value)) {
    let (node, pod) = (Node::new(), Pod::new());
    let attachment = node.attach(&with(&full(), &json!({"mtu": 1400})), &pod);
    let result = attachment.add();
    attachment.check(&result);
    alter(&node, &pod, &result);
    let outcome = attachment.try_check(&result);
    assert_ne!(outcome.code, Some(0), "CHECK passed after the alteration");
    let error = outcome.err();
    assert!(error.text().contains(name), "the error should name `{name}`: {error:?}");
}

macro_rules! seen_in_pod {
    ($($test:ident: $script:expr => $name:expr;)*) => {$(
        #[test]
        fn $test() {
            sees($name, |_, pod, _| {
                pod.sh($script);
            });
        }
    )*};
}

seen_in_pod! {
    the_pods_mtu: "ip link set eth0 mtu 1300" => "1300";
    the_pods_mac: "ip link set eth0 address 02:00:00:00:00:99" => "02:00:00:00:00:99";
    the_pods_ipv4_address: "ip addr del 10.1.0.2/32 dev eth0" => "10.1.0.2";
    the_pods_ipv6_address: "ip addr del fd00:1::2/128 dev eth0" => "fd00:1::2";
    the_pods_ipv4_route: "ip route del default" => "0.0.0.0/0";
    the_pods_ipv6_route: "ip -6 route del default" => "::/0";
    the_pods_gateway: "ip route replace default via 169.254.1.2 dev eth0 onlink" => "0.0.0.0/0";
    the_pods_ipv4_neighbour:
        "ip neigh replace 169.254.1.1 lladdr 02:00:00:00:00:99 dev eth0 nud permanent"
        => "neighbour 169.254.1.1";
    the_pods_ipv6_neighbour:
        "ip neigh replace fe80::1 lladdr 02:00:00:00:00:99 dev eth0 nud permanent"
        => "neighbour fe80::1";
    the_pods_link_down: "ip link set eth0 down" => "eth0";
    the_pods_link_gone: "ip link del eth0" => "eth0";
    the_pods_arp_notify: "echo 0 > /proc/sys/net/ipv4/conf/eth0/arp_notify" => "arp_notify";
}

macro_rules! seen_on_node {
    ($($test:ident: $script:expr => $name:expr;)*) => {$(
        #[test]
        fn $test() {
            sees($name, |node, _, result| {
                node.sh(&$script.replace("VETH", veth(result)));
            });
        }
    )*};
}

seen_on_node! {
    the_host_veths_mtu: "ip link set VETH mtu 1300" => "1300";
    the_host_veths_mac: "ip link set VETH address 02:00:00:00:00:99" => "02:00:00:00:00:99";
    the_host_veths_bridge:
        "ip link add other type bridge; ip link set VETH master other" => "another link";
    the_host_veth_down: "ip link set VETH down" => "is down";
    the_ipv4_route: "ip route del 10.1.0.2" => "route 10.1.0.2";
    the_ipv6_route: "ip -6 route del fd00:1::2" => "route fd00:1::2";
    a_route_elsewhere:
        "ip link add other up type bridge; ip route replace 10.1.0.2 dev other" => "route 10.1.0.2";
    a_routes_protocol: "ip route replace 10.1.0.2 dev VETH proto static" => "protocol";
    the_ipv4_gateway: "ip addr del 169.254.1.1/32 dev VETH" => "169.254.1.1";
    the_ipv6_gateway: "ip addr del fe80::1/64 dev VETH" => "fe80::1";
    ipv4_forwarding: "echo 0 > /proc/sys/net/ipv4/ip_forward" => "forward";
    ipv6_forwarding: "echo 0 > /proc/sys/net/ipv6/conf/all/forwarding" => "forwarding";
    rp_filter: "echo 0 > /proc/sys/net/ipv4/conf/VETH/rp_filter" => "rp_filter";
    accept_ra: "echo 1 > /proc/sys/net/ipv6/conf/VETH/accept_ra" => "accept_ra";
    a_flushed_firewall: "nft flush ruleset" => "ferrule";
    a_lost_filter: "nft flush chain inet ferrule rpfilter" => "rpfilter";
    a_lost_element: "nft flush set inet ferrule rpfilter-links" => "rpfilter-links";
    a_lost_masquerade: "nft flush chain inet ferrule masq" => "masq";
    the_lease: "rm /var/lib/cni/networks/pods/10.1.0.2" => "10.1.0.2";
}

/// What others add is none of CHECK's business, nor that neighbours are forgotten or learned.
#[test]
fn more_than_ours_is_fine() {
    let (node, pod) = (Node::new(), Pod::new());
    let attachment = node.attach(&full(), &pod);
    let result = attachment.add();
    pod.sh("ip route add 203.0.113.0/24 via 169.254.1.1 dev eth0 onlink
        ip addr add 192.0.2.7/32 dev eth0; ip neigh flush dev eth0 nud permanent");
    node.sh("nft add table inet other; ip route add 203.0.113.0/24 dev lo; ip neigh flush all");
    node.attach(&full(), &Pod::new()).add();
    attachment.check(&result);
}

#[test]
fn a_result_that_is_not_this_attachments() {
    let (node, one, two) = (Node::new(), Pod::new(), Pod::new());
    let attachment = node.attach(&full(), &one);
    let own = attachment.add();
    let other = node.attach(&full(), &two).add();
    attachment.try_check(&other).err();
    attachment.check(&own);
}

#[test]
fn a_missing_prev_result_is_an_error() {
    let (node, pod) = (Node::new(), Pod::new());
    let attachment = node.attach(&full(), &pod);
    attachment.add();
    let error = attachment.call("CHECK", None).run(&node).err();
    assert!(error.text().to_lowercase().contains("prevresult"), "{error:?}");
}
