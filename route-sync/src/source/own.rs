//! The source `[node]`: this node alone, as the configuration has it. It never changes and never
//! fails, so no set is kept.

use super::nodes::{Node, NodeSet};
use super::reading::Update;
use tokio::sync::mpsc::Sender;

/// Sends the set once, and ends when the receiver is dropped: the end of a source is the daemon's.
pub(super) async fn run(own: Node, updates: Sender<Update>) {
    let set = NodeSet { nodes: vec![own], ..NodeSet::default() };
    if updates.send(Update::Set { set, kept: false }).await.is_ok() {
        updates.closed().await;
    }
}
