//! Which sources packets to pods may have.

use crate::facts::Facts;
use crate::report::Path;
use crate::routes::desired::Desired;
use crate::source::nodes::Accepted;
use ipnetwork::IpNetwork;
use nft::PodSources;

/// The sources that nftables requires of packets to pods; `None` while no other node's pods are
/// known. With BGP, packets may arrive by another path than the route back: they are not checked.
pub(super) fn pod_sources(
    nodes: &Accepted,
    facts: &Facts,
    desired: &Desired,
) -> Option<PodSources> {
    let by_node_set = |path: Path| matches!(path, Path::Direct | Path::Vxlan);
    let paths = desired.paths.iter().filter(|path| by_node_set(path.path));
    let remote = paths.map(|path| path.cidr).collect();
    let mut sources = PodSources { remote, ..PodSources::default() };
    if sources.remote.is_empty() {
        return None;
    }
    sources.own.extend(&desired.own);
    let inside = |held: &IpNetwork| desired.own.iter().any(|cidr| cidr.contains(held.ip()));
    let of_node = |held: &IpNetwork| {
        nodes.own.iter().flat_map(|own| &own.addresses).any(|address| *address == held.ip())
    };
    for link in facts.links.values().filter(|link| !link.leads_nowhere) {
        if link.addresses.iter().any(inside) && !link.addresses.iter().any(of_node) {
            sources.links.insert(link.name.clone());
            let networks = link
                .addresses
                .iter()
                .filter_map(|held| IpNetwork::new(held.network(), held.prefix()).ok());
            sources.allowed.extend(networks);
        }
    }
    Some(sources)
}
