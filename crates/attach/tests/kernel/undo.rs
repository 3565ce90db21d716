//! A plan that fails anywhere leaves nothing of its own.

use crate::check::{BRIDGE, COMMENT, HOST, everything, masquerade, settled, veth};
use crate::common::{Pod, assert_same, in_netns, sh, state};
use attach::{Item, Kernel, Mac, Place, Rule};

/// Fails, and names it.
fn failing() -> Item {
    Item::Up(Place::Pod, "missing".to_owned())
}

/// Another pod on the same bridge, whose things a failure must not touch.
fn neighbour() -> Vec<Item> {
    let mut own = veth("veth-neighbour", "ferrule c2");
    own.host_mac = Some(Mac([0xfe, 0, 0, 0, 0, 2]));
    let shared = everything().into_iter().filter(|item| match item {
        Item::Bridge(_) | Item::Gateway(_) | Item::Forwarding(_) => true,
        Item::Sysctl(sysctl) => sysctl.place == Place::Host,
        _ => false,
    });
    let mut items: Vec<_> = shared.collect();
    items.push(Item::Veth(own));
    items.push(Item::Up(Place::Pod, "eth0".to_owned()));
    items.push(Item::Up(Place::Host, "veth-neighbour".to_owned()));
    items.push(Item::Rule(Rule::Masquerade(masquerade("10.1.0.9/24", "the neighbour's"))));
    items
}

#[test]
fn a_failure_at_any_position_leaves_the_node_as_it_was() {
    for position in 0..=everything().len() {
        in_netns(move || {
            let (near, pod) = (Pod::new(), Pod::new());
            let mut other = Kernel::open(Some(&near.path())).unwrap();
            other.apply(&neighbour(), &mut Vec::new()).unwrap();
            // The bridge carries packets only some time after its first port does.
            other.wait_running("veth-neighbour", "eth0").unwrap();
            other.wait_running(BRIDGE, "eth0").unwrap();
            let (node, inside) = (settled(), pod.state());

            let mut items = everything();
            items.truncate(position);
            items.push(failing());
            let mut kernel = Kernel::open(Some(&pod.path())).unwrap();
            let mut done = Vec::new();
            let error = kernel.apply(&items, &mut done).unwrap_err();
            assert_eq!(error.summary(), "failed to look up link missing");
            assert_eq!(done, items[..position], "all before it, in order");
            let problems = kernel.remove(&done, COMMENT);
            assert!(problems.is_empty(), "{problems:?}");
            assert_same(&node, &state(), &format!("the node after {position} items"));
            assert_same(&inside, &pod.state(), &format!("the pod after {position} items"));
            assert_eq!(other.check(&neighbour()).unwrap(), Vec::<String>::new());
        });
    }
}

#[test]
fn without_a_neighbour_only_what_is_shared_stays() {
    in_netns(|| {
        let pod = Pod::new();
        let mut kernel = Kernel::open(Some(&pod.path())).unwrap();
        let mut done = Vec::new();
        kernel.apply(&everything(), &mut done).unwrap();
        assert!(kernel.remove(&done, COMMENT).is_empty());
        assert_eq!(sh("ip -br link | cut -d' ' -f1"), format!("lo\n{BRIDGE}\n"));
        assert_eq!(sh("nft list ruleset"), "");
        assert_eq!(pod.sh("ip -br link | cut -d' ' -f1"), "lo\n");
        // Twice is once.
        assert!(kernel.remove(&done, COMMENT).is_empty());
    });
}

#[test]
fn an_owned_item_that_fails_is_removed_too() {
    in_netns(|| {
        let pod = Pod::new();
        sh("ip link add br0 up type bridge");
        let mut kernel = Kernel::open(Some(&pod.path())).unwrap();
        // The pair is made, and only then its alias is refused.
        let unmarkable = Item::Veth(veth(HOST, &"x".repeat(300)));
        let mut done = Vec::new();
        let error = kernel.apply(std::slice::from_ref(&unmarkable), &mut done).unwrap_err();
        assert_eq!(error.summary(), format!("failed to set the alias of {HOST}"));
        assert_eq!(done, [unmarkable]);
        let problems = kernel.remove(&done, COMMENT);
        assert!(problems.is_empty(), "{problems:?}");
        assert_eq!(sh("ip -br link | cut -d' ' -f1"), "lo\nbr0\n");
        assert_eq!(pod.sh("ip -br link | cut -d' ' -f1"), "lo\n");
    });
}

#[test]
fn an_error_holds_up_nothing_of_the_rest() {
    in_netns(|| {
        let pod = Pod::new();
        let mut kernel = Kernel::open(Some(&pod.path())).unwrap();
        kernel.apply(&everything(), &mut Vec::new()).unwrap();
        sh(&format!("ip link set {HOST} alias 'another owner'"));
        let owned = [
            Item::Rule(Rule::Masquerade(masquerade("10.1.0.2/24", COMMENT))),
            Item::Veth(veth(HOST, "ferrule c1")),
            Item::Rule(Rule::Masquerade(masquerade("fd00:1::2/64", COMMENT))),
        ];
        let problems = kernel.remove(&owned, COMMENT);
        assert_eq!(problems.len(), 1, "{problems:?}");
        assert!(problems[0].summary().contains("another owner"), "{problems:?}");
        assert!(!sh("nft list ruleset").contains("inet ferrule"));
    });
}
