//! node.json, which the plugins read.

use super::Sync;
use crate::tunnel::device::Tunnel;
use crate::view::View;
use node::Node;

impl Sync {
    /// The node's part in the cluster, as the plugins read it; `None` while it is not known.
    pub fn node(&self) -> Option<Node> {
        let View { desired, config, convergence, .. } = &self.view;
        let own = self.own().filter(|_| convergence.knows_node())?;
        let vxlan = desired.tunnel.as_ref().map(|Tunnel::Vxlan(vtep)| node::Vxlan {
            device: vtep.name.clone(),
            vni: vtep.vni,
            port: vtep.port,
            underlay: vtep.underlay.1.clone(),
            local: vtep.local,
            mac: vtep.mac.to_string(),
            mtu: vtep.mtu,
            addresses: vtep.addresses.clone(),
        });
        Some(Node {
            version: Node::VERSION,
            node: own.name.clone(),
            pod_cidrs: desired.own.clone(),
            cluster_cidrs: config.cluster_cidrs.clone(),
            mtu: desired.mtu,
            vxlan,
            bgp: config.bgp.as_ref().map(|bgp| node::Bgp { asn: bgp.asn }),
            earlier: self.view.earlier.clone(),
            forwarding_off: self.forwarding.off().map(str::to_owned),
            synced: convergence.is_synced(),
        })
    }

    /// Writes node.json where it is missing or says something else.
    pub(super) fn write_node(&mut self) {
        let there = Node::read(&self.view.config.run_dir).ok().flatten();
        let wanted = match self.node() {
            Some(node) => Some(node),
            // A node that is in no set has no pods that others could reach. All else stays: what
            // its pods have, they have from it.
            None if self.own().is_none() => {
                there.clone().map(|node| Node { synced: false, ..node })
            }
            None => None,
        };
        let Some(wanted) = wanted.filter(|wanted| there.as_ref() != Some(wanted)) else {
            return self.problems.solved("node.json");
        };
        match wanted.write(&self.view.config.run_dir) {
            Ok(()) => self.problems.solved("node.json"),
            Err(error) => self.problems.add("node.json", &error),
        }
    }
}
