//! The tunnel's device.

use ipnetwork::IpNetwork;
use net::Mac;
use std::net::IpAddr;

/// A tunnel, by its kind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Tunnel {
    /// A VXLAN device.
    Vxlan(Vtep),
}

impl Tunnel {
    /// The device's name.
    pub fn name(&self) -> &str {
        let Tunnel::Vxlan(vtep) = self;
        &vtep.name
    }

    /// This node's address, source of the outer header.
    pub fn local(&self) -> IpAddr {
        let Tunnel::Vxlan(vtep) = self;
        vtep.local
    }

    /// The UDP port.
    pub fn port(&self) -> u16 {
        let Tunnel::Vxlan(vtep) = self;
        vtep.port
    }

    /// The name of the link that carries it; `None` where its packets leave as the routes say.
    pub fn underlay(&self) -> Option<&str> {
        let Tunnel::Vxlan(vtep) = self;
        (vtep.underlay.0 > 0).then_some(vtep.underlay.1.as_str())
    }

    /// Its addresses, /32 and /128.
    pub fn addresses(&self) -> &[IpNetwork] {
        let Tunnel::Vxlan(vtep) = self;
        &vtep.addresses
    }
}

/// A VXLAN device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Vtep {
    /// Its name.
    pub name: String,
    /// VXLAN network identifier.
    pub vni: u32,
    /// UDP port.
    pub port: u16,
    /// The node's address, source of the outer header.
    pub local: IpAddr,
    /// Index and name of the link that holds it; index 0 of the loopback device, since the tunnel's
    /// packets then leave as the routes say.
    pub underlay: (u32, String),
    /// MTU in bytes.
    pub mtu: u32,
    /// Its MAC address.
    pub mac: Mac,
    /// Its addresses, /32 and /128.
    pub addresses: Vec<IpNetwork>,
}
