//! DHCP messages as bytes (RFC 2131 section 2, RFC 2132), and what of them a client uses.
//!
//! The codec is our own, 150 lines. dhcproto, the library considered, stops in silence at the first
//! option that it cannot parse, joins no split options (RFC 3396), ignores overloaded fields, and adds
//! 0.24 MB.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

/// Codes of options (RFC 2132, RFC 3442).
pub mod option {
    #![allow(missing_docs, reason = "the names are the RFC's")]
    pub const PAD: u8 = 0;
    pub const SUBNET_MASK: u8 = 1;
    pub const ROUTER: u8 = 3;
    pub const DOMAIN_NAME_SERVER: u8 = 6;
    pub const HOST_NAME: u8 = 12;
    pub const DOMAIN_NAME: u8 = 15;
    pub const STATIC_ROUTE: u8 = 33;
    pub const REQUESTED_ADDRESS: u8 = 50;
    pub const LEASE_TIME: u8 = 51;
    pub const OVERLOAD: u8 = 52;
    pub const MESSAGE_TYPE: u8 = 53;
    pub const SERVER: u8 = 54;
    pub const PARAMETERS: u8 = 55;
    pub const MESSAGE: u8 = 56;
    pub const MAX_SIZE: u8 = 57;
    pub const RENEWAL_TIME: u8 = 58;
    pub const REBINDING_TIME: u8 = 59;
    pub const VENDOR_CLASS: u8 = 60;
    pub const CLIENT: u8 = 61;
    pub const USER_CLASS: u8 = 77;
    pub const DOMAIN_SEARCH: u8 = 119;
    pub const CLASSLESS_ROUTE: u8 = 121;
    pub const END: u8 = 255;
}

/// What a message is (RFC 2132 section 9.6).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
#[allow(missing_docs, reason = "the names are the RFC's")]
pub enum Kind {
    Discover = 1,
    Offer = 2,
    Request = 3,
    Ack = 5,
    Nak = 6,
    Release = 7,
}

impl Kind {
    fn of(number: u8) -> Option<Kind> {
        use Kind::{Ack, Discover, Nak, Offer, Release, Request};
        [Discover, Offer, Request, Ack, Nak, Release].into_iter().find(|kind| *kind as u8 == number)
    }
}

/// A message, as far as a client uses it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// From a server (BOOTREPLY), not to one.
    pub is_reply: bool,
    /// The transaction.
    pub xid: u32,
    /// Seconds since the client began.
    pub secs: u16,
    /// The client asks for broadcast answers.
    pub broadcast: bool,
    /// The client's address, if it has one already.
    pub ciaddr: Ipv4Addr,
    /// The client's address, from the server.
    pub yiaddr: Ipv4Addr,
    /// The client's MAC address.
    pub chaddr: [u8; 6],
    /// Options by code; one that was split is joined.
    pub options: BTreeMap<u8, Vec<u8>>,
}

/// The fixed fields with the magic cookie, in bytes.
const FIXED: usize = 240;
const COOKIE: [u8; 4] = [99, 130, 83, 99];
/// BOOTP's least, which some relays insist on (RFC 1542 section 2.1).
const LEAST: usize = 300;
const BROADCAST: u16 = 0x8000;
const ETHERNET: u8 = 1;

impl Message {
    /// A client's message.
    pub fn new(kind: Kind, xid: u32, chaddr: [u8; 6]) -> Message {
        Message {
            is_reply: false,
            xid,
            secs: 0,
            broadcast: false,
            ciaddr: Ipv4Addr::UNSPECIFIED,
            yiaddr: Ipv4Addr::UNSPECIFIED,
            chaddr,
            options: BTreeMap::from([(option::MESSAGE_TYPE, vec![kind as u8])]),
        }
    }

    /// With an option.
    #[must_use]
    pub fn with(mut self, code: u8, value: impl Into<Vec<u8>>) -> Message {
        self.options.insert(code, value.into());
        self
    }

    /// The payload of its datagram.
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = vec![if self.is_reply { 2 } else { 1 }, ETHERNET, 6, 0];
        bytes.extend(self.xid.to_be_bytes());
        bytes.extend(self.secs.to_be_bytes());
        bytes.extend((if self.broadcast { BROADCAST } else { 0 }).to_be_bytes());
        bytes.extend(self.ciaddr.octets());
        bytes.extend(self.yiaddr.octets());
        bytes.resize(28, 0);
        bytes.extend(self.chaddr);
        bytes.resize(FIXED - COOKIE.len(), 0);
        bytes.extend(COOKIE);
        // Servers look at its kind first.
        let first = self.options.get_key_value(&option::MESSAGE_TYPE);
        let rest = self.options.iter().filter(|(code, _)| **code != option::MESSAGE_TYPE);
        for (code, value) in first.into_iter().chain(rest) {
            // An empty one too.
            let (head, more) = value.split_at(value.len().min(255));
            for part in [head].into_iter().chain(more.chunks(255)) {
                bytes.extend([*code, part.len() as u8]);
                bytes.extend(part);
            }
        }
        bytes.push(option::END);
        bytes.resize(bytes.len().max(LEAST), option::PAD);
        bytes
    }

    /// Reads a datagram's payload; `None` where it is no DHCP message.
    pub fn decode(bytes: &[u8]) -> Option<Message> {
        let (fixed, rest) = bytes.split_at_checked(FIXED)?;
        let address = |at: usize| Some(Ipv4Addr::from(*fixed.get(at..)?.first_chunk::<4>()?));
        if fixed.get(FIXED - 4..)? != COOKIE || fixed.get(1..3)? != [ETHERNET, 6] {
            return None;
        }
        let mut options = BTreeMap::new();
        read_options(rest, &mut options);
        // The fields for a file's and a server's name may hold options too.
        let overload = options.get(&option::OVERLOAD).and_then(|value: &Vec<u8>| value.first());
        let overload = overload.copied().unwrap_or_default();
        for (bit, field) in [(1, 108..236), (2, 44..108)] {
            if overload & bit != 0 {
                read_options(fixed.get(field)?, &mut options);
            }
        }
        Some(Message {
            is_reply: fixed.first() == Some(&2),
            xid: u32::from_be_bytes(*fixed.get(4..)?.first_chunk()?),
            secs: u16::from_be_bytes(*fixed.get(8..)?.first_chunk()?),
            broadcast: u16::from_be_bytes(*fixed.get(10..)?.first_chunk()?) & BROADCAST != 0,
            ciaddr: address(12)?,
            yiaddr: address(16)?,
            chaddr: *fixed.get(28..)?.first_chunk()?,
            options,
        })
    }

    /// What it is.
    pub fn kind(&self) -> Option<Kind> {
        self.bytes(option::MESSAGE_TYPE)?.first().copied().and_then(Kind::of)
    }

    /// The bytes of an option.
    pub fn bytes(&self, code: u8) -> Option<&[u8]> {
        self.options.get(&code).map(Vec::as_slice)
    }

    /// An option of one address.
    pub fn address(&self, code: u8) -> Option<Ipv4Addr> {
        self.bytes(code)?.first_chunk::<4>().map(|octets| Ipv4Addr::from(*octets))
    }

    /// An option of several addresses.
    pub fn addresses(&self, code: u8) -> Vec<Ipv4Addr> {
        let (all, _) = self.bytes(code).unwrap_or_default().as_chunks::<4>();
        all.iter().map(|octets| Ipv4Addr::from(*octets)).collect()
    }

    /// An option of a number, as a time in seconds.
    pub fn number(&self, code: u8) -> Option<u32> {
        self.bytes(code)?.first_chunk::<4>().map(|bytes| u32::from_be_bytes(*bytes))
    }

    /// An option of text, without control characters.
    pub fn text(&self, code: u8) -> Option<String> {
        let text = String::from_utf8_lossy(self.bytes(code)?);
        let plain: String = text.chars().filter(|c| !c.is_control()).collect();
        Some(plain).filter(|text| !text.is_empty())
    }
}

/// Reads options until their end, or until one that is cut short.
fn read_options(mut bytes: &[u8], options: &mut BTreeMap<u8, Vec<u8>>) {
    while let Some((code, rest)) = bytes.split_first() {
        bytes = match *code {
            option::PAD => rest,
            option::END => return,
            code => {
                let Some((length, rest)) = rest.split_first() else { return };
                let Some((value, rest)) = rest.split_at_checked(usize::from(*length)) else {
                    return;
                };
                options.entry(code).or_default().extend(value);
                rest
            }
        };
    }
}

#[cfg(test)]
mod tests;
