//! Profiles: what decides on the packets of pods that the same policies select.

use super::State;
use super::context::Context;
use super::groups::{Groups, Key, Rules};
use super::items::{Local, PodId, PolicyId};
use super::ports::Named;
use crate::model::{Direction, Family, Rank, Verdict};
use nft::policy::{self, Desired, Matches, Profile, ProfileId, Step, Tiers};
use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;
use std::sync::Arc;

/// What distinguishes profiles.
type Kind<'a> = (Direction, &'a [PolicyId], &'a Named);

/// The profiles of a build.
struct Profiles<'a> {
    groups: &'a mut Groups,
    context: Context<'a>,
    made: BTreeMap<ProfileId, Arc<Profile>>,
    /// By what distinguishes them, for each family; `None`: nothing is restricted.
    known: HashMap<Kind<'a>, [Option<ProfileId>; 2]>,
    before: &'a Desired,
}

impl State {
    /// What nf_tables must hold.
    pub(super) fn build(&mut self) -> Desired {
        let State { policies, terms, pods, touched, groups, local, desired, .. } = self;
        groups.begin();
        let context = Context { policies, terms, pods, touched };
        let (made, known) = (BTreeMap::new(), HashMap::new());
        let mut profiles = Profiles { groups, context, made, known, before: desired };
        let mut of_pods: Vec<(PodId, [Option<ProfileId>; 4])> = Vec::new();
        for (id, local) in local.iter() {
            let [in4, in6] = profiles.of(local, Direction::Ingress);
            let [out4, out6] = profiles.of(local, Direction::Egress);
            of_pods.push((*id, [in4, in6, out4, out6]));
        }
        let profiles = profiles.made;
        let sets = self.groups.end();
        let mut pods = BTreeMap::new();
        for (id, profiles) in of_pods {
            self.place(id, profiles, &mut pods);
        }
        pods.extend(self.unrestricted());
        Desired { sets, profiles, pods }
    }

    fn place(
        &self,
        id: PodId,
        [in4, in6, out4, out6]: [Option<ProfileId>; 4],
        pods: &mut BTreeMap<IpAddr, policy::Pod>,
    ) {
        let (Some(local), Some(entry)) = (self.local.get(&id), self.pods.get(id)) else { return };
        let labels = self.namespace(&entry.pod.name.namespace);
        if labels.is_none() && !self.wide.is_empty() {
            // Which of them select it is not known before its namespace is.
            return;
        }
        for (address, attachment) in &local.addresses {
            let (ingress, egress) = if address.is_ipv4() { (in4, out4) } else { (in6, out6) };
            let pod = policy::Pod { ingress, egress, attachment: attachment.clone() };
            pods.insert(*address, pod);
        }
    }

    /// The addresses of attachments that no policy can select.
    fn unrestricted(&self) -> BTreeMap<IpAddr, policy::Pod> {
        let mut pods = BTreeMap::new();
        for (key, attached) in &self.addresses.attachments {
            let guarded = attached.attachment.pod.as_ref().is_some_and(|(name, _)| {
                let namespace = self.namespaces.get(&name.namespace);
                !self.wide.is_empty() || namespace.is_some_and(|it| !it.policies.is_empty())
            });
            if attached.pod.is_some() || guarded {
                continue;
            }
            for address in &attached.attachment.addresses {
                let attachment = Some(key.clone());
                pods.insert(*address, policy::Pod { ingress: None, egress: None, attachment });
            }
        }
        pods
    }
}

impl<'a> Profiles<'a> {
    fn of(&mut self, local: &'a Local, direction: Direction) -> [Option<ProfileId>; 2] {
        let policies = local.policies(direction);
        let named = match direction {
            Direction::Ingress => &local.named,
            Direction::Egress => &NO_NAMES,
        };
        if policies.is_empty() {
            return [None, None];
        }
        if let Some(known) = self.known.get(&(direction, policies, named)) {
            return *known;
        }
        let made = self.make(direction, policies, named);
        self.known.insert((direction, policies, named), made);
        made
    }

    fn make(
        &mut self,
        direction: Direction,
        policies: &[PolicyId],
        named: &Named,
    ) -> [Option<ProfileId>; 2] {
        let enforced: Vec<PolicyId> =
            policies.iter().copied().filter(|id| !self.is_dry_run(*id)).collect();
        let tiers = self.tiers(direction, &enforced, named);
        let trial =
            (enforced.len() < policies.len()).then(|| self.tiers(direction, policies, named));
        let mut id = self.context.hash_of(policies, (direction, named));
        while self.made.keys().any(|other| other.id == id && other.direction == direction) {
            id = id.wrapping_add(1);
        }
        let [trial4, trial6] = trial.map_or([None, None], |[v4, v6]| [Some(v4), Some(v6)]);
        let [tiers4, tiers6] = tiers;
        let families = [(Family::V4, tiers4, trial4), (Family::V6, tiers6, trial6)];
        families.map(|(family, tiers, trial)| {
            let trial = trial.filter(|trial| !accepts_all(trial) && *trial != tiers);
            if accepts_all(&tiers) && trial.is_none() {
                return None;
            }
            let id = ProfileId { direction, family, id };
            let profile = Profile { tiers, trial };
            let same = self.before.profiles.get(&id).filter(|before| ***before == profile);
            let profile = same.map_or_else(|| Arc::new(profile), Arc::clone);
            self.made.insert(id, profile);
            Some(id)
        })
    }

    fn is_dry_run(&self, id: PolicyId) -> bool {
        self.context.policies.get(id).is_some_and(|it| it.policy.dry_run)
    }

    fn tiers(&mut self, direction: Direction, policies: &[PolicyId], named: &Named) -> [Tiers; 2] {
        let of = |rank: fn(Rank) -> bool| -> Vec<PolicyId> {
            let known = |id: &PolicyId| self.context.policies.get(*id);
            let is = |id: &PolicyId| known(id).is_some_and(|it| rank(it.policy.rank));
            policies.iter().copied().filter(is).collect()
        };
        let admin = of(|rank| rank < Rank::Namespaced);
        let namespaced = of(|rank| rank == Rank::Namespaced);
        let baseline = of(|rank| rank > Rank::Namespaced);
        let [before4, before6] = self.steps(direction, &admin, named);
        if namespaced.is_empty() {
            let [after4, after6] = self.steps(direction, &baseline, named);
            return [
                Tiers { before: before4, isolated: None, after: after4 },
                Tiers { before: before6, isolated: None, after: after6 },
            ];
        }
        let rules = self.rules(direction, &namespaced);
        let mut contributors: Vec<PolicyId> = rules.iter().map(|(id, _)| *id).collect();
        contributors.sort_unstable();
        contributors.dedup();
        let key = Key { direction, rules: Rules::Every(contributors), named: named.clone() };
        let [all4, all6] = self.groups.matches(key, &rules, &self.context);
        [
            Tiers { before: before4, isolated: Some(all4), after: Vec::new() },
            Tiers { before: before6, isolated: Some(all6), after: Vec::new() },
        ]
    }

    /// The rules of policies, in order.
    fn rules(&self, direction: Direction, policies: &[PolicyId]) -> Vec<(PolicyId, usize)> {
        let of = |id: &PolicyId| {
            let rules = self.context.policies.get(*id).and_then(|it| it.policy.rules(direction));
            let (id, count) = (*id, rules.map_or(0, <[_]>::len));
            (0..count).map(move |at| (id, at))
        };
        policies.iter().flat_map(of).collect()
    }

    /// A tier's rules, those that follow one another with one verdict as one step.
    fn steps(
        &mut self,
        direction: Direction,
        policies: &[PolicyId],
        named: &Named,
    ) -> [Vec<Step>; 2] {
        let mut runs: Vec<(Verdict, Vec<(PolicyId, usize)>)> = Vec::new();
        for (id, at) in self.rules(direction, policies) {
            let compiled = self.context.policies.get(id);
            let rules = compiled.and_then(|it| it.policy.rules(direction));
            let Some(rule) = rules.and_then(|rules| rules.get(at)) else { continue };
            match runs.last_mut() {
                Some((verdict, run)) if *verdict == rule.verdict => run.push((id, at)),
                _ => runs.push((rule.verdict, vec![(id, at)])),
            }
        }
        let mut steps = [Vec::new(), Vec::new()];
        for (verdict, rules) in runs {
            let key = Key { direction, rules: Rules::These(rules.clone()), named: named.clone() };
            let matches = self.groups.matches(key, &rules, &self.context);
            for (steps, matches) in steps.iter_mut().zip(matches) {
                if matches != Matches::Sets(Vec::new()) {
                    steps.push(Step { verdict, matches });
                }
            }
        }
        steps
    }
}

static NO_NAMES: Named = Named::new();

/// Whether tiers accept every packet, whatever is in their sets.
fn accepts_all(tiers: &Tiers) -> bool {
    let denies = |steps: &[Step]| steps.iter().any(|step| step.verdict == Verdict::Deny);
    let open = tiers.isolated.as_ref().is_none_or(|it| *it == Matches::All);
    open && !denies(&tiers.before) && !denies(&tiers.after)
}
