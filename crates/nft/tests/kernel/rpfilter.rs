//! The reverse path filter in a real kernel, with the `nft` tool as the oracle. What it drops is
//! seen by the suite `bgp`.

use crate::common::{assert_differences, in_netns, load, open, pod, ruleset};
use nft::{Nft, Rpfilter};

const A: &str = "3f9a01c2d4e5 pods c0ffee eth0";
const B: &str = "77aa01c2d4e5 pods decaf eth0";

fn link(name: &str, comment: &str) -> Rpfilter {
    Rpfilter { link: name.to_owned(), comment: comment.to_owned() }
}

fn remove(nft: &mut Nft, r: &Rpfilter) {
    nft.del_rpfilter(&r.link, &r.comment).unwrap();
}

#[test]
fn the_ruleset_is_as_documented() {
    in_netns(|| {
        let mut nft = open();
        let r = link("veth0123456789a", A);
        nft.add_rpfilter(&r).unwrap();
        assert_eq!(nft.check_rpfilter(&r).unwrap(), Vec::<String>::new());
        assert_eq!(ruleset(), include_str!("rpfilter.nft"));
        nft.add_rpfilter(&r).unwrap();
        assert_eq!(ruleset(), include_str!("rpfilter.nft"));
        assert_eq!(nft.rpfilters().unwrap(), [(r.link.clone(), A.to_owned())]);
        remove(&mut nft, &r);
        assert_eq!(ruleset(), "");
        remove(&mut nft, &r);
    });
}

#[test]
fn the_last_link_takes_chain_set_and_table() {
    in_netns(|| {
        let mut nft = open();
        let links = [link("veth0", A), link("veth1", B)];
        for r in &links {
            nft.add_rpfilter(r).unwrap();
        }
        remove(&mut nft, &links[0]);
        assert_eq!(nft.check_rpfilter(&links[1]).unwrap(), Vec::<String>::new());
        assert_differences(&nft.check_rpfilter(&links[0]).unwrap(), &["missing"]);
        remove(&mut nft, &links[1]);
        assert_eq!(ruleset(), "");
    });
}

#[test]
fn another_attachments_element_is_left_alone() {
    in_netns(|| {
        let mut nft = open();
        let [old, new] = [link("veth0", A), link("veth0", B)];
        nft.add_rpfilter(&old).unwrap();
        nft.add_rpfilter(&new).unwrap();
        assert_differences(&nft.check_rpfilter(&old).unwrap(), &["comment"]);
        remove(&mut nft, &old);
        assert_eq!(nft.check_rpfilter(&new).unwrap(), Vec::<String>::new());
        assert_eq!(nft.rpfilters().unwrap(), [(new.link.clone(), B.to_owned())]);
        remove(&mut nft, &new);
        assert_eq!(ruleset(), "");
    });
}

/// It shares the table with the masqueraded pods: whichever goes last takes it, in either order.
#[test]
fn masquerade_and_rpfilter_share_the_table() {
    in_netns(|| {
        let mut nft = open();
        let (r, m) = (link("veth0", A), pod("pods", "10.1.0.5", "10.1.0.0/24", A));
        for rpfilter_first in [true, false] {
            nft.add_masquerade(&m).unwrap();
            let without = ruleset();
            nft.add_rpfilter(&r).unwrap();
            if rpfilter_first {
                remove(&mut nft, &r);
                assert_eq!(ruleset(), without);
                crate::common::remove(&mut nft, &m);
            } else {
                crate::common::remove(&mut nft, &m);
                assert_eq!(nft.check_rpfilter(&r).unwrap(), Vec::<String>::new());
                remove(&mut nft, &r);
            }
            assert_eq!(ruleset(), "");
        }
    });
}

#[test]
fn what_a_killed_removal_left_goes_with_the_next() {
    in_netns(|| {
        let mut nft = open();
        let r = link("veth0", A);
        nft.add_rpfilter(&r).unwrap();
        load("delete element inet ferrule rpfilter-links { \"veth0\" }");
        remove(&mut nft, &r);
        assert_eq!(ruleset(), "");
        nft.add_rpfilter(&r).unwrap();
        load("flush set inet ferrule rpfilter-links");
        nft.del_unused().unwrap();
        assert_eq!(ruleset(), "");
    });
}

#[test]
fn a_saved_ruleset_loads_again_and_check_sees_what_others_changed() {
    in_netns(|| {
        let mut nft = open();
        let r = link("veth0", A);
        nft.add_rpfilter(&r).unwrap();
        let saved = ruleset();
        crate::common::nft(&["flush", "ruleset"]);
        assert_differences(&nft.check_rpfilter(&r).unwrap(), &["table inet ferrule is missing"]);
        load(&saved);
        assert_eq!(nft.check_rpfilter(&r).unwrap(), Vec::<String>::new());
        crate::common::nft(&["flush", "chain", "inet", "ferrule", "rpfilter"]);
        assert_differences(&nft.check_rpfilter(&r).unwrap(), &["has 0 rules and not 1"]);
        nft.add_rpfilter(&r).unwrap();
        assert_eq!(ruleset(), saved);
        load(
            "flush chain inet ferrule rpfilter
             add rule inet ferrule rpfilter iifname @rpfilter-links fib saddr oif missing drop",
        );
        assert_differences(&nft.check_rpfilter(&r).unwrap(), &["rule 1 of chain rpfilter"]);
    });
}

#[test]
fn many_at_once_leave_nothing() {
    in_netns(|| {
        let work = |nth: usize| {
            let mut nft = open();
            for _ in 0..5 {
                let r = link(&format!("veth{nth}"), A);
                nft.add_rpfilter(&r).unwrap();
                assert_eq!(nft.check_rpfilter(&r).unwrap(), Vec::<String>::new());
                remove(&mut nft, &r);
            }
        };
        std::thread::scope(|scope| {
            (0..8).for_each(|nth| drop(scope.spawn(move || work(nth))));
        });
        assert_eq!(ruleset(), "");
    });
}
