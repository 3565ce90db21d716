//! What a network wants, as items.

use crate::config::{Config, Policy};
use attach::chain::Chained;
use attach::{Forwarded, Isolation, Item, Rule};
use cni::{CniResult, Error, Request, Result, ifname};
use std::net::IpAddr;
use std::path::Path;

impl Chained for Config {
    const NAME: &'static str = "firewall";

    fn run_dir(&self) -> &Path {
        &self.run_dir
    }

    fn plan(&self, _request: &Request, result: &CniResult, comment: &str) -> Result<Vec<Item>> {
        let isolation = self.isolation(result)?;
        let forwarded = |address| {
            Item::Rule(Rule::Forwarded(Forwarded {
                address,
                isolation: isolation.clone(),
                admin: self.admin.clone(),
                comment: comment.to_owned(),
            }))
        };
        Ok(addresses(result).into_iter().map(forwarded).collect())
    }
}

impl Config {
    /// The bridge is the first interface of the result, as plugins that attach to one have it. Behind
    /// another plugin that may be the pod's interface, whose name a link of the node may have too.
    fn isolation(&self, result: &CniResult) -> Result<Option<Isolation>> {
        if self.policy == Policy::Open {
            return Ok(None);
        }
        let policy = self.policy.as_str();
        let none = || {
            Error::config(format!(
                "interface needs to be set for ingress policy {policy:?}, make sure to chain \
                 \"firewall\" plugin with \"bridge\""
            ))
        };
        let bridge = result.interfaces.first().ok_or_else(none)?;
        if !bridge.sandbox.is_empty() {
            return Err(none().details(format!(
                "the first interface of prevResult, {:?}, is the pod's and no bridge; remove \
                 ingressPolicy, or attach the pod by bridge",
                bridge.name
            )));
        }
        match bridge.name.len() {
            1..=ifname::MAX => {}
            0 => return Err(Error::config("got empty bridge name")),
            _ => {
                let msg = format!("{:?} is no name of a bridge", bridge.name);
                return Err(Error::config(msg)
                    .details("the first interface of prevResult has more than 15 bytes"));
            }
        }
        let isolated = self.policy == Policy::Isolated;
        Ok(Some(Isolation { bridge: bridge.name.clone(), isolated }))
    }
}

/// The addresses of a result, each once.
pub(crate) fn addresses(result: &CniResult) -> Vec<IpAddr> {
    let mut addresses: Vec<IpAddr> = result.ips.iter().map(|ip| ip.address.ip()).collect();
    addresses.sort_unstable();
    addresses.dedup();
    addresses
}

#[cfg(test)]
mod tests;
