//! Keeps the kernel as desired: a full pass (dump, diff, apply) at the start and when much changed,
//! and single repairs at the kernel's notifications.

use crate::clock::now;
use crate::config::Config;
use crate::error::Error;
use crate::facts::Facts;
use crate::guard::forwarding::Forwarding;
use crate::guard::rules::Guard;
use crate::problems::Problems;
use crate::query::Figures;
use crate::report::SourceReport;
use crate::routes::conditions::Conditions;
use crate::routes::failures::Failures;
use crate::source::nodes::{Node, NodeSet};
use crate::tunnel::filter::Filter;
use crate::view::View;
use crate::work::Work;
use net::{Event, NeighbourFilter, Socket};
use std::time::Instant;
use tracing::{info, warn};

mod apply;
mod events;
mod learn;
mod log;
mod node_file;
mod pass;
mod ready;
mod report;

pub use learn::Announced;

/// The state of the daemon.
pub struct Sync {
    view: View,
    socket: Socket,
    failures: Failures,
    conditions: Conditions,
    problems: Problems,
    guard: Guard,
    forwarding: Forwarding,
    /// Of notifications about neighbours.
    filter: Filter,
    work: Work,
    source: SourceReport,
    /// Counters; what can be counted otherwise is added by [`Sync::figures`].
    figures: Figures,
}

impl Sync {
    /// Begins; nothing is changed yet. The network namespace is the thread's.
    ///
    /// # Errors
    /// No netlink, or none of netfilter.
    pub fn new(config: Config) -> Result<Sync, Error> {
        Ok(Sync {
            view: View::new(config),
            socket: Socket::open()?,
            failures: Failures::default(),
            conditions: Conditions::default(),
            problems: Problems::default(),
            guard: Guard::open()?,
            forwarding: Forwarding::default(),
            filter: Filter::default(),
            work: Work::default(),
            source: SourceReport::default(),
            figures: Figures::default(),
        })
    }

    /// From now on the monitor of this filter receives neighbours of the tunnel's device alone.
    pub fn receive_neighbours_by(&mut self, filter: NeighbourFilter) {
        self.filter = Filter::new(filter);
    }

    /// Another configuration.
    pub fn reconfigure(&mut self, config: Config) {
        self.view.convergence.speaks(config.bgp.is_some());
        self.view.config = config;
        self.work.full("the configuration was read anew");
    }

    /// A complete node set; `kept`: of an earlier run.
    pub fn set(&mut self, set: &NodeSet, kept: bool) {
        let Config { node_name, cluster_cidrs, service_cidrs, .. } = &self.view.config;
        self.view.nodes = set.accept(node_name, cluster_cidrs, service_cidrs);
        if self.view.config.source.assigns_late() {
            self.view.nodes.withhold_unassigned();
        }
        info!(nodes = set.nodes.len(), kept, "node set");
        self.view.convergence.set_received(kept);
        self.figures.sets += 1;
        self.source.nodes = set.nodes.len();
        self.source.since = Some(now());
        self.source.kept = kept;
        self.source.error = None;
        self.work.full("the node set changed");
    }

    /// The source failed: the last node set remains in force.
    pub fn source_failed(&mut self, error: String) {
        warn!("the node set stands as it is: {error}");
        self.figures.source_failures += 1;
        self.source.error = Some(error);
    }

    /// Notes what the kernel's notifications ask for.
    pub fn events(&mut self, events: Vec<Event>) {
        let Sync { view, failures, figures, work, .. } = self;
        work.note(events.into_iter().map(|event| {
            match &event {
                Event::Overrun => figures.overruns += 1,
                Event::RouteGone(route) if route.table == net::route::MAIN => {
                    failures.other_is_gone(route);
                }
                _ => {}
            }
            events::effect(view, event)
        }));
    }

    /// When something that failed is tried again.
    pub fn next_try(&self) -> Option<Instant> {
        self.failures.next_try().into_iter().chain(self.problems.next_try()).min()
    }

    /// What the daemon knows.
    pub fn view(&self) -> &View {
        &self.view
    }

    /// What the kernel refuses.
    pub fn failures(&self) -> &Failures {
        &self.failures
    }

    /// The links as they were seen last.
    pub fn facts(&self) -> &Facts {
        &self.view.facts
    }

    /// This node as the node set has it.
    pub fn own(&self) -> Option<&Node> {
        self.view.nodes.own.as_ref()
    }
}

#[cfg(test)]
mod tests;
