use super::*;
use serde_json::{Value, json};

/// A node of these addresses in its status, pod CIDRs and annotations.
fn object(addresses: &[(&str, &str)], cidrs: &[&str], annotations: Value) -> Arc<objects::Node> {
    let listed = addresses.iter().map(|(kind, address)| json!({"type": kind, "address": address}));
    let listed: Vec<Value> = listed.collect();
    let object = json!({
        "metadata": {"name": "a", "annotations": annotations},
        "spec": {"podCIDRs": cidrs}, "status": {"addresses": listed},
    });
    Arc::new(serde_json::from_value(object).unwrap())
}

/// Its addresses and CIDRs, and what was refused.
fn read(object: Arc<objects::Node>) -> (Vec<String>, Vec<String>, Vec<String>) {
    let set = node_set(&[object]).unwrap();
    let node = &set.nodes[0];
    assert!(set.refused.iter().all(|refused| refused.node == "a" && refused.cidr.is_none()));
    let refused = set.refused.iter().map(|refused| refused.reason.clone()).collect();
    let text = |values: &[IpAddr]| values.iter().map(ToString::to_string).collect();
    (text(&node.addresses), node.pod_cidrs.iter().map(ToString::to_string).collect(), refused)
}

const STATUS: [(&str, &str); 7] = [
    ("Hostname", "a"),
    ("ExternalIP", "203.0.113.1"),
    ("InternalIP", "192.0.2.1"),
    ("InternalIP", "192.0.2.99"),
    ("ExternalIP", "2001:db8::e"),
    ("InternalDNS", "a.internal"),
    ("InternalIP", "2001:db8::1"),
];

#[test]
fn the_first_internal_address_of_each_family_counts() {
    let (addresses, cidrs, refused) =
        read(object(&STATUS, &["10.244.1.0/24", "fd00:1::/64"], json!({})));
    assert_eq!(addresses, ["192.0.2.1", "2001:db8::1"]);
    assert_eq!(cidrs, ["10.244.1.0/24", "fd00:1::/64"]);
    assert_eq!(refused, [""; 0]);
}

#[test]
fn without_an_internal_one_an_external_one_does() {
    let (addresses, ..) = read(object(&STATUS[..2], &[], json!({})));
    assert_eq!(addresses, ["203.0.113.1"]);
    // Each family by itself.
    let (addresses, ..) = read(object(&STATUS[..5], &[], json!({})));
    assert_eq!(addresses, ["192.0.2.1", "2001:db8::e"]);
    let (addresses, cidrs, refused) = read(object(&[("InternalIP", "a.example")], &[], json!({})));
    assert!(addresses.is_empty() && cidrs.is_empty() && refused.is_empty());
}

#[test]
fn annotations_override_the_addresses_of_their_family() {
    let both = json!({"ferrule.io/node-addresses": "198.51.100.1, 198.51.100.2 2001:db8:1::1"});
    let (addresses, ..) = read(object(&STATUS, &[], both));
    assert_eq!(addresses, ["198.51.100.1", "198.51.100.2", "2001:db8:1::1"]);
    let flannel = json!({"flannel.alpha.coreos.com/public-ip-overwrite": "198.51.100.9"});
    let (addresses, ..) = read(object(&STATUS, &[], flannel));
    assert_eq!(addresses, ["198.51.100.9", "2001:db8::1"]);
    let mixed = json!({
        "ferrule.io/node-addresses": "198.51.100.1",
        "flannel.alpha.coreos.com/public-ip-overwrite": "198.51.100.9",
        "flannel.alpha.coreos.com/public-ipv6-overwrite": "2001:db8:9::9",
    });
    let (addresses, ..) = read(object(&STATUS, &[], mixed));
    assert_eq!(addresses, ["198.51.100.1", "2001:db8:9::9"]);
}

#[test]
fn more_cidrs_come_by_annotation() {
    let more = json!({"ferrule.io/pod-cidrs": "10.244.1.0/24,10.245.1.0/24"});
    let (_, cidrs, refused) = read(object(&[], &["10.244.1.0/24"], more));
    assert_eq!(cidrs, ["10.244.1.0/24", "10.245.1.0/24"]);
    assert_eq!(refused, [""; 0]);
}

#[test]
fn what_is_malformed_is_named_and_the_rest_counts() {
    let wrong = json!({
        "ferrule.io/node-addresses": "198.51.100.1,eth1",
        "ferrule.io/pod-cidrs": "10.245.1.0",
        "flannel.alpha.coreos.com/public-ip-overwrite": "2001:db8::9",
        "flannel.alpha.coreos.com/public-ipv6-overwrite": "",
    });
    let (addresses, cidrs, refused) = read(object(&STATUS, &["10.244.1.0/24", "x"], wrong));
    assert_eq!(addresses, ["192.0.2.1", "2001:db8::1"]);
    assert_eq!(cidrs, ["10.244.1.0/24"]);
    assert_eq!(
        refused,
        [
            "annotation ferrule.io/node-addresses is \"198.51.100.1,eth1\" and is ignored: write \
             addresses separated by commas, as \"192.0.2.11,2001:db8::11\"",
            "annotation flannel.alpha.coreos.com/public-ip-overwrite is \"2001:db8::9\" and is \
             ignored: write one IPv4 address",
            "annotation flannel.alpha.coreos.com/public-ipv6-overwrite is \"\" and is ignored: \
             write one IPv6 address",
            "spec.podCIDRs has \"x\", which is no CIDR",
            "annotation ferrule.io/pod-cidrs is \"10.245.1.0\" and is ignored: write CIDRs \
             separated by commas, as \"10.244.9.0/24,fd00:10:244:9::/64\"",
        ]
    );
}

#[test]
fn a_node_that_was_made_again_has_its_new_cidr() {
    let before = read(object(&STATUS, &["10.244.1.0/24"], json!({})));
    let after = read(object(&STATUS, &["10.244.7.0/24"], json!({})));
    assert_eq!((before.0, after.1), (after.0, vec!["10.244.7.0/24".to_owned()]));
}

#[test]
fn what_other_networks_write_does_not_matter() {
    let others = json!({
        "flannel.alpha.coreos.com/public-ip": "203.0.113.7",
        "flannel.alpha.coreos.com/backend-type": "vxlan",
        "projectcalico.org/IPv4Address": "203.0.113.7/24",
        "kube-router.io/pod-cidr": "10.9.0.0/24",
        "io.cilium.network.ipv4-pod-cidr": "10.9.0.0/24",
    });
    let with = node_set(&[object(&STATUS, &["10.244.1.0/24"], others)]);
    assert_eq!(with, node_set(&[object(&STATUS, &["10.244.1.0/24"], json!({}))]));
}
