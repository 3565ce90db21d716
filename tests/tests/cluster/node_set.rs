//! The node set: errors in it, changes of it, and how its file may be replaced.

use crate::cluster::{ALL, Cluster, Member, node_list};
use ferrule_tests::node::Place;
use ferrule_tests::packets::{first_ping, ping};
use ferrule_tests::within;
use serde_json::Value;
use std::time::Duration;

fn entry<'a>(status: &'a Value, node: &str, cidr: &str) -> &'a Value {
    let mut entries = status["cidrs"].as_array().unwrap().iter();
    let of = entries.find(|entry| entry["node"] == node && entry["cidr"] == cidr);
    of.unwrap_or_else(|| panic!("no {cidr} of {node} in {status:#?}"))
}

/// Waits until packets from a place get to an address again.
#[track_caller]
fn flows_again(from: &impl Place, to: &str) {
    let flows = within(Duration::from_secs(10), || first_ping(from, to).then_some(()));
    assert!(flows.is_some(), "{to} is not reached again");
}

#[test]
fn what_contradicts_itself_is_refused_and_the_others_are_served() {
    let cluster = Cluster::new();
    let (near, _) = cluster.members[0].pod();
    let (_far, addresses) = cluster.members[2].pod();
    let odd = |name: &str, address: &str, cidr: &str| {
        format!(
            "[[node]]\nname = \"{name}\"\naddresses = [\"{address}\"]\npod-cidrs = [\"{cidr}\"]\n"
        )
    };
    let text = node_list(&ALL)
        + &odd("z-broadcast", "192.0.2.255", "10.244.10.0/24")
        + &odd("z-loop", "127.0.0.1", "10.244.11.0/24")
        + &odd("z-overlap", "192.0.2.12", "10.244.3.128/25")
        + &odd("z-own", "192.0.2.1", "10.244.13.0/24")
        + &odd("z-twin", "192.0.2.14", "10.244.14.0/24")
        + &odd("z-twin", "192.0.2.15", "10.244.15.0/24")
        + &odd("z-under", "192.0.2.16", "192.0.2.0/24");
    cluster.write_nodes(&text);
    let member = &cluster.members[0];
    let status = member.status_when(|status| status["source"]["nodes"] == 10);
    for (node, cidr, part) in [
        ("z-broadcast", "10.244.10.0/24", "ends at 192.0.2.255, which is not usable here"),
        ("z-loop", "10.244.11.0/24", "gives the node no usable address"),
        ("z-overlap", "10.244.3.128/25", "it overlaps 10.244.3.0/24 of node three"),
        ("z-own", "10.244.13.0/24", "gives the node no usable address"),
        ("z-under", "192.0.2.0/24", "which is a node's address"),
    ] {
        let refused = entry(&status, node, cidr);
        assert_eq!(refused["state"], "refused", "{refused:#?}");
        assert!(refused["error"].as_str().unwrap().contains(part), "{refused:#?}");
    }
    let problems = status["problems"].to_string();
    for part in [
        "192.0.2.255 is the broadcast address of 192.0.2.1/24 on eth0",
        "127.0.0.1 is no address that other nodes can reach",
        "address 192.0.2.1 is node one's too",
        "the name is in the node set twice",
    ] {
        assert!(problems.contains(part), "{part:?} is not in {problems}");
    }
    let shown = member.node.try_run(&member.command("status"));
    assert_eq!(shown.status.code(), Some(1), "{}", shown.stdout);
    assert!(shown.stdout.contains("z-overlap"), "{}", shown.stdout);
    // Told once, and not tried again and again.
    let reported = |log: &str| log.matches("192.0.2.255 is the broadcast address").count();
    assert_eq!(reported(&member.log()), 1, "{}", member.log());
    assert!(!member.log().contains("z-under: failed"), "{}", member.log());
    addresses.iter().for_each(|address| ping(&near, address));
    assert_eq!(entry(&status, "three", "10.244.3.0/24")["state"], "synced");
    member.write_nodes(&node_list(&ALL));
    member.status_when(|status| status["problems"].as_array().is_some_and(Vec::is_empty));
    assert!(member.node.try_run(&member.command("status")).status.success());
}

/// Each is shown, the first are logged, and none a second time.
#[test]
fn ten_thousand_errors_are_a_few_lines_of_the_log() {
    let cluster = Cluster::with("", &["one"]);
    let member = &cluster.members[0];
    let wrong = |at: u32| {
        format!(
            "[[node]]\nname = \"z-{at}\"\naddresses = [\"192.0.2.1\"]\n\
             pod-cidrs = [\"10.244.1.0/24\"]\n"
        )
    };
    member.write_nodes(&(node_list(&["one"]) + &(0..10_000).map(wrong).collect::<String>()));
    let status = member.status_when(|status| status["source"]["nodes"] == 10_001);
    assert_eq!(status["problems"].as_array().unwrap().len(), 10_000);
    assert_eq!(status["cidrs"].as_array().unwrap().len(), 10_002);
    let since = |status: &Value| entry(status, "one", "10.244.1.0/24")["since"].as_u64();
    // Another full pass.
    member.node.run("ip link set eth0 mtu 1400");
    let passed = || member.node.link("fvxlan.100").filter(|link| link["mtu"] == 1350);
    within(Duration::from_secs(10), passed).expect("the underlay's MTU is followed");
    let again = member.status_when(|status| status["source"]["nodes"] == 10_001);
    assert_eq!(since(&again), since(&status), "nothing changed");
    let log = member.log();
    let count = |part: &str| log.lines().filter(|line| line.contains(part)).count();
    for (part, lines) in [
        ("refused 10.244.1.0/24: it overlaps 10.244.1.0/24 of node one", 20),
        ("refused 9980 more: see `route-sync status`", 1),
        ("address 192.0.2.1 is node one's too; one node has it", 20),
        ("9980 more problems: see `route-sync status`", 1),
    ] {
        assert_eq!(count(part), lines, "{part}: {:?}", log.lines().take(100).collect::<Vec<_>>());
    }
}

/// Two nodes list one address. The first by name has it; the other one's tunnel is made of its
/// second, on its own node and on the third.
#[test]
fn who_loses_an_address_uses_its_next() {
    let cluster = Cluster::new();
    let (pods, addresses): (Vec<_>, Vec<_>) = cluster.members.iter().map(Member::pod).unzip();
    let two = &cluster.members[1];
    two.node.run("ip address add 192.0.2.22/24 dev eth0");
    // "three" comes before "two".
    let list = node_list(&ALL).replace("\"192.0.2.2\"", "\"198.51.100.3\", \"192.0.2.22\"");
    cluster.write_nodes(&list);
    let device = || two.node.try_run("ip -d link show dev fvxlan.100").stdout;
    let remade = || device().contains("local 192.0.2.22").then_some(());
    within(Duration::from_secs(10), remade).unwrap_or_else(|| panic!("{}", device()));
    assert!(device().contains("02:56:c0:00:02:16"), "{}", device());
    let problem = "address 198.51.100.3 is node three's too";
    for member in &cluster.members {
        member.status_when(|status| status["problems"].to_string().contains(problem));
    }
    for (from, to) in [(1, 2), (2, 1), (0, 1), (0, 2)] {
        flows_again(&pods[from], &addresses[to][0]);
    }
}

#[test]
fn a_list_that_cannot_be_read_changes_nothing() {
    let cluster = Cluster::new();
    let member = &cluster.members[0];
    let before = member.kept();
    for (text, part) in [
        ("[[node]]\nname = \"one\"\ntypo = 1\n", "line 3: unknown field `typo`"),
        ("", "there is no [[node]]"),
        ("[[node]]\nname = \"one\"\naddresses = [\"192.0.2.999\"]\n", "line 3: "),
    ] {
        member.write_nodes(text);
        let failing = |status: &Value| {
            status["source"]["error"].as_str().is_some_and(|error| error.contains(part))
        };
        member.status_when(failing);
        assert_eq!(member.node.try_run(&member.command("status")).status.code(), Some(1));
        assert_eq!(member.kept(), before);
    }
    member.write_nodes(&node_list(&ALL));
    member.status_when(|status| status["source"]["error"].is_null());
}

/// The third node gets other addresses: its own end and all others follow.
#[test]
fn a_nodes_address_changes() {
    let cluster = Cluster::new();
    let (near, _) = cluster.members[0].pod();
    let (far, addresses) = cluster.members[2].pod();
    let three = &cluster.members[2];
    three.node.sh("ip address del 198.51.100.3/24 dev eth0
        ip address add 198.51.100.33/24 dev eth0
        ip route replace default via 198.51.100.254");
    cluster.write_nodes(&node_list(&ALL).replace("\"198.51.100.3\"", "\"198.51.100.33\""));
    addresses.iter().for_each(|address| flows_again(&near, address));
    let device = three.node.run("ip -d link show dev fvxlan.100");
    assert!(device.contains("local 198.51.100.33"), "{device}");
    assert!(device.contains("02:56:c6:33:64:21"), "{device}");
    let fdb = cluster.members[0].node.run("bridge fdb show dev fvxlan.100");
    assert!(fdb.contains("198.51.100.33") && !fdb.contains("198.51.100.3 "), "{fdb}");
    let log = three.log();
    let cause = "made device fvxlan.100: local address was 198.51.100.3 instead of 198.51.100.33";
    assert!(log.contains(cause), "{log}");
    ping(&far, &cluster.members[0].pod().1[0]);
}

/// A CIDR goes from one node to another, at once on every node.
#[test]
fn a_cidr_moves_between_nodes() {
    let cluster = Cluster::new();
    let (near, _) = cluster.members[0].pod();
    let list = node_list(&ALL);
    let extra = |node: &str| {
        let from = format!("pod-cidrs = [\"10.244.{node}.0/24\"");
        list.replace(&from, &format!("{from}, \"10.244.77.0/24\""))
    };
    for (node, member) in [("2", 1), ("3", 2), ("2", 1)] {
        cluster.write_nodes(&extra(node));
        // The pod, as it were: the network is its node's own.
        cluster.members[member].node.run("ip address add 10.244.77.5/32 dev lo");
        flows_again(&near, "10.244.77.5");
        let way = cluster.members[0].node.run("ip route get 10.244.77.5");
        assert_eq!(way.contains("fvxlan.100"), node == "3", "{way}");
        cluster.members[member].node.run("ip address del 10.244.77.5/32 dev lo");
        assert!(!first_ping(&near, "10.244.77.5"));
    }
    cluster.set_nodes(&ALL);
    let gone = |member: &Member| {
        let routes = || member.node.run("ip route show proto 118");
        within(Duration::from_secs(5), || (!routes().contains("10.244.77.")).then_some(()))
    };
    assert!(cluster.members.iter().all(|member| gone(member).is_some()), "a stale route stays");
}

/// As a ConfigMap: `nodes.toml` is a link to `..data/nodes.toml`, `..data` a link that is swapped.
#[test]
fn the_list_is_followed_through_renames_and_swapped_links() {
    let cluster = Cluster::new();
    let member = &cluster.members[0];
    let follows = |names: &[&str]| {
        member.status_when(|status| {
            status["source"]["nodes"] == names.len() && status["source"]["error"].is_null()
        });
        let routes = member.node.run("ip route show proto 118");
        assert_eq!(routes.contains("10.244.3.0/24"), names.contains(&"three"), "{routes}");
    };
    member.write_nodes(&node_list(&ALL[..2]));
    follows(&ALL[..2]);
    let put = |stamp: usize, names: &[&str]| {
        member.node.write(&format!("/run/map/..{stamp}/nodes.toml"), &node_list(names));
        member
            .node
            .sh(&format!("cd /run/map; ln -s ..{stamp} ..data_tmp; mv -T ..data_tmp ..data"));
    };
    put(0, &ALL);
    // The file itself becomes a link, in one step.
    member.node.sh("ln -s map/..data/nodes.toml /run/nodes.toml.new
        mv -T /run/nodes.toml.new /run/nodes.toml");
    follows(&ALL);
    for stamp in 1..6 {
        let names = if stamp % 2 == 0 { &ALL[..] } else { &ALL[..2] };
        put(stamp, names);
        member.node.run(&format!("rm -r /run/map/..{}", stamp - 1));
        follows(names);
    }
}
