//! Neighbours, the ARP and NDP tables: RTM_NEWNEIGH, RTM_DELNEIGH, RTM_GETNEIGH (struct ndmsg of
//! include/uapi/linux/neighbour.h; net/core/neighbour.c).

use crate::Mac;
use netlink::Message;
use netlink::Verb;
use netlink::{find, ip_of, u32_of};
use netlink_packet_core::{NLM_F_CREATE, NLM_F_DUMP, NLM_F_REPLACE};
use std::net::IpAddr;

pub(crate) const RTM_NEWNEIGH: u16 = 28;
pub(crate) const RTM_DELNEIGH: u16 = 29;
pub(crate) const RTM_GETNEIGH: u16 = 30;

// include/uapi/linux/neighbour.h
pub(crate) const NDA_DST: u16 = 1;
pub(crate) const NDA_LLADDR: u16 = 2;
pub(crate) const NDA_CACHEINFO: u16 = 3;
const NDA_IFINDEX: u16 = 8;
pub(crate) const NDA_MASTER: u16 = 9;
const NUD_STALE: u16 = 0x04;
const NUD_PERMANENT: u16 = 0x80;
const NTF_EXT_LEARNED: u8 = 0x10;
/// Bytes of struct ndmsg.
const HEADER: usize = 12;

/// The link-layer address of a next hop.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Neighbour {
    /// Index of the link.
    pub link: u32,
    /// Its address.
    pub address: IpAddr,
    /// Its MAC address; zeros in a report while the kernel does not know it.
    pub mac: Mac,
    /// It was set and never ages (NUD_PERMANENT), rather than learned.
    pub permanent: bool,
}

/// The fixed header and MAC address of a neighbour or an FDB entry.
pub(crate) fn message(family: libc::c_int, link: u32, mac: Option<Mac>, flags: u8) -> Message {
    in_state(if mac.is_some() { NUD_PERMANENT } else { 0 }, family, link, mac, flags)
}

fn in_state(state: u16, family: libc::c_int, link: u32, mac: Option<Mac>, flags: u8) -> Message {
    let mut message = Message::new(&[family as u8, 0, 0, 0]);
    message.raw(&link.to_ne_bytes());
    message.raw(&state.to_ne_bytes());
    message.raw(&[flags, 0]);
    if let Some(mac) = mac {
        message.put(NDA_LLADDR, &mac.0);
    }
    message
}

/// A dump of one link's: the kernel skips the others (strict checking, since 4.20).
pub(crate) fn dump(family: libc::c_int, link: u32) -> Message {
    let mut message = message(family, 0, None, 0);
    message.put_u32(NDA_IFINDEX, link);
    message
}

fn family(v6: bool) -> libc::c_int {
    if v6 { libc::AF_INET6 } else { libc::AF_INET }
}

fn named(neighbour: &Neighbour, mac: Option<Mac>) -> Message {
    let mut message = message(family(neighbour.address.is_ipv6()), neighbour.link, mac, 0);
    message.put_ip(NDA_DST, neighbour.address);
    message
}

/// Sets a neighbour for good, in the place of what is known or not; `permanent` is taken for true.
pub fn replace(neighbour: &Neighbour) -> Verb<()> {
    let what = format!("set neighbour {} to {}", neighbour.address, neighbour.mac);
    let message = named(neighbour, Some(neighbour.mac));
    Verb::change(RTM_NEWNEIGH, &message, NLM_F_CREATE | NLM_F_REPLACE, what)
}

/// Sets a neighbour as one that was learned elsewhere (NUD_STALE, NTF_EXT_LEARNED): packets take its
/// MAC address at once, the kernel asks for it when it is used, and follows where it changes. The
/// kernel does not count it, and does not forget it when there are many (net/core/neighbour.c,
/// gc_thresh3).
pub fn learn(link: u32, address: IpAddr, mac: Mac) -> Verb<()> {
    let what = format!("set neighbour {address} to {mac}");
    let family = family(address.is_ipv6());
    let mut message = in_state(NUD_STALE, family, link, Some(mac), NTF_EXT_LEARNED);
    message.put_ip(NDA_DST, address);
    Verb::change(RTM_NEWNEIGH, &message, NLM_F_CREATE | NLM_F_REPLACE, what)
}

/// Removes a neighbour, whatever its MAC address.
pub fn del(neighbour: &Neighbour) -> Verb<()> {
    let what = format!("remove neighbour {}", neighbour.address);
    Verb::change(RTM_DELNEIGH, &named(neighbour, None), 0, what)
}

/// The neighbours of one family on a link, in every state.
pub fn of_link(link: u32, v6: bool) -> Verb<Neighbour> {
    let what = "list neighbours".to_owned();
    Verb::new(RTM_GETNEIGH, &dump(family(v6), link), NLM_F_DUMP, parse, what)
}

/// One neighbour, in every state.
pub fn of_address(link: u32, address: IpAddr) -> Verb<Neighbour> {
    let mut message = message(family(address.is_ipv6()), link, None, 0);
    message.put_ip(NDA_DST, address);
    Verb::new(RTM_GETNEIGH, &message, 0, parse, format!("look up neighbour {address}"))
}

/// A report's family, link, whether it is permanent, flags and attributes.
pub(crate) fn report(kind: u16, body: &[u8]) -> Option<(libc::c_int, u32, bool, u8, &[u8])> {
    let [family, _, _, _, _, _, _, _, s0, s1, flags, _, ..] = *body else { return None };
    if kind != RTM_NEWNEIGH {
        return None;
    }
    let permanent = u16::from_ne_bytes([s0, s1]) & NUD_PERMANENT != 0;
    Some((family.into(), u32_of(&body[4..8])?, permanent, flags, &body[HEADER..]))
}

pub(crate) fn parse(kind: u16, body: &[u8]) -> Option<Neighbour> {
    let (family, link, permanent, _, rest) = report(kind, body)?;
    if family != libc::AF_INET && family != libc::AF_INET6 {
        return None;
    }
    let mac = find(rest, NDA_LLADDR).and_then(|bytes| bytes.try_into().ok()).map(Mac);
    let address = ip_of(find(rest, NDA_DST)?)?;
    Some(Neighbour { link, address, mac: mac.unwrap_or_default(), permanent })
}
