use super::*;
use crate::facts::conflists::{ConfFile, Plugin};
use crate::facts::leases::Lease;
use crate::facts::nothing;
use cni::Attachment;

/// A node with one pod, 10.1.0.5, on the bridge cni0.
fn node() -> Facts {
    let mut facts = nothing();
    let plugin = Plugin {
        kind: "bridge".to_owned(),
        is_gateway: true,
        ranges: vec!["10.1.0.0/24".parse().unwrap()],
        ..Plugin::default()
    };
    let file =
        ConfFile { network: "pods".to_owned(), plugins: vec![plugin], ..ConfFile::default() };
    facts.conflists = Ok(vec![file]);
    let pod = Attachment::new("pods", "c1", "eth0");
    let link = |index, name: &str, kind: &str, master| Link {
        index,
        name: name.to_owned(),
        kind: kind.to_owned(),
        master,
        ..Link::default()
    };
    let veth = Link { alias: pod.label(None, 254), ..link(3, &pod.host_veth(), "veth", 2) };
    let links = vec![link(2, "cni0", "bridge", 0), veth, link(4, "eth0", "", 0)];
    facts.network.as_mut().unwrap().links = links;
    facts.leases = Ok(vec![Lease {
        network: "pods".to_owned(),
        address: [10, 1, 0, 5].into(),
        container: "c1".to_owned(),
        ifname: "eth0".to_owned(),
        age: 9,
    }]);
    facts.sysctls.0.insert("net/ipv4/ip_forward".to_owned(), "1".to_owned());
    facts
}

#[test]
fn a_switch_that_is_off_is_named() {
    let mut facts = node();
    assert_eq!(switches(&facts), []);
    facts.sysctls.0.insert("net/ipv4/conf/cni0/forwarding".to_owned(), "0".to_owned());
    assert!(switches(&facts)[0].what.starts_with("net.ipv4.conf.cni0.forwarding is 0"));
    facts.sysctls.0.insert("net/ipv4/ip_forward".to_owned(), "0".to_owned());
    let found = switches(&facts);
    assert_eq!((found.len(), found[0].remedy[0].as_str()), (1, "sysctl -w net.ipv4.ip_forward=1"));
}

fn dropping(rules: Vec<Vec<u8>>) -> Facts {
    let mut facts = node();
    let chain = SeenChain {
        name: "FORWARD".to_owned(),
        hook: "forward",
        kind: "filter".to_owned(),
        denies: true,
        uses: 1,
        rules,
    };
    let table = SeenTable { family: "ip", name: "filter".to_owned(), chains: vec![chain] };
    facts.filter.as_mut().unwrap().tables.push(table);
    facts
}

#[test]
fn a_chain_that_denies_is_named_unless_it_knows_pods() {
    let found = drops(&dropping(vec![]));
    assert_eq!(found[0].what, "chain FORWARD of table ip filter drops forwarded packets of pods");
    let link = b"\x09\0\x01\0cni0\0".to_vec();
    assert_eq!(drops(&dropping(vec![link])), []);
    let range = [&7_u16.to_ne_bytes()[..], &1_u16.to_ne_bytes(), &[10, 1, 0]].concat();
    assert_eq!(drops(&dropping(vec![range])), []);
    let other = drops(&dropping(vec![b"\x0c\0\x01\0docker0\0".to_vec()]));
    assert_eq!(other[0].certainty, crate::finding::Certainty::Likely);
}

#[test]
fn a_route_that_leads_elsewhere_than_to_the_pod_is_named() {
    let mut facts = node();
    let way =
        |link| Way { to: [10, 1, 0, 5].into(), by: Ok(("10.1.0.0/25".parse().unwrap(), link)) };
    facts.ways = vec![way(2)];
    assert_eq!(one_way(&facts), []);
    facts.ways = vec![way(4)];
    facts.sysctls.0.insert("net/ipv4/conf/cni0/rp_filter".to_owned(), "1".to_owned());
    let found = one_way(&facts);
    assert_eq!(
        found[0].what,
        "pod c1 (10.1.0.5) is behind cni0, and the route 10.1.0.0/25 leads to eth0"
    );
    assert!(found[0].evidence[0].contains("strict"));
}
