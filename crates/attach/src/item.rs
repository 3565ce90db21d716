//! The nouns of a plan.

use crate::owned::{Owned, Rule};
pub use crate::place::Place;
use crate::setting::Change;
use crate::sourced::SourceRouting;
use crate::subnet_route::SubnetRoute;
use ipnetwork::IpNetwork;
use net::link::Vlan;
use net::{Family, Mac};
use std::borrow::Cow;
use std::fmt;
use std::net::IpAddr;

/// One thing that must exist.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Item {
    /// A bridge on the host; shared.
    Bridge(Bridge),
    /// A VLAN device over a bridge on the host, up: name, bridge, VLAN ID; shared.
    VlanDevice(String, String, u16),
    /// The hooks of IP see the frames between the ports of a bridge: its name; shared.
    Hooks(String),
    /// The attachment's veth pair; owned, and with it goes all that is in the pod.
    Veth(Veth),
    /// The flags of the host end as a bridge port.
    Port(Port),
    /// The VLANs of the host end as a bridge port.
    Vlans(Vlans),
    /// A sysctl.
    Sysctl(Sysctl),
    /// A link that is administratively up: where, and its name.
    Up(Place, String),
    /// The pod's interface, up with a MAC address that was not known as it was made.
    UpAs(String, Mac),
    /// An address in the pod: link, address, whether IPv6 waits for duplicate address detection.
    Address(String, IpNetwork, bool),
    /// A route in the pod.
    Route(Route),
    /// A gateway's address on the host; shared.
    Gateway(Gateway),
    /// The host forwards packets of a family; shared.
    Forwarding(Family),
    /// What exists in nf_tables alone; owned.
    Rule(Rule),
    /// The address of the pod's gateway on the host end of its veth pair: link, address. It, the
    /// route and the neighbour go with the veth pair.
    PodGateway(String, IpNetwork),
    /// The host's route to a pod's address.
    HostRoute(HostRoute),
    /// The host's route to a subnet of pods whose gateway lies outside of it; shared, but of a
    /// single address owned.
    SubnetRoute(SubnetRoute),
    /// A neighbour at the other end of a veth pair.
    Neighbour(Neighbour),
    /// A value of the pod that is restored at the end; owned.
    Setting(Change),
    /// An IFB device on the host, down; owned.
    Ifb(Ifb),
    /// A limit of what a link of the host sends; owned, but of an IFB device it goes with it.
    RateLimit(RateLimit),
    /// All that a link of the host receives passes an IFB device first; owned.
    Redirect(Redirect),
    /// Routing of the pod's interface by source; owned.
    SourceRouting(SourceRouting),
    /// The pod's interface is a port of a VRF device; owned.
    VrfPort(VrfPort),
}

impl Item {
    /// What the attachment owns of it: what ends with the attachment, and is removed by name. `None`
    /// where it is shared, or goes with the veth pair.
    pub fn owned(&self) -> Option<Owned> {
        match self {
            Item::Veth(veth) => Some(Owned::Veth { host: veth.host.clone() }),
            Item::Rule(rule) => Some(rule.owned()),
            Item::Setting(change) => change.owned(),
            Item::SubnetRoute(route) if route.is_of_one_pod() => {
                Some(Owned::PodRoute { link: route.link.clone(), address: route.pod.ip() })
            }
            Item::Ifb(ifb) => Some(Owned::Ifb { name: ifb.name.clone() }),
            Item::RateLimit(limit) if limit.owned => {
                Some(Owned::RateLimit { link: limit.link.clone() })
            }
            Item::Redirect(redirect) => {
                Some(Owned::Redirect { from: redirect.from.clone(), to: redirect.to.clone() })
            }
            Item::SourceRouting(routing) => Some(Owned::SourceRouting { routing: routing.clone() }),
            Item::VrfPort(port) => {
                Some(Owned::VrfPort { link: port.link.clone(), vrf: port.vrf.clone() })
            }
            Item::RateLimit(_)
            | Item::Bridge(_)
            | Item::VlanDevice(..)
            | Item::Hooks(_)
            | Item::Port(_)
            | Item::Vlans(_)
            | Item::Sysctl(_)
            | Item::Up(..)
            | Item::UpAs(..)
            | Item::Address(..)
            | Item::Route(_)
            | Item::Gateway(_)
            | Item::Forwarding(_)
            | Item::PodGateway(..)
            | Item::HostRoute(_)
            | Item::SubnetRoute(_)
            | Item::Neighbour(_) => None,
        }
    }
}

/// A bridge.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bridge {
    /// Its name.
    pub name: String,
    /// Its MTU in bytes, for a bridge that is made.
    pub mtu: Option<u32>,
    /// Whether it is promiscuous.
    pub promiscuous: bool,
    /// Whether it filters by VLAN.
    pub vlan_filtering: bool,
    /// Whether frames to the group addresses of IEEE 802.1D may teach it no source address: they
    /// do not pass the MAC check.
    pub no_linklocal_learn: bool,
}

/// A veth pair from the host into the pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Veth {
    /// The host end's name.
    pub host: String,
    /// The host end's MAC address; `None` in a CHECK that cannot know it.
    pub host_mac: Option<Mac>,
    /// The host end's alias; empty in a CHECK of an attachment that another suite made.
    pub alias: String,
    /// The bridge that the host end is a port of; none where the host routes.
    pub bridge: Option<String>,
    /// The pod end's name.
    pub pod: String,
    /// The pod end's MAC address; `None` in a CHECK that cannot know it.
    pub pod_mac: Option<Mac>,
    /// MTU of both ends in bytes; `None` leaves the kernel's.
    pub mtu: Option<u32>,
    /// In a CHECK, the MTU of the pod's end where it may be another than `mtu`: a plugin that is
    /// chained behind may set it.
    pub pod_mtu: Option<u32>,
}

/// Flags of a bridge port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Port {
    /// The port's link.
    pub link: String,
    /// A frame may leave through the port that it came in by.
    pub hairpin: bool,
    /// The port talks only to ports that are not isolated.
    pub isolated: bool,
}

/// VLANs of a bridge port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Vlans {
    /// The port's link.
    pub link: String,
    /// The VLANs it is in.
    pub vlans: Vec<Vlan>,
    /// Whether it stays in VLAN 1, which the kernel puts every port in.
    pub keep_default: bool,
}

/// A value below /proc/sys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sysctl {
    /// Whose network namespace.
    pub place: Place,
    /// The key with slashes: `net/ipv4/conf/eth0/arp_notify`.
    pub key: String,
    /// The value.
    pub value: Cow<'static, str>,
    /// Whether a kernel or device without it is as good (IPv6 switched off).
    pub optional: bool,
}

/// A route in the pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    /// The link's name.
    pub link: String,
    /// The route; its link's index is filled in when it is applied.
    pub route: net::route::Route,
}

/// The host's route to one address of a pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostRoute {
    /// The host end of the pod's veth pair.
    pub link: String,
    /// The pod's address.
    pub address: IpAddr,
    /// The source of what the node itself sends there, if it has no other: with IPv4 alone that may
    /// be.
    pub last_source: Option<IpAddr>,
    /// Who made it, as rtnetlink numbers it.
    pub protocol: u8,
}

/// A neighbour at the other end of a veth pair.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Neighbour {
    /// On whose side it is known.
    pub place: Place,
    /// The link's name there.
    pub link: String,
    /// The neighbour's address.
    pub address: IpAddr,
    /// Its MAC address.
    pub mac: Mac,
    /// It keeps this MAC address for good; otherwise it is resolved as any other.
    pub permanent: bool,
}

/// A port of a VRF device of the pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VrfPort {
    /// The interface's name.
    pub link: String,
    /// The VRF device's name; it is made where it is missing, and goes with its last port.
    pub vrf: String,
    /// Its routing table; `None` takes any, and of a new device the first that no other has.
    pub table: Option<u32>,
}

/// An IFB device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ifb {
    /// Its name.
    pub name: String,
    /// Its MAC address; `None` in a CHECK that cannot know it.
    pub mac: Option<Mac>,
    /// Its alias; empty in a CHECK of one that another suite made.
    pub alias: String,
    /// Its MTU in bytes.
    pub mtu: u32,
}

/// A limit of what a link of the host sends: a token bucket filter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RateLimit {
    /// The link's name.
    pub link: String,
    /// Bytes in a second.
    pub rate: u64,
    /// Bytes that may pass at once.
    pub burst: u32,
    /// Whether it is removed by itself; otherwise it goes with the link.
    pub owned: bool,
}

/// What a link of the host receives passes another one first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Redirect {
    /// The link's name.
    pub from: String,
    /// The IFB device's name.
    pub to: String,
}

/// A gateway's address on the host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gateway {
    /// The link's name: the bridge, or a VLAN device over it.
    pub link: String,
    /// Address and prefix length.
    pub address: IpNetwork,
    /// Whether a conflicting address is replaced.
    pub force: bool,
    /// What a new address is marked with (IFA_PROTO); 0 for nothing. CHECK does not ask: one that
    /// was there before has no mark, or another's.
    pub protocol: u8,
}

impl Item {
    /// The network namespace that the item is made in. (A veth pair is made from the host.)
    pub fn place(&self) -> Place {
        match self {
            Item::Sysctl(sysctl) => sysctl.place,
            Item::Up(place, _) => *place,
            Item::UpAs(..) => Place::Pod,
            Item::Neighbour(neighbour) => neighbour.place,
            Item::Address(..)
            | Item::Route(_)
            | Item::Setting(_)
            | Item::SourceRouting(_)
            | Item::VrfPort(_) => Place::Pod,
            _ => Place::Host,
        }
    }
}

impl fmt::Display for Item {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Item::Bridge(bridge) => write!(f, "bridge {}", bridge.name),
            Item::VlanDevice(name, ..) => write!(f, "VLAN device {name}"),
            Item::Hooks(bridge) => write!(f, "netfilter hooks of bridge {bridge}"),
            Item::Veth(veth) => write!(f, "veth pair {} and {}", veth.host, veth.pod),
            Item::Port(port) => write!(f, "bridge port {}", port.link),
            Item::Vlans(vlans) => write!(f, "VLANs of {}", vlans.link),
            Item::Sysctl(sysctl) => write!(f, "sysctl {}", sysctl.key),
            Item::Up(_, link) | Item::UpAs(link, _) => write!(f, "link {link}"),
            Item::Address(link, address, _) => write!(f, "address {address} of {link}"),
            Item::Route(route) => write!(f, "route {} of {}", route.route, route.link),
            Item::Gateway(gateway) => {
                write!(f, "gateway address {} of {}", gateway.address, gateway.link)
            }
            Item::Forwarding(Family::V4) => write!(f, "IPv4 forwarding"),
            Item::Forwarding(Family::V6) => write!(f, "IPv6 forwarding"),
            Item::Rule(rule) => write!(f, "{rule}"),
            Item::PodGateway(link, address) => write!(f, "gateway address {address} of {link}"),
            Item::HostRoute(route) => write!(f, "route {} of {}", route.address, route.link),
            Item::SubnetRoute(route) => {
                write!(f, "route to {} of {}", route.subnet(), route.link)
            }
            Item::Neighbour(n) => write!(f, "neighbour {} of {}", n.address, n.link),
            Item::Setting(change) => write!(f, "{}", change.to),
            Item::SourceRouting(routing) => write!(f, "routing by source of {}", routing.link),
            Item::VrfPort(port) => write!(f, "VRF {} of {}", port.vrf, port.link),
            Item::Ifb(ifb) => write!(f, "IFB device {}", ifb.name),
            Item::RateLimit(limit) => write!(f, "rate limit of {}", limit.link),
            Item::Redirect(redirect) => {
                write!(f, "redirection of {} to {}", redirect.from, redirect.to)
            }
        }
    }
}
