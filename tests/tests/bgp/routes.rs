//! Routes of several networks in one pod, and destinations on the link.

use ferrule_tests::conf::with;
use ferrule_tests::node::Place;
use ferrule_tests::packets::ping;
use ferrule_tests::{Attachment, Node, Pod};
use serde_json::{Value, json};

use crate::dual;

fn second(keys: &Value) -> Value {
    let ranges = json!([[{"subnet": "10.2.0.0/24"}], [{"subnet": "fd00:2::/64"}]]);
    with(&dual(), &with(&json!({"name": "second", "ipam": {"ranges": ranges}}), keys))
}

/// By which link a packet of each family leaves.
fn links_out(pod: &Pod) -> Vec<String> {
    let dev = |address: &str| {
        let taken = pod.run(&format!("ip route get {address}"));
        let mut words = taken.split_whitespace().skip_while(|word| *word != "dev");
        words.nth(1).unwrap_or("none").to_owned()
    };
    ["192.0.2.9", "2001:db8::9"].map(dev).to_vec()
}

fn both<'a>(node: &'a Node, pod: &Pod, keys: &Value) -> [Attachment<'a>; 2] {
    [node.attach(&dual(), pod), node.attach(&second(keys), pod).ifname("eth1")]
}

#[test]
fn the_first_of_two_networks_stays_the_default_unless_a_metric_decides() {
    for (keys, link) in [(json!({}), "eth0"), (json!({"metric": 2000}), "eth0")] {
        let (node, pod) = (Node::new(), Pod::new());
        let attachments = both(&node, &pod, &keys);
        let results = attachments.each_ref().map(Attachment::add);
        assert_eq!(links_out(&pod), [link, link], "{keys}");
        for (attachment, result) in attachments.iter().zip(&results) {
            attachment.check(result);
        }
    }
    let (node, pod) = (Node::new(), Pod::new());
    node.attach(&with(&dual(), &json!({"metric": 2000})), &pod).add();
    node.attach(&second(&json!({})), &pod).ifname("eth1").add();
    assert_eq!(links_out(&pod), ["eth1", "eth1"]);
}

/// 169.254.169.254 of clouds: on the link, without a gateway.
#[test]
fn a_route_of_scope_link_has_no_gateway() {
    let (node, pod) = (Node::new(), Pod::new());
    node.run("ip addr add 169.254.169.254/32 dev lo");
    let routes = json!({"ipam": {"routes": [{"dst": "0.0.0.0/0"}, {"dst": "::/0"},
        {"dst": "169.254.169.254/32", "scope": 253}]}});
    let attachment = node.attach(&dual(), &pod).with(&routes);
    let result = attachment.add();
    let shown = pod.run("ip route show 169.254.169.254");
    assert!(shown.starts_with("169.254.169.254 dev eth0 scope link"), "{shown}");
    ping(&pod, "169.254.169.254");
    attachment.check(&result);
}
