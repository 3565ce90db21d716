//! What the runtime needs before it calls a plugin.

use crate::bench::{Bench, CONF_DIR, all, alone, doctor, found, found_by, what, write_conflist};
use ferrule_tests::Bins;
use ferrule_tests::conf;
use ferrule_tests::node::Place;
use serde_json::json;

#[test]
fn no_network_configuration() {
    let bench = Bench::new();
    bench.node.sh(&format!("rm {CONF_DIR}/*"));
    assert_eq!(
        what(&found(&bench.node, "conflist")),
        "there is no network configuration in /run/net.d"
    );
}

#[test]
fn a_first_file_that_is_broken() {
    let bench = Bench::new();
    bench.node.write(&format!("{CONF_DIR}/05-broken.conflist"), "{\"name\": \"a\",");
    let finding = found(&bench.node, "conflist");
    assert!(what(&finding).contains("/run/net.d/05-broken.conflist first"), "{finding:#}");
    assert!(all(&finding).contains("it is no JSON: EOF while parsing"), "{finding:#}");
}

#[test]
fn another_suites_file_that_sorts_first() {
    let bench = Bench::new();
    let flannel = json!({"cniVersion": "0.3.1", "name": "cbr0", "type": "flannel"});
    write_conflist(&bench.node, "05-flannel.conflist", &flannel);
    let finding = found(&bench.node, "other-conflist-first");
    assert_eq!(what(&finding), "05-flannel.conflist, of flannel, sorts before 10-pods.conflist");
}

fn bin_dir(bench: &Bench, script: &str) {
    let dist = Bins::ours().dir().display().to_string();
    bench.node.sh(&format!(
        "mkdir /run/bin; cp {dist}/bridge {dist}/host-local /run/bin; cd /run/bin; {script}"
    ));
}

#[test]
fn an_executable_that_is_missing() {
    let bench = Bench::new();
    bin_dir(&bench, "rm host-local");
    let finding = found_by(&bench.node, "executables", "--bin-dir /run/bin");
    assert_eq!(what(&finding), "/run/bin/host-local is missing");
}

#[test]
fn an_executable_that_cannot_be_executed() {
    let bench = Bench::new();
    bin_dir(&bench, "chmod 644 bridge");
    let finding = found_by(&bench.node, "executables", "--bin-dir /run/bin");
    assert_eq!(what(&finding), "/run/bin/bridge cannot be executed: its mode is 644");
}

#[test]
fn executables_of_two_releases() {
    let bench = Bench::new();
    bin_dir(&bench, "true");
    assert_eq!(doctor(&bench.node, "--bin-dir /run/bin").0, 0, "of one release");
    bench.node.sh("cd /run/bin; LC_ALL=C sed -i 's/Ferrule host-local v[0-9]/Ferrule host-local v9/' host-local");
    let finding = found_by(&bench.node, "executables", "--bin-dir /run/bin");
    assert_eq!(what(&finding), "/run/bin holds plugins of 2 releases");
}

#[test]
fn nothing_translates_what_leaves_the_cluster() {
    let bench = Bench::of(&conf::dual());
    let finding = alone(&bench.node, "no-masquerade");
    assert!(all(&finding).contains("10-pods.conflist has no \\\"ipMasq\\\": true"), "{finding:#}");
    // Another program's is as good.
    bench.node.sh("nft add table ip admin
        nft add chain ip admin post '{ type nat hook postrouting priority 100; }'
        nft add rule ip admin post ip saddr 10.1.0.0/24 masquerade");
    assert_eq!(doctor(&bench.node, "").0, 0);
}
