//! GC and STATUS, which 1.1.0 has.

use ferrule_tests::node::Place;
use ferrule_tests::{Outcome, Pod, conf};
use serde_json::{Value, json};

use crate::bench::{Bench, scenarios};
use crate::host_local::{add_for, five};

scenarios!(
    before_their_version,
    gc_of_leases,
    gc_by_interface,
    gc_of_files_with_the_container_alone,
    gc_of_what_is_no_lease,
    gc_with_an_empty_list,
    gc_without_a_list,
    gc_of_one_network_alone,
    gc_at_first_use,
    gc_of_a_bridge,
    gc_of_loopback,
    status_of_all,
    status_of_a_full_pool,
    status_of_a_pool_that_is_none,
    status_without_its_ipam,
);

const LEASES: &str = "/var/lib/cni/networks/pods";

/// Whether this run's version has GC and STATUS.
fn has_both(bench: &Bench) -> bool {
    bench.version >= "1.1.0"
}

fn gc(bench: &Bench, config: &Value, valid: &[(&str, &str)]) -> Outcome {
    bench.attach(config, &Pod::new()).gc(valid)
}

/// Leases of `one`, `two` and `three`.
fn three_leases(bench: &Bench) {
    let pod = Pod::new();
    for container in ["one", "two", "three"] {
        add_for(bench, &pod, &five(), container).ok();
    }
}

fn before_their_version(bench: &mut Bench) {
    if has_both(bench) {
        return;
    }
    for (label, config) in [("bridge", conf::v4()), ("host-local", five())] {
        let outcome = gc(bench, &config, &[]);
        bench.refused(&format!("GC of {label}"), &outcome, "config version does not allow GC");
        let outcome = bench.attach(&config, &Pod::new()).status();
        let words = "config version does not allow STATUS";
        bench.refused(&format!("STATUS of {label}"), &outcome, words);
    }
}

/// What is listed stays; the memory of the last address stays; a second GC finds nothing.
fn gc_of_leases(bench: &mut Bench) {
    if !has_both(bench) {
        return;
    }
    three_leases(bench);
    for time in ["GC", "GC again"] {
        let outcome = gc(bench, &five(), &[("two", "eth0"), ("nobody", "eth0")]);
        bench.ended(time, &outcome);
        bench.leases(time);
    }
    let outcome = add_for(bench, &Pod::new(), &five(), "four");
    bench.see("the next address", outcome.ok()["ips"][0]["address"].clone());
}

fn gc_by_interface(bench: &mut Bench) {
    if !has_both(bench) {
        return;
    }
    let pod = Pod::new();
    for name in ["eth0", "net1"] {
        bench.attach(&five(), &pod).ifname(name).add();
    }
    let outcome = gc(bench, &five(), &[(pod.id(), "net1")]);
    bench.ended("GC", &outcome);
    bench.leases("GC");
}

/// As nodes have them that were upgraded from the reference's first versions.
fn gc_of_files_with_the_container_alone(bench: &mut Bench) {
    if !has_both(bench) {
        return;
    }
    for (address, text) in [("10.1.0.2", "old"), ("10.1.0.3", "older"), ("10.1.0.4", " spaced\n")] {
        bench.node.write(&format!("{LEASES}/{address}"), text);
    }
    let outcome = gc(bench, &five(), &[("old", "eth0"), ("spaced", "net7")]);
    bench.ended("GC", &outcome);
    bench.leases("GC");
}

fn gc_of_what_is_no_lease(bench: &mut Bench) {
    if !has_both(bench) {
        return;
    }
    three_leases(bench);
    bench.node.write(&format!("{LEASES}/notes.txt"), "of the administrator");
    bench.node.run(&format!("mkdir {LEASES}/folder"));
    let outcome = gc(bench, &five(), &[("one", "eth0")]);
    bench.ended("GC", &outcome);
    bench.leases("GC");
    bench.see("the folder", bench.node.exists(&format!("{LEASES}/folder")));
}

fn gc_with_an_empty_list(bench: &mut Bench) {
    if !has_both(bench) {
        return;
    }
    three_leases(bench);
    let outcome = gc(bench, &five(), &[]);
    bench.ended("GC", &outcome);
    bench.leases("GC");
}

/// As `cnitool gc` calls it.
fn gc_without_a_list(bench: &mut Bench) {
    if !has_both(bench) {
        return;
    }
    three_leases(bench);
    let outcome = bench.attach(&five(), &Pod::new()).call("GC", None).run(&bench.node);
    bench.ended("GC", &outcome);
    bench.held_leases("GC");
}

fn gc_of_one_network_alone(bench: &mut Bench) {
    if !has_both(bench) {
        return;
    }
    three_leases(bench);
    let other = conf::with(&five(), &json!({"name": "others"}));
    add_for(bench, &Pod::new(), &other, "one").ok();
    let outcome = gc(bench, &other, &[]);
    bench.ended("GC", &outcome);
    bench.leases("GC");
}

fn gc_at_first_use(bench: &mut Bench) {
    if !has_both(bench) {
        return;
    }
    for (label, config) in [("bridge", conf::v4()), ("host-local", five())] {
        let outcome = gc(bench, &config, &[]);
        bench.ended(label, &outcome);
    }
    bench.held_leases("GC");
    bench.see("links", bench.node.links());
}

fn gc_of_a_bridge(bench: &mut Bench) {
    if !has_both(bench) {
        return;
    }
    let (kept, lost) = (Pod::new(), Pod::new());
    let config = conf::full();
    bench.attach(&config, &kept).add();
    bench.attach(&config, &lost).add();
    let outcome = gc(bench, &config, &[(kept.id(), "eth0")]);
    bench.ended("GC", &outcome);
    bench.see("links of the one that is listed", kept.links());
    bench.see("links of the other", lost.links());
    bench.held_leases("GC");
}

fn gc_of_loopback(bench: &mut Bench) {
    if !has_both(bench) {
        return;
    }
    let pod = Pod::new();
    let config = json!({"name": "lo", "type": "loopback"});
    bench.attach(&config, &pod).ifname("lo").add();
    let outcome = gc(bench, &config, &[]);
    bench.ended("GC", &outcome);
    bench.see("up", pod.run("ip -br link show lo").contains("UP"));
}

fn status_of_all(bench: &mut Bench) {
    if !has_both(bench) {
        return;
    }
    let loopback = json!({"name": "lo", "type": "loopback"});
    for config in [conf::l2(), conf::v4(), conf::full(), five(), loopback] {
        let outcome = bench.attach(&config, &Pod::new()).status();
        let label = format!("{}, {}", config["type"], config["ipam"]["type"]);
        bench.ended(&label, &outcome);
    }
    bench.see("links", bench.node.links());
}

fn status_of_a_full_pool(bench: &mut Bench) {
    if !has_both(bench) {
        return;
    }
    let pool = json!({"ipam": {"ranges": [[{"subnet": "10.1.0.0/30"}]]}});
    let config = conf::with(&conf::v4(), &pool);
    bench.attach(&config, &Pod::new()).add();
    let outcome = bench.attach(&config, &Pod::new()).status();
    bench.ended("STATUS", &outcome);
}

/// Configurations that no ADD can be carried out with.
fn status_of_a_pool_that_is_none(bench: &mut Bench) {
    if !has_both(bench) {
        return;
    }
    let small = json!({"ipam": {"ranges": [[{"subnet": "10.1.0.0/31"}]]}});
    for (label, base) in [("bridge", conf::v4()), ("host-local", five())] {
        let outcome = bench.attach(&conf::with(&base, &small), &Pod::new()).status();
        bench.refused(label, &outcome, "Network 10.1.0.0/31 too small to allocate from");
    }
}

fn status_without_its_ipam(bench: &mut Bench) {
    if !has_both(bench) {
        return;
    }
    let config = conf::with(&conf::l2(), &json!({"ipam": {"type": "nowhere"}}));
    let outcome = bench.attach(&config, &Pod::new()).status();
    bench.refused("STATUS", &outcome, "failed to find plugin \"nowhere\" in path");
}
