//! BGP messages as bytes: the one module that knows the wire.
//!
//! [`frame`] finds the end of a message in a stream, [`decode`] reads one, the `encode` functions
//! write. OPEN, UPDATE, NOTIFICATION, KEEPALIVE (RFC 4271 section 4) and ROUTE-REFRESH (RFC 2918);
//! IPv4 and IPv6 unicast (RFC 4760); 4-octet AS numbers (RFC 6793); IPv4 over IPv6 next hops
//! (RFC 8950); communities (RFC 1997, RFC 8092). What is broken in an UPDATE costs as little as RFC 7606
//! allows: see [`Update`].
//!
//! # Why it is ours
//!
//! `rustbgpd-wire` 0.27 does all of this and ten times more, in 30,000 lines by one author, in 27
//! incompatible releases within a year, and needs a newer compiler than this workspace. It is the
//! oracle of `tests/differential.rs`, which also lists where the two differ on purpose.

mod attributes;
mod community;
mod encode;
mod message;
mod nlri;
mod notification;
mod open;
mod reader;
mod update;

pub use attributes::{Attributes, Origin};
pub use community::{
    Communities, Community, GRACEFUL_SHUTDOWN, LargeCommunity, ParseCommunityError,
};
pub(crate) use encode::capabilities;
pub use encode::{TooLong, keepalive, notification, open, route_refresh, update};
pub use message::{Message, decode, frame};
pub(crate) use nlri::canonical;
pub use notification::{Notification, cease, code};
pub use open::{Capabilities, GracefulRestart, Open};
pub use update::{Announced, NextHop, Update};

use ipnetwork::IpNetwork;
use std::collections::BTreeSet;
use std::fmt;

/// Bytes of the longest message (RFC 4271 section 4.1; RFC 8654 is not offered).
pub const MAX_MESSAGE: usize = 4096;
/// Bytes of a header: marker, length, type.
pub const HEADER: usize = 19;

const OPEN: u8 = 1;
const UPDATE: u8 = 2;
const NOTIFICATION: u8 = 3;
const KEEPALIVE: u8 = 4;
const ROUTE_REFRESH: u8 = 5;

/// Unicast; the other SAFIs are ignored.
const SAFI_UNICAST: u8 = 1;

/// An address family, unicast.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Family {
    /// AFI 1, SAFI 1.
    Ipv4,
    /// AFI 2, SAFI 1.
    Ipv6,
}

impl Family {
    /// The family of a prefix.
    pub fn of(prefix: &IpNetwork) -> Family {
        if prefix.is_ipv4() { Family::Ipv4 } else { Family::Ipv6 }
    }

    /// AFI as IANA numbers it.
    pub fn afi(self) -> u16 {
        match self {
            Family::Ipv4 => 1,
            Family::Ipv6 => 2,
        }
    }

    fn of_wire(afi: u16, safi: u8) -> Option<Family> {
        match (afi, safi) {
            (1, SAFI_UNICAST) => Some(Family::Ipv4),
            (2, SAFI_UNICAST) => Some(Family::Ipv6),
            _ => None,
        }
    }

    fn bits(self) -> u8 {
        match self {
            Family::Ipv4 => 32,
            Family::Ipv6 => 128,
        }
    }
}

impl fmt::Display for Family {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Family::Ipv4 => "IPv4",
            Family::Ipv6 => "IPv6",
        })
    }
}

/// What two OPENs settled, as far as it changes the meaning of bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Context {
    /// Families that both offer; routes of others are ignored (RFC 4760 section 8).
    pub families: BTreeSet<Family>,
    /// AS numbers in AS_PATH have 4 bytes (RFC 6793), else 2.
    pub four_octet_asn: bool,
    /// IPv4 prefixes may have IPv6 next hops (RFC 8950).
    pub extended_next_hop: bool,
    /// The peer is of our own AS (iBGP).
    pub internal: bool,
}

/// What ends a session: the NOTIFICATION that RFC 4271 section 6 asks for, and why in words.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{why}")]
pub struct Malformed {
    /// To be sent before the connection is closed.
    pub notification: Notification,
    /// With the offending value.
    pub why: String,
}

impl Malformed {
    fn new(code: u8, subcode: u8, data: &[u8], why: impl Into<String>) -> Malformed {
        let notification = Notification { code, subcode, data: data.to_vec() };
        Malformed { notification, why: why.into() }
    }
}
