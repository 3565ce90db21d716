//! Leases from before the last boot.

use super::*;

#[test]
fn leases_from_before_the_boot_are_free() {
    let node = Node::new(&["10.0.0.0/29", "fd00::/64"]);
    for n in 0..5 {
        node.add(&format!("c{n}")).unwrap();
    }
    node.write("10.0.0.9", "foreign\r\neth0");
    node.open();
    assert!(!node.open().exhausted(&node.sets).unwrap().is_empty());
    node.reboot(2);
    assert!(node.open().exhausted(&node.sets).unwrap().is_empty());
    assert!(node.holds("c1").is_empty());
    assert_eq!(node.add("c1").unwrap(), ["10.0.0.2", "fd00::7"]);
    assert_eq!(node.holds("foreign"), ["10.0.0.9"], "not ours, so not judged");
    assert_eq!(node.leases(), ["10.0.0.2", "10.0.0.9", "fd00::7"]);
    node.reboot(3);
    node.del("c1");
    assert_eq!(node.leases(), ["10.0.0.9"]);
}

#[test]
fn only_our_very_file_of_this_machine_is_stale() {
    let node = Node::new(&["10.0.0.0/24"]);
    for id in ["ours", "rewritten", "replaced", "touched"] {
        node.add(id).unwrap();
    }
    node.write("10.0.0.3", "other\r\neth0");
    fs::remove_file(node.dir().join("10.0.0.4")).unwrap();
    node.write("10.0.0.4", "replaced\r\neth0");
    let touched = node.dir().join("10.0.0.5");
    fs::set_permissions(&touched, fs::Permissions::from_mode(0o640)).unwrap();
    node.reboot(2);
    node.open();
    assert_eq!(node.leases(), ["10.0.0.3", "10.0.0.4", "10.0.0.5"]);
}

#[test]
fn a_lease_announced_for_another_hides_no_stamp() {
    let node = Node::new(&["10.0.0.0/24"]);
    node.add("a").unwrap();
    let address = "10.0.0.2".parse().unwrap();
    for id in ["b", "c", "d"] {
        let mut store = node.open();
        store.announce(holder(id).digest("n"), address, &holder(id)).unwrap();
        // Killed here.
    }
    node.reboot(2);
    node.open();
    assert!(node.leases().is_empty());
}

#[test]
fn another_machine_or_none_makes_nothing_stale() {
    let ours = "3d1219c7c4c5404aaa1f6d2a48adfda4\n";
    for (at_add, later, stale) in [
        (ours, ours, true),
        (ours, "00000000000000000000000000000001\n", false),
        (ours, "", false),
        ("", "", false),
        ("uninitialized\n", "uninitialized\n", false),
        ("", ours, false),
    ] {
        let node = Node::new(&["10.0.0.0/24"]);
        node.machine(at_add);
        node.add("a").unwrap();
        node.reboot(2);
        node.machine(later);
        node.open().finish();
        assert_eq!(node.leases().is_empty(), stale, "{at_add:?} {later:?}");
        // Still so after the index was made anew under the new boot.
        node.machine(ours);
        node.reboot(3);
        node.open();
        assert_eq!(node.leases().is_empty(), stale || at_add == ours, "{at_add:?} {later:?}");
    }
}

#[test]
fn without_a_boot_id_nothing_is_stale() {
    let node = Node::new(&["10.0.0.0/24"]);
    node.add("a").unwrap();
    fs::remove_file(&node.host.boot_id).unwrap();
    assert_eq!(node.holds("a"), ["10.0.0.2"]);
    assert_eq!(node.add_one("b"), "10.0.0.3");
}

#[test]
fn an_announced_lease_of_a_killed_process_gets_its_stamp() {
    let node = Node::new(&["10.0.0.0/24"]);
    node.add("a").unwrap();
    {
        let mut store = node.open();
        let address = "10.0.0.3".parse().unwrap();
        store.announce(holder("b").digest("n"), address, &holder("b")).unwrap();
        store.place(address, &holder("b")).unwrap().unwrap();
        // Killed here.
    }
    assert_eq!(node.holds("b"), ["10.0.0.3"]);
    node.reboot(2);
    node.open();
    assert!(node.leases().is_empty());
}
