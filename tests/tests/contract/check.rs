//! CHECK sees each single thing that is not as ADD made it, and names it.

use ferrule_tests::node::Place;
use ferrule_tests::{Node, Pod};
use serde_json::Value;

use crate::networks::{Network, veth};

on_each_network! {
    every_single_nft_element, every_single_nft_rule, more_than_ours_is_fine,
    a_result_that_is_not_this_attachments, a_missing_prev_result_is_an_error,
}

/// Where something is altered.
enum At {
    Pod,
    Node,
}

/// Makes an attachment, has CHECK pass, alters one thing and has CHECK fail naming it.
#[track_caller]
fn sees(network: &Network, at: &At, script: &str, named: &str) {
    let (node, pod) = (network.node(), Pod::new());
    let attachment = network.attach(&node, &pod);
    let result = attachment.add();
    attachment.check(&result);
    let words = [
        ("VETH", veth(&result).to_owned()),
        ("LEN4", network.lengths[0].to_string()),
        ("LEN6", network.lengths[1].to_string()),
        ("GATEWAY4", network.gateways[0].to_owned()),
    ];
    let script = words.iter().fold(script.to_owned(), |text, (word, is)| text.replace(word, is));
    match at {
        At::Pod => pod.sh(&script),
        At::Node => node.sh(&script),
    };
    let outcome = attachment.try_check(&result);
    assert_ne!(outcome.code, Some(0), "CHECK passed after `{script}`");
    let error = outcome.err();
    assert!(error.text().contains(named), "the error should name `{named}`: {error:?}");
}

/// Tests of single alterations in a place, each on the networks of the list: `name: script =>
/// what CHECK names`.
macro_rules! seen {
    ($place:ident $networks:tt $($test:ident: $script:expr => $named:expr;)*) => {$(
        mod $test {
            seen!(@ $place $networks $script, $named);
        }
    )*};
    (@ $place:ident [$($network:ident)*] $script:expr, $named:expr) => {$(
        #[test]
        fn $network() {
            let network = crate::networks::$network();
            crate::check::sees(&network, &crate::check::At::$place, $script, $named);
        }
    )*};
}

seen! { Pod [bridge vxlan bgp]
    the_pods_mtu: "ip link set eth0 mtu 1300" => "1300";
    the_pods_mac: "ip link set eth0 address 02:00:00:00:00:99" => "02:00:00:00:00:99";
    the_pods_ipv4_address: "ip addr del 10.1.0.2/LEN4 dev eth0" => "10.1.0.2";
    the_pods_ipv6_address: "ip addr del fd00:1::2/LEN6 dev eth0" => "fd00:1::2";
    the_pods_ipv4_route: "ip route del default" => "0.0.0.0/0";
    the_pods_ipv6_route: "ip -6 route del default" => "::/0";
    the_pods_gateway: "ip route replace default via 10.1.0.77 dev eth0 onlink" => "0.0.0.0/0";
    the_pods_link_down: "ip link set eth0 down" => "eth0";
    the_pods_link_gone: "ip link del eth0" => "eth0";
    the_pods_arp_notify: "echo 0 > /proc/sys/net/ipv4/conf/eth0/arp_notify" => "arp_notify";
    the_pods_accept_ra: "echo 1 > /proc/sys/net/ipv6/conf/eth0/accept_ra" => "accept_ra";
    the_pods_ipv6_redirects:
        "echo 1 > /proc/sys/net/ipv6/conf/eth0/accept_redirects" => "ipv6/conf/eth0/accept_redirects";
    the_pods_ipv4_redirects:
        "echo 1 > /proc/sys/net/ipv4/conf/eth0/accept_redirects" => "ipv4/conf/eth0/accept_redirects";
    all_of_the_pods_ipv4_redirects:
        "echo 1 > /proc/sys/net/ipv4/conf/all/accept_redirects" => "ipv4/conf/all/accept_redirects";
}

seen! { Pod [bridge vxlan]
    the_pods_prefix_length:
        "ip addr add 10.1.0.2/25 dev eth0; ip addr del 10.1.0.2/24 dev eth0
         ip route replace default via 10.1.0.1" => "10.1.0.2";
    the_pods_accept_dad: "echo 1 > /proc/sys/net/ipv6/conf/eth0/accept_dad" => "accept_dad";
}

seen! { Pod [bgp]
    the_pods_ipv4_neighbour:
        "ip neigh replace 169.254.1.1 lladdr 02:00:00:00:00:99 dev eth0 nud permanent"
        => "neighbour 169.254.1.1";
    the_pods_ipv6_neighbour:
        "ip neigh replace fe80::1 lladdr 02:00:00:00:00:99 dev eth0 nud permanent"
        => "neighbour fe80::1";
}

seen! { Node [bridge vxlan bgp]
    the_host_veths_mtu: "ip link set VETH mtu 1300" => "1300";
    the_host_veth_down: "ip link set VETH down" => "veth";
    ipv4_forwarding: "echo 0 > /proc/sys/net/ipv4/ip_forward" => "forward";
    ipv6_forwarding: "echo 0 > /proc/sys/net/ipv6/conf/all/forwarding" => "forwarding";
    accept_ra_of_the_veth: "echo 1 > /proc/sys/net/ipv6/conf/VETH/accept_ra" => "accept_ra";
    a_flushed_firewall: "nft flush ruleset" => "ferrule";
    a_lost_masquerade: "nft delete table inet ferrule" => "ferrule";
    a_lost_masquerade_chain: "nft flush chain inet ferrule masq" => "masq";
    the_lease: "rm /var/lib/cni/networks/pods/10.1.0.2" => "10.1.0.2";
    the_leases_owner:
        "printf 'someone-else\\r\\neth0' > /var/lib/cni/networks/pods/10.1.0.2" => "10.1.0.2";
}

seen! { Node [bridge vxlan]
    the_host_veths_bridge: "ip link set VETH nomaster" => "cni0";
    the_host_veths_other_bridge:
        "ip link add other type bridge; ip link set VETH master other" => "cni0";
    hairpin: "bridge link set dev VETH hairpin off" => "hairpin";
    isolation: "bridge link set dev VETH isolated off" => "isolat";
    a_missing_bridge: "ip link del cni0" => "cni0";
    the_bridge_down: "ip link set cni0 down" => "cni0";
    the_bridges_ipv4_address: "ip addr del 10.1.0.1/24 dev cni0" => "10.1.0.1";
    the_bridges_ipv6_address: "ip addr del fd00:1::1/64 dev cni0" => "fd00:1::1";
    accept_ra_of_the_bridge: "echo 1 > /proc/sys/net/ipv6/conf/cni0/accept_ra" => "accept_ra";
    a_lost_spoof_check: "nft delete table bridge ferrule" => "ferrule";
}

seen! { Node [vxlan]
    a_missing_tunnel: "ip link del fvxlan.100" => "fvxlan.100 is missing";
    the_tunnels_mtu: "ip link set fvxlan.100 mtu 1280" => "MTU was 1280";
    the_tunnels_mac: "ip link set fvxlan.100 address 02:00:00:00:00:07"
        => "MAC address was 02:00:00:00:00:07 instead of 02:56:c0:00:02:01";
    the_tunnels_address:
        "ip address del 10.1.0.0/32 dev fvxlan.100" => "address 10.1.0.0/32 was missing";
    the_tunnels_learning: "ip link set fvxlan.100 type vxlan learning" => "learning was true";
    a_renamed_tunnel:
        "ip link set fvxlan.100 down; ip link set fvxlan.100 name stolen; ip link set stolen up"
        => "fvxlan.100 is missing";
    the_tunnel_down: "ip link set fvxlan.100 down" => "it was down";
}

seen! { Node [bgp]
    the_host_veths_mac: "ip link set VETH address 02:00:00:00:00:99" => "02:00:00:00:00:99";
    the_host_veth_on_a_bridge:
        "ip link add other type bridge; ip link set VETH master other" => "another link";
    the_ipv4_route: "ip route del 10.1.0.2" => "route 10.1.0.2";
    the_ipv6_route: "ip -6 route del fd00:1::2" => "route fd00:1::2";
    a_route_elsewhere:
        "ip link add other up type bridge; ip route replace 10.1.0.2 dev other" => "route 10.1.0.2";
    a_routes_protocol: "ip route replace 10.1.0.2 dev VETH proto static" => "protocol";
    the_ipv4_gateway: "ip addr del 169.254.1.1/32 dev VETH" => "169.254.1.1";
    the_ipv6_gateway: "ip addr del fe80::1/64 dev VETH" => "fe80::1";
    rp_filter: "echo 0 > /proc/sys/net/ipv4/conf/VETH/rp_filter" => "rp_filter";
    a_lost_source_check: "nft flush chain inet ferrule rpfilter" => "rpfilter";
    a_lost_source_check_element: "nft flush set inet ferrule rpfilter-links" => "rpfilter-links";
}

/// Every command of a list, in turn, each on a pod of its own, is seen by CHECK.
fn each_alone(network: &Network, listed: impl Fn(&Node) -> Vec<String>) {
    let mut nth = 0;
    loop {
        let (node, pod) = (network.node(), Pod::new());
        let attachment = network.attach(&node, &pod);
        let result = attachment.add();
        let commands = listed(&node);
        assert!(!commands.is_empty(), "a masqueraded, guarded pod has some");
        let Some(delete) = commands.get(nth) else { return };
        node.run(delete);
        let outcome = attachment.try_check(&result);
        assert_ne!(outcome.code, Some(0), "CHECK passed after `{delete}`");
        nth += 1;
    }
}

/// Every element in our tables, taken away alone.
fn every_single_nft_element(network: &Network) {
    each_alone(network, elements);
}

/// Every rule in our tables, taken away alone.
fn every_single_nft_rule(network: &Network) {
    each_alone(network, rules);
}

fn objects(node: &Node, kinds: &[&str]) -> Vec<Value> {
    let all = node.json("nft -a -j list ruleset");
    let listed = all["nftables"].as_array().expect("a list").iter();
    listed.flat_map(|entry| kinds.iter().map(|kind| entry[*kind].clone())).collect()
}

fn elements(node: &Node) -> Vec<String> {
    let mut commands = vec![];
    for set in objects(node, &["set", "map"]) {
        let [family, table, name] =
            ["family", "table", "name"].map(|k| set[k].as_str().unwrap_or(""));
        for element in set["elem"].as_array().into_iter().flatten() {
            // A map's element is `[key, data]`; either may be wrapped in `{"elem": {"val": …}}`.
            let key = element.get(0).unwrap_or(element);
            let key = if key["elem"].is_object() { &key["elem"]["val"] } else { key };
            let word = |part: &Value| match part {
                Value::String(text) => text.clone(),
                other => other.to_string(),
            };
            let text = match key["concat"].as_array() {
                Some(parts) => parts.iter().map(word).collect::<Vec<_>>().join(" . "),
                None => word(key),
            };
            commands.push(format!("nft delete element {family} {table} {name} {{ {text} }}"));
        }
    }
    commands
}

fn rules(node: &Node) -> Vec<String> {
    let named = objects(node, &["rule"]).into_iter().filter(|rule| !rule.is_null());
    let command = |rule: Value| {
        let [family, table, chain] =
            ["family", "table", "chain"].map(|key| rule[key].as_str().unwrap_or("").to_owned());
        format!("nft delete rule {family} {table} {chain} handle {}", rule["handle"])
    };
    named.map(command).collect()
}

/// What others add is none of CHECK's business, nor that neighbours are forgotten or learned.
fn more_than_ours_is_fine(network: &Network) {
    let (node, pod) = (network.node(), Pod::new());
    let attachment = network.attach(&node, &pod);
    let result = attachment.add();
    pod.sh(&format!(
        "ip route add 203.0.113.0/24 via {} dev eth0 onlink; ip addr add 192.0.2.7/32 dev eth0
        ip link add extra type bridge; ip neigh flush dev eth0 nud permanent",
        network.gateways[0]
    ));
    node.sh("nft add table inet other; ip route add 203.0.113.0/24 dev lo; ip neigh flush all
        [ ! -e /sys/class/net/cni0 ] || {
            ip addr add 198.51.100.1/24 dev cni0
            ip link add more type veth peer name less; ip link set more master cni0
        }");
    network.attach(&node, &Pod::new()).add();
    attachment.check(&result);
}

fn a_result_that_is_not_this_attachments(network: &Network) {
    let (node, one, two) = (network.node(), Pod::new(), Pod::new());
    let attachment = network.attach(&node, &one);
    let own = attachment.add();
    let other = network.attach(&node, &two).add();
    attachment.try_check(&other).err();
    attachment.check(&own);
}

fn a_missing_prev_result_is_an_error(network: &Network) {
    let (node, pod) = (network.node(), Pod::new());
    let attachment = network.attach(&node, &pod);
    attachment.add();
    let error = attachment.call("CHECK", None).run(&node).err();
    assert!(error.text().to_lowercase().contains("prevresult"), "{error:?}");
}
