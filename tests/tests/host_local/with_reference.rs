//! Ours and the reference on the same leases, in both directions.

use std::collections::BTreeMap;

use ferrule_tests::invoke::addresses;
use ferrule_tests::{Bins, Node, Pod};
use serde_json::json;

use crate::{five, ranges};

fn both() -> [(Bins, Bins); 2] {
    let (ours, theirs) = (Bins::ours(), Bins::reference());
    [(ours.clone(), theirs.clone()), (theirs, ours)]
}

#[test]
fn each_honours_the_others_leases() {
    for (one, other) in both() {
        let (node, config) = (Node::new(), five());
        let mut pods = vec![];
        for (nth, bins) in [&one, &other, &one, &other, &one].into_iter().enumerate() {
            let pod = Pod::new();
            let result = node.attach(&config, &pod).by(bins).add();
            assert_eq!(addresses(&result), [format!("10.1.0.{}", nth + 2)]);
            pods.push(pod);
        }
        for bins in [&one, &other] {
            let error = node.attach(&config, &Pod::new()).by(bins).try_add().err();
            assert!(error.text().contains("no IP addresses available"), "{error:?}");
        }
    }
}

#[test]
fn each_releases_and_checks_the_others_leases() {
    for (one, other) in both() {
        let (node, pod) = (Node::new(), Pod::new());
        let sets = [json!({"subnet": "10.1.0.0/24"}), json!({"subnet": "fd00:1::/64"})];
        let attachment = node.attach(&ranges(&sets), &pod);
        let result = attachment.clone().by(&one).add();
        attachment.clone().by(&other).check(&result);
        attachment.clone().by(&other).del(Some(&result));
        assert!(node.leases().is_empty());
        attachment.by(&one).del(Some(&result));
    }
}

#[test]
fn each_goes_on_from_the_others_last_address() {
    for (one, other) in both() {
        let (node, config) = (Node::new(), five());
        for expected in ["10.1.0.2", "10.1.0.3", "10.1.0.4", "10.1.0.5", "10.1.0.6", "10.1.0.2"] {
            let pod = Pod::new();
            let bins = if expected.ends_with(['2', '4', '6']) { &one } else { &other };
            let attachment = node.attach(&config, &pod).by(bins);
            assert_eq!(addresses(&attachment.add()), [expected]);
            attachment.del(None);
        }
    }
}

/// What is free by one's GC is leased by the other, which has its own book of the pool.
#[test]
fn each_collects_the_others_leases() {
    for (one, other) in both() {
        let (node, pods) = (Node::new(), [Pod::new(), Pod::new(), Pod::new()]);
        for pod in &pods {
            node.attach(&five(), pod).by(&one).add();
        }
        node.attach(&five(), &pods[0]).by(&other).gc(&[(pods[1].id(), "eth0")]).ok();
        assert_eq!(node.leases(), ["10.1.0.3"]);
        let next = ["10.1.0.5", "10.1.0.6", "10.1.0.2", "10.1.0.4"];
        let late = next.map(|expected| {
            let pod = Pod::new();
            assert_eq!(addresses(&node.attach(&five(), &pod).by(&one).add()), [expected]);
            pod
        });
        node.attach(&five(), &late[0]).by(&one).try_add().err();
    }
}

/// A long mixed life: at every step each address has one holder, and both agree who.
#[test]
fn no_address_is_given_twice_over_a_long_mixed_life() {
    let (node, config) = (Node::new(), ranges(&[json!({"subnet": "10.1.0.0/28"})]));
    let bins = [Bins::ours(), Bins::reference()];
    let mut held: BTreeMap<String, Pod> = BTreeMap::new();
    let mut seed = 20_260_101_u64;
    let mut next = move |below: usize| {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(seed >> 33).unwrap() % below
    };
    for _ in 0..150 {
        let by = &bins[next(2)];
        if held.len() < 13 && (held.is_empty() || next(5) < 3) {
            let pod = Pod::new();
            let address = addresses(&node.attach(&config, &pod).by(by).add()).remove(0);
            assert!(held.insert(address.clone(), pod).is_none(), "{address} was given twice");
        } else {
            let address = held.keys().nth(next(held.len())).unwrap().clone();
            let pod = held.remove(&address).unwrap();
            node.attach(&config, &pod).by(by).del(None);
        }
        let mut names: Vec<&String> = held.keys().collect();
        let mut found = node.leases();
        names.sort();
        found.sort();
        assert!(names.into_iter().eq(&found), "{found:?}");
    }
}
