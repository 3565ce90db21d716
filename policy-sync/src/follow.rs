//! From complete sets of objects to what changed in them.

use crate::model::{PolicyName, read};
use crate::source::Update;
use crate::state::{Attachment, Change, State};
use kube_source::objects::policy::{ClusterNetworkPolicy, NetworkPolicy};
use kube_source::objects::{Namespace, Object, Pod};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// The sets that a source sent last.
#[derive(Debug, Default)]
pub struct Follower {
    pods: Option<Vec<Arc<Pod>>>,
    namespaces: Option<Vec<Arc<Namespace>>>,
    policies: Option<Vec<Arc<NetworkPolicy>>>,
    cluster_policies: Option<Vec<Arc<ClusterNetworkPolicy>>>,
    attachments: Option<BTreeMap<String, Attachment>>,
    /// What is wrong with policies.
    faults: BTreeMap<PolicyName, Vec<String>>,
    /// Why there is no newer set, by the kind of object.
    failures: BTreeMap<&'static str, String>,
    failed: u64,
    sets: u64,
}

impl Follower {
    /// Carries what an update changes into a state.
    pub fn update(&mut self, update: Update, state: &mut State) {
        self.failures.remove(update.kind());
        self.sets += 1;
        match update {
            Update::Pods(set) => {
                let before = self.pods.replace(set).unwrap_or_default();
                for (gone, object) in differences(&before, self.pods.as_deref().unwrap_or_default())
                {
                    let pod = if gone { None } else { read::pod(object).map(Arc::new) };
                    state.change(Change::Pod(read::name(&object.metadata), pod));
                }
            }
            Update::Namespaces(set) => {
                let before = self.namespaces.replace(set).unwrap_or_default();
                let now = self.namespaces.as_deref().unwrap_or_default();
                for (gone, object) in differences(&before, now) {
                    let labels = (!gone).then(|| object.metadata.labels.clone());
                    state.change(Change::Namespace(object.metadata.name.clone(), labels));
                }
            }
            Update::Policies(set) => self.policies(set, state),
            Update::ClusterPolicies(set) => self.cluster_policies(set, state),
            Update::Attachments(set) => self.attachments(set, state),
            Update::Failed { kind, why } => {
                self.sets -= 1;
                self.failed += 1;
                self.failures.insert(kind, why);
            }
        }
    }

    fn policies(&mut self, set: Vec<Arc<NetworkPolicy>>, state: &mut State) {
        let before = self.policies.replace(set).unwrap_or_default();
        let now = self.policies.clone().unwrap_or_default();
        for (gone, object) in differences(&before, &now) {
            let name = PolicyName::Namespaced(read::name(&object.metadata));
            let read = if gone { (None, Vec::new()) } else { read::network_policy(object) };
            self.policy(name, read, state);
        }
    }

    fn cluster_policies(&mut self, set: Vec<Arc<ClusterNetworkPolicy>>, state: &mut State) {
        let before = self.cluster_policies.replace(set).unwrap_or_default();
        let now = self.cluster_policies.clone().unwrap_or_default();
        for (gone, object) in differences(&before, &now) {
            let name = PolicyName::Cluster(object.metadata.name.clone());
            let read = if gone { (None, Vec::new()) } else { read::cluster_policy(object) };
            self.policy(name, read, state);
        }
    }

    fn policy(
        &mut self,
        name: PolicyName,
        (policy, faults): (Option<crate::model::Policy>, Vec<String>),
        state: &mut State,
    ) {
        match faults.is_empty() {
            true => self.faults.remove(&name),
            false => self.faults.insert(name.clone(), faults),
        };
        state.change(Change::Policy(name, policy.map(Arc::new)));
    }

    fn attachments(&mut self, set: BTreeMap<String, Attachment>, state: &mut State) {
        let before = self.attachments.replace(set).unwrap_or_default();
        let now = self.attachments.as_ref().into_iter().flatten();
        for (key, attachment) in now {
            state.change(Change::Attachment(key.clone(), Some(attachment.clone())));
        }
        let kept = |key: &String| self.attachments.as_ref().is_some_and(|it| it.contains_key(key));
        for key in before.into_keys().filter(|key| !kept(key)) {
            state.change(Change::Attachment(key, None));
        }
    }

    /// What has not come yet: without it nothing can be decided.
    pub fn missing(&self) -> Vec<&'static str> {
        let known = [
            ("pods", self.pods.is_some()),
            ("namespaces", self.namespaces.is_some()),
            ("network policies", self.policies.is_some()),
            ("cluster network policies", self.cluster_policies.is_some()),
            ("attachments", self.attachments.is_some()),
        ];
        known.into_iter().filter(|(_, is)| !is).map(|(what, _)| what).collect()
    }

    /// What is wrong with the source or with objects, in words.
    pub fn problems(&self) -> Vec<String> {
        let failures = self.failures.values().cloned().collect::<BTreeSet<_>>();
        failures.into_iter().chain(self.faults.values().flatten().cloned()).collect()
    }

    /// How many sets have come, and how often a source failed.
    pub fn counts(&self) -> (u64, u64) {
        (self.sets, self.failed)
    }
}

/// The objects that are in one set alone, or differ: (it is gone, object). What is the same at both ends is not looked at.
fn differences<'a, T: Object>(before: &'a [Arc<T>], now: &'a [Arc<T>]) -> Vec<(bool, &'a Arc<T>)> {
    let same = |(a, b): &(&Arc<T>, &Arc<T>)| Arc::ptr_eq(a, b);
    let head = before.iter().zip(now).take_while(same).count();
    let (before, now) =
        (before.get(head..).unwrap_or_default(), now.get(head..).unwrap_or_default());
    let tail = before.iter().rev().zip(now.iter().rev()).take_while(same).count();
    let before = before.get(..before.len() - tail).unwrap_or_default();
    let now = now.get(..now.len() - tail).unwrap_or_default();
    let key = |it: &'a Arc<T>| (&it.metadata().namespace, &it.metadata().name);
    let mut left: BTreeMap<_, _> = before.iter().map(|it| (key(it), it)).collect();
    let mut differing = Vec::new();
    for object in now {
        match left.remove(&key(object)) {
            Some(other) if Arc::ptr_eq(other, object) || other == object => {}
            _ => differing.push((false, object)),
        }
    }
    // What is gone goes first: an address may be another's now.
    let gone = left.into_values().map(|object| (true, object));
    gone.chain(differing).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pods(names: &[&str]) -> Vec<Arc<Pod>> {
        let pod = |name: &&str| {
            let mut pod = Pod::default();
            pod.metadata.name = (*name).to_owned();
            Arc::new(pod)
        };
        names.iter().map(pod).collect()
    }

    fn shown(before: &[Arc<Pod>], now: &[Arc<Pod>]) -> Vec<String> {
        let text = |(gone, it): (bool, &Arc<Pod>)| {
            format!("{}{}", if gone { "-" } else { "+" }, it.metadata.name)
        };
        differences(before, now).into_iter().map(text).collect()
    }

    #[test]
    fn only_what_differs_is_a_change() {
        let before = pods(&["a", "b", "c", "d"]);
        assert_eq!(shown(&before, &before), [""; 0]);
        let mut now = before.clone();
        now.remove(1);
        assert_eq!(shown(&before, &now), ["-b"]);
        now.insert(0, pods(&["e"]).remove(0));
        assert_eq!(shown(&before, &now), ["-b", "+e"]);
        assert_eq!(shown(&[], &before), ["+a", "+b", "+c", "+d"]);
        assert_eq!(shown(&before, &pods(&["d", "c", "b", "a"])), [""; 0], "equal, in any order");
        let mut other = (*before[2]).clone();
        other.status.phase = "Running".to_owned();
        let mut now = before.clone();
        now[2] = Arc::new(other);
        assert_eq!(shown(&before, &now), ["+c"]);
    }
}
