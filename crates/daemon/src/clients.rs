//! Serves short connections on one thread. No client keeps others out: one that does not send its
//! request soon is closed, and of too many the oldest without a request.

use std::collections::VecDeque;
use std::future::Future;
use std::io::{self, ErrorKind};
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::task::AbortHandle;

/// How long a client may take to send its request.
pub const REQUEST_TIME: Duration = Duration::from_secs(1);
/// How long it may take to send its request and to read the answer.
pub const TIME: Duration = Duration::from_secs(5);
/// How many clients are served at once.
pub const AT_ONCE: usize = 64;
/// How many of them from one address.
const OF_ONE_ADDRESS: usize = 32;

/// A connection, as its handler reports on it.
#[derive(Clone, Debug, Default)]
pub struct Client {
    has_asked: Arc<AtomicBool>,
}

impl Client {
    /// Waits for the whole request, which `read` returns, for [`REQUEST_TIME`] at most.
    ///
    /// # Errors
    /// Those of `read`; `TimedOut`.
    pub async fn request<T>(&self, read: impl Future<Output = io::Result<T>>) -> io::Result<T> {
        let request = tokio::time::timeout(REQUEST_TIME, read).await;
        let request = request.unwrap_or_else(|_| Err(ErrorKind::TimedOut.into()))?;
        self.has_asked.store(true, Ordering::Relaxed);
        Ok(request)
    }
}

/// A connection that is served.
struct Served {
    /// Its address, where that is known.
    from: Option<IpAddr>,
    client: Client,
    task: AbortHandle,
}

impl Served {
    fn has_asked(&self) -> bool {
        self.client.has_asked.load(Ordering::Relaxed)
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

    /// Closes the oldest of these that has not sent its request, else the oldest.
    fn close_oldest(&mut self, of: impl Fn(&Served) -> bool) {
        let idle = self.0.iter().position(|served| of(served) && !served.has_asked());
        let at = idle.or_else(|| self.0.iter().position(of));
        if let Some(served) = at.and_then(|at| self.0.remove(at)) {
            served.task.abort();
        }
    }
}

/// Accepts and answers until the runtime ends, [`AT_ONCE`] clients at once and each for [`TIME`].
pub async fn serve<S, A, H>(mut accept: impl FnMut() -> A, handle: impl Fn(S, Client) -> H)
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
                let handled = tokio::time::timeout(TIME, handled);
                // A client that is slow or has closed its end is not the daemon's concern.
                let task = tokio::spawn(async move { drop(handled.await) }).abort_handle();
                all.0.push_back(Served { from, client, task });
                // Of many clients at once each is read before the next is accepted, else those that
                // have sent their request would be closed unread.
                tokio::task::yield_now().await;
            }
            Err(error) => {
                tracing::warn!("cannot accept a connection: {error}");
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
        }
    }
}
