//! A change of an object, carried into the indexes.

use super::addresses::{Attached, Attachment};
use super::items::{Compiled, Entry, PodId, PolicyId, TermId};
use super::ports::named_ports;
use super::{State, terms};
use crate::model::{
    Direction, Labels, Name, Namespaces, Peer, Pod, Pods, Policy, PolicyName, Rule,
};
use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;

/// An object that has come, is another now, or has gone (`None`).
#[derive(Clone, Debug)]
pub enum Change {
    /// A pod.
    Pod(Name, Option<Arc<Pod>>),
    /// A namespace's labels.
    Namespace(String, Option<Labels>),
    /// A policy.
    Policy(PolicyName, Option<Arc<Policy>>),
    /// An attachment, by its key.
    Attachment(String, Option<Attachment>),
}

impl State {
    /// Carries a change in.
    pub fn change(&mut self, change: Change) {
        match change {
            Change::Pod(name, pod) => self.change_pod(&name, pod),
            Change::Namespace(name, labels) => self.change_namespace(&name, labels),
            Change::Policy(name, policy) => self.change_policy(&name, policy),
            Change::Attachment(key, attachment) => self.change_attachment(&key, attachment),
        }
    }

    fn change_pod(&mut self, name: &Name, pod: Option<Arc<Pod>>) {
        let known = self.by_name.get(name).copied();
        if let Some(entry) = known.and_then(|id| self.pods.get(id))
            && pod.as_ref() == Some(&entry.pod)
        {
            return;
        }
        let mut touched = BTreeSet::new();
        let before = known.and_then(|id| self.pods.get(id)).map(|entry| Arc::clone(&entry.pod));
        let id = match (known, &pod) {
            (Some(id), _) => id,
            (None, Some(pod)) => self.insert_pod(name, pod),
            (None, None) => return,
        };
        for (pod, holds) in [(&before, false), (&pod, true)] {
            for pod in pod.iter() {
                for address in &pod.addresses {
                    self.addresses.claim(*address, &pod.created, id, holds);
                    touched.insert(*address);
                }
            }
        }
        match pod {
            Some(pod) => {
                if let Some(entry) = self.pods.get_mut(id) {
                    entry.pod = pod;
                }
            }
            None => self.remove_pod(id, name),
        }
        let mut concerned = BTreeSet::from([id]);
        self.attach_again(name, before.as_deref(), id, &mut touched, &mut concerned);
        self.settle(&touched, concerned);
    }

    fn insert_pod(&mut self, name: &Name, pod: &Arc<Pod>) -> PodId {
        let id = self.pods.insert(Entry { pod: Arc::clone(pod), addresses: Vec::new() });
        self.by_name.insert(name.clone(), id);
        self.namespaces.entry(name.namespace.clone()).or_default().pods.insert(id);
        id
    }

    fn remove_pod(&mut self, id: PodId, name: &Name) {
        self.pods.remove(id);
        self.by_name.remove(name);
        if let Some(namespace) = self.namespaces.get_mut(&name.namespace) {
            namespace.pods.remove(&id);
        }
        self.terms.renew(id, &name.namespace, None, &mut self.touched);
        self.touched.any |= self.local.remove(&id).is_some() || !self.touched.terms.is_empty();
        self.forget_empty(&name.namespace);
    }

    /// Attachments that may be of the pod are looked at again.
    fn attach_again(
        &mut self,
        name: &Name,
        before: Option<&Pod>,
        id: PodId,
        touched: &mut BTreeSet<IpAddr>,
        concerned: &mut BTreeSet<PodId>,
    ) {
        let now = self.pods.get(id).map(|entry| &*entry.pod);
        let pods: Vec<&Pod> = before.into_iter().chain(now).collect();
        let may_be = |it: &Attached| match &it.attachment.pod {
            Some((named, _)) => named == name,
            None => it.pod == Some(id) || pods.iter().any(|pod| may_have(pod, &it.attachment)),
        };
        let known = self.addresses.attachments.iter().filter(|(_, it)| may_be(it));
        let found: Vec<(String, Option<PodId>)> =
            known.map(|(key, it)| (key.clone(), self.pod_of(&it.attachment))).collect();
        for (key, pod) in found {
            let Some(attached) = self.addresses.attachments.get_mut(&key) else { continue };
            if attached.pod != pod {
                touched.extend(&attached.attachment.addresses);
                concerned.extend(attached.pod.into_iter().chain(pod));
                attached.pod = pod;
                self.touched.any = true;
            }
        }
    }

    /// The pod that an attachment is of: the one that the runtime named; or that names the container; or this node's
    /// that has its address.
    fn pod_of(&self, attachment: &Attachment) -> Option<PodId> {
        if let Some((name, uid)) = &attachment.pod {
            let id = *self.by_name.get(name)?;
            let uids = &self.pods.get(id)?.pod.uids;
            return (uid.is_empty() || uids.is_empty() || uids.contains(uid)).then_some(id);
        }
        let of_container = self.pods.iter().find(|(_, entry)| names(&entry.pod, attachment));
        let by_address = || {
            let mut claimants =
                attachment.addresses.iter().flat_map(|it| self.addresses.claimants(*it));
            let here = |id: &PodId| {
                let node = self.pods.get(*id).map(|entry| &entry.pod.node);
                node.is_some_and(|node| node.as_ref().is_none_or(|node| *node == self.node))
            };
            claimants.rfind(here)
        };
        of_container.map(|(id, _)| id).or_else(by_address)
    }

    fn change_attachment(&mut self, key: &str, attachment: Option<Attachment>) {
        let before = self.addresses.attachments.remove(key);
        if before.as_ref().map(|it| &it.attachment) == attachment.as_ref() {
            if let Some(before) = before {
                self.addresses.attachments.insert(key.to_owned(), before);
            }
            return;
        }
        let mut touched = BTreeSet::new();
        let mut concerned = BTreeSet::new();
        if let Some(Attached { attachment, pod }) = before {
            for address in &attachment.addresses {
                self.addresses.attach(*address, key, false);
            }
            touched.extend(attachment.addresses);
            concerned.extend(pod);
        }
        if let Some(attachment) = attachment {
            let pod = self.pod_of(&attachment);
            for address in &attachment.addresses {
                self.addresses.attach(*address, key, true);
            }
            touched.extend(&attachment.addresses);
            concerned.extend(pod);
            self.addresses.attachments.insert(key.to_owned(), Attached { attachment, pod });
        }
        self.touched.any = true;
        self.settle(&touched, concerned);
    }

    /// Finds anew whose addresses are, and renews the pods that this concerns.
    fn settle(&mut self, addresses: &BTreeSet<IpAddr>, mut concerned: BTreeSet<PodId>) {
        for address in addresses {
            concerned.extend(self.addresses.settle(*address));
        }
        for id in concerned {
            self.renew(id);
        }
    }

    /// Renews what depends on a pod.
    fn renew(&mut self, id: PodId) {
        let Some(entry) = self.pods.get(id) else { return };
        let attached = self.addresses.attachments.values().filter(|it| it.pod == Some(id));
        let attached = attached.flat_map(|it| &it.attachment.addresses);
        let mut own: Vec<IpAddr> = entry.pod.addresses.iter().chain(attached).copied().collect();
        own.sort_unstable();
        own.dedup();
        own.retain(|address| self.addresses.owner(*address) == Some(id));
        if let Some(entry) = self.pods.get_mut(id) {
            entry.addresses = own;
        }
        self.renew_terms(id);
        self.localise(id);
    }

    fn renew_terms(&mut self, id: PodId) {
        let Some(entry) = self.pods.get(id) else { return };
        let namespace = &entry.pod.name.namespace;
        let labels = self.namespaces.get(namespace).and_then(|it| it.labels.as_ref());
        self.terms.renew(id, namespace, Some((entry, labels)), &mut self.touched);
        self.touched.any |= !self.touched.terms.is_empty();
    }

    fn change_namespace(&mut self, name: &str, labels: Option<Labels>) {
        let namespace = self.namespaces.entry(name.to_owned()).or_default();
        if namespace.labels != labels {
            namespace.labels = labels;
            for id in namespace.pods.clone() {
                self.renew_terms(id);
                if self.local.contains_key(&id) {
                    self.localise(id);
                }
            }
            self.touched.any = true;
        }
        self.forget_empty(name);
    }

    fn forget_empty(&mut self, name: &str) {
        let empty = |it: &super::Namespace| {
            it.labels.is_none() && it.pods.is_empty() && it.policies.is_empty()
        };
        if self.namespaces.get(name).is_some_and(empty) {
            self.namespaces.remove(name);
        }
    }

    fn change_policy(&mut self, name: &PolicyName, policy: Option<Arc<Policy>>) {
        let known = self.by_policy.get(name).copied();
        let before = known.and_then(|id| self.policies.get(id));
        if before.map(|it| &it.policy) == policy.as_ref() {
            return;
        }
        // Terms of both are taken before those of the old one are given back: most are the same.
        let given: Vec<_> = before.map(|it| it.all_terms().collect()).unwrap_or_default();
        let id = match (policy, known) {
            (Some(policy), known) => self.put_policy(name, policy, known),
            (None, Some(id)) => self.remove_policy(name, id),
            (None, None) => return,
        };
        given.into_iter().for_each(|term| self.terms.give_back(term));
        self.touched.policies.insert(id);
        self.touched.any = true;
        let namespace = match name {
            PolicyName::Namespaced(name) => Some(name.namespace.as_str()),
            PolicyName::Cluster(_) => None,
        };
        self.reselect(id, namespace);
    }

    fn put_policy(
        &mut self,
        name: &PolicyName,
        policy: Arc<Policy>,
        known: Option<PolicyId>,
    ) -> PolicyId {
        let compiled = self.compile(policy);
        if let Some(id) = known {
            if let Some(place) = self.policies.get_mut(id) {
                *place = compiled;
            }
            return id;
        }
        let id = self.policies.insert(compiled);
        self.by_policy.insert(name.clone(), id);
        match name {
            PolicyName::Namespaced(name) => {
                self.namespaces.entry(name.namespace.clone()).or_default().policies.insert(id)
            }
            PolicyName::Cluster(_) => self.wide.insert(id),
        };
        id
    }

    fn remove_policy(&mut self, name: &PolicyName, id: PolicyId) -> PolicyId {
        self.policies.remove(id);
        self.by_policy.remove(name);
        self.wide.remove(&id);
        if let PolicyName::Namespaced(name) = name {
            if let Some(namespace) = self.namespaces.get_mut(&name.namespace) {
                namespace.policies.remove(&id);
            }
            self.forget_empty(&name.namespace);
        }
        id
    }

    fn compile(&mut self, policy: Arc<Policy>) -> Compiled {
        let mut of = |direction| {
            let rules = policy.rules(direction).unwrap_or_default();
            rules.iter().map(|rule| self.take_terms(rule)).collect::<Vec<_>>()
        };
        let (ingress, egress) = (of(Direction::Ingress), of(Direction::Egress));
        let by_name = policy.egress.iter().flatten().any(needs_everyone);
        let everyone = by_name.then(|| self.take_term(&Pods::all()));
        Compiled { policy, ingress, egress, everyone }
    }

    fn take_terms(&mut self, rule: &Rule) -> Vec<TermId> {
        let peers = rule.peers.iter().flatten();
        let pods = peers.filter_map(|peer| match peer {
            Peer::Pods(pods) => Some(pods),
            Peer::Block(_) => None,
        });
        pods.map(|pods| self.take_term(pods)).collect()
    }

    fn take_term(&mut self, pods: &Pods) -> TermId {
        let State { terms, namespaces, pods: entries, .. } = self;
        terms.take(pods, |pods| {
            let all: Vec<&super::Namespace> = match &pods.namespaces {
                Namespaces::One(name) => namespaces.get(name).into_iter().collect(),
                Namespaces::Matching(_) => namespaces.values().collect(),
            };
            let mut members = BTreeSet::new();
            for namespace in all {
                let labels = namespace.labels.as_ref();
                let selects = |id: &&PodId| {
                    let entry = entries.get(**id);
                    entry.is_some_and(|entry| terms::selects(pods, entry, labels))
                };
                members.extend(namespace.pods.iter().filter(selects).copied());
            }
            members
        })
    }
}

/// Whether a rule of egress names a port of pods that it does not name.
fn needs_everyone(rule: &Rule) -> bool {
    let blocks = |peers: &Vec<Peer>| peers.iter().any(|peer| matches!(peer, Peer::Block(_)));
    named_ports(rule).next().is_some() && rule.peers.as_ref().is_none_or(blocks)
}

/// Whether a pod may be the one that an attachment without a pod's name is of.
fn may_have(pod: &Pod, attachment: &Attachment) -> bool {
    names(pod, attachment) || pod.addresses.iter().any(|it| attachment.addresses.contains(it))
}

/// Whether a pod names the attachment's container.
fn names(pod: &Pod, attachment: &Attachment) -> bool {
    let begin = pod.container.as_deref().filter(|begin| !begin.is_empty());
    begin.is_some_and(|begin| attachment.container.starts_with(begin))
}
