//! What the daemon makes of the kernel: the table of policies, the hooks of the pods' bridges, and
//! connections that end.

use nft::Nft;
use nft::policy::{Desired, Dropped, Known, PolicyMonitor};
use std::sync::Arc;

mod bridges;
mod error;
mod strict;
mod watch;

pub use error::Error;
pub use watch::Watch;

/// The kernel's side, in the network namespace of the thread that opened it.
pub struct Kernel {
    nft: Nft,
    monitor: PolicyMonitor,
    known: Known,
    /// What was applied last.
    applied: Option<Arc<Desired>>,
    host: net::Socket,
    cuts: strict::Cuts,
}

/// What a pass did.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Report {
    /// Elements and rules that were changed.
    pub changed: usize,
    /// Connections that were cut.
    pub cut: usize,
    /// Another program's changes were undone.
    pub repaired: bool,
    /// Addresses that remain held.
    pub held: usize,
    /// What could not be done beside the policies themselves, each in words with its remedy.
    pub problems: Vec<String>,
}

impl Kernel {
    /// Opens it.
    ///
    /// # Errors
    /// A kernel without netlink or nf_tables, or no descriptors left.
    pub fn open() -> Result<Kernel, Error> {
        let mut nft = Nft::open()?;
        nft.probe()?;
        let monitor = PolicyMonitor::open(&nft)?;
        let host = net::Socket::open()?;
        let (known, cuts) = (Known::default(), strict::Cuts::default());
        Ok(Kernel { nft, monitor, known, applied: None, host, cuts })
    }

    /// What asks for another pass.
    ///
    /// # Errors
    /// As [`Kernel::open`], or no runtime of tokio.
    pub fn watch(&self) -> Result<Watch, Error> {
        Watch::new(&self.nft)
    }

    /// Makes the kernel hold `desired`, by the difference, in one batch. With `strict` connections end
    /// that are forbidden now.
    ///
    /// # Errors
    /// The kernel's. What was in force stays in force.
    pub fn apply(&mut self, desired: &Arc<Desired>, strict: bool) -> Result<Report, Error> {
        if self.monitor.read()?.table {
            self.known.forget();
        }
        let before = self.applied.take();
        // Before the first pod of a bridge is decided on.
        let problems = self.hook_bridges(before.as_deref(), desired);
        let put = self.nft.put_policies(&mut self.known, desired);
        let put = match put {
            Ok(put) => put,
            Err(error) => {
                self.applied = before;
                return Err(error.into());
            }
        };
        self.applied = Some(Arc::clone(desired));
        let mut report = Report {
            changed: put.changed,
            cut: 0,
            repaired: put.repaired,
            held: put.held,
            problems,
        };
        if strict {
            let affected = strict::affected(before.as_deref(), desired);
            match self.cuts.follow(&mut self.nft, &mut self.host, &affected, desired) {
                Ok(cut) => report.cut = cut,
                Err(error) => report.problems.push(format!(
                    "connections that policies forbid now were not cut: {error}; they end when their \
                     pods restart"
                )),
            }
        }
        Ok(report)
    }

    /// What was dropped in the last ten minutes.
    ///
    /// # Errors
    /// The kernel's.
    pub fn drops(&mut self) -> Result<Vec<Dropped>, Error> {
        Ok(self.nft.policy_drops()?)
    }

    fn hook_bridges(&mut self, before: Option<&Desired>, desired: &Desired) -> Vec<String> {
        let same = |before: &Desired| before.pods.keys().eq(desired.pods.keys());
        if before.is_some_and(same) || desired.pods.is_empty() {
            return Vec::new();
        }
        match bridges::hook(&mut self.host) {
            Ok(problems) => problems,
            Err(error) => vec![format!(
                "policies may not see what pods of one bridge send to each other: {}",
                Error::from(error)
            )],
        }
    }
}

/// Opens all: removes the table, and the hooks of the pods' bridges.
///
/// # Errors
/// The kernel's.
pub fn cleanup() -> Result<(), Error> {
    Nft::open()?.del_policies()?;
    bridges::unhook(&mut net::Socket::open()?)?;
    Ok(())
}
