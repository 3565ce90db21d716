//! systemd-networkd with a file that takes every link, as images for clouds have it, and with ours
//! that names those to leave alone.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use ferrule_tests::bins::workspace;
use ferrule_tests::conf::{self, BRIDGE, GATEWAY4, GATEWAY6};
use ferrule_tests::node::Place;
use ferrule_tests::packets::ping;
use ferrule_tests::{Background, Node, Pod, within};
use serde_json::Value;

const NETWORKD: &str = "/lib/systemd/systemd-networkd";
const ALL: &str = "[Match]\nName=*\n[Network]\nAddress=192.0.2.77/24\n\
    LinkLocalAddressing=no\nIPv6AcceptRA=no\n";

/// Puts the files in place; it reads /run beside /etc.
fn configure(node: &Node, ours: bool) {
    node.write("/run/systemd/network/50-all.network", ALL);
    if ours {
        let file = fs::read_to_string(workspace().join("conf/10-ferrule.network")).unwrap();
        node.write("/run/systemd/network/10-ferrule.network", &file);
    }
}

/// Starts it, and waits until it has taken `lo`. It changes its user, which undoes a death signal,
/// so that a shell holds it.
fn start(node: &Node) -> Background {
    assert!(Path::new(NETWORKD).exists(), "{NETWORKD}: apt-get install systemd");
    // With /sys to be written it would wait for udev, which is the whole machine's.
    node.sh("mount -o remount,ro /sys
        mkdir /run/systemd/netif; chown systemd-network: /run/systemd/netif");
    let mut command = Command::new("unshare");
    let script = format!("{NETWORKD} & wait");
    command.args(["--pid", "--fork", "--kill-child", "sh", "-ec", &script]);
    let running = Background::start(node.ns(), &command);
    let settled = || {
        let file = "/run/systemd/netif/links/1";
        (node.exists(file) && node.read(file).contains("ADMIN_STATE=configured")).then_some(())
    };
    within(Duration::from_secs(20), settled).expect("systemd-networkd takes lo over");
    running
}

/// Waits until it has decided about a link, and gives what.
fn decided(node: &Node, link: &str) -> String {
    let index = node.link(link).unwrap()["ifindex"].to_string();
    let file = format!("/run/systemd/netif/links/{index}");
    let state = || {
        let text = node.exists(&file).then(|| node.read(&file))?;
        let state = text.lines().find_map(|line| line.strip_prefix("ADMIN_STATE="))?;
        ["unmanaged", "configuring", "configured"].contains(&state).then(|| state.to_owned())
    };
    within(Duration::from_secs(20), state).unwrap_or_else(|| panic!("no decision about {link}"))
}

fn host(result: &Value) -> &str {
    result["interfaces"][1]["name"].as_str().unwrap()
}

#[test]
fn it_leaves_links_alone_that_its_configuration_exempts() {
    for runs_before in [true, false] {
        let (node, one, two) = (Node::new(), Pod::new(), Pod::new());
        configure(&node, true);
        let mut running = runs_before.then(|| start(&node));
        let attachment = node.attach(&conf::dual(), &one);
        let result = attachment.add();
        let before = node.addresses(BRIDGE);
        running = running.or_else(|| Some(start(&node)));
        assert_eq!(decided(&node, BRIDGE), "unmanaged");
        node.attach(&conf::dual(), &two).add();
        assert_eq!(decided(&node, host(&result)), "unmanaged");
        assert_eq!(node.addresses(BRIDGE), before);
        attachment.check(&result);
        for target in [GATEWAY4, GATEWAY6, "10.1.0.3", "fd00:1::3"] {
            ping(&one, target);
        }
        assert!(running.is_some_and(|mut networkd| networkd.running()), "it still runs");
    }
}

/// Without our file it takes them over: what the file is for.
#[test]
fn it_takes_over_links_that_its_configuration_does_not_exempt() {
    let (node, pod) = (Node::new(), Pod::new());
    configure(&node, false);
    let _running = start(&node);
    let result = node.attach(&conf::dual(), &pod).add();
    for link in [BRIDGE, host(&result)] {
        assert_ne!(decided(&node, link), "unmanaged", "{link}");
        let taken = || node.addresses(link).contains(&"192.0.2.77/24".to_owned()).then_some(());
        assert!(within(Duration::from_secs(20), taken).is_some(), "{link}");
    }
}
