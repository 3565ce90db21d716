//! What a state is made of.

use super::ports::Named;
use crate::model::{Direction, Pod, Policy};
use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;

/// A pod's place in the slab.
pub(crate) type PodId = u32;
/// A policy's place in the slab; it stays while a policy of this name exists.
pub(crate) type PolicyId = u32;

/// A term's place.
pub(crate) type TermId = u32;

/// A pod, and the addresses that are its own now.
#[derive(Debug)]
pub(crate) struct Entry {
    pub pod: Arc<Pod>,
    /// Sorted. An address that another, newer pod has is not among them.
    pub addresses: Vec<IpAddr>,
}

/// A policy, and where its peers are kept.
#[derive(Debug)]
pub(crate) struct Compiled {
    pub policy: Arc<Policy>,
    /// Of each rule that names pods the terms of these peers, in their order.
    pub ingress: Vec<Vec<TermId>>,
    pub egress: Vec<Vec<TermId>>,
    /// All pods, where a rule of egress names a port and no pods.
    pub everyone: Option<TermId>,
}

impl Compiled {
    /// The terms of a rule.
    pub fn terms(&self, direction: Direction, rule: usize) -> &[TermId] {
        let rules = match direction {
            Direction::Ingress => &self.ingress,
            Direction::Egress => &self.egress,
        };
        rules.get(rule).map_or(&[], Vec::as_slice)
    }

    /// Every term that it uses.
    pub fn all_terms(&self) -> impl Iterator<Item = TermId> {
        self.ingress.iter().chain(&self.egress).flatten().copied().chain(self.everyone)
    }
}

/// A pod of this node.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Local {
    /// Its addresses here, with the key of the attachment that has it.
    pub addresses: Vec<(IpAddr, Option<String>)>,
    /// The policies that select it, in either direction.
    pub selected: BTreeSet<PolicyId>,
    /// Those that concern a direction, in the order in which they are asked; namespaced ones have no order.
    pub ingress: Vec<PolicyId>,
    pub egress: Vec<PolicyId>,
    /// What the named ports of these rules are in this pod.
    pub named: Named,
}

impl Local {
    /// The policies of a direction.
    pub fn policies(&self, direction: Direction) -> &[PolicyId] {
        match direction {
            Direction::Ingress => &self.ingress,
            Direction::Egress => &self.egress,
        }
    }
}

/// What changed since the last [`State::desired`](super::State::desired).
#[derive(Debug, Default)]
pub(crate) struct Touched {
    pub policies: BTreeSet<PolicyId>,
    pub terms: BTreeSet<TermId>,
    /// Something that [`Desired`] shows.
    pub any: bool,
}
