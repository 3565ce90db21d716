//! From pods, namespaces, policies and attachments to what nf_tables must hold ([`Desired`]), kept so that a change costs
//! what it touches: selections and peers are indexed, and only sets are made anew that a change concerns.
//!
//! What is desired depends on the objects alone and not on the order in which they came: a test holds that.

mod addresses;
mod build;
mod changes;
mod context;
mod groups;
mod items;
mod local;
mod ports;
mod profiles;
mod slab;
mod terms;

pub use addresses::Attachment;
pub use changes::Change;

use crate::model::{Labels, Name, Pod, Policy, PolicyName};
use addresses::Addresses;
use groups::Groups;
use items::{Compiled, Entry, Local, PodId, PolicyId, Touched};
use nft::policy::Desired;
use slab::Slab;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::IpAddr;
use std::sync::Arc;
use terms::Terms;

/// Everything that decides on packets of this node's pods.
#[derive(Debug)]
pub struct State {
    /// This node's name.
    node: String,
    pods: Slab<Entry>,
    by_name: HashMap<Name, PodId>,
    addresses: Addresses,
    namespaces: HashMap<String, Namespace>,
    policies: Slab<Compiled>,
    by_policy: BTreeMap<PolicyName, PolicyId>,
    /// ClusterNetworkPolicies.
    wide: BTreeSet<PolicyId>,
    terms: Terms,
    groups: Groups,
    /// The pods of this node.
    local: BTreeMap<PodId, Local>,
    touched: Touched,
    desired: Arc<Desired>,
}

/// A namespace that has an object, a pod or a policy.
#[derive(Debug, Default)]
struct Namespace {
    /// `None` before its object has come.
    labels: Option<Labels>,
    pods: BTreeSet<PodId>,
    policies: BTreeSet<PolicyId>,
}

impl State {
    /// Without any object, on the node of this name.
    pub fn new(node: impl Into<String>) -> State {
        State {
            node: node.into(),
            pods: Slab::default(),
            by_name: HashMap::new(),
            addresses: Addresses::default(),
            namespaces: HashMap::new(),
            policies: Slab::default(),
            by_policy: BTreeMap::new(),
            wide: BTreeSet::new(),
            terms: Terms::default(),
            groups: Groups::default(),
            local: BTreeMap::new(),
            touched: Touched::default(),
            desired: Arc::default(),
        }
    }

    /// What nf_tables must hold by all changes so far. Without a change since the last call it is the same `Arc`.
    pub fn desired(&mut self) -> Arc<Desired> {
        if std::mem::take(&mut self.touched.any) {
            self.desired = Arc::new(self.build());
            self.touched = Touched::default();
        }
        Arc::clone(&self.desired)
    }

    /// The namespaces in which a policy may select a pod; `None`: any.
    pub fn guarded(&self) -> Option<BTreeSet<String>> {
        if !self.wide.is_empty() {
            return None;
        }
        let guarded = self.namespaces.iter().filter(|(_, it)| !it.policies.is_empty());
        Some(guarded.map(|(name, _)| name.clone()).collect())
    }

    /// The pod of a name.
    pub fn pod(&self, name: &Name) -> Option<&Pod> {
        let entry = self.pods.get(*self.by_name.get(name)?)?;
        Some(&entry.pod)
    }

    /// Every pod.
    pub fn pods(&self) -> impl Iterator<Item = &Pod> {
        self.pods.iter().map(|(_, entry)| &*entry.pod)
    }

    /// The addresses that are a pod's own now.
    pub fn addresses_of(&self, name: &Name) -> &[IpAddr] {
        let entry = self.by_name.get(name).and_then(|id| self.pods.get(*id));
        entry.map_or(&[], |entry| &entry.addresses)
    }

    /// The pod that has an address now.
    pub fn pod_at(&self, address: IpAddr) -> Option<&Pod> {
        let entry = self.pods.get(self.addresses.owner(address)?)?;
        Some(&entry.pod)
    }

    /// Whether a pod runs on this node.
    pub fn is_local(&self, name: &Name) -> bool {
        self.by_name.get(name).is_some_and(|id| self.local.contains_key(id))
    }

    /// Every policy, in the order in which they are asked.
    pub fn policies(&self) -> Vec<&Policy> {
        let mut policies: Vec<&Policy> = self.policies.iter().map(|(_, it)| &*it.policy).collect();
        policies.sort_by(|a, b| (a.rank, &a.name).cmp(&(b.rank, &b.name)));
        policies
    }

    /// The labels of a namespace, whose object has come.
    pub fn namespace(&self, name: &str) -> Option<&Labels> {
        self.namespaces.get(name)?.labels.as_ref()
    }

    /// How many pods, policies and pods of this node there are.
    pub fn counts(&self) -> [usize; 3] {
        [self.pods.len(), self.policies.len(), self.local.len()]
    }
}

#[cfg(test)]
mod tests;
