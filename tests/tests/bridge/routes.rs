//! Routes of several networks in one pod, and destinations on the link.

use ferrule_tests::conf;
use ferrule_tests::node::Place;
use ferrule_tests::packets::ping;
use ferrule_tests::{Attachment, Node, Pod};
use serde_json::{Value, json};
use std::collections::BTreeSet;

/// The nth network of a pod: a bridge of its own, both families, default routes; the pod's
/// interface is eth and the number.
fn attach<'a>(node: &'a Node, pod: &Pod, nth: usize, keys: &Value) -> Attachment<'a> {
    let ranges = json!([[{"subnet": format!("10.{nth}.0.0/24")}],
        [{"subnet": format!("fd00:{nth}::/64")}]]);
    let network = json!({"name": format!("n{nth}"), "bridge": format!("br{nth}"),
        "isDefaultGateway": true, "ipam": {"type": "host-local", "ranges": ranges}});
    let config = conf::with(&conf::with(&conf::l2(), &network), keys);
    node.attach(&config, pod).ifname(&format!("eth{nth}"))
}

/// By which links 32 flows of each family leave for a destination that no network holds.
fn links_out(pod: &Pod) -> BTreeSet<String> {
    let one = |address: String| {
        let taken = pod.run(&format!("ip route get {address}"));
        let mut words = taken.split_whitespace().skip_while(|word| *word != "dev");
        words.nth(1).unwrap_or("none").to_owned()
    };
    let flows = (1..=32).flat_map(|n| [format!("192.0.2.{n}"), format!("2001:db8::{n}")]);
    flows.map(one).collect()
}

fn only(link: &str) -> BTreeSet<String> {
    BTreeSet::from([link.to_owned()])
}

#[test]
fn the_first_of_two_networks_stays_the_default() {
    // Default routes of isDefaultGateway, or of IPAM.
    let of_ipam = json!({"isDefaultGateway": false, "isGateway": true,
        "ipam": {"routes": [{"dst": "0.0.0.0/0"}, {"dst": "::/0"}]}});
    for keys in [json!({}), of_ipam] {
        let (node, pod) = (Node::new(), Pod::new());
        let all: Vec<_> = (1..=3).map(|nth| attach(&node, &pod, nth, &keys)).collect();
        let results: Vec<_> = all.iter().map(Attachment::add).collect();
        assert_eq!(links_out(&pod), only("eth1"));
        for (attachment, result) in all.iter().zip(&results) {
            attachment.check(result);
        }
        for nth in 1..=3 {
            ping(&pod, &format!("10.{nth}.0.1"));
            ping(&pod, &format!("fd00:{nth}::1"));
        }
        // The next one follows where the first goes, and CHECK of the others still passes.
        all[0].del(Some(&results[0]));
        assert_eq!(links_out(&pod), only("eth2"));
        all[1].check(&results[1]);
        all[2].check(&results[2]);
    }
}

#[test]
fn networks_with_a_route_to_one_destination_do_not_share_it() {
    let (node, pod) = (Node::new(), Pod::new());
    let routes = json!([{"dst": "192.0.2.0/24"}, {"dst": "2001:db8::/32"}]);
    let keys = json!({"isDefaultGateway": false, "isGateway": true, "ipam": {"routes": routes}});
    attach(&node, &pod, 1, &keys).add();
    attach(&node, &pod, 2, &keys).add();
    assert_eq!(links_out(&pod), only("eth1"));
}

#[test]
fn a_metric_says_which_network_is_the_default() {
    for (first, second, link) in [
        (json!({}), json!({"metric": 2000}), "eth1"),
        (json!({"metric": 2000}), json!({}), "eth2"),
        (json!({"metric": 300}), json!({"metric": 200}), "eth2"),
    ] {
        let (node, pod) = (Node::new(), Pod::new());
        let one = attach(&node, &pod, 1, &first);
        let two = attach(&node, &pod, 2, &second);
        let (result, other) = (one.add(), two.add());
        assert_eq!(links_out(&pod), only(link), "{first} {second}");
        one.check(&result);
        two.check(&other);
    }
}

#[test]
fn a_metric_is_in_the_result_and_check_sees_another() {
    for family in ["-4", "-6"] {
        let (node, pod) = (Node::new(), Pod::new());
        let attachment = attach(&node, &pod, 1, &json!({"metric": 500}));
        let result = attachment.add();
        assert_eq!(result["routes"][0]["priority"], 500, "{result:#}");
        attachment.check(&result);
        let via = if family == "-4" { "10.1.0.1" } else { "fd00:1::1" };
        pod.sh(&format!(
            "ip {family} route del default; ip {family} route add default via {via} metric 501"
        ));
        let error = attachment.try_check(&result).err();
        assert!(error.text().contains("/0 via"), "{error:?}");
    }
}

#[test]
fn results_that_have_no_priorities_are_checked_all_the_same() {
    let (node, pod) = (Node::new(), Pod::new());
    let old = |keys: Value| conf::with(&keys, &json!({"cniVersion": "1.0.0"}));
    let one = attach(&node, &pod, 1, &old(json!({"metric": 500})));
    let two = attach(&node, &pod, 2, &old(json!({"metric": 500})));
    let three = attach(&node, &pod, 3, &old(json!({})));
    for attachment in [&one, &three, &two] {
        let mut result = attachment.add();
        // As by releases and runtimes that know no priority of a route.
        for route in result["routes"].as_array_mut().unwrap() {
            route.as_object_mut().unwrap().remove("priority");
        }
        attachment.check(&result);
    }
}

/// 169.254.169.254 of clouds: on the link, without a gateway.
#[test]
fn a_route_of_scope_link_has_no_gateway() {
    let (node, pod) = (Node::new(), Pod::new());
    node.run("ip addr add 169.254.169.254/32 dev lo");
    let routes = json!([{"dst": "0.0.0.0/0"}, {"dst": "169.254.169.254/32", "scope": 253},
        {"dst": "192.0.2.0/24", "scope": 0}, {"dst": "2001:db8::/64", "scope": 253}]);
    let attachment = attach(&node, &pod, 1, &json!({"ipam": {"routes": routes}}));
    let result = attachment.add();
    let shown = pod.run("ip route show 169.254.169.254");
    assert!(shown.starts_with("169.254.169.254 dev eth1 scope link"), "{shown}");
    assert!(pod.run("ip route show 192.0.2.0/24").contains("via 10.1.0.1"));
    assert!(!pod.run("ip route show 2001:db8::/64").contains("via"));
    ping(&pod, "169.254.169.254");
    attachment.check(&result);
    pod.run("ip route replace 169.254.169.254 via 10.1.0.1 dev eth1");
    let error = attachment.try_check(&result).err();
    assert!(error.text().contains("169.254.169.254"), "{error:?}");
}

#[test]
fn a_route_of_scope_link_by_a_gateway_is_refused_before_anything_is_made() {
    let (node, pod) = (Node::new(), Pod::new());
    let routes = json!([{"dst": "192.0.2.1/32", "scope": 253, "gw": "10.1.0.1"}]);
    let error = attach(&node, &pod, 1, &json!({"ipam": {"routes": routes}})).try_add().err();
    error.expect(7, "the route to 192.0.2.1/32 has the scope 253 and the gateway 10.1.0.1");
    assert!(pod.links().is_empty() && node.leases_of("n1").is_empty());
}
