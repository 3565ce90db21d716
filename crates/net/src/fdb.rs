//! Forwarding databases of VXLAN devices: RTM_NEWNEIGH, RTM_DELNEIGH and RTM_GETNEIGH of AF_BRIDGE
//! with NTF_SELF (net/core/rtnetlink.c, rtnl_fdb_add; drivers/net/vxlan/vxlan_core.c).

use crate::Mac;
use crate::neighbour::{
    NDA_CACHEINFO, NDA_DST, NDA_LLADDR, NDA_MASTER, RTM_DELNEIGH, RTM_GETNEIGH, RTM_NEWNEIGH, dump,
    message, report,
};
use netlink::Verb;
use netlink::{find, ip_of};
use netlink_packet_core::{NLM_F_CREATE, NLM_F_DUMP, NLM_F_REPLACE};
use std::net::IpAddr;

/// The entry is of the device itself, not of the bridge that it is a port of.
const NTF_SELF: u8 = 2;

/// Where a VXLAN device sends the frames for a MAC address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct FdbEntry {
    /// Index of the VXLAN device.
    pub link: u32,
    /// The frames' destination.
    pub mac: Mac,
    /// The node that gets them, in UDP. A device takes one family only, that of its own address;
    /// the other is EAFNOSUPPORT.
    pub dst: Option<IpAddr>,
    /// It was set and never ages (NUD_PERMANENT), rather than learned.
    pub permanent: bool,
}

/// Sets an entry for good, in the place of the one of this MAC address or not; `permanent` is
/// taken for true. A unicast address has one destination: only for multicast and for zero does
/// `bridge fdb append` add another (vxlan_core.c, vxlan_fdb_update_existing).
pub fn replace(entry: &FdbEntry) -> Verb<()> {
    let what = format!("set FDB entry {}", entry.mac);
    let mut message = message(libc::AF_BRIDGE, entry.link, Some(entry.mac), NTF_SELF);
    if let Some(dst) = entry.dst {
        message.put_ip(NDA_DST, dst);
    }
    Verb::change(RTM_NEWNEIGH, &message, NLM_F_CREATE | NLM_F_REPLACE, what)
}

/// Removes the entry of a MAC address, wherever it leads: asked for a destination that is not the
/// entry's, the kernel does nothing and reports success (vxlan_core.c, __vxlan_fdb_delete).
pub fn del(entry: &FdbEntry) -> Verb<()> {
    let what = format!("remove FDB entry {}", entry.mac);
    let message = message(libc::AF_BRIDGE, entry.link, Some(entry.mac), NTF_SELF);
    Verb::change(RTM_DELNEIGH, &message, 0, what)
}

/// Where a bridge keeps a MAC address: the index of a port, or the bridge's own; without VLAN.
/// Linux 5.0; an older kernel gives EOPNOTSUPP.
pub fn of_bridge(bridge: u32, mac: Mac) -> Verb<u32> {
    let mut message = message(libc::AF_BRIDGE, 0, None, 0);
    message.put(NDA_LLADDR, &mac.0);
    message.put_u32(NDA_MASTER, bridge);
    let parse = |kind, body: &[u8]| report(kind, body).map(|(_, link, ..)| link);
    Verb::new(RTM_GETNEIGH, &message, 0, parse, format!("look up {mac} in a bridge"))
}

/// The entries of a VXLAN device.
pub fn of_link(link: u32) -> Verb<FdbEntry> {
    let what = "list FDB entries".to_owned();
    Verb::new(RTM_GETNEIGH, &dump(libc::AF_BRIDGE, link), NLM_F_DUMP, parse, what)
}

pub(crate) fn parse(kind: u16, body: &[u8]) -> Option<FdbEntry> {
    let (family, link, permanent, flags, rest) = report(kind, body)?;
    if family != libc::AF_BRIDGE || flags & NTF_SELF == 0 {
        return None;
    }
    let mac = Mac(find(rest, NDA_LLADDR)?.try_into().ok()?);
    Some(FdbEntry { link, mac, dst: find(rest, NDA_DST).and_then(ip_of), permanent })
}

/// The entry that a notification is about. Before Linux 6.13 each change is reported twice, by the
/// device and by rtnetlink, which does not know the destination (net/core/rtnetlink.c,
/// rtnl_fdb_notify): that one, which alone has no NDA_CACHEINFO, is left out.
pub(crate) fn parse_notification(kind: u16, body: &[u8]) -> Option<FdbEntry> {
    let (.., rest) = report(kind, body)?;
    find(rest, NDA_CACHEINFO)?;
    parse(kind, body)
}
