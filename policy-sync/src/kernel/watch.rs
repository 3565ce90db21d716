//! What others change in the table, for the daemon's loop.

use super::error::Error;
use nft::Nft;
use nft::policy::PolicyMonitor;
use std::io;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// Wakes the loop when another pass is needed: a pod was held, or another program changed the table.
pub struct Watch(AsyncFd<PolicyMonitor>);

impl Watch {
    pub(super) fn new(nft: &Nft) -> Result<Watch, Error> {
        let monitor = PolicyMonitor::open(nft)?;
        let failed = |error: io::Error| {
            net::Error::of("wait for changes of nf_tables", 0, error.to_string())
        };
        #[expect(
            deprecated,
            reason = "the other constructor is unsafe; PolicyMonitor keeps its promise"
        )]
        let watched = AsyncFd::with_interest(monitor, Interest::READABLE);
        watched.map(Watch).map_err(|error| failed(error).into())
    }

    /// Returns after the next change.
    ///
    /// # Errors
    /// The socket's.
    pub async fn changed(&mut self) -> io::Result<()> {
        loop {
            let mut ready = self.0.readable_mut().await?;
            let changes = ready.get_inner_mut().read().map_err(io::Error::other)?;
            ready.clear_ready();
            if changes.any() {
                return Ok(());
            }
        }
    }
}
