//! Links.

use crate::common::{
    FAR, NEAR, bridge, in_netns, ip, ip_in, look, new_bridge, new_netns, open, open_in, pod, veth,
};
use net::link::{self, Veth};
use net::{Error, Link, Mac};

#[test]
fn a_bridge_is_made_down_and_keeps_its_mac() {
    in_netns(|| {
        let mut socket = open();
        let mac = Mac([0x0a, 1, 2, 3, 4, 5]);
        socket.set(&link::add_bridge("br", mac, Some(1400), false)).unwrap();
        let made = look(&mut socket, "br");
        assert_eq!((made.kind.as_str(), made.mac, made.mtu), ("bridge", mac, 1400));
        assert_eq!((made.up, made.promiscuous, made.master), (false, false, 0));
        assert_eq!(made.alias, "");
        // A bridge whose address is not set takes the lowest of its ports'.
        assert!(NEAR.0 < mac.0);
        let pod = new_netns();
        socket.set(&link::add_veth(&veth(made.index), &pod)).unwrap();
        assert_eq!(look(&mut socket, "br").mac, mac);
    });
}

#[test]
fn without_an_mtu_it_is_the_kernels() {
    in_netns(|| {
        let mut socket = open();
        let (_netns, mut inside, _) = pod(&mut socket);
        assert_eq!(look(&mut socket, "br").mtu, 1500);
        assert_eq!(look(&mut socket, "near").mtu, 1500);
        assert_eq!(look(&mut inside, "far").mtu, 1500);
    });
}

/// A kernel that switches the others off waits for it, twice.
#[test]
fn the_ends_of_a_veth_pair_have_one_transmit_queue_from_the_start() {
    in_netns(|| {
        let mut socket = open();
        let (netns, ..) = pod(&mut socket);
        for shown in [ip("-d link show near"), ip_in(&netns, "-d link show far")] {
            assert!(shown.contains("numtxqueues 1 "), "{shown}");
        }
    });
}

#[test]
fn a_veth_pair_comes_whole() {
    in_netns(|| {
        let mut socket = open();
        let master = new_bridge(&mut socket, "br");
        let netns = new_netns();
        let wanted = Veth { mtu: Some(1380), ..veth(master) };
        socket.set(&link::add_veth(&wanted, &netns)).unwrap();
        let (near, far) = (look(&mut socket, "near"), look(&mut open_in(&netns), "far"));
        assert_eq!((near.kind.as_str(), near.mac, near.mtu), ("veth", NEAR, 1380));
        assert_eq!((far.kind.as_str(), far.mac, far.mtu), ("veth", FAR, 1380));
        assert_eq!((near.up, near.master), (false, master));
        assert_eq!((far.up, far.master), (false, 0));
        assert_eq!((near.peer, far.peer), (far.index, near.index));
        assert!(near.peer_netns.is_some() && far.peer_netns.is_some());
        let verb = link::elsewhere(near.peer_netns.unwrap(), near.peer);
        let seen = socket.get(&verb).unwrap().expect("the far end, from here");
        // It names its peer's namespace by the ID that goes here, not there.
        assert_eq!(seen, Link { peer_netns: seen.peer_netns, ..far });
        assert_eq!(socket.list(&link::ports(master)).unwrap(), std::slice::from_ref(&near));
        assert!(!near.running);
        assert_eq!(socket.get(&link::by_name("far")).unwrap(), None);
    });
}

#[test]
fn a_veth_pair_comes_whole_or_not_at_all() {
    in_netns(|| {
        let mut socket = open();
        let (netns, _inside, _) = pod(&mut socket);
        let master = look(&mut socket, "br").index;
        let again = socket.set(&link::add_veth(&veth(master), &netns)).unwrap_err();
        assert!(again.is_exists(), "{again}");
        assert!(again.to_string().starts_with("create veth pair near and far: "), "{again}");
        // The far end's name is taken.
        let other = Veth { name: "other", ..veth(master) };
        let taken = socket.set(&link::add_veth(&other, &netns)).unwrap_err();
        assert!(taken.is_exists(), "{taken}");
        assert_eq!(socket.get(&link::by_name("other")).unwrap(), None);
        // The bridge is none.
        let near = look(&mut socket, "near").index;
        let lost = Veth { name: "other", peer: "other", ..veth(near) };
        let refused = socket.set(&link::add_veth(&lost, &netns)).unwrap_err();
        assert!(!refused.is_exists() && !refused.is_gone(), "{refused}");
        assert_eq!(socket.get(&link::by_name("other")).unwrap(), None);
        assert_eq!(ip_in(&netns, "-br link").lines().count(), 2, "loopback and far");
    });
}

#[test]
fn links_are_found_by_name_by_index_and_all_together() {
    in_netns(|| {
        let mut socket = open();
        // More than one part of a dump.
        for i in 0..100 {
            socket.set(&link::add_bridge(&format!("br{i}"), Mac::random(), None, false)).unwrap();
        }
        let all = socket.list(&link::list()).unwrap();
        assert_eq!(all.len(), 101, "and loopback");
        for i in 0..100 {
            let name = format!("br{i}");
            let link = look(&mut socket, &name);
            assert_eq!(link.name, name);
            assert!(all.contains(&link), "{link:?}");
            assert_eq!(socket.get(&link::by_index(link.index)).unwrap(), Some(link));
        }
        assert_eq!(socket.get(&link::by_name("br100")).unwrap(), None);
        assert_eq!(socket.get(&link::by_index(9999)).unwrap(), None);
        let lo = look(&mut socket, "lo");
        assert_eq!((lo.kind.as_str(), lo.mac, lo.up), ("", Mac::default(), false));
    });
}

#[test]
fn up_down_promiscuous_mtu_and_mac_are_set() {
    in_netns(|| {
        let mut socket = open();
        let (_netns, mut inside, far) = pod(&mut socket);
        socket
            .wait(&link::by_name("near"), "see near", crate::socket::PATIENCE, |l| l.running)
            .unwrap();
        inside.set(&link::set_down(far, "far")).unwrap();
        assert!(!look(&mut inside, "far").up);
        inside.set(&link::set_up(far, "far")).unwrap();
        assert!(look(&mut inside, "far").up);
        for on in [true, false] {
            inside.set(&link::set_promiscuous(far, on, "far")).unwrap();
            assert_eq!(look(&mut inside, "far").promiscuous, on);
            assert!(look(&mut inside, "far").up, "nothing else changes");
        }
        inside.set(&link::set_mtu(far, 1300, "far")).unwrap();
        assert_eq!(look(&mut inside, "far").mtu, 1300);
        assert_eq!(look(&mut socket, "near").mtu, 1500);
        let mac = Mac([2, 9, 9, 9, 9, 9]);
        inside.set(&link::set_mac(far, mac, "far")).unwrap();
        assert_eq!(look(&mut inside, "far").mac, mac);
    });
}

#[test]
fn an_alias_is_whole_or_refused() {
    in_netns(|| {
        let mut socket = open();
        let index = new_bridge(&mut socket, "br");
        let longest = "a b \"ä\" ".repeat(64)[..254].to_owned();
        for alias in ["ferrule 25645e pods c1 eth0", &longest] {
            socket.set(&link::set_alias(index, alias, "br")).unwrap();
            assert_eq!(look(&mut socket, "br").alias, alias);
            assert!(ip("link show br").contains(&format!("alias {alias}\n")));
        }
        let refused = socket.set(&link::set_alias(index, &"x".repeat(256), "br")).unwrap_err();
        assert!(refused.to_string().starts_with("set the alias of br: "), "{refused}");
        assert_eq!(look(&mut socket, "br").alias, longest);
        socket.set(&link::set_alias(index, "", "br")).unwrap();
        assert_eq!(look(&mut socket, "br").alias, "");
    });
}

#[test]
fn each_flag_of_a_port_is_set_alone() {
    in_netns(|| {
        let mut socket = open();
        let _pod = pod(&mut socket);
        let near = look(&mut socket, "near").index;
        for (hairpin, isolated) in [(true, false), (false, true), (true, true), (false, false)] {
            socket.set(&link::set_port(near, hairpin, isolated, "near")).unwrap();
            let found = look(&mut socket, "near");
            assert_eq!((found.hairpin, found.isolated), (hairpin, isolated));
            let shown = bridge("-d link show dev near");
            let on = |flag: &str| shown.contains(&format!("{flag} on"));
            assert_eq!((on("hairpin"), on("isolated")), (hairpin, isolated), "{shown}");
        }
        assert!(look(&mut socket, "near").up, "nothing else changes");
    });
}

#[test]
fn deleting_one_end_deletes_both() {
    in_netns(|| {
        let mut socket = open();
        let (_netns, mut inside, far) = pod(&mut socket);
        let near = look(&mut socket, "near").index;
        inside.set(&link::del(far, "far")).unwrap();
        assert_eq!(inside.get(&link::by_name("far")).unwrap(), None);
        assert_eq!(socket.get(&link::by_name("near")).unwrap(), None);
        let gone = socket.set(&link::del(near, "near")).unwrap_err();
        assert!(gone.is_gone(), "{gone}");
        assert!(gone.to_string().starts_with("delete link near: "), "{gone}");
    });
}

#[test]
fn what_is_gone_is_told_from_what_is_there() {
    in_netns(|| {
        let mut socket = open();
        let verbs = [
            link::set_up(9999, "x"),
            link::set_down(9999, "x"),
            link::set_mac(9999, NEAR, "x"),
            link::set_mtu(9999, 1400, "x"),
            link::set_alias(9999, "a", "x"),
            link::set_port(9999, true, false, "x"),
            link::set_promiscuous(9999, true, "x"),
            link::add_vlan(9999, link::Vlan { id: 5, pvid: false, untagged: false }, false, "x"),
        ];
        for verb in &verbs {
            let gone = socket.set(verb).unwrap_err();
            assert!(gone.is_gone() && !gone.is_exists() && !gone.is_unsupported(), "{gone}");
        }
        new_bridge(&mut socket, "br");
        let exists = socket.set(&link::add_bridge("br", FAR, None, false)).unwrap_err();
        assert!(exists.is_exists() && !exists.is_gone() && !exists.is_unsupported(), "{exists}");
        assert_eq!(exists.to_string(), "create bridge br: File exists (os error 17)");
    });
}

#[test]
fn the_kernels_own_words_reach_the_error() {
    in_netns(|| {
        let mut socket = open();
        let index = new_bridge(&mut socket, "br");
        let error: Error = socket.set(&link::set_mtu(index, 70_000, "br")).unwrap_err();
        assert_eq!(error.reason, "mtu greater than device maximum");
        assert_eq!(error.what, "set MTU 70000 of br");
        let text = error.to_string();
        assert!(text.ends_with("(os error 22): mtu greater than device maximum"), "{text}");
    });
}

#[test]
fn a_refusal_for_want_of_rights_says_which() {
    let error = Error::of("set eth0 up", 1, "");
    assert!(error.cause().ends_with("it needs the capabilities CAP_NET_ADMIN and CAP_SYS_ADMIN"));
    let other = Error::of("set eth0 up", 22, "");
    assert!(!other.cause().contains("CAP_"), "{other}");
}
