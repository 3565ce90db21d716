//! host-local: configurations old and new, refused ones, and resolv.conf.

use ferrule_tests::node::Place;
use ferrule_tests::{Pod, conf};
use serde_json::{Value, json};

use crate::bench::{Bench, scenarios};
use crate::host_local::{add_for, five, got, network};

scenarios!(
    old_config,
    new_config,
    mixed_config,
    custom_and_default_ranges,
    ranges_that_overlap_in_a_set,
    ranges_that_overlap_between_sets,
    families_mixed_in_a_set,
    too_many_sets_for_old_versions,
    no_ipam_at_all,
    no_ranges,
    an_empty_set,
    host_bits,
    too_small,
    start_or_end_outside,
    start_after_end,
    bounds_that_are_no_hosts,
    a_gateway_outside,
    a_subnet_that_is_none,
    resolv_conf_simple,
    resolv_conf_with_comments,
    resolv_conf_with_all_fields,
    resolv_conf_missing,
);

fn ipam(keys: &Value) -> Value {
    let ipam = conf::with(&json!({"type": "host-local"}), keys);
    json!({"name": "pods", "type": "host-local", "ipam": ipam})
}

fn accepted(bench: &mut Bench, keys: &Value) {
    let pod = Pod::new();
    let outcome = bench.attach(&ipam(keys), &pod).try_add();
    bench.result("ADD", &outcome, &pod);
    bench.leases("ADD");
}

fn refused(bench: &mut Bench, label: &str, config: &Value, words: &str) {
    let pod = Pod::new();
    let outcome = add_for(bench, &pod, config, "one");
    bench.refused(label, &outcome, words);
    bench.leases(label);
}

fn old_config(bench: &mut Bench) {
    accepted(
        bench,
        &json!({"subnet": "10.1.2.0/24", "rangeStart": "10.1.2.9", "rangeEnd": "10.1.2.20",
            "gateway": "10.1.2.30"}),
    );
}

fn new_config(bench: &mut Bench) {
    accepted(
        bench,
        &json!({"ranges": [[{"subnet": "10.1.2.0/24", "rangeStart": "10.1.2.9",
            "rangeEnd": "10.1.2.20", "gateway": "10.1.2.30"}, {"subnet": "10.1.4.0/24"}]]}),
    );
}

fn mixed_config(bench: &mut Bench) {
    let sets = json!([[{"subnet": "fd00:1::/64", "rangeStart": "fd00:1::9"}]]);
    accepted(bench, &json!({"subnet": "10.1.2.0/24", "ranges": sets}));
}

/// What is not said follows from the subnet.
fn custom_and_default_ranges(bench: &mut Bench) {
    for subnet in ["10.1.2.0/28", "10.1.0.0/16", "10.0.0.0/8", "fd00:1::/64", "fd00:2::/120"] {
        let pod = Pod::new();
        let config = conf::with(&ipam(&json!({"subnet": subnet})), &json!({"name": "n"}));
        let outcome = add_for(bench, &pod, &config, "one");
        let result = bench.result(subnet, &outcome, &pod);
        assert!(result.is_some(), "{outcome:?}");
        bench.node.run("rm -rf /var/lib/cni/networks/n /var/lib/cni/networks/.ferrule");
    }
}

fn ranges_that_overlap_in_a_set(bench: &mut Bench) {
    let ranges = json!([[{"subnet": "10.1.0.0/22"}, {"subnet": "10.1.2.0/24"}]]);
    refused(
        bench,
        "ADD",
        &conf::host_local(&ranges),
        "invalid range set 0: subnets 10.1.0.1-10.1.3.254 and 10.1.2.1-10.1.2.254 overlap",
    );
}

fn ranges_that_overlap_between_sets(bench: &mut Bench) {
    let config = network(&[json!({"subnet": "10.1.0.0/22"}), json!({"subnet": "10.1.2.0/24"})]);
    let words = if bench.lists() {
        "range set 0 overlaps with 1"
    } else {
        "more than 1 address per family"
    };
    refused(bench, "ADD", &config, words);
}

fn families_mixed_in_a_set(bench: &mut Bench) {
    let ranges = json!([[{"subnet": "10.1.0.0/24"}, {"subnet": "fd00:1::/64"}]]);
    refused(
        bench,
        "ADD",
        &conf::host_local(&ranges),
        "invalid range set 0: mixed address families",
    );
}

fn too_many_sets_for_old_versions(bench: &mut Bench) {
    let pod = Pod::new();
    let config = network(&[json!({"subnet": "10.1.0.0/24"}), json!({"subnet": "10.2.0.0/24"})]);
    let outcome = add_for(bench, &pod, &config, "one");
    if bench.lists() {
        bench.see("ADD", got(&outcome));
    } else {
        let words = format!(
            "CNI version {} does not support more than 1 address per family",
            bench.version
        );
        bench.refused("ADD", &outcome, &words);
    }
    bench.leases("ADD");
}

fn no_ipam_at_all(bench: &mut Bench) {
    let config = json!({"name": "pods", "type": "host-local"});
    refused(bench, "ADD", &config, "IPAM config missing 'ipam' key");
}

fn no_ranges(bench: &mut Bench) {
    refused(bench, "absent", &ipam(&json!({})), "no IP ranges specified");
    refused(bench, "empty", &ipam(&json!({"ranges": []})), "no IP ranges specified");
}

fn an_empty_set(bench: &mut Bench) {
    let config = ipam(&json!({"ranges": [[]]}));
    refused(bench, "ADD", &config, "invalid range set 0: empty range set");
}

fn host_bits(bench: &mut Bench) {
    let words =
        "Network has host bits set. For a subnet mask of length 24 the network address is 10.1.2.0";
    refused(bench, "v4", &network(&[json!({"subnet": "10.1.2.4/24"})]), words);
    let words = "For a subnet mask of length 64 the network address is fd00:1::";
    refused(bench, "v6", &network(&[json!({"subnet": "fd00:1::4/64"})]), words);
}

fn too_small(bench: &mut Bench) {
    for subnet in ["10.1.2.0/31", "10.1.2.0/32", "fd00:1::/127", "fd00:1::/128"] {
        let config = network(&[json!({"subnet": subnet})]);
        let words = format!("Network {subnet} too small to allocate from");
        refused(bench, subnet, &config, &words);
    }
}

fn start_or_end_outside(bench: &mut Bench) {
    for (key, name) in [("rangeStart", "RangeStart"), ("rangeEnd", "RangeEnd")] {
        for address in ["10.1.1.255", "10.1.3.0", "fd00::1"] {
            let config = network(&[json!({"subnet": "10.1.2.0/24", key: address})]);
            let words = format!("{name} {address} not in network 10.1.2.0/24");
            refused(bench, &format!("{key} {address}"), &config, &words);
        }
    }
}

fn start_after_end(bench: &mut Bench) {
    let range =
        json!({"subnet": "10.1.2.0/24", "rangeStart": "10.1.2.50", "rangeEnd": "10.1.2.40"});
    refused(bench, "ADD", &network(&[range]), "10.1.2.50");
}

/// The network's own address and its broadcast, named as bounds.
fn bounds_that_are_no_hosts(bench: &mut Bench) {
    let range = json!({"subnet": "10.1.0.0/29", "rangeStart": "10.1.0.0", "rangeEnd": "10.1.0.7"});
    let pod = Pod::new();
    for nth in 0..8 {
        let outcome =
            add_for(bench, &pod, &network(std::slice::from_ref(&range)), &format!("c{nth}"));
        bench.see(&format!("{nth}"), got(&outcome));
    }
}

fn a_gateway_outside(bench: &mut Bench) {
    let range = json!({"subnet": "10.1.2.0/24", "gateway": "10.9.9.9"});
    refused(bench, "ADD", &network(&[range]), "10.9.9.9");
}

fn a_subnet_that_is_none(bench: &mut Bench) {
    for subnet in ["10.1.2.0", "10.1.2.0/33", "nonsense"] {
        refused(bench, subnet, &network(&[json!({"subnet": subnet})]), subnet);
    }
}

fn resolved(bench: &mut Bench, text: &str) {
    bench.node.write("/run/resolv.conf", text);
    let config = conf::with(&five(), &json!({"ipam": {"resolvConf": "/run/resolv.conf"}}));
    let pod = Pod::new();
    let outcome = bench.attach(&config, &pod).try_add();
    bench.result("ADD", &outcome, &pod);
}

fn resolv_conf_simple(bench: &mut Bench) {
    resolved(bench, "nameserver 192.0.2.53\nnameserver 192.0.2.54\n");
}

fn resolv_conf_with_comments(bench: &mut Bench) {
    let text = "# first\n; second\nnameserver 192.0.2.53\n\n  #nameserver 192.0.2.99\nsearch a.example # b\n";
    resolved(bench, text);
}

fn resolv_conf_with_all_fields(bench: &mut Bench) {
    let text = "nameserver 192.0.2.53\nnameserver fd00::53\ndomain example.org\n\
        search a.example b.example\noptions ndots:5 edns0\nsortlist 192.0.2.0\n\
        search c.example\noptions rotate\n";
    resolved(bench, text);
}

fn resolv_conf_missing(bench: &mut Bench) {
    let config = conf::with(&five(), &json!({"ipam": {"resolvConf": "/run/nowhere"}}));
    refused(bench, "ADD", &config, "/run/nowhere");
}
