//! Routes learned by BGP, as they reach the kernel.

use super::*;
use crate::report::{Path, State};
use net::route::Hop;

fn hops(sync: &Sync, last: u8) -> Hops {
    let link = *sync.view.facts.links.iter().find(|(_, link)| link.name == "eth0").unwrap().0;
    vec![Hop { gateway: Some([192, 0, 2, last].into()), link, onlink: false }].into()
}

fn cidr(third: usize) -> IpNetwork {
    format!("10.{}.{}.0/24", 50 + third / 250, third % 250).parse().unwrap()
}

/// The routes of protocol 119, and the conditions counted again.
fn check(sync: &mut Sync, routes: usize) {
    assert_eq!(run("ip route show proto 119").lines().count(), routes);
    let counted = sync.figures().cidrs;
    let learned =
        counted.iter().find(|(path, state, _)| (*path, *state) == (Path::Bgp, State::Synced));
    assert_eq!(learned.map_or(0, |(.., count)| *count), routes as u64, "{counted:?}");
    sync.conditions.note_all(&sync.view, &sync.failures);
    assert_eq!(sync.figures().cidrs, counted);
    assert_eq!(sync.report().cidrs.len() as u64, counted.iter().map(|(.., n)| n).sum::<u64>());
}

/// A full pass walks through all routes of the kernel, and so does no change of BGP, be it of few
/// routes or many.
#[test]
fn changes_of_bgp_take_no_full_pass() {
    on_a_node(|| {
        let (_dir, mut sync, _) = in_step(Mode::Auto);
        sync.learn(all_sent(BTreeMap::new()));
        sync.work();
        let passes = sync.figures.passes;
        let learn = |sync: &mut Sync, range: std::ops::Range<usize>, last: Option<u8>| {
            let before = sync.figures.changes;
            let hops = last.map(|last| hops(sync, last));
            sync.learn(all_sent(range.map(|n| (cidr(n), hops.clone())).collect()));
            sync.work();
            sync.figures.changes - before
        };
        assert_eq!(learn(&mut sync, 0..1500, Some(7)), 1500);
        check(&mut sync, 1500);
        assert_eq!(learn(&mut sync, 3..4, Some(8)), 1);
        assert_eq!(learn(&mut sync, 3..4, None), 1);
        check(&mut sync, 1499);
        assert_eq!(learn(&mut sync, 0..2000, Some(8)), 2000);
        check(&mut sync, 2000);
        assert_eq!(learn(&mut sync, 10..2000, None), 1990);
        check(&mut sync, 10);
        assert_eq!(sync.figures.passes, passes);
    });
}

/// Where another's route is in the way, that shows, and is over with the route.
#[test]
fn a_conflict_of_one_route_is_that_routes_alone() {
    on_a_node(|| {
        let (_dir, mut sync, _) = in_step(Mode::Auto);
        sync.learn(all_sent(BTreeMap::new()));
        run("ip route add 10.50.0.0/24 via 192.0.2.9");
        let announced: BTreeMap<_, _> = (0..3).map(|n| (cidr(n), Some(hops(&sync, 7)))).collect();
        sync.learn(all_sent(announced));
        sync.work();
        check(&mut sync, 2);
        let conflict = sync.report().cidrs.into_iter().find(|entry| entry.cidr == cidr(0)).unwrap();
        assert_eq!(conflict.state, State::Conflict);
        sync.learn(all_sent(BTreeMap::from([(cidr(0), None)])));
        check(&mut sync, 2);
        assert!(sync.failures.is_empty());
        assert!(run("ip route show 10.50.0.0/24").contains("via 192.0.2.9"));
    });
}

/// Routes of an earlier run are taken over one by one as peers announce them; the rest is removed
/// at the end.
#[test]
fn routes_of_an_earlier_run_are_taken_over_without_a_pass_for_each() {
    on_a_node(|| {
        for third in 0..5 {
            run(&format!("ip route add {} via 192.0.2.9 proto 119", cidr(third)));
        }
        let (_dir, mut sync, _) = in_step(Mode::Auto);
        sync.view.config.bgp = Some(bgp());
        sync.pass("test");
        let passes = sync.figures.passes;
        for third in 0..3 {
            let hops = hops(&sync, 7);
            sync.learn(Announced {
                changes: BTreeMap::from([(cidr(third), Some(hops))]),
                ..Announced::default()
            });
            sync.work();
        }
        assert_eq!(sync.figures.passes, passes);
        assert_eq!(run("ip route show proto 119 via 192.0.2.7").lines().count(), 3);
        sync.learn(all_sent(BTreeMap::new()));
        sync.work();
        check(&mut sync, 3);
    });
}

fn bgp() -> crate::bgp::config::Bgp {
    let text = "[bgp]\nasn = 65000\n[[bgp.peer]]\naddress = \"192.0.2.2\"\nasn = 65000\n\
                [node]\naddresses = [\"192.0.2.1\"]\npod-cidrs = [\"10.1.1.0/24\"]";
    crate::config::read::parse(text, Some("host")).unwrap().bgp.unwrap()
}
