//! Holding pods back, and waiting for what policies say of them.

use crate::hold::{HeldPod, Hold, PodName};
use crate::kernel::{Kernel, Result};
use crate::{Item, Place};
use cni::{CniResult, Request, log};
use net::{Family, link, sysctl};
use std::net::IpAddr;
use std::path::Path;

impl Hold {
    /// What is held of a pod with this result.
    pub(crate) fn items(&self, request: &Request, comment: &str, result: &CniResult) -> Vec<Item> {
        let pod = PodName::of(request);
        let held =
            |address: IpAddr| HeldPod::new(address, comment, pod.clone(), self.selectable).into();
        let addresses = result.ips.iter().map(|ip| ip.address.ip());
        addresses.map(held).map(Item::Rule).collect()
    }

    /// Waits until policy-sync has decided on all addresses, or says that the pod stays held.
    pub(crate) fn wait(&self, kernel: &mut Kernel, items: &[Item]) {
        let held: Vec<_> = items.iter().filter_map(held_back).map(|pod| pod.held.clone()).collect();
        if held.is_empty() {
            return;
        }
        let decided = kernel.nft().and_then(|nft| Ok(nft.wait_decided(&held, self.wait)?));
        match decided {
            Ok(true) => {}
            Ok(false) => log::warn(&format!(
                "the pod starts without a network: policy-sync has not decided within {:?} which \
                 policies select it; look at `policy-sync status`, or start policy-sync",
                self.wait
            )),
            Err(error) => log::warn(&format!(
                "cannot see whether policy-sync has decided on the pod: {}: {}; it has no network until \
                 policy-sync has",
                error.summary(),
                error.cause()
            )),
        }
        // policy-sync deleted the held element, and closing the socket would wait for that.
        kernel.leave_netfilter();
    }
}

fn held_back(item: &Item) -> Option<&HeldPod> {
    match item {
        Item::Rule(rule) => rule.held_pod().filter(|pod| pod.selectable),
        _ => None,
    }
}

/// br_netfilter's sysctls, which are there with it.
const BR_NETFILTER: &str = "/proc/sys/net/bridge";

impl Kernel {
    /// Connections of an earlier pod with the address end: what is established passes.
    pub(crate) fn hold(&mut self, pod: &HeldPod) -> Result<()> {
        if !pod.selectable {
            return Ok(());
        }
        self.nft()?.hold(&pod.held)?;
        if let Err(error) = self.forget_connections(pod.held.address) {
            log::warn(&format!(
                "connections of an earlier pod with the address {} may go on: {}: {}",
                pod.held.address,
                error.summary(),
                error.cause()
            ));
        }
        Ok(())
    }

    /// Those of IPv6 are policy-sync's to end: the kernel has no quick way to find them.
    fn forget_connections(&mut self, address: IpAddr) -> Result<()> {
        let IpAddr::V4(v4) = address else { return Ok(()) };
        // Of this network namespace.
        let count = sysctl::get("net/netfilter/nf_conntrack_count").ok().flatten();
        if count.as_deref() == Some("0") {
            return Ok(());
        }
        let mut conntrack = self.conntrack()?;
        if !conntrack.forget_address(v4)? {
            let own = |source, destination| source == address || destination == address;
            for connection in conntrack.connections(Family::V4, own)? {
                conntrack.forget(&connection)?;
            }
        }
        self.conntrack = Some(conntrack);
        Ok(())
    }

    /// The bridge's own switch: those of the network namespace, and so other bridges, stay as they are.
    pub(crate) fn ensure_hooks(&mut self, bridge: &str) -> Result<()> {
        if !Path::new(BR_NETFILTER).exists() {
            log::warn(&format!(
                "policies do not see what pods of bridge {bridge} send to each other: load the kernel \
                 module br_netfilter"
            ));
        }
        let link = self.known_link(Place::Host, bridge)?;
        match link.calls_hooks {
            [true, true] => Ok(()),
            _ => Ok(self.host.set(&link::set_hooks(link.index, true, bridge))?),
        }
    }

    pub(crate) fn check_hooks(&mut self, bridge: &str) -> Result<Vec<String>> {
        let link = self.known_link(Place::Host, bridge)?;
        let off = link.calls_hooks != [true, true];
        Ok(off
            .then(|| "they do not see the frames between its ports".to_owned())
            .into_iter()
            .collect())
    }
}
