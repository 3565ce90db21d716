use super::*;
use proptest::prelude::*;

fn prefix(n: u8) -> IpNetwork {
    IpNetwork::new([10, n, 0, 0].into(), 16).unwrap()
}

const DONE: Achieved = Achieved { tunnel: true, guard: true };

/// A daemon's knowledge by these words.
fn after(facts: &str) -> Convergence {
    let mut now = Convergence::new(facts.contains("bgp"));
    for fact in facts.split(' ') {
        match fact {
            "kept" => now.set_received(true),
            "current" => now.set_received(false),
            "unlisted" => now.node_is(ThisNode::Unlisted),
            "unplaced" => now.node_is(ThisNode::Unplaced),
            "known" => now.node_is(ThisNode::Known),
            "received" => now.prefix_received(prefix(1)),
            "complete" => drop(now.peers_complete()),
            "bgp" | "start" => {}
            other => panic!("{other}"),
        }
    }
    now
}

/// Each row: what is known, and whether routes may be deleted: of the node set, of BGP and withdrawn,
/// of BGP and announced.
#[test]
fn each_state_deletes_what_it_knows_to_be_wrong() {
    use Stays::{NoCurrentSet, NodeUnknown, PeersSending};
    let (no_set, no_node, peers) = (Err(NoCurrentSet), Err(NodeUnknown), Err(PeersSending));
    for (facts, [of_nodes, withdrawn, announced]) in [
        ("start", [no_set, Ok(()), no_set]),
        ("kept known", [no_set, Ok(()), no_set]),
        ("current unlisted", [no_node, Ok(()), no_node]),
        ("current unplaced", [no_node, Ok(()), no_node]),
        ("current known", [Ok(()); 3]),
        ("bgp start", [no_set, peers, peers]),
        ("bgp current known", [Ok(()), peers, peers]),
        ("bgp current known received", [Ok(()); 3]),
        ("bgp current unplaced received", [no_node, Ok(()), no_node]),
        ("bgp kept known received", [no_set, Ok(()), no_set]),
        ("bgp kept known complete", [no_set, Ok(()), no_set]),
        ("bgp current known complete", [Ok(()); 3]),
        // The source fails after it sent a set; the set remains current.
        ("bgp kept current known complete", [Ok(()); 3]),
    ] {
        let now = after(facts);
        let of_bgp = |announced| now.deletes(Leftover::OfBgp { prefix: prefix(1), announced });
        let found = [now.deletes(Leftover::OfNodes), of_bgp(false), of_bgp(true)];
        assert_eq!(found, [of_nodes, withdrawn, announced], "{facts}");
    }
}

#[test]
fn only_what_was_received_may_go_before_every_peer_has_sent_its_routes() {
    let mut now = after("bgp current known received");
    assert!(!now.waits_for(prefix(1)) && now.waits_for(prefix(2)));
    // Without BGP no peer will announce it.
    now.speaks(false);
    assert!(!now.waits_for(prefix(2)));
    now.speaks(true);
    assert!(now.peers_complete() && !now.peers_complete());
    assert!(!now.waits_for(prefix(2)));
}

#[test]
fn a_daemon_is_synced_once_all_is_known_and_done() {
    for (facts, synced) in [
        ("start", false),
        ("known", false),
        ("kept unplaced", false),
        ("kept known", true),
        ("current known", true),
        ("bgp current known", false),
    ] {
        assert_eq!(after(facts).passed(DONE), synced, "{facts}");
    }
    let mut now = after("bgp current known");
    assert!(now.has_routes() && !now.has_routes());
    assert!(!now.passed(Achieved { guard: false, ..DONE }));
    assert!(!now.passed(Achieved { tunnel: false, ..DONE }));
    assert!(now.passed(DONE) && now.is_synced());
    // Only the first time is news.
    assert!(!now.passed(DONE) && now.is_synced());
}

#[derive(Clone, Debug)]
enum Fact {
    Set { kept: bool },
    Node(ThisNode),
    Prefix(u8),
    HasRoutes,
    Complete,
    Speaks(bool),
    Passed(Achieved),
}

fn fact() -> impl Strategy<Value = Fact> {
    let node = prop::sample::select(vec![ThisNode::Unlisted, ThisNode::Unplaced, ThisNode::Known]);
    prop_oneof![
        any::<bool>().prop_map(|kept| Fact::Set { kept }),
        node.prop_map(Fact::Node),
        (0..3_u8).prop_map(Fact::Prefix),
        Just(Fact::HasRoutes),
        Just(Fact::Complete),
        any::<bool>().prop_map(Fact::Speaks),
        any::<[bool; 2]>().prop_map(|[tunnel, guard]| Fact::Passed(Achieved { tunnel, guard })),
    ]
}

fn learn(now: &mut Convergence, fact: &Fact) {
    match fact {
        Fact::Set { kept } => now.set_received(*kept),
        Fact::Node(node) => now.node_is(*node),
        Fact::Prefix(n) => now.prefix_received(prefix(*n)),
        Fact::HasRoutes => drop(now.has_routes()),
        Fact::Complete => drop(now.peers_complete()),
        Fact::Speaks(speaks) => now.speaks(*speaks),
        Fact::Passed(achieved) => drop(now.passed(*achieved)),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    /// Whatever the daemon learns, and in which order.
    #[test]
    fn nothing_is_deleted_that_may_still_be_right(facts in prop::collection::vec(fact(), 0..20)) {
        let mut now = Convergence::new(true);
        let (mut set, mut node, mut speaks) = (None, ThisNode::Unlisted, true);
        let (mut received, mut complete) = (BTreeSet::new(), false);
        for fact in &facts {
            let was_synced = now.is_synced();
            learn(&mut now, fact);
            match fact {
                Fact::Set { kept } => set = Some(*kept),
                Fact::Node(of) => node = *of,
                Fact::Prefix(n) => drop(received.insert(*n)),
                Fact::Complete => complete = true,
                Fact::Speaks(of) => speaks = *of,
                Fact::HasRoutes | Fact::Passed(_) => {}
            }
            let decided = set == Some(false) && node == ThisNode::Known;
            prop_assert_eq!(now.deletes(Leftover::OfNodes).is_ok(), decided);
            for n in 0..3 {
                let settled = complete || !speaks || received.contains(&n);
                let of_bgp = |announced| {
                    now.deletes(Leftover::OfBgp { prefix: prefix(n), announced }).is_ok()
                };
                prop_assert_eq!(of_bgp(false), settled);
                prop_assert_eq!(of_bgp(true), settled && decided);
                prop_assert_eq!(now.waits_for(prefix(n)), !settled);
            }
            prop_assert!(now.is_synced() || !was_synced);
            prop_assert!(was_synced || !now.is_synced() || set.is_some() && node == ThisNode::Known);
        }
    }
}
