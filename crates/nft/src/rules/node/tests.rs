use super::*;
use crate::kernel::answer::ElementState;
use crate::rules::spans::{bits, bytes};
use nix::sched::{CloneFlags, unshare};
use proptest::prelude::*;

fn networks(texts: &[&str]) -> Vec<IpNetwork> {
    texts.iter().map(|text| text.parse().unwrap()).collect()
}

#[test]
fn networks_that_overlap_or_touch_become_one_interval() {
    let all = networks(&["10.0.1.0/24", "10.0.0.7/24", "10.0.0.0/25", "10.9.0.0/16", "fd00::/8"]);
    let span = |first: [u8; 4], end: [u8; 4]| Span { first: first.into(), end: Some(end.into()) };
    let wanted = [span([10, 0, 0, 0], [10, 0, 2, 0]), span([10, 9, 0, 0], [10, 10, 0, 0])];
    assert_eq!(spans(Ip::V4, all.iter()), BTreeSet::from(wanted));
}

#[test]
fn an_interval_up_to_the_last_address_has_no_end() {
    for (ip, text) in [(Ip::V4, "0.0.0.0/0"), (Ip::V4, "255.255.255.255/32"), (Ip::V6, "::/0")] {
        let spans = spans(ip, networks(&[text]).iter());
        assert!(spans.len() == 1 && spans.iter().all(|span| span.end.is_none()), "{text}");
    }
}

fn element(key: [u8; 4], ends: bool) -> ElementState {
    ElementState { key: Some(key.into()), ends, ..ElementState::default() }
}

#[test]
fn what_is_no_interval_is_seen() {
    let set = CLUSTER4;
    let null = element([0; 4], true);
    assert_eq!(read(&set, vec![null]), Some(BTreeSet::new()));
    assert_eq!(read(&set, vec![element([10, 0, 0, 0], true)]), None);
    assert_eq!(read(&set, vec![element([1; 4], false), element([2; 4], false)]), None);
    assert_eq!(read(&set, vec![ElementState::default()]), None, "a catch-all");
}

/// In a network namespace of its own, which vanishes with the thread.
fn in_netns(test: impl FnOnce() + Send + 'static) {
    let thread = std::thread::spawn(|| {
        unshare(CloneFlags::CLONE_NEWNET).expect("a network namespace: run as root");
        test();
    });
    if let Err(panic) = thread.join() {
        std::panic::resume_unwind(panic);
    }
}

fn to(networks_: &[&str]) -> NodeRules {
    NodeRules { cluster: networks(networks_).into_iter().collect(), ..NodeRules::default() }
}

/// Another process changes the set right after it was seen to be as wanted.
#[test]
fn nothing_to_do_counts_only_if_nobody_did_anything_meanwhile() {
    in_netns(|| {
        let (mut ours, mut other) = (Nft::open().unwrap(), Nft::open().unwrap());
        let (rules, theirs) = (to(&["10.0.0.0/8"]), to(&["10.0.0.0/8", "192.168.0.0/16"]));
        assert!(ours.put_node_rules(&rules).unwrap());
        let mut looks = 0;
        let changed = ours.undisturbed(|nft, generation| {
            let changed = nft.put_node_rules_once(&rules, generation)?;
            looks += 1;
            if looks == 1 {
                assert!(!changed && other.put_node_rules(&theirs)?);
            }
            Ok(changed)
        });
        assert_eq!((changed.unwrap(), looks), (true, 2));
        assert!(!ours.put_node_rules(&rules).unwrap(), "what the other one added has stayed");
        ours.del_node_rules().unwrap();
    });
}

/// What differs is sent at the generation of the look, and refused at a later one.
#[test]
fn a_change_between_look_and_batch_is_looked_at_again() {
    in_netns(|| {
        let (mut ours, mut other) = (Nft::open().unwrap(), Nft::open().unwrap());
        let (rules, theirs) = (to(&["10.0.0.0/8"]), to(&["192.168.0.0/16"]));
        let mut looks = 0;
        let changed = ours.undisturbed(|nft, generation| {
            looks += 1;
            if looks == 1 {
                assert!(other.put_node_rules(&theirs)?);
            }
            nft.put_node_rules_once(&rules, generation)
        });
        assert_eq!((changed.unwrap(), looks), (true, 2));
        assert!(!ours.put_node_rules(&rules).unwrap());
        ours.del_node_rules().unwrap();
    });
}

/// A process that changes the ruleset all the time does not keep it from an end.
#[test]
fn a_ruleset_that_never_rests_ends_the_looking() {
    in_netns(|| {
        let (mut ours, mut other) = (Nft::open().unwrap(), Nft::open().unwrap());
        let rules = to(&["10.0.0.0/8"]);
        let mut looks = 0;
        let changed = ours.undisturbed(|nft, generation| {
            looks += 1;
            let theirs = to(&[if looks % 2 == 0 { "192.168.0.0/16" } else { "172.16.0.0/12" }]);
            assert!(other.put_node_rules(&theirs)?);
            nft.put_node_rules_once(&rules, generation)
        });
        assert_eq!((changed.unwrap(), looks), (true, GUARDED + 1));
        assert!(!ours.put_node_rules(&rules).unwrap());
        ours.del_node_rules().unwrap();
    });
}

proptest! {
    #[test]
    fn what_is_written_is_what_is_read(nets in prop::collection::vec((any::<u32>(), 0_u8..=32), 0..40)) {
        let nets: Vec<_> = nets
            .into_iter()
            .map(|(net, prefix)| IpNetwork::new(std::net::Ipv4Addr::from(net).into(), prefix).unwrap())
            .collect();
        let spans = spans(Ip::V4, nets.iter());
        let mut dump = Vec::new();
        for span in &spans {
            let key = |key: &[u8]| <[u8; 4]>::try_from(key).unwrap();
            dump.extend(span.end.as_deref().map(|end| element(key(end), true)));
            dump.push(element(key(&span.first), false));
        }
        for net in &nets {
            let first = bytes(Ip::V4, bits(net.network()));
            prop_assert!(spans.iter().any(|s| s.first <= first && s.end.as_ref().is_none_or(|end| *end > first)));
        }
        prop_assert_eq!(read(&CLUSTER4, dump), Some(spans));
    }
}
