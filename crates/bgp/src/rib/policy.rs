//! What is taken from peers.

use super::Path;
use crate::codec::Attributes;
use ipnetwork::IpNetwork;
use std::fmt;
use std::net::Ipv4Addr;

/// A path of more ASes is not taken. Paths of the Internet are a few dozen long with all prepending.
pub const AS_PATH_MAX: usize = 128;
/// A path that passed more route reflector clusters than this is not taken.
pub const CLUSTERS_MAX: usize = 16;
/// The import policy: only prefixes inside of certain CIDRs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    /// A prefix is taken if it is one of these, or inside of one. A default route is never taken,
    /// even if 0.0.0.0/0 or ::/0 is among them.
    pub import_cidrs: Vec<IpNetwork>,
    /// What is more specific, of IPv4 and of IPv6, is not taken.
    pub max_length: (u8, u8),
    /// Our own CIDRs: they and what is inside of them are never taken. What covers one of them is;
    /// the own CIDR is more specific.
    pub own_cidrs: Vec<IpNetwork>,
    /// What we announce: they are never taken. What is inside of them may be another node's.
    pub announced: Vec<IpNetwork>,
    /// Our AS number; a path with it is a loop, unless the peer may have it there
    /// ([`Source::own_as`](super::Source::own_as)).
    pub local_asn: u32,
    /// Our BGP Identifier; a path that we originated, come back through a reflector, is a loop.
    pub router_id: Ipv4Addr,
}

/// Why a prefix is not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Rejected {
    /// It is a default route.
    Default,
    /// It is in none of the import CIDRs.
    Outside,
    /// It is too specific.
    TooSpecific,
    /// It is ours.
    Own,
    /// Its AS_PATH has more than [`AS_PATH_MAX`] ASes.
    LongAsPath,
    /// Its CLUSTER_LIST has more than [`CLUSTERS_MAX`] entries.
    LongClusterList,
    /// Our AS is in its path (RFC 4271 section 9.1.2).
    AsLoop,
    /// ORIGINATOR_ID is ours (RFC 4456 section 8).
    OriginatorLoop,
}

impl fmt::Display for Rejected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Rejected::LongAsPath => {
                return write!(f, "its AS_PATH has more than {AS_PATH_MAX} ASes");
            }
            Rejected::LongClusterList => {
                return write!(f, "its CLUSTER_LIST has more than {CLUSTERS_MAX} entries");
            }
            Rejected::Default => "a default route",
            Rejected::Outside => "outside of import-cidrs",
            Rejected::TooSpecific => "more specific than import-max-length",
            Rejected::Own => "inside of this node's own CIDRs",
            Rejected::AsLoop => "our AS is in its path",
            Rejected::OriginatorLoop => "it came from us",
        })
    }
}

impl Rejected {
    /// What to do about it.
    pub fn remedy(self) -> &'static str {
        match self {
            Rejected::Default => "nothing; the peer need not announce it",
            Rejected::Outside => "if pods have such addresses, add them to import-cidrs",
            Rejected::TooSpecific => "raise import-max-length, or aggregate at the peer",
            Rejected::Own => "nothing, unless another node has this CIDR too",
            Rejected::LongAsPath => "prepend less at the peer",
            Rejected::LongClusterList => {
                "look for reflectors that pass the route around, or peer with one nearer"
            }
            Rejected::AsLoop => {
                "if the nodes have one AS number, write allowas-in = 1 for this peer, or as-override \
                 at the peer"
            }
            Rejected::OriginatorLoop => "nothing; a reflector sends back what was announced to it",
        }
    }
}

impl Policy {
    /// Whether a path to `prefix` is taken.
    ///
    /// # Errors
    /// Why not.
    pub fn admits(&self, prefix: &IpNetwork, path: &Path) -> Result<(), Rejected> {
        let inside = |cidrs: &[IpNetwork]| cidrs.iter().any(|cidr| contains(cidr, prefix));
        let (four, six) = self.max_length;
        let length = if prefix.is_ipv4() { four } else { six };
        if prefix.prefix() == 0 {
            Err(Rejected::Default)
        } else if inside(&self.own_cidrs) || self.announced.contains(prefix) {
            Err(Rejected::Own)
        } else if !inside(&self.import_cidrs) {
            Err(Rejected::Outside)
        } else if prefix.prefix() > length {
            Err(Rejected::TooSpecific)
        } else if self.is_loop(path) {
            Err(Rejected::AsLoop)
        } else if path.attributes.originator_id == Some(self.router_id) {
            Err(Rejected::OriginatorLoop)
        } else {
            too_long(&path.attributes)
        }
    }

    /// Our AS is in the path more often than it may be.
    fn is_loop(&self, path: &Path) -> bool {
        let own = path.attributes.as_path.iter().filter(|asn| **asn == self.local_asn);
        own.count() > usize::from(path.source.own_as)
    }

    /// Whether it may admit what another does not.
    pub fn is_wider_than(&self, other: &Policy) -> bool {
        let within = |inner: &[IpNetwork], outer: &[IpNetwork]| {
            inner.iter().all(|inner| outer.iter().any(|outer| contains(outer, inner)))
        };
        let (four, six) = self.max_length;
        let (other_four, other_six) = other.max_length;
        four > other_four
            || six > other_six
            || !within(&self.import_cidrs, &other.import_cidrs)
            || !within(&other.own_cidrs, &self.own_cidrs)
            || !other.announced.iter().all(|cidr| self.announced.contains(cidr))
            || (self.local_asn, self.router_id) != (other.local_asn, other.router_id)
    }
}

/// `inner` is `outer` or a part of it.
fn contains(outer: &IpNetwork, inner: &IpNetwork) -> bool {
    outer.prefix() <= inner.prefix() && outer.contains(inner.network())
}

/// Whether the lists that decide are longer than any path of a working network has them.
pub(super) fn too_long(attributes: &Attributes) -> Result<(), Rejected> {
    if attributes.as_path.len() > AS_PATH_MAX {
        Err(Rejected::LongAsPath)
    } else if attributes.cluster_list.len() > CLUSTERS_MAX {
        Err(Rejected::LongClusterList)
    } else {
        Ok(())
    }
}
