//! DEL in every circumstance, and the node as it was.

use std::time::Duration;

use ferrule_tests::node::Place;
use ferrule_tests::outside::{NODE4, OUTSIDE4};
use ferrule_tests::packets::tcp_source;
use ferrule_tests::snapshot::assert_same;
use ferrule_tests::{Attachment, Node, Outside, Pod, Snapshot, within};
use serde_json::{Value, json};

use crate::networks::{Network, address, veth};

on_each_network! {
    with_everything_known, twice, without_a_result, without_a_netns, with_a_netns_that_is_gone,
    after_the_pod_itself_is_gone, with_a_netns_that_is_another_pods, with_the_nodes_own_netns,
    with_a_result_that_is_damaged_or_old, of_what_never_was, after_someone_else_removed_parts,
    with_a_configuration_that_broke_since, with_a_configuration_that_lost_its_ipam,
    with_malformed_arguments, the_lease_is_free_again, after_a_reboot,
    a_late_del_takes_nothing_from_the_addresses_next_pod,
}

/// A node that has had a pod before, its state then, a pod and its result.
struct Ready<'a> {
    network: &'a Network,
    node: Node,
    before: Snapshot,
    pod: Pod,
    result: Value,
}

fn ready(network: &Network) -> Ready<'_> {
    let (node, earlier, pod) = (network.node(), Pod::new(), Pod::new());
    let first = network.attach(&node, &earlier);
    first.del(Some(&first.add()));
    node.settle();
    let before = network.steady(&node);
    let result = network.attach(&node, &pod).add();
    Ready { network, node, before, pod, result }
}

impl Ready<'_> {
    fn attach(&self) -> Attachment<'_> {
        self.network.attach(&self.node, &self.pod)
    }

    #[track_caller]
    fn is_as_before(&self) {
        assert_same(&self.before, &self.network.steady(&self.node));
        assert!(!self.node.links().contains(&veth(&self.result).to_owned()));
    }
}

fn with_everything_known(network: &Network) {
    let ready = ready(network);
    ready.attach().del(Some(&ready.result));
    ready.is_as_before();
    assert!(ready.pod.links().is_empty(), "the pod's end is gone");
}

fn twice(network: &Network) {
    let ready = ready(network);
    let attachment = ready.attach();
    attachment.del(Some(&ready.result));
    attachment.del(Some(&ready.result));
    attachment.del(None);
    attachment.netns(None).del(None);
    ready.is_as_before();
}

fn without_a_result(network: &Network) {
    let ready = ready(network);
    ready.attach().del(None);
    ready.is_as_before();
}

fn without_a_netns(network: &Network) {
    for (netns, with_result) in [(None, true), (Some(""), true), (None, false), (Some(""), false)] {
        let ready = ready(network);
        ready.attach().netns(netns).del(with_result.then_some(&ready.result));
        ready.is_as_before();
    }
}

fn with_a_netns_that_is_gone(network: &Network) {
    for path in ["/run/netns/gone", "/proc/self/fd/999"] {
        let ready = ready(network);
        ready.attach().netns(Some(path)).del(Some(&ready.result));
        ready.is_as_before();
    }
}

/// The pod's namespace ended, and the kernel took the veth pair along.
fn after_the_pod_itself_is_gone(network: &Network) {
    for with_result in [true, false] {
        let Ready { node, before, pod, result, .. } = ready(network);
        let attachment = network.attach(&node, &pod).netns(None);
        drop(pod);
        let gone = || (!node.links().contains(&veth(&result).to_owned())).then_some(());
        within(Duration::from_secs(20), gone).expect("the veth goes");
        attachment.del(with_result.then_some(&result));
        assert_same(&before, &network.steady(&node));
    }
}

/// The path now leads to a pod that lives: its eth0 is not ours to remove.
fn with_a_netns_that_is_another_pods(network: &Network) {
    for with_result in [true, false] {
        let ready = ready(network);
        let other = Pod::new();
        let attachment = network.attach(&ready.node, &other);
        let others = attachment.add();
        assert_eq!(ready.pod.links(), ["eth0"]);
        let stale = ready.attach().netns(Some(&other.netns()));
        stale.del(with_result.then_some(&ready.result));
        assert_eq!(other.links(), ["eth0"], "another pod's eth0 survives");
        network.answers(&ready.node, &other, &others);
        attachment.check(&others);
        attachment.del(Some(&others));
        ready.is_as_before();
    }
}

/// CNI_NETNS leads to the node itself, where a link goes by the same name.
fn with_the_nodes_own_netns(network: &Network) {
    let ready = ready(network);
    ready.node.run("ip link add eth0 type veth peer name eth9");
    let own = ready.node.ns().net_path();
    let outcome = ready.attach().netns(own.to_str()).try_del(Some(&ready.result));
    assert!(ready.node.links().contains(&"eth0".to_owned()), "the node's eth0: {outcome:?}");
}

fn with_a_result_that_is_damaged_or_old(network: &Network) {
    let old = json!({"cniVersion": "0.2.0", "ip4": {"ip": "10.1.0.3/24"}});
    for previous in [json!({"cniVersion": "1.0.0", "ips": [{}]}), json!("rubbish"), old] {
        let ready = ready(network);
        ready.attach().del(Some(&previous));
        ready.is_as_before();
    }
}

fn of_what_never_was(network: &Network) {
    let (node, pod) = (network.node(), Pod::new());
    let before = Snapshot::of(&node).without_lease_history();
    network.attach(&node, &pod).del(None);
    network.attach(&node, &pod).netns(None).del(None);
    assert_same(&before, &Snapshot::of(&node).without_lease_history());
}

fn after_someone_else_removed_parts(network: &Network) {
    let common = [
        "ip link del VETH",
        "ip link set VETH down",
        "nft flush ruleset",
        "rm -r /var/lib/cni/networks/pods",
        "rm -rf /run/ferrule",
        "rm -rf /run/ferrule; ip link del VETH",
        // Linux before 6.2 renames no link that is up.
        "rm -rf /run/ferrule; ip link set VETH down; ip link set VETH name other
         ip link set other up",
    ];
    for script in common.iter().chain(network.damages) {
        let ready = ready(network);
        ready.node.sh(&script.replace("VETH", veth(&ready.result)));
        ready.attach().del(Some(&ready.result));
        // Renamed, it is no link that DEL could recognise.
        ready.node.sh("ip link del other 2>/dev/null || :");
        let left = ready.before.difference(&network.steady(&ready.node));
        let more: Vec<_> = left.lines().filter(|line| line.contains(" + ")).collect();
        assert!(more.is_empty(), "after `{script}`: {more:#?}");
    }
}

fn with_a_configuration_that_broke_since(network: &Network) {
    let ready = ready(network);
    let broken = json!({"vlan": 9999, "mtu": -1, "ipam": {"ranges": [[{"subnet": "nonsense"}]]}});
    ready.attach().with(&broken).del(Some(&ready.result));
    ready.is_as_before();
}

fn with_a_configuration_that_lost_its_ipam(network: &Network) {
    let types = [json!(null), json!(5), json!("")].map(|kind| json!({"type": kind}));
    let broken = types.into_iter().chain([json!(null), json!(7), json!([])]);
    for ipam in broken {
        for with_result in [true, false] {
            let ready = ready(network);
            let broken = ready.attach().with(&json!({"ipam": ipam}));
            broken.del(with_result.then_some(&ready.result));
            assert!(ready.node.leases().is_empty(), "ipam {ipam}: {:?}", ready.node.leases());
            ready.is_as_before();
        }
    }
}

fn with_malformed_arguments(network: &Network) {
    for args in ["rubbish", ";;", "=", "IP=", "a=b=c;;d", "IgnoreUnknown=perhaps;MAC=none"] {
        let ready = ready(network);
        ready.attach().args(args).del(Some(&ready.result));
        assert!(ready.node.leases().is_empty(), "CNI_ARGS={args}");
        ready.is_as_before();
    }
}

/// A range of one address for each family.
fn the_lease_is_free_again(network: &Network) {
    let (node, one, two) = (network.node(), Pod::new(), Pod::new());
    let ranges = json!({"ipam": {"ranges": [
        [{"subnet": "10.1.0.0/24", "rangeStart": "10.1.0.2", "rangeEnd": "10.1.0.2"}],
        [{"subnet": "fd00:1::/64", "rangeStart": "fd00:1::2", "rangeEnd": "fd00:1::2"}],
    ]}});
    let first = network.attach(&node, &one).with(&ranges);
    first.add();
    first.netns(None).del(None);
    let result = network.attach(&node, &two).with(&ranges).add();
    assert_eq!(address(&result, 0), "10.1.0.2");
    network.answers(&node, &two, &result);
}

/// A reboot: the kernel's state and /run are gone, the leases are not.
fn after_a_reboot(network: &Network) {
    let (node, pod) = (network.node(), Pod::new());
    let result = network.attach(&node, &pod).add();
    node.sh(&format!("ip link del {}; nft flush ruleset; rm -r /run/ferrule", veth(&result)));
    let before = network.steady(&node);
    let again = Pod::new();
    let attachment = network.attach(&node, &again);
    let new = attachment.add();
    network.answers(&node, &again, &new);
    network.attach(&node, &pod).netns(None).del(Some(&result));
    network.answers(&node, &again, &new);
    attachment.del(Some(&new));
    let left = before.difference(&network.steady(&node));
    assert!(left.lines().all(|line| line.starts_with("files - ")), "{left}");
}

/// A late DEL of a pod whose addresses another has by now.
fn a_late_del_takes_nothing_from_the_addresses_next_pod(network: &Network) {
    for with_result in [true, false] {
        let (node, old, new) = (network.node(), Pod::new(), Pod::new());
        let outside = Outside::beside(&node);
        let late = network.attach(&node, &old);
        let gone = late.add();
        node.run(&format!("ip link del {}", veth(&gone)));
        node.sh("rm /var/lib/cni/networks/pods/10.1.0.2 /var/lib/cni/networks/pods/fd00:1::2");
        let same = json!({"runtimeConfig": {"ips": ["10.1.0.2", "fd00:1::2"]}});
        let attachment = network.attach(&node, &new).with(&same);
        let result = attachment.add();
        assert_eq!(address(&result, 0), "10.1.0.2");
        late.netns(None).del(with_result.then_some(&gone));
        network.answers(&node, &new, &result);
        assert_eq!(tcp_source(&new, &outside, OUTSIDE4), Ok(NODE4.parse().unwrap()));
        attachment.check(&result);
        let next = network.attach(&node, &Pod::new()).add();
        assert_ne!(address(&next, 0), "10.1.0.2", "the lease is the new pod's");
    }
}
