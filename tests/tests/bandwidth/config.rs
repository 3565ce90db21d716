//! Which configurations are served, beside the reference.

use ferrule_tests::conf::{self, with};
use ferrule_tests::node::Place;
use ferrule_tests::{Bins, Node, Pod, bins, peers, tool};
use serde_json::{Value, json};
use std::process::Command;

use crate::{host_end, limits, shaping};

/// The outcome of an ADD behind bridge, by a folder's executables: what `tc` shows of the host's end, or
/// the error.
fn outcome(bins: &Bins, keys: &Value) -> Result<String, String> {
    let (node, pod) = (Node::new(), Pod::new());
    let version = json!({"cniVersion": "1.0.0"});
    let main = node.attach(&with(&conf::v4(), &version), &pod).by(bins);
    let result = main.add();
    let bandwidth = node.attach(&with(&limits(keys), &version), &pod).by(bins);
    let added = bandwidth.call("ADD", Some(&result)).run(&node);
    if added.code != Some(0) {
        return Err(added.err().msg);
    }
    let devices = node.run("tc qdisc show").lines().filter(|line| line.contains("bwp")).count();
    let shown = node.run(&format!("tc qdisc show dev {}", host_end(&result)));
    // The reference's veth pair has a queue for each processor.
    let shown = shown.replace("refcnt 3", "refcnt 2");
    Ok(format!("{shown}devices: {devices}"))
}

#[track_caller]
fn as_the_reference(keys: &Value) {
    let [ours, theirs] = [Bins::ours(), Bins::reference()].map(|bins| outcome(&bins, keys));
    assert_eq!(ours, theirs, "{keys}");
}

#[test]
fn limits_are_those_that_the_reference_sets() {
    let rates: [(u64, u64); 6] = [
        (8_000_000, 800_000),
        (1_000_000, 8_000_000),
        (123_456_789, 1_000_000),
        (10_000_000_000, 10_000_000),
        (100_000_000_000, 64_000_000),
        (100_000_000, 4_294_967_295),
    ];
    for (rate, burst) in rates {
        as_the_reference(&json!({"ingressRate": rate, "ingressBurst": burst}));
    }
    as_the_reference(&crate::both());
}

#[test]
fn keys_mean_what_they_mean_to_the_reference() {
    let both = crate::both();
    for keys in [
        json!({}),
        json!({"ingressRate": 0, "ingressBurst": 0}),
        json!({"runtimeConfig": {"bandwidth": both}}),
        json!({"runtimeConfig": {"bandwidth": null}}),
        json!({"runtimeConfig": {}}),
        json!({"runtimeConfig": null}),
        // Inline keys hide the runtime's, all of them.
        with(
            &json!({"ingressRate": 16_000_000, "ingressBurst": 800_000}),
            &json!({"runtimeConfig": {"bandwidth": both}}),
        ),
        json!({"INGRESSRATE": 8_000_000, "ingressburst": 800_000}),
        json!({"RuntimeConfig": {"BandWidth": {"EgressRate": 8_000_000, "egressBURST": 800_000}}}),
        json!({"ingressRate": 8_000_000, "ingressBurst": 800_000, "unknown": {"a": [1]}}),
    ] {
        as_the_reference(&keys);
    }
}

#[test]
fn refusals_say_what_the_reference_says() {
    for (keys, text, remedy) in [
        (
            json!({"ingressRate": 8_000_000}),
            "if rate is set, burst must also be set",
            "ingressRate is 8000000; set ingressBurst",
        ),
        (
            json!({"egressRate": 8_000_000}),
            "if rate is set, burst must also be set",
            "egressRate is 8000000; set egressBurst",
        ),
        (
            json!({"egressBurst": 8_000_000}),
            "if burst is set, rate must also be set",
            "egressBurst is 8000000; set egressRate",
        ),
        (
            json!({"ingressRate": 1000, "ingressBurst": 34_359_738_360_u64}),
            "burst cannot be more than 4GB",
            "ingressBurst is 34359738360 bits",
        ),
        (
            json!({"runtimeConfig": {"bandwidth": {"egressRate": 5}}}),
            "if rate is set, burst must also be set",
            "egressRate is 5",
        ),
    ] {
        let theirs = outcome(&Bins::reference(), &keys).unwrap_err();
        assert_eq!(theirs, text);
        let (node, pod) = (Node::new(), Pod::new());
        let result = node.attach(&conf::v4(), &pod).add();
        let before = crate::state(&node);
        let error = node.attach(&limits(&keys), &pod).call("ADD", Some(&result)).run(&node).err();
        assert_eq!((error.code, error.msg.as_str()), (7, text));
        assert!(error.details.contains(remedy), "{error:?}");
        ferrule_tests::snapshot::assert_same(&before, &crate::state(&node));
    }
}

#[test]
fn what_neither_the_kernel_nor_the_reference_takes_is_refused_by_name() {
    let (node, pod) = (Node::new(), Pod::new());
    let result = node.attach(&conf::v4(), &pod).add();
    for (keys, wanted) in [
        (json!({"ingressRate": 7, "ingressBurst": 80_000}), "ingressRate is less than a byte"),
        (json!({"egressRate": 800, "egressBurst": 7}), "egressBurst is less than a byte"),
        (json!({"ingressRate": -1}), "ingressRate: invalid value: integer `-1`"),
        (json!({"ingressRate": "fast"}), "ingressRate: invalid type: string \"fast\""),
        (
            json!({"ingressRate": 1.5}),
            "ingressRate: invalid type: number `1.5`, expected a whole number",
        ),
        (
            json!({"runtimeConfig": {"bandwidth": {"egressRate": []}}}),
            "runtimeConfig.bandwidth.egressRate: invalid type",
        ),
    ] {
        assert!(outcome(&Bins::reference(), &keys).is_err(), "{keys}");
        let added = node.attach(&limits(&keys), &pod).call("ADD", Some(&result)).run(&node);
        added.err().expect(7, wanted);
    }
    assert!(!shaping(&node, &host_end(&result)).contains("tbf"));
}

#[test]
fn without_a_veth_pair_of_the_pod_it_says_what_is_missing() {
    let (node, pod) = (Node::new(), Pod::new());
    let result = node.attach(&conf::v4(), &pod).add();
    let host = host_end(&result);
    let bandwidth = node.attach(&limits(&crate::both()), &pod);
    let refused = |attachment: &ferrule_tests::Attachment<'_>, result: Option<&Value>| {
        attachment.call("ADD", result).run(&node).err()
    };
    refused(&bandwidth, None).expect(7, "must be called as chained plugin");
    let bare = with(&result, &json!({"interfaces": null, "ips": []}));
    refused(&bandwidth, Some(&bare)).expect(7, "no interfaces provided");
    let text = "container interface net1 has no veth peer";
    refused(&bandwidth.clone().ifname("net1"), Some(&result)).expect(7, text);
    pod.run("ip link add tap0 type bridge");
    refused(&bandwidth.clone().ifname("tap0"), Some(&result)).expect(7, "it is of kind \"bridge\"");
    let renamed = result.to_string().replace(&host, "veth0");
    let renamed: Value = serde_json::from_str(&renamed).unwrap();
    let error = refused(&bandwidth, Some(&renamed));
    error.expect(7, "no veth peer of container interface found in host ns");
    error.expect(7, &host);
    pod.run("ip link add here type veth peer name there");
    let text = "is not in host ns";
    refused(&bandwidth.clone().ifname("here"), Some(&result)).expect(7, text);
    assert!(crate::ifbs(&node).is_empty());
}

/// As a runtime passes it to what has `"capabilities": {"bandwidth": true}`.
#[test]
fn the_configuration_to_copy_takes_the_runtimes_limits() {
    let (node, pod) = (Node::new(), Pod::new());
    let file = bins::workspace().join("conf/10-bandwidth.conflist");
    node.write("/run/net.d/10-bandwidth.conflist", &std::fs::read_to_string(file).unwrap());
    let call = |verb: &str| {
        node.ns().enter(|| {
            let mut command = Command::new(peers::folder("cnitool").join("cnitool"));
            command.args([verb, "ferrule", &pod.netns()]).current_dir("/");
            command.env("NETCONFPATH", "/run/net.d").env("CNI_PATH", Bins::ours().dir());
            let limits = json!({"bandwidth": crate::both()});
            tool::succeed(command.env("CAP_ARGS", limits.to_string()))
        })
    };
    let result: Value = serde_json::from_str(&call("add")).unwrap();
    let host = host_end(&result);
    let shown = node.run(&format!("tc qdisc show dev {host}"));
    assert!(shown.contains("tbf 1: root") && shown.contains("rate 8Mbit burst 100000b"), "{shown}");
    call("check");
    call("del");
    assert!(crate::ifbs(&node).is_empty());
}
