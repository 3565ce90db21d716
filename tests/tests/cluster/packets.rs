//! Packets between pods of different nodes.

use crate::cluster::{ALL, Cluster, network, node_list};
use ferrule_tests::node::Place;
use ferrule_tests::packets::{bulk, first_ping, ping, tcp_source};
use ferrule_tests::within;
use std::time::Duration;

#[test]
fn every_pod_reaches_every_other_by_its_own_address() {
    let cluster = Cluster::new();
    let pods: Vec<_> = cluster.members.iter().map(crate::cluster::Member::pod).collect();
    for (from, own) in &pods {
        for (to, addresses) in &pods {
            if from.id() == to.id() {
                continue;
            }
            for (family, address) in addresses.iter().enumerate() {
                ping(from, address);
                let seen = tcp_source(from, to, address).unwrap();
                assert_eq!(seen.to_string(), own[family], "the source that {address} saw");
            }
        }
    }
    // Through the tunnel across the router, plainly on the link.
    let (routed, switched) = cluster.tunnelled();
    assert!(routed > 0 && switched == 0, "{routed} routed, {switched} switched");
    // A node reaches the pods of others from inside its own pod CIDR where it uses the tunnel.
    for member in &cluster.members {
        for (_, addresses) in &pods {
            addresses.iter().for_each(|address| ping(&member.node, address));
        }
    }
    let mtu = pods[0].0.link("eth0").unwrap()["mtu"].as_u64();
    assert_eq!(mtu, Some(1450), "pods get the tunnel's MTU");
    // A full-size packet that must not be fragmented.
    pods[0].0.run(&format!("ping -n -c1 -W2 -M do -s {} {}", 1450 - 28, pods[2].1[0]));
}

/// The node set gives no IPv4 addresses: the tunnel goes over IPv6, and carries both families.
#[test]
fn a_tunnel_over_ipv6() {
    let cluster = Cluster::new();
    let mut list = node_list(&ALL);
    for four in ["192.0.2.1", "192.0.2.2", "198.51.100.3"] {
        list = list.replace(&format!("\"{four}\", "), "");
    }
    cluster.write_nodes(&list);
    for member in &cluster.members {
        let device = || member.node.try_run("ip -d link show dev fvxlan.100").stdout;
        let remade = || device().contains("local 2001:db8:").then_some(());
        let remade = within(Duration::from_secs(10), remade);
        assert!(remade.is_some(), "{}", member.log());
        member.in_sync();
    }
    let pods: Vec<_> = cluster.members.iter().map(crate::cluster::Member::pod).collect();
    let before = cluster.tunnelled().0;
    for (from, own) in &pods {
        for (to, addresses) in pods.iter().filter(|(to, _)| to.id() != from.id()) {
            for (address, own) in addresses.iter().zip(own) {
                let seen = tcp_source(from, to, address).map(|seen| seen.to_string());
                assert_eq!(seen.as_ref(), Ok(own), "the source that {address} saw");
            }
        }
    }
    assert!(cluster.tunnelled().0 > before, "nothing went through the tunnel");
    let most = 1500 - 70;
    assert_eq!(pods[0].0.link("eth0").unwrap()["mtu"], most);
    pods[0].0.run(&format!("ping -n -c1 -W2 -M do -s {} {}", most - 28, pods[2].1[0]));
}

/// GSO would carry segments of many times the MTU from pod to pod, and show nothing.
#[test]
fn full_segments_fit_the_tunnel_and_nothing_is_fragmented() {
    let cluster = Cluster::new();
    let (near, _) = cluster.members[0].pod();
    let (far, addresses) = cluster.members[2].pod();
    for pod in [&near, &far] {
        pod.run("ip link set eth0 gso_max_segs 1");
    }
    for address in &addresses {
        let before = cluster.seen("inet", "full");
        bulk(&near, &far, address, 1_000_000).unwrap();
        let full = cluster.seen("inet", "full") - before;
        assert!(full >= 1_000_000 / 1400, "{full} packets of 1500 bytes carried it to {address}");
    }
    assert_eq!(cluster.seen("inet", "fragments"), 0);
    for member in &cluster.members {
        let made = member.node.json("nstat -jasz IpFragCreates Ip6FragCreates");
        let none = serde_json::json!({"kernel": {"IpFragCreates": 0, "Ip6FragCreates": 0}});
        assert_eq!(made, none, "{}", member.name);
    }
}

#[test]
fn traffic_outlives_the_daemon_and_status_reports_its_absence() {
    let mut cluster = Cluster::new();
    let (near, _) = cluster.members[0].pod();
    let (_far, addresses) = cluster.members[2].pod();
    let attachment = |cluster: &Cluster| {
        let pod = cluster.members[0].node.pod();
        cluster.members[0].node.attach(&network(), &pod).status()
    };
    attachment(&cluster).ok();
    // Killed at once, and traffic flows.
    cluster.members[0].kill();
    addresses.iter().for_each(|address| ping(&near, address));
    attachment(&cluster).ok();
    cluster.members[0].start();
    cluster.members[0].in_sync();
    attachment(&cluster).ok();
    addresses.iter().for_each(|address| ping(&near, address));
}

#[test]
fn a_node_leaves_and_comes_back_and_what_is_deleted_returns() {
    let cluster = Cluster::new();
    let (near, _) = cluster.members[0].pod();
    let (_far, addresses) = cluster.members[2].pod();
    let node = &cluster.members[0].node;
    for harm in
        ["ip route del 10.244.3.0/24", "ip link del fvxlan.100", "ip link set fvxlan.100 down"]
    {
        node.run(harm);
        let back = within(Duration::from_secs(5), || {
            addresses.iter().all(|address| first_ping(&near, address)).then_some(())
        });
        assert!(back.is_some(), "after {harm}: {:#?}", cluster.members[0].status());
    }
    cluster.set_nodes(&["one", "two"]);
    let gone = || (!node.run("ip route show proto 118").contains("10.244.3.0/24")).then_some(());
    within(Duration::from_secs(5), gone).expect("the routes to a node that left go");
    cluster.set_nodes(&ALL);
    within(Duration::from_secs(5), || first_ping(&near, &addresses[0]).then_some(()))
        .expect("the routes to a node that came come");
}

#[test]
fn a_second_daemon_is_refused_and_cleanup_leaves_nothing() {
    let mut cluster = Cluster::new();
    let member = &mut cluster.members[0];
    for command in ["", "cleanup"] {
        let second = member.node.try_run(&member.command(command));
        assert_eq!(second.status.code(), Some(1));
        let text = "another route-sync runs here: it holds /run/ferrule/route-sync.lock";
        assert!(second.stderr.contains(text), "{}", second.stderr);
    }
    // The first one is none the worse for it.
    member.in_sync();
    member.kill();
    member.node.run(&member.command("cleanup"));
    for args in ["-4 route show proto 118", "-6 route show proto 118", "link show type vxlan"] {
        assert_eq!(member.node.run(&format!("ip {args}")).trim(), "");
    }
    assert!(!member.node.exists("/run/ferrule/node.json"));
    assert!(member.status().is_none());
}
