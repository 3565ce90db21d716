//! Where the node set comes from. A source is a task that sends a [`Reading`](reading::Reading) each time it has read
//! something else; [`kept`] keeps the last good set of any source for a start without it.

mod file;
mod kept;
#[cfg(feature = "kubernetes")]
mod kubernetes;
pub mod nodes;
mod own;
mod reading;

use crate::config::{Config, Source};
use nodes::Node;
use reading::Reading;
pub use reading::Update;
use tokio::sync::mpsc;

/// The kept set's file in the state directory.
pub const KEPT: &str = "nodes.json";

/// Starts the configured source on the current runtime. It ends when the receiver is dropped.
pub fn start(config: &Config) -> mpsc::Receiver<Update> {
    let (updates, receiver) = mpsc::channel(4);
    match &config.source {
        Source::File { path } => {
            tokio::spawn(file::run(path.clone(), kept(config, updates)));
        }
        #[cfg(feature = "kubernetes")]
        Source::Kubernetes { kubeconfig } => {
            tokio::spawn(kubernetes::run(kubeconfig.clone(), kept(config, updates)));
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

/// Keeps the last good set of what a source sends here.
fn kept(config: &Config, updates: mpsc::Sender<Update>) -> mpsc::Sender<Reading> {
    let (readings, read) = mpsc::channel(1);
    tokio::spawn(kept::keep(config.state_dir.join(KEPT), read, updates));
    readings
}
