//! CHECK of what a bridge alone has, and of what other plugins of the chain changed. The suite
//! `contract` alters each single thing.

use ferrule_tests::conf::{self, GATEWAY4};
use ferrule_tests::node::Place;
use ferrule_tests::packets::ping;
use ferrule_tests::{Bins, Node, Pod};
use serde_json::json;

#[test]
fn promiscuous_mode() {
    let (node, pod) = (Node::new(), Pod::new());
    let config = conf::with(&conf::v4(), &json!({"promiscMode": true}));
    let attachment = node.attach(&config, &pod);
    let result = attachment.add();
    attachment.check(&result);
    node.run("ip link set cni0 promisc off");
    attachment.try_check(&result).err().expect(101, "promisc");
}

/// The chain's next plugin changes the pod's link; before 1.1.0 results do not contain the MTU.
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
