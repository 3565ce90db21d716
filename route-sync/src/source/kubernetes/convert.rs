//! From Node objects to the node set: a pure function.

use crate::source::nodes::{Node, NodeSet, Refused};
use ipnetwork::IpNetwork;
use kube_source::objects;
use std::net::IpAddr;
use std::str::FromStr;
use std::sync::Arc;

/// Addresses that other nodes are to use, instead of those in the status: for nodes with several
/// links.
const ADDRESSES: &str = "ferrule.io/node-addresses";
/// Pod CIDRs beside those that are assigned.
const CIDRS: &str = "ferrule.io/pod-cidrs";
/// The same as [`ADDRESSES`] where flannel is, or was, used: one address of a family each.
const FLANNEL: [(&str, bool); 2] = [
    ("flannel.alpha.coreos.com/public-ip-overwrite", true),
    ("flannel.alpha.coreos.com/public-ipv6-overwrite", false),
];

/// The node set of Node objects. What of one is malformed is refused and named, and the rest of it
/// counts.
///
/// # Errors
/// There is none: without nodes every route would be removed.
pub(super) fn node_set(objects: &[Arc<objects::Node>]) -> Result<NodeSet, String> {
    if objects.is_empty() {
        return Err("the API server lists no Node; see kubectl get nodes".to_owned());
    }
    let mut set = NodeSet { nodes: Vec::with_capacity(objects.len()), refused: Vec::new() };
    for object in objects {
        let mut reader = Reader { object, faults: Vec::new() };
        let (addresses, pod_cidrs) = (reader.addresses(), reader.pod_cidrs());
        let name = &object.metadata.name;
        let refuse = |reason| Refused { node: name.clone(), cidr: None, reason };
        set.refused.extend(reader.faults.into_iter().map(refuse));
        set.nodes.push(Node { name: name.clone(), addresses, pod_cidrs });
    }
    Ok(set)
}

struct Reader<'a> {
    object: &'a objects::Node,
    faults: Vec<String>,
}

impl Reader<'_> {
    /// For each family: as our annotation has them, else as flannel's has it, else the first
    /// InternalIP, else the first ExternalIP.
    fn addresses(&mut self) -> Vec<IpAddr> {
        let ours: Vec<IpAddr> = self.list(ADDRESSES, "addresses", "192.0.2.11,2001:db8::11");
        let flannels = FLANNEL.map(|(name, v4)| self.of_flannel(name, v4));
        let mut addresses = Vec::new();
        for v4 in [true, false] {
            let before = addresses.len();
            let of_family = |address: &&IpAddr| address.is_ipv4() == v4;
            addresses.extend(ours.iter().filter(of_family));
            if addresses.len() == before {
                let flannel = flannels.iter().flatten().find(of_family).copied();
                let kinds = ["InternalIP", "ExternalIP"];
                let status = || kinds.iter().find_map(|kind| self.of_status(kind, v4));
                addresses.extend(flannel.or_else(status));
            }
        }
        addresses
    }

    fn of_status(&self, kind: &str, v4: bool) -> Option<IpAddr> {
        let listed = self.object.status.addresses.iter().filter(|listed| listed.kind == kind);
        let mut parsed = listed.filter_map(|listed| listed.address.parse().ok());
        parsed.find(|address: &IpAddr| address.is_ipv4() == v4)
    }

    fn of_flannel(&mut self, name: &str, v4: bool) -> Option<IpAddr> {
        let text = self.object.metadata.annotations.get(name)?.trim();
        let address = text.parse().ok().filter(|address: &IpAddr| address.is_ipv4() == v4);
        if address.is_none() {
            let family = if v4 { "IPv4" } else { "IPv6" };
            self.ignored(name, text, &format!("write one {family} address"));
        }
        address
    }

    /// Those that are assigned, then those of our annotation.
    fn pod_cidrs(&mut self) -> Vec<IpNetwork> {
        let mut cidrs = Vec::new();
        for text in &self.object.spec.pod_cidrs {
            match cidr(text) {
                Some(cidr) => cidrs.push(cidr),
                None => self.faults.push(format!("spec.podCIDRs has {text:?}, which is no CIDR")),
            }
        }
        let more: Vec<Cidr> = self.list(CIDRS, "CIDRs", "10.244.9.0/24,fd00:10:244:9::/64");
        for Cidr(cidr) in more {
            if !cidrs.contains(&cidr) {
                cidrs.push(cidr);
            }
        }
        cidrs
    }

    /// An annotation's values, separated by commas or spaces. One that is wrong spoils all: half of
    /// what somebody meant is not what they meant.
    fn list<T: FromStr>(&mut self, name: &str, what: &str, example: &str) -> Vec<T> {
        let Some(text) = self.object.metadata.annotations.get(name) else { return Vec::new() };
        let words = text.split([',', ' ']).filter(|word| !word.is_empty());
        let values: Option<Vec<T>> = words.map(|word| word.parse().ok()).collect();
        values.filter(|values| !values.is_empty()).unwrap_or_else(|| {
            let remedy = format!("write {what} separated by commas, as {example:?}");
            self.ignored(name, text, &remedy);
            Vec::new()
        })
    }

    fn ignored(&mut self, name: &str, text: &str, remedy: &str) {
        let shown: String = text.chars().take(80).collect();
        self.faults.push(format!("annotation {name} is {shown:?} and is ignored: {remedy}"));
    }
}

/// A CIDR with its length written out.
struct Cidr(IpNetwork);

impl FromStr for Cidr {
    type Err = ();

    fn from_str(text: &str) -> Result<Cidr, ()> {
        cidr(text).map(Cidr).ok_or(())
    }
}

fn cidr(text: &str) -> Option<IpNetwork> {
    text.parse().ok().filter(|_| text.contains('/'))
}

#[cfg(test)]
mod tests;
