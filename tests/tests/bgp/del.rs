//! DEL in every circumstance, and the node as it was.

use ferrule_tests::conf::with;
use ferrule_tests::node::Place;
use ferrule_tests::packets::ping;
use ferrule_tests::snapshot::assert_same;
use ferrule_tests::{Node, Pod, Snapshot};
use serde_json::{Value, json};

use crate::{full, steady, veth};

/// A node that has had a pod before, its state then, a pod and its result.
struct Ready {
    node: Node,
    before: Snapshot,
    pod: Pod,
    result: Value,
}

fn ready() -> Ready {
    let (node, earlier, pod) = (Node::new(), Pod::new(), Pod::new());
    let first = node.attach(&full(), &earlier);
    first.del(Some(&first.add()));
    let before = steady(&node);
    let result = node.attach(&full(), &pod).add();
    Ready { node, before, pod, result }
}

impl Ready {
    #[track_caller]
    fn is_as_before(&self) {
        assert_same(&self.before, &steady(&self.node));
        assert!(!self.node.links().contains(&veth(&self.result).to_owned()));
    }
}

#[test]
fn with_and_without_the_result_and_twice() {
    for with_result in [true, false] {
        let ready = ready();
        let attachment = ready.node.attach(&full(), &ready.pod);
        let previous = with_result.then_some(&ready.result);
        attachment.del(previous);
        ready.is_as_before();
        assert!(ready.pod.links().is_empty());
        attachment.del(previous);
        attachment.netns(None).del(None);
        ready.is_as_before();
    }
}

#[test]
fn without_a_netns_or_with_one_that_is_gone() {
    for netns in [None, Some(""), Some("/run/netns/gone"), Some("/proc/self/fd/999")] {
        for with_result in [true, false] {
            let ready = ready();
            let attachment = ready.node.attach(&full(), &ready.pod).netns(netns);
            attachment.del(with_result.then_some(&ready.result));
            ready.is_as_before();
        }
    }
}

/// The pod's namespace ended, and the kernel took the veth pair and its routes along.
#[test]
fn after_the_pod_itself_is_gone() {
    for with_result in [true, false] {
        let Ready { node, before, pod, result } = ready();
        let attachment = node.attach(&full(), &pod).netns(None);
        drop(pod);
        let gone = || (!node.links().contains(&veth(&result).to_owned())).then_some(());
        ferrule_tests::within(std::time::Duration::from_secs(20), gone).expect("the veth goes");
        attachment.del(with_result.then_some(&result));
        assert_same(&before, &steady(&node));
    }
}

/// The path now leads to a pod that lives: its eth0 is not ours to remove.
#[test]
fn with_a_netns_that_is_another_pods() {
    for with_result in [true, false] {
        let ready = ready();
        let other = Pod::new();
        let attachment = ready.node.attach(&full(), &other);
        let others = attachment.add();
        let stale = ready.node.attach(&full(), &ready.pod).netns(Some(&other.netns()));
        stale.del(with_result.then_some(&ready.result));
        assert_eq!(other.links(), ["eth0"], "another pod's eth0 survives");
        ping(&ready.node, &crate::address(&others, 0));
        ping(&ready.node, &crate::address(&others, 1));
        attachment.check(&others);
        attachment.del(Some(&others));
        ready.is_as_before();
    }
}

#[test]
fn with_a_result_that_is_damaged_or_old() {
    let old = json!({"cniVersion": "0.2.0", "ip4": {"ip": "10.1.0.4/24"}});
    for previous in [json!({"cniVersion": "1.0.0", "ips": [{}]}), json!("rubbish"), old] {
        let ready = ready();
        ready.node.attach(&full(), &ready.pod).del(Some(&previous));
        ready.is_as_before();
    }
}

#[test]
fn of_what_never_was() {
    let (node, pod) = (Node::new(), Pod::new());
    let before = Snapshot::of(&node);
    node.attach(&full(), &pod).del(None);
    node.attach(&full(), &pod).netns(None).del(None);
    let books = |snapshot: Snapshot| snapshot.without_lease_history();
    assert_same(&books(before), &books(Snapshot::of(&node)));
}

#[test]
fn after_someone_else_removed_parts() {
    let scripts = [
        "ip link del VETH",
        "ip link set VETH down",
        "ip route del 10.1.0.3; ip -6 route del fd00:1::3",
        "ip addr flush dev VETH",
        "nft flush ruleset",
        "nft flush set inet ferrule rpfilter-links",
        "rm -r /var/lib/cni/networks/pods",
        "rm -rf /run/ferrule",
        "rm -rf /run/ferrule; ip link del VETH",
        "rm -rf /run/ferrule; ip link set VETH name other",
    ];
    for script in scripts {
        let ready = ready();
        ready.node.sh(&script.replace("VETH", veth(&ready.result)));
        ready.node.attach(&full(), &ready.pod).del(Some(&ready.result));
        // Renamed, it is nobody's that DEL could know.
        ready.node.sh("ip link del other 2>/dev/null || :");
        let left = ready.before.difference(&steady(&ready.node));
        let more: Vec<_> = left.lines().filter(|line| line.contains(" + ")).collect();
        assert!(more.is_empty(), "after `{script}`: {more:#?}");
    }
}

#[test]
fn with_a_configuration_that_broke_since() {
    let ready = ready();
    let broken = json!({"mtu": -1, "ipam": {"ranges": [[{"subnet": "nonsense"}]]}});
    ready.node.attach(&full(), &ready.pod).with(&broken).del(Some(&ready.result));
    ready.is_as_before();
}

/// A reboot: the kernel's state and /run are gone, the leases are not.
#[test]
fn after_a_reboot() {
    let (node, pod) = (Node::new(), Pod::new());
    let result = node.attach(&full(), &pod).add();
    node.sh(&format!("ip link del {}; nft flush ruleset; rm -r /run/ferrule", veth(&result)));
    let before = steady(&node);
    let again = Pod::new();
    let attachment = node.attach(&full(), &again);
    let new = attachment.add();
    ping(&node, &crate::address(&new, 0));
    node.attach(&full(), &pod).netns(None).del(Some(&result));
    ping(&node, &crate::address(&new, 0));
    attachment.del(Some(&new));
    let left = before.difference(&steady(&node));
    assert!(left.lines().all(|line| line.starts_with("files - ")), "{left}");
}

/// A late DEL of a pod whose addresses another has by now.
#[test]
fn a_late_del_takes_nothing_from_the_addresses_next_pod() {
    for with_result in [true, false] {
        let (node, old, new) = (Node::new(), Pod::new(), Pod::new());
        let late = node.attach(&full(), &old);
        let gone = late.add();
        node.run(&format!("ip link del {}", veth(&gone)));
        node.sh("rm /var/lib/cni/networks/pods/10.1.0.2 /var/lib/cni/networks/pods/fd00:1::2");
        let same = json!({"runtimeConfig": {"ips": ["10.1.0.2", "fd00:1::2"]}});
        let attachment = node.attach(&with(&full(), &same), &new);
        let result = attachment.add();
        assert_eq!(crate::address(&result, 0), "10.1.0.2");
        late.netns(None).del(with_result.then_some(&gone));
        ping(&node, "10.1.0.2");
        ping(&node, "fd00:1::2");
        attachment.check(&result);
    }
}
