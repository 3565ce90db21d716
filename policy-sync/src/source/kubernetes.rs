//! The source `kubernetes`: the API server.

use super::update::Update;
use kube_source::objects::Object;
use kube_source::{Access, Reading, Selection, watch};
use std::path::PathBuf;
use std::sync::Arc;
use tokio::sync::mpsc::Sender;

/// Follows every kind on the current runtime.
pub(super) fn start(kubeconfig: Option<PathBuf>, updates: &Sender<Update>) {
    let access = kubeconfig.map_or(Access::InCluster, Access::Kubeconfig);
    let all = Selection::default;
    follow(&access, all(), updates, Update::Pods, "pods");
    follow(&access, all(), updates, Update::Namespaces, "namespaces");
    follow(&access, all(), updates, Update::Policies, "network policies");
    let optional = Selection { optional: true, ..all() };
    follow(&access, optional, updates, Update::ClusterPolicies, "cluster network policies");
}

fn follow<T: Object>(
    access: &Access,
    selection: Selection,
    updates: &Sender<Update>,
    update: fn(Vec<Arc<T>>) -> Update,
    kind: &'static str,
) {
    let mut readings = watch::<T>(access.clone(), selection);
    let updates = updates.clone();
    tokio::spawn(async move {
        while let Some(reading) = readings.recv().await {
            let update = match reading {
                Reading::Set(set) => update(set),
                Reading::Failed(why) => Update::Failed { kind, why },
            };
            if updates.send(update).await.is_err() {
                return;
            }
        }
    });
}
