//! Nodes.

use super::{Metadata, Object, Resource, nullable};
use serde::{Deserialize, Serialize};

/// A node. Its images, capacities and the times of its conditions, which are most of a Node object and
/// most of its changes, are left out.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Node {
    /// Its name, labels and annotations.
    pub metadata: Metadata,
    /// What is wanted of it.
    pub spec: NodeSpec,
    /// What it reports.
    pub status: NodeStatus,
}

/// What is wanted of a node.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct NodeSpec {
    /// The CIDRs that were assigned to it, at most one of each family; empty before that.
    #[serde(rename = "podCIDRs", deserialize_with = "nullable")]
    pub pod_cidrs: Vec<String>,
    /// What pods must tolerate.
    #[serde(deserialize_with = "nullable", skip_serializing_if = "Vec::is_empty")]
    pub taints: Vec<Taint>,
}

/// What pods of a node must tolerate.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Taint {
    /// As `node.kubernetes.io/network-unavailable`.
    pub key: String,
    /// `NoSchedule`, `PreferNoSchedule` or `NoExecute`.
    pub effect: String,
}

/// What a node reports.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct NodeStatus {
    /// Its addresses and names.
    #[serde(deserialize_with = "nullable")]
    pub addresses: Vec<Address>,
    /// Its conditions.
    #[serde(deserialize_with = "nullable")]
    pub conditions: Vec<Condition>,
}

/// An address or a name of a node.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Address {
    /// `InternalIP`, `ExternalIP`, `Hostname`, `InternalDNS` or `ExternalDNS`.
    #[serde(rename = "type")]
    pub kind: String,
    /// An IP address or a name.
    pub address: String,
}

/// A condition of a node, without its times.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Condition {
    /// As `Ready` or `NetworkUnavailable`.
    #[serde(rename = "type")]
    pub kind: String,
    /// `True`, `False` or `Unknown`.
    pub status: String,
    /// Why, as one word.
    pub reason: String,
}

impl Object for Node {
    const RESOURCE: Resource = Resource { group: "", version: "v1", plural: "nodes", kind: "Node" };

    fn metadata(&self) -> &Metadata {
        &self.metadata
    }

    fn metadata_mut(&mut self) -> &mut Metadata {
        &mut self.metadata
    }
}
