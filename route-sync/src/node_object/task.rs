//! The task that looks after this node's Node object.

use super::occurrences::occurrences;
use crate::problems::Problems;
use crate::query::Query;
use crate::report::Problem;
use daemon::query::ask;
use kube_source::condition::{self, Wanted};
use kube_source::events::{Recorder, Regarding};
use kube_source::objects::Node;
use kube_source::{Access, Reading, Selection};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep_until};
use tracing::{debug, info};

/// Who the Events are from.
const CONTROLLER: &str = "ferrule.io/route-sync";
/// Until the node is ready, and between two looks at what is wrong.
const WAITS: Duration = Duration::from_secs(1);
const LOOKS: Duration = Duration::from_secs(30);
/// The condition and the taint of a node whose routes a controller expects, as cloud controllers set
/// them (k8s.io/api/core/v1: NodeNetworkUnavailable, TaintNodeNetworkUnavailable).
const CONDITION: &str = "NetworkUnavailable";
const TAINT: &str = "node.kubernetes.io/network-unavailable";
/// Problem, as `status` names it.
const WHAT: &str = "condition NetworkUnavailable";

/// Looks after this node's object until no receiver of what fails is left. It asks the daemon's loop
/// what to say.
pub(super) async fn run(
    access: Access,
    node: String,
    queries: mpsc::Sender<Query>,
    problems: watch::Sender<Vec<Problem>>,
) {
    tokio::select! {
        () = follow(access, &node, &queries, &problems) => {}
        () = problems.closed() => {}
    }
}

async fn follow(
    access: Access,
    node: &str,
    queries: &mpsc::Sender<Query>,
    problems: &watch::Sender<Vec<Problem>>,
) {
    let fields = format!("metadata.name={node}");
    let selection = Selection { fields, ..Selection::default() };
    let mut objects = kube_source::watch::<Node>(access.clone(), selection);
    let recorder = Recorder::start(access.clone(), CONTROLLER, node);
    let mut own: Option<Arc<Node>> = None;
    let mut failing = Problems::default();
    let mut due = Instant::now();
    loop {
        tokio::select! {
            reading = objects.recv() => match reading {
                Some(Reading::Set(set)) => {
                    own = set.into_iter().find(|object| object.metadata.name == node);
                }
                // The source says the same in words.
                Some(Reading::Failed(why)) => debug!("this node's Node object: {why}"),
                None => return,
            },
            () = sleep_until(due) => {}
        }
        let Some(figures) = ask(queries, Query::Figures).await else { return };
        let ready = figures.not_ready.is_none();
        if let Some(own) = own.as_ref().filter(|own| ready && is_expected(own)) {
            mend(&access, own, &mut failing).await;
        }
        problems.send_replace(failing.all().collect());
        if Instant::now() >= due {
            due = Instant::now() + if ready { LOOKS } else { WAITS };
            let Some(own) = own.as_ref().filter(|_| ready) else { continue };
            let Some(report) = ask(queries, Query::Status).await else { return };
            let regarding = Regarding::node(node, &own.metadata.uid);
            occurrences(&report, &regarding).into_iter().for_each(|it| recorder.record(it));
        }
    }
}

/// Whether a controller waits for the node's routes.
fn is_expected(node: &Node) -> bool {
    let unavailable = |known: &&kube_source::objects::Condition| known.kind == CONDITION;
    let condition = node.status.conditions.iter().find(unavailable);
    condition.is_some_and(|condition| condition.status == "True")
        || (node.spec.taints.iter().any(|taint| taint.key == TAINT)
            && condition.is_none_or(|condition| condition.status != "False"))
}

/// Sets the condition False; the controller manager then removes the taint.
async fn mend(access: &Access, node: &Node, failing: &mut Problems) {
    let wanted = Wanted {
        kind: CONDITION,
        status: "False",
        reason: "RouteCreated",
        message: "route-sync has made the routes to the other nodes' pods",
    };
    let done = match access.client().await {
        Ok(client) => condition::set(&client, &node.metadata.name, &wanted).await,
        Err(fault) => Err(fault),
    };
    match done {
        Ok(()) => {
            info!("set the node's condition {CONDITION} to False");
            failing.solved(WHAT);
        }
        Err(fault) => failing.add(WHAT, &fault),
    }
}

#[cfg(test)]
mod tests;
