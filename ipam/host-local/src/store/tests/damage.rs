//! Our own files damaged, lost or wrong.

use super::*;

#[test]
fn a_lost_or_damaged_index_is_made_anew() {
    let node = Node::new(&["10.0.0.0/24"]);
    for n in 0..40 {
        node.add(&format!("c{n}")).unwrap();
    }
    let index = node.own().join("index");
    let sound = fs::read(&index).unwrap();
    let damage: [&dyn Fn(); 5] = [
        &|| fs::remove_dir_all(node.own()).unwrap(),
        &|| fs::write(&index, "").unwrap(),
        &|| fs::write(&index, vec![0xff; sound.len()]).unwrap(),
        &|| fs::write(&index, [&sound[..128], &vec![0xff; sound.len() - 128]].concat()).unwrap(),
        &|| fs::write(&index, &sound[..200]).unwrap(),
    ];
    for (n, damage) in damage.iter().enumerate() {
        damage();
        assert_eq!(node.holds("c7"), ["10.0.0.9"], "damage {n}");
        damage();
        assert!(node.add("c7").is_err(), "damage {n}");
        damage();
        assert_eq!(node.add_one(&format!("new{n}")), format!("10.0.0.{}", 42 + n));
    }
}

#[test]
fn wrong_bits_do_no_harm() {
    let node = Node::new(&["10.0.0.0/28"]);
    for n in 0..5 {
        node.add(&format!("c{n}")).unwrap();
    }
    let block = node.own().join("taken-4-01400");
    fs::write(&block, [0xff; 4096]).unwrap();
    assert_eq!(node.add_one("a"), "10.0.0.7");
    fs::write(&block, [0; 4096]).unwrap();
    fs::remove_file(node.dir().join("last_reserved_ip.0")).unwrap();
    node.open().finish();
    fs::write(&block, [0; 4096]).unwrap();
    assert_eq!(node.add_one("b"), "10.0.0.8");
    fs::write(&block, [0; 4096]).unwrap();
    assert!(node.open().exhausted(&node.sets).unwrap().is_empty());
    for n in 0..6 {
        node.add(&format!("d{n}")).unwrap();
    }
    fs::write(&block, [0; 4096]).unwrap();
    assert_eq!(node.open().exhausted(&node.sets).unwrap().len(), 1);
    assert!(node.add("e").is_err());
}

#[test]
fn last_reserved_may_hold_anything() {
    let node = Node::new(&["10.0.0.0/24"]);
    for (text, expected) in [
        ("10.0.0.100", "10.0.0.101"),
        ("garbage", "10.0.0.2"),
        ("10.0.0.254", "10.0.0.3"),
        ("192.0.2.1", "10.0.0.4"),
        (" 10.0.0.50\n", "10.0.0.51"),
        ("", "10.0.0.5"),
    ] {
        node.write("last_reserved_ip.0", text);
        assert_eq!(node.add_one(&format!("c{expected}")), expected);
        let now = fs::read_to_string(node.dir().join("last_reserved_ip.0")).unwrap();
        assert_eq!(now, expected, "no tail of the old one is left");
    }
}

#[test]
fn a_change_of_ranges_keeps_the_leases() {
    let mut node = Node::new(&["10.0.0.0/24"]);
    node.add("a").unwrap();
    node.sets = vec![set("10.9.0.0/24"), set("10.0.0.0/16")];
    assert!(node.add("a").unwrap_err().msg.starts_with("failed to allocate for range 1: 10.0.0.2"));
    assert_eq!(node.add("b").unwrap(), ["10.9.0.2", "10.0.0.3"]);
    node.sets.pop();
    assert_eq!(node.add("a").unwrap(), ["10.9.0.3"], "its lease lies outside of the ranges");
    node.del("a");
    assert_eq!(node.leases(), ["10.0.0.3", "10.9.0.2"]);
}
