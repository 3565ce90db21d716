use super::*;
use crate::bgp::report::{Counters, RouteReport, SessionReport, UnusableReport};

/// The frozen JSON: scripts read these fields. Add to them; change and remove none.
const FIXTURE: &str = include_str!("../../../fixtures/status-bgp.json");

fn texts(texts: &[&str]) -> Vec<String> {
    texts.iter().map(|text| (*text).to_owned()).collect()
}

fn up() -> PeerReport {
    PeerReport {
        address: "192.0.2.254".parse().unwrap(),
        asn: 65100,
        state: "Established".to_owned(),
        since: Some(1_700_000_000),
        session: Some(SessionReport {
            router_id: [192, 0, 2, 254].into(),
            local_address: Some("192.0.2.11".parse().unwrap()),
            hold_time: 90,
            keepalive: 30,
            families: texts(&["IPv4", "IPv6"]),
            capabilities: texts(&["4-octet-as", "route-refresh"]),
            end_of_rib: texts(&["IPv4"]),
            disabled: [("IPv6".to_owned(), "MP_REACH_NLRI is cut off".to_owned())].into(),
        }),
        next_timer: Some(12),
        prefixes_in: 1,
        max_prefixes: 200_000,
        near_limit: [].into(),
        rejected: [("a default route".to_owned(), 2)].into(),
        remedies: [("a default route".to_owned(), "nothing".to_owned())].into(),
        unusable: vec![UnusableReport {
            next_hop: "192.0.2.11".parse().unwrap(),
            prefixes: 2,
            example: "10.244.5.0/24".parse().unwrap(),
            why: "it is this node's own address".to_owned(),
        }],
        shortened_communities: 3,
        refused_prefixes: 3,
        refused: [(
            "192.0.2.0/24".parse().unwrap(),
            "it covers 192.0.2.11, an address of this node on eth0".to_owned(),
        )]
        .into(),
        prefixes_out: 1,
        unannounced: [(
            "fd00:10:244:1::/64".parse().unwrap(),
            "this node has no IPv6 address to name as the next hop".to_owned(),
        )]
        .into(),
        counters: Counters {
            messages_in: 9,
            messages_out: 8,
            updates_in: 4,
            updates_out: 2,
            treated_as_withdraw: 1,
            faulty_updates: 2,
            established: 1,
        },
        last_error: None,
        last_fault: Some("ORIGIN is 7".to_owned()),
    }
}

fn down() -> PeerReport {
    PeerReport {
        address: "2001:db8::fe".parse().unwrap(),
        asn: 65001,
        state: "Active".to_owned(),
        since: None,
        session: None,
        next_timer: None,
        prefixes_in: 0,
        max_prefixes: 200_000,
        near_limit: [].into(),
        rejected: [].into(),
        remedies: [].into(),
        unusable: vec![],
        shortened_communities: 0,
        refused_prefixes: 0,
        refused: [].into(),
        prefixes_out: 0,
        unannounced: [].into(),
        counters: Counters::default(),
        last_error: Some("cannot connect: Connection refused".to_owned()),
        last_fault: None,
    }
}

/// One peer that is up and one that is not.
pub(crate) fn report() -> BgpReport {
    let up = up();
    BgpReport {
        asn: 65001,
        router_id: Some([192, 0, 2, 11].into()),
        communities: texts(&["no-export", "65001:1:2"]),
        warnings: vec![],
        announce: vec!["10.244.1.0/24".parse().unwrap(), "fd00:10:244:1::/64".parse().unwrap()],
        complete: false,
        routes: vec![RouteReport {
            prefix: "10.244.2.0/24".parse().unwrap(),
            via: vec!["192.0.2.254".parse().unwrap()],
            peers: vec![up.address],
            communities: texts(&["graceful-shutdown"]),
        }],
        peers: vec![up, down()],
    }
}

#[test]
fn the_fields_of_the_json_are_frozen() {
    let fixture: serde_json::Value = serde_json::from_str(FIXTURE).unwrap();
    assert_eq!(serde_json::to_value(report()).unwrap(), fixture);
    assert_eq!(serde_json::from_str::<BgpReport>(FIXTURE).unwrap(), report());
}

#[test]
fn the_tables_are_aligned() {
    let expected = "\
asn        65001
router ID  192.0.2.11
announces  10.244.1.0/24 fd00:10:244:1::/64
           communities no-export 65001:1:2
complete   not yet

PEER          ASN    STATE        SINCE  IN  OUT  NEXT TIMER  LAST ERROR
192.0.2.254   65100  Established  2m     1   1    12s         -
2001:db8::fe  65001  Active       -      0   0    -           cannot connect: Connection refused

SESSION      ROUTER ID    LOCAL ADDRESS  HOLD  FAMILIES   CAPABILITIES
192.0.2.254  192.0.2.254  192.0.2.11     90s   IPv4 IPv6  4-octet-as route-refresh

PEER         REMARK
192.0.2.254  IPv6 disabled: MP_REACH_NLRI is cut off
192.0.2.254  2 prefixes not taken: a default route: nothing
192.0.2.254  3 UPDATEs with more than 16 communities: the first 16 are kept and shown; have the peer send fewer
192.0.2.254  2 prefixes not used, as 10.244.5.0/24: next hop 192.0.2.11: it is this node's own address
192.0.2.254  192.0.2.0/24 refused: it covers 192.0.2.11, an address of this node on eth0
192.0.2.254  3 prefixes refused in all
192.0.2.254  fd00:10:244:1::/64 not announced: this node has no IPv6 address to name as the next hop
192.0.2.254  2 faulty UPDATEs; 1 UPDATEs treated as withdrawals; last fault: ORIGIN is 7

PREFIX         VIA          HEARD FROM   COMMUNITIES
10.244.2.0/24  192.0.2.254  192.0.2.254  graceful-shutdown
";
    assert_eq!(table(&Some(report()), 1_700_000_120), expected);
    assert_eq!(table(&None, 0), "the configuration of the daemon has no [bgp]\n");
}

#[test]
fn it_is_well_when_every_session_is_up_and_every_prefix_announced() {
    assert!(!is_well(&None) && !is_well(&Some(report())));
    let mut well = report();
    well.complete = true;
    well.peers.pop();
    assert!(!is_well(&Some(well.clone())));
    well.peers[0].session.as_mut().unwrap().disabled.clear();
    assert!(!is_well(&Some(well.clone())));
    // Another session of the same switch, of the other family.
    let mut six = well.clone();
    six.peers.push(well.peers[0].clone());
    six.peers[1].unannounced = [(six.announce[0], "x".to_owned())].into();
    assert!(is_well(&Some(six)));
    well.peers[0].unannounced.clear();
    assert!(is_well(&Some(well.clone())));
    well.complete = false;
    assert!(!is_well(&Some(well)));
}

#[test]
fn a_peer_close_to_its_limit_is_shown() {
    let mut report = report();
    report.peers[0].near_limit.insert("IPv4".to_owned(), 160_000);
    let text = table(&Some(report), 0);
    assert!(text.contains("160000 IPv4 prefixes: close to max-prefixes, 200000"), "{text}");
}
