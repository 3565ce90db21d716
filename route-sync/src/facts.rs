//! What of this node's links the routes depend on.

pub mod read;

use ipnetwork::IpNetwork;
use net::Mac;
use node::vtep;
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

/// The links with addresses of this node. If `lo` or a dummy has one, also links without addresses
/// that may lead to other nodes, such as network cards; but never pods' links or our own tunnels.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Facts {
    /// By index.
    pub links: BTreeMap<u32, Link>,
    /// Next hops of routes that others made: those of [`GATEWAY_PROTOCOLS`].
    pub gateways: BTreeSet<IpAddr>,
    /// Addresses among them that the kernel removes on its own: temporary ones of IPv6 (RFC 8981),
    /// and those that are deprecated.
    pub passing: BTreeSet<IpAddr>,
}

/// Who makes routes by which a node reaches the rest of the world: an administrator (`boot` and
/// `static`), router advertisements, DHCP. What routing daemons learn is not read: it may be the
/// whole of the Internet's, and has its next hops on connected networks.
pub const GATEWAY_PROTOCOLS: [u8; 4] = [3, 4, 9, 16];

/// A link.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Link {
    /// Its name.
    pub name: String,
    /// It is the loopback device or a dummy: a place for addresses alone, as in fabrics that route.
    pub leads_nowhere: bool,
    /// Neighbours are not found on it by their addresses ([`net::Link::point_to_point`]).
    pub point_to_point: bool,
    /// Its MTU in bytes.
    pub mtu: u32,
    /// Administratively up.
    pub up: bool,
    /// It has a carrier.
    pub carrier: bool,
    /// Its addresses, sorted, but for link-local ones.
    pub addresses: Vec<IpNetwork>,
}

/// Whether a link is a tunnel of ours, even if the process that made it died before it set the mark.
pub fn is_tunnel(link: &net::Link) -> bool {
    let local = link.vxlan.as_ref().and_then(|vxlan| vxlan.local);
    let made = local.is_some_and(|local| link.mac == Mac(vtep::mac(local)));
    link.kind == "vxlan" && (link.alias == vtep::ALIAS || (link.alias.is_empty() && made))
}

impl Link {
    /// Whether it holds an address.
    pub fn holds(&self, address: IpAddr) -> bool {
        self.addresses.iter().any(|held| held.ip() == address)
    }
}

impl Facts {
    /// The address of a family that others on a link should know this node by: the first of `own`,
    /// the node set's, that the link holds; else the lowest that stays, one of a network before a
    /// floating /32 or /128.
    pub fn known_as(&self, link: &Link, own: &[IpAddr], v4: bool) -> Option<IpAddr> {
        let held = own.iter().copied().find(|own| own.is_ipv4() == v4 && link.holds(*own));
        let of_family = link.addresses.iter().filter(|held| held.is_ipv4() == v4);
        let single = |held: &IpNetwork| held.prefix() == if v4 { 32 } else { 128 };
        let least = || {
            of_family
                .min_by_key(|held| (self.passing.contains(&held.ip()), single(held), held.ip()))
        };
        held.or_else(|| least().map(IpNetwork::ip))
    }

    /// The first of `own`, the node set's addresses, that is of one network with an address on a
    /// link, and held by that link.
    pub fn source(&self, toward: IpAddr, own: &[IpAddr]) -> Option<IpAddr> {
        let link = self.links.get(&self.on_link(toward)?)?;
        let shared = |address: &IpAddr| {
            let both = |held: &IpNetwork| held.contains(toward) && held.contains(*address);
            link.holds(*address) && link.addresses.iter().any(both)
        };
        own.iter().copied().find(shared)
    }

    /// The link that holds an address.
    pub fn holder(&self, address: IpAddr) -> Option<(u32, &Link)> {
        self.links.iter().find(|(_, link)| link.holds(address)).map(|(index, link)| (*index, link))
    }

    /// The MTU of routed packets, in bytes; `link` holds the node's address. It is the link's own, or
    /// if that is `lo` or a dummy, the smallest of the links that may lead to other nodes. The
    /// bridge of this node's pods, whose CIDRs are `own`, is not one: its MTU is derived from this.
    pub fn mtu(&self, link: &Link, own: &[IpNetwork]) -> u32 {
        // The loopback device's is 65536.
        if !link.leads_nowhere {
            return link.mtu;
        }
        let of_pods = |link: &&Link| {
            let inside = |held: &IpNetwork| own.iter().any(|cidr| cidr.contains(held.ip()));
            link.addresses.iter().any(inside)
        };
        let others = self.links.values().filter(|other| !other.leads_nowhere && other.up);
        let others = others.filter(|other| !of_pods(other)).map(|other| other.mtu);
        others.min().unwrap_or(vtep::ETHERNET)
    }

    /// The lowest address inside a CIDR that a link here holds.
    pub fn held_in(&self, cidr: IpNetwork) -> Option<IpAddr> {
        let held = self.links.values().flat_map(|link| &link.addresses).map(IpNetwork::ip);
        held.filter(|address| cidr.contains(*address)).min()
    }

    /// Why an address cannot be another node's, as seen from here, and what to do.
    pub fn fault(&self, address: IpAddr) -> Option<String> {
        if let Some((_, link)) = self.holder(address) {
            return Some(format!(
                "{address} is an address of this node too, on {}; one of the two is wrong",
                link.name
            ));
        }
        // A gateway of this kind the kernel refuses, with EINVAL.
        let is_broadcast = |held: &IpNetwork| match held {
            IpNetwork::V4(four) => four.prefix() < 31 && address == four.broadcast(),
            IpNetwork::V6(_) => false,
        };
        self.links.values().find_map(|link| {
            let held = link.addresses.iter().find(|held| is_broadcast(held))?;
            Some(format!(
                "{address} is the broadcast address of {held} on {}; give the node the address \
                 that it has",
                link.name
            ))
        })
    }

    /// The link that an address of another node is on: that of the longest prefix.
    pub fn on_link(&self, address: IpAddr) -> Option<u32> {
        self.on_one_of(address, |link| link.up)
    }

    /// As [`Facts::on_link`], where whatever is sent to a neighbour's MAC address gets there: what
    /// carries packets by the other end's choice (WireGuard's allowed IPs, a tunnel's far end) knows
    /// nothing of pods.
    fn on_shared_link(&self, address: IpAddr) -> Option<u32> {
        let shared = |index: &u32| self.links.get(index).is_some_and(|link| !link.point_to_point);
        self.on_link(address).filter(shared)
    }

    /// As [`Facts::on_shared_link`], where the other node finds one of `own`, this node's addresses in
    /// the node set, on that link too: else its packets come through the tunnel, and with different
    /// paths there and back a strict reverse-path filter drops packets.
    pub fn shared_both_ways(&self, address: IpAddr, own: &[IpAddr]) -> Option<u32> {
        self.on_shared_link(address).filter(|_| self.source(address, own).is_some())
    }

    /// As [`Facts::on_link`], of the links with a carrier: one that is cut carries nothing, although
    /// its routes are still there.
    pub fn on_live_link(&self, address: IpAddr) -> Option<u32> {
        self.on_one_of(address, |link| link.up && link.carrier)
    }

    fn on_one_of(&self, address: IpAddr, fit: impl Fn(&Link) -> bool) -> Option<u32> {
        let prefix = |link: &Link| {
            let covering = link.addresses.iter().filter(|held| held.contains(address));
            covering.map(IpNetwork::prefix).max()
        };
        let fitting = self.links.iter().filter(|(_, link)| fit(link));
        let covering =
            fitting.filter_map(|(index, link)| prefix(link).map(|prefix| (prefix, *index)));
        // Of two alike the first made: the order of the kernel's own routes.
        covering.max_by_key(|(prefix, index)| (*prefix, u32::MAX - index)).map(|(_, index)| index)
    }
}
