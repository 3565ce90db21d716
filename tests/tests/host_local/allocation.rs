//! Which address comes next.

use std::collections::BTreeSet;
use std::thread;

use ferrule_tests::invoke::addresses;
use ferrule_tests::node::Place;
use ferrule_tests::{Node, Pod, conf};
use serde_json::json;

use crate::{LEASES, five, lease, ranges};

#[test]
fn a_result_has_address_gateway_routes_and_dns() {
    let (node, pod) = (Node::new(), Pod::new());
    node.write(
        "/run/resolv.conf",
        "# a comment\n; another\nnameserver 192.0.2.53\n\
        nameserver fd00::53\ndomain example.test\nsearch a.test b.test\noptions ndots:2 rotate\n",
    );
    let keys = json!({"ipam": {"resolvConf": "/run/resolv.conf",
        "routes": [{"dst": "0.0.0.0/0"}, {"dst": "192.0.2.0/24", "gw": "10.1.0.5"}]}});
    let result = node.attach(&five(), &pod).with(&keys).add();
    assert_eq!(result["ips"][0]["address"], "10.1.0.2/29");
    assert_eq!(result["ips"][0]["gateway"], "10.1.0.1");
    assert!(result["ips"][0]["interface"].is_null(), "IPAM knows no interface");
    assert_eq!(result["routes"], keys["ipam"]["routes"]);
    let dns = json!({"nameservers": ["192.0.2.53", "fd00::53"], "domain": "example.test",
        "search": ["a.test", "b.test"], "options": ["ndots:2", "rotate"]});
    assert_eq!(result["dns"], dns);
}

#[test]
fn addresses_go_round_and_a_freed_one_waits_its_turn() {
    let node = Node::new();
    let config = five();
    let first = lease(&node, &config);
    assert_eq!(first.1, "10.1.0.2");
    node.attach(&config, &first.0).del(None);
    let rest: Vec<_> = (0..4).map(|_| lease(&node, &config)).collect();
    let got: Vec<&str> = rest.iter().map(|(_, address)| address.as_str()).collect();
    assert_eq!(got, ["10.1.0.3", "10.1.0.4", "10.1.0.5", "10.1.0.6"]);
    assert_eq!(lease(&node, &config).1, "10.1.0.2", "the end wraps to the beginning");
}

#[test]
fn allocation_goes_on_from_the_last_address_and_wraps() {
    for (last, next) in
        [("10.1.0.2", "10.1.0.3"), ("10.1.0.4", "10.1.0.5"), ("10.1.0.6", "10.1.0.2")]
    {
        let node = Node::new();
        node.write(&format!("{LEASES}/last_reserved_ip.0"), last);
        assert_eq!(lease(&node, &five()).1, next, "after {last}");
    }
}

#[test]
fn a_full_range_says_so() {
    let node = Node::new();
    let pods: Vec<_> = (0..5).map(|_| lease(&node, &five())).collect();
    let error = node.attach(&five(), &Pod::new()).try_add().err();
    let text = "failed to allocate for range 0: no IP addresses available in range set: \
        10.1.0.1-10.1.0.6";
    assert!(error.text().contains(text), "{error:?}");
    node.attach(&five(), &pods[2].0).del(None);
    assert_eq!(lease(&node, &five()).1, pods[2].1);
}

#[test]
fn start_end_and_gateway_bound_a_range() {
    let node = Node::new();
    let config = ranges(&[json!({"subnet": "10.1.0.0/24", "rangeStart": "10.1.0.10",
        "rangeEnd": "10.1.0.13", "gateway": "10.1.0.11"})]);
    let got: Vec<String> = (0..3).map(|_| lease(&node, &config).1).collect();
    assert_eq!(got, ["10.1.0.10", "10.1.0.12", "10.1.0.13"]);
    node.attach(&config, &Pod::new()).try_add().err();
}

#[test]
fn network_and_broadcast_are_never_given_out() {
    let node = Node::new();
    let config = ranges(&[json!({"subnet": "10.1.0.0/30", "rangeStart": "10.1.0.0",
        "rangeEnd": "10.1.0.3"})]);
    assert_eq!(lease(&node, &config).1, "10.1.0.2");
    node.attach(&config, &Pod::new()).try_add().err();
    let six = Node::new();
    let config = ranges(&[json!({"subnet": "fd00:1::/126", "rangeStart": "fd00:1::"})]);
    let got: Vec<String> = (0..2).map(|_| lease(&six, &config).1).collect();
    assert_eq!(got, ["fd00:1::2", "fd00:1::3"], "IPv6 has no broadcast");
}

#[test]
fn the_ranges_of_a_set_are_one_pool() {
    let node = Node::new();
    let set =
        json!([[{"subnet": "10.1.0.0/30"}, {"subnet": "10.2.0.0/30"}, {"subnet": "10.3.0.0/30"}]]);
    let config = conf::host_local(&set);
    let got: Vec<String> = (0..3).map(|_| lease(&node, &config).1).collect();
    assert_eq!(got, ["10.1.0.2", "10.2.0.2", "10.3.0.2"]);
    let error = node.attach(&config, &Pod::new()).try_add().err();
    assert!(error.text().contains("no IP addresses available in range set"), "{error:?}");
    let strict = conf::with(&config, &json!({"ipam": {"statusWhenFull": "not-ready"}}));
    assert_eq!(node.attach(&strict, &Pod::new()).status().err().code, 50);
}

#[test]
fn old_and_new_keys_mix_with_the_old_one_first() {
    let (node, pod) = (Node::new(), Pod::new());
    let keys = json!({"ipam": {"subnet": "10.9.0.0/24", "rangeStart": "10.9.0.20"}});
    let sets = [json!({"subnet": "10.1.0.0/24"}), json!({"subnet": "fd00:1::/64"})];
    let result = node.attach(&ranges(&sets), &pod).with(&keys).add();
    assert_eq!(addresses(&result), ["10.9.0.20", "10.1.0.2", "fd00:1::2"]);
}

#[test]
fn ranges_from_the_runtime_come_first() {
    let (node, pod) = (Node::new(), Pod::new());
    let keys = json!({"runtimeConfig": {"ipRanges": [[{"subnet": "10.8.0.0/24"}]]}});
    let result = node.attach(&five(), &pod).with(&keys).add();
    assert_eq!(addresses(&result), ["10.8.0.2", "10.1.0.2"]);
}

#[test]
fn a_second_family_that_is_full_gives_the_first_back() {
    let node = Node::new();
    let config = ranges(&[json!({"subnet": "10.1.0.0/24"}), json!({"subnet": "fd00:1::/126"})]);
    let _two = [lease(&node, &config), lease(&node, &config)];
    let before = node.leases();
    let error = node.attach(&config, &Pod::new()).try_add().err();
    assert!(error.text().contains("failed to allocate for range 1"), "{error:?}");
    assert_eq!(node.leases(), before);
}

#[test]
fn many_at_once_get_different_addresses() {
    let node = Node::new();
    let config = ranges(&[json!({"subnet": "10.1.0.0/24"}), json!({"subnet": "fd00:1::/64"})]);
    let got: Vec<String> = thread::scope(|scope| {
        let add = || addresses(&node.attach(&config, &Pod::new()).add());
        let threads: Vec<_> = (0..32).map(|_| scope.spawn(add)).collect();
        threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
    });
    let unique: BTreeSet<&String> = got.iter().collect();
    assert_eq!((got.len(), unique.len()), (64, 64));
    assert_eq!(node.leases().len(), 64);
}

#[test]
fn networks_do_not_share_leases() {
    let (node, one, two) = (Node::new(), Pod::new(), Pod::new());
    let other = conf::with(&five(), &json!({"name": "others"}));
    let first = node.attach(&five(), &one).add();
    let second = node.attach(&other, &two).add();
    assert_eq!(addresses(&first), addresses(&second));
    node.attach(&other, &two).del(None);
    assert_eq!(node.leases(), ["10.1.0.2"]);
}

#[test]
fn an_attachment_holds_one_lease_of_a_range() {
    let (node, pod) = (Node::new(), Pod::new());
    let attachment = node.attach(&five(), &pod);
    attachment.add();
    let error = attachment.try_add().err();
    let text =
        format!("10.1.0.2 has been allocated to {}, duplicate allocation is not allowed", pod.id());
    assert!(error.text().contains(&text), "{error:?}");
    assert_eq!(node.leases(), ["10.1.0.2"]);
    let second = attachment.ifname("net1").add();
    assert_eq!(addresses(&second), ["10.1.0.3"], "another interface is another attachment");
}
