//! What the kernel reports of links.
//!
//! netlink-packet-route would parse every attribute of every kind of link: 200 KB of code in each
//! executable, of which a dozen attributes are looked at here. It is not used for that.

use crate::Mac;
use netlink::{attributes, find, ip_of, u32_of};
use std::net::IpAddr;

pub(crate) const RTM_NEWLINK: u16 = 16;

/// A link as the kernel reports it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Link {
    /// Its index in its network namespace.
    pub index: u32,
    /// Its name.
    pub name: String,
    /// Its kind (`bridge`, `veth`, …); empty for hardware and loopback.
    pub kind: String,
    /// Its MAC address, for links that have one of six bytes.
    pub mac: Mac,
    /// Its MTU in bytes.
    pub mtu: u32,
    /// Index of the bridge (or other master) that it is a port of; 0 for none.
    pub master: u32,
    /// Administratively up.
    pub up: bool,
    /// Promiscuous by administrative choice.
    pub promiscuous: bool,
    /// It takes the frames of every multicast group, by administrative choice.
    pub all_multicast: bool,
    /// Packets that its transmit queue may hold.
    pub tx_queue_length: u32,
    /// Its operational state is up: it carries packets.
    pub running: bool,
    /// Neighbours are not found on it by their addresses: it has no broadcast, asks no ARP, or has
    /// one other end alone, as tun and WireGuard devices.
    pub point_to_point: bool,
    /// It has a carrier (IFF_LOWER_UP): a cable, or the device below does.
    pub carrier: bool,
    /// Its alias.
    pub alias: String,
    /// For a veth the index of its other end, in that one's namespace; for a VLAN its device.
    pub peer: u32,
    /// Where `peer` is in another network namespace, the ID that it goes by in this one.
    pub peer_netns: Option<i32>,
    /// For a bridge, whether it filters by VLAN; `None` where the kernel does not say.
    pub vlan_filtering: Option<bool>,
    /// For a bridge, whether frames to the group addresses of IEEE 802.1D teach it no source
    /// address; `None` where the kernel does not say (before Linux 5.0).
    pub no_linklocal_learn: Option<bool>,
    /// For a bridge, whether its own switches let br_netfilter hand its IPv4 and IPv6 frames to the
    /// hooks of IP (`nf_call_iptables`, `nf_call_ip6tables`).
    pub calls_hooks: [bool; 2],
    /// For a bridge, how long its spanning tree keeps a new port in each of the states listening and
    /// learning, in hundredths of a second.
    pub forward_delay: u32,
    /// For a port of a bridge: its spanning tree lets it forward frames. Without STP it always does
    /// when it carries packets.
    pub forwards: bool,
    /// For a VLAN device its ID.
    pub vlan_id: Option<u16>,
    /// For a port of a bridge: a frame may leave through the port that it came in by.
    pub hairpin: bool,
    /// For a port of a bridge: it talks to ports that are not isolated only.
    pub isolated: bool,
    /// For a VRF device its routing table.
    pub vrf_table: Option<u32>,
    /// For a VXLAN device what it was made with.
    pub vxlan: Option<Box<VxlanInfo>>,
}

/// What a VXLAN device was made with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct VxlanInfo {
    /// VXLAN network identifier.
    pub vni: u32,
    /// UDP port.
    pub port: u16,
    /// The outer source address; `None` when the routes choose it.
    pub local: Option<IpAddr>,
    /// Index of the link that the outer packets leave by; 0 when the routes choose it.
    pub device: u32,
    /// It learns FDB entries from the frames that come in.
    pub learning: bool,
}

/// One VLAN of a bridge port.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Vlan {
    /// Its ID, 1 to 4094.
    pub id: u16,
    /// Frames without a tag are of it.
    pub pvid: bool,
    /// Its frames leave without a tag.
    pub untagged: bool,
}

/// Bytes of struct ifinfomsg.
const HEADER: usize = 16;

// include/uapi/linux/if.h
const IFF_UP: u32 = 1;
const IFF_BROADCAST: u32 = 1 << 1;
const IFF_POINTOPOINT: u32 = 1 << 4;
const IFF_NOARP: u32 = 1 << 7;
const IFF_PROMISC: u32 = 1 << 8;
const IFF_ALLMULTI: u32 = 1 << 9;
const IFF_LOWER_UP: u32 = 1 << 16;
const IF_OPER_UP: u8 = 6;
// include/uapi/linux/if_link.h
pub(crate) const IFLA_ADDRESS: u16 = 1;
pub(crate) const IFLA_IFNAME: u16 = 3;
pub(crate) const IFLA_MTU: u16 = 4;
const IFLA_LINK: u16 = 5;
const IFLA_MASTER: u16 = 10;
const IFLA_TXQLEN: u16 = 13;
const IFLA_OPERSTATE: u16 = 16;
pub(crate) const IFLA_LINKINFO: u16 = 18;
const IFLA_IFALIAS: u16 = 20;
const IFLA_AF_SPEC: u16 = 26;
const IFLA_LINK_NETNSID: u16 = 37;
pub(crate) const IFLA_INFO_KIND: u16 = 1;
pub(crate) const IFLA_INFO_DATA: u16 = 2;
const IFLA_INFO_SLAVE_DATA: u16 = 5;
const IFLA_BR_FORWARD_DELAY: u16 = 1;
const IFLA_BR_VLAN_FILTERING: u16 = 7;
const IFLA_BR_NF_CALL_IPTABLES: u16 = 36;
const IFLA_BR_NF_CALL_IP6TABLES: u16 = 37;
const IFLA_BR_MULTI_BOOLOPT: u16 = 46;
const IFLA_VLAN_ID: u16 = 1;
const IFLA_VRF_TABLE: u16 = 1;
pub(crate) const IFLA_VXLAN_ID: u16 = 1;
pub(crate) const IFLA_VXLAN_LINK: u16 = 3;
pub(crate) const IFLA_VXLAN_LOCAL: u16 = 4;
pub(crate) const IFLA_VXLAN_LEARNING: u16 = 7;
pub(crate) const IFLA_VXLAN_PORT: u16 = 15;
pub(crate) const IFLA_VXLAN_LOCAL6: u16 = 17;
const IFLA_BRPORT_STATE: u16 = 1;
const IFLA_BRPORT_MODE: u16 = 4;
const IFLA_BRPORT_ISOLATED: u16 = 33;
// include/uapi/linux/if_bridge.h
const IFLA_BRIDGE_VLAN_INFO: u16 = 2;
const BR_STATE_FORWARDING: u8 = 3;
const BR_BOOLOPT_NO_LL_LEARN: u32 = 1 << 0;
const BRIDGE_VLAN_INFO_PVID: u16 = 1 << 1;
const BRIDGE_VLAN_INFO_UNTAGGED: u16 = 1 << 2;

/// A link, of the body of RTM_NEWLINK.
pub(crate) fn link(kind: u16, body: &[u8]) -> Option<Link> {
    let (index, flags, rest) = message(kind, body)?;
    let mut link = Link {
        index,
        up: flags & IFF_UP != 0,
        point_to_point: flags & (IFF_BROADCAST | IFF_POINTOPOINT | IFF_NOARP) != IFF_BROADCAST,
        promiscuous: flags & IFF_PROMISC != 0,
        all_multicast: flags & IFF_ALLMULTI != 0,
        carrier: flags & IFF_LOWER_UP != 0,
        ..Link::default()
    };
    for (kind, value) in attributes(rest) {
        match kind {
            IFLA_IFNAME => link.name = text(value),
            IFLA_ADDRESS => link.mac = value.try_into().map(Mac).unwrap_or_default(),
            IFLA_MTU => link.mtu = u32_of(value)?,
            IFLA_TXQLEN => link.tx_queue_length = u32_of(value)?,
            IFLA_MASTER => link.master = u32_of(value)?,
            IFLA_IFALIAS => link.alias = text(value),
            IFLA_OPERSTATE => link.running = value.first() == Some(&IF_OPER_UP),
            IFLA_LINK => link.peer = u32_of(value)?,
            IFLA_LINK_NETNSID => link.peer_netns = Some(i32::from_ne_bytes(value.try_into().ok()?)),
            IFLA_LINKINFO => info(&mut link, value),
            _ => {}
        }
    }
    Some(link)
}

/// The VLANs of a bridge port, with the port's index, of the body of RTM_NEWLINK.
pub(crate) fn vlans(kind: u16, body: &[u8]) -> Option<(u32, Vec<Vlan>)> {
    let (index, _, rest) = message(kind, body)?;
    let vlan = |value: &[u8]| {
        let [f0, f1, v0, v1] = *value else { return None };
        let flags = u16::from_ne_bytes([f0, f1]);
        Some(Vlan {
            id: u16::from_ne_bytes([v0, v1]),
            pvid: flags & BRIDGE_VLAN_INFO_PVID != 0,
            untagged: flags & BRIDGE_VLAN_INFO_UNTAGGED != 0,
        })
    };
    let specs = find(rest, IFLA_AF_SPEC).unwrap_or_default();
    let infos = attributes(specs).filter(|(kind, _)| *kind == IFLA_BRIDGE_VLAN_INFO);
    Some((index, infos.filter_map(|(_, value)| vlan(value)).collect()))
}

fn info(link: &mut Link, infos: &[u8]) {
    // The kind comes first, and what the data mean depends on it.
    for (kind, value) in attributes(infos) {
        let on = |kind| find(value, kind).map(|value| value.first().is_some_and(|on| *on != 0));
        match kind {
            IFLA_INFO_KIND => link.kind = text(value),
            IFLA_INFO_DATA if link.kind == "bridge" => {
                let delay = find(value, IFLA_BR_FORWARD_DELAY).and_then(u32_of);
                link.forward_delay = delay.unwrap_or_default();
                link.vlan_filtering = on(IFLA_BR_VLAN_FILTERING);
                let calls = [IFLA_BR_NF_CALL_IPTABLES, IFLA_BR_NF_CALL_IP6TABLES];
                link.calls_hooks = calls.map(|kind| on(kind) == Some(true));
                // struct br_boolopt_multi: the values, and which of them the kernel knows.
                let options = find(value, IFLA_BR_MULTI_BOOLOPT).and_then(|value| value.get(..4));
                let no_learn = |options| u32_of(options).map(|on| on & BR_BOOLOPT_NO_LL_LEARN != 0);
                link.no_linklocal_learn = options.and_then(no_learn);
            }
            IFLA_INFO_DATA if link.kind == "vlan" => {
                let id = find(value, IFLA_VLAN_ID).and_then(|value| value.try_into().ok());
                link.vlan_id = id.map(u16::from_ne_bytes);
            }
            IFLA_INFO_DATA if link.kind == "vrf" => {
                link.vrf_table = find(value, IFLA_VRF_TABLE).and_then(u32_of);
            }
            IFLA_INFO_DATA if link.kind == "vxlan" => link.vxlan = Some(Box::new(vxlan(value))),
            // A port's master is a bridge where this is used.
            IFLA_INFO_SLAVE_DATA => {
                let state = find(value, IFLA_BRPORT_STATE).and_then(|state| state.first());
                link.forwards = state == Some(&BR_STATE_FORWARDING);
                link.hairpin = on(IFLA_BRPORT_MODE) == Some(true);
                link.isolated = on(IFLA_BRPORT_ISOLATED) == Some(true);
            }
            _ => {}
        }
    }
}

fn vxlan(data: &[u8]) -> VxlanInfo {
    let mut vxlan = VxlanInfo::default();
    for (kind, value) in attributes(data) {
        match kind {
            IFLA_VXLAN_ID => vxlan.vni = u32_of(value).unwrap_or(0),
            IFLA_VXLAN_LINK => vxlan.device = u32_of(value).unwrap_or(0),
            IFLA_VXLAN_LOCAL | IFLA_VXLAN_LOCAL6 => vxlan.local = ip_of(value),
            IFLA_VXLAN_LEARNING => vxlan.learning = value.first().is_some_and(|on| *on != 0),
            // Of all these numbers it alone is big-endian.
            IFLA_VXLAN_PORT => vxlan.port = value.try_into().map(u16::from_be_bytes).unwrap_or(0),
            _ => {}
        }
    }
    vxlan
}

/// Index, flags and attributes.
fn message(kind: u16, body: &[u8]) -> Option<(u32, u32, &[u8])> {
    if kind != RTM_NEWLINK {
        return None;
    }
    Some((u32_of(body.get(4..8)?)?, u32_of(body.get(8..12)?)?, body.get(HEADER..)?))
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).trim_end_matches('\0').to_owned()
}
