//! bridge: addresses, routes, gateways, masquerade.

use ferrule_tests::conf::{self, GATEWAY4, GATEWAY6};
use ferrule_tests::node::Place;
use ferrule_tests::outside::{NODE4, OUTSIDE4, OUTSIDE6};
use ferrule_tests::packets::{first_ping, tcp_source, udp_source};
use ferrule_tests::{Outside, Pod};
use serde_json::{Value, json};

use crate::bench::{Bench, scenarios};

scenarios!(
    default_route_v4,
    default_route_v6,
    default_route_dual,
    one_v4_and_two_v6,
    two_v4,
    no_gateway,
    an_explicit_gateway,
    default_gateway_by_the_bridge,
    default_gateway_and_a_route,
    routes_of_many_kinds,
    a_route_with_host_bits,
    sysctls_and_queue_of_a_pod,
    resolv_conf,
    dns_of_the_network,
    legacy_ipam_keys,
    bridge_address_v4,
    bridge_address_v4_by_force,
    bridge_address_v6_overlapping,
    bridge_address_v6_disjoint,
    an_address_goes_back_after_an_error,
    masquerade,
    masquerade_spares_its_subnet,
    duplicate_address_detection,
    pods_reach_each_other,
);

/// The first packet must arrive; the reference loses it at times.
fn pings(bench: &mut Bench, pod: &Pod, addresses: &[&str]) {
    for address in addresses {
        let reached =
            first_ping(pod, address) || (bench.bins().is_reference() && first_ping(pod, address));
        bench.see(&format!("ping {address}"), reached);
    }
}

fn default_route_v4(bench: &mut Bench) {
    bench.life(&conf::v4(), |bench, pod, _| pings(bench, pod, &[GATEWAY4]));
}

fn default_route_v6(bench: &mut Bench) {
    bench.life(&conf::v6(), |bench, pod, _| pings(bench, pod, &[GATEWAY6]));
}

fn default_route_dual(bench: &mut Bench) {
    bench.life(&conf::dual(), |bench, pod, _| pings(bench, pod, &[GATEWAY4, GATEWAY6]));
}

fn with_sets(sets: &[&str]) -> Value {
    let sets: Vec<Value> = sets.iter().map(|subnet| json!([{"subnet": subnet}])).collect();
    conf::with(&conf::dual(), &json!({"ipam": {"ranges": sets}}))
}

const TOO_MANY: &str = "does not support more than 1 address per family";

fn many(bench: &mut Bench, config: &Value, gateways: &[&str]) {
    if bench.lists() {
        return bench.life(config, |bench, pod, _| pings(bench, pod, gateways));
    }
    let pod = Pod::new();
    let outcome = bench.attach(config, &pod).try_add();
    bench.refused("ADD", &outcome, TOO_MANY);
    bench.leases("ADD");
}

fn one_v4_and_two_v6(bench: &mut Bench) {
    let config = with_sets(&["10.1.0.0/24", "fd00:1::/64", "fd00:2::/64"]);
    many(bench, &config, &[GATEWAY4, GATEWAY6, "fd00:2::1"]);
}

/// Gateways of two IPv4 networks conflict on one bridge unless forced.
fn two_v4(bench: &mut Bench) {
    let config = with_sets(&["10.1.0.0/24", "10.2.0.0/24"]);
    let config = conf::with(&config, &json!({"isGateway": false, "ipam": {"routes": null}}));
    many(bench, &config, &[]);
}

fn no_gateway(bench: &mut Bench) {
    let keys = json!({"isGateway": false, "ipam": {"routes": null}});
    bench.life(&conf::with(&conf::dual(), &keys), |_, _, _| {});
}

fn an_explicit_gateway(bench: &mut Bench) {
    let ranges = json!([[{"subnet": "10.1.0.0/24", "gateway": "10.1.0.254"}]]);
    let config = conf::with(&conf::v4(), &json!({"ipam": {"ranges": ranges}}));
    bench.life(&config, |bench, pod, _| pings(bench, pod, &["10.1.0.254"]));
}

fn default_gateway_by_the_bridge(bench: &mut Bench) {
    let keys = json!({"isGateway": null, "isDefaultGateway": true, "ipam": {"routes": null}});
    bench.life(&conf::with(&conf::dual(), &keys), |bench, pod, _| {
        pings(bench, pod, &[GATEWAY4, GATEWAY6]);
    });
}

fn default_gateway_and_a_route(bench: &mut Bench) {
    bench.life(&conf::with(&conf::v4(), &json!({"isDefaultGateway": true})), |bench, pod, _| {
        pings(bench, pod, &[GATEWAY4]);
    });
}

fn routes_of_many_kinds(bench: &mut Bench) {
    let routes = json!([
        {"dst": "0.0.0.0/0"},
        {"dst": "192.0.2.0/24", "gw": "10.1.0.77"},
        {"dst": "::/0", "gw": "fd00:1::1"},
        {"dst": "2001:db8:7::/48"},
    ]);
    bench.life(&conf::with(&conf::dual(), &json!({"ipam": {"routes": routes}})), |_, _, _| {});
}

/// Not a network address, as it is often written.
fn a_route_with_host_bits(bench: &mut Bench) {
    let pod = Pod::new();
    let keys = json!({"ipam": {"routes": [{"dst": "203.0.113.9/24"}]}});
    let outcome = bench.attach(&conf::with(&conf::v4(), &keys), &pod).try_add();
    bench.ended("ADD", &outcome);
}

fn sysctls_and_queue_of_a_pod(bench: &mut Bench) {
    let pod = Pod::new();
    bench.attach(&conf::dual(), &pod).add();
    for key in [
        "ipv4/conf/eth0/arp_notify",
        "ipv6/conf/eth0/accept_dad",
        "ipv6/conf/eth0/keep_addr_on_down",
    ] {
        bench.see(key, pod.sysctl(&format!("net/{key}")));
    }
    bench.see("txqlen", pod.link("eth0").unwrap()["txqlen"].clone());
}

fn resolv_conf(bench: &mut Bench) {
    bench.node.write(
        "/run/resolv.conf",
        "nameserver 192.0.2.53\ndomain example.org\nsearch a.example b.example\noptions ndots:5\n",
    );
    let config = conf::with(&conf::v4(), &json!({"ipam": {"resolvConf": "/run/resolv.conf"}}));
    bench.life(&config, |_, _, _| {});
}

/// Any field of the network's own `dns` replaces all of IPAM's.
fn dns_of_the_network(bench: &mut Bench) {
    bench.node.write("/run/resolv.conf", "nameserver 192.0.2.53\nsearch a.example\n");
    for dns in [json!({"nameservers": ["192.0.2.1"]}), json!({"domain": "own.example"}), json!({})]
    {
        let pod = Pod::new();
        let keys = json!({"dns": dns, "ipam": {"resolvConf": "/run/resolv.conf"}});
        let result = bench.attach(&conf::with(&conf::v4(), &keys), &pod).add();
        bench.see(&format!("dns {dns}"), result["dns"].clone());
        bench.attach(&conf::with(&conf::v4(), &keys), &pod).del(Some(&result));
    }
}

fn legacy_ipam_keys(bench: &mut Bench) {
    let ipam = json!({"ranges": null, "subnet": "10.1.0.0/24", "rangeStart": "10.1.0.20",
        "rangeEnd": "10.1.0.30", "gateway": "10.1.0.9"});
    bench.life(&conf::with(&conf::v4(), &json!({"ipam": ipam})), |bench, pod, _| {
        pings(bench, pod, &["10.1.0.9"]);
    });
}

fn occupied(bench: &mut Bench, address: &str, config: &Value, words: &str) {
    bench.node.sh(&format!(
        "ip link add cni0 type bridge; ip link set cni0 up; ip addr add {address} dev cni0 nodad"
    ));
    let pod = Pod::new();
    let outcome = bench.attach(config, &pod).try_add();
    if outcome.code == Some(0) {
        bench.see("ADD", "succeeds");
    } else {
        bench.refused("ADD", &outcome, words);
    }
    bench.see("addresses", bench.node.addresses("cni0"));
    bench.leases("ADD");
    let outcome = bench.attach(config, &pod).try_del(None);
    bench.ended("DEL", &outcome);
}

fn bridge_address_v4(bench: &mut Bench) {
    let words = "\"cni0\" already has an IP address different from 10.1.0.1/24";
    occupied(bench, "192.0.2.1/24", &conf::v4(), words);
}

fn bridge_address_v4_by_force(bench: &mut Bench) {
    let config = conf::with(&conf::v4(), &json!({"forceAddress": true}));
    occupied(bench, "192.0.2.1/24", &config, "");
}

fn bridge_address_v6_overlapping(bench: &mut Bench) {
    let words = "\"cni0\" already has an IP address different from fd00:1::1/64";
    occupied(bench, "fd00:1::99/64", &conf::v6(), words);
}

fn bridge_address_v6_disjoint(bench: &mut Bench) {
    occupied(bench, "fd00:99::99/64", &conf::v6(), "");
}

fn an_address_goes_back_after_an_error(bench: &mut Bench) {
    bench.node.sh("ip link add cni0 type bridge; ip addr add 192.0.2.1/24 dev cni0");
    let pod = Pod::new();
    let outcome = bench.attach(&conf::v4(), &pod).try_add();
    bench.ended("ADD", &outcome);
    bench.leases("ADD");
    bench.node.run("ip addr flush dev cni0");
    let outcome = bench.attach(&conf::v4(), &pod).try_add();
    bench.ended("ADD again", &outcome);
}

fn masquerading(keys: &Value) -> Value {
    conf::with(&conf::with(&conf::v4(), &json!({"ipMasq": true})), keys)
}

fn sources(bench: &mut Bench, pod: &Pod, outside: &Outside, address: &str) {
    bench.see(&format!("tcp to {address}"), format!("{:?}", tcp_source(pod, outside, address)));
    bench.see(&format!("udp to {address}"), format!("{:?}", udp_source(pod, outside, address)));
}

/// By either backend, in either family, and when its pod is gone.
fn masquerade(bench: &mut Bench) {
    let outside = Outside::beside(&bench.node);
    let six = conf::with(&conf::v6(), &json!({"ipMasq": true}));
    let parts = [
        ("auto/", masquerading(&json!({})), OUTSIDE4),
        ("iptables/", masquerading(&json!({"ipMasqBackend": "iptables"})), OUTSIDE4),
        ("nftables/", masquerading(&json!({"ipMasqBackend": "nftables"})), OUTSIDE4),
        ("six/", six, OUTSIDE6),
    ];
    for (part, config, address) in parts {
        bench.part(part);
        bench.life(&config, |bench, pod, _| sources(bench, pod, &outside, address));
        bench.node.run("rm -rf /var/lib/cni/networks");
        bench.node.run("ip link del cni0");
    }
    bench.part("gone/");
    masquerade_that_is_gone(bench, &outside);
}

fn masquerade_that_is_gone(bench: &mut Bench, outside: &Outside) {
    outside.run(&format!("ip route add 10.1.0.0/24 via {NODE4}"));
    let (one, two) = (Pod::new(), Pod::new());
    let config = masquerading(&json!({}));
    let result = bench.attach(&config, &one).add();
    bench.attach(&config, &one).del(Some(&result));
    let plain = conf::with(&conf::v4(), &json!({"runtimeConfig": {"ips": ["10.1.0.2"]}}));
    bench.attach(&plain, &two).add();
    sources(bench, &two, outside, OUTSIDE4);
}

fn masquerade_spares_its_subnet(bench: &mut Bench) {
    let (one, two) = (Pod::new(), Pod::new());
    let config = conf::with(&conf::dual(), &json!({"ipMasq": true}));
    bench.attach(&config, &one).add();
    bench.attach(&config, &two).add();
    for (to, address) in [(&two, "10.1.0.3"), (&two, "fd00:1::3")] {
        let seen = format!("{:?}", tcp_source(&one, to, address));
        bench.see(&format!("to {address}"), seen);
    }
    bench.see("to the node", format!("{:?}", tcp_source(&one, &bench.node, GATEWAY4)));
}

fn duplicate_address_detection(bench: &mut Bench) {
    let config = conf::with(&conf::v6(), &json!({"enabledad": true}));
    // A second and a half in each run: once is enough.
    if bench.version == "1.0.0" {
        bench.life(&config, |bench, pod, _| {
            bench.see("accept_dad", pod.sysctl("net/ipv6/conf/eth0/accept_dad"));
            pings(bench, pod, &[GATEWAY6]);
        });
    }
}

fn pods_reach_each_other(bench: &mut Bench) {
    let (one, two) = (Pod::new(), Pod::new());
    bench.attach(&conf::dual(), &one).add();
    bench.attach(&conf::dual(), &two).add();
    pings(bench, &one, &["10.1.0.3", "fd00:1::3"]);
    pings(bench, &two, &["10.1.0.2", "fd00:1::2"]);
}
