//! The parser of link reports, compiled from its source, on canned reports: of kernels that can
//! more than the one that runs the tests.
#![allow(clippy::unwrap_used)]

use net::Mac;

mod link {
    pub const RTM_NEWLINK: u16 = 16;
}

#[path = "../../src/link/parse.rs"]
mod parse;

use link::RTM_NEWLINK;
use parse::Vlan;

/// An attribute: length, type, value, padding.
fn attribute(kind: u16, value: &[u8]) -> Vec<u8> {
    let length = u16::try_from(4 + value.len()).unwrap();
    let mut bytes = [length.to_ne_bytes(), kind.to_ne_bytes()].concat();
    bytes.extend(value);
    bytes.resize(bytes.len().next_multiple_of(4), 0);
    bytes
}

/// struct bridge_vlan_info.
fn vlan(flags: u16, id: u16) -> Vec<u8> {
    attribute(2, &[flags.to_ne_bytes(), id.to_ne_bytes()].concat())
}

/// struct ifinfomsg, then attributes.
fn report(family: u8, index: u32, flags: u32, attributes: &[Vec<u8>]) -> Vec<u8> {
    let mut bytes = vec![family, 0, 1, 0];
    bytes.extend(index.to_ne_bytes());
    bytes.extend(flags.to_ne_bytes());
    bytes.extend([0; 4]);
    bytes.extend(attributes.concat());
    bytes
}

#[test]
fn vlans_of_a_port_are_read() {
    let specs = [
        attribute(0, &2_u16.to_ne_bytes()), // IFLA_BRIDGE_FLAGS
        vlan(2 | 4, 100),                   // PVID | UNTAGGED
        vlan(4, 7),
        vlan(0, 4094),
    ]
    .concat();
    let name = attribute(3, b"veth0\0");
    // With and without NLA_F_NESTED.
    for af_spec in [26, 26 | 0x8000] {
        let body = report(7, 5, 0x1003, &[name.clone(), attribute(af_spec, &specs)]);
        let wanted = vec![
            Vlan { id: 100, pvid: true, untagged: true },
            Vlan { id: 7, pvid: false, untagged: true },
            Vlan { id: 4094, pvid: false, untagged: false },
        ];
        assert_eq!(parse::vlans(RTM_NEWLINK, &body), Some((5, wanted)));
    }
}

#[test]
fn a_port_without_vlans_has_none() {
    let body = report(7, 5, 0, &[attribute(3, b"veth0\0")]);
    assert_eq!(parse::vlans(RTM_NEWLINK, &body), Some((5, Vec::new())));
    assert_eq!(parse::vlans(RTM_NEWLINK + 1, &body), None, "a report of something else");
}

#[test]
fn an_entry_of_another_length_is_passed_over() {
    let specs = [attribute(2, &[1, 2, 3]), vlan(0, 9)].concat();
    let body = report(7, 5, 0, &[attribute(26, &specs)]);
    let wanted = vec![Vlan { id: 9, pvid: false, untagged: false }];
    assert_eq!(parse::vlans(RTM_NEWLINK, &body), Some((5, wanted)));
}

fn info(kind: &[u8], data: &[u8]) -> Vec<u8> {
    attribute(18, &[attribute(1, kind), attribute(2, data)].concat())
}

#[test]
fn vlan_filtering_of_a_bridge_is_read() {
    let read = |data: &[u8]| {
        let body = report(0, 5, 1, &[attribute(3, b"br0\0"), info(b"bridge\0", data)]);
        parse::link(RTM_NEWLINK, &body).unwrap()
    };
    assert_eq!(read(&attribute(7, &[1])).vlan_filtering, Some(true));
    assert_eq!(read(&attribute(7, &[0])).vlan_filtering, Some(false));
    assert_eq!(read(&attribute(5, &[1])).vlan_filtering, None, "a kernel that cannot");
    assert!(read(&[]).up);
}

#[test]
fn a_vlan_device_is_read() {
    let infos = info(b"vlan\0", &attribute(1, &300_u16.to_ne_bytes()));
    let body = report(0, 9, 0, &[attribute(5, &4_u32.to_ne_bytes()), infos]);
    let link = parse::link(RTM_NEWLINK, &body).unwrap();
    assert_eq!((link.kind.as_str(), link.vlan_id, link.peer), ("vlan", Some(300), 4));
    assert!(link.peer_netns.is_none() && !link.up);
}

#[test]
fn a_report_that_is_cut_is_no_link_or_a_lesser_one_and_no_panic() {
    let name = attribute(3, b"br0\0");
    let whole = report(0, 5, 1, &[name, info(b"bridge\0", &attribute(7, &[1]))]);
    for length in 0..whole.len() {
        let cut = parse::link(RTM_NEWLINK, &whole[..length]);
        assert_ne!(cut, parse::link(RTM_NEWLINK, &whole), "{length} bytes");
        assert_eq!(cut.is_none(), length < 16, "{length} bytes");
    }
}
