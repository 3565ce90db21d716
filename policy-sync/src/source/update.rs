//! What sources send.

use crate::state::Attachment;
use kube_source::objects::policy::{ClusterNetworkPolicy, NetworkPolicy};
use kube_source::objects::{Namespace, Pod};
use std::collections::BTreeMap;
use std::sync::Arc;

/// A complete set: what is not in it is no longer there.
#[derive(Debug)]
pub enum Update {
    /// Pods.
    Pods(Vec<Arc<Pod>>),
    /// Namespaces.
    Namespaces(Vec<Arc<Namespace>>),
    /// NetworkPolicies.
    Policies(Vec<Arc<NetworkPolicy>>),
    /// ClusterNetworkPolicies.
    ClusterPolicies(Vec<Arc<ClusterNetworkPolicy>>),
    /// This node's attachments, by their keys.
    Attachments(BTreeMap<String, Attachment>),
    /// There is no newer set; the last one stays in force.
    Failed {
        /// Of what.
        kind: &'static str,
        /// Why, in words.
        why: String,
    },
}

impl Update {
    /// What it is a set of.
    pub fn kind(&self) -> &'static str {
        match self {
            Update::Pods(_) => "pods",
            Update::Namespaces(_) => "namespaces",
            Update::Policies(_) => "network policies",
            Update::ClusterPolicies(_) => "cluster network policies",
            Update::Attachments(_) => "attachments",
            Update::Failed { kind, .. } => kind,
        }
    }
}
