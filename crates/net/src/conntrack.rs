//! Connections that the kernel tracks: those to certain ports are listed and forgotten, over
//! ctnetlink (net/netfilter/nf_conntrack_netlink.c).

use crate::Family;
use netlink::{Error, Message, Protocol, Result, Verb, attributes, find, ip_of};
use netlink_packet_core::NLM_F_DUMP;
use std::collections::BTreeSet;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::os::fd::{AsFd, BorrowedFd};

mod connections;

pub use connections::Connection;

// NFNL_SUBSYS_CTNETLINK, with IPCTNL_MSG_CT_NEW, _GET and _DELETE.
const NEW: u16 = 1 << 8;
const GET: u16 = 1 << 8 | 1;
const DELETE: u16 = 1 << 8 | 2;

/// Bytes of struct nfgenmsg: family, version, two of a resource.
const NFGENMSG: usize = 4;

// enum ctattr_type
const CTA_TUPLE_ORIG: u16 = 1;
const CTA_TUPLE_REPLY: u16 = 2;
const CTA_ID: u16 = 12;
const CTA_ZONE: u16 = 18;
const CTA_FILTER: u16 = 25;
// enum ctattr_tuple
const CTA_TUPLE_IP: u16 = 1;
const CTA_TUPLE_PROTO: u16 = 2;
// enum ctattr_ip
const CTA_IP_V4_SRC: u16 = 1;
const CTA_IP_V4_DST: u16 = 2;
const CTA_IP_V6_SRC: u16 = 3;
const CTA_IP_V6_DST: u16 = 4;
// enum ctattr_l4proto
const CTA_PROTO_NUM: u16 = 1;
const CTA_PROTO_SRC_PORT: u16 = 2;
const CTA_PROTO_DST_PORT: u16 = 3;
// enum ctattr_filter
const CTA_FILTER_ORIG_FLAGS: u16 = 1;
const CTA_FILTER_REPLY_FLAGS: u16 = 2;
// CTA_FILTER_FLAG: which parts of a tuple an entry must have.
const BY_SOURCE: u32 = 1;
const BY_DESTINATION: u32 = 1 << 1;
const BY_PROTOCOL: u32 = 1 << 3;
const BY_SOURCE_PORT: u32 = 1 << 4;
const BY_DESTINATION_PORT: u32 = 1 << 5;

const UDP: u8 = 17;

/// The attributes that name a flow.
const NAMES: [u16; 3] = [CTA_TUPLE_ORIG, CTA_ID, CTA_ZONE];

/// A UDP flow that the kernel remembers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Flow {
    /// Where its first packet went.
    pub to: SocketAddr,
    /// What answers: another than `to` if the destination was translated.
    pub answers: SocketAddr,
    /// [`NAMES`], as the kernel listed them.
    names: Vec<(u16, Vec<u8>)>,
}

/// UDP flows of IPv4 that the kernel can find itself. Of IPv6 it takes the flows that do not have the
/// address of a filter for those that have (`ctnetlink_filter_match_tuple`, in 6.18).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Selection {
    /// The port that the first packet went to.
    pub port: u16,
    /// The address that it went to; `None` for any.
    pub to: Option<Ipv4Addr>,
    /// The address that it came from; `None` for any.
    pub from: Option<Ipv4Addr>,
    /// What answers; `None` for any.
    pub answers: Option<SocketAddrV4>,
}

/// A socket of ctnetlink in the network namespace of the thread that opened it.
pub struct Conntrack(netlink::Socket);

impl Conntrack {
    /// Opens it.
    ///
    /// # Errors
    /// No netfilter netlink, no descriptors left, or a thread in the wrong network namespace.
    pub fn open() -> Result<Conntrack> {
        crate::not_astray()?;
        netlink::Socket::open(Protocol::Netfilter).map(Conntrack)
    }

    /// The UDP flows of a family that the kernel remembers. A kernel without ctnetlink has none.
    ///
    /// # Errors
    /// The kernel's.
    pub fn udp(&mut self, family: Family) -> Result<Vec<Flow>> {
        match self.0.list(&udp_flows(family)) {
            Err(error) if is_without_conntrack(&error) => Ok(Vec::new()),
            flows => flows,
        }
    }

    /// Makes the kernel forget the UDP flows of a selection. It skips empty buckets of its table
    /// without a lock (`get_next_corpse`), so that this takes 0.1 ms where a listing takes 24.
    /// False: the kernel cannot select what it deletes (before 6.11), and deleted nothing. It takes the
    /// selection as the name of one flow then, which lacks a part: EINVAL.
    ///
    /// # Errors
    /// The kernel's.
    pub fn forget_selected(&mut self, selection: &Selection) -> Result<bool> {
        match self.0.set(&forget_selection(selection)) {
            Err(error) if is_without_conntrack(&error) => Ok(false),
            Err(error) if error.is_gone() => Ok(true),
            done => done.map(|()| true),
        }
    }

    /// Makes the kernel forget the UDP flows to certain ports that `stale` picks; how many there were.
    /// It reads all UDP flows of a family, since the kernel finds none by its destination.
    ///
    /// # Errors
    /// The kernel's. A kernel without ctnetlink remembers nothing that could be listed: 0.
    pub fn forget_udp(
        &mut self,
        family: Family,
        ports: &BTreeSet<u16>,
        mut stale: impl FnMut(&Flow) -> bool,
    ) -> Result<usize> {
        let concerned = |flows: &mut Vec<Flow>, flow: Flow| {
            flows.extend(Some(flow).filter(|flow| ports.contains(&flow.to.port())));
        };
        let flows = match self.0.fold(&udp_flows(family), concerned) {
            // nfnetlink_rcv_msg: no such subsystem.
            Err(error) if is_without_conntrack(&error) => return Ok(0),
            flows => flows?,
        };
        let mut forgotten = 0;
        for flow in flows.iter().filter(|flow| stale(flow)) {
            match self.0.set(&forget(family, flow)) {
                Err(error) if error.is_gone() => {}
                done => done?,
            }
            forgotten += 1;
        }
        Ok(forgotten)
    }
}

impl AsFd for Conntrack {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

fn is_without_conntrack(error: &Error) -> bool {
    error.is_unsupported() || error.errno == libc::EINVAL
}

fn header(family: Family) -> Message {
    let number = match family {
        Family::V4 => libc::AF_INET,
        Family::V6 => libc::AF_INET6,
    };
    Message::new(&[number as u8, 0, 0, 0])
}

/// The UDP flows of a family. The kernel filters by protocol (CTA_FILTER, since 5.8); one that does
/// not is filtered here.
fn udp_flows(family: Family) -> Verb<Flow> {
    let mut message = header(family);
    message.nest(CTA_TUPLE_ORIG, |tuple| {
        tuple.nest(CTA_TUPLE_PROTO, |proto| proto.put(CTA_PROTO_NUM, &[UDP]));
    });
    message.nest(CTA_FILTER, |filter| filter.put_u32(CTA_FILTER_ORIG_FLAGS, BY_PROTOCOL));
    Verb::new(GET, &message, NLM_F_DUMP, parse, "list tracked connections".to_owned())
}

fn forget_selection(selection: &Selection) -> Verb<()> {
    let Selection { port, to, from, answers } = *selection;
    let mut message = header(Family::V4);
    message.nest(CTA_TUPLE_ORIG, |tuple| {
        put_ends(tuple, from, to);
        put_port(tuple, CTA_PROTO_DST_PORT, port);
    });
    if let Some(answers) = answers {
        message.nest(CTA_TUPLE_REPLY, |tuple| {
            put_ends(tuple, Some(*answers.ip()), None);
            put_port(tuple, CTA_PROTO_SRC_PORT, answers.port());
        });
    }
    message.nest(CTA_FILTER, |filter| {
        let flag = |end: Option<_>, flag| end.map_or(0, |_| flag);
        let ends = flag(from, BY_SOURCE) | flag(to, BY_DESTINATION);
        filter.put_u32(CTA_FILTER_ORIG_FLAGS, BY_PROTOCOL | BY_DESTINATION_PORT | ends);
        if answers.is_some() {
            let reply = BY_SOURCE | BY_PROTOCOL | BY_SOURCE_PORT;
            filter.put_u32(CTA_FILTER_REPLY_FLAGS, reply);
        }
    });
    Verb::change(DELETE, &message, 0, format!("forget the tracked connections to port {port}"))
}

/// Puts the addresses that there are.
fn put_ends(tuple: &mut Message, source: Option<Ipv4Addr>, destination: Option<Ipv4Addr>) {
    let ends = [(CTA_IP_V4_SRC, source), (CTA_IP_V4_DST, destination)];
    if source.or(destination).is_some() {
        tuple.nest(CTA_TUPLE_IP, |ip| {
            for (kind, address) in ends {
                address.iter().for_each(|address| ip.put(kind, &address.octets()));
            }
        });
    }
}

fn put_port(tuple: &mut Message, kind: u16, port: u16) {
    tuple.nest(CTA_TUPLE_PROTO, |proto| {
        proto.put(CTA_PROTO_NUM, &[UDP]);
        proto.put(kind, &port.to_be_bytes());
    });
}

fn forget(family: Family, flow: &Flow) -> Verb<()> {
    forget_named(family, &flow.names, format!("forget the tracked connection to {}", flow.to))
}

fn forget_named(family: Family, names: &[(u16, Vec<u8>)], what: String) -> Verb<()> {
    let mut message = header(family);
    for (kind, value) in names {
        match *kind {
            CTA_TUPLE_ORIG => message.nest(CTA_TUPLE_ORIG, |tuple| tuple.raw(value)),
            kind => message.put(kind, value),
        }
    }
    Verb::change(DELETE, &message, 0, what)
}

/// One end of a tuple: the kinds of its attributes for IPv4, IPv6 and the port.
fn end(tuple: &[u8], v4: u16, v6: u16, port: u16) -> Option<SocketAddr> {
    let ip = find(tuple, CTA_TUPLE_IP)?;
    let address = find(ip, v4).or_else(|| find(ip, v6)).and_then(ip_of)?;
    let port = find(find(tuple, CTA_TUPLE_PROTO)?, port)?.try_into().ok()?;
    Some(SocketAddr::new(address, u16::from_be_bytes(port)))
}

fn parse(kind: u16, body: &[u8]) -> Option<Flow> {
    let rest = body.get(NFGENMSG..).filter(|_| kind == NEW)?;
    let original = find(rest, CTA_TUPLE_ORIG)?;
    if find(find(original, CTA_TUPLE_PROTO)?, CTA_PROTO_NUM)? != [UDP] {
        return None;
    }
    let reply = find(rest, CTA_TUPLE_REPLY)?;
    let names = attributes(rest).filter(|(kind, _)| NAMES.contains(kind));
    Some(Flow {
        to: end(original, CTA_IP_V4_DST, CTA_IP_V6_DST, CTA_PROTO_DST_PORT)?,
        answers: end(reply, CTA_IP_V4_SRC, CTA_IP_V6_SRC, CTA_PROTO_SRC_PORT)?,
        names: names.map(|(kind, value)| (kind, value.to_vec())).collect(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use netlink_packet_core::Emitable;
    use proptest::prelude::*;

    /// A report of a flow: who asked, whom, and who answers.
    fn report(protocol: u8, to: [u8; 4], answers: [u8; 4]) -> Vec<u8> {
        let mut message = header(Family::V4);
        for (kind, from, to) in
            [(CTA_TUPLE_ORIG, [198, 51, 100, 2], to), (CTA_TUPLE_REPLY, answers, [198, 51, 100, 2])]
        {
            message.nest(kind, |tuple| {
                tuple.nest(CTA_TUPLE_IP, |ip| {
                    ip.put(CTA_IP_V4_SRC, &from);
                    ip.put(CTA_IP_V4_DST, &to);
                });
                tuple.nest(CTA_TUPLE_PROTO, |proto| {
                    proto.put(CTA_PROTO_NUM, &[protocol]);
                    proto.put(CTA_PROTO_SRC_PORT, &5353_u16.to_be_bytes());
                    proto.put(CTA_PROTO_DST_PORT, &53_u16.to_be_bytes());
                });
            });
        }
        message.put(CTA_ID, &[1, 2, 3, 4]);
        let mut bytes = vec![0; message.buffer_len()];
        message.emit(&mut bytes);
        bytes
    }

    #[test]
    fn a_flow_is_where_it_went_and_what_answers() {
        let flow = parse(NEW, &report(UDP, [192, 0, 2, 1], [10, 1, 0, 5])).unwrap();
        assert_eq!(flow.to, "192.0.2.1:53".parse().unwrap());
        assert_eq!(flow.answers, "10.1.0.5:5353".parse().unwrap());
        let kinds: Vec<u16> = flow.names.iter().map(|(kind, _)| *kind).collect();
        assert_eq!(kinds, [CTA_TUPLE_ORIG, CTA_ID]);
        assert_eq!(parse(NEW, &report(6, [192, 0, 2, 1], [10, 1, 0, 5])), None, "TCP");
    }

    proptest! {
        #[test]
        fn noise_is_no_flow(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            parse(NEW, &bytes);
        }
    }
}
