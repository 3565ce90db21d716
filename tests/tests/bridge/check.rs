//! CHECK sees each single thing that is not as ADD made it.

use ferrule_tests::conf::{self, BRIDGE, GATEWAY4};
use ferrule_tests::node::Place;
use ferrule_tests::packets::ping;
use ferrule_tests::{Bins, Node, Pod};
use serde_json::{Value, json};

use crate::veth;

/// Everything at once that a pod can have.
fn full() -> Value {
    let keys = json!({"hairpinMode": true, "mtu": 1400, "portIsolation": true});
    conf::with(&conf::full(), &keys)
}

/// Makes an attachment, has CHECK pass, alters one thing and has CHECK fail naming it.
#[track_caller]
fn sees(config: &Value, name: &str, alter: impl FnOnce(&Node, &Pod, &Value)) {
    let (node, pod) = (Node::new(), Pod::new());
    let attachment = node.attach(config, &pod);
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
            sees(&full(), $name, |_, pod, _| {
                pod.sh($script);
            });
        }
    )*};
}

seen_in_pod! {
    the_pods_mtu: "ip link set eth0 mtu 1300" => "1300";
    the_pods_mac: "ip link set eth0 address 02:00:00:00:00:99" => "02:00:00:00:00:99";
    the_pods_ipv4_address: "ip addr del 10.1.0.2/24 dev eth0" => "10.1.0.2";
    the_pods_ipv6_address: "ip addr del fd00:1::2/64 dev eth0" => "fd00:1::2";
    the_pods_prefix_length:
        "ip addr add 10.1.0.2/25 dev eth0; ip addr del 10.1.0.2/24 dev eth0
         ip route replace default via 10.1.0.1" => "10.1.0.2";
    the_pods_ipv4_route: "ip route del default" => "0.0.0.0/0";
    the_pods_ipv6_route: "ip -6 route del default" => "::/0";
    the_pods_gateway: "ip route replace default via 10.1.0.77" => "0.0.0.0/0";
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
    the_pods_accept_dad: "echo 1 > /proc/sys/net/ipv6/conf/eth0/accept_dad" => "accept_dad";
}

macro_rules! seen_on_node {
    ($($test:ident: $script:expr => $name:expr;)*) => {$(
        #[test]
        fn $test() {
            sees(&full(), $name, |node, _, result| {
                node.sh(&$script.replace("VETH", veth(result)));
            });
        }
    )*};
}

seen_on_node! {
    the_host_veths_mtu: "ip link set VETH mtu 1300" => "1300";
    the_host_veths_bridge: "ip link set VETH nomaster" => BRIDGE;
    the_host_veths_other_bridge:
        "ip link add other type bridge; ip link set VETH master other" => BRIDGE;
    the_host_veth_down: "ip link set VETH down" => "veth";
    hairpin: "bridge link set dev VETH hairpin off" => "hairpin";
    isolation: "bridge link set dev VETH isolated off" => "isolat";
    the_bridge_down: "ip link set cni0 down" => BRIDGE;
    the_bridges_ipv4_address: "ip addr del 10.1.0.1/24 dev cni0" => "10.1.0.1";
    the_bridges_ipv6_address: "ip addr del fd00:1::1/64 dev cni0" => "fd00:1::1";
    ipv4_forwarding: "echo 0 > /proc/sys/net/ipv4/ip_forward" => "forward";
    ipv6_forwarding: "echo 0 > /proc/sys/net/ipv6/conf/all/forwarding" => "forwarding";
    accept_ra_of_the_bridge: "echo 1 > /proc/sys/net/ipv6/conf/cni0/accept_ra" => "accept_ra";
    accept_ra_of_the_veth: "echo 1 > /proc/sys/net/ipv6/conf/VETH/accept_ra" => "accept_ra";
    a_flushed_firewall: "nft flush ruleset" => "ferrule";
    a_lost_masquerade: "nft delete table inet ferrule" => "ferrule";
    a_lost_spoof_check: "nft delete table bridge ferrule" => "ferrule";
    the_lease: "rm /var/lib/cni/networks/pods/10.1.0.2" => "10.1.0.2";
    the_leases_owner:
        "printf 'someone-else\\r\\neth0' > /var/lib/cni/networks/pods/10.1.0.2" => "10.1.0.2";
}

#[test]
fn promiscuous_mode() {
    let config = conf::with(&conf::v4(), &json!({"promiscMode": true}));
    sees(&config, "promisc", |node, _, _| drop(node.run("ip link set cni0 promisc off")));
}

#[test]
fn a_missing_bridge() {
    sees(&conf::v4(), BRIDGE, |node, _, _| drop(node.run("ip link del cni0")));
}

/// Every element in our tables, taken away alone.
#[test]
fn every_single_nft_element() {
    let mut nth = 0;
    loop {
        let (node, pod) = (Node::new(), Pod::new());
        let attachment = node.attach(&full(), &pod);
        let result = attachment.add();
        let elements = elements(&node);
        assert!(!elements.is_empty(), "a masqueraded, guarded pod has elements");
        let Some(delete) = elements.get(nth) else { return };
        node.run(delete);
        let outcome = attachment.try_check(&result);
        assert_ne!(outcome.code, Some(0), "CHECK passed after `{delete}`");
        nth += 1;
    }
}

/// Every rule in our tables, taken away alone.
#[test]
fn every_single_nft_rule() {
    let mut nth = 0;
    loop {
        let (node, pod) = (Node::new(), Pod::new());
        let attachment = node.attach(&full(), &pod);
        let result = attachment.add();
        let rules = rules(&node);
        assert!(!rules.is_empty(), "a masqueraded, guarded pod has rules");
        let Some(delete) = rules.get(nth) else { return };
        node.run(delete);
        let outcome = attachment.try_check(&result);
        assert_ne!(outcome.code, Some(0), "CHECK passed after `{delete}`");
        nth += 1;
    }
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

/// What others add is none of CHECK's business.
#[test]
fn more_than_ours_is_fine() {
    let (node, pod) = (Node::new(), Pod::new());
    let attachment = node.attach(&full(), &pod);
    let result = attachment.add();
    pod.sh("ip route add 203.0.113.0/24 via 10.1.0.1; ip addr add 192.0.2.7/32 dev eth0
        ip link add extra type bridge");
    node.sh("ip addr add 192.0.2.1/24 dev cni0; nft add table inet other
        ip link add more type veth peer name less; ip link set more master cni0");
    node.attach(&full(), &Pod::new()).add();
    attachment.check(&result);
}

#[test]
fn a_result_that_is_not_this_attachments() {
    let (node, one, two) = (Node::new(), Pod::new(), Pod::new());
    let attachment = node.attach(&conf::v4(), &one);
    let own = attachment.add();
    let other = node.attach(&conf::v4(), &two).add();
    attachment.try_check(&other).err();
    attachment.check(&own);
}

#[test]
fn a_missing_prev_result_is_an_error() {
    let (node, pod) = (Node::new(), Pod::new());
    let attachment = node.attach(&conf::v4(), &pod);
    attachment.add();
    let error = attachment.call("CHECK", None).run(&node).err();
    assert!(error.text().to_lowercase().contains("prevresult"), "{error:?}");
}

/// The chain's next plugin changes the pod's link; before 1.1.0 results do not tell the MTU.
#[test]
fn check_bears_what_tuning_changed() {
    let (node, pod) = (Node::new(), Pod::new());
    let old = json!({"cniVersion": "1.0.0", "mtu": 1500});
    let attachment = node.attach(&conf::full(), &pod).with(&old);
    let made = attachment.add();
    let tuning = json!({"cniVersion": "1.0.0", "name": "pods", "type": "tuning", "mtu": 1400});
    let tuning = node.attach(&tuning, &pod).by(&Bins::reference());
    let tuned = tuning.call("ADD", Some(&made)).run(&node).ok();
    assert_eq!(pod.link("eth0").unwrap()["mtu"], 1400);
    attachment.check(&tuned);
    tuning.check(&tuned);
    ping(&pod, GATEWAY4);
    attachment.del(Some(&tuned));
}
