//! What ADD returns, and `prevResult`: one type inside, every version's shape outside.

use crate::error::{Error, Result};
use crate::json::{self, Fault};
use crate::version::Version;
use ipnetwork::IpNetwork;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::net::IpAddr;

/// The result of ADD (spec section 5, "ADD Success").
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CniResult {
    /// Interfaces made, host side included.
    pub interfaces: Vec<Interface>,
    /// Addresses assigned.
    pub ips: Vec<Ip>,
    /// Routes made in the container.
    pub routes: Vec<Route>,
    /// Name service.
    pub dns: Dns,
}

/// An interface of a [`CniResult`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Interface {
    /// Its name.
    pub name: String,
    /// Its MAC address, `aa:bb:cc:dd:ee:ff`.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub mac: String,
    /// Its MTU in bytes (1.1.0).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mtu: Option<u32>,
    /// The network namespace's path; empty on the host.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub sandbox: String,
    /// A socket's path (1.1.0).
    #[serde(skip_serializing_if = "String::is_empty")]
    pub socket_path: String,
    /// A PCI device's ID (1.1.0).
    #[serde(rename = "pciID", skip_serializing_if = "String::is_empty")]
    pub pci_id: String,
}

/// An address of a [`CniResult`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ip {
    /// The interface that holds it: an index of [`CniResult::interfaces`].
    pub interface: Option<usize>,
    /// The address with its prefix length.
    pub address: IpNetwork,
    /// The gateway of its subnet.
    pub gateway: Option<IpAddr>,
}

/// A route of a [`CniResult`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    /// The destination.
    pub dst: IpNetwork,
    /// The next hop; without one the first gateway of the family.
    pub gw: Option<IpAddr>,
    /// MTU in bytes (1.1.0).
    pub mtu: Option<u32>,
    /// TCP segment size to advertise, in bytes (1.1.0).
    pub advmss: Option<u32>,
    /// Metric (1.1.0).
    pub priority: Option<u32>,
    /// Routing table (1.1.0).
    pub table: Option<u32>,
    /// Scope, as rtnetlink numbers it (1.1.0).
    pub scope: Option<u8>,
}

impl Route {
    /// A route with nothing but a destination and perhaps a next hop.
    pub fn new(dst: IpNetwork, gw: Option<IpAddr>) -> Route {
        Route { dst, gw, mtu: None, advmss: None, priority: None, table: None, scope: None }
    }
}

/// Name service, as in a network configuration and in a [`CniResult`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Dns {
    /// Servers' addresses, in order of priority.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub nameservers: Vec<String>,
    /// The local domain.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub domain: String,
    /// Search domains.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub search: Vec<String>,
    /// Options for the resolver.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub options: Vec<String>,
}

impl Dns {
    /// Whether no field is set.
    pub fn is_empty(&self) -> bool {
        *self == Dns::default()
    }
}

/// `10.1.2.3/16`, host bits kept; no bare address and no netmask, which `IpNetwork` would take.
pub fn parse_cidr(text: &str) -> std::result::Result<IpNetwork, String> {
    let invalid = || format!("invalid CIDR address: {text}");
    let (address, prefix) = text.split_once('/').ok_or_else(invalid)?;
    let address: IpAddr = address.parse().map_err(|_| invalid())?;
    let prefix = prefix.parse().map_err(|_| invalid())?;
    IpNetwork::new(address, prefix).map_err(|_| invalid())
}

mod wire {
    //! The shapes on the wire. Texts stay texts: the field's name goes into the error.
    use super::{Dns, Interface};
    use serde::{Deserialize, Serialize};

    #[derive(Default, Serialize, Deserialize)]
    #[serde(default, rename_all = "camelCase")]
    pub struct Result {
        pub cni_version: String,
        #[serde(skip_serializing_if = "Vec::is_empty")]
        pub interfaces: Vec<Interface>,
        #[serde(skip_serializing_if = "Vec::is_empty")]
        pub ips: Vec<Ip>,
        #[serde(skip_serializing_if = "Vec::is_empty")]
        pub routes: Vec<Route>,
        #[serde(skip_serializing_if = "Option::is_none")]
        pub ip4: Option<LegacyIp>,
        #[serde(skip_serializing_if = "Option::is_none")]
        pub ip6: Option<LegacyIp>,
        #[serde(skip_serializing_if = "Option::is_none")]
        pub dns: Option<Dns>,
    }

    #[derive(Default, Serialize, Deserialize)]
    #[serde(default)]
    pub struct Ip {
        #[serde(skip_serializing_if = "Option::is_none", skip_deserializing)]
        pub version: Option<&'static str>,
        #[serde(skip_serializing_if = "Option::is_none")]
        pub interface: Option<i64>,
        pub address: String,
        #[serde(skip_serializing_if = "Option::is_none")]
        pub gateway: Option<String>,
    }

    #[derive(Default, Serialize, Deserialize)]
    #[serde(default)]
    pub struct LegacyIp {
        pub ip: String,
        #[serde(skip_serializing_if = "Option::is_none")]
        pub gateway: Option<String>,
        #[serde(skip_serializing_if = "Vec::is_empty")]
        pub routes: Vec<Route>,
    }

    #[derive(Default, Serialize, Deserialize)]
    #[serde(default)]
    pub struct Route {
        pub dst: String,
        #[serde(skip_serializing_if = "Option::is_none")]
        pub gw: Option<String>,
        #[serde(skip_serializing_if = "Option::is_none")]
        pub mtu: Option<u32>,
        #[serde(skip_serializing_if = "Option::is_none")]
        pub advmss: Option<u32>,
        #[serde(skip_serializing_if = "Option::is_none")]
        pub priority: Option<u32>,
        #[serde(skip_serializing_if = "Option::is_none")]
        pub table: Option<u32>,
        #[serde(skip_serializing_if = "Option::is_none")]
        pub scope: Option<u8>,
    }
}

impl CniResult {
    /// Reads a result of any version, which its shape shows.
    ///
    /// # Errors
    /// The place and the value of what is wrong.
    pub fn read(value: &Value) -> std::result::Result<CniResult, Fault> {
        let wire: wire::Result = json::decode(value)?;
        let mut result = CniResult {
            interfaces: wire.interfaces,
            dns: wire.dns.unwrap_or_default(),
            ..CniResult::default()
        };
        for (index, ip) in wire.ips.into_iter().enumerate() {
            let place = format!("ips[{index}]");
            let ip = read_ip(&ip.address, ip.gateway.as_deref(), ip.interface, "address");
            result.ips.push(ip.map_err(|fault| fault.under(&place))?);
        }
        result.routes = read_routes(&wire.routes)?;
        for (place, legacy) in [("ip4", wire.ip4), ("ip6", wire.ip6)] {
            let Some(legacy) = legacy else { continue };
            let ip = read_ip(&legacy.ip, legacy.gateway.as_deref(), None, "ip");
            result.ips.push(ip.map_err(|fault| fault.under(place))?);
            let routes = read_routes(&legacy.routes).map_err(|fault| fault.under(place))?;
            result.routes.extend(routes);
        }
        Ok(result)
    }

    /// The document for stdout in the shape of a version.
    ///
    /// # Errors
    /// Code 7 where 0.1.0 and 0.2.0, which demand an address, cannot say it.
    pub fn to_json(&self, version: Version) -> Result<Vec<u8>> {
        let mut wire = wire::Result {
            cni_version: version.as_str().to_owned(),
            // Up to 0.4.0 an empty one is written too, as the reference does.
            dns: (version < Version::V1_0_0 || !self.dns.is_empty()).then(|| self.dns.clone()),
            ..wire::Result::default()
        };
        if version <= Version::V0_2_0 {
            wire.ip4 = self.legacy(false);
            wire.ip6 = self.legacy(true);
            if wire.ip4.is_none() && wire.ip6.is_none() {
                return Err(Error::config("cannot convert: no valid IP addresses").details(format!(
                    "a result of version {version} must hold an address; use cniVersion 0.3.1 or \
                     newer for a network without addresses"
                )));
            }
            return Ok(json::pretty(&wire));
        }
        let modern = version >= Version::V1_1_0;
        wire.interfaces = self.interfaces.clone();
        for interface in wire.interfaces.iter_mut().filter(|_| !modern) {
            interface.mtu = None;
            interface.socket_path.clear();
            interface.pci_id.clear();
        }
        wire.ips = self.ips.iter().map(|ip| write_ip(ip, version)).collect();
        wire.routes = self.routes.iter().map(write_route).collect();
        Ok(json::pretty(&wire))
    }

    fn legacy(&self, v6: bool) -> Option<wire::LegacyIp> {
        let ip = self.ips.iter().find(|ip| ip.address.is_ipv6() == v6)?;
        let routes = self.routes.iter().filter(|route| route.dst.is_ipv6() == v6);
        Some(wire::LegacyIp {
            ip: ip.address.to_string(),
            gateway: ip.gateway.map(|gateway| gateway.to_string()),
            // Of old there is no more of a route.
            routes: routes.map(|route| write_route(&Route::new(route.dst, route.gw))).collect(),
        })
    }
}

fn fault(place: &str, message: String) -> Fault {
    <Fault as serde::de::Error>::custom(message).under(place)
}

fn read_ip(
    address: &str,
    gateway: Option<&str>,
    interface: Option<i64>,
    name: &str,
) -> std::result::Result<Ip, Fault> {
    Ok(Ip {
        // -1 and below stand for "none" in documents of old plugins.
        interface: interface.and_then(|index| usize::try_from(index).ok()),
        address: parse_cidr(address).map_err(|error| fault(name, error))?,
        gateway: read_address(gateway, "gateway")?,
    })
}

fn read_address(text: Option<&str>, name: &str) -> std::result::Result<Option<IpAddr>, Fault> {
    let Some(text) = text.filter(|text| !text.is_empty()) else { return Ok(None) };
    text.parse().map(Some).map_err(|_| fault(name, format!("invalid IP address: {text}")))
}

fn read_routes(routes: &[wire::Route]) -> std::result::Result<Vec<Route>, Fault> {
    let read = |route: &wire::Route| {
        Ok(Route {
            dst: parse_cidr(&route.dst).map_err(|error| fault("dst", error))?,
            gw: read_address(route.gw.as_deref(), "gw")?,
            mtu: route.mtu,
            advmss: route.advmss,
            priority: route.priority,
            table: route.table,
            scope: route.scope,
        })
    };
    let read_at = |(index, route)| {
        read(route).map_err(|fault: Fault| fault.under(&format!("routes[{index}]")))
    };
    routes.iter().enumerate().map(read_at).collect()
}

/// Routes as configurations and results spell them: an array of objects with `dst`, `gw`, ….
///
/// # Errors
/// The place and the value of what is wrong, below `routes`.
pub fn decode_routes(value: &Value) -> std::result::Result<Vec<Route>, Fault> {
    let wire: Vec<wire::Route> = json::decode(value).map_err(|fault| fault.under("routes"))?;
    read_routes(&wire)
}

fn write_ip(ip: &Ip, version: Version) -> wire::Ip {
    let family = if ip.address.is_ipv4() { "4" } else { "6" };
    wire::Ip {
        version: (version < Version::V1_0_0).then_some(family),
        interface: ip.interface.and_then(|index| i64::try_from(index).ok()),
        address: ip.address.to_string(),
        gateway: ip.gateway.map(|gateway| gateway.to_string()),
    }
}

/// The fields of 1.1.0 are written from 0.3.0 on, as the reference does: a main plugin of an older
/// configuration sets what its IPAM plugin says.
fn write_route(route: &Route) -> wire::Route {
    wire::Route {
        dst: route.dst.to_string(),
        gw: route.gw.map(|gw| gw.to_string()),
        mtu: route.mtu,
        advmss: route.advmss,
        priority: route.priority,
        table: route.table,
        scope: route.scope,
    }
}

#[cfg(test)]
mod tests;
