//! Where the node set comes from: a task that sends every complete set it sees.

mod file;
mod kept;

use crate::config::{Config, Source};
use crate::nodes::NodeSet;
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
    let Source::File { path } = &config.source;
    tokio::spawn(file::run(path.clone(), config.state_dir.join(KEPT), updates));
    receiver
}
