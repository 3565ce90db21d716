//! Names that try to leave the lease directory, to run something else, or to inject into comments.

use ferrule_tests::conf::{GATEWAY4, GATEWAY6};
use ferrule_tests::invoke::{Attachment, addresses};
use ferrule_tests::node::Place;
use ferrule_tests::packets::ping;
use ferrule_tests::snapshot::assert_same;
use ferrule_tests::{Bins, Node, Pod, Snapshot};
use serde_json::json;

use crate::{LEASES, full, records, steady};

/// What must never be a network's name or a container's.
const ESCAPES: [&str; 16] = [
    "..",
    ".",
    "../pods",
    "../../../run/witness",
    "/run/witness",
    "pods/../../witness",
    "pods/",
    ".ferrule",
    ".hidden",
    "-rf",
    "pods\nmore",
    "pods\r\neth0",
    "pods\0",
    "pods\" drop; flush ruleset #",
    "pods;reboot",
    "pöds",
];

/// Interface names that the kernel takes, and what they would do unquoted.
const INTERFACES: [&str; 11] = [
    "e\"};flush",
    "e\\\"",
    "e'`id`",
    "$(reboot)",
    "e;#",
    "--help",
    "*",
    "ä\u{200b}ö",
    "..x",
    "eth0}comment",
    "\\n\\r\\0",
];

#[test]
fn names_that_would_leave_the_lease_directory() {
    let (node, pod) = (Node::new(), Pod::new());
    node.write("/run/witness", "untouched\n");
    let before = Snapshot::of(&node);
    let refused = |attachment: &Attachment, what: &str| {
        // A NUL cannot be in an environment, so it is tried in the configuration alone.
        for command in ["ADD", "CHECK", "DEL"] {
            let error = attachment.call(command, None).run(&node).err();
            assert!([4, 7].contains(&error.code), "{command} {what}: {error:?}");
        }
    };
    for name in ESCAPES {
        let attachment = node.attach(&full(), &pod).with(&json!({"name": name}));
        refused(&attachment, name);
        for command in ["GC", "STATUS"] {
            let error = attachment.call(command, None).run(&node).err();
            assert!(error.code == 7, "{command} {name:?}: {error:?}");
        }
        if name.contains('\0') {
            continue;
        }
        let mut attachment = node.attach(&full(), &pod);
        attachment.container = name.to_owned();
        refused(&attachment, name);
        // The IPAM plugin is reached without bridge, too.
        refused(&attachment.with(&json!({"type": "host-local"})), name);
    }
    for ifname in
        ["../x", "a/b", ".", "..", "a b", "a\tb", "a\nb", "eth%d", "a:b", "0123456789abcdef"]
    {
        refused(&node.attach(&full(), &pod).ifname(ifname), ifname);
    }
    assert_same(&before, &Snapshot::of(&node));
    assert!(pod.links().is_empty());
}

/// The plugin to delegate to is a name below CNI_PATH, and no path.
#[test]
fn an_ipam_type_that_is_a_path_runs_nothing() {
    let (node, pod) = (Node::new(), Pod::new());
    node.sh("printf '#!/bin/sh\\n: >/run/was-run\\n' >/run/evil; chmod +x /run/evil");
    let before = Snapshot::of(&node);
    let up = format!("{}run/evil", "../".repeat(Bins::ours().dir().components().count()));
    for kind in ["/run/evil", &up, "./bridge", "..", ".", "host-local/../host-local"] {
        let keys = json!({"ipam": {"type": kind}});
        let error = node.attach(&full(), &pod).with(&keys).try_add().err();
        assert!(!error.text().is_empty(), "{kind}: {error:?}");
        assert!(!node.exists("/run/was-run"), "{kind} was run");
        assert_same(&before, &Snapshot::of(&node));
    }
}

#[test]
fn gc_lists_with_hostile_names_harm_no_attachment() {
    let (node, pod) = (Node::new(), Pod::new());
    let attachment = node.attach(&full(), &pod);
    let result = attachment.add();
    let before = Snapshot::of(&node).without_lease_history();
    let mut list: Vec<(&str, &str)> = ESCAPES.iter().map(|name| (*name, "../eth0")).collect();
    list.push((pod.id(), "eth0"));
    attachment.gc(&list).ok();
    assert_same(&before, &Snapshot::of(&node).without_lease_history());
    attachment.check(&result);
}

/// A saved ruleset loads again, means the same, and each way of taking the pod down finds what is
/// its own.
#[test]
fn interface_names_that_would_inject_into_comments() {
    let node = Node::new();
    let neighbour = Pod::new();
    let lasting = node.attach(&full(), &neighbour);
    let result = lasting.add();
    let before = steady(&node);
    for (nth, ifname) in INTERFACES.into_iter().enumerate() {
        let pod = Pod::new();
        let attachment = node.attach(&full(), &pod).ifname(ifname);
        let outcome = attachment.try_add();
        assert!(outcome.code == Some(0), "{ifname:?}: {outcome:?}");
        let added = outcome.ok();
        ping(&pod, GATEWAY4);
        ping(&pod, GATEWAY6);
        let lease = node.read(&format!("{LEASES}/{}", addresses(&added)[0]));
        assert_eq!(lease, format!("{}\r\n{ifname}", pod.id()));
        let rules = node.run("nft -s list ruleset");
        node.sh(
            "nft list ruleset >/run/saved; nft flush ruleset; nft -f /run/saved; rm /run/saved",
        );
        assert_eq!(node.run("nft -s list ruleset"), rules, "{ifname:?}");
        attachment.check(&added);
        lasting.check(&result);
        if nth % 2 == 1 {
            // By the marks alone.
            node.sh("rm -r /run/ferrule");
        }
        match nth % 3 {
            0 => attachment.del(Some(&added)),
            1 => attachment.netns(None).del(None),
            _ => drop(lasting.gc(&[(neighbour.id(), "eth0")]).ok()),
        }
        assert_eq!((node.leases().len(), node.veths().len()), (2, 1), "{ifname:?}");
        assert_same(
            &before.clone().without_files(&["/run/ferrule"]),
            &steady(&node).without_files(&["/run/ferrule"]),
        );
    }
    lasting.check(&result);
}

/// Container IDs as long as an environment allows: marks and comments hold the hash and a part.
#[test]
fn long_container_ids_are_cut_and_remain_distinct() {
    let node = Node::new();
    let before = steady(&node);
    let pods = crate::crowd::pods(4);
    let attachments: Vec<_> = pods
        .iter()
        .enumerate()
        .map(|(nth, pod)| {
            let mut attachment = node.attach(&full(), pod);
            attachment.container = format!("{}{nth}", "x".repeat(4000));
            attachment
        })
        .collect();
    let results: Vec<_> = attachments.iter().map(Attachment::add).collect();
    node.sh("nft list ruleset >/run/saved; nft flush ruleset; nft -f /run/saved; rm /run/saved");
    for (attachment, result) in attachments.iter().zip(&results) {
        attachment.check(result);
    }
    // With its record, without, and two by GC, one of which stays.
    attachments[0].del(Some(&results[0]));
    node.sh("rm -r /run/ferrule");
    attachments[1].del(None);
    attachments[2].gc(&[(&attachments[3].container, "eth0")]).ok();
    assert_eq!((node.leases().len(), node.veths().len()), (2, 1));
    attachments[3].check(&results[3]);
    attachments[3].del(None);
    assert_same(&before, &steady(&node));
    assert_eq!(records(&node), 0);
}
