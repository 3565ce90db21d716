//! SCTP of pods.

use ferrule_tests::chain::Chain;
use ferrule_tests::conf;
use ferrule_tests::outside::{NODE4, NODE6, OUTSIDE4, OUTSIDE6};
use ferrule_tests::{Node, Outside, Pod};
use serde_json::json;

use crate::peer::Server;

#[test]
fn an_association_across_the_masquerade_has_the_nodes_address() {
    let (node, pod) = (Node::new(), Pod::new());
    let outside = Outside::beside(&node);
    node.attach(&conf::with(&conf::dual(), &json!({"ipMasq": true})), &pod).add();
    let server = Server::at(&outside, "SCTP", 5000);
    assert_eq!(server.sees(&pod, OUTSIDE4, 5000), NODE4);
    assert_eq!(server.sees(&pod, OUTSIDE6, 5000), NODE6);
}

#[test]
fn an_association_between_pods_keeps_their_addresses() {
    let (node, one, two) = (Node::new(), Pod::new(), Pod::new());
    let config = conf::with(&conf::v4(), &json!({"ipMasq": true}));
    node.attach(&config, &one).add();
    node.attach(&config, &two).add();
    assert_eq!(Server::at(&two, "SCTP", 5000).sees(&one, "10.1.0.3", 5000), "10.1.0.2");
}

#[test]
fn a_host_port_leads_to_its_pod_until_del() {
    let (node, pod) = (Node::new(), Pod::new());
    let outside = Outside::beside(&node);
    let ports = json!([{"hostPort": 8080, "containerPort": 5000, "protocol": "SCTP"}]);
    let portmap = json!({"type": "portmap", "capabilities": {"portMappings": true},
        "runtimeConfig": {"portMappings": ports}});
    let main = conf::with(&conf::dual(), &json!({"ipMasq": true}));
    let chain = Chain::new(&node, &pod, &main, &[portmap]);
    let result = chain.add();
    let server = Server::at(&pod, "SCTP", 5000);
    assert_eq!(server.sees(&outside, NODE4, 8080), OUTSIDE4);
    assert_eq!(server.sees(&outside, NODE6, 8080), OUTSIDE6);
    server.sees(&node, NODE4, 8080);
    chain.check(&result);
    chain.del(Some(&result));
}
