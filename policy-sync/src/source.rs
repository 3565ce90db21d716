//! Where objects come from. A source is a task that sends an [`Update`] each time it has another complete set of a kind.
//! The attachments of this node are a source of their own ([`records`]), whatever the others are.

pub mod files;
mod folder;
pub mod implied;
#[cfg(feature = "kubernetes")]
mod kubernetes;
pub mod records;
mod update;
pub mod yaml;

pub use update::Update;

use crate::config::{Config, Source};
use tokio::sync::mpsc;

/// How many updates may wait.
const WAITING: usize = 16;

/// Starts the configured source, and that of attachments, on the current runtime. They end when the receiver is dropped.
pub fn start(config: &Config) -> mpsc::Receiver<Update> {
    let (updates, receiver) = mpsc::channel(WAITING);
    let (records, read) = mpsc::channel(WAITING);
    tokio::spawn(records::run(config.run_dir.clone(), records));
    match &config.source {
        #[cfg(feature = "kubernetes")]
        Source::Kubernetes { kubeconfig } => {
            kubernetes::start(kubeconfig.clone(), &updates);
            tokio::spawn(pass_on(read, updates));
        }
        #[cfg(not(feature = "kubernetes"))]
        Source::Kubernetes { .. } => drop(tokio::spawn(pass_on(read, updates))),
        Source::Files { path } => {
            let (sender, sets) = mpsc::channel(1);
            tokio::spawn(files::run(path.clone(), sender));
            tokio::spawn(implied::run(config.node_name.clone(), sets, read, updates));
        }
    }
    receiver
}

async fn pass_on(mut read: mpsc::Receiver<Update>, updates: mpsc::Sender<Update>) {
    while let Some(update) = read.recv().await {
        if updates.send(update).await.is_err() {
            return;
        }
    }
}
