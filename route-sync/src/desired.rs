//! What shall exist, as a pure function of the configuration, the node set and the node's links.

use crate::admission::{Refusal, Reserved};
use crate::bgp::{Hops, Learned};
use crate::config::{Config, Mode};
use crate::convergence::ThisNode;
use crate::facts::Facts;
use crate::nodes::{Accepted, Node, Refused};
use crate::query::Path;
use ipnetwork::IpNetwork;
use net::Mac;
use nft::{Guard, NodeMasquerade, NodeRules};
use node::vtep;
use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::IpAddr;

mod sources;
mod tunnel;

/// The routing protocol number of all routes that come from a node set: `ferrule-node`.
pub const PROTOCOL: u8 = node::PROTOCOL;
/// That of what is heard by BGP: `ferrule-bgp`.
pub const LEARNED: u8 = 119;
/// That of the plugins' routes to their pods: `ferrule-pod`. They are never touched.
pub const POD: u8 = 117;

/// Whether the daemon makes routes of this protocol.
pub fn is_ours(protocol: u8) -> bool {
    protocol == PROTOCOL || protocol == LEARNED
}

/// The metric of a blackhole: worse than any other route of the same prefix, above all the
/// connected route of the bridge. At metric 0 one of the two would keep the other out.
pub const BLACKHOLE: u32 = 1_000_000;

/// All that shall exist.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Desired {
    /// This node's pod CIDRs.
    pub own: Vec<IpNetwork>,
    /// This node's addresses in the node set.
    pub(crate) addresses: Vec<IpAddr>,
    /// The tunnel's device.
    pub vtep: Option<Vtep>,
    /// Routes, by destination; a blackhole is the only one of its destination.
    pub routes: BTreeMap<IpNetwork, Way>,
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
    /// What the node set says of CIDRs that go as BGP tells.
    pub(crate) covered: BTreeMap<IpNetwork, (Option<Way>, PathTo)>,
    /// Source of what this node itself sends by what BGP tells.
    pub source: Source,
    /// What is not well, and what it is about.
    pub problems: BTreeSet<(String, String)>,
    /// What is known of this node. Unless it is all, what exists in the kernel remains.
    pub node: ThisNode,
}

/// The tunnel's device.
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

/// Where a route leads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Way {
    /// Nowhere: this node's own CIDR, but for the pods that are there.
    Blackhole,
    /// To a node on a link.
    Direct {
        /// The node's address.
        gateway: IpAddr,
        /// Index of the link.
        link: u32,
        /// As that of [`Way::Tunnel`], where this node holds such an address.
        source: Option<IpAddr>,
    },
    /// To a node's tunnel end point.
    Tunnel {
        /// Its address in the tunnel.
        gateway: IpAddr,
        /// Source of what this node itself sends: inside its own pod CIDR, so that a strict
        /// reverse-path filter at the other end lets it pass.
        source: Option<IpAddr>,
    },
    /// Where BGP says.
    Learned {
        /// The hops, which share the traffic.
        hops: Hops,
        /// As that of [`Way::Direct`], else the node's address: those of its links may be unknown
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

/// What shall exist.
pub fn desired(config: &Config, nodes: &Accepted, facts: &Facts, learned: &Learned) -> Desired {
    let mut desired = Desired::default();
    let Some(own) = &nodes.own else {
        let what = format!("node {}", config.node_name);
        let advice = match &nodes.near {
            None => "it is not in the node set: give it an entry, or set node-name to the name \
                     that it has there"
                .to_owned(),
            Some(near) => format!(
                "it is not in the node set, and {near} is: set node-name = \"{near}\", or name \
                 the entry {}",
                config.node_name
            ),
        };
        desired.problems.insert((what, advice));
        return desired;
    };
    desired.node = ThisNode::Known;
    desired.own.clone_from(&own.pod_cidrs);
    desired.addresses.clone_from(&own.addresses);
    for cidr in &own.pod_cidrs {
        desired.routes.insert(*cidr, Way::Blackhole);
        desired.path(own, *cidr, Path::Local, None);
    }
    desired.prefer(config, nodes);
    match tunnel::underlay(config, own, facts, desired.over_ipv6) {
        Ok((index, local)) => desired.tunnel(config, own, facts, index, local),
        Err(reason) => {
            desired.problems.insert((format!("node {}", own.name), reason));
            desired.node = ThisNode::Unplaced;
        }
    }
    let source = Source::of(own, desired.vtep.is_some(), facts);
    let reserved = Reserved::of(facts);
    for other in &nodes.others {
        let sound = desired.sound(other, facts);
        let sound = sound.as_ref().unwrap_or(other);
        for cidr in &other.pod_cidrs {
            match reserved.fault(*cidr) {
                Some(refusal) => desired.conflict(&other.name, *cidr, refusal),
                None => desired.serve(config, other, sound, facts, *cidr, source.to(*cidr)),
            }
        }
    }
    desired.refusals(&nodes.refused);
    desired.announced(config, own);
    desired.source = source.or(own, facts);
    let places = desired.paths.iter().enumerate().rev().map(|(at, path)| (path.cidr, at));
    desired.places = places.collect();
    desired.learned(config, learned);
    desired
}

/// What nftables shall hold for the node.
pub fn rules(config: &Config, nodes: &Accepted, facts: &Facts, desired: &Desired) -> NodeRules {
    let all = || nodes.others.iter().chain(&nodes.own);
    let mut cluster: BTreeSet<IpNetwork> = config.cluster_cidrs.iter().copied().collect();
    cluster.extend(&config.masquerade.exclude_cidrs);
    cluster.extend(all().flat_map(|node| &node.pod_cidrs));
    // A node that is not on the link answers a pod through the tunnel, but hears it on its
    // underlay: a strict reverse-path filter drops that, and so do networks that know the nodes'
    // addresses alone. So it hears this node instead.
    let plainly = |address: &IpAddr| match config.mode {
        Mode::Direct => true,
        Mode::Auto => facts.shared_both_ways(*address, &desired.addresses).is_some(),
        Mode::Vxlan => false,
    };
    let others = nodes.others.iter().flat_map(|node| &node.addresses).copied();
    let own = nodes.own.iter().flat_map(|node| &node.addresses).copied();
    cluster.extend(others.filter(plainly).chain(own).map(IpNetwork::from));
    // Whether two nodes are on one link they may see differently, so every node may send. What is
    // passed on may be of a tunnel of the other family than this node's.
    let peers = || nodes.others.iter().flat_map(|node| &node.addresses).copied().collect();
    NodeRules {
        guard: desired.vtep.as_ref().map(|vtep| Guard {
            port: vtep.port,
            underlay: (vtep.underlay.0 > 0).then(|| vtep.underlay.1.clone()),
            local: vtep.local,
            peers: peers(),
        }),
        cluster,
        masquerade: config.masquerade.enabled.then(|| NodeMasquerade {
            sources: desired.own.clone(),
            random_fully: config.masquerade.random_fully,
        }),
        sources: sources::pod_sources(nodes, facts, desired),
    }
}

/// The source of what this node itself sends to pods of others, for each family: inside its own
/// pod CIDR, so that it comes back the way that the pods' packets do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Source([Option<IpAddr>; 2]);

impl Source {
    /// The tunnel's device has such addresses; without one, a bridge of pods may.
    fn of(own: &Node, tunnel: bool, facts: &Facts) -> Source {
        let of_tunnel = vtep::addresses(&own.pod_cidrs);
        Source([true, false].map(|v4| {
            if tunnel {
                return of_tunnel.iter().map(IpNetwork::ip).find(|a| a.is_ipv4() == v4);
            }
            let cidrs = own.pod_cidrs.iter().filter(|cidr| cidr.is_ipv4() == v4);
            cidrs.filter_map(|cidr| facts.held_in(*cidr)).min()
        }))
    }

    /// Where there is none, the node's own address.
    fn or(self, own: &Node, facts: &Facts) -> Source {
        let Source([four, six]) = self;
        let held = |v4: bool| {
            let mut same = own.addresses.iter().filter(|address| address.is_ipv4() == v4);
            same.find(|address| facts.holder(**address).is_some()).copied()
        };
        Source([four.or(held(true)), six.or(held(false))])
    }

    fn learned(self, cidr: IpNetwork, hops: &Hops) -> Way {
        Way::Learned { hops: Hops::clone(hops), source: self.to(cidr) }
    }

    fn to(self, cidr: IpNetwork) -> Option<IpAddr> {
        let Source([four, six]) = self;
        if cidr.is_ipv4() { four } else { six }
    }
}

fn gateway(hops: &Hops) -> Option<IpAddr> {
    hops.iter().find_map(|hop| hop.gateway)
}

/// The path to a CIDR that no node of the set has.
fn by_bgp_alone(cidr: IpNetwork, way: &Way) -> Option<PathTo> {
    let Way::Learned { hops, .. } = way else { return None };
    let (node, via) = (String::new(), gateway(hops));
    Some(PathTo { node, cidr, path: Path::Bgp, via, refused: None, conflict: false })
}

impl Desired {
    /// Another node without those of its addresses that cannot be one's; `None`: all can.
    fn sound(&mut self, other: &Node, facts: &Facts) -> Option<Node> {
        let fault = |address: &IpAddr| Some((*address, facts.fault(*address)?));
        let faults: Vec<_> = other.addresses.iter().filter_map(fault).collect();
        if faults.is_empty() {
            return None;
        }
        let mut sound = other.clone();
        for (address, reason) in faults {
            sound.addresses.retain(|held| *held != address);
            self.problems.insert((format!("node {}", other.name), reason));
        }
        Some(sound)
    }

    fn path(&mut self, node: &Node, cidr: IpNetwork, path: Path, via: Option<IpAddr>) {
        let node = node.name.clone();
        self.paths.push(PathTo { node, cidr, path, via, refused: None, conflict: false });
    }

    /// The route to another node's CIDR; `sound`: the node with those addresses alone that can be
    /// one's.
    fn serve(
        &mut self,
        config: &Config,
        other: &Node,
        sound: &Node,
        facts: &Facts,
        cidr: IpNetwork,
        source: Option<IpAddr>,
    ) {
        match self.direct(config, sound, facts, cidr) {
            Some((gateway, link)) => {
                self.routes.insert(cidr, Way::Direct { gateway, link, source });
                self.path(other, cidr, Path::Direct, Some(gateway));
            }
            None if config.mode == Mode::Direct => self.unreachable(other, cidr),
            None => self.through_tunnel(other, sound, cidr, source),
        }
    }

    fn direct(
        &self,
        config: &Config,
        other: &Node,
        facts: &Facts,
        cidr: IpNetwork,
    ) -> Option<(IpAddr, u32)> {
        if config.mode == Mode::Vxlan {
            return None;
        }
        let mut same = other.addresses.iter().filter(|a| a.is_ipv4() == cidr.is_ipv4());
        let on_link = |address| match config.mode {
            Mode::Direct => facts.on_link(address),
            Mode::Auto | Mode::Vxlan => facts.shared_both_ways(address, &self.addresses),
        };
        same.find_map(|address| Some((*address, on_link(*address)?)))
    }

    fn unreachable(&mut self, other: &Node, cidr: IpNetwork) {
        let family = if cidr.is_ipv4() { "IPv4" } else { "IPv6" };
        let reason = format!(
            "no {family} address of the node is on a link of this one, which mode \"direct\" \
             needs; use mode \"auto\""
        );
        self.refuse(&other.name, cidr, reason);
    }

    fn refuse(&mut self, node: &str, cidr: IpNetwork, reason: String) {
        self.conflict(node, cidr, Refusal { reason, conflict: false });
    }

    fn conflict(&mut self, node: &str, cidr: IpNetwork, refusal: Refusal) {
        let Refusal { reason, conflict } = refusal;
        let (node, refused) = (node.to_owned(), Some(reason));
        self.paths.push(PathTo { node, cidr, path: Path::None, via: None, refused, conflict });
    }

    /// Whether a CIDR is refused that holds an address, which may be a gateway.
    pub fn reserved_by_gateway(&self, address: IpAddr) -> bool {
        self.paths.iter().any(|path| path.conflict && path.cidr.contains(address))
    }

    /// What BGP announces beside this node's pod CIDRs leads nowhere from here on, or it would go
    /// round between this node and whoever believes it.
    fn announced(&mut self, config: &Config, own: &Node) {
        let announced = config.bgp.iter().flat_map(|bgp| bgp.announce.iter().flatten());
        for cidr in announced {
            if !self.routes.contains_key(cidr) {
                self.routes.insert(*cidr, Way::Blackhole);
                self.path(own, *cidr, Path::Local, None);
            }
        }
    }

    /// What BGP tells wins over what follows from the node set, whose nodes may be away; but
    /// `vxlan` means the tunnel, always.
    fn learned(&mut self, config: &Config, learned: &Learned) {
        for (cidr, hops) in learned {
            self.learn(config.mode, *cidr, hops);
        }
    }

    /// A CIDR goes as BGP tells; but this node's own do not, nor those of nodes in mode `vxlan`.
    pub fn learn(&mut self, mode: Mode, cidr: IpNetwork, hops: &Hops) {
        let place = self.places.get(&cidr).and_then(|at| self.paths.get_mut(*at));
        if let Some(path) = place {
            if path.path == Path::Local || path.conflict || mode == Mode::Vxlan {
                return;
            }
            if path.path != Path::Bgp {
                let way = self.routes.get(&cidr).cloned();
                self.covered.insert(cidr, (way, path.clone()));
            }
            (path.path, path.via, path.refused) = (Path::Bgp, gateway(hops), None);
        }
        self.routes.insert(cidr, self.source.learned(cidr, hops));
    }

    /// What BGP told of a CIDR is over: it goes as the node set says, if that says anything.
    pub fn unlearn(&mut self, cidr: IpNetwork) {
        if !matches!(self.routes.get(&cidr), Some(Way::Learned { .. })) {
            return;
        }
        self.routes.remove(&cidr);
        let Some((way, before)) = self.covered.remove(&cidr) else { return };
        if let Some(path) = self.places.get(&cidr).and_then(|at| self.paths.get_mut(*at)) {
            *path = before;
        }
        if let Some(way) = way {
            self.routes.insert(cidr, way);
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
            None => self.routes.get(&cidr).and_then(|way| by_bgp_alone(cidr, way)).map(Cow::Owned),
        }
    }

    /// How packets get to each CIDR, those that BGP alone tells of last.
    pub fn all_paths(&self) -> impl Iterator<Item = Cow<'_, PathTo>> {
        let alone = self.routes.iter().filter(|(cidr, _)| !self.places.contains_key(cidr));
        let alone = alone.filter_map(|(cidr, way)| by_bgp_alone(*cidr, way)).map(Cow::Owned);
        self.paths.iter().map(Cow::Borrowed).chain(alone)
    }

    /// Routes have no source but those that are held.
    pub fn keep_sources(&mut self, held: impl Fn(IpAddr) -> bool) {
        self.source.0 = self.source.0.map(|source| source.filter(|source| held(*source)));
        let covered = self.covered.values_mut().filter_map(|(way, _)| way.as_mut());
        for way in self.routes.values_mut().chain(covered) {
            let (Way::Direct { source, .. }
            | Way::Tunnel { source, .. }
            | Way::Learned { source, .. }) = way
            else {
                continue;
            };
            *source = source.filter(|source| held(*source));
        }
    }

    fn refusals(&mut self, refused: &[Refused]) {
        for Refused { node, cidr, reason } in refused {
            match cidr {
                Some(cidr) => self.refuse(node, *cidr, reason.clone()),
                None => {
                    self.problems.insert((format!("node {node}"), reason.clone()));
                }
            }
        }
    }
}

#[cfg(test)]
pub(crate) mod tests;
