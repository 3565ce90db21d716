//! Questions to the daemon's loop, which alone knows its state.

use tokio::sync::{mpsc, oneshot};

/// Sends a question to the loop and waits for the answer; `None` when the loop has ended.
pub async fn ask<Q, T>(
    queries: &mpsc::Sender<Q>,
    query: impl FnOnce(oneshot::Sender<T>) -> Q,
) -> Option<T> {
    let (sender, receiver) = oneshot::channel();
    queries.send(query(sender)).await.ok()?;
    receiver.await.ok()
}
