//! Many at once: nothing is lost while table and chains come and go.

use std::sync::Barrier;

use crate::common::{in_netns, open, pod, port, remove, ruleset};

/// Runs the same in that many threads, each with its own socket, started together.
fn at_once(threads: u8, work: impl Fn(u8, &mut nft::Nft) + Sync) {
    let barrier = Barrier::new(usize::from(threads));
    std::thread::scope(|scope| {
        for i in 0..threads {
            let (barrier, work) = (&barrier, &work);
            scope.spawn(move || {
                let mut nft = open();
                barrier.wait();
                work(i, &mut nft);
            });
        }
    });
}

#[test]
fn the_first_pods_of_a_node_may_come_together() {
    in_netns(|| {
        let pods = |i: u8| pod("pods", &format!("10.1.0.{i}"), "10.1.0.0/24", &format!("c{i}"));
        let ports = |i: u8| port(&format!("veth{i}"), i, &format!("c{i}"));
        for _ in 0..3 {
            at_once(64, |i, nft| {
                nft.add_masquerade(&pods(i)).unwrap();
                nft.add_macspoof(&ports(i)).unwrap();
            });
            at_once(64, |i, nft| {
                assert_eq!(nft.check_masquerade(&pods(i)).unwrap(), Vec::<String>::new());
                assert_eq!(nft.check_macspoof(&ports(i)).unwrap(), Vec::<String>::new());
            });
            at_once(64, |i, nft| {
                remove(nft, &pods(i));
                nft.del_macspoof(&ports(i).port, ports(i).mac, &ports(i).comment).unwrap();
            });
            assert_eq!(ruleset(), "");
        }
    });
}

#[test]
fn a_live_pod_is_never_lost_to_anothers_del() {
    in_netns(|| {
        // Two pods share a network, so chains come and go as well as the table.
        at_once(8, |i, nft| {
            let network = format!("net{}", i / 2);
            for round in 0..200 {
                let comment = format!("{i} {round}");
                let pods = [
                    pod(&network, &format!("10.1.{i}.5"), "10.1.0.0/16", &comment),
                    pod(&network, &format!("fd00::{i}"), "fd00::/64", &comment),
                ];
                let m = &pods[usize::from(i + round) % 2];
                nft.add_masquerade(m).unwrap();
                assert_eq!(nft.check_masquerade(m).unwrap(), Vec::<String>::new());
                remove(nft, m);
            }
        });
        assert_eq!(ruleset(), "");
    });
}

#[test]
fn a_live_port_is_never_lost_to_anothers_del() {
    in_netns(|| {
        at_once(8, |i, nft| {
            for round in 0..200 {
                let m = port(&format!("veth{i}"), round, &format!("{i} {round}"));
                nft.add_macspoof(&m).unwrap();
                assert_eq!(nft.check_macspoof(&m).unwrap(), Vec::<String>::new());
                nft.del_macspoof(&m.port, m.mac, &m.comment).unwrap();
            }
        });
        assert_eq!(ruleset(), "");
    });
}

#[test]
fn the_same_address_may_be_fought_over() {
    in_netns(|| {
        at_once(8, |i, nft| {
            for round in 0..100 {
                let m = pod(&format!("net{i}"), "10.1.0.5", "10.1.0.0/24", &format!("{i} {round}"));
                nft.add_masquerade(&m).unwrap();
                remove(nft, &m);
            }
        });
        // The last one had its own element, or found another's and left it.
        assert!(!ruleset().contains("10.1.0.5 comment"), "{}", ruleset());
    });
}
