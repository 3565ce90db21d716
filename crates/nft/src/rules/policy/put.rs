//! Making the kernel hold what is desired: the difference, in one batch.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use nix::errno::Errno::ENOENT;

use super::chains::of_profile;
use super::found::{Differs, Found};
use super::frame::{FAMILIES, POLICY, names};
use super::keys;
use super::make;
use super::maps::MapChanges;
use super::{Desired, Family, Pod, SetId};
use crate::Nft;
use crate::kernel::batch::Batch;
use crate::kernel::error::{Error, Result};
use crate::kernel::expr::Rule;
use crate::kernel::set::{IPV4_ADDR, Set, Span};

/// What the kernel holds, as far as it is known.
#[derive(Debug, Default)]
pub struct Known {
    desired: Option<Arc<Desired>>,
    /// Something was put before.
    begun: bool,
}

impl Known {
    /// Another program changed the table: it is read again with the next put.
    pub fn forget(&mut self) {
        self.desired = None;
    }
}

/// What a put did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Put {
    /// Elements and rules that were added, removed or replaced.
    pub changed: usize,
    /// Another program's changes were undone.
    pub repaired: bool,
    /// Addresses that stay held.
    pub held: usize,
}

/// What is to be changed.
#[derive(Debug, Default)]
struct Difference {
    dormant: bool,
    frame: bool,
    made_sets: Vec<SetId>,
    /// Of each set, what goes and what comes.
    members: Vec<(Place, [Vec<Span>; 2])>,
    made_chains: Vec<String>,
    /// The new rules of chains.
    rules: Vec<(String, Vec<Rule>)>,
    maps: MapChanges,
    gone_chains: Vec<String>,
    gone_sets: Vec<String>,
}

/// A set whose members change.
#[derive(Debug, Clone, Copy)]
enum Place {
    /// Addresses that reach themselves.
    Own(Family),
    /// One that profiles refer to.
    Of(SetId),
}

impl Place {
    fn with<T>(self, work: impl FnOnce(&Set<'_>) -> T) -> T {
        match self {
            Place::Own(family) => work(&names(family).own),
            Place::Of(id) => work(&id.set(&id.name())),
        }
    }
}

/// The addresses of a family that have a profile, as elements of the set of those that reach themselves.
fn own(family: Family, pods: &BTreeMap<IpAddr, Pod>) -> BTreeSet<Span> {
    let selected = pods.iter().filter(|(address, pod)| {
        Family::of(**address) == family && (pod.ingress.is_some() || pod.egress.is_some())
    });
    let span = |address: IpAddr| Span { first: keys::pair(address, address), end: None };
    selected.map(|(address, _)| span(*address)).collect()
}

fn lacking(old: &BTreeSet<Span>, new: &BTreeSet<Span>) -> [Vec<Span>; 2] {
    [old.difference(new).cloned().collect(), new.difference(old).cloned().collect()]
}

impl Difference {
    fn change(&mut self, place: Place, spans: [Vec<Span>; 2]) {
        if spans.iter().any(|spans| !spans.is_empty()) {
            self.members.push((place, spans));
        }
    }

    fn write(&mut self, name: String, rules: Vec<Rule>, differs: &Differs) {
        match differs {
            Differs::No => return,
            Differs::Missing => self.made_chains.push(name.clone()),
            Differs::Rules => {}
        }
        self.rules.push((name, rules));
    }

    /// From what was put before; what depends on the pods is compared with the kernel, since DEL and ADD
    /// change it too.
    fn between(old: &Desired, new: &Desired) -> Difference {
        let mut difference = Difference::default();
        for (id, members) in &new.sets {
            match old.sets.get(id) {
                Some(before) if Arc::ptr_eq(before, members) => {}
                Some(before) => difference.change(Place::Of(*id), members.difference(before)),
                None => {
                    difference.made_sets.push(*id);
                    let made = members.spans().into_iter().collect();
                    difference.change(Place::Of(*id), [Vec::new(), made]);
                }
            }
        }
        let gone = old.sets.keys().filter(|id| !new.sets.contains_key(id));
        difference.gone_sets.extend(gone.map(|id| id.name()));
        difference.chains_between(old, new);
        difference
    }

    fn chains_between(&mut self, old: &Desired, new: &Desired) {
        let ids: BTreeSet<_> = old.profiles.keys().chain(new.profiles.keys()).collect();
        for id in ids {
            let [before, after] = [old, new].map(|desired| desired.profiles.get(id));
            if let (Some(before), Some(after)) = (before, after)
                && Arc::ptr_eq(before, after)
            {
                continue;
            }
            let chains = |profile: Option<&Arc<_>>| {
                profile.map_or_else(Vec::new, |profile| of_profile(*id, profile))
            };
            let [before, after] = [before, after].map(chains);
            let gone = before.iter().filter(|(name, _)| after.iter().all(|(new, _)| new != name));
            self.gone_chains.extend(gone.map(|(name, _)| name.clone()));
            for (name, rules) in after {
                let differs = match before.iter().find(|(old, _)| *old == name) {
                    None => Differs::Missing,
                    Some((_, before)) if *before == rules => Differs::No,
                    Some(_) => Differs::Rules,
                };
                self.write(name, rules, &differs);
            }
        }
    }

    /// From nothing.
    fn from_nothing(desired: &Desired) -> Difference {
        let none = Desired::default();
        let mut difference = Difference { frame: true, ..Difference::between(&none, desired) };
        for family in FAMILIES {
            let made = own(family, &desired.pods).into_iter().collect();
            difference.change(Place::Own(family), [Vec::new(), made]);
        }
        difference
    }

    /// In the order in which the kernel finds everything that is referred to, and nothing that is still
    /// in use is removed.
    fn to_batch(&self) -> Batch {
        let mut batch = Batch::new(POLICY);
        if self.dormant {
            batch.wake_table();
        }
        if self.frame {
            make::add(&mut batch);
        }
        for id in &self.made_sets {
            batch.add_set(&id.set(&id.name()));
        }
        self.made_chains.iter().for_each(|name| batch.add_chain(name, ""));
        for (place, [gone, made]) in &self.members {
            place.with(|set| {
                batch.del_spans(set, &gone.iter().collect::<Vec<_>>());
                batch.add_spans(set, &made.iter().collect::<Vec<_>>());
            });
        }
        for (name, rules) in &self.rules {
            if !self.made_chains.contains(name) {
                batch.flush_chain(name);
            }
            batch.add_rules(name, rules);
        }
        self.maps.add_to(&mut batch);
        self.gone_chains.iter().for_each(|name| batch.flush_chain(name));
        self.gone_chains.iter().for_each(|name| batch.del_chain(name));
        // The kernel asks for a name alone.
        self.gone_sets.iter().for_each(|name| batch.del_set(&Set::new(name, IPV4_ADDR)));
        batch
    }

    fn put(&self) -> Put {
        let members = self.members.iter().flat_map(|(_, spans)| spans).map(Vec::len);
        let rules = self.rules.iter().map(|(_, rules)| rules.len());
        let changed = members.chain(rules).sum::<usize>()
            + self.maps.len()
            + usize::from(self.frame || self.dormant)
            + self.gone_chains.len()
            + self.gone_sets.len();
        Put { changed, repaired: false, held: self.maps.held_addresses() }
    }
}

impl Nft {
    /// Makes table `inet ferrule-policy` hold what is desired, in one batch of what differs. What was put
    /// before is taken from `known`; without it the table is read.
    ///
    /// # Errors
    /// [`Error::is_unsupported`] on a kernel without nf_tables or one of the expressions; as the kernel
    /// reports them. Nothing was changed then.
    pub fn put_policies(&mut self, known: &mut Known, desired: &Arc<Desired>) -> Result<Put> {
        let put = match known.desired.take() {
            Some(old) => match self.put_changes(&old, desired) {
                // Another program changed the table, and its notification is still to come.
                Err(e) if e.is_exists() || e.is_gone() || e.is_busy() => {
                    self.put_whole(desired).map(|put| repaired(put, true))
                }
                put => put,
            },
            None => self.put_whole(desired).map(|put| repaired(put, known.begun)),
        }?;
        *known = Known { desired: Some(Arc::clone(desired)), begun: true };
        Ok(put)
    }

    fn put_changes(&mut self, old: &Desired, new: &Desired) -> Result<Put> {
        let mut difference = Difference::between(old, new);
        self.at_generation(|nft, generation| {
            difference.members.retain(|(place, _)| matches!(place, Place::Of(_)));
            if !nft.compare_own(&mut difference, &new.pods)? {
                return Err(Error::from(netlink::Error::of("read the pods", ENOENT as i32, "")));
            }
            difference.maps = nft.map_changes(&new.pods)?;
            nft.commit_difference(&difference, generation)
        })
    }

    /// Compares the whole table. Where something of our names is of another kind, it is made anew.
    fn put_whole(&mut self, desired: &Desired) -> Result<Put> {
        self.at_generation(|nft, generation| {
            let found = nft.find_policies()?;
            if let Some(difference) = nft.difference_from(&found, desired)? {
                match nft.commit_difference(&difference, generation) {
                    Err(e) if generation.is_none() || !is_of_another_kind(&e) => return Err(e),
                    Err(_) => {}
                    put => return put,
                }
            }
            nft.make_anew(&found, desired)
        })
    }

    fn commit_difference(
        &mut self,
        difference: &Difference,
        generation: Option<u32>,
    ) -> Result<Put> {
        let batch = difference.to_batch();
        if !batch.steps().is_empty() {
            self.socket.commit(&batch, generation)?;
        }
        Ok(difference.put())
    }

    /// `None` where a set holds what cannot be compared.
    fn difference_from(&mut self, found: &Found, desired: &Desired) -> Result<Option<Difference>> {
        if !found.present {
            let mut difference = Difference::from_nothing(desired);
            difference.maps = MapChanges::default().anew(&desired.pods);
            return Ok(Some(difference));
        }
        let frame = !found.framed;
        let mut difference = Difference { dormant: found.dormant, frame, ..Difference::default() };
        for (id, members) in &desired.sets {
            let before = if found.has_set(&id.name()) {
                self.members_of(*id)?
            } else {
                difference.made_sets.push(*id);
                Some(BTreeSet::new())
            };
            let Some(before) = before else { return Ok(None) };
            difference.change(Place::Of(*id), lacking(&before, &members.spans()));
        }
        if !self.compare_own(&mut difference, &desired.pods)? {
            return Ok(None);
        }
        let profiles = desired.profiles.iter();
        let chains: BTreeMap<_, _> =
            profiles.flat_map(|(id, profile)| of_profile(*id, profile)).collect();
        difference.gone_chains = found.other_chains(&chains);
        let names = desired.sets.keys().map(|id| id.name()).collect();
        difference.gone_sets = found.other_sets(&names);
        for (name, rules) in chains {
            let differs = found.chain(&name, &rules);
            difference.write(name, rules, &differs);
        }
        difference.maps = self.map_changes(&desired.pods)?;
        Ok(Some(difference))
    }

    /// Compares the sets of addresses that reach themselves; false where they hold something else.
    fn compare_own(
        &mut self,
        difference: &mut Difference,
        pods: &BTreeMap<IpAddr, Pod>,
    ) -> Result<bool> {
        for family in FAMILIES {
            let Some(before) = self.members(&names(family).own)? else { return Ok(false) };
            difference.change(Place::Own(family), lacking(&before, &own(family, pods)));
        }
        Ok(true)
    }

    /// Deletes the table and makes it, in one batch: no packet passes in between. What is held stays so.
    fn make_anew(&mut self, found: &Found, desired: &Desired) -> Result<Put> {
        let mut difference = Difference::from_nothing(desired);
        difference.maps = self.map_changes(&desired.pods)?.anew(&desired.pods);
        let mut batch = Batch::new(POLICY);
        if found.present {
            batch.del_table();
        }
        batch.append(difference.to_batch());
        match self.socket.commit(&batch, None) {
            // All is made before it is used: what is not found is a part of the kernel.
            Err(Error::Kernel { what, errno: errno @ ENOENT, .. }) => {
                Err(Error::Unsupported { what, errno })
            }
            done => done.map(|()| difference.put()),
        }
    }

    /// Removes the table: no policy is in force any more, and nothing is held.
    ///
    /// # Errors
    /// As the kernel reports them; that there is none is success.
    pub fn del_policies(&mut self) -> Result<()> {
        self.at_generation(|nft, generation| {
            if nft.table(POLICY)?.is_none() {
                return Ok(());
            }
            let mut batch = Batch::new(POLICY);
            batch.del_table();
            nft.commit_removal(&batch, generation).map(drop)
        })
    }
}

fn repaired(put: Put, before: bool) -> Put {
    Put { repaired: before && put.changed > 0, ..put }
}

/// Whether the kernel refuses an object because one of its name is another kind of object.
fn is_of_another_kind(error: &Error) -> bool {
    use nix::errno::Errno::{EBUSY, EEXIST, EINVAL, EOPNOTSUPP, EOVERFLOW};
    !error.is_unsupported()
        && matches!(error.errno(), Some(EBUSY | EEXIST | EINVAL | ENOENT | EOPNOTSUPP | EOVERFLOW))
}
