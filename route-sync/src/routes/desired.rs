//! What must exist: routes, and what the tunnel needs.

use super::learned::Hops;
use super::reserved::Refusal;
use crate::config::Mode;
use crate::convergence::ThisNode;
use crate::facts::Facts;
use crate::report::Path;
use crate::source::nodes::Node;
use crate::tunnel::device::Tunnel;
use ipnetwork::IpNetwork;
use net::Mac;
use node::vtep;
use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::IpAddr;

/// All that must exist.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Desired {
    /// This node's pod CIDRs.
    pub own: Vec<IpNetwork>,
    /// This node's addresses in the node set.
    pub(crate) addresses: Vec<IpAddr>,
    /// The tunnel's device.
    pub tunnel: Option<Tunnel>,
    /// Routes, by destination; a blackhole is the only one of its destination.
    pub routes: BTreeMap<IpNetwork, RouteTo>,
    /// Neighbours on the tunnel's device.
    pub neighbours: BTreeMap<IpAddr, Mac>,
    /// FDB entries of the tunnel's device.
    pub fdb: BTreeMap<Mac, IpAddr>,
    /// MTU of pods in bytes; 0 when the underlay is not known.
    pub mtu: u32,
    /// All tunnels end at IPv6 addresses, as configured; else at those of IPv4 where there are any.
    pub(crate) over_ipv6: bool,
    /// How packets get to each CIDR of the node set.
    pub paths: Vec<PathTo>,
    /// Where in `paths` a CIDR is. Of nodes that list the same one the first has it.
    pub(crate) places: HashMap<IpNetwork, usize>,
    /// What the node set says about CIDRs that are routed as learned by BGP.
    pub(crate) covered: BTreeMap<IpNetwork, (Option<RouteTo>, PathTo)>,
    /// Source address of what this node itself sends by routes learned by BGP.
    pub source: SourceAddress,
    /// Problems: what each is about, and the text.
    pub problems: BTreeSet<(String, String)>,
    /// What is known of this node. Unless it is all, what exists in the kernel remains.
    pub node: ThisNode,
}

/// Where a route leads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RouteTo {
    /// Nowhere: this node's own CIDR, but for the pods that are there.
    Blackhole,
    /// To a node on a link.
    Direct {
        /// The node's address.
        gateway: IpAddr,
        /// Index of the link.
        link: u32,
        /// As that of [`RouteTo::Tunnel`], where this node holds such an address.
        source: Option<IpAddr>,
    },
    /// To a node's tunnel end point.
    Tunnel {
        /// Its address in the tunnel.
        gateway: IpAddr,
        /// SourceAddress of what this node itself sends: inside its own pod CIDR, so that a strict
        /// reverse-path filter at the other end lets it pass.
        source: Option<IpAddr>,
    },
    /// Where BGP says.
    Learned {
        /// The hops, which share the traffic.
        hops: Hops,
        /// As that of [`RouteTo::Direct`], else the node's address: those of its links may be unknown
        /// elsewhere.
        source: Option<IpAddr>,
    },
}

/// How packets get to a CIDR.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PathTo {
    /// The node whose it is.
    pub node: String,
    /// The CIDR.
    pub cidr: IpNetwork,
    /// How.
    pub path: Path,
    /// The other node's address.
    pub via: Option<IpAddr>,
    /// Why not at all, and what to do.
    pub refused: Option<String>,
    /// It is refused for what this node holds at the moment.
    pub conflict: bool,
}

/// The source of what this node itself sends to pods of others, for each family: inside its own
/// pod CIDR, so that answers take the path of the pods' packets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SourceAddress([Option<IpAddr>; 2]);

impl SourceAddress {
    /// The tunnel's device has such addresses; without one, a bridge of pods may.
    pub(crate) fn of(own: &Node, tunnel: bool, facts: &Facts) -> SourceAddress {
        let of_tunnel = vtep::addresses(&own.pod_cidrs);
        SourceAddress([true, false].map(|v4| {
            if tunnel {
                return of_tunnel.iter().map(IpNetwork::ip).find(|a| a.is_ipv4() == v4);
            }
            let cidrs = own.pod_cidrs.iter().filter(|cidr| cidr.is_ipv4() == v4);
            cidrs.filter_map(|cidr| facts.held_in(*cidr)).min()
        }))
    }

    /// Where there is none, the node's own address.
    pub(crate) fn or(self, own: &Node, facts: &Facts) -> SourceAddress {
        let SourceAddress([four, six]) = self;
        let held = |v4: bool| {
            let mut same = own.addresses.iter().filter(|address| address.is_ipv4() == v4);
            same.find(|address| facts.holder(**address).is_some()).copied()
        };
        SourceAddress([four.or(held(true)), six.or(held(false))])
    }

    fn learned(self, cidr: IpNetwork, hops: &Hops) -> RouteTo {
        RouteTo::Learned { hops: Hops::clone(hops), source: self.to(cidr) }
    }

    pub(crate) fn to(self, cidr: IpNetwork) -> Option<IpAddr> {
        let SourceAddress([four, six]) = self;
        if cidr.is_ipv4() { four } else { six }
    }
}

fn gateway(hops: &Hops) -> Option<IpAddr> {
    hops.iter().find_map(|hop| hop.gateway)
}

/// The path to a CIDR that no node of the set has.
fn by_bgp_alone(cidr: IpNetwork, route: &RouteTo) -> Option<PathTo> {
    let RouteTo::Learned { hops, .. } = route else { return None };
    let (node, via) = (String::new(), gateway(hops));
    Some(PathTo { node, cidr, path: Path::Bgp, via, refused: None, conflict: false })
}

impl Desired {
    pub(crate) fn path(&mut self, node: &Node, cidr: IpNetwork, path: Path, via: Option<IpAddr>) {
        let node = node.name.clone();
        self.paths.push(PathTo { node, cidr, path, via, refused: None, conflict: false });
    }

    pub(crate) fn refuse(&mut self, node: &str, cidr: IpNetwork, reason: String) {
        self.conflict(node, cidr, Refusal { reason, conflict: false });
    }

    pub(crate) fn conflict(&mut self, node: &str, cidr: IpNetwork, refusal: Refusal) {
        let Refusal { reason, conflict } = refusal;
        let (node, refused) = (node.to_owned(), Some(reason));
        self.paths.push(PathTo { node, cidr, path: Path::None, via: None, refused, conflict });
    }

    /// Whether a CIDR is refused that holds an address, which may be a gateway.
    pub fn reserved_by_gateway(&self, address: IpAddr) -> bool {
        self.paths.iter().any(|path| path.conflict && path.cidr.contains(address))
    }

    /// A CIDR is routed as learned by BGP, except this node's own and, in mode `vxlan`, those of the node set.
    pub fn learn(&mut self, mode: Mode, cidr: IpNetwork, hops: &Hops) {
        let place = self.places.get(&cidr).and_then(|at| self.paths.get_mut(*at));
        if let Some(path) = place {
            if path.path == Path::Local || path.conflict || mode == Mode::Vxlan {
                return;
            }
            if path.path != Path::Bgp {
                let route = self.routes.get(&cidr).cloned();
                self.covered.insert(cidr, (route, path.clone()));
            }
            (path.path, path.via, path.refused) = (Path::Bgp, gateway(hops), None);
        }
        self.routes.insert(cidr, self.source.learned(cidr, hops));
    }

    /// BGP no longer announces a CIDR: it is routed as the node set says, if it is there.
    pub fn unlearn(&mut self, cidr: IpNetwork) {
        if !matches!(self.routes.get(&cidr), Some(RouteTo::Learned { .. })) {
            return;
        }
        self.routes.remove(&cidr);
        let Some((route, before)) = self.covered.remove(&cidr) else { return };
        if let Some(path) = self.places.get(&cidr).and_then(|at| self.paths.get_mut(*at)) {
            *path = before;
        }
        if let Some(route) = route {
            self.routes.insert(cidr, route);
        }
    }

    /// Whether a CIDR goes as the node set says, directly or through the tunnel.
    pub fn goes_by_node_set(&self, cidr: IpNetwork) -> bool {
        let path = self.places.get(&cidr).and_then(|at| self.paths.get(*at));
        path.is_some_and(|path| matches!(path.path, Path::Direct | Path::Vxlan))
    }

    /// How packets get to a CIDR.
    pub fn path_to(&self, cidr: IpNetwork) -> Option<Cow<'_, PathTo>> {
        match self.places.get(&cidr).and_then(|at| self.paths.get(*at)) {
            Some(path) => Some(Cow::Borrowed(path)),
            None => {
                self.routes.get(&cidr).and_then(|route| by_bgp_alone(cidr, route)).map(Cow::Owned)
            }
        }
    }

    /// How packets get to each CIDR, those that only BGP announces last.
    pub fn all_paths(&self) -> impl Iterator<Item = Cow<'_, PathTo>> {
        let alone = self.routes.iter().filter(|(cidr, _)| !self.places.contains_key(cidr));
        let alone = alone.filter_map(|(cidr, route)| by_bgp_alone(*cidr, route)).map(Cow::Owned);
        self.paths.iter().map(Cow::Borrowed).chain(alone)
    }

    /// Routes have no source but those that are held.
    pub fn keep_sources(&mut self, held: impl Fn(IpAddr) -> bool) {
        self.source.0 = self.source.0.map(|source| source.filter(|source| held(*source)));
        let covered = self.covered.values_mut().filter_map(|(route, _)| route.as_mut());
        for route in self.routes.values_mut().chain(covered) {
            let (RouteTo::Direct { source, .. }
            | RouteTo::Tunnel { source, .. }
            | RouteTo::Learned { source, .. }) = route
            else {
                continue;
            };
            *source = source.filter(|source| held(*source));
        }
    }
}
