//! Addresses, ranges and what is left of pods.

use crate::bench::{Bench, all, alone, doctor, found, what};
use ferrule_tests::node::Place;

#[test]
fn an_address_of_another_range_on_the_bridge() {
    let bench = Bench::new();
    bench.node.run("ip address add 10.9.0.1/24 dev cni0");
    let finding = alone(&bench.node, "bridge-address");
    assert!(what(&finding).starts_with("cni0 has the address 10.9.0.1/24"), "{finding:#}");
    bench.node.sh(finding["remedy"][0].as_str().unwrap());
    assert_eq!(doctor(&bench.node, "").0, 0, "the remedy mends it");
}

#[test]
fn every_address_is_leased_and_by_no_pod() {
    let bench = Bench::new();
    bench.node.sh("cd /var/lib/cni/networks/pods
        for i in $(seq 10 254); do printf 'gone%d\\r\\neth0' $i >10.1.0.$i; done
        touch -d '1 hour ago' 10.1.0.*");
    let finding = found(&bench.node, "addresses-exhausted");
    assert_eq!(what(&finding), "246 of the 253 addresses of 10.1.0.0/24 are leased");
    assert!(all(&finding).contains("245 belong to none"), "{finding:#}");
}

#[test]
fn an_address_that_another_program_put_on_a_pods_link() {
    let bench = Bench::new();
    bench.node.sh(&format!("ip address add 169.254.7.7/16 dev {}", bench.veth()));
    let finding = alone(&bench.node, "foreign-address");
    assert!(what(&finding).ends_with("has the foreign address 169.254.7.7/16"), "{finding:#}");
}

#[test]
fn a_range_that_overlaps_another_network_of_the_node() {
    let bench = Bench::new();
    bench.node.sh("ip link add docker0 type bridge; ip address add 10.1.0.129/25 dev docker0; ip link set docker0 up");
    let finding = found(&bench.node, "overlap");
    assert!(
        what(&finding).ends_with("overlaps 10.1.0.129/25, a network on docker0"),
        "{finding:#}"
    );
}

#[test]
fn a_link_that_was_deleted_under_a_pod() {
    let bench = Bench::new();
    bench.node.run(&format!("ip link delete {}", bench.veth()));
    let finding = found(&bench.node, "orphans");
    assert!(all(&finding).contains("its link veth"), "{finding:#}");
    bench.node.attach(&bench.config, &bench.pod).del(None);
    assert_eq!(doctor(&bench.node, "").0, 0, "DEL removes what is left");
}

#[test]
fn rules_that_another_program_flushed() {
    let bench = Bench::new();
    bench.node.run("nft flush ruleset");
    let finding = found(&bench.node, "rules-lost");
    assert!(
        all(&finding).contains(&format!("masquerade of {} of ", bench.address())),
        "{finding:#}"
    );
}
