//! What groups are made of.

use super::items::{Compiled, Entry, PodId, PolicyId, TermId, Touched};
use super::slab::Slab;
use super::terms::Terms;
use crate::model::Direction;
use std::hash::{DefaultHasher, Hash, Hasher};

/// What groups are made of.
#[derive(Clone, Copy)]
pub(crate) struct Context<'a> {
    pub policies: &'a Slab<Compiled>,
    pub terms: &'a Terms,
    pub pods: &'a Slab<Entry>,
    pub touched: &'a Touched,
}

impl<'a> Context<'a> {
    /// The terms of a policy's rule.
    pub fn terms_of(&self, policy: PolicyId, direction: Direction, rule: usize) -> &'a [TermId] {
        self.policies.get(policy).map_or(&[], |it| it.terms(direction, rule))
    }

    /// The pods of a term.
    pub fn entries(&self, term: TermId) -> Vec<&'a Entry> {
        let entry = |id: PodId| self.pods.get(id);
        self.terms.members(term).filter_map(entry).collect()
    }

    /// All pods, for a policy with rules that name ports and no pods.
    pub fn everyone(&self, policy: PolicyId) -> Vec<&'a Entry> {
        let term = self.policies.get(policy).and_then(|it| it.everyone);
        term.map(|term| self.entries(term)).unwrap_or_default()
    }

    /// A hash of some policies' names, whatever their order.
    pub fn hash_of(&self, policies: &[PolicyId], of: impl Hash) -> u64 {
        let mut hasher = DefaultHasher::new();
        of.hash(&mut hasher);
        let name = |id: &PolicyId| {
            let mut hasher = DefaultHasher::new();
            self.policies.get(*id).map(|it| &it.policy.name).hash(&mut hasher);
            hasher.finish()
        };
        let sum = policies.iter().map(name).fold(0, u64::wrapping_add);
        sum.hash(&mut hasher);
        hasher.finish()
    }
}
