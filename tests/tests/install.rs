//! scripts/install: what it puts where, what it leaves alone, and that it takes it back.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a failed expectation is a failed test"
)]

use ferrule_tests::bins::{Bins, workspace};
use ferrule_tests::node::{Node, Place};
use ferrule_tests::tool::Finished;
use ferrule_tests::within;
use std::time::Duration;

const DAEMON: [&str; 9] = [
    "/etc/ferrule/route-sync.toml",
    "/etc/iproute2/rt_protos.d/ferrule.conf",
    "/etc/systemd/system/cni-dhcp.service",
    "/etc/systemd/system/cni-dhcp.socket",
    "/etc/systemd/system/policy-sync.service",
    "/etc/systemd/system/route-sync.service",
    "/usr/local/sbin/ferrule",
    "/usr/local/sbin/policy-sync",
    "/usr/local/sbin/route-sync",
];

/// Where each executable but the daemon goes, sorted.
fn plugins() -> Vec<String> {
    let bridge = Bins::ours().exe("bridge");
    let all = std::fs::read_dir(bridge.parent().unwrap()).unwrap();
    let names = all.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let apart = ["route-sync", "policy-sync", "ferrule"];
    let plugins = names.filter(|name| !apart.contains(&name.as_str()) && !name.starts_with('.'));
    let mut paths: Vec<_> = plugins.map(|name| format!("/opt/cni/bin/{name}")).collect();
    paths.sort_unstable();
    paths
}

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
    let found = node.run("find /run/image -type f -not -name .ferrule-manifest -not -name .ferrule-lock -printf /%P\\n");
    let mut files: Vec<_> = found.lines().map(str::to_owned).collect();
    files.sort_unstable();
    files
}

#[test]
fn plugins_and_daemon_come_and_go() {
    let node = Node::new();
    install(&node, "");
    let mut wanted = plugins();
    wanted.extend(DAEMON.map(str::to_owned));
    wanted.sort_unstable();
    assert_eq!(files(&node), wanted);
    // The unit starts what was installed, with the configuration that was, which is valid.
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

/// flock(2) needs no more than a descriptor for reading, and anybody may open the folder.
#[test]
fn another_users_lock_holds_nothing_up() {
    let node = Node::new();
    install(&node, "--plugins");
    let _held = ["/run/image/opt/cni/bin", "/run/image/opt/cni/bin/.ferrule-lock"].map(|path| {
        node.spawn(&format!(
            "setpriv --reuid 65534 --regid 65534 --clear-groups flock {path} sleep 300"
        ))
    });
    let held =
        || (!node.try_run("flock -n /run/image/opt/cni/bin true").status.success()).then_some(());
    within(Duration::from_secs(20), held).expect("the folder is locked");
    let again = install(&node, "--plugins");
    assert!(!again.contains(": installed"), "{again}");
    install(&node, "--uninstall");
    assert_eq!(node.sh("ls -A /run/image/opt/cni/bin"), "");
}

#[test]
fn no_other_user_can_write_what_is_installed_whatever_the_umask() {
    for umask in ["0000", "0077"] {
        let node = Node::new();
        // As an earlier version made it.
        node.sh("mkdir -p /run/image/opt/cni/bin && cd /run/image/opt/cni/bin && umask 0
                 : >.ferrule-manifest && mkdir .ferrule-saved");
        let bins = Bins::ours().exe("bridge");
        node.sh(&format!(
            "umask {umask} && FERRULE_BIN_DIR={} {}/scripts/install --root /run/image",
            bins.parent().unwrap().display(),
            workspace().display()
        ));
        assert_eq!(node.sh("find /run/image -perm /022 -not -type l"), "", "umask {umask}");
        // And everybody can read and run it.
        assert_eq!(
            node.sh("find /run/image -mindepth 1 -not -perm -444 -not -name .ferrule-lock"),
            "",
            "umask {umask}"
        );
    }
}

#[test]
fn the_plugins_alone() {
    let node = Node::new();
    install(&node, "--plugins");
    assert_eq!(files(&node), plugins());
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
