//! The network of the bridge plugin: what its configuration makes of an attachment, and what ADD waits
//! for.

use crate::config::Config;
use crate::plan;
use attach::forwarding::Forwarder;
use attach::{Hold, Item, Kernel, Link, Mac, Names, Network, Place, PodName};
use cni::{Attachment, CniResult, Error, Request, Result, log};
use node::Policy;
use std::path::Path;
use std::time::Duration;

impl Network for Config {
    /// Bridge, host end, pod end.
    const POD_INTERFACE: usize = 2;

    fn run_dir(&self) -> &Path {
        &self.run_dir
    }

    fn names(&self, attachment: &Attachment) -> Names {
        Names::of(attachment, self.mac, self.mtu)
    }

    fn shared(&self) -> Vec<Item> {
        plan::bridge(self)
    }

    fn link(&self, names: &Names) -> Vec<Item> {
        plan::link(self, names)
    }

    fn complete(&self, from_ipam: CniResult) -> Result<CniResult> {
        plan::complete(self, from_ipam, Self::POD_INTERFACE)
    }

    fn name(&self, names: &mut Names, result: &CniResult) {
        if self.mac.is_none() {
            names.pod_mac = plan::mac_of(result).or(names.pod_mac);
        }
    }

    fn up(&self, names: &Names, result: &CniResult) -> Vec<Item> {
        plan::up(self, names, result)
    }

    fn layer3(&self, names: &Names, result: &CniResult) -> Vec<Item> {
        plan::layer3(self, names, result)
    }

    fn last(&self, names: &Names, result: &CniResult) -> Vec<Item> {
        plan::last(self, names, result)
    }

    /// Announces the addresses too; the links are bridge, host end, pod end, and the VLAN's gateway
    /// if there is one.
    fn settle(
        &self,
        kernel: &mut Kernel,
        names: &Names,
        result: &CniResult,
    ) -> attach::Result<Vec<Link>> {
        let (host, pod) = if self.pod_up {
            let (host, pod) = kernel.wait_running(&names.host, &names.pod)?;
            wait_for_stp(kernel, &self.bridge, &host)?;
            (host, pod)
        } else {
            let host = kernel.known_link(Place::Host, &names.host)?;
            (host, kernel.known_link(Place::Pod, &names.pod)?)
        };
        if self.dad && plan::has_v6_address(result) {
            kernel.wait_for_dad(&names.pod)?;
        }
        let addresses = result.ips.iter().map(|ip| ip.address.ip());
        kernel.wait_reachable(Place::Pod, &names.pod, addresses)?;
        if self.gateway {
            let gateways = result.ips.iter().filter_map(|ip| ip.gateway);
            kernel.wait_reachable(Place::Host, &plan::gateway_link(self), gateways)?;
        }
        if is_news(kernel, self, result, pod.mac)? {
            kernel.announce(&pod)?;
        }
        let mut links = vec![kernel.known_link(Place::Host, &self.bridge)?, host, pod];
        if self.gateway && self.vlan.is_some() {
            links.push(kernel.known_link(Place::Host, &plan::gateway_link(self))?);
        }
        Ok(links)
    }

    fn hold(&self, request: &Request) -> Result<Option<Hold>> {
        let policy =
            Policy::read(&self.run_dir).map_err(|error| Error::config(error.to_string()))?;
        let namespace = PodName::of(request).map(|pod| pod.namespace).unwrap_or_default();
        Ok(policy.map(|policy| Hold {
            selectable: policy.may_select(&namespace),
            wait: Duration::from_millis(policy.wait_ms),
            bridge: Some(self.bridge.clone()),
        }))
    }

    fn forwarder(&self) -> Forwarder {
        if self.gateway { Forwarder::Link(plan::gateway_link(self)) } else { Forwarder::None }
    }

    fn needs_nft(&self) -> bool {
        self.masquerade || self.macspoof
    }
}

/// A port of a bridge with STP passes nothing for twice the forward delay, 30 s by default. ADD
/// waits for it, or says that the pod has to.
fn wait_for_stp(kernel: &mut Kernel, bridge: &str, port: &Link) -> attach::Result<()> {
    let mut limit = 0.0;
    let forwards = kernel.wait_forwarding(port, bridge, |patience| {
        limit = patience.as_secs_f32();
        log::info(&format!(
            "waiting up to {limit} s until the spanning tree (STP) of bridge {bridge} lets {} forward",
            port.name
        ));
    })?;
    if !forwards {
        log::warn(&format!(
            "the spanning tree (STP) of bridge {bridge} still holds {} back after {limit} s: the pod \
             has no network until it forwards; see `bridge link show dev {}`, switch STP off, or \
             lower the bridge's forward_delay",
            port.name, port.name
        ));
    }
    Ok(())
}

/// Whether a neighbour may remember an address of the pod at another MAC address. An announcement
/// is flooded to every pod of the bridge, which takes the kernel 4 ms with 500 of them.
fn is_news(
    kernel: &mut Kernel,
    config: &Config,
    result: &CniResult,
    mac: Mac,
) -> attach::Result<bool> {
    // Of an address whose MAC address does not follow from it, as one that IPAM leased by the link,
    // the last holder had another.
    let chosen = plan::mac_of(result).is_some_and(|derived| derived != mac);
    if plan::has_v6_address(result) || !config.gateway || chosen {
        return Ok(!result.ips.is_empty());
    }
    // An earlier pod with this address and another MAC address has asked for the gateway.
    let gateway = plan::gateway_link(config);
    for ip in &result.ips {
        if kernel.is_known_elsewhere(&gateway, ip.address.ip(), mac)? {
            return Ok(true);
        }
    }
    Ok(false)
}
