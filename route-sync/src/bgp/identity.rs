//! This node, as BGP peers see it, and what it accepts from them.

use super::config::Bgp;
use bgp_speaker::rib::Policy;
use ipnetwork::IpNetwork;
use std::net::{IpAddr, Ipv4Addr};

/// This node, as it opens sessions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Identity {
    pub router_id: Ipv4Addr,
    /// The node set's, as it has them.
    pub addresses: Vec<IpAddr>,
    pub own: Vec<IpNetwork>,
}

/// What is accepted from peers.
pub(super) fn policy(bgp: &Bgp, identity: Option<&Identity>) -> Policy {
    Policy {
        import_cidrs: bgp.import_cidrs.clone(),
        max_length: bgp.import_max_length,
        own_cidrs: identity.map(|identity| identity.own.clone()).unwrap_or_default(),
        announced: bgp.announce.clone().unwrap_or_default(),
        local_asn: bgp.asn,
        router_id: identity.map_or(Ipv4Addr::UNSPECIFIED, |identity| identity.router_id),
    }
}
