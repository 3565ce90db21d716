//! From JSON and `CNI_ARGS` to addresses that are valid. The texts of errors are the reference's.

use cni::json::{self, Fault};
use cni::{Dns, Error, NetConf, Request, Result, Route, Version, log};
use ipnetwork::IpNetwork;
use serde::Deserialize;
use serde_json::Value;
use std::net::IpAddr;

/// The configuration of this plugin.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Config {
    /// The addresses of the attachment, in the order of the result.
    pub addresses: Vec<Entry>,
    /// Passed on to the result.
    pub routes: Vec<Route>,
    /// Passed on to the result.
    pub dns: Dns,
}

/// An address of the attachment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    /// With its prefix length; host bits are kept. An IPv4 address in IPv6 notation is IPv4 here.
    pub address: IpNetwork,
    /// The gateway of its subnet.
    pub gateway: Option<IpAddr>,
}

/// `ipam` as it is written. An address stays text, since one that is not used is not validated.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Raw {
    addresses: Vec<RawEntry>,
    dns: Dns,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct RawEntry {
    address: String,
    gateway: String,
}

impl Config {
    /// Reads and validates the configuration of a request. `runtimeConfig.ips` replaces
    /// `args.cni.ips`, and either replaces `ipam.addresses` and `IP` of `CNI_ARGS`, which are added
    /// up.
    ///
    /// # Errors
    /// Code 7 naming the key and the value, 4 for `CNI_ARGS`.
    pub fn load(request: &Request) -> Result<Config> {
        let Some(ipam) = json::get(&request.conf.object, "ipam") else {
            return Err(Error::config("IPAM config missing 'ipam' key").details(
                "set ipam, as {\"type\": \"static\", \"addresses\": [{\"address\": \"10.1.0.5/24\"}]}",
            ));
        };
        let raw: Raw = json::decode(ipam).map_err(|fault| invalid(&fault.under("ipam")))?;
        let by_args = by_args(request)?;
        let requested = match runtime(&request.conf)? {
            Some(texts) => Some(texts),
            None => args(&request.conf)?,
        };
        let mut addresses = Vec::new();
        match requested {
            Some(texts) => texts.iter().try_for_each(|text| {
                let msg = "an entry in the 'ips' field is NOT in CIDR notation, got:";
                addresses.push(Entry { address: cidr(text, msg)?, gateway: None });
                Ok(())
            })?,
            None => {
                addresses = configured(&raw.addresses)?;
                addresses.extend(by_args);
            }
        }
        let config = Config { addresses: once(addresses), routes: routes(ipam)?, dns: raw.dns };
        config.one_per_family(request.conf.version)?;
        Ok(config)
    }

    fn one_per_family(&self, version: Version) -> Result<()> {
        let v4 = self.addresses.iter().filter(|entry| entry.address.is_ipv4()).count();
        if version >= Version::V0_3_0 || v4 <= 1 && self.addresses.len() - v4 <= 1 {
            return Ok(());
        }
        let msg = format!("CNI version {version} does not support more than 1 address per family");
        // Without details, as the reference has it: Go clients compare `msg; details`.
        Err(Error::config(msg))
    }
}

/// An IPv4 address in IPv6 notation (`::ffff:10.1.0.5/120`) as IPv4, any other as it is.
pub fn canonical(network: IpNetwork) -> IpNetwork {
    let prefix = network.prefix().checked_sub(96);
    match (network.ip(), network.ip().to_canonical(), prefix) {
        (IpAddr::V6(_), IpAddr::V4(four), Some(prefix)) => {
            IpNetwork::new(four.into(), prefix).unwrap_or(network)
        }
        _ => network,
    }
}

fn invalid(fault: &Fault) -> Error {
    Error::config("invalid network configuration").details(fault.to_string())
}

fn fault(message: String) -> Fault {
    <Fault as serde::de::Error>::custom(message)
}

fn routes(ipam: &Value) -> Result<Vec<Route>> {
    let routes = ipam.as_object().and_then(|ipam| json::get(ipam, "routes"));
    routes.map_or(Ok(Vec::new()), |value| {
        cni::result::decode_routes(value).map_err(|fault| invalid(&fault.under("ipam")))
    })
}

/// Parses an address with a prefix length; `msg` is the beginning of the error.
fn cidr(text: &str, msg: &str) -> Result<IpNetwork> {
    cni::result::parse_cidr(text).map(canonical).map_err(|_| {
        Error::config(format!("{msg} '{text}'"))
            .details("write an address with its prefix length, as 10.1.0.5/24 or fd00:1::5/64")
    })
}

fn configured(raw: &[RawEntry]) -> Result<Vec<Entry>> {
    let read = |(index, entry): (usize, &RawEntry)| {
        let address =
            cidr(&entry.address, "the 'address' field is expected to be in CIDR notation, got:")
                .map_err(|error| error.also(format!("ipam.addresses[{index}].address")))?;
        let gateway = match entry.gateway.as_str() {
            "" => None,
            text => Some(text.parse::<IpAddr>().map_err(|_| {
                let place = format!("ipam.addresses[{index}]");
                let fault = fault(format!("invalid IP address: {text}")).under("gateway");
                invalid(&fault.under(&place))
            })?),
        };
        Ok(Entry { address, gateway: gateway.map(|gateway| gateway.to_canonical()) })
    };
    raw.iter().enumerate().map(read).collect()
}

/// `IP`, a list separated by commas, with the gateways of `GATEWAY`: each is that of the addresses in
/// whose subnet it lies.
fn by_args(request: &Request) -> Result<Vec<Entry>> {
    let args = &request.env.args;
    args.only(&["IP", "GATEWAY"])?;
    let list = |key| args.get(key).filter(|text| !text.is_empty()).unwrap_or_default();
    let mut entries = Vec::new();
    for text in split(list("IP")) {
        let msg = "the 'ip' field is expected to be in CIDR notation, got:";
        let address = cidr(text, msg).map_err(|error| Error {
            code: cni::code::INVALID_ENVIRONMENT,
            ..error.also("it is IP of CNI_ARGS")
        })?;
        entries.push(Entry { address, gateway: None });
    }
    for text in split(list("GATEWAY")) {
        let gateway: IpAddr = text.parse().map_err(|_| {
            Error::environment(format!("invalid gateway address: {text}"))
                .details("GATEWAY of CNI_ARGS is a list of addresses without prefix lengths")
        })?;
        assign(&mut entries, gateway.to_canonical());
    }
    Ok(entries)
}

fn split(list: &str) -> impl Iterator<Item = &str> {
    list.split(',').filter(|_| !list.is_empty()).map(str::trim)
}

fn assign(entries: &mut [Entry], gateway: IpAddr) {
    let mut served = entries.iter_mut().filter(|entry| entry.address.contains(gateway)).peekable();
    if served.peek().is_none() {
        log::warn(&format!(
            "GATEWAY {gateway} of CNI_ARGS is not used: it lies in the subnet of no address of IP; set \
             ipam.addresses[].gateway for a configured address"
        ));
    }
    served.for_each(|entry| entry.gateway = Some(gateway));
}

/// `runtimeConfig.ips`; `None` where it is absent or empty.
fn runtime(conf: &NetConf) -> Result<Option<Vec<String>>> {
    let config = json::get(&conf.object, "runtimeConfig").and_then(Value::as_object);
    texts(config.and_then(|config| json::get(config, "ips")), "runtimeConfig")
}

/// `args.cni.ips`; `None` where it is absent or empty.
fn args(conf: &NetConf) -> Result<Option<Vec<String>>> {
    let args = json::get(&conf.object, "args").and_then(Value::as_object);
    let cni = args.and_then(|args| json::get(args, "cni")).and_then(Value::as_object);
    texts(cni.and_then(|cni| json::get(cni, "ips")), "args.cni")
}

fn texts(value: Option<&Value>, place: &str) -> Result<Option<Vec<String>>> {
    let Some(value) = value else { return Ok(None) };
    let texts: Vec<String> =
        json::decode(value).map_err(|fault| invalid(&fault.under("ips").under(place)))?;
    Ok(Some(texts).filter(|texts| !texts.is_empty()))
}

/// The same address twice, as from `ipam.addresses` and `IP`, is one: the kernel refuses the second.
fn once(entries: Vec<Entry>) -> Vec<Entry> {
    let mut once: Vec<Entry> = Vec::new();
    for entry in entries {
        match once.iter_mut().find(|seen| seen.address == entry.address) {
            Some(seen) => seen.gateway = entry.gateway.or(seen.gateway),
            None => once.push(entry),
        }
    }
    once
}

#[cfg(test)]
mod tests;
