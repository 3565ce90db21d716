//! A lease directory full of garbage: what is no lease is neither taken for one nor touched, and
//! nothing outside of the directory is.

use std::collections::BTreeSet;

use ferrule_tests::conf::{GATEWAY4, GATEWAY6};
use ferrule_tests::invoke::addresses;
use ferrule_tests::node::Place;
use ferrule_tests::packets::ping;
use ferrule_tests::{Node, Pod};

use crate::{LEASES, full, report, timed};

/// Ours, beside the leases.
const OWN: &str = "/var/lib/cni/networks/.ferrule/pods";

/// Garbage that must not hold up anything, each with what it says.
const HARMLESS: [(&str, &str); 15] = [
    ("a folder in an address's place", "mkdir -p 10.1.0.2 fd00:1::2; touch 10.1.0.2/x"),
    ("a FIFO", "mkfifo 10.1.0.2 fd00:1::2"),
    ("a socket", "python3 -c 'import socket; socket.socket(socket.AF_UNIX).bind(\"10.1.0.2\")'"),
    ("a device", "mknod 10.1.0.2 c 1 3; mknod fd00:1::2 c 1 5"),
    ("a link to another's file", "ln -s /run/witness 10.1.0.2; ln -s /run/witness fd00:1::2"),
    ("links to nothing and to themselves", "ln -s nowhere 10.1.0.2; ln -s 10.1.0.3 10.1.0.3"),
    ("a hard link", "ln /run/witness 10.1.0.2 2>&- || cp /run/witness 10.1.0.2"),
    ("rubbish", "head -c 70000 /dev/urandom >10.1.0.2; head -c 70000 /dev/urandom >fd00:1::2"),
    ("a gigabyte of zeros", "truncate -s 1G 10.1.0.2 fd00:1::2"),
    (
        "names that are nearly addresses",
        "touch 10.1.0 10.1.0.2.3 10.1.0.256 010.1.0.2 fd00::1::2 \
        ' 10.1.0.2' 10.1.0.2- 0x0a010002 FD00:1::2 '[fd00:1::2]' fd00:1::2%eth0",
    ),
    ("names that are no text", "touch \"$(printf '\\377\\376')\" \"$(printf 'a\\nb')\" -- -rf '*'"),
    ("ten thousand files", "i=0; while [ $i -lt 10000 ]; do echo x >file$i; i=$((i+1)); done"),
    (
        "a rubbish last address",
        "head -c 70000 /dev/urandom >last_reserved_ip.0; \
        mkdir last_reserved_ip.1",
    ),
    ("FIFOs for the last addresses", "mkfifo last_reserved_ip.0 last_reserved_ip.1"),
    ("a link for the last address", "ln -s /run/witness last_reserved_ip.0"),
];

/// Garbage where our own files are.
const OWN_GARBAGE: [(&str, &str); 6] = [
    ("a rubbish index", "head -c 70000 /dev/urandom >index"),
    ("an empty index", ": >index"),
    ("a link for the next index", "ln -s /run/witness index.new"),
    ("a FIFO for the index", "mkfifo index"),
    ("a link for the index", "ln -s /run/witness index"),
    (
        "rubbish blocks",
        "for f in taken-4-01402 taken-6-x 'taken-'; do head -c 9000 /dev/urandom >$f; \
        done; mkdir taken-6-$(printf '%029x' 0)",
    ),
];

/// The files that are there, but for ours.
fn listing(node: &Node) -> String {
    node.sh(&format!(
        "cd {LEASES}; find . ! -name lock ! -name 'last_reserved_ip*' ! -path . -printf '%P %y %s %i %m %l\\n' | sort"
    ))
}

/// Three pods come and go, with CHECK and GC; they have addresses of their own, and work.
fn life(node: &Node, what: &str) {
    let pods = [Pod::new(), Pod::new(), Pod::new()];
    let attachments = [0, 1, 2].map(|nth| node.attach(&full(), &pods[nth]));
    let results: Vec<_> = attachments
        .iter()
        .map(|attachment| {
            let outcome = attachment.try_add();
            assert!(outcome.code == Some(0), "{what}: {outcome:?}");
            outcome.ok()
        })
        .collect();
    let all: BTreeSet<String> = results.iter().flat_map(addresses).collect();
    assert_eq!(all.len(), 6, "{what}: {all:?}");
    for (nth, attachment) in attachments.iter().enumerate() {
        attachment.check(&results[nth]);
        ping(&pods[nth], GATEWAY4);
        ping(&pods[nth], GATEWAY6);
    }
    attachments[0].del(Some(&results[0]));
    attachments[1].del(None);
    // By GC, which reads all that is there.
    attachments[0].gc(&[]).ok();
    for address in all {
        let holder = format!("{LEASES}/{address}");
        let left = node.sh(&format!("grep -s eth0 {holder} || :"));
        assert!(left.is_empty(), "{what}: {address} is still leased: {left}");
    }
}

#[test]
fn garbage_among_the_leases() {
    let mut slowest = (0, "");
    for (what, script) in HARMLESS {
        let node = Node::new();
        node.write("/run/witness", "not a lease\n");
        node.sh(&format!("mkdir -p {LEASES}; cd {LEASES}; {script}"));
        let before = listing(&node);
        let ((), took) = timed(|| life(&node, what));
        slowest = slowest.max((took, what));
        assert_eq!(node.read("/run/witness"), "not a lease", "{what}");
        // Regular files in an address's place are torn leases: an address may be leased over
        // them, and GC removes them.
        let torn = |line: &&str| line.starts_with("10.1.0.2 f") || line.starts_with("fd00:1::2 f");
        let (before, after): (Vec<_>, String) = (before.lines().collect(), listing(&node));
        for line in before.iter().filter(|line| !torn(line)) {
            assert!(after.lines().any(|other| other == *line), "{what}: {line} is gone:\n{after}");
        }
        assert!(after.lines().count() <= before.len(), "{what}: more than was:\n{after}");
    }
    let (took, what) = slowest;
    report(&format!(
        "garbage among the leases, {} kinds: three pods' life took at most {took} ms ({what})",
        HARMLESS.len()
    ));
}

#[test]
fn garbage_among_our_own_files() {
    for (what, script) in OWN_GARBAGE {
        let node = Node::new();
        node.write("/run/witness", "not an index\n");
        node.sh(&format!("mkdir -p {OWN}; cd {OWN}; {script}"));
        life(&node, what);
        assert_eq!(node.read("/run/witness"), "not an index", "{what}");
        // And while pods live.
        let (one, two) = (Pod::new(), Pod::new());
        let first = node.attach(&full(), &one);
        let result = first.add();
        node.sh(&format!("rm -rf {OWN}; mkdir -p {OWN}; cd {OWN}; {script}"));
        let second = node.attach(&full(), &two).add();
        assert!(
            addresses(&result).iter().all(|address| !addresses(&second).contains(address)),
            "{what}: an address was given twice: {result} {second}"
        );
        first.check(&result);
        first.del(None);
        assert_eq!(node.leases(), addresses(&second), "{what}");
        assert_eq!(node.read("/run/witness"), "not an index", "{what}");
    }
}

/// An empty directory or a link in the place of the lock is removed.
#[test]
fn what_is_no_lock_is_removed() {
    for script in
        [format!("mkdir -p {LEASES}/lock"), format!("mkdir -p {LEASES}; ln -s lock {LEASES}/lock")]
    {
        let node = Node::new();
        node.sh(&script);
        life(&node, &script);
        assert_eq!(node.sh(&format!("stat -c %F {LEASES}/lock")).trim(), "regular empty file");
    }
}

/// A full directory in the place of the lock or index, or what is in that of the directory, stays:
/// nothing is changed, and the error says where to look.
#[test]
fn garbage_that_cannot_be_worked_around() {
    let scripts = [
        format!("mkdir -p {LEASES}/lock/full"),
        format!("mkdir -p {LEASES} {OWN}/index/full; touch {LEASES}/lock"),
        format!("mkdir -p {LEASES}; rmdir {LEASES}; touch {LEASES}"),
        format!("mkdir -p {LEASES}; rmdir {LEASES}; ln -s pods {LEASES}"),
    ];
    for script in scripts {
        let (node, pod) = (Node::new(), Pod::new());
        node.sh(&script);
        let before = node.sh("find /var/lib/cni -printf '%p %y %l\\n'");
        let error = node.attach(&full(), &pod).try_add().err();
        assert!(
            error.code == 5 && error.text().contains("/var/lib/cni/networks"),
            "{script}: {error:?}"
        );
        assert_eq!((node.veths().len(), pod.links().len()), (0, 0), "{script}");
        assert_eq!(node.sh("find /var/lib/cni -printf '%p %y %l\\n'"), before, "{script}");
        // Once it is mended, all works.
        node.sh("rm -r /var/lib/cni");
        life(&node, &script);
        assert_eq!(crate::records(&node), 0, "{script}");
    }
}
