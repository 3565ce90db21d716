//! A lease: what a server's ACK says, when it must be renewed, and the result that it becomes.

use crate::message::{Message, option};
use cni::{CniResult, Dns, Ip, Route};
use ipnetwork::IpNetwork;
use serde::{Deserialize, Serialize};
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

/// Without option 51, as the reference.
const DEFAULT_SECONDS: u32 = 3600;
/// A lease of this time never ends (RFC 2131 section 3.3).
const FOR_EVER: u32 = u32::MAX;
/// RT_SCOPE_LINK of linux/rtnetlink.h.
const SCOPE_LINK: u8 = 253;

/// A lease.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lease {
    /// The address.
    pub address: Ipv4Addr,
    /// The length of its subnet's prefix.
    pub prefix: u8,
    /// The server's identifier, its address.
    pub server: Ipv4Addr,
    /// Option 3.
    pub routers: Vec<Ipv4Addr>,
    /// Option 121: destinations with next hops; 0.0.0.0 means that they are on the link.
    pub classless: Vec<Hop>,
    /// Option 33.
    pub classful: Vec<Hop>,
    /// Options 6, 15 and 119, where the configuration requests them.
    pub dns: Names,
    /// How long it is valid, in seconds; [`u32::MAX`] means for ever.
    pub seconds: u32,
    /// When the server is asked to renew it (T1), in seconds after the request.
    pub renewal: u32,
    /// When any server is asked (T2), in seconds after the request.
    pub rebinding: u32,
}

/// A route of options 33 and 121.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hop {
    /// The destination's network address.
    pub network: Ipv4Addr,
    /// The length of its prefix.
    pub prefix: u8,
    /// The next hop.
    pub router: Ipv4Addr,
}

/// Name service.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Names {
    /// Option 6.
    pub servers: Vec<Ipv4Addr>,
    /// Option 15.
    pub domain: String,
    /// Option 119.
    pub search: Vec<String>,
}

impl Lease {
    /// What an ACK leases. `requested` are the options that the configuration names. usable.rs says whether
    /// a pod can use it.
    ///
    /// # Errors
    /// What it lacks, or what of it is not well formed, in words.
    pub fn of(ack: &Message, requested: &[u8]) -> Result<Lease, String> {
        if ack.address(option::SUBNET_MASK).is_none() {
            return Err("DHCP option Subnet Mask not found in DHCPACK: correct the server's \
                        subnet-mask"
                .to_owned());
        }
        Lease::offered(ack, requested)
    }

    /// What an offer would lease; it may leave the subnet mask to the ACK.
    ///
    /// # Errors
    /// What of it is not well formed, in words.
    pub fn offered(message: &Message, requested: &[u8]) -> Result<Lease, String> {
        let address = message.yiaddr;
        let mask = message.address(option::SUBNET_MASK).unwrap_or(Ipv4Addr::BROADCAST);
        let prefix = u32::from(mask).leading_ones();
        if u32::from(mask).count_ones() != prefix {
            return Err(format!("the server leases {address} with the subnet mask {mask}"));
        }
        let server =
            message.address(option::SERVER).ok_or("the server does not identify itself")?;
        let seconds = message.number(option::LEASE_TIME).unwrap_or(DEFAULT_SECONDS);
        let (renewal, rebinding) = times(message, seconds);
        let mut routers = addresses(message, option::ROUTER)?;
        // As systemd-networkd: some servers say so that there is none.
        routers.retain(|router| !router.is_unspecified());
        let classless = classless(message.bytes(option::CLASSLESS_ROUTE).unwrap_or_default());
        Ok(Lease {
            address,
            prefix: prefix as u8,
            server,
            routers,
            classless: classless.ok_or("option 121 of the server is not well formed")?,
            classful: classful(&addresses(message, option::STATIC_ROUTE)?),
            dns: names(message, requested),
            seconds,
            renewal,
            rebinding,
        })
    }

    /// An address and its server alone.
    pub fn bare(address: Ipv4Addr, server: Ipv4Addr) -> Lease {
        Lease {
            address,
            prefix: 32,
            server,
            routers: Vec::new(),
            classless: Vec::new(),
            classful: Vec::new(),
            dns: Names::default(),
            seconds: 0,
            renewal: 0,
            rebinding: 0,
        }
    }

    /// The result of ADD.
    pub fn result(&self, priority: Option<u32>) -> CniResult {
        let address = IpNetwork::new(self.address.into(), self.prefix).ok();
        let gateway = self.routers.first().map(|router| IpAddr::V4(*router));
        let ips = address.map(|address| Ip { interface: None, address, gateway });
        let mut routes = self.routes();
        routes.iter_mut().for_each(|route| route.priority = priority);
        let dns = Dns {
            nameservers: self.dns.servers.iter().map(ToString::to_string).collect(),
            domain: self.dns.domain.clone(),
            search: self.dns.search.clone(),
            ..Dns::default()
        };
        CniResult { ips: ips.into_iter().collect(), routes, dns, ..CniResult::default() }
    }

    /// RFC 3442: option 121 replaces the others.
    fn routes(&self) -> Vec<Route> {
        if !self.classless.is_empty() {
            return self.classless.iter().filter_map(route).collect();
        }
        let default = self.routers.first().map(|router| Hop {
            network: Ipv4Addr::UNSPECIFIED,
            prefix: 0,
            router: *router,
        });
        self.classful.iter().chain(&default).filter_map(route).collect()
    }

    /// How long it is valid; `None` means for ever.
    pub fn validity(&self) -> Option<Duration> {
        (self.seconds != FOR_EVER).then(|| Duration::from_secs(self.seconds.into()))
    }
}

/// T1 and T2, by default after a half and seven eighths (RFC 2131 section 4.4.5), also where the
/// server's are in no order.
fn times(ack: &Message, seconds: u32) -> (u32, u32) {
    let part = |eighths: u64| (u64::from(seconds) * eighths / 8) as u32;
    let rebinding = ack.number(option::REBINDING_TIME).filter(|time| *time < seconds);
    let rebinding = rebinding.unwrap_or(part(7));
    let renewal = ack.number(option::RENEWAL_TIME).filter(|time| *time < rebinding);
    (renewal.unwrap_or(part(4).min(rebinding)), rebinding)
}

/// As the reference writes them: on the link without a next hop, and the scope says so.
fn route(hop: &Hop) -> Option<Route> {
    let destination = IpNetwork::new(hop.network.into(), hop.prefix).ok()?;
    let on_link = hop.router.is_unspecified();
    Some(Route {
        scope: on_link.then_some(SCOPE_LINK),
        ..Route::new(destination, Some(hop.router.into()).filter(|_| !on_link))
    })
}

/// An option of routes or routers: as many whole addresses as it has bytes for.
fn addresses(message: &Message, code: u8) -> Result<Vec<Ipv4Addr>, String> {
    let length = message.bytes(code).map_or(0, <[u8]>::len);
    let each = if code == option::STATIC_ROUTE { 8 } else { 4 };
    if !length.is_multiple_of(each) {
        return Err(format!("option {code} of the server is not well formed"));
    }
    Ok(message.addresses(code))
}

/// RFC 3442: the prefix's length, as many bytes of the destination as it covers, the router. `None`
/// where it is not well formed.
fn classless(mut bytes: &[u8]) -> Option<Vec<Hop>> {
    let mut hops = Vec::new();
    while let Some((prefix, rest)) = bytes.split_first() {
        let length = usize::from(*prefix).div_ceil(8);
        let (significant, rest) = rest.split_at_checked(length).filter(|_| *prefix <= 32)?;
        let (router, rest) = rest.split_first_chunk::<4>()?;
        let mut network = [0; 4];
        network.iter_mut().zip(significant).for_each(|(to, from)| *to = *from);
        let network = masked(Ipv4Addr::from(network), *prefix);
        hops.push(Hop { network, prefix: *prefix, router: Ipv4Addr::from(*router) });
        bytes = rest;
    }
    Some(hops)
}

/// RFC 2132 section 5.8: destinations of classes A to C, each with its router.
fn classful(addresses: &[Ipv4Addr]) -> Vec<Hop> {
    let (pairs, _) = addresses.as_chunks::<2>();
    let hop = |[network, router]: &[Ipv4Addr; 2]| {
        let prefix = match network.octets()[0] {
            0..128 => 8,
            128..192 => 16,
            _ => 24,
        };
        Hop { network: masked(*network, prefix), prefix, router: *router }
    };
    pairs.iter().map(hop).collect()
}

fn masked(network: Ipv4Addr, prefix: u8) -> Ipv4Addr {
    let mask = u32::MAX.checked_shl(32 - u32::from(prefix)).unwrap_or_default();
    Ipv4Addr::from(u32::from(network) & mask)
}

fn names(ack: &Message, requested: &[u8]) -> Names {
    let asked = |code: u8| requested.contains(&code);
    let mut names = Names::default();
    if asked(option::DOMAIN_NAME_SERVER) {
        names.servers = ack.addresses(option::DOMAIN_NAME_SERVER);
    }
    if asked(option::DOMAIN_NAME) {
        names.domain = ack.text(option::DOMAIN_NAME).unwrap_or_default();
    }
    if asked(option::DOMAIN_SEARCH) {
        names.search = search(ack.bytes(option::DOMAIN_SEARCH).unwrap_or_default());
    }
    names
}

/// Names in the encoding of DNS messages, pointers within the option included (RFC 3397).
fn search(bytes: &[u8]) -> Vec<String> {
    let mut names = Vec::new();
    let mut at = 0;
    while at < bytes.len() {
        let Some((name, next)) = name_at(bytes, at) else { return names };
        names.push(name);
        at = next;
    }
    names
}

/// The name at an offset, and where the next one begins. Each pointer leads backwards, so that no name
/// is endless.
fn name_at(bytes: &[u8], start: usize) -> Option<(String, usize)> {
    let (mut at, mut limit, mut next) = (start, start, None);
    let mut labels: Vec<String> = Vec::new();
    loop {
        let length = usize::from(*bytes.get(at)?);
        match length {
            0 => break,
            1..64 => {
                let label = bytes.get(at + 1..at + 1 + length)?;
                let plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"-_".contains(byte);
                let label = std::str::from_utf8(label).ok().filter(|_| label.iter().all(plain))?;
                labels.push(label.to_owned());
                at += 1 + length;
            }
            192.. => {
                next = next.or(Some(at + 2));
                at = (length & 0x3f) << 8 | usize::from(*bytes.get(at + 1)?);
                if at >= limit {
                    return None;
                }
                limit = at;
            }
            _ => return None,
        }
    }
    Some((labels.join("."), next.unwrap_or(at + 1)))
}

#[cfg(test)]
mod tests;
