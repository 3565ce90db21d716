//! What a change leaves as it was: the same `Arc`s, which are not compared with the kernel again.

use super::points::{cluster, pod, policy};
use super::{Objects, change};
use nft::policy::{Desired, Members};
use serde_json::{Value, json};
use std::sync::Arc;

/// A policy in each namespace, each with peers of its own.
fn objects() -> Objects {
    let of = |ns: &str, from: &str| {
        let ingress = json!([
            {"from": [{"namespaceSelector": {"matchLabels": {"ns": from}}, "podSelector": {"matchLabels": {"pod": "b"}}}]},
            {"from": [{"ipBlock": {"cidr": "192.0.2.0/24"}}], "ports": [{"port": 80}]},
        ]);
        policy(
            &format!("{ns}/p"),
            json!({"podSelector": {"matchLabels": {"pod": "a"}}, "ingress": ingress}),
        )
    };
    cluster(&[of("x", "y"), of("y", "z"), of("z", "x")])
}

/// How many sets and profiles are others now.
fn differing(before: &Desired, now: &Desired) -> (usize, usize) {
    let sets = now
        .sets
        .iter()
        .filter(|(id, set)| before.sets.get(id).is_none_or(|it| !Arc::ptr_eq(it, set)));
    let profiles = now
        .profiles
        .iter()
        .filter(|(id, it)| before.profiles.get(id).is_none_or(|other| !Arc::ptr_eq(it, other)));
    (sets.count(), profiles.count())
}

fn after(object: Value) -> (Arc<Desired>, Arc<Desired>) {
    let mut state = objects().state();
    let before = state.desired();
    state.change(change(&object, true));
    (before, state.desired())
}

#[test]
fn a_pod_that_no_peer_names_changes_no_set() {
    let mut other = pod("y/c");
    other["metadata"]["labels"] = json!({"pod": "d"});
    let (before, now) = after(other);
    assert_eq!(differing(&before, &now), (0, 0));
}

#[test]
fn the_same_object_again_is_no_change() {
    let (before, now) = after(pod("y/b"));
    assert!(Arc::ptr_eq(&before, &now));
}

#[test]
fn a_pod_that_comes_is_an_element_of_the_sets_that_admit_it() {
    let mut new = pod("y/c");
    new["metadata"]["labels"] = json!({"pod": "b"});
    let (before, now) = after(new);
    assert_eq!(differing(&before, &now), (2, 0), "x's peers, of both families");
    for (id, set) in &now.sets {
        if let (Members::Peers(now), Members::Peers(before)) = (&**set, &*before.sets[id]) {
            assert!(now.len() - before.len() <= 1);
        }
    }
}

#[test]
fn an_edited_policy_keeps_its_sets_names() {
    let ingress = json!([
        {"from": [{"namespaceSelector": {"matchLabels": {"ns": "y"}}}]},
        {"from": [{"ipBlock": {"cidr": "192.0.2.0/24"}}], "ports": [{"port": 80}]},
    ]);
    let edited =
        policy("x/p", json!({"podSelector": {"matchLabels": {"pod": "a"}}, "ingress": ingress}));
    let (before, now) = after(edited);
    assert!(before.sets.keys().eq(now.sets.keys()));
    assert_eq!(differing(&before, &now), (2, 0), "the networks and the profile are as they were");
}
