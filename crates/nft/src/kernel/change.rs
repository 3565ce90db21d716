//! What every kind of element shares: putting one where it belongs, and taking the frame of
//! table, base chain and sets away with the last one.

use nix::errno::Errno;

use crate::Nft;
use crate::kernel::batch::{BaseChain, Batch, Table};
use crate::kernel::error::{Error, Result};
use crate::kernel::expr::Rule;
use crate::kernel::set::{Element, Set};

/// A chain that elements need: its rules, and how it is made with what it hangs on.
pub(crate) struct Chain<'a> {
    pub(crate) name: &'a str,
    pub(crate) rules: Vec<Rule>,
    pub(crate) add: &'a dyn Fn(&mut Batch),
}

impl Chain<'_> {
    /// Adds to the batch what makes it. `flush`: it may hold rules.
    fn put(&self, batch: &mut Batch, flush: bool) {
        // Also when it exists: one of the name that is of another kind is refused.
        (self.add)(batch);
        // Without a generation another process may have filled it since we looked.
        if flush {
            batch.flush_chain(self.name);
        }
        batch.add_rules(self.name, &self.rules);
    }
}

impl Nft {
    /// Makes elements exist as they are given, in one batch. If a chain is missing or has lost
    /// rules, a cheap sign that another program flushed or deleted what is needed, it goes before, and
    /// for the base chain the table and the sets. Of many that find it wanting at once one makes
    /// it.
    ///
    /// Gives the names of the chains that were found wanting.
    ///
    /// Only what is missing is sent. A batch that deletes anything, or adds once more a base chain
    /// or a set that exists, leaves work behind (nf_tables_trans_destroy_work) that waits for an
    /// RCU grace period, and the next NETLINK_NETFILTER socket of this network namespace to be
    /// closed waits for that work with the ruleset locked (nft_rcv_nl_event). Measured: 4 to
    /// 16 ms, for every pod one by one.
    ///
    /// Elements that always come together are asked for by the first of them alone: where that one
    /// is missing, the others are taken to be too, until the kernel says otherwise.
    pub(crate) fn put<'a>(
        &mut self,
        table: Table,
        elements: &[Element],
        chains: &[Chain<'a>],
    ) -> Result<Vec<&'a str>> {
        self.put_with(table, elements, chains, &mut |_, _| Ok(()))
    }

    /// As [`Self::put`], with what `more` adds to the batch.
    pub(crate) fn put_with<'a>(
        &mut self,
        table: Table,
        elements: &[Element],
        chains: &[Chain<'a>],
        more: &mut dyn FnMut(&mut Self, &mut Batch) -> Result<()>,
    ) -> Result<Vec<&'a str>> {
        let mut together = true;
        self.at_generation(|nft, generation| {
            let mut batch = Batch::new(table);
            let present = nft.table_rules(table)?;
            let wanting = |chain: &&Chain<'a>| present.of(chain.name).len() < chain.rules.len();
            let wanting: Vec<_> = chains.iter().filter(wanting).collect();
            for chain in &wanting {
                let emptied = !present.of(chain.name).is_empty();
                chain.put(&mut batch, emptied || generation.is_none());
            }
            let framed = !batch.steps().is_empty();
            let assumed = std::mem::take(&mut together);
            let mut replaced = nft.put_each(&mut batch, elements, assumed)?;
            let elements = batch.steps().len();
            more(nft, &mut batch)?;
            replaced |= batch.steps().len() > elements;
            let wanting: Vec<_> = wanting.into_iter().map(|chain| chain.name).collect();
            if batch.steps().is_empty() {
                return Ok(wanting);
            }
            // A mere addition needs no generation: it fails if what we saw is not so any more.
            let mere = !framed && !replaced;
            match nft.socket.commit(&batch, generation.filter(|_| !mere)).map(|()| wanting) {
                // Another's last DEL took the frame, or another process put an element of that
                // key.
                Err(e) if mere && generation.is_some() && (e.is_gone() || e.is_exists()) => {
                    Err(e.outdated())
                }
                Err(e) if assumed && generation.is_some() && e.is_exists() => Err(e.outdated()),
                // With the frame in the batch everything is made before it is used: what the
                // kernel does not find is a part of itself (chain type nat, expression masq).
                Err(Error::Kernel { what, errno: errno @ Errno::ENOENT, .. })
                    if framed && generation.is_some() =>
                {
                    Err(Error::Unsupported { what, errno })
                }
                result => result,
            }
        })
    }

    /// Adds to the batch what each element needs; whether one is replaced. `together`: where the
    /// first one is missing, the others are not asked for.
    fn put_each(
        &mut self,
        batch: &mut Batch,
        elements: &[Element],
        together: bool,
    ) -> Result<bool> {
        let mut replaced = false;
        let mut none = false;
        for (i, wanted) in elements.iter().enumerate() {
            let found = match none {
                true => None,
                false => self.element(batch.table, &wanted.set, &wanted.key)?,
            };
            none = together && (none || i == 0 && found.is_none());
            match found {
                Some(found) if found.is(wanted) => {}
                Some(_) => {
                    replaced = true;
                    batch.del_element(&wanted.set, &wanted.key);
                    batch.add_element(wanted);
                }
                None => batch.add_element(wanted),
            }
        }
        Ok(replaced)
    }

    /// Sends a batch that only removes; false when the kernel says that it is in use (EBUSY:
    /// another's now) or that it is gone (ENOENT: another process was faster).
    pub(crate) fn commit_removal(
        &mut self,
        batch: &Batch,
        generation: Option<u32>,
    ) -> Result<bool> {
        match self.socket.commit(batch, generation) {
            Ok(()) => Ok(true),
            Err(e) if e.is_busy() || e.is_gone() => Ok(false),
            Err(e) => Err(e),
        }
    }

    /// Removes the table if there is nothing in it but the base chain and empty sets. The kernel
    /// decides: each deletion is refused with EBUSY for a set with elements and a table with
    /// other objects, and so a pod that is added at the same time is never lost. Looking first
    /// only spares the failing batch, which would wait for an RCU grace period.
    pub(crate) fn del_empty_frame(
        &mut self,
        table: Table,
        bases: &[BaseChain],
        sets: &[Set<'_>],
    ) -> Result<()> {
        self.at_generation(|nft, generation| {
            let Some(state) = nft.table(table)? else { return Ok(()) };
            if state.objects as usize > sets.len() + bases.len() {
                return Ok(());
            }
            let mut empty = Vec::new();
            for set in sets {
                match nft.has_elements(table, set)? {
                    Some(true) => return Ok(()),
                    Some(false) => empty.push(*set),
                    None => {}
                }
            }
            // Without the chains these are sets that were made for route-sync alone.
            let mut present = Vec::new();
            for base in bases {
                present.extend(nft.chain(table, base.name)?.map(|_| base));
            }
            if state.objects as usize > empty.len() + present.len() {
                return Ok(());
            }
            nft.commit_removal(&removal(table, &present, &empty), generation).map(drop)
        })
    }
}

fn removal(table: Table, bases: &[&BaseChain], sets: &[Set<'_>]) -> Batch {
    let mut batch = Batch::new(table);
    for base in bases {
        batch.del_chain(base.name);
    }
    for set in sets {
        batch.del_empty_set(set);
    }
    batch.del_empty_table();
    batch
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel::set::Element;
    use crate::rules::rule;
    use crate::rules::tables::{CLUSTER4, HOSTPORT_NOT_LO, INET, MASQ_BASES, MASQ_SETS, MASQ4};
    use crate::{Masquerade, Nft};
    use nix::sched::{CloneFlags, unshare};

    /// In a network namespace of its own, which vanishes with the thread.
    fn in_netns(test: impl FnOnce(&mut Nft, &Masquerade) + Send + 'static) {
        let thread = std::thread::spawn(|| {
            unshare(CloneFlags::CLONE_NEWNET).expect("a network namespace: run as root");
            let pod = Masquerade {
                network: "pods".to_owned(),
                address: [10, 1, 0, 5].into(),
                subnet: "10.1.0.0/24".parse().unwrap(),
                exclude: Vec::new(),
                comment: "x".to_owned(),
            };
            test(&mut Nft::open().unwrap(), &pod);
        });
        thread.join().unwrap();
    }

    #[test]
    fn the_kernel_itself_refuses_to_remove_a_frame_with_a_live_element() {
        in_netns(|nft, pod| {
            nft.add_masquerade(pod).unwrap();
            // As if the pod had come after all looking, and no generation showed it.
            let removed = nft
                .commit_removal(&removal(INET, &MASQ_BASES.each_ref(), &MASQ_SETS), None)
                .unwrap();
            assert!(!removed);
            assert_eq!(nft.check_masquerade(pod).unwrap(), Vec::<String>::new());
            nft.del_masquerade(pod.address, "x").unwrap();
            assert!(
                !nft.commit_removal(&removal(INET, &MASQ_BASES.each_ref(), &MASQ_SETS), None)
                    .unwrap()
            );
        });
    }

    #[test]
    fn after_too_many_changes_by_others_only_those_of_the_same_object_count() {
        in_netns(|nft, _| {
            let kernel = |errno: Errno| Error::from(netlink::Error::of("add x", errno as i32, ""));
            let mut unguarded = 0;
            let result = nft.at_generation(|_, generation| {
                let None = generation else { return Err(kernel(Errno::ERESTART)) };
                unguarded += 1;
                match unguarded {
                    1 | 3 => Err(kernel(Errno::EEXIST)),
                    2 => Err(kernel(Errno::ENOENT)),
                    _ => Ok(unguarded),
                }
            });
            assert_eq!(result.unwrap(), 4);
            let result: Result<()> = nft.at_generation(|_, generation| {
                Err(kernel(generation.map_or(Errno::EEXIST, |_| Errno::ERESTART)))
            });
            assert!(result.unwrap_err().is_exists());
        });
    }

    #[test]
    fn without_a_generation_no_rule_is_there_twice() {
        in_netns(|nft, _| {
            let rules = vec![rule::masquerade()];
            let add = |batch: &mut Batch| {
                batch.add_table();
                batch.add_chain("one", "x");
            };
            let chain = Chain { name: "one", rules: rules.clone(), add: &add };
            for flush in [false, true] {
                let mut batch = Batch::new(INET);
                chain.put(&mut batch, flush);
                nft.socket.commit(&batch, None).unwrap();
            }
            assert_eq!(nft.table_rules(INET).unwrap().of("one").len(), rules.len());
        });
    }

    #[test]
    fn a_batch_for_an_older_generation_is_refused() {
        in_netns(|nft, pod| {
            nft.add_masquerade(pod).unwrap();
            let old = nft.generation().unwrap();
            let mut batch = Batch::new(INET);
            batch.add_chain("one", "x");
            nft.socket.commit(&batch, Some(old)).unwrap();
            let mut batch = Batch::new(INET);
            batch.add_chain("two", "x");
            assert!(nft.socket.commit(&batch, Some(old)).unwrap_err().is_outdated());
            assert!(nft.chain(INET, "two").unwrap().is_none());
        });
    }

    #[test]
    fn elements_are_seen_by_counting_and_by_listing() {
        in_netns(|nft, pod| {
            assert_eq!(nft.has_elements(INET, &MASQ4).unwrap(), None);
            assert!(!nft.lists_elements(INET, &MASQ4).unwrap());
            nft.add_masquerade(pod).unwrap();
            assert_eq!(nft.has_elements(INET, &MASQ4).unwrap(), Some(true));
            assert!(nft.lists_elements(INET, &MASQ4).unwrap());
            assert_eq!(nft.has_elements(INET, &CLUSTER4).unwrap(), Some(false));
            assert!(!nft.lists_elements(INET, &CLUSTER4).unwrap());
            assert_eq!(nft.sockets().count(), 1, "all that was asked was answered whole");
        });
    }

    /// As on kernels that do not count elements: the cost is that of two datagrams, however many there
    /// are, and the dump that was begun is in no later question's way.
    #[test]
    fn of_a_large_set_the_beginning_alone_is_read() {
        in_netns(|nft, _| {
            let mut batch = Batch::new(INET);
            batch.add_table();
            batch.add_set(&HOSTPORT_NOT_LO);
            for port in 1..=5000_u16 {
                batch.add_element(&Element {
                    set: HOSTPORT_NOT_LO,
                    key: [vec![6, 0, 0, 0], port.to_be_bytes().to_vec(), vec![0, 0]].concat(),
                    title: port.to_string(),
                    data: None,
                    comment: "of some pod on the node".to_owned(),
                });
            }
            nft.socket.commit(&batch, None).unwrap();
            for unread in 1..4 {
                assert!(nft.lists_elements(INET, &HOSTPORT_NOT_LO).unwrap());
                assert_eq!(nft.sockets().count(), 1 + unread);
            }
            assert_eq!(nft.has_elements(INET, &HOSTPORT_NOT_LO).unwrap(), Some(true));
            assert_eq!(nft.all_elements(INET, &HOSTPORT_NOT_LO).unwrap().len(), 5000);
            let mut batch = Batch::new(INET);
            batch.add_chain("one", "x");
            let generation = nft.generation().unwrap();
            nft.socket.commit(&batch, Some(generation)).unwrap();
        });
    }
}
