//! What the reference made is deleted by ours whole: its `CNI-…` chains and jumps, its commented
//! nft rules, its veth and its lease.

use ferrule_tests::conf::{self, GATEWAY4, GATEWAY6};
use ferrule_tests::node::Place;
use ferrule_tests::packets::ping;
use ferrule_tests::{Bins, Node, Pod};
use serde_json::{Value, json};

use crate::{Kind, Reference, all_kinds, left, newest, require_bare, rules, wholes};

struct Made {
    theirs: Bins,
    node: Node,
    pod: Pod,
    config: Value,
    result: Value,
}

fn by_reference(kind: Kind) -> Made {
    let (node, pod, config) = (Node::new(), Pod::new(), kind.config());
    let theirs = kind.reference.bins();
    let result = node.attach(&config, &pod).by(&theirs).add();
    let made = rules(&node);
    let expected = kind.masquerade || kind.spoof_check;
    assert_eq!(!made.is_empty(), expected, "the reference made {made:#?}");
    Made { theirs, node, pod, config, result }
}

/// Makes and ends an attachment of each kind; fails with all that is left of any.
#[track_caller]
fn bare_after(end: impl Fn(&Made)) {
    let mut text = String::new();
    for kind in all_kinds() {
        let made = by_reference(kind);
        end(&made);
        let left = left(&made.node);
        if !left.is_empty() {
            text += &format!("{kind:?}: left are\n{left}");
        }
    }
    assert!(text.is_empty(), "{text}");
}

#[test]
fn del_with_everything_known() {
    bare_after(|made| {
        made.node.attach(&made.config, &made.pod).del(Some(&made.result));
        assert!(made.pod.links().is_empty());
    });
}

/// The pod's netns is gone, and its veth with it; the rest is found by name.
#[test]
fn del_without_a_netns() {
    for netns in [None, Some("/run/netns/gone")] {
        bare_after(|made| {
            made.pod.run("ip link del eth0");
            made.node.attach(&made.config, &made.pod).netns(netns).del(Some(&made.result));
        });
    }
}

/// The veth that lives is named by the result alone.
#[test]
fn del_of_a_living_pod_without_its_netns() {
    for made in wholes().map(by_reference) {
        made.node.attach(&made.config, &made.pod).netns(None).del(Some(&made.result));
        require_bare(&made.node, "no netns");
    }
}

/// The network no longer masquerades by its configuration: what it made goes all the same.
#[test]
fn del_under_a_changed_configuration() {
    for kind in wholes() {
        let made = by_reference(kind);
        let plain = Kind { masquerade: false, spoof_check: false, ..kind }.config();
        made.node.attach(&plain, &made.pod).del(Some(&made.result));
        require_bare(&made.node, "ipMasq and macspoofchk switched off");
    }
}

/// The address on the pod's end is leased to the attachment, and so the veth is its own. The
/// kernel shows that end with a netns and without.
#[test]
fn del_without_a_result() {
    for known in [true, false] {
        bare_after(|made| {
            let attachment = made.node.attach(&made.config, &made.pod);
            let attachment = if known { attachment } else { attachment.netns(None) };
            attachment.del(None);
            assert!(made.pod.links().is_empty());
        });
    }
}

/// The path leads to another pod by now: that one stays, and the pod that is meant goes.
#[test]
fn del_without_a_result_by_another_pods_netns() {
    for kind in wholes() {
        let (made, other) = (by_reference(kind), Pod::new());
        let neighbour = made.node.attach(&made.config, &other).by(&made.theirs);
        let result = neighbour.add();
        made.node.attach(&made.config, &made.pod).netns(Some(&other.netns())).del(None);
        assert!(made.pod.links().is_empty());
        made.node.settle();
        other.settle();
        ping(&other, GATEWAY4);
        ping(&other, GATEWAY6);
        neighbour.check(&result);
        neighbour.del(Some(&result));
        require_bare(&made.node, "after both");
    }
}

const LEASE: &str = "/var/lib/cni/networks/pods/10.1.0.2";

/// What happens to a pod, or to another, before DEL.
type Happening = fn(&Made, &Pod);

/// No lease, or one that two pods claim, or on another interface: whose the veth is, is not
/// certain, and a pod that may be another's lives on.
#[test]
fn del_without_a_result_leaves_what_is_not_certain() {
    let reference = Reference::Newest;
    let plain = Kind { reference, dual: false, masquerade: false, spoof_check: false };
    let cases: [(&str, Happening); 4] = [
        ("no lease", |made, _| drop(made.node.run(&format!("rm {LEASE}")))),
        ("another's lease", |made, _| made.node.write(LEASE, "another\r\neth0")),
        ("another interface", |made, _| {
            made.pod.sh("ip link set eth0 down; ip link set eth0 name eth7; ip link set eth7 up");
        }),
        ("claimed twice", |_, other| drop(other.run("ip addr add 10.1.0.2/24 dev eth0"))),
    ];
    for (case, happens) in cases {
        let (made, other) = (by_reference(plain), Pod::new());
        let second = json!({"ipam": {"ranges": [[{"subnet": "10.1.0.0/24", "rangeStart":
            "10.1.0.9"}]]}, "name": "others"});
        made.node.attach(&conf::with(&made.config, &second), &other).by(&made.theirs).add();
        happens(&made, &other);
        made.node.attach(&made.config, &made.pod).del(None);
        assert_eq!(made.pod.links().len(), 1, "{case}");
        assert_eq!(other.links(), ["eth0"], "{case}");
        ping(&other, GATEWAY4);
    }
}

/// A DEL that may not touch links: the pod lives on, and keeps its address.
#[test]
fn del_that_fails_keeps_the_lease() {
    for (kind, with_result) in wholes().into_iter().zip([true, false, true]) {
        let made = by_reference(kind);
        let ours = Bins::ours();
        made.node.sh(&format!(
            "mkdir /run/weak; ln -s {0}/host-local /run/weak/host-local
            echo '#!/bin/sh' >/run/weak/bridge
            echo 'exec setpriv --bounding-set -net_admin {0}/bridge' >>/run/weak/bridge
            chmod +x /run/weak/bridge",
            ours.dir().display()
        ));
        let before = (rules(&made.node), made.node.veths(), made.node.leases());
        let result = with_result.then_some(&made.result);
        let attachment = made.node.attach(&made.config, &made.pod);
        let weak = attachment.clone().by(&Bins::at("/run/weak".as_ref()));
        let error = weak.try_del(result).err();
        assert!(error.code == 100 && error.text().contains(" (os error "), "{error:?}");
        assert_eq!((rules(&made.node), made.node.veths(), made.node.leases()), before);
        made.pod.settle();
        ping(&made.pod, GATEWAY4);
        attachment.del(result);
        require_bare(&made.node, "at the second attempt");
    }
}

/// Where `iptables` is iptables-legacy the reference's rules are not in nf_tables: they stay, and
/// DEL says so.
#[test]
fn rules_of_iptables_legacy_are_reported() {
    for (reference, veth_lives) in [(Reference::Old, true), (Reference::Newest, false)] {
        let kind = Kind { reference, dual: false, masquerade: true, spoof_check: false };
        let (node, pod, config) = (Node::new(), Pod::new(), kind.config());
        node.sh("mkdir /run/legacy; for tool in iptables ip6tables; do
            ln -s $(command -v $tool-legacy) /run/legacy/$tool; done");
        let mut add = node.attach(&config, &pod).by(&reference.bins()).call("ADD", None);
        add = add.env("PATH", "/run/legacy:/usr/sbin:/usr/bin:/sbin:/bin");
        let result = add.run(&node).ok();
        let saved = || node.run("iptables-legacy-save -t nat").matches("-j CNI-").count();
        assert_ne!(saved(), 0, "the reference made rules of iptables-legacy");
        assert!(rules(&node).is_empty(), "and no others: {:#?}", rules(&node));
        if !veth_lives {
            pod.run("ip link del eth0");
        }
        let outcome = node.attach(&config, &pod).try_del(Some(&result));
        outcome.ok();
        let warning = format!("rules of iptables-legacy; those of container {} stay", pod.id());
        assert!(outcome.stderr.contains(&warning), "{outcome:?}");
        assert!(left(&node).is_empty(), "the rest goes: {}", left(&node));
        assert_ne!(saved(), 0, "they stay");
    }
}

/// The pods went without DEL, and their veths with them.
#[test]
fn gc_of_pods_that_are_gone() {
    bare_after(|made| {
        made.pod.run("ip link del eth0");
        made.node.attach(&newest(&made.config), &made.pod).gc(&[]).ok();
    });
}

#[test]
fn gc_of_pods_that_live() {
    bare_after(|made| {
        made.node.attach(&newest(&made.config), &made.pod).gc(&[]).ok();
        assert!(made.pod.links().is_empty());
    });
}

/// A network on the same bridge, with a pod that lives and one that is gone: GC of the first
/// network takes nothing of it.
#[test]
fn gc_spares_other_networks() {
    for kind in wholes() {
        let (made, living, gone) = (by_reference(kind), Pod::new(), Pod::new());
        let others = json!({"name": "others", "ipam": {"ranges":
            [[{"subnet": "10.1.0.0/24", "rangeStart": "10.1.0.9"}],
             [{"subnet": "fd00:1::/64", "rangeStart": "fd00:1::9"}]]}});
        let others = conf::with(&made.config, &others);
        let attachment = made.node.attach(&others, &living).by(&made.theirs);
        let result = attachment.add();
        made.node.attach(&others, &gone).by(&made.theirs).add();
        gone.run("ip link del eth0");
        let theirs = |pod: &Pod| {
            let of_it = |rule: &String| rule.contains(pod.id());
            rules(&made.node).into_iter().filter(of_it).collect::<Vec<_>>()
        };
        let before = (theirs(&living), theirs(&gone));
        assert!(!before.0.is_empty() && !before.1.is_empty());
        made.node.attach(&newest(&made.config), &made.pod).gc(&[]).ok();
        assert!(made.pod.links().is_empty());
        assert_eq!(theirs(&made.pod), [""; 0]);
        assert_eq!((theirs(&living), theirs(&gone)), before);
        made.node.settle();
        living.settle();
        ping(&living, GATEWAY4);
        attachment.check(&result);
        // What is listed of the other network stays, and what is not goes.
        let gc = made.node.attach(&newest(&others), &living);
        gc.gc(&[(living.id(), "eth0")]).ok();
        assert_eq!((theirs(&living), theirs(&gone)), (before.0, vec![]));
        ping(&living, GATEWAY6);
        gc.gc(&[]).ok();
        assert!(living.links().is_empty());
        require_bare(&made.node, "after GC of both");
    }
}

#[test]
fn gc_spares_what_is_listed() {
    for kind in wholes() {
        let made = by_reference(kind);
        let before = (rules(&made.node), made.node.veths());
        made.node.attach(&newest(&made.config), &made.pod).gc(&[(made.pod.id(), "eth0")]).ok();
        assert_eq!((rules(&made.node), made.node.veths()), before);
        made.node.attach(&made.config, &made.pod).check(&made.result);
    }
}

/// DEL of one takes nothing of another, of whichever network.
#[test]
fn del_spares_the_neighbours() {
    for kind in wholes() {
        let made = by_reference(kind);
        let neighbour = Pod::new();
        let attachment = made.node.attach(&made.config, &neighbour).by(&made.theirs);
        let result = attachment.add();
        let foreign =
            "-A POSTROUTING -s 192.0.2.0/24 -m comment --comment CNI-lookalike -j MASQUERADE";
        made.node.run(&format!("iptables -t nat {foreign}"));
        made.node.attach(&made.config, &made.pod).del(Some(&made.result));
        attachment.check(&result);
        attachment.del(Some(&result));
        let rest = rules(&made.node);
        assert!(rest.iter().any(|rule| rule.contains("CNI-lookalike")), "{rest:#?}");
        made.node.run(&format!("iptables -t nat {}", foreign.replacen("-A", "-D", 1)));
        require_bare(&made.node, "after both");
    }
}
