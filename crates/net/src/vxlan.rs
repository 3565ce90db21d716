//! VXLAN devices (RFC 7348; IFLA_VXLAN_* of include/uapi/linux/if_link.h,
//! drivers/net/vxlan/vxlan_core.c).

mod tunnel;

pub use tunnel::{Ensured, Tunnel, differences, ensure};

use crate::Mac;
use crate::link::parse::{
    IFLA_ADDRESS, IFLA_IFNAME, IFLA_INFO_DATA, IFLA_INFO_KIND, IFLA_LINKINFO, IFLA_MTU,
    IFLA_VXLAN_ID, IFLA_VXLAN_LEARNING, IFLA_VXLAN_LINK, IFLA_VXLAN_LOCAL, IFLA_VXLAN_LOCAL6,
    IFLA_VXLAN_PORT,
};
use crate::link::{NEW, RTM_NEWLINK};
use netlink::Message;
use netlink::Verb;
use std::net::IpAddr;

/// A VXLAN device to be made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Vxlan<'a> {
    /// Its name.
    pub name: &'a str,
    /// Its MAC address.
    pub mac: Mac,
    /// VXLAN network identifier, 24 bits.
    pub vni: u32,
    /// UDP port, in the machine's byte order.
    pub port: u16,
    /// The outer source address; its family is that of all the device's peers.
    pub local: IpAddr,
    /// Index of the link that the outer packets leave by; when it goes, the device goes. 0: the
    /// routes choose.
    pub underlay: u32,
    /// MTU in bytes. The kernel lowers it, without a word, to what fits the underlay, if there is
    /// one.
    pub mtu: u32,
}

/// Makes a VXLAN device, down, that does not learn. EEXIST: its name is taken, or another device
/// in this namespace has its VNI and port.
pub fn add_vxlan(vxlan: &Vxlan<'_>) -> Verb<()> {
    // struct ifinfomsg
    let mut message = Message::new(&[0; 16]);
    message.put(IFLA_IFNAME, &[vxlan.name.as_bytes(), &[0]].concat());
    message.put(IFLA_ADDRESS, &vxlan.mac.0);
    message.put_u32(IFLA_MTU, vxlan.mtu);
    message.nest(IFLA_LINKINFO, |info| {
        info.put(IFLA_INFO_KIND, b"vxlan\0");
        info.nest(IFLA_INFO_DATA, |data| {
            data.put_u32(IFLA_VXLAN_ID, vxlan.vni);
            data.put_u32(IFLA_VXLAN_LINK, vxlan.underlay);
            let local = if vxlan.local.is_ipv4() { IFLA_VXLAN_LOCAL } else { IFLA_VXLAN_LOCAL6 };
            data.put_ip(local, vxlan.local);
            data.put(IFLA_VXLAN_LEARNING, &[0]);
            data.put(IFLA_VXLAN_PORT, &vxlan.port.to_be_bytes());
        });
    });
    let what =
        format!("create VXLAN device {} (VNI {}, port {})", vxlan.name, vxlan.vni, vxlan.port);
    Verb::change(RTM_NEWLINK, &message, NEW, what)
}
