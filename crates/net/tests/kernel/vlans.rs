//! VLANs: many kernels are built without them, so the bytes are held against a hand-written
//! expectation (include/uapi/linux/if_bridge.h) and against what iproute2 and the reference send.

use crate::common::{in_netns, look, new_bridge, new_netns, open, traced, traced_reference, veth};
use net::link::{self, Vlan};
use net::{Mac, Verb};

const ACCESS: Vlan = Vlan { id: 10, pvid: true, untagged: true };
const TAGGED: Vlan = Vlan { id: 0x0123, pvid: false, untagged: false };
/// BRIDGE_VLAN_INFO_BRENTRY. The kernel adds it itself for a bridge (net/bridge/br_netlink.c,
/// br_vlan_info), and iproute2 leaves that to it.
const BRENTRY: u8 = 1 << 5;

#[rustfmt::skip]
const ADD_TO_PORT: [u8; 52] = [
    52, 0, 0, 0,  19, 0,  5, 0,  3, 0, 0, 0,  0, 0, 0, 0, // RTM_SETLINK, REQUEST | ACK, sequence
    7, 0,  0, 0,  9, 0, 0, 0,  0, 0, 0, 0,  0, 0, 0, 0,   // AF_BRIDGE, index, no flags
    20, 0,  26, 0,                                        // IFLA_AF_SPEC
    6, 0,  0, 0,  1, 0,  0, 0,                            // IFLA_BRIDGE_FLAGS: MASTER, padding
    8, 0,  2, 0,  6, 0,  10, 0,                           // ..._VLAN_INFO: PVID | UNTAGGED, 10
];

#[rustfmt::skip]
const ADD_TO_BRIDGE: [u8; 52] = [
    52, 0, 0, 0,  19, 0,  5, 0,  3, 0, 0, 0,  0, 0, 0, 0,
    7, 0,  0, 0,  9, 0, 0, 0,  0, 0, 0, 0,  0, 0, 0, 0,
    20, 0,  26, 0,
    6, 0,  0, 0,  2, 0,  0, 0,                            // SELF
    8, 0,  2, 0,  BRENTRY, 0,  0x23, 1,
];

#[rustfmt::skip]
const DEL_FROM_PORT: [u8; 52] = [
    52, 0, 0, 0,  17, 0,  5, 0,  3, 0, 0, 0,  0, 0, 0, 0, // RTM_DELLINK
    7, 0,  0, 0,  9, 0, 0, 0,  0, 0, 0, 0,  0, 0, 0, 0,
    20, 0,  26, 0,
    6, 0,  0, 0,  1, 0,  0, 0,
    8, 0,  2, 0,  0, 0,  1, 0,
];

#[rustfmt::skip]
const LIST: [u8; 40] = [
    40, 0, 0, 0,  18, 0,  1, 3,  3, 0, 0, 0,  0, 0, 0, 0, // RTM_GETLINK, REQUEST | DUMP
    7, 0,  0, 0,  0, 0, 0, 0,  0, 0, 0, 0,  0, 0, 0, 0,
    8, 0,  29, 0,  2, 0, 0, 0,                            // IFLA_EXT_MASK: RTEXT_FILTER_BRVLAN
];

#[test]
#[cfg(target_endian = "little")]
fn the_bytes_are_those_of_the_header() {
    assert_eq!(link::add_vlan(9, ACCESS, false, "near").to_bytes(3), ADD_TO_PORT);
    assert_eq!(link::add_vlan(9, TAGGED, true, "br").to_bytes(3), ADD_TO_BRIDGE);
    assert_eq!(link::del_vlan(9, 1, "near").to_bytes(3), DEL_FROM_PORT);
    assert_eq!(link::vlans().to_bytes(3), LIST);
}

/// The message that iproute2 sends, its sequence number cleared.
fn sent(args: &str) -> Vec<u8> {
    dumped(&traced(args))
}

/// The bytes of strace's dump of a message, its sequence number cleared.
fn dumped(dump: &str) -> Vec<u8> {
    let lines = dump.lines().filter_map(|line| line.trim_start().strip_prefix("| "));
    let mut bytes = Vec::new();
    for line in lines {
        // Offset, sixteen bytes in hexadecimal, the same as text.
        let columns = line.get(5..).unwrap().trim_start().get(..49).unwrap();
        let digits = columns.split_whitespace();
        bytes.extend(digits.map(|digits| u8::from_str_radix(digits, 16).unwrap()));
    }
    assert!(bytes.len() > 16, "strace shows no message:\n{dump}");
    bytes[8..12].fill(0);
    bytes
}

#[test]
fn the_bytes_are_those_of_iproute2() {
    in_netns(|| {
        let mut socket = open();
        let bridge = new_bridge(&mut socket, "br");
        // With its namespace the far end would go, and so the near one.
        let pod = new_netns();
        socket.set(&link::add_veth(&veth(bridge), &pod)).unwrap();
        let near = look(&mut socket, "near").index;
        let pairs: [(Verb<()>, &str); 3] = [
            (
                link::add_vlan(near, ACCESS, false, "near"),
                "vlan add dev near vid 10 pvid untagged master",
            ),
            (link::add_vlan(near, TAGGED, false, "near"), "vlan add dev near vid 291 master"),
            (link::del_vlan(near, 1, "near"), "vlan del dev near vid 1 master"),
        ];
        for (verb, args) in &pairs {
            assert_eq!(verb.to_bytes(0), sent(args), "{args}");
        }
        let mut own = link::add_vlan(bridge, TAGGED, true, "br").to_bytes(0);
        own[48] &= !BRENTRY;
        assert_eq!(own, sent("vlan add dev br vid 291 self"));
    });
}

/// The first message of a trace that holds a text.
fn message<'a>(trace: &'a str, text: &str) -> &'a str {
    let mut found = trace.split("sendto(").filter(|message| message.contains(text));
    found.next().unwrap_or_else(|| panic!("no message with {text}:\n{trace}"))
}

/// What the reference sends for `"vlan": 100`, as far as this kernel takes it: a bridge that
/// filters by VLAN, and on a bridge that is there already the VLAN of the port.
#[test]
fn the_bytes_are_those_of_the_reference() {
    in_netns(|| {
        let theirs = dumped(message(&traced_reference("new0"), "IFLA_BR_VLAN_FILTERING"));
        let ours = link::add_bridge("new0", Mac::random(), None, true).to_bytes(0);
        // IFLA_INFO_DATA comes last; before it ours has a MAC address.
        assert!(ours.ends_with(&theirs[theirs.len() - 12..]), "{ours:?}\n{theirs:?}");
        new_bridge(&mut open(), "old0");
        let theirs = dumped(message(&traced_reference("old0"), "IFLA_BRIDGE_VLAN_INFO"));
        let port = theirs[20..24].try_into().map(u32::from_ne_bytes).unwrap();
        assert_ne!(port, 0);
        let vlan = Vlan { id: 100, ..ACCESS };
        assert_eq!(link::add_vlan(port, vlan, false, "port").to_bytes(0), theirs);
    });
}

#[test]
fn a_kernel_without_them_says_so_and_another_obeys() {
    in_netns(|| {
        let mut socket = open();
        let made = socket.set(&link::add_bridge("br", Mac::random(), None, true));
        if let Err(refused) = made {
            assert!(refused.is_unsupported() && !refused.is_exists(), "{refused}");
            return without(&mut socket);
        }
        let bridge = look(&mut socket, "br");
        assert_eq!(bridge.vlan_filtering, Some(true));
        socket.set(&link::set_vlan_filtering(bridge.index, false, "br")).unwrap();
        assert_eq!(look(&mut socket, "br").vlan_filtering, Some(false));
        let pod = new_netns();
        socket.set(&link::add_veth(&veth(bridge.index), &pod)).unwrap();
        let near = look(&mut socket, "near").index;
        socket.set(&link::add_vlan(near, ACCESS, false, "near")).unwrap();
        socket.set(&link::add_vlan(near, TAGGED, false, "near")).unwrap();
        socket.set(&link::del_vlan(near, 1, "near")).unwrap();
        let ports = socket.list(&link::vlans()).unwrap();
        let own = ports.into_iter().find(|(port, _)| *port == near);
        assert_eq!(own, Some((near, vec![ACCESS, TAGGED])));
    });
}

fn without(socket: &mut net::Socket) {
    let bridge = new_bridge(socket, "br");
    // Some kernels refuse, some say nothing; what they report is true.
    if let Err(refused) = socket.set(&link::set_vlan_filtering(bridge, true, "br")) {
        assert!(refused.is_unsupported(), "{refused}");
        assert_eq!(refused.what, "set VLAN filtering of br");
    }
    assert_ne!(look(socket, "br").vlan_filtering, Some(true));
    let pod = new_netns();
    socket.set(&link::add_veth(&veth(bridge), &pod)).unwrap();
    let near = look(socket, "near").index;
    let refused = socket.set(&link::add_vlan(near, ACCESS, false, "near")).unwrap_err();
    assert!(refused.is_unsupported(), "{refused}");
    assert_eq!(refused.what, "add VLAN 10 to near");
    let ports = socket.list(&link::vlans()).unwrap();
    assert!(ports.iter().all(|(_, vlans)| vlans.is_empty()), "{ports:?}");
}

#[test]
fn a_vlan_device_is_made_where_the_kernel_has_them() {
    in_netns(|| {
        let mut socket = open();
        let bridge = new_bridge(&mut socket, "br");
        let mac = Mac([2, 0, 0, 0, 0, 7]);
        match socket.set(&link::add_vlan_device("br.5", bridge, 5, mac)) {
            Err(refused) => {
                assert!(refused.is_unsupported(), "{refused}");
                assert_eq!(refused.what, "create VLAN device br.5 of VLAN 5");
                assert_eq!(socket.get(&link::by_name("br.5")).unwrap(), None);
            }
            Ok(()) => {
                let made = look(&mut socket, "br.5");
                assert_eq!((made.kind.as_str(), made.vlan_id), ("vlan", Some(5)));
                assert_eq!((made.peer, made.mac, made.up), (bridge, mac, true));
            }
        }
    });
}
