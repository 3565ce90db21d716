//! Groups: rules whose packets have the same verdict, as sets. They are kept from one build to the next, and made anew
//! where one of their policies or peers has changed.

use super::build::Elements;
use super::context::Context;
use super::items::{PolicyId, TermId, Touched};
use super::ports::Named;
use crate::model::{Direction, Family};
use nft::policy::{Kind, Matches, Members, SetId};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

/// Rules whose packets have one verdict.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Rules {
    /// Every rule of these policies, sorted. Rules themselves do not distinguish a group, so that a policy's change is a
    /// change of elements.
    Every(Vec<PolicyId>),
    /// These rules, by their policies and numbers, in order: a step of a tier.
    These(Vec<(PolicyId, usize)>),
}

impl Rules {
    fn policies(&self) -> Vec<PolicyId> {
        match self {
            Rules::Every(policies) => policies.clone(),
            Rules::These(rules) => rules.iter().map(|(policy, _)| *policy).collect(),
        }
    }

    fn numbers(&self) -> Option<Vec<usize>> {
        match self {
            Rules::Every(_) => None,
            Rules::These(rules) => Some(rules.iter().map(|(_, at)| *at).collect()),
        }
    }
}

/// What distinguishes a group.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Key {
    pub direction: Direction,
    pub rules: Rules,
    pub named: Named,
}

#[derive(Debug)]
struct Group {
    id: u64,
    everything: bool,
    sets: BTreeMap<(Kind, Family), Arc<Members>>,
    terms: BTreeSet<TermId>,
    /// The build that used it last.
    used: u64,
}

/// All groups.
#[derive(Debug, Default)]
pub(crate) struct Groups {
    groups: HashMap<Key, Group>,
    build: u64,
}

impl Groups {
    /// A build begins.
    pub fn begin(&mut self) {
        self.build += 1;
    }

    /// A build has ended: groups that it did not use are dropped. The sets of the others.
    pub fn end(&mut self) -> BTreeMap<SetId, Arc<Members>> {
        let build = self.build;
        self.groups.retain(|_, group| group.used == build);
        let of = |group: &Group| {
            let id = group.id;
            let set = move |((kind, family), members): (&(Kind, Family), &Arc<Members>)| {
                (SetId { kind: *kind, family: *family, id }, Arc::clone(members))
            };
            group.sets.iter().map(set).collect::<Vec<_>>()
        };
        self.groups.values().flat_map(of).collect()
    }

    /// What a group's rules match in each family.
    pub fn matches(
        &mut self,
        key: Key,
        rules: &[(PolicyId, usize)],
        context: &Context,
    ) -> [Matches; 2] {
        let build = self.build;
        let known = self.groups.get(&key);
        let fresh = |it: &Group| it.used == build || !it.is_concerned(&key, context.touched);
        if !known.is_some_and(fresh) {
            let mut group = Group::make(&key, rules, context);
            // Of two with one hash the later one takes the next number.
            let taken = |id| self.groups.values().any(|it| it.used == build && it.id == id);
            while taken(group.id) {
                group.id = group.id.wrapping_add(1);
            }
            if let Some(before) = self.groups.remove(&key) {
                group.keep_equal(before);
            }
            self.groups.insert(key.clone(), group);
        }
        let Some(group) = self.groups.get_mut(&key) else {
            return [Matches::Sets(Vec::new()), Matches::Sets(Vec::new())];
        };
        group.used = build;
        [Family::V4, Family::V6].map(|family| group.matches(family))
    }
}

impl Group {
    fn make(key: &Key, rules: &[(PolicyId, usize)], context: &Context) -> Group {
        let mut elements = Elements::default();
        let mut terms = BTreeSet::new();
        for (policy, at) in rules {
            let Some(compiled) = context.policies.get(*policy) else { continue };
            let rule = compiled.policy.rules(key.direction).and_then(|rules| rules.get(*at));
            let Some(rule) = rule else { continue };
            terms.extend(compiled.terms(key.direction, *at));
            if key.direction == Direction::Egress {
                terms.extend(compiled.everyone);
            }
            elements.add(rule, (*policy, *at), key.direction, &key.named, context);
        }
        let of = (key.direction, key.rules.numbers(), &key.named);
        let id = context.hash_of(&key.rules.policies(), of);
        let everything = elements.everything;
        let sets = if everything { BTreeMap::new() } else { elements.finish() };
        let sets = sets.into_iter().map(|(of, members)| (of, Arc::new(members))).collect();
        Group { id, everything, sets, terms, used: 0 }
    }

    /// Whether something that it is made of has changed.
    fn is_concerned(&self, key: &Key, touched: &Touched) -> bool {
        let policy = match &key.rules {
            Rules::Every(all) => touched.policies.iter().any(|id| all.binary_search(id).is_ok()),
            Rules::These(all) => all.iter().any(|(id, _)| touched.policies.contains(id)),
        };
        policy || touched.terms.iter().any(|it| self.terms.contains(it))
    }

    /// Takes over the sets of an earlier build that have the same members.
    fn keep_equal(&mut self, before: Group) {
        for (of, members) in before.sets {
            if let Some(now) = self.sets.get_mut(&of)
                && *now == members
            {
                *now = members;
            }
        }
    }

    fn matches(&self, family: Family) -> Matches {
        if self.everything {
            return Matches::All;
        }
        let of = self.sets.keys().filter(|(_, of)| *of == family);
        let id =
            |(kind, family): &(Kind, Family)| SetId { kind: *kind, family: *family, id: self.id };
        Matches::Sets(of.map(id).collect())
    }
}
