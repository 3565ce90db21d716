//! The sets of host ports, by family.

use std::net::IpAddr;

use super::types::HostPort;
use crate::kernel::set::Set;
use crate::rules::tables::{
    HOSTPORT_ALL4, HOSTPORT_ALL6, HOSTPORT_IPS4, HOSTPORT_IPS6, HOSTPORT_NEAR4, HOSTPORT_NEAR6,
    HOSTPORT_SELF4, HOSTPORT_SELF6, HOSTPORTS4, HOSTPORTS6,
};

/// The sets of a family.
pub(super) struct Sets {
    pub(super) ports: Set<'static>,
    pub(super) ips: Set<'static>,
    pub(super) own: Set<'static>,
    pub(super) near: Set<'static>,
    pub(super) all: Set<'static>,
}

pub(super) const V4: Sets = Sets {
    ports: HOSTPORTS4,
    ips: HOSTPORT_IPS4,
    own: HOSTPORT_SELF4,
    near: HOSTPORT_NEAR4,
    all: HOSTPORT_ALL4,
};
pub(super) const V6: Sets = Sets {
    ports: HOSTPORTS6,
    ips: HOSTPORT_IPS6,
    own: HOSTPORT_SELF6,
    near: HOSTPORT_NEAR6,
    all: HOSTPORT_ALL6,
};

pub(super) fn sets_of(address: IpAddr) -> &'static Sets {
    if address.is_ipv4() { &V4 } else { &V6 }
}

impl Sets {
    pub(super) fn of_port(&self, port: &HostPort) -> Set<'static> {
        if port.is_on_all() { self.ports } else { self.ips }
    }
}
