//! Serves short connections on one thread. None keeps others out: who has not asked soon is
//! closed, and of too many the oldest that has not asked.

use std::collections::VecDeque;
use std::future::Future;
use std::io::{self, ErrorKind};
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::task::AbortHandle;

/// How long a client may take to ask.
pub(crate) const HEAD_TIME: Duration = Duration::from_secs(1);
/// How long it may take to ask and to read the answer.
pub(crate) const PATIENCE: Duration = Duration::from_secs(5);
/// How many are served at once, and how many of them from one address.
pub(crate) const AT_ONCE: usize = 64;
const OF_ONE_ADDRESS: usize = 32;

/// What a connection's handler says of it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Client {
    asked: Arc<AtomicBool>,
}

impl Client {
    /// What `ask` gives, the whole question, which is waited for [`HEAD_TIME`] at most.
    ///
    /// # Errors
    /// Those of `ask`; `TimedOut`.
    pub(crate) async fn asks<T>(&self, ask: impl Future<Output = io::Result<T>>) -> io::Result<T> {
        let asked = tokio::time::timeout(HEAD_TIME, ask).await;
        let asked = asked.unwrap_or_else(|_| Err(ErrorKind::TimedOut.into()))?;
        self.asked.store(true, Ordering::Relaxed);
        Ok(asked)
    }
}

/// A connection that is served.
struct Served {
    /// Whose it is, where that is known.
    from: Option<IpAddr>,
    client: Client,
    task: AbortHandle,
}

impl Served {
    fn has_asked(&self) -> bool {
        self.client.asked.load(Ordering::Relaxed)
    }
}

/// Those that are served, the oldest first.
#[derive(Default)]
struct All(VecDeque<Served>);

impl All {
    /// Makes room for one more from an address.
    fn admit(&mut self, from: Option<IpAddr>) {
        self.0.retain(|served| !served.task.is_finished());
        let same = |served: &Served| from.is_some() && served.from == from;
        if self.0.iter().filter(|served| same(served)).count() >= OF_ONE_ADDRESS {
            self.close_oldest(same);
        }
        if self.0.len() >= AT_ONCE {
            self.close_oldest(|_| true);
        }
    }

    /// Closes the oldest of these that has not asked, else the oldest.
    fn close_oldest(&mut self, of: impl Fn(&Served) -> bool) {
        let idle = self.0.iter().position(|served| of(served) && !served.has_asked());
        let at = idle.or_else(|| self.0.iter().position(of));
        if let Some(served) = at.and_then(|at| self.0.remove(at)) {
            served.task.abort();
        }
    }
}

/// Accepts and answers until the runtime ends, [`AT_ONCE`] at once and each for [`PATIENCE`].
pub(crate) async fn serve<S, A, H>(mut accept: impl FnMut() -> A, handle: impl Fn(S, Client) -> H)
where
    A: Future<Output = io::Result<(S, Option<IpAddr>)>>,
    H: Future<Output = io::Result<()>> + Send + 'static,
{
    let mut all = All::default();
    loop {
        match accept().await {
            Ok((stream, from)) => {
                all.admit(from);
                let client = Client::default();
                let handled = handle(stream, client.clone());
                let handled = tokio::time::timeout(PATIENCE, handled);
                // Whoever is slow or went away is no concern of the daemon.
                let task = tokio::spawn(async move { drop(handled.await) }).abort_handle();
                all.0.push_back(Served { from, client, task });
                // Of many at once each is read before the next is accepted, or those that have
                // asked would be closed unread.
                tokio::task::yield_now().await;
            }
            Err(error) => {
                tracing::warn!("cannot accept a connection: {error}");
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
        }
    }
}
