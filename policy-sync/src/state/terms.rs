//! Terms: pods by selectors, as rules name their peers. Equal ones are kept once, with their members.

use super::items::{Entry, PodId, TermId, Touched};
use super::slab::Slab;
use crate::model::{Labels, Namespaces, Pods};
use std::collections::{BTreeSet, HashMap};

#[derive(Debug)]
struct Term {
    pods: Pods,
    members: BTreeSet<PodId>,
    users: usize,
}

/// All terms of all policies.
#[derive(Debug, Default)]
pub(crate) struct Terms {
    terms: Slab<Term>,
    by_pods: HashMap<Pods, TermId>,
    /// Those of one namespace, by its name.
    narrow: HashMap<String, BTreeSet<TermId>>,
    /// Those of namespaces with some labels.
    wide: BTreeSet<TermId>,
}

impl Terms {
    /// The pods of a term.
    pub fn members(&self, term: TermId) -> impl Iterator<Item = PodId> {
        self.terms.get(term).into_iter().flat_map(|term| term.members.iter().copied())
    }

    /// Uses a term; `candidates` gives the pods that may be among its members, where it is new.
    pub fn take(
        &mut self,
        pods: &Pods,
        candidates: impl FnOnce(&Pods) -> BTreeSet<PodId>,
    ) -> TermId {
        if let Some(id) = self.by_pods.get(pods) {
            if let Some(term) = self.terms.get_mut(*id) {
                term.users += 1;
            }
            return *id;
        }
        let members = candidates(pods);
        let id = self.terms.insert(Term { pods: pods.clone(), members, users: 1 });
        self.by_pods.insert(pods.clone(), id);
        match &pods.namespaces {
            Namespaces::One(name) => self.narrow.entry(name.clone()).or_default().insert(id),
            Namespaces::Matching(_) => self.wide.insert(id),
        };
        id
    }

    /// Uses a term no longer.
    pub fn give_back(&mut self, id: TermId) {
        let Some(term) = self.terms.get_mut(id) else { return };
        term.users -= 1;
        if term.users > 0 {
            return;
        }
        let Some(term) = self.terms.remove(id) else { return };
        self.by_pods.remove(&term.pods);
        self.wide.remove(&id);
        if let Namespaces::One(name) = &term.pods.namespaces
            && let Some(narrow) = self.narrow.get_mut(name)
        {
            narrow.remove(&id);
            if narrow.is_empty() {
                self.narrow.remove(name);
            }
        }
    }

    /// A pod has changed, or its namespace's labels have; `pod` is `None` where it is gone.
    pub fn renew(
        &mut self,
        id: PodId,
        namespace: &str,
        pod: Option<(&Entry, Option<&Labels>)>,
        touched: &mut Touched,
    ) {
        let Terms { terms, narrow, wide, .. } = self;
        let narrow = narrow.get(namespace).into_iter().flatten();
        for at in narrow.chain(wide.iter()) {
            let Some(term) = terms.get_mut(*at) else { continue };
            let belongs = pod.is_some_and(|(entry, labels)| selects(&term.pods, entry, labels));
            let belonged = match belongs {
                true => !term.members.insert(id),
                false => term.members.remove(&id),
            };
            // Its addresses or ports may be what changed.
            if belongs || belonged {
                touched.terms.insert(*at);
            }
        }
    }
}

/// Whether pods are selected that have this pod among them; `labels` are its namespace's.
pub(crate) fn selects(pods: &Pods, entry: &Entry, labels: Option<&Labels>) -> bool {
    let pod = &entry.pod;
    let in_namespace = match &pods.namespaces {
        Namespaces::One(name) => *name == pod.name.namespace,
        // Of a namespace that is not known yet nothing is known.
        Namespaces::Matching(selector) => labels.is_some_and(|labels| selector.matches(labels)),
    };
    in_namespace && pods.pods.matches(pod.labels())
}
