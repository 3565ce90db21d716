//! The `static` IPAM plugin: answers with the addresses that the configuration or the runtime names.
//! It keeps nothing, so there is nothing for DEL and GC to remove.
//!
//! ```text
//! config.rs     JSON and CNI_ARGS → addresses, routes and name service that are valid
//! ```
//! A library beside the executable, so that tests reach the parser.

pub mod config;

use cni::{CniResult, Error, Ip, Plugin, Request, Result, code};
use config::{Config, Entry};
use ipnetwork::IpNetwork;

/// The plugin.
#[derive(Clone, Copy, Debug, Default)]
pub struct Static;

impl Plugin for Static {
    const ENTERS_NETNS: bool = false;

    fn add(&self, request: &Request) -> Result<CniResult> {
        let config = Config::load(request)?;
        let ips = config.addresses.iter().map(ip).collect();
        Ok(CniResult { ips, routes: config.routes, dns: config.dns, ..CniResult::default() })
    }

    fn del(&self, _: &Request) -> Result<()> {
        Ok(())
    }

    fn check(&self, request: &Request) -> Result<()> {
        let config = Config::load(request)?;
        let Some(result) = &request.conf.prev_result else {
            return Err(Error::config("Required prevResult missing")
                .details("the runtime must pass the result of ADD to CHECK"));
        };
        config.addresses.iter().try_for_each(|entry| find(entry, &result.ips, request))
    }

    fn gc(&self, _: &Request) -> Result<()> {
        Ok(())
    }

    fn status(&self, request: &Request) -> Result<()> {
        Config::load(request).map(drop)
    }
}

fn ip(entry: &Entry) -> Ip {
    Ip { interface: None, address: entry.address, gateway: entry.gateway }
}

/// Looks for an address in the result of ADD. A gateway that the configuration leaves open may be
/// any there, since a main plugin fills it in. One that routes to each pod, as `bgp`, assigns the
/// address alone (/32, /128) and has gateways of its own.
fn find(entry: &Entry, ips: &[Ip], request: &Request) -> Result<()> {
    let (address, ifname) = (entry.address.ip(), &request.env.ifname);
    let differs = |why: String| {
        let msg = format!("static: Failed to match addr {address} on interface {ifname}");
        Error::new(code::CHECK_FAILED, msg).details(why)
    };
    let Some(found) = ips.iter().find(|ip| config::canonical(ip.address).ip() == address) else {
        return Err(differs(format!("prevResult has no address {}", entry.address)));
    };
    let assigned = config::canonical(found.address);
    if assigned == IpNetwork::from(address) {
        return Ok(());
    }
    if assigned != entry.address {
        let why = format!("prevResult has {assigned}, configured is {}", entry.address);
        return Err(differs(why));
    }
    match entry.gateway {
        Some(gateway) if found.gateway.map(|of| of.to_canonical()) != Some(gateway) => {
            let of = found.gateway.map_or("no gateway".to_owned(), |of| format!("gateway {of}"));
            Err(differs(format!("prevResult has {of}, configured is {gateway}")))
        }
        _ => Ok(()),
    }
}
