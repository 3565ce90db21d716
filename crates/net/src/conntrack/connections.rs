//! All tracked connections of certain addresses.

use super::{
    BY_SOURCE, CTA_FILTER, CTA_FILTER_ORIG_FLAGS, CTA_FILTER_REPLY_FLAGS, CTA_IP_V4_SRC,
    CTA_IP_V6_SRC, CTA_PROTO_NUM, CTA_PROTO_SRC_PORT, CTA_TUPLE_IP, CTA_TUPLE_ORIG,
    CTA_TUPLE_PROTO, CTA_TUPLE_REPLY, Conntrack, DELETE, GET, NAMES, NEW, NFGENMSG, forget_named,
    header, is_without_conntrack, put_ends,
};
use crate::Family;
use netlink::{Result, Verb, attributes, find, ip_of};
use netlink_packet_core::NLM_F_DUMP;
use std::net::{IpAddr, Ipv4Addr};

/// A connection that the kernel tracks, of any protocol.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Connection {
    /// Who sent its first packet.
    pub source: IpAddr,
    /// Who answers, after translation of the destination.
    pub destination: IpAddr,
    /// Its protocol's number.
    pub protocol: u8,
    /// The first sender's port; 0 for a protocol without ports.
    pub source_port: u16,
    /// The port of who answers, after translation; 0 for a protocol without ports.
    pub destination_port: u16,
    /// [`NAMES`], as the kernel listed them.
    names: Vec<(u16, Vec<u8>)>,
}

impl Conntrack {
    /// The connections of a family that `take` picks, by the two ends of each. The kernel finds none by
    /// its address, so it lists all of them.
    ///
    /// # Errors
    /// The kernel's. A kernel without ctnetlink remembers nothing that could be listed.
    pub fn connections(
        &mut self,
        family: Family,
        mut take: impl FnMut(IpAddr, IpAddr) -> bool,
    ) -> Result<Vec<Connection>> {
        let what = "list tracked connections".to_owned();
        let verb = Verb::new(GET, &header(family), NLM_F_DUMP, parse, what);
        let picked = |all: &mut Vec<Connection>, one: Connection| {
            if take(one.source, one.destination) {
                all.push(one);
            }
        };
        match self.0.fold(&verb, picked) {
            Err(error) if is_without_conntrack(&error) => Ok(Vec::new()),
            connections => connections,
        }
    }

    /// Makes the kernel forget all connections from and to an address of IPv4, also where its destination
    /// was translated to that one. It skips empty buckets of its table without a lock, as
    /// [`Conntrack::forget_selected`] does. False: the kernel cannot select what it deletes (before 6.11),
    /// and deleted nothing.
    ///
    /// # Errors
    /// The kernel's.
    pub fn forget_address(&mut self, address: Ipv4Addr) -> Result<bool> {
        let of =
            [(CTA_TUPLE_ORIG, CTA_FILTER_ORIG_FLAGS), (CTA_TUPLE_REPLY, CTA_FILTER_REPLY_FLAGS)];
        for (tuple, flags) in of {
            let mut message = header(Family::V4);
            message.nest(tuple, |tuple| put_ends(tuple, Some(address), None));
            message.nest(CTA_FILTER, |filter| filter.put_u32(flags, BY_SOURCE));
            let what = format!("forget the tracked connections of {address}");
            match self.0.set(&Verb::change(DELETE, &message, 0, what)) {
                Err(error) if is_without_conntrack(&error) => return Ok(false),
                Err(error) if !error.is_gone() => return Err(error),
                _ => {}
            }
        }
        Ok(true)
    }

    /// Makes the kernel forget a connection; one that it has forgotten already is no error.
    ///
    /// # Errors
    /// The kernel's.
    pub fn forget(&mut self, connection: &Connection) -> Result<()> {
        let family = Family::of(connection.source);
        let what = format!("forget the tracked connection to {}", connection.destination);
        match self.0.set(&forget_named(family, &connection.names, what)) {
            Err(error) if error.is_gone() => Ok(()),
            done => done,
        }
    }
}

/// The source of a tuple.
fn source(tuple: &[u8]) -> Option<IpAddr> {
    let ip = find(tuple, CTA_TUPLE_IP)?;
    find(ip, CTA_IP_V4_SRC).or_else(|| find(ip, CTA_IP_V6_SRC)).and_then(ip_of)
}

fn source_port(tuple: &[u8]) -> Option<u16> {
    let port = find(find(tuple, CTA_TUPLE_PROTO)?, CTA_PROTO_SRC_PORT)?;
    Some(u16::from_be_bytes(port.try_into().ok()?))
}

fn parse(kind: u16, body: &[u8]) -> Option<Connection> {
    let rest = body.get(NFGENMSG..).filter(|_| kind == NEW)?;
    let original = find(rest, CTA_TUPLE_ORIG)?;
    let reply = find(rest, CTA_TUPLE_REPLY)?;
    let protocol = find(find(original, CTA_TUPLE_PROTO)?, CTA_PROTO_NUM)?;
    let names = attributes(rest).filter(|(kind, _)| NAMES.contains(kind));
    Some(Connection {
        source: source(original)?,
        destination: source(reply)?,
        protocol: protocol.first().copied()?,
        source_port: source_port(original).unwrap_or_default(),
        destination_port: source_port(reply).unwrap_or_default(),
        names: names.map(|(kind, value)| (kind, value.to_vec())).collect(),
    })
}

#[cfg(test)]
mod tests {
    use super::super::{CTA_IP_V4_DST, CTA_PROTO_DST_PORT};
    use super::*;
    use netlink::Message;
    use netlink_packet_core::Emitable;
    use proptest::prelude::*;

    fn report(protocol: u8, ports: bool) -> Vec<u8> {
        let mut message: Message = header(Family::V4);
        let ends = [
            (CTA_TUPLE_ORIG, [10, 1, 0, 5], [10, 96, 0, 1], [4000, 80]),
            (CTA_TUPLE_REPLY, [10, 1, 0, 6], [10, 1, 0, 5], [8080, 4000_u16]),
        ];
        for (kind, from, to, [from_port, to_port]) in ends {
            message.nest(kind, |tuple| {
                tuple.nest(CTA_TUPLE_IP, |ip| {
                    ip.put(CTA_IP_V4_SRC, &from);
                    ip.put(CTA_IP_V4_DST, &to);
                });
                tuple.nest(CTA_TUPLE_PROTO, |proto| {
                    proto.put(CTA_PROTO_NUM, &[protocol]);
                    if ports {
                        proto.put(CTA_PROTO_SRC_PORT, &from_port.to_be_bytes());
                        proto.put(CTA_PROTO_DST_PORT, &to_port.to_be_bytes());
                    }
                });
            });
        }
        let mut bytes = vec![0; message.buffer_len()];
        message.emit(&mut bytes);
        bytes
    }

    #[test]
    fn a_connection_leads_to_whoever_answers() {
        let found = parse(NEW, &report(6, true)).unwrap();
        let ends = (found.source.to_string(), found.destination.to_string());
        assert_eq!(ends, ("10.1.0.5".to_owned(), "10.1.0.6".to_owned()));
        assert_eq!((found.protocol, found.source_port, found.destination_port), (6, 4000, 8080));
        let found = parse(NEW, &report(1, false)).unwrap();
        assert_eq!((found.protocol, found.source_port, found.destination_port), (1, 0, 0));
    }

    proptest! {
        #[test]
        fn noise_is_no_connection(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            parse(NEW, &bytes);
        }
    }
}
