//! Keeps the kernel as desired: a full pass (dump, diff, apply) at first and when much changed,
//! and single repairs at the kernel's events.

use crate::config::Config;
use crate::convergence::{Achieved, Convergence};
use crate::facts::{Facts, is_tunnel};
use crate::query::Figures;
use crate::report::SourceReport;
use crate::routes::desired::Desired;
use crate::routes::diff::{Change, Deletions, Diff, Seen};
use crate::routes::learned::Learned;
use crate::routes::plan::desired;
use crate::routes::protocols::{LEARNED, PROTOCOL};
use crate::source::nodes::{Accepted, NodeSet};
use crate::tunnel::device::Tunnel;
use apply::{LEARNED_LOGGED, LOGGED, REPAIR};
use daemon::logs::Allowance;
use failures::{Aim, Failure, Failures, Place, aim};
use ipnetwork::IpNetwork;
use local::{facts, is_own};
use net::vxlan::{Ensured, Vxlan};
use net::{Link, NeighbourFilter, Socket, address, fdb, link, neighbour, route, vxlan};
use nft::{Nft, NodeRules};
use node::{Earlier, vtep};
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::time::{Instant, SystemTime};
use tracing::{debug, info, warn};

mod apply;
mod earlier;
mod events;
mod failures;
mod forwarding;
mod learned;
mod local;
mod node_file;
mod probed;
mod report;
mod rules;

/// Why a tunnel is not made.
const UNGUARDED: &str = "it is not made: its port cannot be guarded, and whoever reaches it could \
                         send into the pods' network; the problem `nftables` or `device …` says why";

/// The state of the daemon.
pub struct Sync {
    config: Config,
    socket: Socket,
    nft: Nft,
    nodes: Accepted,
    facts: Facts,
    /// What BGP tells.
    learned: Learned,
    /// What may be deleted yet.
    convergence: Convergence,
    /// Routes of an earlier run that the last full pass left to peers.
    left: HashSet<IpNetwork>,
    /// Something that a peer announces is refused, which may be for a gateway.
    pub(crate) refuses_imports: bool,
    desired: Desired,
    /// The tunnel's device as it was seen last.
    tunnel: Option<Link>,
    /// A device of ours that is wanted no more could not be removed, and the guard that is wanted
    /// is none for it: its port stays guarded as it was.
    stray: bool,
    /// What went into nftables last.
    rules: Option<NodeRules>,
    /// What the kernel refuses, until that very object is as it must be.
    failures: Failures,
    /// Where others' routes were in the way of ours, until they are gone: also while ours is not
    /// wanted, so that a peer that announces and withdraws it costs no full pass each time.
    others: BTreeSet<Place>,
    /// Lines about single changes for BGP.
    lines: Allowance,
    /// Earlier pod CIDRs of this node that something is left of.
    earlier: Vec<Earlier>,
    /// A sysctl of forwarding that is off and cannot be set.
    forwarding_off: Option<String>,
    /// What fails as a whole: `vxlan …`, `nftables`.
    troubles: HashMap<String, Failure>,
    /// Since when each CIDR is on its path and in its state.
    since: HashMap<report::Place, (report::Condition, u64)>,
    /// How many of them are so.
    counts: BTreeMap<report::Condition, u64>,
    source: SourceReport,
    figures: Figures,
    /// Something that only a full pass sets right.
    pending: Option<&'static str>,
    dirty: Vec<Change>,
    /// Lets neighbours of this link through, the tunnel's.
    neighbour_filter: Option<(NeighbourFilter, Option<u32>)>,
}

/// Seconds since 1970.
fn now() -> u64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

impl Sync {
    /// Begins; nothing is touched yet. The network namespace is the thread's.
    ///
    /// # Errors
    /// No netlink, or none of netfilter.
    pub fn new(config: Config) -> Result<Sync, crate::daemon::Error> {
        Ok(Sync {
            socket: Socket::open()?,
            nft: Nft::open()?,
            nodes: Accepted::default(),
            facts: Facts::default(),
            learned: Learned::new(),
            convergence: Convergence::new(config.bgp.is_some()),
            left: HashSet::new(),
            refuses_imports: false,
            desired: Desired::default(),
            tunnel: None,
            stray: false,
            rules: None,
            failures: Failures::default(),
            others: BTreeSet::new(),
            lines: Allowance::new(LEARNED_LOGGED),
            earlier: Vec::new(),
            forwarding_off: None,
            troubles: HashMap::new(),
            since: HashMap::new(),
            counts: BTreeMap::new(),
            source: SourceReport::default(),
            figures: Figures::default(),
            pending: None,
            dirty: Vec::new(),
            neighbour_filter: None,
            config,
        })
    }

    /// Another configuration.
    pub fn reconfigure(&mut self, config: Config) {
        self.convergence.speaks(config.bgp.is_some());
        self.config = config;
        self.pending = Some("the configuration was read anew");
    }

    /// A complete node set; `kept`: of an earlier run.
    pub fn set(&mut self, set: &NodeSet, kept: bool) {
        let Config { node_name, cluster_cidrs, service_cidrs, .. } = &self.config;
        self.nodes = set.accept(node_name, cluster_cidrs, service_cidrs);
        info!(nodes = set.nodes.len(), kept, "node set");
        self.convergence.set_received(kept);
        self.figures.sets += 1;
        self.source.nodes = set.nodes.len();
        self.source.since = Some(now());
        self.source.kept = kept;
        self.source.error = None;
        self.pending = Some("the node set changed");
    }

    /// The source cannot tell; what stands, stands.
    pub fn source_failed(&mut self, error: String) {
        warn!("the node set stands as it is: {error}");
        self.figures.source_failures += 1;
        self.source.error = Some(error);
    }

    /// Does what events, a new set or a failure asked for.
    pub fn work(&mut self) {
        if !self.convergence.has_set() {
            self.pending = None;
            self.dirty.clear();
            return;
        }
        let due = self.due();
        let failed = due.is_none().then_some("something failed before");
        if let Some(why) = self.pending.take().or(failed) {
            return self.pass(why);
        }
        self.change(&due.unwrap_or_default(), "something failed before");
        let dirty = std::mem::take(&mut self.dirty);
        // What is not desired is only removed once a set of this run says so.
        let deletions = self.deletions();
        let dirty: Vec<Change> =
            dirty.into_iter().filter(|change| deletions.allow(change).is_ok()).collect();
        if !dirty.is_empty() {
            match self.apply(&dirty, REPAIR, false) {
                Ok(done) => self.count_repairs(&done),
                Err(error) => self.trouble("netlink", &error),
            }
            self.conditions_of(&dirty);
        }
        if let Some(why) = self.pending.take() {
            self.pass(why);
        }
    }

    /// A full pass, for `why`.
    pub fn pass(&mut self, why: &'static str) {
        let begin = Instant::now();
        self.pending = None;
        self.dirty.clear();
        if !self.convergence.has_set() {
            return;
        }
        match self.whole(why) {
            Ok(()) => self.well("netlink"),
            Err(error) => self.trouble("netlink", &error),
        }
        self.tell_node();
        self.postpone();
        self.figures.passes += 1;
        self.figures.pass_seconds = begin.elapsed().as_secs_f64();
        debug!(why, seconds = self.figures.pass_seconds, "full pass");
        self.conditions();
    }

    fn whole(&mut self, why: &'static str) -> net::Result<()> {
        let links = self.socket.list(&link::list())?;
        let mut held = self.socket.list(&address::list())?;
        self.clear_earlier(&links, &mut held)?;
        self.facts = facts(&links, &held);
        self.facts.gateways = self.gateways()?;
        // Not both at once: of 5,000 nodes one takes 4 MB.
        let before = std::mem::take(&mut self.desired);
        let (before_tunnel, problems, source) = (before.tunnel, before.problems, before.source);
        drop((before.routes, before.neighbours, before.fdb, before.paths));
        drop((before.places, before.covered));
        self.desired = desired(&self.config, &self.nodes, &self.facts, &self.learned);
        self.convergence.node_is(self.desired.node);
        if self.nodes.own.is_none() {
            self.learn_without_own(source);
        }
        self.tell_of_earlier();
        let new = self.desired.problems.difference(&problems);
        for (what, error) in new.clone().take(LOGGED) {
            warn!("{what}: {error}");
        }
        let more = new.skip(LOGGED).count();
        if more > 0 {
            warn!("{more} more problems: see `route-sync status`");
        }
        // A tunnel is not open for a moment without its guard, neither at its beginning nor its
        // end. The guard is of one port: what is at another one goes before the guard moves there.
        let wants_guard = self.desired.tunnel.is_some();
        let (elsewhere, others) = self.unwanted(links);
        self.stray = false;
        let unwanted: HashSet<_> = elsewhere.iter().chain(&others).map(trouble_of).collect();
        self.troubles.retain(|of, _| !of.starts_with("device ") || unwanted.contains(of));
        self.remove_devices(&elsewhere, false);
        let guarded = wants_guard && self.rules(why);
        self.tunnel = self.ensure_tunnel(why, before_tunnel.as_ref(), guarded)?;
        self.filter_neighbours();
        self.limit_neighbours(why);
        self.forwarding(why);
        let changes = self.changes()?;
        // What the diff does not name is as desired.
        let still: HashSet<Aim> = changes.iter().map(aim).collect();
        self.failures.keep(|aim| still.contains(aim));
        self.apply(&changes, why, true)?;
        drop(changes);
        // What led through an old device now leads elsewhere.
        self.remove_devices(&others, wants_guard);
        if !wants_guard {
            self.rules(why);
        }
        // Refused creations are conflicts now, and no reason for another pass.
        self.pending = None;
        let tunnelled =
            self.desired.tunnel.is_none() || self.tunnel.as_ref().is_some_and(|link| link.up);
        let achieved = Achieved { tunnel: tunnelled, guard: guarded == wants_guard };
        if self.convergence.passed(achieved) {
            info!(failing = self.failures.len(), "in step");
        }
        Ok(())
    }

    /// What of ours the kernel lacks or has otherwise.
    fn changes(&mut self) -> net::Result<Vec<Change>> {
        let tunnel = self.tunnel.as_ref().map(|link| link.index);
        let deletions = Deletions { convergence: &self.convergence, learned: &self.learned };
        let diff = Diff { desired: &self.desired, tunnel, deletions };
        let socket = &mut self.socket;
        let mut routes = |v6, protocol| {
            socket.fold(&route::list_of(v6, protocol), |seen, route| diff.route(seen, route))
        };
        let routes = [
            routes(false, PROTOCOL)?,
            routes(true, PROTOCOL)?,
            routes(false, LEARNED)?,
            routes(true, LEARNED)?,
        ];
        let left = diff.left(&routes);
        let Some(link) = tunnel else {
            self.left = left;
            return Ok(diff.changes(routes, Default::default(), Seen::default()));
        };
        let mut neighbours = |v6| {
            socket.fold(&neighbour::of_link(link, v6), |seen, entry| diff.neighbour(seen, entry))
        };
        let neighbours = [neighbours(false)?, neighbours(true)?];
        let fdb = socket.fold(&fdb::of_link(link), |seen, entry| diff.entry(seen, entry))?;
        self.left = left;
        Ok(diff.changes(routes, neighbours, fdb))
    }

    /// `before`: the device that was wanted in the last pass. While it is not `guarded` one that is
    /// there stays as it is, and none is made.
    fn ensure_tunnel(
        &mut self,
        why: &'static str,
        before: Option<&Tunnel>,
        guarded: bool,
    ) -> net::Result<Option<Link>> {
        let what = self.desired.tunnel.as_ref().map(|wanted| format!("vxlan {}", wanted.name()));
        // Of a device that is wanted no more nobody would ever say that it is well again.
        let of_now = |known: &String| !known.starts_with("vxlan ") || Some(known) == what.as_ref();
        self.troubles.retain(|known, _| of_now(known));
        let (Some(wanted), Some(what)) = (&self.desired.tunnel, what) else { return Ok(None) };
        if !guarded {
            let there = self.tunnel_as_it_is()?;
            if there.is_none() {
                self.trouble(&what, &UNGUARDED);
            }
            return Ok(there);
        }
        // Nothing else than before is wanted, and it was there: then somebody altered it.
        let repair = self.tunnel.is_some() && before == Some(wanted);
        match vxlan::ensure(&mut self.socket, &tunnel(wanted)) {
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
                    self.repaired("device", count);
                }
                self.well(&what);
                Ok(Some(link))
            }
            // What is there carries packets all the same.
            Err(error) => {
                self.trouble(&what, &error);
                self.tunnel_as_it_is()
            }
        }
    }

    /// The tunnel's device, whatever of it is not as wanted.
    fn tunnel_as_it_is(&mut self) -> net::Result<Option<Link>> {
        let Some(wanted) = &self.desired.tunnel else { return Ok(None) };
        let there = self.socket.get(&link::by_name(wanted.name()))?;
        let Some(link) = there.filter(is_tunnel) else { return Ok(None) };
        let held = self.socket.list(&address::of_link(link.index))?;
        // The kernel refuses a route whose source is not held.
        let facts = &self.facts;
        self.desired.keep_sources(|source| {
            held.iter().any(|held| held.address.ip() == source) || facts.holder(source).is_some()
        });
        Ok(Some(link))
    }

    /// Devices of ours that the configuration does not want: those at another port than the
    /// tunnel's, and the others. It says so even when the node set is an earlier run's.
    fn unwanted(&self, links: Vec<Link>) -> (Vec<Link>, Vec<Link>) {
        if !self.convergence.knows_node() {
            return Default::default();
        }
        let wanted = self.desired.tunnel.as_ref();
        let ours = links.into_iter().filter(is_tunnel);
        let port = |link: &Link| link.vxlan.as_ref().map(|vxlan| vxlan.port);
        let (elsewhere, mut others): (Vec<_>, Vec<_>) =
            ours.partition(|link| wanted.is_some_and(|wanted| port(link) != Some(wanted.port())));
        others.retain(|link| wanted.is_none_or(|wanted| wanted.name() != link.name));
        (elsewhere, others)
    }

    /// `guarded`: the guard that is wanted is of their port too.
    fn remove_devices(&mut self, links: &[Link], guarded: bool) {
        for link in links {
            let what = trouble_of(link);
            match self.socket.set(&link::del(link.index, &link.name)) {
                Err(error) if !error.is_gone() => {
                    self.stray |= !guarded;
                    self.trouble(&what, &error);
                }
                _ => {
                    info!(device = link.name, "removed: the configuration wants another or none");
                    self.well(&what);
                }
            }
        }
    }
}

/// What it is called that a device cannot be removed.
fn trouble_of(unwanted: &Link) -> String {
    format!("device {}", unwanted.name)
}

/// The device that is wanted, as `net` makes it.
fn tunnel(Tunnel::Vxlan(wanted): &Tunnel) -> vxlan::Tunnel<'_> {
    vxlan::Tunnel {
        device: Vxlan {
            name: &wanted.name,
            mac: wanted.mac,
            vni: wanted.vni,
            port: wanted.port,
            local: wanted.local,
            underlay: wanted.underlay.0,
            mtu: wanted.mtu,
        },
        alias: vtep::ALIAS,
        addresses: &wanted.addresses,
    }
}

#[cfg(test)]
mod tests;
