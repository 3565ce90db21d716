//! scripts/install: what it puts where, what it leaves alone, and that it takes it back.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a failed expectation is a failed test"
)]

use ferrule_tests::bins::{Bins, workspace};
use ferrule_tests::node::{Node, Place};
use ferrule_tests::tool::Finished;

const FILES: [&str; 9] = [
    "/opt/cni/bin/bgp",
    "/opt/cni/bin/bridge",
    "/opt/cni/bin/host-local",
    "/opt/cni/bin/loopback",
    "/opt/cni/bin/vxlan",
    "/etc/ferrule/route-sync.toml",
    "/etc/iproute2/rt_protos.d/ferrule.conf",
    "/etc/systemd/system/route-sync.service",
    "/usr/local/sbin/route-sync",
];

/// Runs it for a root folder of the node.
fn try_install(node: &Node, arguments: &str) -> Finished {
    let bins = Bins::ours().exe("bridge");
    node.try_run(&format!(
        "env FERRULE_BIN_DIR={} {}/scripts/install --root /run/image {arguments}",
        bins.parent().unwrap().display(),
        workspace().display()
    ))
}

fn install(node: &Node, arguments: &str) -> String {
    let done = try_install(node, arguments);
    assert!(done.status.success(), "{}{}", done.stdout, done.stderr);
    done.stdout
}

fn files(node: &Node) -> Vec<String> {
    let found = node.run("find /run/image -type f -not -name .ferrule-manifest -printf /%P\\n");
    let mut files: Vec<_> = found.lines().map(str::to_owned).collect();
    files.sort_unstable();
    files
}

#[test]
fn plugins_and_daemon_come_and_go() {
    let node = Node::new();
    install(&node, "");
    let mut wanted = FILES.map(str::to_owned).to_vec();
    wanted.sort_unstable();
    assert_eq!(files(&node), wanted);
    // The unit starts what was installed, with the configuration that was, which is sound.
    let unit = node.read("/run/image/etc/systemd/system/route-sync.service");
    assert!(unit.contains(
        "\nExecStart=/usr/local/sbin/route-sync --config /etc/ferrule/route-sync.toml\n"
    ));
    let daemon = "/run/image/usr/local/sbin/route-sync";
    node.run(&format!("{daemon} check-config /run/image/etc/ferrule/route-sync.toml"));

    let again = install(&node, "");
    assert!(!again.contains(": installed"), "{again}");
    install(&node, "--uninstall");
    assert_eq!(files(&node), Vec::<String>::new());
}

#[test]
fn what_others_wrote_stays_theirs() {
    let node = Node::new();
    let (conf, plugin) =
        ("/run/image/etc/ferrule/route-sync.toml", "/run/image/opt/cni/bin/bridge");
    let unit = "/run/image/etc/systemd/system/route-sync.service";
    node.write(conf, "mode = \"direct\"");
    node.write(plugin, "theirs");
    node.write(unit, "their unit");
    install(&node, "");
    assert_eq!(node.read(conf), "mode = \"direct\"", "a configuration is never overwritten");
    assert!(node.read(unit).contains("ExecStart="));
    let loopback = "/run/image/opt/cni/bin/loopback";
    node.write(loopback, "changed since");
    let said = install(&node, "--uninstall");
    assert!(said.contains("loopback: not as installed any more"), "{said}");
    for (path, text) in [
        (conf, "mode = \"direct\""),
        (plugin, "theirs"),
        (unit, "their unit"),
        (loopback, "changed since"),
    ] {
        assert_eq!(node.read(path), text);
    }
    assert_eq!(files(&node).len(), 4);
}

#[test]
fn the_plugins_alone() {
    let node = Node::new();
    install(&node, "--plugins");
    assert_eq!(files(&node), FILES[..5]);
}

/// iproute2 names our routes by the file that is installed.
#[test]
fn routes_are_shown_by_the_names_of_their_protocols() {
    let node = Node::new();
    let conf = workspace().join("conf/ferrule-rt-protos.conf");
    node.sh(&format!(
        "mkdir /run/iproute2 && cp -r /etc/iproute2/. /run/iproute2
         mount --bind /run/iproute2 /etc/iproute2
         mkdir -p /etc/iproute2/rt_protos.d && cp {} /etc/iproute2/rt_protos.d",
        conf.display()
    ));
    for (number, name) in [(117, "ferrule-pod"), (118, "ferrule-node"), (119, "ferrule-bgp")] {
        node.run(&format!("ip route add blackhole 10.0.0.{number} proto {number}"));
        let shown = node.run("ip route");
        assert!(shown.contains(&format!("blackhole 10.0.0.{number} proto {name}")), "{shown}");
    }
}
