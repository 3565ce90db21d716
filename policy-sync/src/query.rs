//! What is asked of the running daemon.

use crate::question::Answer;
use crate::report::{DropReport, Report};
use tokio::sync::oneshot;

/// A question to the daemon's loop; an answer that is no longer awaited is dropped.
#[derive(Debug)]
pub enum Query {
    /// All of it.
    Status(oneshot::Sender<Report>),
    /// What was dropped lately; an error in words.
    Drops(oneshot::Sender<Result<Vec<DropReport>, String>>),
    /// Why a flow passes or not: its ends, as they were written.
    Why(String, String, oneshot::Sender<Result<Answer, String>>),
    /// A sign of life.
    Alive(oneshot::Sender<()>),
    /// The figures.
    Figures(oneshot::Sender<Figures>),
}

/// The daemon's figures, for metrics. Counters count since the daemon's start.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Figures {
    /// Every kind of object has come, and what they say is in force.
    pub synced: bool,
    /// Pods of the cluster, policies, and pods of this node.
    pub counts: [usize; 3],
    /// Addresses of this node's pods that a policy restricts.
    pub restricted: usize,
    /// Addresses of this node's pods that are not decided on.
    pub held: usize,
    /// Profiles, sets and their elements in the kernel.
    pub objects: [usize; 3],
    /// What is wrong.
    pub problems: usize,
    /// Passes over the kernel's state.
    pub passes: u64,
    /// What the last pass took, in seconds.
    pub pass_seconds: f64,
    /// Elements and rules that were changed.
    pub changes: u64,
    /// Passes that undid what other programs had changed.
    pub repairs: u64,
    /// Connections that were cut.
    pub cut: u64,
    /// Passes that the kernel refused.
    pub errors: u64,
    /// Sets that the source sent.
    pub sets: u64,
    /// Times that the source failed.
    pub source_failures: u64,
    /// Packets dropped, and that policies in dry run would drop, of the flows of the last ten minutes.
    pub dropped: [u64; 2],
}
