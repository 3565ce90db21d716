//! A cluster leaves flannel node by node, as docs/kubernetes.md has it (the manifest's variant `from-flannel`):
//! with flannel's VNI, port, network name and bridge, pods of both reach each other all the time.

use crate::cluster::{ALL, Cluster, Member};
use crate::flannel_api::Api;
use ferrule_tests::node::Place;
use ferrule_tests::packets::{Flow, ping};
use ferrule_tests::{Background, Bins, Pod, peers, within};
use serde_json::{Value, json};
use std::net::TcpListener;
use std::process::Command;
use std::time::Duration;

/// The nodes' addresses on the underlay, in the order of [`ALL`].
const UNDERLAY: [&str; 3] = ["192.0.2.1", "192.0.2.2", "198.51.100.3"];

/// The MAC address that docs/kubernetes.md derives for a node's annotation.
fn announced(at: usize) -> String {
    let octets = UNDERLAY[at].split('.').map(|octet| octet.parse::<u8>().unwrap());
    octets.fold("02:56".to_owned(), |mac, octet| format!("{mac}:{octet:02x}"))
}

/// Where the API server listens, outside of the cluster.
const SERVER: &str = "203.0.113.1:8080";
const NETWORK: &str = r#"{"Network": "10.244.0.0/16", "Backend": {"Type": "vxlan"}}"#;

/// flannel's daemon on a node.
fn flannel(member: &Member, at: usize) -> Background {
    member.node.write("/run/net-conf.json", NETWORK);
    let exe = peers::folder("flannel").join("flanneld");
    let mut command = Command::new(exe);
    command.args(["--kube-api-url", &format!("http://{SERVER}"), "--iface", UNDERLAY[at]]);
    command.args(["--net-config-path", "/run/net-conf.json"]).env("NODE_NAME", ALL[at]);
    member.node.sh("sysctl -qw net.ipv4.ip_forward=1");
    Background::start_in(member.node.ns(), None, &command, "/run/flannel.log")
}

/// Three nodes on which flannel runs.
struct Scene {
    cluster: Cluster,
    api: Api,
    daemons: Vec<Option<Background>>,
}

impl Scene {
    fn new() -> Scene {
        let cluster = cluster();
        let api = Api::default();
        for (at, name) in ALL.iter().enumerate() {
            api.node(name, &format!("10.244.{}.0/24", at + 1));
        }
        api.serve(cluster.router.ns().enter(|| TcpListener::bind(SERVER)).unwrap());
        let start = |(at, member): (usize, &Member)| Some(flannel(member, at));
        let daemons = cluster.members.iter().enumerate().map(start).collect();
        for member in &cluster.members {
            let routes = || {
                let found = member.node.try_run("ip route show dev flannel.1").stdout;
                (found.lines().count() == 2).then_some(())
            };
            let done = within(Duration::from_secs(30), routes);
            assert!(done.is_some(), "{}", member.node.read("/run/flannel.log"));
        }
        Scene { cluster, api, daemons }
    }

    /// The steps of docs/kubernetes.md on one node.
    fn leave(&mut self, at: usize) {
        let data = format!("{{\"VNI\":1,\"VtepMAC\":\"{}\"}}", announced(at));
        self.api.annotate(ALL[at], "flannel.alpha.coreos.com/backend-data", &data);
        self.daemons[at] = None;
        let member = &mut self.cluster.members[at];
        member.start();
        let held = |status: &Value| status["problems"].to_string().contains("flannel.1");
        member.status_when(held);
        member.node.run("ip link delete flannel.1");
        member.in_sync();
    }
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
    cluster
}

#[test]
fn a_cluster_leaves_flannel_node_by_node_and_no_connection_breaks() {
    let mut scene = Scene::new();
    let old: Vec<Old> =
        scene.cluster.members.iter().enumerate().map(|(at, member)| old_pod(member, at)).collect();
    let pairs = [(0, 1), (1, 0), (0, 2), (2, 0), (1, 2), (2, 1)];
    for (from, to) in pairs {
        ping(&old[from].pod, &old[to].address);
    }
    let open = |&(from, to): &(usize, usize)| {
        let (from, to): (&Old, &Old) = (&old[from], &old[to]);
        Flow::open(&from.pod, &to.pod, &to.address).unwrap()
    };
    let mut flows: Vec<Flow> = pairs.iter().map(open).collect();
    for member in &scene.cluster.members {
        member.node.run(
            "nft add table netdev leave-flannel { chain in { type filter hook ingress device flannel.1 \
             priority 0; meta pkttype set host; }; }",
        );
    }
    for at in 0..3 {
        scene.leave(at);
        flows.iter_mut().for_each(|flow| flow.turn().unwrap());
        for (from, to) in pairs {
            ping(&old[from].pod, &old[to].address);
        }
        // A new pod on this node reaches those of flannel, and they reach it.
        let (pod, addresses) = scene.cluster.members[at].pod_on(&ours());
        for other in &old {
            assert_ne!(addresses[0], other.address);
            ping(&pod, &other.address);
            ping(&other.pod, &addresses[0]);
        }
        flows.iter_mut().for_each(|flow| flow.turn().unwrap());
    }
    drop(flows);
    // Our plugin deletes flannel's pods, by the result that the runtime kept.
    for (member, old) in scene.cluster.members.iter().zip(&old) {
        member.node.attach(&ours(), &old.pod).del(Some(&old.result));
        let gone = || (!member.node.leases_of("cbr0").contains(&old.address)).then_some(());
        assert!(within(Duration::from_secs(5), gone).is_some());
        assert!(old.pod.links().is_empty());
    }
}
