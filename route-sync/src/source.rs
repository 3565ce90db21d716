//! Where the node set comes from: a task that sends every complete set it sees.

mod file;
mod kept;

use crate::config::{Config, Source};
use crate::nodes::{Node, NodeSet};
use tokio::sync::mpsc;

/// The kept set's file in the state directory.
pub const KEPT: &str = "nodes.json";

/// What a source tells.
#[derive(Debug, PartialEq, Eq)]
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

/// Starts the configured source on the current runtime. A source that fails at its start is
/// followed by the kept set, if there is one. It ends when the receiver is dropped.
pub fn start(config: &Config) -> mpsc::Receiver<Update> {
    let (updates, receiver) = mpsc::channel(4);
    match &config.source {
        Source::File { path } => {
            tokio::spawn(file::run(path.clone(), config.state_dir.join(KEPT), updates));
        }
        Source::Node { addresses, pod_cidrs } => {
            let own = Node {
                name: config.node_name.clone(),
                addresses: addresses.clone(),
                pod_cidrs: pod_cidrs.clone(),
            };
            let set = NodeSet { nodes: vec![own] };
            tokio::spawn(async move {
                // Nothing ever changes, and the end of a source would be the daemon's.
                if updates.send(Update::Set { set, kept: false }).await.is_ok() {
                    updates.closed().await;
                }
            });
        }
    }
    receiver
}
