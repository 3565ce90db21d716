//! What the plugin alone answers.

use ferrule_tests::{Node, Pod, Snapshot, conf, snapshot::assert_same};
use serde_json::{Value, json};

use crate::{alone, ipam};

/// It keeps nothing: no call changes the node.
#[test]
fn no_call_leaves_anything() {
    let (node, pod) = (Node::new(), Pod::new());
    let before = Snapshot::of(&node);
    let attachment = node.attach(&alone(&ipam(5)), &pod);
    let result = attachment.add();
    attachment.check(&result);
    attachment.status().ok();
    attachment.gc(&[]).ok();
    attachment.del(Some(&result));
    attachment.del(None);
    assert_same(&before, &Snapshot::of(&node));
}

/// The reference passes an address that is missing from prevResult.
#[test]
fn check_names_what_prev_result_lacks() {
    let (node, pod) = (Node::new(), Pod::new());
    let attachment = node.attach(&alone(&ipam(5)), &pod);
    let result = attachment.add();
    type Alteration = fn(&mut Value);
    let cases: [(Alteration, &str); 4] = [
        (|ips| *ips = json!([]), "prevResult has no address 10.1.0.5/24"),
        (|ips| drop(ips.as_array_mut().unwrap().pop()), "prevResult has no address fd00:1::5/64"),
        (
            |ips| ips[0]["address"] = json!("10.1.0.5/16"),
            "prevResult has 10.1.0.5/16, configured is 10.1.0.5/24",
        ),
        (
            |ips| drop(ips[1].as_object_mut().unwrap().remove("gateway")),
            "prevResult has no gateway, configured is fd00:1::1",
        ),
    ];
    for (alter, why) in cases {
        let mut altered = result.clone();
        alter(&mut altered["ips"]);
        attachment.try_check(&altered).err().expect(101, why);
    }
}

/// A gateway that the configuration leaves open is the main plugin's to fill in.
#[test]
fn check_takes_any_gateway_where_none_is_configured() {
    let (node, pod) = (Node::new(), Pod::new());
    let open = json!({"type": "static", "addresses": [{"address": "10.1.0.5/24"}]});
    let attachment = node.attach(&alone(&open), &pod);
    let mut result = attachment.add();
    result["ips"][0]["gateway"] = json!("10.1.0.77");
    attachment.check(&result);
}

#[test]
fn status_says_what_add_would() {
    let (node, pod) = (Node::new(), Pod::new());
    let broken = json!({"type": "static", "addresses": [{"address": "10.1.0.5"}]});
    let attachment = node.attach(&alone(&broken), &pod);
    let words = "the 'address' field is expected to be in CIDR notation, got: '10.1.0.5'";
    attachment.status().err().expect(7, words);
    attachment.try_add().err().expect(7, "ipam.addresses[0].address");
}

/// One from the configuration and from CNI_ARGS: the kernel would refuse the second.
#[test]
fn an_address_that_is_named_twice_is_assigned_once() {
    let (node, pod) = (Node::new(), Pod::new());
    let config = conf::with(&conf::l2(), &json!({"ipam": ipam(5)}));
    let attachment = node.attach(&config, &pod).args("IP=10.1.0.5/24");
    let result = attachment.add();
    assert_eq!(ferrule_tests::invoke::addresses(&result), ["10.1.0.5", "fd00:1::5"]);
}

#[test]
fn a_gateway_of_cni_args_that_serves_no_address_is_a_warning() {
    let (node, pod) = (Node::new(), Pod::new());
    let outcome =
        node.attach(&alone(&ipam(5)), &pod).args("IP=10.2.0.5/24;GATEWAY=10.9.0.1").try_add();
    outcome.ok();
    assert!(outcome.stderr.contains("GATEWAY 10.9.0.1 of CNI_ARGS is not used"), "{outcome:?}");
}
