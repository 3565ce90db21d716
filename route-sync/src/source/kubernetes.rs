//! The source `kubernetes`: the Node objects of a cluster.

mod convert;

use super::nodes::NodeSet;
use super::reading::Reading;
use convert::node_set;
use kube_source::objects::Node;
use kube_source::{Access, Selection, watch};
use std::path::PathBuf;
use tokio::sync::mpsc::{Receiver, Sender};

/// Sends the nodes of the cluster until the receiver is dropped. Without a kubeconfig it is a pod of
/// the cluster.
pub(super) async fn run(kubeconfig: Option<PathBuf>, readings: Sender<Reading>) {
    let access = kubeconfig.map_or(Access::InCluster, Access::Kubeconfig);
    let nodes = watch::<Node>(access, Selection::default());
    tokio::select! {
        () = follow(nodes, &readings) => {}
        () = readings.closed() => {}
    }
}

async fn follow(mut nodes: Receiver<kube_source::Reading<Node>>, readings: &Sender<Reading>) {
    let mut last: Option<Result<NodeSet, String>> = None;
    while let Some(reading) = nodes.recv().await {
        let reading = match reading {
            kube_source::Reading::Set(nodes) => node_set(&nodes),
            kube_source::Reading::Failed(why) => Err(why),
        };
        // Conditions, labels and the like of a node change, and routes do not.
        if last.as_ref() == Some(&reading) {
            continue;
        }
        last = Some(reading.clone());
        let reading = reading.map_or_else(Reading::Failed, Reading::Set);
        if readings.send(reading).await.is_err() {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use tokio::sync::mpsc;

    fn node(text: &str) -> Vec<Arc<Node>> {
        vec![Arc::new(serde_json::from_str(text).unwrap())]
    }

    #[tokio::test]
    async fn what_changes_no_route_is_not_sent() {
        let (sender, nodes) = mpsc::channel(8);
        let (readings, mut sent) = mpsc::channel(8);
        let bare = r#"{"metadata": {"name": "a"}}"#;
        let ready = r#"{"metadata": {"name": "a"}, "status": {"conditions": [{"type": "Ready"}]}}"#;
        let assigned = r#"{"metadata": {"name": "a"}, "spec": {"podCIDRs": ["10.1.1.0/24"]}}"#;
        for text in [bare, ready, assigned] {
            sender.send(kube_source::Reading::Set(node(text))).await.unwrap();
        }
        sender.send(kube_source::Reading::Failed("gone".to_owned())).await.unwrap();
        sender.send(kube_source::Reading::Set(node(assigned))).await.unwrap();
        // What would remove every route is no set.
        sender.send(kube_source::Reading::Set(vec![])).await.unwrap();
        drop(sender);
        follow(nodes, &readings).await;
        drop(readings);
        let mut cidrs = vec![];
        while let Some(reading) = sent.recv().await {
            cidrs.push(match reading {
                Reading::Set(set) => Ok(set.nodes[0].pod_cidrs.len()),
                Reading::Failed(why) => Err(why),
            });
        }
        let none = "the API server lists no Node; see kubectl get nodes".to_owned();
        assert_eq!(cidrs, [Ok(0), Ok(1), Err("gone".to_owned()), Ok(1), Err(none)]);
    }
}
