//! The source address that each receiver sees, with the cluster's masquerade and without.

use crate::cluster::{ALL, Cluster, OUTSIDE, network};
use ferrule_tests::Pod;
use ferrule_tests::invoke::addresses;
use ferrule_tests::node::Place;
use ferrule_tests::packets::{multicast_source, tcp_source, tcp_source_by, udp_source};
use ferrule_tests::reset;
use std::net::IpAddr;

const MASQUERADE: &str = "masquerade.enabled = true";
/// One address of each family.
type Both = [String; 2];

/// A cluster and two pods on its first node, one on each of the others.
struct Scene {
    cluster: Cluster,
    pods: Vec<(Pod, Both)>,
}

impl Scene {
    fn new(keys: &str) -> Scene {
        let cluster = Cluster::with(keys, &ALL);
        let on = |member: usize| {
            let (pod, addresses) = cluster.members[member].pod();
            (pod, addresses.try_into().unwrap())
        };
        let pods = [0, 0, 1, 2].map(on).into_iter().collect();
        Scene { cluster, pods }
    }

    /// A node's addresses on its link.
    fn node(&self, member: usize) -> Both {
        let addresses = self.cluster.members[member].node.addresses("eth0");
        let bare = |address: &String| address.split('/').next().unwrap().to_owned();
        addresses.iter().map(bare).collect::<Vec<_>>().try_into().unwrap()
    }
}

/// `to`, at its `addresses`, sees `from` as `sources`, over TCP and UDP, and answers.
#[track_caller]
fn sees(to: &impl Place, addresses: &Both, from: &impl Place, sources: &Both) {
    for (address, source) in addresses.iter().zip(sources) {
        let source: IpAddr = source.parse().unwrap();
        assert_eq!(tcp_source(from, to, address), Ok(source), "TCP to {address}");
        assert_eq!(udp_source(from, to, address), Ok(source), "UDP to {address}");
    }
}

#[test]
fn pods_and_nodes_see_each_pods_own_address() {
    let scene = Scene::new(MASQUERADE);
    let (pod, own) = &scene.pods[0];
    for (other, addresses) in &scene.pods[1..] {
        sees(other, addresses, pod, own);
        sees(pod, own, other, addresses);
    }
    for at in [0, 1] {
        sees(&scene.cluster.members[at].node, &scene.node(at), pod, own);
    }
    let four = |at: usize| scene.pods[at].1[0].parse().unwrap();
    let group = "239.1.2.3".parse().unwrap();
    let seen = multicast_source((pod, four(0)), (&scene.pods[1].0, four(1)), group);
    assert_eq!(seen.unwrap().to_string(), own[0]);
}

#[test]
fn what_leaves_the_cluster_carries_the_nodes_address() {
    let scene = Scene::new(MASQUERADE);
    let outside = OUTSIDE.map(str::to_owned);
    for (at, (pod, _)) in scene.pods[1..].iter().enumerate() {
        sees(&scene.cluster.router, &outside, pod, &scene.node(at));
    }
}

#[test]
fn what_comes_from_outside_keeps_its_address() {
    let scene = Scene::new(MASQUERADE);
    let router = &scene.cluster.router;
    for ((_, own), node) in [(&scene.pods[0], scene.node(0)), (&scene.pods[3], scene.node(2))] {
        for ((pod, node), outside) in own.iter().zip(node).zip(OUTSIDE) {
            router.run(&format!("ip route add {pod} via {node} src {outside}"));
        }
    }
    for (pod, own) in [&scene.pods[0], &scene.pods[3]] {
        sees(pod, own, router, &OUTSIDE.map(str::to_owned));
    }
}

/// Between a node and a pod behind the tunnel each packet comes from where its source leads, as a
/// strict reverse-path filter wants it: a node is its first pod CIDR's address to the pod, and the
/// pod, on the underlay, its node's.
#[test]
fn nodes_and_pods_meet_by_addresses_that_lead_back() {
    let scene = Scene::new(MASQUERADE);
    for member in &scene.cluster.members {
        member.node.sh("echo 1 | tee /proc/sys/net/ipv4/conf/*/rp_filter");
    }
    let first = ["10.244.1.0".to_owned(), "fd00:10:244:1::".to_owned()];
    let node = &scene.cluster.members[0].node;
    let (near, far) = (&scene.pods[2], &scene.pods[3]);
    sees(&near.0, &near.1, node, &first);
    sees(&far.0, &far.1, node, &first);
    sees(node, &scene.node(0), &near.0, &near.1);
    sees(node, &scene.node(0), &far.0, &scene.node(2));
}

/// As kube-proxy does it: the destination is translated before anything else looks at it.
#[test]
fn behind_a_service_the_pods_own_address_is_seen() {
    let scene = Scene::new(MASQUERADE);
    let services = ["10.96.0.10", "fd00:10:96::a"];
    let (pod, own) = &scene.pods[0];
    let node = &scene.cluster.members[0].node;
    node.sh("nft add table inet proxy
         nft add chain inet proxy services '{ type nat hook prerouting priority dstnat; }'");
    for (behind, addresses) in &scene.pods[1..] {
        node.sh(&format!(
            "nft flush chain inet proxy services
             nft add rule inet proxy services ip daddr {} dnat ip to {}
             nft add rule inet proxy services ip6 daddr {} dnat ip6 to {}",
            services[0], addresses[0], services[1], addresses[1]
        ));
        for (family, service) in services.into_iter().enumerate() {
            let seen = tcp_source_by(pod, behind, &addresses[family], service);
            assert_eq!(seen.unwrap().to_string(), own[family], "by {service}");
        }
    }
}

/// The plugin's masquerade of its own network knows the cluster from the daemon.
#[test]
fn ip_masq_of_the_plugin_spares_the_cluster_too() {
    let scene = Scene::new("");
    let member = &scene.cluster.members[0];
    let mut masquerading = network();
    masquerading["ipMasq"] = true.into();
    let pod = member.node.pod();
    let result = member.node.attach(&masquerading, &pod).add();
    let own: Both = addresses(&result).try_into().unwrap();
    for (other, theirs) in &scene.pods {
        sees(other, theirs, &pod, &own);
    }
    sees(&scene.cluster.members[1].node, &scene.node(1), &pod, &own);
    sees(&scene.cluster.members[2].node, &scene.node(2), &pod, &scene.node(0));
    sees(&scene.cluster.router, &OUTSIDE.map(str::to_owned), &pod, &scene.node(0));
}

/// Networks of the site that know the way to the pods, here the router's second address.
#[test]
fn excluded_networks_see_the_pods_own_address() {
    let scene = Scene::new(&format!(
        "{MASQUERADE}\nmasquerade.exclude-cidrs = [\"198.18.0.0/24\", \"2001:db8:eeee::/64\"]"
    ));
    let router = &scene.cluster.router;
    let excluded = ["198.18.0.2".to_owned(), "2001:db8:eeee::2".to_owned()];
    for address in &excluded {
        router.run(&format!("ip addr add {address} dev lo nodad"));
    }
    let (pod, own) = &scene.pods[0];
    for (address, node) in own.iter().zip(scene.node(0)) {
        router.run(&format!("ip route add {address} via {node}"));
    }
    sees(router, &excluded, pod, own);
    sees(router, &OUTSIDE.map(str::to_owned), pod, &scene.node(0));
    // The list is the cluster's: the plugin's own masquerade goes by it too.
    let member = &scene.cluster.members[0];
    let mut masquerading = network();
    masquerading["ipMasq"] = true.into();
    let pod = member.node.pod();
    let own: Both = addresses(&member.node.attach(&masquerading, &pod).add()).try_into().unwrap();
    for (address, node) in own.iter().zip(scene.node(0)) {
        router.run(&format!("ip route add {address} via {node}"));
    }
    sees(router, &excluded, &pod, &own);
    sees(router, &OUTSIDE.map(str::to_owned), &pod, &scene.node(0));
}

/// NAT does not see what conntrack calls invalid. Pods of the cluster get it all the same: their
/// packets may take another way in each direction.
#[test]
fn what_conntrack_calls_invalid_stays_in_the_cluster() {
    let scene = Scene::new(MASQUERADE);
    let router = &scene.cluster.router;
    let (pod, own) = &scene.pods[0];
    for (own, outside) in own.iter().zip(OUTSIDE) {
        assert_eq!(tcp_source(pod, router, outside).map(|_| ()), Ok(()));
        assert!(!reset::arrives(pod, own, (router, "wire-a"), outside), "{own} to {outside}");
    }
    for (other, addresses) in &scene.pods[1..] {
        for (own, address) in own.iter().zip(addresses) {
            assert!(reset::arrives(pod, own, (other, "eth0"), address), "{own} to {address}");
        }
    }
}

#[test]
fn without_masquerade_pods_keep_their_address_outside_too() {
    let scene = Scene::new("");
    let router = &scene.cluster.router;
    let (pod, own) = &scene.pods[0];
    let outside = OUTSIDE.map(str::to_owned);
    for ((address, node), outside) in own.iter().zip(scene.node(0)).zip(&outside) {
        assert!(tcp_source(pod, router, outside).is_err(), "{outside} knows no way back");
        router.run(&format!("ip route add {address} via {node}"));
    }
    sees(router, &outside, pod, own);
}
