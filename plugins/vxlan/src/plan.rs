//! What the vxlan plugin wants: the tunnel's device, and a request with ranges for the IPAM plugin.

use crate::config::Overlay;
use attach::ranges;
use attach::{Kernel, Mac, TunnelDevice, failed};
use cni::{Error, Request, Result};
use ipnetwork::IpNetwork;
use node::{Node, vtep};
use std::net::IpAddr;

/// The tunnel's device; what the node does not say, the underlay link does.
pub(crate) fn tunnel(kernel: &mut Kernel, wanted: &Overlay) -> Result<TunnelDevice> {
    let local = match wanted.local {
        Some(local) => local,
        None => address_of(kernel, &wanted.underlay)?,
    };
    let mtu = match wanted.mtu {
        Some(mtu) => mtu,
        None => {
            let link = kernel.known_link(attach::Place::Host, &wanted.underlay);
            let link = link.map_err(|error| failed(&error))?;
            let most = if link.leads_nowhere() { vtep::ETHERNET } else { link.mtu };
            most.saturating_sub(vtep::overhead(local))
        }
    };
    Ok(TunnelDevice {
        name: vtep::name(wanted.vni),
        alias: vtep::ALIAS,
        vni: wanted.vni,
        port: wanted.port,
        local,
        underlay: wanted.underlay.clone(),
        mtu,
        mac: Mac(vtep::mac(local)),
        addresses: vtep::addresses(&wanted.pod_cidrs),
    })
}

/// The first global address of a link, IPv4 before IPv6, as the daemon prefers them.
fn address_of(kernel: &mut Kernel, link: &str) -> Result<IpAddr> {
    let found = kernel.addresses(attach::Place::Host, link).map_err(|error| failed(&error))?;
    let global = |address: &IpAddr| match address {
        IpAddr::V4(four) => !four.is_link_local() && !four.is_loopback(),
        IpAddr::V6(six) => !six.is_unicast_link_local() && !six.is_loopback(),
    };
    let mut addresses: Vec<IpAddr> = found.iter().map(IpNetwork::ip).filter(global).collect();
    addresses.sort_by_key(IpAddr::is_ipv6);
    addresses.first().copied().ok_or_else(|| {
        Error::config(format!("underlay {link:?} has no address"))
            .details("name the link that holds the node's address")
    })
}

/// The request as the IPAM plugin gets it: with the node's CIDRs as host-local's ranges where there
/// are none.
pub(crate) fn with_ranges(request: &Request, cidrs: &[IpNetwork]) -> Request {
    let mut object = request.conf.object.clone();
    ranges::fill(&mut object, cidrs);
    request.with_keys(object)
}

/// The request for what removes: it needs no node.json, and takes from it what it can.
pub(crate) fn for_teardown(request: &Request) -> Request {
    let cidrs = match Node::read(&attach::keys::run_dir_of(request)) {
        Ok(Some(node)) => node.pod_cidrs,
        _ => Vec::new(),
    };
    with_ranges(request, &cidrs)
}
