//! What is asked of the running daemon.

use crate::bgp::report::{BgpReport, PeerReport};
use crate::report::{Path, ProbeReport, Report, State};
use tokio::sync::oneshot;

/// A question to the daemon's loop; an answer that is no longer awaited is dropped.
#[derive(Debug)]
pub enum Query {
    /// All of it.
    Status(oneshot::Sender<Report>),
    /// The BGP speaker; `None` where none is configured.
    Bgp(oneshot::Sender<Option<BgpReport>>),
    /// A sign of life.
    Alive(oneshot::Sender<()>),
    /// The figures.
    Figures(oneshot::Sender<Figures>),
}

/// The daemon's figures, for metrics. Counters count since the daemon's start.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Figures {
    /// As [`Report::synced`].
    pub synced: bool,
    /// Why the node cannot take pods yet.
    pub not_ready: Option<String>,
    /// Nodes in the set in force.
    pub nodes: u64,
    /// CIDRs by path and state.
    pub cidrs: Vec<(Path, State, u64)>,
    /// Problems that are no CIDR's.
    pub problems: u64,
    /// Objects that must exist: routes, neighbours, FDB entries.
    pub desired: [u64; 3],
    /// Full passes.
    pub passes: u64,
    /// Seconds that the last full pass took.
    pub pass_seconds: f64,
    /// Repairs of what other programs deleted or altered, by object.
    pub repairs: Vec<(&'static str, u64)>,
    /// Changes made in the kernel.
    pub changes: u64,
    /// Changes that the kernel refused.
    pub errors: u64,
    /// Notifications lost for want of buffer (ENOBUFS).
    pub overruns: u64,
    /// Node sets that the source sent.
    pub sets: u64,
    /// Times that the source failed.
    pub source_failures: u64,
    /// `[probe]`.
    pub probe: Option<ProbeReport>,
    /// The BGP speaker's peers.
    pub bgp: Vec<PeerReport>,
}

impl Figures {
    /// Counts repairs of a kind of object.
    pub fn repaired(&mut self, object: &'static str, count: u64) {
        match self.repairs.iter_mut().find(|(name, _)| *name == object) {
            Some((_, total)) => *total += count,
            None => self.repairs.push((object, count)),
        }
    }
}
