//! Leases on disk, in the reference's format.

use ferrule_tests::node::Place;
use ferrule_tests::{Node, Pod};
use serde_json::json;

use crate::{LEASES, five, lease, ranges};

#[test]
fn a_lease_is_a_file_named_by_the_address() {
    let (node, pod) = (Node::new(), Pod::new());
    node.attach(&five(), &pod).add();
    let bytes = node.sh(&format!("od -An -c {LEASES}/10.1.0.2 | tr -d ' \\n'"));
    assert_eq!(bytes, format!("{}\\r\\neth0", pod.id()));
    assert_eq!(node.read(&format!("{LEASES}/last_reserved_ip.0")), "10.1.0.2");
    assert!(node.exists(&format!("{LEASES}/lock")));
    assert_eq!(node.run(&format!("stat -c %a {LEASES}")).trim(), "755");
}

#[test]
fn leases_are_read_by_their_owner_alone() {
    let (node, pod) = (Node::new(), Pod::new());
    node.attach(&five(), &pod).add();
    assert_eq!(node.run(&format!("stat -c %a {LEASES}/10.1.0.2")).trim(), "600");
}

#[test]
fn an_ipv6_lease_keeps_its_colons() {
    let (node, pod) = (Node::new(), Pod::new());
    let config = ranges(&[json!({"subnet": "fd00:0001:0::/64", "rangeStart": "FD00:1:0::0a0a"})]);
    node.attach(&config, &pod).add();
    assert_eq!(node.leases(), ["fd00:1::a0a"]);
    assert_eq!(node.read(&format!("{LEASES}/last_reserved_ip.0")), "fd00:1::a0a");
}

#[test]
fn every_range_set_has_its_own_last_address() {
    let (node, pod) = (Node::new(), Pod::new());
    let sets = [json!({"subnet": "10.1.0.0/24"}), json!({"subnet": "fd00:1::/64"})];
    node.attach(&ranges(&sets), &pod).add();
    assert_eq!(node.leases(), ["10.1.0.2", "fd00:1::2"]);
    assert_eq!(node.read(&format!("{LEASES}/last_reserved_ip.1")), "fd00:1::2");
}

#[test]
fn leases_go_where_data_dir_says() {
    let (node, pod) = (Node::new(), Pod::new());
    let attachment = node.attach(&five(), &pod).with(&json!({"ipam": {"dataDir": "/run/leases"}}));
    let result = attachment.add();
    assert!(node.exists("/run/leases/pods/10.1.0.2"));
    attachment.check(&result);
    attachment.del(Some(&result));
    assert!(!node.exists("/run/leases/pods/10.1.0.2"));
    assert!(!node.exists(LEASES));
}

/// Old files hold the container ID alone; files written by hand end in a newline.
#[test]
fn old_and_untidy_files_count() {
    for text in ["ID", "ID\n", " ID\r\neth0 \n", "ID\r\neth0"] {
        let (node, pod) = (Node::new(), Pod::new());
        node.write(&format!("{LEASES}/10.1.0.2"), &text.replace("ID", pod.id()));
        let (_other, address) = lease(&node, &five());
        assert_eq!(address, "10.1.0.3", "{text:?} holds 10.1.0.2");
        node.attach(&five(), &pod).del(None);
        assert_eq!(node.leases(), ["10.1.0.3"], "{text:?}");
    }
}

#[test]
fn an_old_file_of_another_container_stays() {
    let (node, pod) = (Node::new(), Pod::new());
    node.write(&format!("{LEASES}/10.1.0.2"), "someone-else");
    node.write(&format!("{LEASES}/10.1.0.3"), &format!("{}\r\nnet1", pod.id()));
    node.attach(&five(), &pod).del(None);
    assert_eq!(node.leases(), ["10.1.0.2", "10.1.0.3"]);
}

/// What a crash left in the middle of a write holds no address for ever.
#[test]
fn an_empty_file_is_no_lease() {
    for text in ["", "\r\n", "  \n"] {
        let node = Node::new();
        let config = ranges(&[json!({"subnet": "10.1.0.0/30"})]);
        node.write(&format!("{LEASES}/10.1.0.2"), text);
        let (pod, address) = lease(&node, &config);
        assert_eq!(address, "10.1.0.2", "{text:?}");
        assert_eq!(node.read(&format!("{LEASES}/10.1.0.2")), format!("{}\r\neth0", pod.id()));
    }
}

#[test]
fn foreign_files_are_neither_leases_nor_removed() {
    let node = Node::new();
    for name in ["README", ".10.1.0.2.swp", "10.1.0.2.bak", "sub/10.1.0.2"] {
        node.write(&format!("{LEASES}/{name}"), "someone\r\neth0");
    }
    let (pod, address) = lease(&node, &five());
    assert_eq!(address, "10.1.0.2");
    node.attach(&five(), &pod).del(None);
    node.attach(&five(), &pod).gc(&[]).ok();
    for name in ["README", ".10.1.0.2.swp", "10.1.0.2.bak", "sub/10.1.0.2"] {
        assert!(node.exists(&format!("{LEASES}/{name}")), "{name}");
    }
}

#[test]
fn a_damaged_last_address_is_as_none() {
    for text in ["", "rubbish", "192.0.2.1", "10.1.0.7", "fd00::1"] {
        let node = Node::new();
        node.write(&format!("{LEASES}/last_reserved_ip.0"), text);
        let (_pod, address) = lease(&node, &five());
        assert_eq!(address, "10.1.0.2", "{text:?}");
    }
}

/// The first use of a fresh node says nothing on stderr.
#[test]
fn the_first_use_is_quiet() {
    let (node, pod) = (Node::new(), Pod::new());
    let attachment = node.attach(&five(), &pod);
    let outcome = attachment.try_add();
    outcome.ok();
    assert_eq!(outcome.stderr, "");
    assert_eq!(attachment.try_del(None).stderr, "");
}
