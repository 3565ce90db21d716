//! What is refused changes nothing, and what fails halfway leaves nothing.

use ferrule_tests::node::Place;
use ferrule_tests::snapshot::assert_same;
use ferrule_tests::{Node, Pod, Snapshot};
use serde_json::{Value, json};

use crate::{all_keys, tuned, values};

/// ADD with these keys beside all others fails with this error; nothing is changed.
#[track_caller]
fn refused(keys: &Value, code: u64, text: &str) {
    let (node, pod) = (Node::new(), Pod::new());
    let all = ferrule_tests::conf::with(&all_keys(), keys);
    let chain = tuned(&node, &pod, &all);
    let before = chain.add_before();
    let (state, had) = (Snapshot::of(&node), values(&pod));
    chain.try_add_last(&before).err().expect(code, text);
    assert_eq!(values(&pod), had, "{keys}");
    let after = Snapshot::of(&node).without_files(&["/run/cni"]);
    assert_same(&state.without_files(&["/run/cni"]), &after);
    assert_eq!(node.sh("ls -A /run/cni/tuning 2> /dev/null || :"), "");
}

/// No key leads out of /proc/sys/net.
#[test]
fn sysctls_outside_of_net_are_refused() {
    for key in [
        "kernel.hostname",
        "net/../kernel/hostname",
        "net.ipv4/../../kernel/hostname",
        "/proc/sys/kernel/hostname",
        "/net/core/somaxconn",
        "net//core/somaxconn",
        "..",
        "net",
    ] {
        refused(&json!({"sysctl": {key: "1"}}), 7, "invalid net sysctl key");
    }
}

#[test]
fn a_sysctl_that_the_kernel_has_not_changes_nothing() {
    let keys = json!({"sysctl": {"net.ipv4.no_such_thing": "1"}});
    refused(&keys, 100, "net/ipv4/no_such_thing");
}

/// The kernel takes the first sysctls and refuses the last.
#[test]
fn a_value_that_the_kernel_refuses_undoes_those_before() {
    let keys = json!({"sysctl": {"net.ipv4.conf.all.arp_filter": "1",
        "net.ipv4.conf.eth0.arp_ignore": "nonsense"}});
    refused(&keys, 100, "set sysctl net/ipv4/conf/eth0/arp_ignore to nonsense");
}

#[test]
fn an_interface_that_is_not_there_changes_nothing() {
    let (node, pod) = (Node::new(), Pod::new());
    let chain = tuned(&node, &pod, &all_keys());
    let before = chain.add_before();
    let had = values(&pod);
    let error = chain.last().clone().ifname("eth7").call("ADD", Some(&before)).run(&node).err();
    error.expect(100, "eth7");
    assert_eq!(values(&pod), had);
}

#[test]
fn what_ipv6_cannot_live_with_is_refused() {
    refused(&json!({"mtu": 1000}), 7, "MTU 1000 is too small for the address fd00:1::2/64");
}

#[test]
fn without_a_result_of_a_plugin_before_it_is_refused() {
    let (node, pod) = (Node::new(), Pod::new());
    let tuning = tuned(&node, &pod, &all_keys());
    tuning.last().try_add().err().expect(7, "Required prevResult missing");
}
