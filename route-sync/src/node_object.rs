//! What this node's Node object says of its network, with the source `kubernetes`: the condition
//! NetworkUnavailable is set False once the node can take pods, where a controller expects it, and
//! what is wrong becomes Events.

#[cfg(feature = "kubernetes")]
mod occurrences;
#[cfg(feature = "kubernetes")]
mod task;

use crate::config::{Config, Source};
use crate::query::Query;
use crate::report::Problem;
use tokio::sync::{mpsc, watch};

/// The task that looks after it; it ends when this is dropped.
#[derive(Debug)]
pub struct NodeObject {
    problems: watch::Receiver<Vec<Problem>>,
}

impl NodeObject {
    /// Starts on the current runtime; `None` where the node set is not a cluster's.
    pub fn of(config: &Config, queries: &mpsc::Sender<Query>) -> Option<NodeObject> {
        match &config.source {
            #[cfg(feature = "kubernetes")]
            Source::Kubernetes { kubeconfig } => {
                let in_cluster = kube_source::Access::InCluster;
                let access = kubeconfig.clone().map_or(in_cluster, kube_source::Access::Kubeconfig);
                let (sender, problems) = watch::channel(Vec::new());
                let node = config.node_name.clone();
                tokio::spawn(task::run(access, node, queries.clone(), sender));
                Some(NodeObject { problems })
            }
            Source::File { .. } | Source::Node { .. } => {
                let _ = queries;
                None
            }
        }
    }

    /// What fails of it.
    pub fn problems(&self) -> Vec<Problem> {
        self.problems.borrow().clone()
    }
}
