//! ADD by one; ADD of neighbours, CHECK and DEL by the other; nothing is lost meanwhile.

use std::collections::BTreeSet;

use ferrule_tests::invoke::addresses;
use ferrule_tests::node::Place;
use ferrule_tests::outside::{NODE4, NODE6, OUTSIDE4, OUTSIDE6};
use ferrule_tests::packets::ping;
use ferrule_tests::{Bins, Node, Outside, Pod};
use serde_json::{Value, json};

use crate::stream::Stream;
use crate::{Kind, Reference, kinds, newest, require_bare, rules};

struct Scene {
    node: Node,
    outside: Outside,
    kind: Kind,
    config: Value,
}

impl Scene {
    fn new(kind: Kind) -> Self {
        let node = Node::new();
        // The reference's gateway address goes through detection, for a second.
        node.set_sysctl("net/ipv6/conf/default/accept_dad", "0");
        let outside = Outside::beside(&node);
        if !kind.masquerade {
            outside.run(&format!("ip route add 10.1.0.0/24 via {NODE4}"));
            outside.run(&format!("ip route add fd00:1::/64 via {NODE6}"));
        }
        Self { node, outside, kind, config: kind.config() }
    }

    fn add(&self, by: &Bins, pod: &Pod) -> Value {
        self.node.attach(&self.config, pod).by(by).add()
    }

    /// DEL of what the other made. The reference 1.1.1, where `iptables` is iptables-nft, stumbles
    /// once over the masquerade chain that ours does not have; by then all else is gone, and the
    /// runtime's next DEL succeeds.
    #[track_caller]
    fn del(&self, by: &Bins, pod: &Pod, result: &Value) {
        let attachment = self.node.attach(&self.config, pod).by(by);
        let outcome = attachment.try_del(Some(result));
        let old = by.dir() == Bins::old_reference().dir();
        if outcome.code != Some(0) && old && self.kind.masquerade {
            let error = outcome.err();
            assert!(error.text().contains("Chain 'CNI-"), "{error:?}");
            attachment.del(Some(result));
            return;
        }
        outcome.ok();
    }

    /// A flow of each family to the outside.
    fn streams(&self, pod: &Pod) -> Vec<Stream> {
        // What a first packet asks of neighbours is not what is judged here.
        let targets = if self.kind.dual { vec![OUTSIDE4, OUTSIDE6] } else { vec![OUTSIDE4] };
        targets
            .into_iter()
            .map(|target| {
                ping(pod, target);
                Stream::start(pod, &self.outside, target)
            })
            .collect()
    }
}

#[track_caller]
fn lost_nothing(streams: Vec<Stream>, whose: &str, kind: Kind) {
    for stream in streams {
        stream.lost_nothing(&format!("{whose}, {kind:?}"));
    }
}

/// One pod by `first`, two neighbours by `then`, which also takes over the first.
fn take_over(kind: Kind, first: &Bins, then: &Bins) {
    let scene = Scene::new(kind);
    let (old, new, late) = (Pod::new(), Pod::new(), Pod::new());
    let result = scene.add(first, &old);
    let flow = scene.streams(&old);
    let neighbour = scene.add(then, &new);
    let third = scene.add(then, &late);
    let mut all = BTreeSet::new();
    for result in [&result, &neighbour, &third] {
        let given = addresses(result);
        assert_eq!(given.len(), if kind.dual { 2 } else { 1 });
        for address in given {
            assert!(all.insert(address.clone()), "{kind:?}: {address} was given twice");
        }
    }
    for address in addresses(&neighbour) {
        ping(&old, &address);
    }
    for address in addresses(&result) {
        ping(&new, &address);
    }
    let by_then = scene.node.attach(&scene.config, &old).by(then);
    by_then.check(&result);
    lost_nothing(flow, "the pod that was there before", kind);

    let flow = scene.streams(&new);
    scene.del(then, &old, &result);
    assert!(old.links().is_empty(), "{kind:?}: the pod's end");
    assert_eq!(scene.node.veths().len(), 2, "{kind:?}");
    let gone = addresses(&result);
    assert!(scene.node.leases().iter().all(|lease| !gone.contains(lease)), "{kind:?}");
    scene.node.attach(&scene.config, &new).by(then).check(&neighbour);
    scene.del(first, &late, &third);
    lost_nothing(flow, "a neighbour", kind);

    scene.del(first, &new, &neighbour);
    // What the reference does not know of ours goes at GC.
    scene.node.attach(&newest(&scene.config), &new).gc(&[]).ok();
    require_bare(&scene.node, &format!("{kind:?}"));
}

#[track_caller]
fn to_ours(reference: Reference, dual: bool) {
    kinds(reference, dual).for_each(|kind| take_over(kind, &reference.bins(), &Bins::ours()));
}

#[track_caller]
fn from_ours(reference: Reference, dual: bool) {
    kinds(reference, dual).for_each(|kind| take_over(kind, &Bins::ours(), &reference.bins()));
}

#[test]
fn from_the_old_reference_to_ours_v4() {
    to_ours(Reference::Old, false);
}

#[test]
fn from_the_old_reference_to_ours_dual() {
    to_ours(Reference::Old, true);
}

#[test]
fn from_the_newest_reference_to_ours_dual() {
    to_ours(Reference::Newest, true);
}

#[test]
fn from_the_newest_reference_with_nftables_to_ours_dual() {
    to_ours(Reference::Nftables, true);
}

#[test]
fn from_ours_to_the_old_reference_v4() {
    from_ours(Reference::Old, false);
}

#[test]
fn from_ours_to_the_old_reference_dual() {
    from_ours(Reference::Old, true);
}

#[test]
fn from_ours_to_the_newest_reference_dual() {
    from_ours(Reference::Newest, true);
}

#[test]
fn from_ours_to_the_newest_reference_with_nftables_dual() {
    from_ours(Reference::Nftables, true);
}

/// Our stale element goes when its address is leased again, at the latest.
#[test]
fn a_stale_element_does_not_outlive_its_address() {
    for reference in [Reference::Old, Reference::Newest] {
        let kind = Kind { reference, dual: false, masquerade: true, spoof_check: false };
        let (scene, one, two) = (Scene::new(kind), Pod::new(), Pod::new());
        let result = scene.add(&Bins::ours(), &one);
        scene.del(&reference.bins(), &one, &result);
        let same = json!({"runtimeConfig": {"ips": addresses(&result)}});
        let again = scene.node.attach(&scene.config, &two).with(&same);
        let leased = again.add();
        assert_eq!(addresses(&leased), addresses(&result));
        again.check(&leased);
        again.del(Some(&leased));
        let left = rules(&scene.node);
        assert!(left.is_empty(), "{left:#?}");
    }
}

/// A pool of one family that all fill: none gives what another holds, and all say when it is
/// exhausted.
#[test]
fn a_pool_is_filled_by_all() {
    let reference = Reference::Old;
    let kind = Kind { reference, dual: false, masquerade: false, spoof_check: false };
    let all = [Bins::ours(), Bins::old_reference(), Bins::reference()];
    let scene = Scene::new(kind);
    let ranges = json!({"ipam": {"ranges": [[{"subnet": "10.1.0.0/29"}]]}});
    let mut pods = vec![];
    for nth in 0..5 {
        let pod = Pod::new();
        let attachment = scene.node.attach(&scene.config, &pod).by(&all[nth % 3]).with(&ranges);
        assert_eq!(addresses(&attachment.add()), [format!("10.1.0.{}", nth + 2)]);
        pods.push(pod);
    }
    for by in all {
        let pod = Pod::new();
        let error = scene.node.attach(&scene.config, &pod).by(&by).with(&ranges).try_add().err();
        assert!(error.text().contains("no IP addresses available"), "{error:?}");
    }
}
