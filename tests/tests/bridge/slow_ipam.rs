//! Calls on an attachment while its IPAM plugin works: they wait for each other, also after a kill.

use std::thread;
use std::time::Duration;

use ferrule_tests::conf::{self, GATEWAY4, GATEWAY6};
use ferrule_tests::node::{Place, words};
use ferrule_tests::packets::ping;
use ferrule_tests::snapshot::assert_same;
use ferrule_tests::{Attachment, Background, Bins, Call, Node, Pod, Snapshot, within};
use serde_json::{Value, json};

use crate::{address, records, steady, veth};

/// host-local behind a script that notes begin and end, and waits as long as configured.
const SLOW: &str = r#"#!/bin/sh
echo "$CNI_COMMAND begins" >>/run/ipam.calls
sleep "$(cat "/run/ipam.sleep.$CNI_COMMAND" 2>/dev/null || echo 0)"
sed 's/"slow"/"host-local"/g' | BINS/host-local
code=$?
echo "$CNI_COMMAND ends" >>/run/ipam.calls
exit $code
"#;

/// A node with the slow script, and a network that asks it.
fn slow() -> (Node, Value) {
    let node = Node::new();
    let bins = Bins::ours();
    node.write("/run/bin/slow", &SLOW.replace("BINS", &bins.dir().to_string_lossy()));
    node.run("chmod +x /run/bin/slow");
    (node, conf::with(&conf::full(), &json!({"ipam": {"type": "slow"}})))
}

fn on_path(call: Call) -> Call {
    let path = format!("/run/bin:{}", Bins::ours().dir().display());
    call.env("CNI_PATH", &path)
}

fn calls(node: &Node) -> Vec<String> {
    let noted = node.sh("cat /run/ipam.calls 2>/dev/null || true");
    noted.lines().map(str::to_owned).collect()
}

fn called(node: &Node, what: &str) {
    let seen = || calls(node).contains(&what.to_owned()).then_some(());
    within(Duration::from_secs(10), seen).unwrap_or_else(|| panic!("IPAM was not asked: {what}"));
}

/// The other's interface is found before IPAM is asked for anything.
#[test]
fn a_name_that_the_pod_has_already_costs_no_ipam_call() {
    let ((node, config), pod) = (slow(), Pod::new());
    pod.run("ip link add eth0 type veth peer name eth9");
    let before = Snapshot::of(&node);
    let error = on_path(node.attach(&config, &pod).call("ADD", None)).run(&node).err();
    assert!(error.text().contains("eth0"), "{error:?}");
    assert!(calls(&node).is_empty(), "{:?}", calls(&node));
    assert_eq!(records(&node), "");
    assert_same(&steady(before), &steady(Snapshot::of(&node)));
    assert_eq!(pod.links().len(), 2, "{:?}", pod.links());
}

/// A runtime that gave up on its DEL and starts the pod's sandbox anew.
#[test]
fn an_add_waits_for_a_del_of_the_same_attachment() {
    let ((node, config), pod) = (slow(), Pod::new());
    let attachment = node.attach(&config, &pod);
    let first = on_path(attachment.call("ADD", None)).run(&node).ok();
    node.write("/run/ipam.sleep.DEL", "1");
    node.run("rm /run/ipam.calls");
    let second = thread::scope(|scope| {
        let del = scope.spawn(|| on_path(attachment.call("DEL", Some(&first))).run(&node).ok());
        called(&node, "DEL begins");
        let added = on_path(attachment.call("ADD", None)).run(&node).ok();
        del.join().unwrap();
        added
    });
    assert_eq!(calls(&node), ["DEL begins", "DEL ends", "ADD begins", "ADD ends"]);
    assert_eq!(node.leases().len(), 2, "{:?}", node.leases());
    assert!(node.leases().contains(&address(&second, 0)), "{:?}", node.leases());
    ping(&pod, GATEWAY4);
    ping(&pod, GATEWAY6);
    on_path(attachment.call("CHECK", Some(&second))).run(&node).ok();
    assert_eq!(records(&node).lines().count(), 1);
}

/// Starts an ADD and kills it while IPAM, which will lease an address a second later, works.
fn kill_an_add(attachment: &Attachment, node: &Node) {
    node.write("/run/ipam.sleep.ADD", "1");
    let call = on_path(attachment.call("ADD", None));
    node.write("/run/stdin", &String::from_utf8(call.stdin).unwrap());
    let mut command = words("sh -c");
    command.arg(format!("exec {} </run/stdin", call.exe.display())).envs(&call.env);
    let adding = Background::start(node.ns(), &command);
    called(node, "ADD begins");
    drop(adding);
    node.run("rm /run/stdin /run/ipam.sleep.ADD");
    assert_eq!(calls(node), ["ADD begins"], "killed while IPAM is at work");
}

#[test]
fn an_add_after_a_killed_one_succeeds() {
    let ((node, config), pod) = (slow(), Pod::new());
    let attachment = node.attach(&config, &pod);
    kill_an_add(&attachment, &node);
    let result = on_path(attachment.call("ADD", None)).run(&node).ok();
    ping(&pod, GATEWAY4);
    on_path(attachment.call("CHECK", Some(&result))).run(&node).ok();
    let order = calls(&node);
    let at = |what: &str| order.iter().rposition(|call| call == what);
    assert!(order.iter().position(|call| call == "ADD ends") < at("ADD begins"), "{order:?}");
    assert_eq!(node.leases().len(), 2, "{:?} after {order:?}", node.leases());
    assert!(node.leases().contains(&address(&result, 0)));
    let running = Snapshot::of(&node);
    assert!(running.lines("processes").is_empty(), "{:?}", running.lines("processes"));
}

#[test]
fn a_del_after_a_killed_add_leaves_nothing() {
    for netns in [true, false] {
        let ((node, config), pod) = (slow(), Pod::new());
        let before = steady(Snapshot::of(&node)).without_files(&["/run/ipam."]);
        let attachment = node.attach(&config, &pod);
        kill_an_add(&attachment, &node);
        let attachment = if netns { attachment } else { attachment.netns(None) };
        on_path(attachment.call("DEL", None)).run(&node).ok();
        assert_eq!(calls(&node), ["ADD begins", "ADD ends", "DEL begins", "DEL ends"]);
        assert!(node.leases().is_empty(), "{:?}", node.leases());
        assert_same(&before, &steady(Snapshot::of(&node)).without_files(&["/run/ipam."]));
        assert!(pod.links().is_empty());
    }
}

/// An IPAM plugin that leaves a helper behind, which inherits what its parent has open.
#[test]
fn a_process_that_ipam_leaves_behind_delays_no_call() {
    let ((node, config), pod) = (slow(), Pod::new());
    let script = node.read("/run/bin/slow");
    // Shorter than the minute for which a call waits for another: DEL would succeed after it.
    let helper = "if [ $CNI_COMMAND = ADD ]; then
        setsid sleep 50 <&- >/dev/null 2>&1 &
        echo $! >/run/helper
    fi
    exit $code";
    node.write("/run/bin/slow", &script.replace("exit $code", helper));
    let attachment = node.attach(&config, &pod);
    let result = on_path(attachment.call("ADD", None)).run(&node).ok();
    on_path(attachment.call("DEL", Some(&result))).run(&node).ok();
    let left = Snapshot::of(&node);
    node.sh("kill $(cat /run/helper)");
    assert_eq!(left.lines("processes").len(), 1, "the helper is still there");
    assert!(!node.links().contains(&veth(&result).to_owned()));
}
