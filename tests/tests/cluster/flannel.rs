//! A cluster leaves flannel node by node, as docs/kubernetes.md has it (the manifest's variant `from-flannel`):
//! with flannel's VNI, port, network name and bridge, pods of both reach each other all the time.

use crate::cluster::{ALL, Cluster, Member};
use ferrule_tests::node::Place;
use ferrule_tests::packets::{Flow, ping};
use ferrule_tests::{Bins, Pod, within};
use serde_json::{Value, json};
use std::time::Duration;

/// The nodes' addresses on the underlay, in the order of [`ALL`].
const UNDERLAY: [&str; 3] = ["192.0.2.1", "192.0.2.2", "198.51.100.3"];

/// MAC addresses as flannel chooses them: at random.
const RANDOM: [&str; 3] = ["7a:11:22:33:44:01", "7a:11:22:33:44:02", "7a:11:22:33:44:03"];

/// The MAC address that docs/kubernetes.md derives for a node's annotation.
fn announced(at: usize) -> String {
    let octets = UNDERLAY[at].split('.').map(|octet| octet.parse::<u8>().unwrap());
    octets.fold("02:56".to_owned(), |mac, octet| format!("{mac}:{octet:02x}"))
}

/// What flannel's backend vxlan makes on a node (`pkg/backend/vxlan` of v0.28: device, address, and a
/// route, neighbour and FDB entry for each other node).
fn flannel(member: &Member, at: usize) {
    member.node.sh(&format!(
        "ip link add flannel.1 address {} mtu 1450 type vxlan id 1 dev eth0 local {} dstport 8472 nolearning
         ip address add 10.244.{}.0/32 dev flannel.1
         ip link set flannel.1 up
         sysctl -qw net.ipv4.ip_forward=1",
        RANDOM[at],
        UNDERLAY[at],
        at + 1
    ));
    for other in (0..3).filter(|other| *other != at) {
        learns(member, other, RANDOM[other]);
    }
}

/// flannel on a node reads another node's annotation.
fn learns(member: &Member, other: usize, mac: &str) {
    let (net, address) = (format!("10.244.{}", other + 1), UNDERLAY[other]);
    member.node.sh(&format!(
        "ip route replace {net}.0/24 via {net}.0 dev flannel.1 onlink
         ip neigh replace {net}.0 lladdr {mac} dev flannel.1 nud permanent
         bridge fdb replace {mac} dev flannel.1 dst {address} self permanent"
    ));
}

/// The network that flannel's plugin hands to the reference's `bridge`.
fn delegated(at: usize) -> Value {
    json!({"cniVersion": "1.0.0", "name": "cbr0", "type": "bridge", "bridge": "cni0", "mtu": 1450,
        "isGateway": true, "isDefaultGateway": true, "hairpinMode": true, "ipMasq": false,
        "ipam": {"type": "host-local", "ranges": [[{"subnet": format!("10.244.{}.0/24", at + 1)}]],
                 "routes": [{"dst": "10.244.0.0/16"}]}})
}

/// The first plugin of the variant's network.
fn ours() -> Value {
    let path =
        ferrule_tests::bins::workspace().join("conf/kubernetes/from-flannel/10-ferrule.conflist");
    let list: Value = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    let mut plugin = list["plugins"][0].clone();
    plugin["name"] = list["name"].clone();
    plugin["cniVersion"] = list["cniVersion"].clone();
    plugin
}

/// A pod of flannel on each node.
struct Old {
    pod: Pod,
    address: String,
    result: Value,
}

fn old_pod(member: &Member, at: usize) -> Old {
    let pod = member.node.pod();
    let config = delegated(at);
    let result = member.node.attach(&config, &pod).by(&Bins::reference()).add();
    let address = ferrule_tests::invoke::addresses(&result).remove(0);
    Old { pod, address, result }
}

/// Three nodes of flannel: node sets and daemons as the variant has them, the daemons not yet started.
fn cluster() -> Cluster {
    let keys = "mode = \"vxlan\"\n[vxlan]\nvni = 1\nport = 8472\n[masquerade]\nenabled = true\n";
    let mut cluster = Cluster::with(keys, &ALL);
    let of = |(at, name): (usize, &&str)| {
        format!(
            "[[node]]\nname = \"{name}\"\naddresses = [\"{}\"]\npod-cidrs = [\"10.244.{}.0/24\"]\n",
            UNDERLAY[at],
            at + 1
        )
    };
    cluster.write_nodes(&ALL.iter().enumerate().map(of).collect::<String>());
    for member in &mut cluster.members {
        member.kill();
        member.node.run(&member.command("cleanup"));
        member.node.sh("rm -f /run/ferrule/node.json /var/lib/ferrule/nodes.json");
    }
    for (at, member) in cluster.members.iter().enumerate() {
        flannel(member, at);
    }
    cluster
}

/// The steps of docs/kubernetes.md on one node; `annotate` tells the nodes that flannel still runs.
fn leave(cluster: &mut Cluster, at: usize) {
    for member in &cluster.members[at + 1..] {
        learns(member, at, &announced(at));
    }
    let member = &mut cluster.members[at];
    member.start();
    let held = |status: &Value| status["problems"].to_string().contains("flannel.1");
    member.status_when(held);
    member.node.run("ip link delete flannel.1");
    member.in_sync();
}

#[test]
fn a_cluster_leaves_flannel_node_by_node_and_no_connection_breaks() {
    let mut cluster = cluster();
    let old: Vec<Old> =
        cluster.members.iter().enumerate().map(|(at, member)| old_pod(member, at)).collect();
    let pairs = [(0, 1), (1, 0), (0, 2), (2, 0), (1, 2), (2, 1)];
    for (from, to) in pairs {
        ping(&old[from].pod, &old[to].address);
    }
    let open = |&(from, to): &(usize, usize)| {
        let (from, to): (&Old, &Old) = (&old[from], &old[to]);
        Flow::open(&from.pod, &to.pod, &to.address).unwrap()
    };
    let mut flows: Vec<Flow> = pairs.iter().map(open).collect();
    for member in &cluster.members {
        member.node.run(
            "nft add table netdev leave-flannel { chain in { type filter hook ingress device flannel.1 \
             priority 0; meta pkttype set host; }; }",
        );
    }
    for at in 0..3 {
        leave(&mut cluster, at);
        flows.iter_mut().for_each(|flow| flow.turn().unwrap());
        for (from, to) in pairs {
            ping(&old[from].pod, &old[to].address);
        }
        // A new pod on this node reaches those of flannel, and they reach it.
        let (pod, addresses) = cluster.members[at].pod_on(&ours());
        for other in &old {
            assert_ne!(addresses[0], other.address);
            ping(&pod, &other.address);
            ping(&other.pod, &addresses[0]);
        }
        flows.iter_mut().for_each(|flow| flow.turn().unwrap());
    }
    drop(flows);
    // Our plugin deletes flannel's pods, by the result that the runtime kept.
    for (member, old) in cluster.members.iter().zip(&old) {
        member.node.attach(&ours(), &old.pod).del(Some(&old.result));
        let gone = || (!member.node.leases_of("cbr0").contains(&old.address)).then_some(());
        assert!(within(Duration::from_secs(5), gone).is_some());
        assert!(old.pod.links().is_empty());
    }
}
