//! What sources send, and what the daemon's loop receives.

use super::nodes::NodeSet;

/// What a source sends.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Reading {
    /// A complete node set: what is not in it is removed from the kernel. It differs from the
    /// previous one, or follows a failure.
    Set(NodeSet),
    /// The source cannot be read, or its content is no node set: the error text, reported only if it
    /// differs from the last one.
    Failed(String),
}

/// What the daemon's loop receives.
#[derive(Debug, PartialEq, Eq)]
pub enum Update {
    /// A complete node set. `kept` where it is the last good one of an earlier run, because the
    /// source has sent none yet: routes are made by it, but none is removed.
    Set {
        /// The nodes.
        set: NodeSet,
        /// It is an earlier run's.
        kept: bool,
    },
    /// The source failed, in words: the last set remains in force.
    Failed(String),
}
