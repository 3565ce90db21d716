//! CHECK names what differs.

use ferrule_tests::conf;
use ferrule_tests::node::Place;
use ferrule_tests::{Bins, Node, Pod};
use serde_json::{Value, json};

use crate::{Chain, both, host_end, ifbs};

#[test]
fn each_alteration_is_named() {
    let alterations = [
        ("tc qdisc del dev HOST root", "rate limit of HOST: missing"),
        ("tc qdisc replace dev HOST root handle 1: tbf rate 9mbit burst 100000 limit 125000",
            "rate limit of HOST: rate in bit/s is 9000000, not 8000000"),
        ("tc qdisc replace dev IFB root handle 1: tbf rate 8mbit burst 50000 limit 125000",
            "rate limit of IFB: burst in bytes is 50000, not 100000"),
        ("tc qdisc replace dev IFB root handle 1: tbf rate 8mbit burst 100000 limit 5000",
            "rate limit of IFB: limit in bytes is 5000, not 125000"),
        ("tc qdisc replace dev HOST root handle 2: tbf rate 8mbit burst 100000 limit 125000",
            "rate limit of HOST: missing"),
        ("tc qdisc del dev HOST ingress", "redirection of HOST to IFB: missing"),
        ("tc filter del dev HOST ingress prio 1", "redirection of HOST to IFB: missing"),
        ("ip link add other up type ifb; tc filter del dev HOST ingress prio 1
            tc filter add dev HOST ingress prio 1 protocol all u32 match u32 0 0 action mirred egress redirect dev other",
            "redirection of HOST to IFB: it leads to link"),
        ("ip link set IFB down", "link IFB: it is down"),
        ("ip link set IFB mtu 1000", "IFB device IFB: MTU is 1000, not 1500"),
        ("ip link set IFB alias other", "IFB device IFB: alias is \"other\""),
        ("ip link del IFB", "IFB device IFB: missing"),
    ];
    for (script, wanted) in alterations {
        let (node, pod) = (Node::new(), Pod::new());
        let chain = Chain::new(&node, &conf::v4(), &both(), &pod);
        let result = chain.add(&node);
        chain.bandwidth.check(&result);
        let (host, ifb) = (host_end(&result), ifbs(&node).remove(0));
        let named = |text: &str| {
            text.replace("HOST", &host)
                .replace("IFB device IFB", "IFB-device IFB")
                .replace("IFB-device", "\u{1}")
                .replace("IFB", &ifb)
                .replace('\u{1}', "IFB device")
        };
        node.sh(&script.replace("HOST", &host).replace("IFB", &ifb));
        chain.bandwidth.try_check(&result).err().expect(101, &named(wanted));
        // A repeated ADD mends it.
        let mut previous = result.clone();
        previous["interfaces"].as_array_mut().unwrap().pop();
        let again = chain.bandwidth.call("ADD", Some(&previous)).run(&node);
        if script.contains("alias other") {
            // A link with the mark of others is theirs.
            again.err().expect(103, "is in use");
        } else if script.contains("handle 2") {
            again.err().expect(103, "has a root qdisc of another program");
        } else if script.contains("dev other") {
            again.err().expect(103, "has a qdisc ingress of another program");
        } else {
            chain.bandwidth.check(&again.ok());
        }
    }
}

#[test]
fn what_is_not_asked_for_is_not_compared() {
    let (node, pod) = (Node::new(), Pod::new());
    let chain = Chain::new(&node, &conf::v4(), &json!({}), &pod);
    let result = chain.add(&node);
    node.run(&format!(
        "tc qdisc add dev {} root tbf rate 9mbit burst 10000 limit 9999",
        host_end(&result)
    ));
    chain.bandwidth.check(&result);
    assert!(!node.exists("/run/ferrule/attachments/bandwidth-*"));
}

#[test]
fn limits_of_the_reference_pass_and_its_check_passes_ours() {
    let whole = json!({"ingressRate": 10_000_000, "ingressBurst": 2_000_000,
        "egressRate": 7_000_000, "egressBurst": 4_000_000});
    // What containerd asks for, whatever the rate.
    let containerd = json!({"runtimeConfig": {"bandwidth": {"ingressRate": 10_000_000,
        "ingressBurst": 4_294_967_295_u64, "egressRate": 1_000_000,
        "egressBurst": 4_294_967_295_u64}}});
    let both_ways = [(Bins::reference(), Bins::ours()), (Bins::ours(), Bins::reference())];
    let reference_makes = |bins: &Bins| bins.is_reference();
    for (maker, checker) in &both_ways {
        for keys in [&whole, &containerd] {
            if !reference_makes(maker) && *keys == containerd {
                // Its own figure for such a burst is what is left in 32 bits.
                continue;
            }
            let (node, pod) = (Node::new(), Pod::new());
            let old = json!({"cniVersion": "1.0.0"});
            let main = conf::with(&conf::v4(), &old);
            let chain = Chain::new(&node, &main, &conf::with(keys, &old), &pod).by(maker);
            let result: Value = chain.add(&node);
            chain.bandwidth.by(checker).check(&result);
        }
    }
}
