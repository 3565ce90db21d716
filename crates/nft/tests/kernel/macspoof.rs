//! Macspoof in a real kernel, with the `nft` tool as the oracle.

use crate::common::{assert_differences, in_netns, load, open, port, ruleset};
use nft::{Macspoof, Nft};

const A: &str = "3f9a01c2d4e5 pods c0ffee eth0";
const B: &str = "77aa01c2d4e5 pods decaf eth0";

fn remove(nft: &mut Nft, m: &Macspoof) {
    nft.del_macspoof(&m.port, m.mac, &m.comment).unwrap();
}

#[test]
fn the_ruleset_is_as_documented() {
    in_netns(|| {
        let mut nft = open();
        let m = port("veth0123456789a", 1, A);
        nft.add_macspoof(&m).unwrap();
        assert_eq!(nft.check_macspoof(&m).unwrap(), Vec::<String>::new());
        assert_eq!(ruleset(), include_str!("macspoof.nft"));
        let before = ruleset();
        nft.add_macspoof(&m).unwrap();
        assert_eq!(ruleset(), before);
        remove(&mut nft, &m);
        assert_eq!(ruleset(), "");
        remove(&mut nft, &m);
    });
}

#[test]
fn the_last_port_takes_the_table() {
    in_netns(|| {
        let mut nft = open();
        let ports = [port("veth0", 1, A), port("veth1", 2, B)];
        for m in &ports {
            nft.add_macspoof(m).unwrap();
        }
        remove(&mut nft, &ports[0]);
        assert_eq!(nft.check_macspoof(&ports[1]).unwrap(), Vec::<String>::new());
        assert_differences(&nft.check_macspoof(&ports[0]).unwrap(), &["missing", "missing"]);
        remove(&mut nft, &ports[1]);
        assert_eq!(ruleset(), "");
    });
}

#[test]
fn another_attachments_elements_are_left_alone() {
    in_netns(|| {
        let mut nft = open();
        let [old, new] = [port("veth0", 1, A), port("veth0", 1, B)];
        nft.add_macspoof(&old).unwrap();
        nft.add_macspoof(&new).unwrap();
        assert_differences(&nft.check_macspoof(&old).unwrap(), &["comment", "comment"]);
        remove(&mut nft, &old);
        assert_eq!(nft.check_macspoof(&new).unwrap(), Vec::<String>::new());
        remove(&mut nft, &new);
        assert_eq!(ruleset(), "");
    });
}

#[test]
fn a_saved_ruleset_loads_again_and_is_still_ours() {
    in_netns(|| {
        let mut nft = open();
        let m = port("veth0", 1, &"\"long\" ".repeat(40));
        nft.add_macspoof(&m).unwrap();
        let saved = ruleset();
        crate::common::nft(&["flush", "ruleset"]);
        assert_differences(&nft.check_macspoof(&m).unwrap(), &["table bridge ferrule is missing"]);
        remove(&mut nft, &m);
        load(&saved);
        assert_eq!(ruleset(), saved);
        assert_eq!(nft.check_macspoof(&m).unwrap(), Vec::<String>::new());
        remove(&mut nft, &m);
        assert_eq!(ruleset(), "");
    });
}

#[test]
fn check_sees_what_others_changed_and_add_heals_a_flush() {
    in_netns(|| {
        let mut nft = open();
        let m = port("veth0", 1, A);
        nft.add_macspoof(&m).unwrap();
        let whole = ruleset();
        crate::common::nft(&["flush", "chain", "bridge", "ferrule", "macspoof"]);
        assert_differences(&nft.check_macspoof(&m).unwrap(), &["has 0 rules and not 1"]);
        nft.add_macspoof(&m).unwrap();
        assert_eq!(ruleset(), whole);
        load(
            "flush chain bridge ferrule macspoof
             add rule bridge ferrule macspoof iifname @spoof-ports iifname . ether saddr @spoof-macs drop",
        );
        assert_differences(&nft.check_macspoof(&m).unwrap(), &["rule 1 of chain macspoof"]);
    });
}

#[test]
fn masquerade_and_macspoof_do_not_touch_each_other() {
    in_netns(|| {
        let mut nft = open();
        let m = port("veth0", 1, A);
        let pod = crate::common::pod("pods", "10.1.0.5", "10.1.0.0/24", A);
        nft.add_masquerade(&pod).unwrap();
        let without = ruleset();
        nft.add_macspoof(&m).unwrap();
        remove(&mut nft, &m);
        assert_eq!(ruleset(), without);
        crate::common::remove(&mut nft, &pod);
        assert_eq!(ruleset(), "");
    });
}
