//! What a pod can use of what a server leases. A server that is wrong, or that means harm, leases a
//! broadcast address, or a subnet that takes in every address: ADD would fail late, or the pod would
//! lose its way to all others.

use crate::lease::{Hop, Lease};
use crate::message::Message;
use std::net::Ipv4Addr;

/// The shortest prefix of a subnet: the largest network that a link has is 10.0.0.0/8.
const SHORTEST: u8 = 8;

/// What an ACK leases, of options that were requested, where a pod can use it.
///
/// # Errors
/// What it lacks, or what of it cannot be used, in words.
pub fn leased(ack: &Message, requested: &[u8]) -> Result<Lease, String> {
    let lease = Lease::of(ack, requested)?;
    examine(&lease).map(|()| lease)
}

/// Whether an offer is worth a request: what it says can be used.
///
/// # Errors
/// What of it cannot be used, in words.
pub fn suits(offer: &Message) -> Result<(), String> {
    examine(&Lease::offered(offer, &[])?)
}

/// Whether a host can have an address.
///
/// # Errors
/// What it is in its place, in words.
pub fn host(address: Ipv4Addr) -> Result<(), &'static str> {
    match address {
        none if none.octets()[0] == 0 => Err("which is no host's address"),
        loopback if loopback.is_loopback() => Err("a loopback address"),
        multicast if multicast.is_multicast() => Err("a multicast address"),
        Ipv4Addr::BROADCAST => Err("the broadcast address"),
        _ => Ok(()),
    }
}

/// Whether a pod can use all of a lease; what it cannot use, in words.
fn examine(lease: &Lease) -> Result<(), String> {
    let &Lease { address, prefix, server, seconds, .. } = lease;
    if prefix < SHORTEST {
        return Err(format!(
            "the server leases {address} in a subnet /{prefix}; no network of a link is larger than a \
             /{SHORTEST}"
        ));
    }
    let leased = host(address).and_then(|()| inside(address, lease));
    leased.map_err(|what| format!("the server leases {address}/{prefix}, {what}"))?;
    host(server).map_err(|what| format!("the server says that it is {server}, {what}"))?;
    if seconds == 0 {
        return Err(format!("the server leases {address} for 0 s"));
    }
    for router in &lease.routers {
        router_of(*router, lease)
            .map_err(|what| format!("option 3 of the server has the router {router}, {what}"))?;
    }
    hops(33, &lease.classful, lease).and_then(|()| hops(121, &lease.classless, lease))
}

/// Whether an address is none of the two of its subnet that no host has.
fn inside(address: Ipv4Addr, lease: &Lease) -> Result<(), &'static str> {
    let hosts = u32::MAX.checked_shr(lease.prefix.into()).unwrap_or_default();
    let same_subnet = (u32::from(address) ^ u32::from(lease.address)) & !hosts == 0;
    match u32::from(address) & hosts {
        // RFC 3021: both addresses of a /31 are hosts'.
        _ if hosts <= 1 || !same_subnet => Ok(()),
        0 => Err("the address of its subnet"),
        last if last == hosts => Err("the broadcast address of its subnet"),
        _ => Ok(()),
    }
}

fn router_of(router: Ipv4Addr, lease: &Lease) -> Result<(), &'static str> {
    if router == lease.address {
        return Err("the leased address itself");
    }
    host(router).and_then(|()| inside(router, lease))
}

fn hops(option: u8, hops: &[Hop], lease: &Lease) -> Result<(), String> {
    hops.iter().try_for_each(|hop| {
        let Hop { network, prefix, router } = hop;
        let way = if router.is_unspecified() { Ok(()) } else { router_of(*router, lease) };
        way.map_err(|what| {
            format!("option {option} of the server has the router {router}, {what}")
        })?;
        destination(hop).map_err(|what| {
            format!("option {option} of the server has a route to {network}/{prefix}, {what}")
        })
    })
}

/// 0.0.0.0/1 is half of all addresses; 0.0.0.0/8 is nobody's.
fn destination(hop: &Hop) -> Result<(), &'static str> {
    let nobodys = hop.prefix >= 8 && !hop.network.is_multicast();
    if nobodys { host(hop.network) } else { Ok(()) }
}

#[cfg(test)]
mod tests;
