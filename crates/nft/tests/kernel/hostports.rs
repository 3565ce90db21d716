//! Host ports in a real kernel, with the `nft` tool as the oracle.

use crate::common::{assert_differences, in_netns, load, open, ruleset};
use nft::{Added, HostPorts, MappedPod, Mapping, Nft, Sources};

const A: &str = "ferrule.portmap 3f9a01c2d4e5 pods c0ffee eth0";
const B: &str = "ferrule.portmap 77aa01c2d4e5 pods decaf eth0";

/// `tcp 0.0.0.0:8080 10.1.0.5:80`, …
fn ports(mappings: &[&str], sources: Sources, comment: &str) -> HostPorts {
    let mapping = |text: &&str| {
        let (port, to) = text.rsplit_once(' ').unwrap();
        Mapping { port: port.parse().unwrap(), to: to.parse().unwrap() }
    };
    let mappings: Vec<Mapping> = mappings.iter().map(mapping).collect();
    let mut pods: Vec<MappedPod> = Vec::new();
    for mapping in &mappings {
        let pod = MappedPod { address: mapping.to.ip(), link: Some("cni0".to_owned()) };
        if !pods.contains(&pod) {
            pods.push(pod);
        }
    }
    HostPorts { mappings, pods, sources, comment: comment.to_owned() }
}

fn dual(comment: &str) -> HostPorts {
    let mappings = [
        "tcp 0.0.0.0:8080 10.1.0.5:80",
        "tcp [::]:8080 [fd00::5]:80",
        "udp 192.0.2.1:53 10.1.0.5:5353",
        "sctp [2001:db8::1]:9 [fd00::5]:9",
    ];
    ports(&mappings, Sources::Near, comment)
}

fn add(nft: &mut Nft, of: &HostPorts) {
    assert!(matches!(nft.add_host_ports(of, false).unwrap(), Added::Done { .. }));
}

/// Removes them, and what is left of the last.
fn remove(nft: &mut Nft, of: &HostPorts) -> Vec<Mapping> {
    let keys: Vec<_> = of.mappings.iter().map(|mapping| mapping.port).collect();
    let gone = nft.del_host_ports(&keys, &of.pods, of.sources, &of.comment).unwrap();
    if let Some(unused) = nft.unused_host_ports().unwrap() {
        assert!(nft.del_host_ports_frame(&unused).unwrap());
    }
    gone
}

#[test]
fn the_ruleset_is_as_documented() {
    in_netns(|| {
        let mut nft = open();
        let of = dual(A);
        add(&mut nft, &of);
        assert_eq!(nft.check_host_ports(&of).unwrap(), Vec::<String>::new());
        assert_eq!(ruleset(), include_str!("hostports.nft"));
        let before = ruleset();
        add(&mut nft, &of);
        assert_eq!(ruleset(), before);
        assert_eq!(remove(&mut nft, &of).len(), 4);
        assert_eq!(ruleset(), "");
        assert_eq!(remove(&mut nft, &of), Vec::new());
    });
}

#[test]
fn a_saved_ruleset_loads_again_and_is_still_ours() {
    for sources in [Sources::Kept, Sources::Near, Sources::All] {
        in_netns(move || {
            let mut nft = open();
            let of = HostPorts { sources, ..dual(&"\"long\" ".repeat(40)) };
            add(&mut nft, &of);
            let saved = ruleset();
            crate::common::nft(&["flush", "ruleset"]);
            let missing = ["table inet ferrule is missing"];
            assert_differences(&nft.check_host_ports(&of).unwrap(), &missing);
            assert_eq!(remove(&mut nft, &of), Vec::new());
            load(&saved);
            assert_eq!(ruleset(), saved);
            assert_eq!(nft.check_host_ports(&of).unwrap(), Vec::<String>::new());
            remove(&mut nft, &of);
            assert_eq!(ruleset(), "");
        });
    }
}

#[test]
fn a_port_of_another_attachment_is_not_taken_and_not_removed() {
    in_netns(|| {
        let mut nft = open();
        let (first, second) = (dual(A), dual(B));
        add(&mut nft, &first);
        let before = ruleset();
        let Added::Taken { port, holder } = nft.add_host_ports(&second, false).unwrap() else {
            panic!("it was taken")
        };
        assert!(second.mappings.iter().any(|mapping| mapping.port == port));
        assert_eq!(holder, A);
        assert_eq!(ruleset(), before);
        assert_eq!(remove(&mut nft, &second), Vec::new());
        assert_eq!(ruleset(), before);
        assert_eq!(nft.host_ports().unwrap(), [((), A.to_owned())]);
    });
}

/// The address of a pod that went without DEL is another pod's by now.
#[test]
fn an_address_of_a_pod_that_is_gone_becomes_the_new_pods() {
    in_netns(|| {
        let mut nft = open();
        let old = ports(&["tcp 0.0.0.0:1 10.1.0.5:1"], Sources::Near, A);
        let new = ports(&["tcp 0.0.0.0:2 10.1.0.5:1"], Sources::Near, B);
        add(&mut nft, &old);
        add(&mut nft, &new);
        assert_eq!(nft.check_host_ports(&new).unwrap(), Vec::<String>::new());
        remove(&mut nft, &old);
        assert_eq!(nft.check_host_ports(&new).unwrap(), Vec::<String>::new());
        remove(&mut nft, &new);
        assert_eq!(ruleset(), "");
    });
}

#[test]
fn all_that_carry_a_comment_are_removed_without_their_keys() {
    for sources in [Sources::Kept, Sources::Near, Sources::All] {
        in_netns(move || {
            let mut nft = open();
            let of = HostPorts { sources, ..dual(A) };
            let other = ports(&["tcp 0.0.0.0:1 10.1.0.6:1"], sources, B);
            add(&mut nft, &other);
            let before = ruleset();
            add(&mut nft, &of);
            let gone = nft.del_host_ports(&[], &[], Sources::Near, A).unwrap();
            assert_eq!(gone.len(), of.mappings.len());
            assert_eq!(ruleset(), before);
        });
    }
}

#[test]
fn what_is_left_of_the_last_says_which_links_to_switch_back() {
    in_netns(|| {
        let mut nft = open();
        let mut of = dual(A);
        let added = nft.add_host_ports(&of, true).unwrap();
        assert_eq!(added, Added::Done { new_link: true });
        assert_eq!(nft.unused_host_ports().unwrap(), None, "in use");
        let keys: Vec<_> = of.mappings.iter().map(|mapping| mapping.port).collect();
        nft.del_host_ports(&keys, &of.pods, of.sources, A).unwrap();
        let unused = nft.unused_host_ports().unwrap().unwrap();
        let links: Vec<_> = unused.links.iter().map(|l| (l.name.as_str(), l.was)).collect();
        assert_eq!(links, [("cni0", true)]);
        // The frame stays while nobody has switched the links back.
        nft.del_unused().unwrap();
        assert_ne!(ruleset(), "");
        // A port that comes meanwhile keeps it.
        of.mappings.truncate(1);
        assert_eq!(nft.add_host_ports(&of, false).unwrap(), Added::Done { new_link: false });
        assert!(!nft.del_host_ports_frame(&unused).unwrap());
        assert_eq!(nft.check_host_ports(&of).unwrap(), Vec::<String>::new());
        remove(&mut nft, &of);
        assert_eq!(ruleset(), "");
    });
}

#[test]
fn thousands_of_ports_go_in_one_batch_and_out_again() {
    in_netns(|| {
        let mut nft = open();
        let texts: Vec<String> =
            (1..=5000).map(|port| format!("tcp 0.0.0.0:{port} 10.1.0.5:{port}")).collect();
        let of = ports(&texts.iter().map(String::as_str).collect::<Vec<_>>(), Sources::All, A);
        add(&mut nft, &of);
        assert_eq!(nft.check_host_ports(&of).unwrap(), Vec::<String>::new());
        assert_eq!(remove(&mut nft, &of).len(), 5000);
        assert_eq!(ruleset(), "");
    });
}
