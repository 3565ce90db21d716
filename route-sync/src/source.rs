//! Where the node set comes from: a task that sends every complete set it sees.

use crate::nodes::NodeSet;

/// What a source tells.
#[derive(Debug)]
pub enum Update {
    /// A complete node set. `kept` when it is the last good one of an earlier run, read back
    /// because the source has told none yet: routes are made by it, but none is swept.
    Set {
        /// The nodes.
        set: NodeSet,
        /// It is an earlier run's.
        kept: bool,
    },
    /// The source cannot be read, or what it tells is no node set: the last set stands. In words.
    Failed(String),
}
