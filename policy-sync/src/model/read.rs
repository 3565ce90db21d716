//! From objects to the types of [`model`](super): what is wrong is named, and never opens anything.

mod cluster;
mod network;

pub use cluster::cluster_policy;
pub use network::network_policy;

use super::{Name, NamedPort, PROTOCOLS, Pod};
use ipnetwork::IpNetwork;
use kube_source::objects::{self, Metadata, policy::Protocol};
use std::net::IpAddr;
use std::sync::Arc;

/// A policy with this annotation, `"true"`, counts what it would drop, and drops nothing.
pub const DRY_RUN: &str = "ferrule.io/dry-run";
/// The pod of a file is the container whose ID begins with this annotation.
pub const CONTAINER: &str = "ferrule.io/container-id";
/// The UID of a static pod, by which the runtime names it: its object in the API has another.
const STATIC_UID: &str = "kubernetes.io/config.hash";
/// Where an object of a file is that names no namespace.
const NAMESPACE: &str = "default";

/// What is wrong with an object, in words.
pub type Faults = Vec<String>;

/// Its name, with the namespace that it has unless it names one.
pub fn name(metadata: &Metadata) -> Name {
    let namespace = match metadata.namespace.as_str() {
        "" => NAMESPACE,
        namespace => namespace,
    };
    Name::new(namespace, &metadata.name)
}

/// A pod; `None` where it has no address of its own: in the node's network, or ended. (An ended pod keeps its address
/// in its status while another pod has it.)
pub fn pod(object: &Arc<objects::Pod>) -> Option<Pod> {
    let objects::Pod { metadata, spec, status } = &**object;
    if spec.host_network || ["Succeeded", "Failed"].contains(&status.phase.as_str()) {
        return None;
    }
    let known = [Some(&metadata.uid), metadata.annotations.get(STATIC_UID)];
    let uids = known.into_iter().flatten().filter(|uid| !uid.is_empty()).cloned();
    let addresses = status.pod_ips.iter().filter_map(|ip| ip.ip.parse::<IpAddr>().ok());
    let mut addresses: Vec<IpAddr> = addresses.collect();
    addresses.sort_unstable();
    addresses.dedup();
    Some(Pod {
        name: name(metadata),
        uids: uids.collect(),
        object: Arc::clone(object),
        ports: ports(spec),
        addresses,
        node: Some(spec.node_name.clone()).filter(|node| !node.is_empty()),
        created: metadata.creation_timestamp.clone(),
        container: metadata.annotations.get(CONTAINER).cloned(),
    })
}

/// The named ports of containers that run beside one another.
fn ports(spec: &objects::PodSpec) -> Vec<NamedPort> {
    let beside = spec.init_containers.iter().filter(|init| init.restart_policy == "Always");
    let ports = spec.containers.iter().chain(beside).flat_map(|container| &container.ports);
    let mut named: Vec<NamedPort> = ports
        .filter(|port| !port.name.is_empty())
        .filter_map(|port| {
            let (protocol, _) = PROTOCOLS.iter().find(|(_, name)| *name == port.protocol)?;
            let name = port.name.clone();
            Some(NamedPort { name, protocol: *protocol, port: port.container_port })
        })
        .collect();
    named.sort_unstable();
    named.dedup();
    named
}

/// Whether a policy is in dry run. Any other value than `true` and `false` is a fault, and the policy is enforced.
fn dry_run(metadata: &Metadata, faults: &mut Faults) -> bool {
    match metadata.annotations.get(DRY_RUN).map(String::as_str) {
        Some("true") => true,
        None | Some("false") => false,
        Some(other) => {
            faults.push(format!(
                "annotation {DRY_RUN} is {other:?}, so the policy is enforced: write \"true\" or \"false\""
            ));
            false
        }
    }
}

/// A network. Host bits, which the API server admits in ipBlock with a warning, do not count.
fn cidr(text: &str) -> Result<IpNetwork, String> {
    let network = text.parse::<IpNetwork>().ok().filter(|_| text.contains('/'));
    let whole = network.and_then(|it| IpNetwork::new(it.network(), it.prefix()).ok());
    let remedy = "write one as \"10.0.0.0/8\" or \"fd00::/8\"";
    whole.ok_or_else(|| format!("{text:?} is no network: {remedy}"))
}

fn number(protocol: Protocol) -> u8 {
    match protocol {
        Protocol::Tcp => 6,
        Protocol::Udp => 17,
        Protocol::Sctp => 132,
    }
}
