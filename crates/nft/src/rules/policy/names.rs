//! What sets and chains are called in the kernel, and what types they have.

use super::{Direction, Family, Kind, ProfileId, SetId};
use crate::kernel::expr::Ip;
use crate::kernel::set::{IPV4_ADDR, IPV6_ADDR, PORT, PROTOCOL, Set};

impl Family {
    pub(crate) fn ip(self) -> Ip {
        match self {
            Family::V4 => Ip::V4,
            Family::V6 => Ip::V6,
        }
    }

    fn digit(self) -> char {
        match self {
            Family::V4 => '4',
            Family::V6 => '6',
        }
    }
}

impl SetId {
    pub(crate) fn name(self) -> String {
        let kind = match self.kind {
            Kind::Peers => "peers",
            Kind::PeerPorts => "peer-ports",
            Kind::Ports => "ports",
            Kind::Networks => "networks",
            Kind::NetworkPorts => "network-ports",
        };
        format!("{kind}{}-{:016x}", self.family.digit(), self.id)
    }

    pub(crate) fn set(self, name: &str) -> Set<'_> {
        let address = match self.family {
            Family::V4 => IPV4_ADDR,
            Family::V6 => IPV6_ADDR,
        };
        match self.kind {
            Kind::Peers => Set::new(name, address),
            Kind::PeerPorts => Set::new(name, address.then(PROTOCOL).then(PORT)),
            Kind::Ports => Set::new(name, PROTOCOL.then(PORT)),
            Kind::Networks => Set::new(name, address).intervals(),
            Kind::NetworkPorts => Set::new(name, address.then(PROTOCOL).then(PORT)).intervals(),
        }
    }
}

impl ProfileId {
    /// The name of its first chain, with which those of the others begin.
    pub(crate) fn chain(self) -> String {
        let direction = match self.direction {
            Direction::Ingress => "in",
            Direction::Egress => "out",
        };
        format!("{direction}{}-{:016x}", self.family.digit(), self.id)
    }
}
