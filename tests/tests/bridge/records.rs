//! What may stand in the place of a record, and namespaces with more than one path.

use ferrule_tests::conf::{self, GATEWAY4};
use ferrule_tests::node::Place;
use ferrule_tests::packets::ping;
use ferrule_tests::{Node, Pod};
use serde_json::json;

/// The only record's path.
fn record(node: &Node) -> String {
    node.sh("echo /run/ferrule/attachments/bridge-*").trim().to_owned()
}

/// Shell scripts that put something else there.
const OTHERS: [&str; 7] = [
    "mkdir $r",
    "mkdir $r && : >$r/theirs",
    "mkfifo $r",
    "ln -s /nowhere $r",
    "ln -s /etc/hostname $r",
    "python3 -c 'import socket, sys; socket.socket(socket.AF_UNIX).bind(sys.argv[1])' $r",
    "printf %s '{\"network\"' >$r && chmod 0 $r",
];

#[test]
fn del_needs_no_sound_record() {
    let node = Node::new();
    for other in OTHERS {
        let pod = Pod::new();
        let attachment = node.attach(&conf::full(), &pod);
        let result = attachment.add();
        let path = record(&node);
        node.sh(&format!("r={path}; rm $r; {other}"));
        attachment.del(Some(&result));
        assert!(node.veths().is_empty() && node.leases().is_empty(), "{other}");
        assert!(!node.sh("nft list ruleset").contains(pod.id()), "{other}");
        let theirs = node.exists(&format!("{path}/theirs"));
        assert_eq!((theirs, node.exists(&path)), (other.contains("theirs"), theirs), "{other}");
        node.sh(&format!("rm -rf {path}"));
    }
}

#[test]
fn add_and_gc_replace_what_is_no_record() {
    let node = Node::new();
    for other in OTHERS.iter().filter(|other| !other.contains("theirs")) {
        let pod = Pod::new();
        let attachment = node.attach(&conf::full(), &pod);
        attachment.add();
        let path = record(&node);
        attachment.del(None);
        node.sh(&format!("r={path}; {other}"));
        let result = attachment.add();
        attachment.check(&result);
        ping(&pod, GATEWAY4);
        node.sh(&format!("r={path}; rm $r; {other}"));
        attachment.gc(&[]).ok();
        assert!(node.veths().is_empty() && node.leases().is_empty(), "{other}");
        node.sh(&format!("rm -rf {path}"));
    }
}

#[test]
fn a_newer_record_is_refused_and_its_pod_stays() {
    let (node, pod) = (Node::new(), Pod::new());
    let attachment = node.attach(&conf::full(), &pod);
    let result = attachment.add();
    let path = record(&node);
    let old = node.read(&path);
    node.write(&path, &old.replace("\"version\": 1", "\"version\": 2"));
    attachment.try_del(Some(&result)).err().expect(6, "version 2");
    attachment.gc(&[]).err().expect(6, "is of a newer version");
    ping(&pod, GATEWAY4);
    node.write(&path, &old);
    attachment.del(Some(&result));
}

#[test]
fn check_knows_a_namespace_by_another_path() {
    let (node, pod, other) = (Node::new(), Pod::new(), Pod::new());
    let attachment = node.attach(&conf::full(), &pod);
    let result = attachment.add();
    node.sh(&format!(
        ": >/run/one && mount --bind {} /run/one && ln -s /run/one /run/two",
        pod.netns()
    ));
    for path in ["/run/one", "/run/two", "/run/../run/two"] {
        attachment.clone().netns(Some(path)).check(&result);
    }
    let wrong = attachment.clone().netns(Some(&other.netns()));
    wrong.try_check(&result).err().expect(101, "doesn't match configured netns");
    attachment.clone().netns(Some("/run/two")).del(Some(&result));
    assert!(pod.links().is_empty());
}

#[test]
fn a_name_over_255_bytes_is_refused_before_anything() {
    let (node, pod) = (Node::new(), Pod::new());
    let long = json!({"name": "n".repeat(256)});
    for config in [conf::full(), conf::with(&conf::full(), &json!({"ipam": null}))] {
        let attachment = node.attach(&conf::with(&config, &long), &pod);
        attachment.try_add().err().expect(7, "network name is too long");
        assert_eq!(
            (node.links(), node.sh("ls /run /var/lib")),
            (vec![], "/run:\n\n/var/lib:\n".into())
        );
        attachment.del(None);
        node.sh("rm -rf /run/ferrule");
    }
}

/// Some editors put one in front.
#[test]
fn a_byte_order_mark_is_no_part_of_a_configuration() {
    let (node, pod) = (Node::new(), Pod::new());
    let attachment = node.attach(&conf::full(), &pod);
    let mut call = attachment.call("ADD", None);
    call.stdin.splice(0..0, *b"\xef\xbb\xbf");
    call.run(&node).ok();
    ping(&pod, GATEWAY4);
    attachment.del(None);
}
