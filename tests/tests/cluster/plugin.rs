//! The vxlan plugin's own: what it says of the node's part in the overlay, and what it does where
//! no daemon says it.

use crate::cluster::{Cluster, Underlay, network};
use ferrule_tests::node::{Node, Place};
use ferrule_tests::packets::{bulk, ping};
use serde_json::{Value, json};

/// What the plugin makes of node.json where no daemon runs is what the daemon makes.
#[test]
fn a_tunnel_from_the_loopback_device_is_made_as_the_daemon_makes_it() {
    let mut cluster = Cluster::routed(Underlay::Dual);
    let member = &mut cluster.members[0];
    member.kill();
    let device = |node: &Node| {
        let shown = node.run("ip -d link show type vxlan");
        shown.split_once(": ").unwrap().1.to_owned()
    };
    let before = device(&member.node);
    member.node.run("ip link del fvxlan.100");
    let pod = member.node.pod();
    let attachment = member.node.attach(&network(), &pod);
    let result = attachment.add();
    assert_eq!(device(&member.node), before);
    attachment.check(&result);
}

/// How many host's ends of pods' links there are, and how many leased addresses.
fn traces(node: &Node) -> (usize, usize) {
    (node.veths().len(), node.leases_of("cluster").len())
}

#[test]
fn gc_leaves_what_is_valid_and_nothing_else() {
    let mut cluster = Cluster::with("", &["one"]);
    let member = &mut cluster.members[0];
    let (kept, _) = member.pod();
    let (lost, _) = member.pod();
    assert_eq!(traces(&member.node), (2, 4));
    // It needs no daemon, and nothing that one has written.
    member.kill();
    member.node.run("rm /run/ferrule/node.json");
    member.node.attach(&network(), &kept).gc(&[(kept.id(), "eth0")]).ok();
    assert_eq!(traces(&member.node), (1, 2));
    ping(&kept, "10.244.1.1");
    assert!(lost.link("eth0").is_none());
}

#[test]
fn del_needs_no_node_file() {
    let mut cluster = Cluster::with("", &["one"]);
    let member = &mut cluster.members[0];
    let pods = [member.node.pod(), member.node.pod()];
    let attachments = pods.each_ref().map(|pod| member.node.attach(&network(), pod));
    let results = attachments.each_ref().map(|attachment| attachment.add());
    member.daemon = None;
    member.node.run("rm /run/ferrule/node.json");
    attachments[0].del(Some(&results[0]));
    assert_eq!(traces(&member.node), (1, 2));
    member.node.write("/run/ferrule/node.json", "damaged");
    attachments[1].del(None);
    assert_eq!(traces(&member.node), (0, 0));
    attachments[1].del(None);
}

#[test]
fn status_reports_what_the_daemon_has_done() {
    let mut cluster = Cluster::with("", &["one"]);
    let path = "/run/ferrule/node.json";
    let member = &mut cluster.members[0];
    let pod = member.node.pod();
    let reported = member.node.read(path);
    let status = |node: &Node| node.attach(&network(), &pod).status();
    status(&member.node).ok();
    member.node.run(&format!("kill -STOP {}", member.pid()));
    status(&member.node).err().expect(51, "route-sync does not answer");
    member.node.run(&format!("kill -CONT {}", member.pid()));
    status(&member.node).ok();
    // Traffic flows on; for so long that nodes have come and gone, it does not count.
    let connected = member.node.pod();
    member.node.attach(&network(), &connected).add();
    member.kill();
    status(&member.node).ok();
    member.node.run("touch -d @1 /run/ferrule/route-sync.lock");
    status(&member.node).err().expect(51, "route-sync does not run");
    member.node.run("touch /run/ferrule/route-sync.lock");
    status(&member.node).ok();
    // A node without pods loses nothing by waiting for the daemon.
    member.node.attach(&network(), &connected).del(None);
    status(&member.node).err().expect(51, "route-sync does not run");
    member.node.write(path, &reported.replace("\"synced\": true", "\"synced\": false"));
    status(&member.node).err().expect(50, "route-sync has not installed the routes");
    member.node.write(path, &reported.replace("\"version\": 1", "\"version\": 2"));
    status(&member.node).err().expect(50, "is of version 2");
    member.node.run(&format!("rm {path}"));
    status(&member.node).err().expect(50, "there is no /run/ferrule/node.json");
    // A daemon without its node set has written nothing yet.
    member.node.run("rm /run/nodes.toml /var/lib/ferrule/nodes.json");
    member.start();
    member.status_when(|status| !status["source"]["error"].is_null());
    status(&member.node).err().expect(50, "there is no /run/ferrule/node.json");
}

/// What a daemon that cannot guard the tunnel's port leaves unmade, no pod makes either: neither
/// when it starts so, nor when that happens to one that was in step.
#[test]
fn a_pod_opens_no_port_that_the_daemon_cannot_guard() {
    let mut cluster = Cluster::with("", &["one", "two"]);
    let member = &mut cluster.members[0];
    let reported =
        |status: &Value| status["problems"].to_string().contains("its port cannot be guarded");
    for synced in [true, false] {
        if !synced {
            member.kill();
        }
        // A set of the guard's name that is not like it.
        let in_the_way = "flush ruleset; add table inet ferrule;
            add set inet ferrule overlay-peers4 { type inet_service; }";
        member.node.sh(&format!("nft '{in_the_way}'; ip link del fvxlan.100"));
        if !synced {
            member.start();
        }
        let status = member.status_when(reported);
        assert_eq!(status["synced"], synced);
        let pod = member.node.pod();
        let attachment = member.node.attach(&network(), &pod);
        if !synced {
            attachment.status().err().expect(50, "route-sync has not installed the routes");
        }
        let error = attachment.try_add().err();
        error.expect(11, "route-sync has not made VXLAN device fvxlan.100 yet");
        assert!(member.node.link("fvxlan.100").is_none() && member.node.veths().is_empty());
        member.node.run("nft delete table inet ferrule");
        member.status_when(|status| status["synced"] == true && !reported(status));
        attachment.add();
        attachment.del(None);
        assert!(member.node.link("fvxlan.100").is_some());
    }
    // Nobody else is there to make it, and the guard stands.
    member.kill();
    member.node.run("ip link del fvxlan.100");
    member.pod();
    assert!(member.node.link("fvxlan.100").is_some());
}

#[test]
fn keys_that_differ_from_the_daemons_are_refused() {
    let cluster = Cluster::with("", &["one"]);
    let node = &cluster.members[0].node;
    let pod = node.pod();
    let before = traces_of_device(node);
    for (keys, part) in [
        (json!({"vni": 7}), "vni is 7 here, and 100 in /run/ferrule/node.json"),
        (json!({"port": 8472}), "port is 8472 here, and 4789 in"),
        (json!({"underlay": "eth9"}), "underlay is \"eth9\" here, and \"eth0\" in"),
        (json!({"mtu": 1451}), "invalid MTU 1451; the tunnel carries 1450 bytes"),
    ] {
        let attachment = node.attach(&network(), &pod).with(&keys);
        attachment.try_add().err().expect(7, part);
        attachment.status().err().expect(7, part);
    }
    assert_eq!(traces_of_device(node), before);
    let same = json!({"vni": 100, "port": 4789, "underlay": "eth0", "mtu": 1400});
    node.attach(&network(), &pod).with(&same).add();
    assert_eq!(pod.link("eth0").unwrap()["mtu"], 1400);
}

fn traces_of_device(node: &Node) -> String {
    node.run("ip -d link show type vxlan") + &node.links().join(" ")
}

/// A network that says all of the tunnel itself, of the node with this number.
fn of_keys(at: u8) -> Value {
    json!({"cniVersion": "1.1.0", "name": "cluster", "type": "vxlan",
           "vni": 100, "port": 4789, "underlay": "eth0",
           "ipam": {"type": "host-local", "ranges": [[{"subnet": format!("10.244.{at}.0/24")}]]}})
}

/// Two nodes without daemons; whoever wants packets between them makes the routes.
#[test]
fn without_a_daemon_the_keys_say_all() {
    let wires = Cluster::with("", &[]);
    let nodes = [wires.plug_in("one", 'a', 1), wires.plug_in("three", 'b', 3)];
    for (node, other) in [(&nodes[0], (3, "198.51.100.3")), (&nodes[1], (1, "192.0.2.1"))] {
        let at = if other.0 == 3 { 1 } else { 3 };
        let pod = node.pod();
        let attachment = node.attach(&of_keys(at), &pod);
        attachment.status().ok();
        attachment.with(&json!({"mtu": 1451})).try_add().err().expect(7, "invalid MTU 1451");
        assert!(node.link("fvxlan.100").is_none(), "a refused ADD made the device");
    }
    let pods = [nodes[0].pod(), nodes[1].pod()];
    let attachments =
        [nodes[0].attach(&of_keys(1), &pods[0]), nodes[1].attach(&of_keys(3), &pods[1])];
    let results = attachments.each_ref().map(|attachment| attachment.add());
    for (node, to, address, mac) in [
        (&nodes[0], 3, "198.51.100.3", "02:56:c6:33:64:03"),
        (&nodes[1], 1, "192.0.2.1", "02:56:c0:00:02:01"),
    ] {
        node.sh(&format!(
            "ip route add 10.244.{to}.0/24 via 10.244.{to}.0 dev fvxlan.100 onlink
             ip neighbour add 10.244.{to}.0 lladdr {mac} dev fvxlan.100 nud permanent
             bridge fdb append {mac} dev fvxlan.100 dst {address}"
        ));
    }
    for (node, pod) in nodes.iter().zip(&pods) {
        assert_eq!(node.link("fvxlan.100").unwrap()["mtu"], 1450);
        assert_eq!(pod.link("eth0").unwrap()["mtu"], 1450);
    }
    let to = ferrule_tests::invoke::addresses(&results[1])[0].clone();
    ping(&pods[0], &to);
    bulk(&pods[0], &pods[1], &to, 1_000_000).unwrap();
    assert_eq!(wires.seen("inet", "fragments"), 0);
    attachments[0].check(&results[0]);
    nodes[0].run("ip link set fvxlan.100 mtu 1400");
    attachments[0].try_check(&results[0]).err().expect(101, "MTU was 1400 instead of 1450");
    // The next ADD mends it: there is nobody else who would.
    let more = nodes[0].pod();
    nodes[0].attach(&of_keys(1), &more).add();
    attachments[0].check(&results[0]);
    attachments[0].del(Some(&results[0]));
    assert_eq!(traces(&nodes[0]), (1, 1));
    let gone = nodes[1].attach(&of_keys(3), &pods[1]).with(&json!({"underlay": "eth9"}));
    gone.try_check(&results[1]).err().expect(100, "eth9");
    attachments[1].del(None);
    assert_eq!(traces(&nodes[1]), (0, 0));
}

#[test]
fn without_a_daemon_each_missing_key_is_named() {
    let wires = Cluster::with("", &[]);
    let node = wires.plug_in("one", 'a', 1);
    let pod = node.pod();
    for (keys, part) in [
        (json!({"vni": null}), "the configuration has no vni"),
        (json!({"port": null, "underlay": null}), "the configuration has no port, underlay"),
        (json!({"vni": 16_777_216}), "invalid vni 16777216"),
        (json!({"port": 65_536}), "invalid port 65536"),
        (json!({"ipam": {"ranges": null}}), "ipam has no ranges"),
    ] {
        let attachment = node.attach(&of_keys(1), &pod).with(&keys);
        attachment.try_add().err().expect(7, part);
        attachment.status().err().expect(7, part);
    }
    assert_eq!(node.links(), ["eth0"]);
}
