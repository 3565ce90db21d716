//! The pods of this node, and the policies that select them.

use super::items::{Compiled, Local, PodId, PolicyId};
use super::ports::{Named, named_ports, resolved};
use super::{State, terms};
use crate::model::{Direction, Port, Rank};
use std::collections::BTreeSet;
use std::net::IpAddr;

impl State {
    /// Finds anew whether a pod is one of this node, its addresses and the policies that select it.
    pub(super) fn localise(&mut self, id: PodId) {
        let before = self.local.remove(&id);
        let Some(mut local) = self.located(id) else {
            self.touched.any |= before.is_some();
            return;
        };
        let Some(entry) = self.pods.get(id) else { return };
        let namespace = self.namespaces.get(&entry.pod.name.namespace);
        let labels = namespace.and_then(|it| it.labels.as_ref());
        let policies = namespace.into_iter().flat_map(|it| &it.policies).chain(&self.wide);
        let selects = |id: &PolicyId| {
            let policy = self.policies.get(*id);
            policy.is_some_and(|it| terms::selects(&it.policy.subject, entry, labels))
        };
        local.selected = policies.copied().filter(selects).collect();
        self.order(id, &mut local);
        self.touched.any |= before.as_ref() != Some(&local);
        self.local.insert(id, local);
    }

    /// A pod's addresses, if it is one of this node.
    fn located(&self, id: PodId) -> Option<Local> {
        let entry = self.pods.get(id)?;
        let here = entry.pod.node.as_ref().is_none_or(|node| *node == self.node);
        let mut addresses: Vec<(IpAddr, Option<String>)> = Vec::new();
        let attached = self.addresses.attachments.iter().filter(|(_, it)| it.pod == Some(id));
        for (key, it) in attached.clone() {
            let own = it.attachment.addresses.iter().filter(|it| entry.addresses.contains(it));
            addresses.extend(own.map(|address| (*address, Some(key.clone()))));
        }
        if here {
            let unattached = |it: &&IpAddr| addresses.iter().all(|(known, _)| known != *it);
            let rest: Vec<IpAddr> = entry.addresses.iter().filter(unattached).copied().collect();
            addresses.extend(rest.into_iter().map(|address| (address, None)));
        }
        addresses.sort_unstable();
        (here || attached.count() > 0).then(|| Local { addresses, ..Local::default() })
    }

    /// A policy selects or no longer selects pods of this node; `selected` decides.
    pub(super) fn reselect(&mut self, policy: PolicyId, namespace: Option<&str>) {
        let concerned: Vec<PodId> = self.local.keys().copied().collect();
        for id in concerned {
            let Some(entry) = self.pods.get(id) else { continue };
            let own = &entry.pod.name.namespace;
            if namespace.is_some_and(|namespace| namespace != own) {
                continue;
            }
            let labels = self.namespaces.get(own).and_then(|it| it.labels.as_ref());
            let compiled = self.policies.get(policy);
            let selects =
                compiled.is_some_and(|it| terms::selects(&it.policy.subject, entry, labels));
            let Some(mut local) = self.local.remove(&id) else { continue };
            let selected = match selects {
                true => !local.selected.insert(policy),
                false => local.selected.remove(&policy),
            };
            if selects || selected {
                self.order(id, &mut local);
            }
            self.local.insert(id, local);
        }
    }

    /// Orders the policies that select a pod, and resolves the ports that they name.
    fn order(&self, id: PodId, local: &mut Local) {
        let of = |direction| {
            let known = local.selected.iter().filter_map(|id| Some((*id, self.policies.get(*id)?)));
            let concerned = known.filter(|(_, it)| it.policy.rules(direction).is_some());
            let (plain, mut ranked): (Vec<_>, Vec<_>) =
                concerned.partition(|(_, it)| it.policy.rank == Rank::Namespaced);
            ranked.sort_by(|(_, a), (_, b)| {
                let key = |it: &Compiled| (it.policy.rank, it.policy.name.clone());
                key(a).cmp(&key(b))
            });
            let after = ranked.partition_point(|(_, it)| it.policy.rank < Rank::Namespaced);
            let baseline = ranked.split_off(after);
            let all = ranked.into_iter().chain(plain).chain(baseline);
            all.map(|(id, _)| id).collect()
        };
        (local.ingress, local.egress) = (of(Direction::Ingress), of(Direction::Egress));
        local.named = self.named(id, &local.ingress);
    }

    fn named(&self, id: PodId, policies: &[PolicyId]) -> Named {
        let Some(entry) = self.pods.get(id) else { return Named::new() };
        let policies = policies.iter().filter_map(|id| self.policies.get(*id));
        let rules = policies.filter_map(|it| it.policy.ingress.as_deref()).flatten();
        let names: BTreeSet<&Port> = rules.flat_map(named_ports).collect();
        let resolve = |port: &Port| match port {
            Port::Named { name, protocol } => {
                let numbers = resolved(&entry.pod.ports, name, *protocol).collect();
                Some(((name.clone(), *protocol), numbers))
            }
            Port::Numbers { .. } => None,
        };
        names.into_iter().filter_map(resolve).collect()
    }
}
