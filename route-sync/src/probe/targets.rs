//! What `[probe]` asks of other nodes.

use crate::facts::Facts;
use crate::report::{Path, State};
use crate::routes::conditions::state;
use crate::routes::desired::{Desired, RouteTo};
use crate::source::nodes::{Accepted, Node};
use crate::sync::Sync;
use crate::tunnel::device::Tunnel;
use ipnetwork::IpNetwork;
use node::vtep;
use std::net::IpAddr;

/// What two echo requests ask of another node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// Its name.
    pub node: String,
    /// The family of its pods.
    pub v4: bool,
    /// How packets get to its pods.
    pub path: Path,
    /// The tunnel's UDP port.
    pub port: u16,
    /// From this node's address to the other's.
    pub of_node: Question,
    /// From an address of this node's pod CIDR to one of the other's, or in mode `"direct"`, where
    /// it is unknown whether the other has such an address, to the node's own.
    pub of_pods: Question,
}

/// Source and destination of an echo request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Question {
    /// The source.
    pub from: IpAddr,
    /// The destination.
    pub to: IpAddr,
}

/// Why another node is not asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unasked {
    /// It has no pods, none that packets get to directly or through the tunnel, or the route to
    /// them fails, which is reported already.
    NoWay,
    /// This node has no address inside of its pod CIDRs.
    NoSource,
}

/// What can be asked of a node of this name.
pub(super) fn of_name(sync: &Sync, name: &str) -> Vec<Target> {
    let others = &sync.view().nodes.others;
    let at = others.binary_search_by(|node| node.name.as_str().cmp(name)).ok();
    at.and_then(|at| others.get(at)).map(|node| of_node(sync, node).0).unwrap_or_default()
}

/// What can be asked of a node, for each family; where there is nothing, why.
pub(super) fn of_node(sync: &Sync, node: &Node) -> (Vec<Target>, Option<Unasked>) {
    let view = sync.view();
    let is_synced = |v4: bool| {
        let path = first(node, v4).and_then(|cidr| view.desired.path_to(cidr));
        path.is_some_and(|path| state(view, sync.failures(), &path).0 == State::Synced)
    };
    let (mut targets, unasked) = targets(node, &view.nodes, &view.facts, &view.desired);
    targets.retain(|target| is_synced(target.v4));
    (targets, unasked)
}

/// A node's first pod CIDR of a family: the address of its tunnel's device is of that.
fn first(node: &Node, v4: bool) -> Option<IpNetwork> {
    node.pod_cidrs.iter().find(|cidr| cidr.is_ipv4() == v4).copied()
}

fn targets(
    node: &Node,
    nodes: &Accepted,
    facts: &Facts,
    desired: &Desired,
) -> (Vec<Target>, Option<Unasked>) {
    let found = [true, false].map(|v4| target(node, v4, nodes, facts, desired));
    let without = found.iter().filter_map(|found| found.as_ref().err()).copied();
    let unasked = without.max_by_key(|why| *why == Unasked::NoSource);
    (found.into_iter().flatten().collect(), unasked)
}

fn target(
    node: &Node,
    v4: bool,
    nodes: &Accepted,
    facts: &Facts,
    desired: &Desired,
) -> Result<Target, Unasked> {
    let cidr = first(node, v4).ok_or(Unasked::NoWay)?;
    let path = desired.path_to(cidr).ok_or(Unasked::NoWay)?;
    let route = desired.routes.get(&cidr).filter(|_| path.node == node.name);
    let Some(RouteTo::Direct { source, .. } | RouteTo::Tunnel { source, .. }) = route else {
        return Err(Unasked::NoWay);
    };
    let remote = path.via.ok_or(Unasked::NoWay)?;
    let from = own_address(remote, path.path, nodes, facts, desired).ok_or(Unasked::NoWay)?;
    let tunnel = desired.tunnel.as_ref();
    // In mode "direct" the other node has an address among its pods' only with pods of some plugins.
    let to = if tunnel.is_some() { cidr.network() } else { remote };
    Ok(Target {
        node: node.name.clone(),
        v4,
        path: path.path,
        port: tunnel.map_or(vtep::PORT, Tunnel::port),
        of_node: Question { from, to: remote },
        of_pods: Question { from: source.ok_or(Unasked::NoSource)?, to },
    })
}

/// The address that the other node knows this one by.
fn own_address(
    remote: IpAddr,
    path: Path,
    nodes: &Accepted,
    facts: &Facts,
    desired: &Desired,
) -> Option<IpAddr> {
    let local = desired.tunnel.as_ref().filter(|_| path == Path::Vxlan).map(Tunnel::local);
    let own = || {
        let addresses = &nodes.own.as_ref()?.addresses;
        let held = |address: &IpAddr| facts.holder(*address).is_some();
        let known = facts.source(remote, addresses);
        known.or_else(|| {
            addresses.iter().copied().find(|own| own.is_ipv4() == remote.is_ipv4() && held(own))
        })
    };
    local.or_else(own)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Mode;
    use crate::routes::plan::desired;
    use crate::routes::plan::tests::{CLUSTER, config, facts, nodes};

    fn asked(mode: Mode, name: &str, facts: &Facts) -> (Vec<[String; 5]>, Option<Unasked>) {
        let nodes = nodes(CLUSTER);
        let desired = desired(&config(mode), &nodes, facts, &Default::default());
        let node = nodes.others.iter().find(|node| node.name == name).unwrap();
        let (found, without) = targets(node, &nodes, facts, &desired);
        let words = |target: Target| {
            let Target { path, of_node, of_pods, .. } = target;
            let addresses = [of_node.from, of_node.to, of_pods.from, of_pods.to];
            let [a, b, c, d] = addresses.map(|address| address.to_string());
            [path.to_string(), a, b, c, d]
        };
        (found.into_iter().map(words).collect(), without)
    }

    #[test]
    fn questions_take_the_path_of_pods_packets() {
        let near = [
            ["direct", "192.0.2.1", "192.0.2.2", "10.1.1.0", "10.1.2.0"],
            ["direct", "2001:db8::1", "2001:db8::2", "fd00:1::", "fd00:2::"],
        ];
        let far = [
            ["vxlan", "192.0.2.1", "203.0.113.3", "10.1.1.0", "10.1.3.0"],
            ["vxlan", "192.0.2.1", "203.0.113.3", "fd00:1::", "fd00:3::"],
        ];
        let own = |rows: [[&str; 5]; 2]| rows.map(|row| row.map(str::to_owned)).to_vec();
        assert_eq!(asked(Mode::Auto, "near", &facts()), (own(near), None));
        assert_eq!(asked(Mode::Auto, "far", &facts()), (own(far), None));
        assert_eq!(asked(Mode::Direct, "far", &facts()), (vec![], Some(Unasked::NoWay)));
    }

    /// A bridge of pods brings one.
    #[test]
    fn mode_direct_has_a_source_with_the_first_pod() {
        let mut facts = facts();
        assert_eq!(asked(Mode::Direct, "near", &facts), (vec![], Some(Unasked::NoSource)));
        let addresses = vec!["10.1.1.1/24".parse().unwrap()];
        let bridge = crate::facts::Link { addresses, up: true, ..Default::default() };
        facts.links.insert(9, bridge);
        let row = ["direct", "192.0.2.1", "192.0.2.2", "10.1.1.1", "192.0.2.2"];
        let asked = asked(Mode::Direct, "near", &facts);
        assert_eq!(asked, (vec![row.map(str::to_owned)], Some(Unasked::NoSource)));
    }
}
