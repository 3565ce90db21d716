//! What the vrf plugin refuses. What it makes, where the kernel has VRF devices, is in the suite `kernels`.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a failed expectation is a failed test"
)]

use ferrule_tests::conf::{self, with};
use ferrule_tests::node::Place;
use ferrule_tests::{Attachment, Bins, Node, Pod};
use serde_json::{Value, json};

fn vrf<'a>(node: &'a Node, pod: &Pod, keys: &Value) -> Attachment<'a> {
    let common = json!({"cniVersion": conf::version(), "name": "pods", "type": "vrf"});
    node.attach(&with(&common, keys), pod)
}

#[test]
fn refusals_name_key_and_value_and_say_what_the_reference_says() {
    let (node, pod) = (Node::new(), Pod::new());
    let first = node.attach(&conf::v4(), &pod).add();
    let add = |keys: &Value, previous: Option<&Value>, bins: &Bins| {
        vrf(&node, &pod, keys).by(bins).call("ADD", previous).run(&node).err()
    };
    let (ours, theirs) = (Bins::ours(), Bins::reference());
    for (keys, previous, text) in [
        (json!({}), Some(&first), "configuration is expected to have a valid vrf name"),
        (
            json!({"vrfname": ""}),
            Some(&first),
            "configuration is expected to have a valid vrf name",
        ),
        (json!({"vrfname": "blue"}), None, "missing prevResult from earlier plugin"),
    ] {
        add(&keys, previous, &ours).expect(7, text);
        assert_eq!(add(&keys, previous, &theirs).msg, text);
    }
    add(&json!({"vrfname": "a/b"}), Some(&first), &ours).expect(7, "invalid vrfname \"a/b\"");
    add(&json!({"vrfname": "blue", "table": -1}), Some(&first), &ours).expect(7, "table: invalid");
    add(&json!({"vrfname": "eth0"}), Some(&first), &ours)
        .expect(103, "eth0 is not a VRF but a \"veth\"; set vrfname to another name");
    add(&json!({"vrfname": "lo"}), Some(&first), &ours)
        .expect(103, "lo is not a VRF but a \"hardware or loopback device\"; set vrfname");
}

/// Whatever the kernel has: it works, or says which module is missing and leaves nothing.
#[test]
fn on_a_kernel_without_the_device_the_error_names_the_module() {
    let (node, pod) = (Node::new(), Pod::new());
    let first = node.attach(&conf::v4(), &pod).add();
    let has_vrf = pod.try_run("ip link add probe type vrf table 9").status.success();
    pod.try_run("ip link del probe");
    let before = pod.run("ip -br link");
    let blue = vrf(&node, &pod, &json!({"VRFNAME": "blue"}));
    let added = blue.call("ADD", Some(&first)).run(&node);
    if has_vrf {
        assert_eq!(added.ok(), first);
    } else {
        let error = added.err();
        error.expect(2, "the kernel has no VRF devices, and blue cannot be made");
        error.expect(2, "load the module vrf (CONFIG_NET_VRF)");
        assert_eq!(node.sh("ls /run/ferrule/attachments | grep vrf || true"), "");
    }
    blue.del(None);
    assert_eq!(pod.run("ip -br link"), before);
    blue.del(None);
    blue.netns(None).del(None);
}
