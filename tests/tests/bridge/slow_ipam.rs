//! What went wrong once: refusals, failures, races and kills of one attachment.

use std::thread;
use std::time::Duration;

use ferrule_tests::conf::{self, GATEWAY4, GATEWAY6};
use ferrule_tests::node::{Place, words};
use ferrule_tests::packets::ping;
use ferrule_tests::snapshot::assert_same;
use ferrule_tests::{Attachment, Background, Bins, Call, Node, Pod, Snapshot, within};
use serde_json::{Value, json};

use crate::{address, steady, veth};

/// host-local behind a script that notes begin and end, and waits as long as it is told to.
const SLOW: &str = r#"#!/bin/sh
echo "$CNI_COMMAND begins" >>/run/ipam.calls
sleep "$(cat "/run/ipam.sleep.$CNI_COMMAND" 2>/dev/null || echo 0)"
sed 's/"slow"/"host-local"/g' | BINS/host-local
code=$?
echo "$CNI_COMMAND ends" >>/run/ipam.calls
exit $code
"#;

pub(super) fn records(node: &Node) -> String {
    node.sh("ls /run/ferrule/attachments 2>/dev/null || true")
}

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

#[test]
fn an_ipam_plugin_that_cannot_run_is_told_before_anything_is_made() {
    let types =
        [(None, "CNI_PATH"), (Some("no-such-ipam"), "no-such-ipam"), (Some("../x"), "../x")];
    for (kind, named) in types {
        let (node, pod) = (Node::new(), Pod::new());
        let mut call = node.attach(&conf::full(), &pod).call("ADD", None).without("CNI_PATH");
        if let Some(kind) = kind {
            let other = json!({"ipam": {"type": kind}});
            call = node.attach(&conf::full(), &pod).with(&other).call("ADD", None);
        }
        let before = Snapshot::of(&node);
        let error = call.run(&node).err();
        assert!(error.text().contains(named), "expected `{named}` in {error:?}");
        assert_same(&before, &Snapshot::of(&node));
        assert!(pod.links().is_empty());
    }
}

/// A route that the kernel refuses is found out last: what ADD set up to there is taken back.
#[test]
fn a_failed_add_leaves_neither_gateway_address_nor_forwarding() {
    let (node, pod) = (Node::new(), Pod::new());
    for switch in ["net/ipv4/ip_forward", "net/ipv6/conf/all/forwarding"] {
        node.set_sysctl(switch, "0");
    }
    node.sh("ip link add cni0 address 02:00:00:00:00:01 type bridge; ip link set cni0 up");
    node.settle();
    let (addresses, before) = (node.run("ip -o addr show cni0"), Snapshot::of(&node));
    let routes = json!({"ipam": {"routes": [{"dst": "192.0.2.0/24", "gw": "224.0.0.9"}]}});
    node.attach(&conf::full(), &pod).with(&routes).try_add().err();
    let after = Snapshot::of(&node);
    assert_eq!(node.addresses("cni0"), Vec::<String>::new(), "before: {addresses}");
    assert_eq!(before.lines("forwarding"), after.lines("forwarding"));
    assert_eq!(records(&node), "");
    assert_same(&steady(before), &steady(after));
    node.attach(&conf::full(), &pod).add();
    ping(&pod, GATEWAY4);
}

#[test]
fn del_frees_the_lease_where_the_configuration_lost_its_ipam() {
    let types = [json!(null), json!(5), json!("")].map(|kind| json!({"type": kind}));
    let broken = types.into_iter().chain([json!(null), json!(7), json!([])]);
    for ipam in broken {
        for with_result in [true, false] {
            let (node, pod) = (Node::new(), Pod::new());
            let before = steady(Snapshot::of(&node));
            let attachment = node.attach(&conf::full(), &pod);
            let result = attachment.add();
            let broken = attachment.with(&json!({"ipam": ipam}));
            broken.del(with_result.then_some(&result));
            assert!(node.leases().is_empty(), "ipam {ipam}: {:?} stay", node.leases());
            assert_same(&before, &steady(Snapshot::of(&node)));
        }
    }
}

#[test]
fn del_does_not_mind_malformed_arguments() {
    for args in ["rubbish", ";;", "=", "IP=", "a=b=c;;d", "IgnoreUnknown=perhaps;MAC=none"] {
        let (node, pod) = (Node::new(), Pod::new());
        let before = steady(Snapshot::of(&node));
        let attachment = node.attach(&conf::full(), &pod);
        let result = attachment.add();
        attachment.args(args).del(Some(&result));
        assert_same(&before, &steady(Snapshot::of(&node)));
        assert!(node.leases().is_empty(), "CNI_ARGS={args}");
    }
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
fn a_process_that_ipam_leaves_behind_holds_nobody_up() {
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
