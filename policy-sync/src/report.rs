//! What `status` reports, as JSON.

use serde::{Deserialize, Serialize};

/// The state of the daemon.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    /// The node's name.
    pub node: String,
    /// Where objects come from.
    pub source: String,
    /// Every kind of object has come, and what they say is in force.
    pub synced: bool,
    /// Kinds of objects that have not come yet.
    pub missing: Vec<String>,
    /// Connections that a change forbids are cut.
    pub strict: bool,
    /// Pods of the cluster.
    pub pods: usize,
    /// Policies of both kinds.
    pub policies: usize,
    /// This node's pods.
    pub local: Vec<PodReport>,
    /// Addresses that are held until their pod is known.
    pub held: usize,
    /// Profiles, sets and their elements in the kernel.
    pub objects: [usize; 3],
    /// What is wrong, in words.
    pub problems: Vec<String>,
}

/// A pod of this node.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PodReport {
    /// Its name.
    pub name: String,
    /// Its addresses.
    pub addresses: Vec<String>,
    /// The policies that concern packets to it.
    pub ingress: Vec<String>,
    /// The policies that concern packets from it.
    pub egress: Vec<String>,
}

/// A flow that was dropped lately.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DropReport {
    /// Where it comes from: the pod, or the address.
    pub source: String,
    /// Where it goes.
    pub destination: String,
    /// Protocol and port.
    pub what: String,
    /// How many packets.
    pub packets: u64,
    /// Why, by the policies as they are now.
    pub reason: String,
    /// Policies in dry run would drop it: it passed.
    pub dry_run: bool,
}
