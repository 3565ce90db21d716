//! The tunnel's device, and what goes through it.

use super::device::{Tunnel, Vtep};
use crate::config::{Config, TunnelKind};
use crate::facts::Facts;
use crate::report::Path;
use crate::routes::desired::{Desired, RouteTo};
use crate::source::nodes::{Accepted, Node};
use ipnetwork::IpNetwork;
use net::Mac;
use node::vtep;
use std::net::IpAddr;

/// The index of the link that holds this node's address, and that address: for a tunnel the one
/// that the node set makes its end, and no other that is held too. The family is the node set's
/// too, so that plugin and daemon never disagree.
pub(crate) fn underlay(
    config: &Config,
    own: &Node,
    facts: &Facts,
    over_ipv6: bool,
) -> Result<(u32, IpAddr), String> {
    let Some(local) = own.tunnel_end(over_ipv6) else {
        return Err("the node set gives it no address, so it has no way to other nodes".to_owned());
    };
    let same = own.addresses.iter().filter(|address| address.is_ipv4() == local.is_ipv4());
    let candidates = same.take(if config.tunnel().is_some() { 1 } else { usize::MAX });
    let mut held = candidates.filter_map(|address| Some((facts.holder(*address)?, *address)));
    let family = if local.is_ipv4() { "IPv4" } else { "IPv6" };
    let found = match &config.vxlan.underlay {
        None => held.next().ok_or_else(|| {
            format!(
                "no link here holds {local}, its first {family} address in the node set; one of \
                 the two is wrong"
            )
        }),
        Some(name) => held.find(|((_, link), _)| link.name == *name).ok_or_else(|| {
            format!(
                "underlay {name:?} does not hold {local}, the node's first {family} address in \
                 the node set; name the link that does, leave `underlay` out, or put that link's \
                 address first"
            )
        }),
    };
    found.map(|((index, _), address)| (index, address))
}

/// Where another node's tunnel ends, as that node itself has it, or why it cannot be reached from
/// this one's, at `local`; `valid`: the node with only its valid addresses.
fn far_end(local: IpAddr, other: &Node, valid: &Node, over_ipv6: bool) -> Result<IpAddr, String> {
    let Some(remote) = other.tunnel_end(over_ipv6) else {
        return Err("the node set gives the node no usable address; give it one that other nodes \
                    reach"
            .to_owned());
    };
    if remote.is_ipv4() != local.is_ipv4() {
        return Err(format!(
            "the node's tunnel ends at {remote} and this one's at {local}, and a VXLAN device \
             carries one family; give every node an IPv4 address, or none"
        ));
    }
    if !valid.addresses.contains(&remote) {
        return Err(format!("the node's tunnel ends at {remote}, which is not usable here"));
    }
    Ok(remote)
}

impl Desired {
    /// Decides which family tunnels go over: one for all nodes, since a device carries one.
    pub(crate) fn prefer(&mut self, config: &Config, nodes: &Accepted) {
        if !config.vxlan.prefer_ipv6 || config.tunnel().is_none() {
            return;
        }
        self.over_ipv6 = nodes.without_ipv6.is_none();
        if let Some(node) = &nodes.without_ipv6 {
            self.problems.insert((
                "vxlan prefer".to_owned(),
                format!(
                    "prefer is \"ipv6\", and node {node} has no IPv6 address in the node set: all \
                     tunnels go over IPv4; give it one, or set prefer = \"ipv4\""
                ),
            ));
        }
    }

    /// The tunnel's device, in the modes that have one, and the pods' MTU.
    pub(crate) fn tunnel_by(
        &mut self,
        config: &Config,
        own: &Node,
        facts: &Facts,
        index: u32,
        local: IpAddr,
    ) {
        let Some(link) = facts.links.get(&index) else { return };
        let underlay = facts.mtu(link, &own.pod_cidrs);
        let Some(TunnelKind::Vxlan) = config.tunnel() else {
            self.mtu = underlay;
            return;
        };
        let routed = link.leads_nowhere;
        let most = underlay.saturating_sub(vtep::overhead(local));
        let mtu = config.vxlan.mtu.unwrap_or(most);
        // On a routed underlay it is unknown which link packets take: a larger configured MTU stands.
        let mtu = if mtu > most && !routed {
            self.problem_of_mtu(mtu, most, &link.name);
            most
        } else {
            mtu
        };
        self.mtu = mtu;
        self.tunnel = Some(Tunnel::Vxlan(Vtep {
            name: vtep::name(config.vxlan.vni),
            vni: config.vxlan.vni,
            port: config.vxlan.port,
            local,
            underlay: (if routed { 0 } else { index }, link.name.clone()),
            mtu,
            mac: Mac(vtep::mac(local)),
            addresses: vtep::addresses(&own.pod_cidrs),
        }));
    }

    fn problem_of_mtu(&mut self, mtu: u32, most: u32, underlay: &str) {
        self.problems.insert((
            "vxlan mtu".to_owned(),
            format!("{mtu} is more than fits {underlay}: {most} is used; set mtu to that or less"),
        ));
    }

    pub(crate) fn through_tunnel(
        &mut self,
        other: &Node,
        valid: &Node,
        cidr: IpNetwork,
        source: Option<IpAddr>,
    ) {
        // Without this node's own end the path is unknown; existing objects stay.
        let Some(Tunnel::Vxlan(own)) = &self.tunnel else { return };
        let remote = match far_end(own.local, other, valid, self.over_ipv6) {
            Ok(remote) => remote,
            Err(reason) => return self.refuse(&other.name, cidr, reason),
        };
        let mac = vtep::mac(remote);
        let gateway = if cidr.is_ipv4() {
            let first = vtep::addresses(&other.pod_cidrs);
            first.first().map_or(cidr.network(), IpNetwork::ip)
        } else {
            vtep::link_local(mac).into()
        };
        self.neighbours.insert(gateway, Mac(mac));
        self.fdb.insert(Mac(mac), remote);
        self.routes.insert(cidr, RouteTo::Tunnel { gateway, source });
        self.path(other, cidr, Path::Vxlan, Some(remote));
    }
}
