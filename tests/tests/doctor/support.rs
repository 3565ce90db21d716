//! `ferrule support`: the archive for a bug report.

use crate::bench::{Bench, CONF_DIR, OVERLAY, ferrule};
use ferrule_tests::conf::{full, with};
use ferrule_tests::node::Place;
use serde_json::json;

#[test]
fn the_archive_has_what_a_report_needs_and_no_secret() {
    let config = with(&full(), &json!({"logFile": "/run/plugin.log", "logLevel": "debug"}));
    let bench = Bench::of(&config);
    let node = &bench.node;
    node.sh("echo 'level=info token=s3cret-of-log' >>/run/plugin.log");
    let other = json!({"name": "x", "type": "y", "apiToken": "s3cret-of-json", "kubernetes": {"kubeconfig": "/x"}});
    node.write(&format!("{CONF_DIR}/20-other.conf"), &other.to_string());
    node.write(
        &format!("{CONF_DIR}/calico-kubeconfig"),
        "users:\n- user:\n    password: s3cret-of-kubeconfig\n",
    );
    node.write(
        &format!("{OVERLAY}/etc/ferrule/route-sync.toml"),
        "[[bgp.peer]]\nmd5-password = \"s3cret-of-toml\"\naddress = \"192.0.2.254\"\n",
    );
    let done = ferrule(node, "support --output /run/report.tar.gz");
    assert_eq!(done.status.code(), Some(0), "{}{}", done.stdout, done.stderr);
    assert!(done.stdout.starts_with("/run/report.tar.gz: "), "{}", done.stdout);
    assert_eq!(node.sh("stat -c %a /run/report.tar.gz").trim(), "600");
    node.sh("mkdir /run/report; tar -xzf /run/report.tar.gz -C /run/report --strip-components 1");
    assert_eq!(node.sh("grep -rl s3cret /run/report || true"), "", "a secret is in the archive");
    let files = node.sh("cd /run/report; find . -type f");
    for wanted in [
        "doctor.txt",
        "doctor.json",
        "ls.txt",
        "facts.txt",
        "conflists/10-pods.conflist",
        "logs/run/plugin.log",
    ] {
        assert!(files.lines().any(|line| line == format!("./{wanted}")), "no {wanted}: {files}");
    }
    assert!(files.contains("./records/bridge-"), "{files}");
    assert!(node.read("/run/report/node/etc/ferrule/route-sync.toml").contains("192.0.2.254"));
    assert!(node.read("/run/report/facts.txt").contains(&bench.veth()));
}

#[test]
fn no_file_is_overwritten() {
    let bench = Bench::new();
    bench.node.write("/run/report.tar.gz", "mine");
    let done = ferrule(&bench.node, "support --output /run/report.tar.gz");
    assert_eq!(done.status.code(), Some(1));
    assert!(
        done.stderr.starts_with("ferrule: cannot write /run/report.tar.gz: "),
        "{}",
        done.stderr
    );
    assert_eq!(bench.node.read("/run/report.tar.gz"), "mine");
}
