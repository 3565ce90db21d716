//! Where the node set comes from. A source is a task that sends a [`Reading`] each time it has read
//! something else; [`kept`] keeps the last good set of any source for a start without it.

mod file;
mod kept;
mod own;

use crate::config::{Config, Source};
use crate::nodes::{Node, NodeSet};
use tokio::sync::mpsc;

/// The kept set's file in the state directory.
pub const KEPT: &str = "nodes.json";

/// What a source sends.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Reading {
    /// A complete node set: what is not in it is removed from the kernel. It differs from the one
    /// before, or follows a failure.
    Set(NodeSet),
    /// The source cannot be read, or what it holds is no node set; in words, and only when they
    /// differ from the last ones.
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

/// Starts the configured source on the current runtime. It ends when the receiver is dropped.
pub fn start(config: &Config) -> mpsc::Receiver<Update> {
    let (updates, receiver) = mpsc::channel(4);
    match &config.source {
        Source::File { path } => {
            let (readings, read) = mpsc::channel(1);
            tokio::spawn(file::run(path.clone(), readings));
            tokio::spawn(kept::keep(config.state_dir.join(KEPT), read, updates));
        }
        Source::Node { addresses, pod_cidrs } => {
            let own = Node {
                name: config.node_name.clone(),
                addresses: addresses.clone(),
                pod_cidrs: pod_cidrs.clone(),
            };
            tokio::spawn(own::run(own, updates));
        }
    }
    receiver
}
