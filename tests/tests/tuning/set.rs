//! What ADD sets, by which key, and what it says of it.

use ferrule_tests::node::Place;
use ferrule_tests::{Chain, Node, Pod, conf};
use serde_json::json;

use crate::{MAC, SET, all_keys, tuned, values};

#[test]
fn every_key_is_set_and_checked() {
    let (node, pod) = (Node::new(), Pod::new());
    let chain = tuned(&node, &pod, &all_keys());
    let result = chain.add();
    assert_eq!(values(&pod), SET);
    chain.check(&result);
    let eth0 = &result["interfaces"][2];
    assert_eq!((&eth0["mac"], &eth0["mtu"]), (&json!(MAC), &json!(1400)));
    assert_eq!(eth0["name"], "eth0");
}

/// Everything else of the result is that of the plugins before.
#[test]
fn the_result_of_the_plugins_before_is_passed_on() {
    for version in ["0.1.0", "0.2.0", "0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0"] {
        let (node, pod) = (Node::new(), Pod::new());
        let keys = json!({"type": "tuning", "sysctl": {"net.core.somaxconn": "77"}});
        let main = conf::with(&conf::dual(), &json!({"cniVersion": version}));
        let chain = Chain::new(&node, &pod, &main, &[keys]);
        let before = chain.add_before();
        assert_eq!(chain.try_add_last(&before).ok(), before, "{version}");
        assert_eq!(pod.sysctl("net/core/somaxconn"), "77", "{version}");
    }
}

/// A name with a dot, by each way to write the key.
#[test]
fn a_sysctl_of_an_interface_with_a_dot_in_its_name() {
    for key in [
        "net.ipv4.conf.IFNAME.arp_filter",
        "net.ipv4.conf.eth0.7.arp_filter",
        "net.ipv4.conf.eth0/7.arp_filter",
        "net/ipv4/conf/eth0.7/arp_filter",
    ] {
        let (node, pod) = (Node::new(), Pod::new());
        let chain = tuned(&node, &pod, &json!({"sysctl": {key: "1"}})).each(|a| a.ifname("eth0.7"));
        let result = chain.add();
        assert_eq!(pod.sysctl("net/ipv4/conf/eth0.7/arp_filter"), "1", "{key}");
        chain.check(&result);
        chain.del(Some(&result));
    }
}

/// A list that is to be empty is no value that is missing.
#[test]
fn an_empty_value_empties_a_list() {
    let (node, pod) = (Node::new(), Pod::new());
    pod.set_sysctl("net/ipv4/ip_local_reserved_ports", "8080,9000-9010");
    let chain = tuned(&node, &pod, &json!({"sysctl": {"net.ipv4.ip_local_reserved_ports": ""}}));
    let result = chain.add();
    assert_eq!(pod.sysctl("net/ipv4/ip_local_reserved_ports"), "");
    chain.check(&result);
    chain.last().del(Some(&result));
    assert_eq!(pod.sysctl("net/ipv4/ip_local_reserved_ports"), "8080,9000-9010");
}

/// A number has no empty value.
#[test]
fn an_empty_value_of_what_is_no_list_is_refused_by_key() {
    for value in [json!(""), json!(null)] {
        let (node, pod) = (Node::new(), Pod::new());
        let before = pod.sysctl("net/core/somaxconn");
        let keys = json!({"mtu": 1400, "sysctl": {"net.core.somaxconn": value}});
        let chain = tuned(&node, &pod, &keys);
        let previous = chain.add_before();
        let error = chain.try_add_last(&previous).err();
        error.expect(100, "set sysctl net/core/somaxconn to \"\"");
        error.expect(100, "an empty value empties a list, and this is none");
        assert_eq!(pod.sysctl("net/core/somaxconn"), before);
        assert_eq!(pod.link("eth0").unwrap()["mtu"], 1500);
    }
}

/// A file that can only be written has no value of before, nor one for CHECK.
#[test]
fn a_sysctl_that_cannot_be_read_is_written() {
    let (node, pod) = (Node::new(), Pod::new());
    let chain = tuned(&node, &pod, &json!({"sysctl": {"net.ipv4.route.flush": "1"}}));
    let result = chain.add();
    chain.check(&result);
    chain.del(Some(&result));
}

/// Those of every link are written before those of one, which they would overwrite.
#[test]
fn a_sysctl_of_all_links_does_not_overwrite_that_of_one() {
    let (node, pod) = (Node::new(), Pod::new());
    let sysctl = json!({"sysctl": {"net.ipv4.conf.IFNAME.forwarding": "0",
        "net.ipv4.conf.all.forwarding": "1"}});
    let chain = tuned(&node, &pod, &sysctl);
    let result = chain.add();
    let values = ["all", "eth0"].map(|of| pod.sysctl(&format!("net/ipv4/conf/{of}/forwarding")));
    assert_eq!(values, ["1", "0"]);
    chain.check(&result);
}

#[test]
fn the_mac_address_of_the_runtime_comes_before_the_networks() {
    let (node, pod) = (Node::new(), Pod::new());
    let of = |last: u8| format!("02:00:00:00:00:{last:02x}");
    let keys =
        json!({"mac": of(1), "runtimeConfig": {"mac": of(3)}, "args": {"cni": {"mac": of(4)}}});
    let wanted = [
        (json!({}), of(4)),
        (json!({"args": null}), of(3)),
        (json!({"args": null, "runtimeConfig": null}), of(2)),
    ];
    for (less, mac) in wanted {
        let chain = tuned(&node, &pod, &keys);
        let before = chain.add_before();
        chain
            .last()
            .clone()
            .with(&less)
            .args("MAC=02:00:00:00:00:02")
            .call("ADD", Some(&before))
            .run(&node)
            .ok();
        assert_eq!(pod.link("eth0").unwrap()["address"], mac);
        chain.del(None);
    }
}
