//! Pods.

use super::{Metadata, Object, Resource, nullable};
use serde::{Deserialize, Serialize};

/// A pod.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Pod {
    /// Its name, namespace and labels.
    pub metadata: Metadata,
    /// What is wanted of it.
    pub spec: PodSpec,
    /// How far it is.
    pub status: PodStatus,
}

/// What is wanted of a pod.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct PodSpec {
    /// The node that runs it; empty before it is scheduled.
    pub node_name: String,
    /// It is in the node's network namespace, and has the node's addresses.
    pub host_network: bool,
    /// Its containers.
    #[serde(deserialize_with = "nullable")]
    pub containers: Vec<Container>,
    /// Containers that run before those, or beside them (`restartPolicy: Always`).
    #[serde(deserialize_with = "nullable", skip_serializing_if = "Vec::is_empty")]
    pub init_containers: Vec<Container>,
}

/// A container.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Container {
    /// The ports that it says it listens on.
    #[serde(deserialize_with = "nullable", skip_serializing_if = "Vec::is_empty")]
    pub ports: Vec<Port>,
    /// `Always` for an init container that runs beside the others; else empty.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub restart_policy: String,
}

/// A port of a container.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Port {
    /// Its name, by which policies and Services may name it; may be empty.
    #[serde(default)]
    pub name: String,
    /// The port number in the pod.
    pub container_port: u16,
    /// The port number on the node, 0 for none.
    #[serde(default)]
    pub host_port: u16,
    /// `TCP`, `UDP` or `SCTP`.
    #[serde(default = "tcp")]
    pub protocol: String,
}

/// What Kubernetes takes a port for that names no protocol.
fn tcp() -> String {
    "TCP".to_owned()
}

/// How far a pod is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct PodStatus {
    /// `Pending`, `Running`, `Succeeded`, `Failed` or `Unknown`.
    pub phase: String,
    /// Its addresses, at most one of each family.
    #[serde(rename = "podIPs", deserialize_with = "nullable")]
    pub pod_ips: Vec<PodIp>,
}

/// An address of a pod.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct PodIp {
    /// The address.
    pub ip: String,
}

impl Object for Pod {
    const RESOURCE: Resource = Resource { group: "", version: "v1", plural: "pods", kind: "Pod" };

    fn metadata(&self) -> &Metadata {
        &self.metadata
    }

    fn metadata_mut(&mut self) -> &mut Metadata {
        &mut self.metadata
    }
}
