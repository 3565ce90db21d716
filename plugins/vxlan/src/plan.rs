//! What the vxlan plugin wants: the tunnel's device, and a request for the bridge plugin.

use crate::config::Overlay;
use crate::failed;
use attach::ranges;
use attach::{Kernel, Mac, TunnelDevice};
use cni::{Error, Request, Result};
use ipnetwork::IpNetwork;
use node::{Node, vtep};
use serde::Deserialize;
use serde_json::json;
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

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Given {
    is_gateway: Option<bool>,
    is_default_gateway: Option<bool>,
    mtu: i64,
}

/// The request that the bridge plugin gets: with a gateway, with the tunnel's MTU, and with the
/// node's CIDRs as host-local's ranges where there are none.
pub(crate) fn for_bridge(request: &Request, wanted: &Overlay, mtu: u32) -> Result<Request> {
    let given: Given = request.conf.decode()?;
    if given.mtu > i64::from(mtu) {
        return Err(Error::config(format!("invalid MTU {}", given.mtu))
            .details(format!("the tunnel carries {mtu} bytes; leave mtu out, or lower it")));
    }
    let mut object = request.conf.object.clone();
    if given.is_gateway.is_none() {
        object.insert("isGateway".to_owned(), json!(true));
    }
    if given.is_default_gateway.is_none() && given.is_gateway != Some(false) {
        object.insert("isDefaultGateway".to_owned(), json!(true));
    }
    if given.mtu == 0 {
        object.insert("mtu".to_owned(), json!(mtu));
    }
    ranges::fill(&mut object, &wanted.pod_cidrs);
    Ok(request.with_keys(object))
}

/// The request for what removes: it needs no node.json, and takes from it what it can.
pub(crate) fn for_teardown(request: &Request) -> Request {
    let cidrs = match Node::read(&attach::keys::run_dir_of(request)) {
        Ok(Some(node)) => node.pod_cidrs,
        _ => Vec::new(),
    };
    let mut object = request.conf.object.clone();
    ranges::fill(&mut object, &cidrs);
    request.with_keys(object)
}
