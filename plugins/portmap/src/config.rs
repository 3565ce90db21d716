//! What a configuration asks for.

use attach::{HostPort, Sources, Transport, keys};
use cni::{Error, Request, Result, code, log};
use serde::Deserialize;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;

/// A mapping that is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// The protocol.
    pub transport: Transport,
    /// The node's address; `None` for every one, of both families.
    pub host: Option<IpAddr>,
    /// The node's port.
    pub host_port: u16,
    /// The pod's port.
    pub pod_port: u16,
}

impl Wanted {
    /// The node's port in the family of a pod's address; `None` where it is of the other one.
    pub fn in_family_of(&self, pod: IpAddr) -> Option<HostPort> {
        let any: IpAddr = match pod {
            IpAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
            IpAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
        };
        let host = self.host.unwrap_or(any);
        let at = SocketAddr::new(host, self.host_port);
        (host.is_ipv4() == pod.is_ipv4()).then_some(HostPort { transport: self.transport, at })
    }
}

/// A valid configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// What is mapped.
    pub wanted: Vec<Wanted>,
    /// Whose source address is translated.
    pub sources: Sources,
    /// Where records are.
    pub run_dir: PathBuf,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Wire {
    backend: Option<String>,
    snat: Option<bool>,
    masq_all: bool,
    mark_masq_bit: Option<i64>,
    external_set_mark_chain: Option<String>,
    #[serde(rename = "conditionsV4")]
    conditions_v4: Option<Vec<String>>,
    #[serde(rename = "conditionsV6")]
    conditions_v6: Option<Vec<String>>,
    runtime_config: RuntimeConfig,
    run_dir: String,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct RuntimeConfig {
    port_mappings: Vec<Entry>,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Entry {
    host_port: i64,
    container_port: i64,
    protocol: String,
    #[serde(rename = "hostIP")]
    host_ip: String,
}

impl Config {
    /// Reads and validates everything.
    ///
    /// # Errors
    /// Code 7 with key and value; 2 for conditions.
    pub fn read(request: &Request) -> Result<Config> {
        Config::of(request.conf.decode()?)
    }

    fn of(wire: Wire) -> Result<Config> {
        marks(&wire)?;
        backend(&wire)?;
        conditions("conditionsV4", wire.conditions_v4.as_deref())?;
        conditions("conditionsV6", wire.conditions_v6.as_deref())?;
        let sources = match (wire.snat.unwrap_or(true), wire.masq_all) {
            (false, _) => Sources::Kept,
            (true, false) => Sources::Near,
            (true, true) => Sources::All,
        };
        let entries = wire.runtime_config.port_mappings.iter().enumerate();
        let wanted = entries.map(|(at, entry)| {
            entry
                .read(sources)
                .map_err(|error| error.also(format!("it is runtimeConfig.portMappings[{at}]")))
        });
        let wanted = wanted.collect::<Result<_>>()?;
        Ok(Config { wanted, sources, run_dir: keys::run_dir(&wire.run_dir)? })
    }
}

/// Nothing is marked: both keys are read, so that what the reference refuses is refused.
fn marks(wire: &Wire) -> Result<()> {
    if wire.mark_masq_bit.is_some() && wire.external_set_mark_chain.is_some() {
        return Err(Error::config("Cannot specify externalSetMarkChain and markMasqBit")
            .details("remove both: portmap marks no packet"));
    }
    if let Some(bit) = wire.mark_masq_bit.filter(|bit| !(0..=31).contains(bit)) {
        return Err(Error::config("MasqMarkBit must be between 0 and 31")
            .details(format!("markMasqBit is {bit}; remove it: portmap marks no packet")));
    }
    if let Some(chain) = wire.external_set_mark_chain.as_ref().filter(|chain| !chain.is_empty()) {
        log::warn(&format!(
            "externalSetMarkChain {chain:?} is not used: portmap masquerades without marks"
        ));
    }
    Ok(())
}

fn backend(wire: &Wire) -> Result<()> {
    match wire.backend.as_deref() {
        Some("nftables") if wire.external_set_mark_chain.is_some() => Err(Error::config(
            "nftables backend was requested but configuration contains iptables-specific options \
             [externalSetMarkChain]",
        )
        .details("remove externalSetMarkChain: portmap masquerades without marks")),
        None | Some("nftables") => Ok(()),
        Some("iptables") => {
            log::warn("backend iptables is served by nftables");
            Ok(())
        }
        Some(other) => Err(Error::config(format!("unrecognized backend {other:?}"))
            .details("backend is nftables, or iptables, which is served by nftables too")),
    }
}

/// A list of nothing, or of an empty text, says nothing.
fn conditions(key: &str, words: Option<&[String]>) -> Result<()> {
    let words = words.unwrap_or_default();
    if words.first().is_none_or(String::is_empty) {
        return Ok(());
    }
    let msg = format!("{key} is not supported");
    Err(Error::new(code::UNSUPPORTED_FIELD, msg).details(format!(
        "its value is {:?}: words of iptables or nft that portmap does not run; remove the key, and \
         filter by a rule of your own, or give the mappings a hostIP",
        words.join(" ")
    )))
}

impl Entry {
    fn read(&self, sources: Sources) -> Result<Wanted> {
        let pod_port = port("container", "containerPort", self.container_port)?;
        let host_port = port("host", "hostPort", self.host_port)?;
        let transport = self.protocol.parse().map_err(|_| {
            let msg = format!("invalid protocol {:?} of hostPort {host_port}", self.protocol);
            Error::config(msg).details("protocol is tcp, udp or sctp")
        })?;
        let host = self.host(sources)?;
        Ok(Wanted { transport, host, host_port, pod_port })
    }

    fn host(&self, sources: Sources) -> Result<Option<IpAddr>> {
        let wrong = |why: &str| {
            let msg = format!("invalid hostIP {:?} of hostPort {}", self.host_ip, self.host_port);
            Error::config(msg).details(why)
        };
        if self.host_ip.is_empty() {
            return Ok(None);
        }
        let address: IpAddr = self.host_ip.parse().map_err(|_| {
            wrong("hostIP is an address of the node; leave it out for every address")
        })?;
        match address.to_canonical() {
            IpAddr::V6(address) if address.is_loopback() => Err(wrong(
                "no packet leaves the node from ::1 (IPv6 has no route_localnet); use 127.0.0.1, or \
                 another address of the node",
            )),
            address if address.is_loopback() && sources == Sources::Kept => Err(wrong(
                "what comes from 127.0.0.1 reaches no pod unless its source is translated; set snat",
            )),
            address if address.is_multicast() => {
                Err(wrong("a multicast address is no address of the node"))
            }
            IpAddr::V4(Ipv4Addr::BROADCAST) => {
                Err(wrong("the broadcast address is no address of the node"))
            }
            address => Ok(Some(address)),
        }
    }
}

fn port(whose: &str, key: &str, value: i64) -> Result<u16> {
    let port = u16::try_from(value).ok().filter(|port| *port > 0);
    port.ok_or_else(|| {
        Error::config(format!("Invalid {whose} port number: {value}"))
            .details(format!("{key} is 1 to 65535"))
    })
}

#[cfg(test)]
mod tests;
