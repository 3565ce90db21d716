//! The node's list of sysctls that may be set.

use ferrule_tests::node::Place;
use ferrule_tests::{Node, Pod};
use serde_json::json;

use crate::tuned;

/// A node with this list; its /etc is its own.
fn node(list: &str) -> Node {
    let node = Node::new();
    node.sh("mount -t tmpfs none /etc");
    node.write("/etc/cni/tuning/allowlist.conf", list);
    node
}

#[test]
fn only_sysctls_of_the_list_are_set() {
    let node = node("^net\\.core\\.\n\n  ^net.ipv4.conf.IFNAME.[a-z_]*$  \n");
    let allowed =
        json!({"sysctl": {"net.core.somaxconn": "77", "net.ipv4.conf.IFNAME.arp_filter": "1"}});
    let pod = Pod::new();
    let chain = tuned(&node, &pod, &allowed);
    let result = chain.add();
    chain.check(&result);
    chain.last().status().ok();
    let others = [
        json!({"sysctl": {"net.core.somaxconn": "78", "net.ipv4.ip_forward": "1"}}),
        json!({"args": {"cni": {"sysctl": {"net.ipv4.ip_forward": "1"}}}}),
    ];
    for keys in others {
        let pod = Pod::new();
        let chain = tuned(&node, &pod, &keys);
        let before = chain.add_before();
        let error = chain.try_add_last(&before).err();
        error.expect(
            7,
            "Sysctl net.ipv4.ip_forward is not allowed. Only the following sysctls are \
            allowed: [^net\\.core\\. ^net.ipv4.conf.IFNAME.[a-z_]*$]",
        );
        assert_ne!(pod.sysctl("net/core/somaxconn"), "78");
        chain.last().status().err().expect(7, "is not allowed");
    }
}

/// DEL and CHECK do not ask the list, which may have changed since.
#[test]
fn a_list_that_changed_since_holds_up_no_del() {
    let (node, pod) = (node("net.core"), Pod::new());
    let chain = tuned(&node, &pod, &json!({"sysctl": {"net.core.somaxconn": "77"}}));
    let before = chain.add_before();
    let had = pod.sysctl("net/core/somaxconn");
    let result = chain.try_add_last(&before).ok();
    node.write("/etc/cni/tuning/allowlist.conf", "(");
    chain.check(&result);
    chain.last().del(Some(&result));
    assert_eq!(pod.sysctl("net/core/somaxconn"), had);
    chain.try_add_last(&before).err().expect(7, "invalid regular expression \"(\"");
}

#[test]
fn a_list_that_cannot_be_read_allows_nothing() {
    let (node, pod) = (node(""), Pod::new());
    let chain = tuned(&node, &pod, &json!({"sysctl": {"net.core.somaxconn": "77"}}));
    let before = chain.add_before();
    chain.try_add_last(&before).err().expect(7, "is not allowed");
    node.sh("cd /etc/cni/tuning; rm allowlist.conf; mkfifo allowlist.conf");
    chain.try_add_last(&before).err().expect(5, "allowlist.conf");
}
