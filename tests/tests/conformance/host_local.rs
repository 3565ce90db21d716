//! host-local: allocation, and the files that it leaves.

use ferrule_tests::invoke::addresses;
use ferrule_tests::node::Place;
use ferrule_tests::{Outcome, Pod, conf};
use serde_json::{Value, json};

use crate::bench::{Bench, scenarios};

scenarios!(
    add_and_del,
    add_and_del_of_both_families,
    on_a_given_interface,
    repeated_for_the_same_container,
    files_with_the_container_alone,
    an_unknown_container,
    white_space_in_files,
    no_noise_at_first_use,
    loops_from_the_beginning,
    loops_from_the_end,
    loops_from_the_middle,
    through_several_ranges,
    never_the_broadcast,
    round_robin,
    out_of_addresses,
    last_reserved_at_the_end,
    last_reserved_absent,
    last_reserved_of_nonsense,
    another_data_dir,
    another_network_name,
    check_without_a_lease,
    an_empty_lease_file,
    last_reserved_of_each_set,
    names_of_ipv6_leases,
);

/// The network of the scenarios: one address for each argument's set.
pub fn network(sets: &[Value]) -> Value {
    let sets: Vec<Value> = sets.iter().map(|range| json!([range])).collect();
    conf::host_local(&json!(sets))
}

/// Addresses 10.1.0.2 to 10.1.0.6.
pub fn five() -> Value {
    network(&[json!({"subnet": "10.1.0.0/29"})])
}

/// ADD for a container that is a name alone: host-local enters no namespace.
pub fn add_for(bench: &Bench, pod: &Pod, config: &Value, container: &str) -> Outcome {
    let mut attachment = bench.attach(config, pod);
    attachment.container = container.to_owned();
    attachment.try_add()
}

/// DEL for such a container.
pub fn del_for(bench: &Bench, pod: &Pod, config: &Value, container: &str) -> Outcome {
    let mut attachment = bench.attach(config, pod);
    attachment.container = container.to_owned();
    attachment.try_del(None)
}

/// What a container got, or why it got nothing, in words that name no container.
pub fn got(outcome: &Outcome) -> Value {
    if outcome.code == Some(0) { json!(addresses(&outcome.ok())) } else { json!("nothing") }
}

/// ADD for each container in turn.
fn add_all(bench: &mut Bench, config: &Value, count: usize) {
    let pod = Pod::new();
    for nth in 0..count {
        let outcome = add_for(bench, &pod, config, &format!("container-{nth}"));
        bench.see(&format!("{nth}"), got(&outcome));
    }
    bench.leases("all");
}

fn life(bench: &mut Bench, config: &Value) {
    let pod = Pod::new();
    let outcome = bench.attach(config, &pod).try_add();
    let result = bench.result("ADD", &outcome, &pod);
    bench.leases("ADD");
    if bench.checks() {
        let outcome = bench.attach(config, &pod).try_check(&result.clone().unwrap());
        bench.ended("CHECK", &outcome);
    }
    let outcome = bench.attach(config, &pod).try_del(result.as_ref());
    bench.ended("DEL", &outcome);
    bench.leases("DEL");
    let outcome = bench.attach(config, &pod).try_del(result.as_ref());
    bench.ended("DEL again", &outcome);
}

fn add_and_del(bench: &mut Bench) {
    let routes = json!({"ipam": {"routes": [{"dst": "0.0.0.0/0"}, {"dst": "192.168.0.0/16", "gw": "10.1.0.5"}]}});
    life(bench, &conf::with(&five(), &routes));
}

fn both_families() -> Value {
    let sets = network(&[json!({"subnet": "10.1.0.0/24"}), json!({"subnet": "fd00:1::/64"})]);
    let routes = json!([{"dst": "0.0.0.0/0"}, {"dst": "::/0"}]);
    conf::with(&sets, &json!({"ipam": {"routes": routes}}))
}

fn add_and_del_of_both_families(bench: &mut Bench) {
    life(bench, &both_families());
}

fn on_a_given_interface(bench: &mut Bench) {
    let pod = Pod::new();
    for name in ["eth0", "net1"] {
        let outcome = bench.attach(&five(), &pod).ifname(name).try_add();
        bench.see(name, got(&outcome));
    }
    bench.leases("both");
    bench.attach(&five(), &pod).ifname("eth0").del(None);
    bench.leases("one");
}

fn repeated_for_the_same_container(bench: &mut Bench) {
    let pod = Pod::new();
    let outcome = add_for(bench, &pod, &five(), "one");
    bench.see("first", got(&outcome));
    let outcome = add_for(bench, &pod, &five(), "one");
    bench.refused(
        "again",
        &outcome,
        "10.1.0.2 has been allocated to one, duplicate allocation is not allowed",
    );
    bench.leases("all");
}

const LEASES: &str = "/var/lib/cni/networks/pods";

fn files_with_the_container_alone(bench: &mut Bench) {
    bench.node.write(&format!("{LEASES}/10.1.0.2"), "old");
    bench.node.write(&format!("{LEASES}/10.1.0.3"), "older");
    let pod = Pod::new();
    let outcome = add_for(bench, &pod, &five(), "new");
    bench.see("ADD", got(&outcome));
    let outcome = add_for(bench, &pod, &five(), "older");
    bench.see("ADD of its container", got(&outcome));
    let outcome = del_for(bench, &pod, &five(), "old");
    bench.ended("DEL", &outcome);
    bench.leases("DEL");
}

fn an_unknown_container(bench: &mut Bench) {
    let pod = Pod::new();
    let outcome = del_for(bench, &pod, &five(), "nobody");
    bench.ended("DEL", &outcome);
    add_for(bench, &pod, &five(), "somebody").ok();
    let outcome = del_for(bench, &pod, &five(), "nobody");
    bench.ended("DEL beside another", &outcome);
    bench.leases("DEL");
}

fn white_space_in_files(bench: &mut Bench) {
    bench.node.write(&format!("{LEASES}/10.1.0.2"), "  spaced\n");
    bench.node.write(&format!("{LEASES}/10.1.0.3"), "lined\r\neth0\n\n");
    let pod = Pod::new();
    for container in ["spaced", "lined"] {
        let outcome = del_for(bench, &pod, &five(), container);
        bench.ended(container, &outcome);
        bench.leases(container);
    }
}

fn no_noise_at_first_use(bench: &mut Bench) {
    let pod = Pod::new();
    let outcome = add_for(bench, &pod, &five(), "one");
    bench.see("ADD", outcome.stderr.as_str());
    let outcome = del_for(bench, &pod, &five(), "one");
    bench.see("DEL", outcome.stderr.as_str());
}

fn after(last: &str) -> impl Fn(&mut Bench, &Value) {
    let last = last.to_owned();
    move |bench, config| {
        bench.node.write(&format!("{LEASES}/last_reserved_ip.0"), &last);
        add_all(bench, config, 6);
    }
}

fn loops_from_the_beginning(bench: &mut Bench) {
    add_all(bench, &five(), 6);
}

fn loops_from_the_end(bench: &mut Bench) {
    after("10.1.0.6")(bench, &five());
}

fn loops_from_the_middle(bench: &mut Bench) {
    after("10.1.0.4")(bench, &five());
}

fn through_several_ranges(bench: &mut Bench) {
    let ranges = json!([[
        {"subnet": "10.1.0.0/29"},
        {"subnet": "10.2.0.0/30"},
        {"subnet": "10.3.0.0/24", "rangeStart": "10.3.0.7", "rangeEnd": "10.3.0.8"},
    ]]);
    add_all(bench, &conf::host_local(&ranges), 9);
}

fn never_the_broadcast(bench: &mut Bench) {
    add_all(bench, &network(&[json!({"subnet": "10.1.0.0/30"})]), 3);
}

fn round_robin(bench: &mut Bench) {
    let pod = Pod::new();
    for nth in 0..7 {
        let outcome = add_for(bench, &pod, &five(), "one");
        bench.see(&format!("{nth}"), got(&outcome));
        let outcome = del_for(bench, &pod, &five(), "one");
        bench.ended(&format!("{nth}/DEL"), &outcome);
    }
    bench.leases("last");
}

fn out_of_addresses(bench: &mut Bench) {
    let pod = Pod::new();
    let config = network(&[json!({"subnet": "10.1.0.0/30"})]);
    add_for(bench, &pod, &config, "one").ok();
    let outcome = add_for(bench, &pod, &config, "two");
    let words =
        "failed to allocate for range 0: no IP addresses available in range set: 10.1.0.1-10.1.0.2";
    bench.refused("ADD", &outcome, words);
    bench.leases("all");
}

fn last_reserved_at_the_end(bench: &mut Bench) {
    let range =
        json!({"subnet": "10.1.0.0/24", "rangeStart": "10.1.0.20", "rangeEnd": "10.1.0.22"});
    after("10.1.0.22")(bench, &network(&[range]));
}

fn last_reserved_absent(bench: &mut Bench) {
    let pod = Pod::new();
    add_for(bench, &pod, &five(), "one").ok();
    bench.node.run(&format!("rm {LEASES}/last_reserved_ip.0"));
    let outcome = add_for(bench, &pod, &five(), "two");
    bench.see("ADD", got(&outcome));
}

/// Outside of the ranges, or no address at all: the search starts at the first.
fn last_reserved_of_nonsense(bench: &mut Bench) {
    for last in ["192.0.2.1", "nonsense", ""] {
        bench.node.write(&format!("{LEASES}/last_reserved_ip.0"), last);
        let pod = Pod::new();
        let outcome = add_for(bench, &pod, &five(), "one");
        bench.see(&format!("after {last:?}"), got(&outcome));
        let outcome = del_for(bench, &pod, &five(), "one");
        bench.ended(&format!("after {last:?}/DEL"), &outcome);
    }
}

fn another_data_dir(bench: &mut Bench) {
    let pod = Pod::new();
    let config = conf::with(&five(), &json!({"ipam": {"dataDir": "/run/leases"}}));
    add_for(bench, &pod, &config, "one").ok();
    bench.see("file", bench.node.read("/run/leases/pods/10.1.0.2"));
    bench.leases("at the usual place");
    let outcome = del_for(bench, &pod, &config, "one");
    bench.ended("DEL", &outcome);
    bench.see("left", bench.node.exists("/run/leases/pods/10.1.0.2"));
}

fn another_network_name(bench: &mut Bench) {
    let pod = Pod::new();
    add_for(bench, &pod, &five(), "one").ok();
    let other = conf::with(&five(), &json!({"name": "others"}));
    let outcome = add_for(bench, &pod, &other, "one");
    bench.see("another network", got(&outcome));
    bench.leases("both");
}

fn check_without_a_lease(bench: &mut Bench) {
    let pod = Pod::new();
    let result = bench.attach(&five(), &pod).add();
    if bench.checks() {
        bench.node.run(&format!("rm {LEASES}/10.1.0.2"));
        let outcome = bench.attach(&five(), &pod).try_check(&result);
        bench.ended("CHECK", &outcome);
    }
}

/// #498: a crash of the reference leaves an empty file, which blocks its address for ever.
fn an_empty_lease_file(bench: &mut Bench) {
    bench.node.write(&format!("{LEASES}/10.1.0.2"), "");
    add_all(bench, &five(), 5);
}

fn last_reserved_of_each_set(bench: &mut Bench) {
    let pod = Pod::new();
    let outcome = add_for(bench, &pod, &both_families(), "one");
    bench.see("ADD", got(&outcome));
    for set in 0..2 {
        let last = bench.node.read(&format!("{LEASES}/last_reserved_ip.{set}"));
        bench.see(&format!("last of set {set}"), last);
    }
}

fn names_of_ipv6_leases(bench: &mut Bench) {
    for subnet in ["2001:DB8:0:1::/64", "fd00:0:0:0:1::/112", "::ffff:0:0:0/96"] {
        let pod = Pod::new();
        let config = conf::with(&network(&[json!({"subnet": subnet})]), &json!({"name": "six"}));
        let outcome = add_for(bench, &pod, &config, "one");
        bench.see(subnet, got(&outcome));
        bench.leases(subnet);
        bench.node.run("rm -rf /var/lib/cni/networks/six /var/lib/cni/networks/.ferrule");
    }
}
