//! What must exist for a pod's host ports.

use crate::config::{Config, Wanted};
use attach::chain::Chained;
use attach::{HostPort, HostPorts, Item, MappedPod, Mapping, Rule, Sources};
use cni::{CniResult, Error, Request, Result};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::Path;

/// The plugin's name in records and marks.
pub const NAME: &str = "portmap";

/// A configuration with the pod's addresses.
pub struct Plan {
    config: Config,
    /// The addresses that ports lead to, one of each family at most, each with the node's link to it
    /// where it is known.
    pub pods: Vec<MappedPod>,
}

impl Plan {
    /// Of the addresses of `CNI_IFNAME` in the result, the first of each family.
    pub fn new(config: Config, request: &Request, result: &CniResult) -> Plan {
        let mut pods: Vec<MappedPod> = Vec::new();
        for ip in &result.ips {
            let address = ip.address.ip();
            let interface = ip.interface.and_then(|index| result.interfaces.get(index));
            let elsewhere =
                interface.is_some_and(|i| i.name != request.env.ifname || i.sandbox.is_empty());
            let known = pods.iter().any(|pod| pod.address.is_ipv4() == address.is_ipv4());
            if !elsewhere && !known {
                pods.push(MappedPod { address, link: None });
            }
        }
        pods.retain(|pod| {
            config.wanted.iter().any(|wanted| wanted.in_family_of(pod.address).is_some())
        });
        Plan { config, pods }
    }

    /// Whether the plan depends on the links that lead to the pod.
    pub fn needs_links(&self) -> bool {
        self.config.sources != Sources::Kept
    }

    /// The mappings on an address of a family that the pod has no address of.
    pub fn of_no_use(&self) -> impl Iterator<Item = &Wanted> {
        let led = |wanted: &&Wanted| {
            self.pods.iter().all(|pod| wanted.in_family_of(pod.address).is_none())
        };
        self.config.wanted.iter().filter(led)
    }

    /// Each port once.
    fn mappings(&self) -> Result<Vec<Mapping>> {
        let mut mappings: BTreeMap<HostPort, SocketAddr> = BTreeMap::new();
        for wanted in &self.config.wanted {
            for pod in &self.pods {
                let Some(port) = wanted.in_family_of(pod.address) else { continue };
                let to = SocketAddr::new(pod.address, wanted.pod_port);
                let before = mappings.insert(port, to);
                if let Some(before) = before.filter(|before| *before != to) {
                    return Err(Error::config(format!("host port {port} is mapped twice"))
                        .details(format!(
                            "to {before} and to {to}: remove one of runtimeConfig.portMappings"
                        )));
                }
            }
        }
        Ok(mappings.into_iter().map(|(port, to)| Mapping { port, to }).collect())
    }
}

impl Chained for Plan {
    const NAME: &'static str = NAME;

    fn run_dir(&self) -> &Path {
        &self.config.run_dir
    }

    fn plan(&self, _: &Request, _: &CniResult, comment: &str) -> Result<Vec<Item>> {
        let mappings = self.mappings()?;
        if mappings.is_empty() {
            return Ok(Vec::new());
        }
        Ok(vec![Item::Rule(Rule::HostPorts(HostPorts {
            mappings,
            pods: self.pods.clone(),
            sources: self.config.sources,
            comment: comment.to_owned(),
        }))])
    }
}
