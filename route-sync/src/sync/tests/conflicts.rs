//! Others' routes at the places of ours.

use super::*;
use net::route::Hop;
use std::ops::Range;

/// Of others: the first the kernel shows when asked for it, the second, where packets end, not.
const OTHERS: [&str; 2] = ["10.50.0.0/24 via 192.0.2.9", "blackhole 10.50.1.0/24"];

fn prefix(n: usize) -> IpNetwork {
    format!("10.50.{n}.0/24").parse().unwrap()
}

fn announce(sync: &mut Sync, prefixes: Range<usize>) {
    let link = *sync.view.facts.links.iter().find(|(_, link)| link.name == "eth0").unwrap().0;
    let hop = Hop { gateway: "192.0.2.7".parse().ok(), link, onlink: false };
    let hops: Hops = vec![hop].into();
    sync.learn(all_sent(prefixes.map(|n| (prefix(n), Some(hops.clone()))).collect()));
    sync.work();
}

fn withdraw(sync: &mut Sync, prefixes: Range<usize>) {
    sync.learn(all_sent(prefixes.map(|n| (prefix(n), None)).collect()));
    sync.work();
}

fn with_others(test: impl FnOnce(Sync) + Send + 'static) {
    on_a_node(|| {
        let (_dir, mut sync, _) = in_step(Mode::Auto);
        sync.learn(all_sent(BTreeMap::new()));
        sync.work();
        for other in OTHERS {
            run(&format!("ip route add {other}"));
        }
        test(sync);
    });
}

/// A full pass is work through all routes, and a peer may flap a prefix as often as it likes.
#[test]
fn a_conflict_that_flaps_takes_a_full_pass_once_at_most() {
    with_others(|mut sync| {
        let passes = sync.figures.passes;
        announce(&mut sync, 0..1);
        assert_eq!((sync.failures.len(), sync.figures.passes - passes), (1, 0));
        withdraw(&mut sync, 0..1);
        for _ in 0..20 {
            announce(&mut sync, 0..2);
            assert!(sync.failures.values().all(|failure| failure.conflict));
            assert_eq!(sync.failures.len(), 2);
            withdraw(&mut sync, 0..2);
            assert_eq!((sync.failures.len(), sync.next_try()), (0, None));
        }
        assert!(sync.figures.passes <= passes + 1, "{} passes", sync.figures.passes - passes);
        let there = run("ip route show root 10.50.0.0/16");
        assert!(OTHERS.iter().all(|other| there.contains(other)), "{there}");
    });
}

#[test]
fn what_a_peer_announced_in_vain_is_tried_again_alone() {
    with_others(|mut sync| {
        announce(&mut sync, 0..200);
        let (passes, changes) = (sync.figures.passes, sync.figures.changes);
        run("ip route del 10.50.0.0/24");
        // The other one fails again, and each turn of the loop does nothing until its next time.
        while sync.failures.len() > 1 || sync.next_try().unwrap() <= Instant::now() {
            let wait = sync.next_try().unwrap().saturating_duration_since(Instant::now());
            std::thread::sleep(wait);
            sync.work();
        }
        assert_eq!((sync.figures.passes - passes, sync.figures.changes - changes), (0, 1));
        assert!(run("ip route show 10.50.0.0/24").contains("via 192.0.2.7 dev eth0 proto"));
    });
}
