//! The full pass: what exists in the kernel is compared with what must, and the difference applied.

use super::Sync;
use super::log::{LOGGED, REPAIR};
use crate::convergence::Achieved;
use crate::facts::read::{facts, gateways};
use crate::guard::plan::rules;
use crate::routes::desired::Desired;
use crate::routes::diff::Change;
use crate::routes::earlier;
use crate::routes::failures::{Aim, aim};
use crate::routes::protocols::{LEARNED, PROTOCOL};
use crate::tunnel::device::Tunnel;
use crate::tunnel::ensure::{self, UNGUARDED};
use net::vxlan::Ensured;
use net::{Link, address, fdb, link, neighbour, route};
use std::collections::HashSet;
use std::time::Instant;
use tracing::{debug, info, warn};

/// Problems, as `status` names them.
const NFTABLES: &str = "nftables";
const NEIGHBOURS: &str = "neighbour limits";
const FORWARDING: &str = "forwarding";

impl Sync {
    /// Another program changed the table `inet ferrule`.
    pub fn ruleset_changed(&mut self) {
        if !self.view.convergence.has_set() {
            return;
        }
        let failed = self.problems.has(NFTABLES);
        let guarded = self.rules("another program changed nftables");
        self.limit_neighbours("another program changed nftables");
        // Without the guard no tunnel was made, nor an existing one mended.
        if failed && guarded {
            self.work.full("the guard can be put now");
        }
    }

    /// Does what notifications, a new node set or a failure asked for.
    pub fn work(&mut self) {
        if !self.view.convergence.has_set() {
            return self.work.clear();
        }
        let due = self.due();
        let failed = due.is_none().then_some("something failed before");
        if let Some(why) = self.work.take_full().or(failed) {
            return self.pass(why);
        }
        self.change(&due.unwrap_or_default(), "something failed before");
        self.repair();
        if let Some(why) = self.work.take_full() {
            self.pass(why);
        }
    }

    /// The changes to retry now, one by one; `None` if that takes a full pass.
    fn due(&self) -> Option<Vec<Change>> {
        if self.problems.next_try().is_some_and(|again| again <= Instant::now()) {
            return None;
        }
        self.failures.due(|dst| self.view.wanted(dst))
    }

    /// Undoes what other programs did to single objects.
    fn repair(&mut self) {
        let repairs = self.work.take_repairs();
        let deletions = self.view.deletions();
        let repairs: Vec<Change> =
            repairs.into_iter().filter(|change| deletions.allow(change).is_ok()).collect();
        if repairs.is_empty() {
            return;
        }
        match self.apply(&repairs, REPAIR, false) {
            Ok(done) => self.count_repairs(&done),
            Err(error) => self.problems.add("netlink", &error),
        }
        self.conditions.note_changed(&repairs, &self.view, &self.failures);
    }

    /// A full pass, for `why`.
    pub fn pass(&mut self, why: &'static str) {
        let begin = Instant::now();
        self.work.clear();
        if !self.view.convergence.has_set() {
            return;
        }
        match self.whole(why) {
            Ok(()) => self.problems.solved("netlink"),
            Err(error) => self.problems.add("netlink", &error),
        }
        self.write_node();
        self.failures.postpone();
        self.problems.postpone();
        self.figures.passes += 1;
        self.figures.pass_seconds = begin.elapsed().as_secs_f64();
        debug!(why, seconds = self.figures.pass_seconds, "full pass");
        self.conditions.note_all(&self.view, &self.failures);
    }

    fn whole(&mut self, why: &'static str) -> net::Result<()> {
        let links = self.look()?;
        let before = self.view.decide();
        self.log_problems(&before);
        // A tunnel never exists without its guard, not for a moment. The guard covers one port: a
        // device at another port is removed before the guard moves.
        let wants_guard = self.view.desired.tunnel.is_some();
        let unwanted = match self.view.convergence.knows_node() {
            true => ensure::unwanted(self.view.desired.tunnel.as_ref(), links),
            false => ensure::Unwanted::default(),
        };
        self.guard.device_remains = false;
        let all = unwanted.elsewhere.iter().chain(&unwanted.others);
        let all: HashSet<String> = all.map(ensure::removal_problem).collect();
        self.problems.retain(|what| !ensure::is_removal_problem(what) || all.contains(what));
        self.remove_devices(&unwanted.elsewhere, false);
        let guarded = wants_guard && self.rules(why);
        self.view.device = self.ensure_tunnel(why, before.tunnel.as_ref(), guarded)?;
        if let Err(error) = self.filter.only(self.view.device_index()) {
            self.problems.add("neighbours", &error);
        }
        self.limit_neighbours(why);
        self.forward(why);
        self.apply_difference(why)?;
        // What led through an old device now leads elsewhere.
        self.remove_devices(&unwanted.others, wants_guard);
        if !wants_guard {
            self.rules(why);
        }
        self.finish(Achieved { tunnel: self.tunnel_is_up(), guard: guarded == wants_guard });
        Ok(())
    }

    /// Looks at this node's links, and removes what earlier pod CIDRs left on them.
    fn look(&mut self) -> net::Result<Vec<Link>> {
        let links = self.socket.list(&link::list())?;
        let mut held = self.socket.list(&address::list())?;
        let (earlier, removed) = earlier::clear(&mut self.socket, &self.view, &links, &mut held)?;
        self.view.earlier = earlier;
        self.figures.changes += removed;
        self.view.facts = facts(&links, &held);
        self.view.facts.gateways = gateways(&mut self.socket)?;
        Ok(links)
    }

    /// Logs the problems that the desired state did not have `before`.
    fn log_problems(&self, before: &Desired) {
        let new = self.view.desired.problems.difference(&before.problems);
        for (what, error) in new.clone().take(LOGGED) {
            warn!("{what}: {error}");
        }
        let more = new.skip(LOGGED).count();
        if more > 0 {
            warn!("{more} more problems: see `route-sync status`");
        }
    }

    fn apply_difference(&mut self, why: &'static str) -> net::Result<()> {
        let changes = self.difference()?;
        // What the difference does not name is as desired.
        let still: HashSet<Aim> = changes.iter().map(aim).collect();
        self.failures.keep(|aim| still.contains(aim));
        self.apply(&changes, why, true)?;
        // Refused creations are conflicts now, and no reason for another pass.
        self.work.take_full();
        Ok(())
    }

    /// Our objects that the kernel lacks, or that differ there.
    fn difference(&mut self) -> net::Result<Vec<Change>> {
        let Sync { view, socket, .. } = self;
        let diff = view.diff();
        let mut routes = |v6, protocol| {
            socket.fold(&route::list_of(v6, protocol), |seen, route| diff.route(seen, route))
        };
        let routes = [
            routes(false, PROTOCOL)?,
            routes(true, PROTOCOL)?,
            routes(false, LEARNED)?,
            routes(true, LEARNED)?,
        ];
        let leftovers = diff.leftovers(&routes);
        let (mut neighbours, mut entries) = Default::default();
        if let Some(link) = diff.tunnel {
            let mut list = |v6| {
                let of_link = neighbour::of_link(link, v6);
                socket.fold(&of_link, |seen, entry| diff.neighbour(seen, entry))
            };
            neighbours = [list(false)?, list(true)?];
            entries = socket.fold(&fdb::of_link(link), |seen, entry| diff.entry(seen, entry))?;
        }
        let changes = diff.changes(routes, neighbours, entries);
        view.leftovers = leftovers;
        Ok(changes)
    }

    fn tunnel_is_up(&self) -> bool {
        let device = self.view.device.as_ref();
        self.view.desired.tunnel.is_none() || device.is_some_and(|link| link.up)
    }

    fn finish(&mut self, achieved: Achieved) {
        if self.view.convergence.passed(achieved) {
            info!(failing = self.failures.len(), "in step");
        }
    }

    /// `before`: the tunnel that was wanted in the last pass. While it is not `guarded` a device that
    /// exists stays as it is, and none is made.
    fn ensure_tunnel(
        &mut self,
        why: &'static str,
        before: Option<&Tunnel>,
        guarded: bool,
    ) -> net::Result<Option<Link>> {
        let what = self.view.desired.tunnel.as_ref().map(ensure::problem);
        // A problem of a device that is wanted no more would never be solved.
        let of_now = |known: &str| !ensure::is_problem(known) || Some(known) == what.as_deref();
        self.problems.retain(of_now);
        let (Some(wanted), Some(what)) = (&self.view.desired.tunnel, what) else { return Ok(None) };
        if !guarded {
            let there = self.tunnel_as_it_is()?;
            if there.is_none() {
                self.problems.add(&what, &UNGUARDED);
            }
            return Ok(there);
        }
        // Nothing else than before is wanted, and it existed: then another program altered it.
        let repair = self.view.device.is_some() && before == Some(wanted);
        match ensure::ensure(&mut self.socket, wanted) {
            Ok(Ensured { link, made, mended }) => {
                if let Some(cause) = &made {
                    info!(why, "made device {}: {cause}", link.name);
                }
                for mended in &mended {
                    info!(why, "mended device {}: {mended}", link.name);
                }
                let count = made.iter().chain(&mended).count() as u64;
                self.figures.changes += count;
                if repair && count > 0 {
                    self.figures.repaired("device", count);
                }
                self.problems.solved(&what);
                Ok(Some(link))
            }
            // An existing device carries packets all the same.
            Err(error) => {
                self.problems.add(&what, &error);
                self.tunnel_as_it_is()
            }
        }
    }

    /// The tunnel's device, whatever of it is not as wanted.
    fn tunnel_as_it_is(&mut self) -> net::Result<Option<Link>> {
        let Some(wanted) = &self.view.desired.tunnel else { return Ok(None) };
        let Some(link) = ensure::find(&mut self.socket, wanted)? else { return Ok(None) };
        let held = self.socket.list(&address::of_link(link.index))?;
        // The kernel refuses a route whose source is not held.
        let facts = &self.view.facts;
        self.view.desired.keep_sources(|source| {
            held.iter().any(|held| held.address.ip() == source) || facts.holder(source).is_some()
        });
        Ok(Some(link))
    }

    /// Removes devices; `guarded`: the guard that is wanted covers their port too.
    pub(super) fn remove_devices(&mut self, links: &[Link], guarded: bool) {
        for link in links {
            let what = ensure::removal_problem(link);
            match self.socket.set(&link::del(link.index, &link.name)) {
                Err(error) if !error.is_gone() => {
                    self.guard.device_remains |= !guarded;
                    self.problems.add(&what, &error);
                }
                _ => {
                    info!(device = link.name, "removed: the configuration wants another or none");
                    self.problems.solved(&what);
                }
            }
        }
    }

    /// Brings the guard of the tunnel's port, the cluster's CIDRs and the masquerade in step; whether
    /// they are. While this node is not known, or a device remains that the guard would leave, the
    /// last ones are kept.
    pub(super) fn rules(&mut self, why: &'static str) -> bool {
        let known = self.view.convergence.knows_node() && !self.guard.device_remains;
        let view = &self.view;
        let wanted = known.then(|| rules(&view.config, &view.nodes, &view.facts, &view.desired));
        match self.guard.put(wanted) {
            None => false,
            Some(Ok(changed)) => {
                if changed {
                    info!(why, "nftables rules put in step");
                    self.figures.changes += 1;
                }
                self.problems.solved(NFTABLES);
                known
            }
            Some(Err(error)) => {
                self.problems.add(NFTABLES, &error);
                false
            }
        }
    }

    /// Limits how many neighbours each pod can make this node remember.
    pub(super) fn limit_neighbours(&mut self, why: &'static str) {
        match self.guard.limit_neighbours() {
            Ok(changed) => {
                if changed {
                    info!(why, "limits of neighbours put in step");
                    self.figures.changes += 1;
                }
                self.problems.solved(NEIGHBOURS);
            }
            Err(error) => self.problems.add(NEIGHBOURS, &error),
        }
    }

    /// Switches on forwarding where it is off.
    fn forward(&mut self, why: &'static str) {
        let Sync { view, forwarding, socket, .. } = self;
        let Some(own) = &view.nodes.own else { return };
        let (switched, done) =
            forwarding.switch_on(socket, own, &view.facts, view.device.as_ref(), why);
        // Until the first pass is complete a node may never have forwarded.
        if switched > 0 && view.convergence.is_synced() {
            self.figures.repaired("forwarding", switched);
        }
        match done {
            Ok(()) => self.problems.solved(FORWARDING),
            Err(error) => self.problems.add(FORWARDING, &error),
        }
    }
}
