//! Configurations that are refused, with the texts that people search for.

use ferrule_tests::node::Place;
use ferrule_tests::{Node, Pod, conf};
use serde_json::{Value, json};

use crate::{LEASES, five};

#[track_caller]
fn refused(config: &Value, text: &str) {
    let (node, pod) = (Node::new(), Pod::new());
    let error = node.attach(config, &pod).try_add().err();
    error.expect(7, text);
    assert!(!node.exists(LEASES), "refused, and yet {LEASES} was made");
}

fn set(ranges: &Value) -> Value {
    conf::host_local(&json!([ranges]))
}

#[test]
fn missing_parts() {
    refused(&conf::with(&five(), &json!({"ipam": null})), "IPAM config missing 'ipam' key");
    refused(&conf::host_local(&json!([])), "no IP ranges specified");
    refused(&conf::with(&five(), &json!({"ipam": {"ranges": null}})), "no IP ranges specified");
    refused(&set(&json!([])), "invalid range set 0: empty range set");
}

#[test]
fn ranges_that_clash() {
    let mixed = set(&json!([{"subnet": "10.1.0.0/24"}, {"subnet": "fd00:1::/64"}]));
    refused(&mixed, "invalid range set 0: mixed address families");
    let within = set(&json!([{"subnet": "10.1.0.0/24"}, {"subnet": "10.1.0.0/25"}]));
    refused(&within, "overlap");
    let between =
        conf::host_local(&json!([[{"subnet": "10.1.0.0/24"}], [{"subnet": "10.1.0.0/25"}]]));
    refused(&between, "range set 0 overlaps with 1");
}

#[test]
fn ranges_that_cannot_be() {
    for subnet in ["10.1.0.0/31", "10.1.0.0/32", "fd00:1::/127", "fd00:1::/128"] {
        let text = format!("Network {subnet} too small to allocate from");
        refused(&set(&json!([{"subnet": subnet}])), &text);
    }
    refused(
        &set(&json!([{"subnet": "10.1.0.7/24"}])),
        "Network has host bits set. For a subnet mask of length 24 the network address is 10.1.0.0",
    );
    let range = |start: &str, end: &str| {
        set(&json!([{"subnet": "10.1.0.0/24", "rangeStart": start, "rangeEnd": end}]))
    };
    refused(&range("10.2.0.1", "10.1.0.9"), "RangeStart 10.2.0.1 not in network 10.1.0.0/24");
    refused(&range("10.1.0.1", "10.2.0.9"), "RangeEnd 10.2.0.9 not in network 10.1.0.0/24");
    refused(&range("fd00::1", "10.1.0.9"), "RangeStart fd00::1 not in network 10.1.0.0/24");
    refused(&range("10.1.0.20", "10.1.0.10"), "10.1.0.20");
    refused(&set(&json!([{"subnet": "nonsense"}])), "nonsense");
    refused(&set(&json!([{"subnet": 7}])), "subnet");
}

/// Accepted for the sake of what is in use, and said.
#[test]
fn a_gateway_outside_of_its_subnet_is_warned_of() {
    let (node, pod) = (Node::new(), Pod::new());
    let config = set(&json!([{"subnet": "10.1.0.0/24", "gateway": "10.2.0.1"}]));
    let outcome = node.attach(&config, &pod).try_add();
    assert_eq!(outcome.ok()["ips"][0]["gateway"], "10.2.0.1");
    assert!(outcome.stderr.contains("10.2.0.1"), "{:?}", outcome.stderr);
}

#[test]
fn more_than_one_address_of_a_family_before_0_3_0() {
    let sets = json!([[{"subnet": "10.1.0.0/24"}], [{"subnet": "10.2.0.0/24"}]]);
    for version in ["0.1.0", "0.2.0"] {
        let config = conf::with(&conf::host_local(&sets), &json!({"cniVersion": version}));
        let text = format!("CNI version {version} does not support more than 1 address per family");
        refused(&config, &text);
    }
}

#[test]
fn a_pool_of_only_its_gateway_says_so() {
    let (node, pod) = (Node::new(), Pod::new());
    let range = json!({"subnet": "10.1.0.0/30", "rangeStart": "10.1.0.1", "rangeEnd": "10.1.0.1"});
    let error = node.attach(&set(&json!([range])), &pod).try_add().err();
    error.expect(102, "no IP addresses available in range set: 10.1.0.1-10.1.0.1");
    error.expect(102, "holds nothing but its gateway");
    assert!(!error.text().contains("delete pods"), "{error:?}");
}

/// Names that would leave the lease directory.
#[test]
fn names_that_are_paths() {
    for name in ["../escape", "a/b", "..", ".", "", "a\u{0}b"] {
        refused_anyhow(&conf::with(&five(), &json!({"name": name})));
    }
    for id in ["../../etc", "a/b", "", "-x", "a\r\nb"] {
        let (node, pod) = (Node::new(), Pod::new());
        let mut attachment = node.attach(&five(), &pod);
        id.clone_into(&mut attachment.container);
        let error = attachment.try_add().err();
        assert_eq!(error.code, 4, "{id:?}: {error:?}");
        assert!(!node.exists(LEASES));
    }
}

#[track_caller]
fn refused_anyhow(config: &Value) {
    let (node, pod) = (Node::new(), Pod::new());
    let error = node.attach(config, &pod).try_add().err();
    assert_eq!(error.code, 7, "{error:?}");
    assert_eq!(node.sh("find /var/lib /run -type f"), "");
}
