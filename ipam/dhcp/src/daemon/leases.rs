//! What the daemon knows: its leases, those that are being acquired, and what it counted.

use super::client::give_back;
use super::flags::Flags;
use super::pod::{Missing, Pod, Port};
use super::store::{Record, Store, boot};
use crate::lease::Lease;
use crate::rpc::Key;
use cni::{Error, Result, code};
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::io;
use std::rc::Rc;
use std::time::Duration;
use tokio::sync::{Notify, Semaphore};
use tokio::task::AbortHandle;

/// How many leases are renewed or released at once; the others wait. Each has a descriptor meanwhile.
const AT_ONCE: usize = 64;

/// The leases of one daemon.
pub struct Leases {
    /// The command line.
    pub flags: Flags,
    /// The leases on disk.
    pub store: Store,
    /// Who may renew now.
    pub turns: Semaphore,
    /// The boot's ID.
    pub boot: String,
    all: RefCell<BTreeMap<Key, Entry>>,
    acquiring: RefCell<BTreeMap<Key, Rc<Notify>>>,
    /// What it counted.
    pub counts: RefCell<Counts>,
}

/// A lease in memory.
pub struct Entry {
    /// As on disk.
    pub record: Record,
    /// How old the lease was when it was last asked for without success.
    pub asked: Option<Duration>,
    /// What is wrong with it, where something is.
    pub problem: Option<String>,
    task: AbortHandle,
}

/// Counters, for metrics.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names say it")]
pub struct Counts {
    pub acquired: u64,
    pub not_acquired: u64,
    pub renewed: u64,
    pub unanswered: u64,
    pub refused: u64,
    pub released: u64,
    pub dropped: u64,
    pub lost: u64,
}

/// An acquisition under way, however it ends.
pub struct Acquiring<'a> {
    leases: &'a Leases,
    of: &'a Key,
    /// Told by DEL.
    pub cancelled: Rc<Notify>,
}

impl Drop for Acquiring<'_> {
    fn drop(&mut self) {
        let mut all = self.leases.acquiring.borrow_mut();
        // After DEL another may be under way.
        if all.get(self.of).is_some_and(|other| Rc::ptr_eq(other, &self.cancelled)) {
            all.remove(self.of);
        }
    }
}

impl Leases {
    /// None yet.
    pub fn new(flags: Flags, store: Store) -> Leases {
        Leases {
            flags,
            store,
            turns: Semaphore::new(AT_ONCE),
            boot: boot(),
            all: RefCell::default(),
            acquiring: RefCell::default(),
            counts: RefCell::default(),
        }
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.all.borrow().len()
    }

    /// Looks at all of them.
    pub fn each(&self, mut look: impl FnMut(&Entry)) {
        self.all.borrow().values().for_each(&mut look);
    }

    /// Looks at one, and may change it.
    pub fn with<T>(&self, of: &Key, work: impl FnOnce(&mut Entry) -> T) -> Option<T> {
        self.all.borrow_mut().get_mut(of).map(work)
    }

    /// Takes a lease in, and the task that keeps it.
    pub fn insert(&self, record: Record, task: AbortHandle) {
        let of = record.of.clone();
        let entry = Entry { record, asked: None, problem: None, task };
        self.all.borrow_mut().insert(of, entry);
    }

    /// Forgets a lease, on disk too, and keeps it no more.
    ///
    /// # Errors
    /// The file system refuses.
    pub fn forget(&self, of: &Key) -> io::Result<()> {
        if let Some(entry) = self.all.borrow_mut().remove(of) {
            entry.task.abort();
        }
        self.store.remove(of)
    }

    /// Begins to acquire a lease.
    ///
    /// # Errors
    /// Another call does.
    pub fn begin<'a>(&'a self, of: &'a Key) -> Result<Acquiring<'a>> {
        let mut all = self.acquiring.borrow_mut();
        if all.contains_key(of) {
            let msg = "another call leases an address for this attachment";
            return Err(Error::new(code::TRY_AGAIN, msg).details("the runtime tries again"));
        }
        let cancelled = Rc::new(Notify::new());
        all.insert(of.clone(), Rc::clone(&cancelled));
        Ok(Acquiring { leases: self, of, cancelled })
    }

    /// DEL: gives a lease back. One that cannot be released, as its pod is gone, ends by itself.
    ///
    /// # Errors
    /// The file system refuses.
    pub async fn del(&self, of: &Key) -> Result<()> {
        if let Some(cancelled) = self.acquiring.borrow_mut().remove(of) {
            cancelled.notify_one();
        }
        let record = self.with(of, |entry| {
            entry.task.abort();
            entry.record.clone()
        });
        if let Some(record) = record.filter(|record| record.lost.is_none()) {
            let _turn = self.turns.acquire().await;
            let flags = self.flags.clone();
            let address = record.lease.address;
            let released = daemon::background::run(move || give_back(&record, &flags)).await;
            match released.unwrap_or_else(|error| Err(error.to_string())) {
                Ok(()) => {
                    self.counts.borrow_mut().released += 1;
                    tracing::info!("{of}: {address} released");
                }
                Err(why) => {
                    self.counts.borrow_mut().dropped += 1;
                    tracing::info!("{of}: {address} is not released, and ends by itself: {why}");
                }
            }
        }
        self.forget(of).map_err(|error| not_removed(&error))
    }

    /// CHECK: the attachment's lease.
    ///
    /// # Errors
    /// There is none, or it is over.
    pub fn check(&self, of: &Key) -> Result<Lease> {
        let failed = |details: String| {
            let msg =
                format!("dhcp: Failed to find address added by container {}", of.container_id);
            Err(Error::new(code::CHECK_FAILED, msg).details(details))
        };
        let record = self.with(of, |entry| entry.record.clone());
        match record {
            None => failed(format!("the daemon has no lease of {of}; restart the pod")),
            Some(Record { lost: Some(why), lease, .. }) => {
                failed(format!("{} was leased, {why}; restart the pod", lease.address))
            }
            Some(record) => Ok(record.lease),
        }
    }

    /// GC: gives back what no valid attachment has.
    ///
    /// # Errors
    /// The first of DEL's.
    pub async fn gc(self: &Rc<Self>, network: &str, valid: &[(String, String)]) -> Result<()> {
        let mut gone = Vec::new();
        self.each(|entry| {
            let of = &entry.record.of;
            if of.network == network && !of.is_among(valid) {
                gone.push(of.clone());
            }
        });
        let mut running = tokio::task::JoinSet::new();
        for of in gone {
            let leases = Rc::clone(self);
            running.spawn_local(async move { leases.del(&of).await });
        }
        let mut result = Ok(());
        while let Some(done) = running.join_next().await {
            result = result.and(done.unwrap_or(Ok(())));
        }
        result
    }

    /// STATUS: what is wrong with leases of a network.
    pub fn problems(&self, network: &str) -> Vec<String> {
        let mut problems = Vec::new();
        self.each(|entry| {
            if let Some(why) = entry.problem.as_ref().filter(|_| entry.record.of.network == network)
            {
                problems
                    .push(format!("{}: {}: {why}", entry.record.of, entry.record.lease.address));
            }
        });
        problems
    }
}

/// Opens a pod's link, aside of the loop.
///
/// # Errors
/// As [`Pod::open`].
pub async fn open(pod: Pod) -> std::result::Result<(Port, (u64, u64)), Missing> {
    let failed = |error: io::Error| Missing::Failed(error.to_string());
    let opened = daemon::background::run(move || pod.open()).await.map_err(failed)??;
    Ok((Port::new(opened.socket).map_err(failed)?, opened.namespace))
}

/// A lease that stays on disk.
pub fn not_removed(error: &io::Error) -> Error {
    Error::io("cannot remove the DHCP lease", error)
}
