//! What the daemon knows: its leases, those that are being acquired, and what it counted.

use super::exchange::{Bound, Client, Failure, Identity};
use super::flags::Flags;
use super::pod::{Missing, Pod, Port};
use super::store::{Record, Store, boot};
use super::{give_back, keep, pod_of};
use crate::config::Options;
use crate::lease::Lease;
use crate::rpc::Key;
use cni::{Error, Result, code};
use net::Mac;
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
    boot: String,
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
struct Acquiring<'a> {
    leases: &'a Leases,
    of: &'a Key,
    cancelled: Rc<Notify>,
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

    /// Takes a lease in, and keeps it from now on. `reboot`: it is from before the daemon's start.
    pub fn insert(self: &Rc<Self>, record: Record, reboot: bool) {
        let of = record.of.clone();
        let task = tokio::task::spawn_local(keep::keep(Rc::clone(self), of.clone(), reboot));
        let entry = Entry { record, asked: None, problem: None, task: task.abort_handle() };
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

    /// ADD: the lease that the attachment has, or a new one. What ends the wait for it, as a plugin that
    /// is killed, ends the exchange too.
    ///
    /// # Errors
    /// What the runtime must see.
    pub async fn add(self: &Rc<Self>, of: &Key, netns: &str, options: Options) -> Result<Lease> {
        let known = self.with(of, |entry| (entry.record.clone(), entry.record.lost.is_some()));
        if let Some((record, lost)) = known {
            let same = record.netns == netns && pod_of(&record, &self.flags).look().is_ok();
            if same && !lost {
                return Ok(record.lease);
            }
            // The pod went without DEL; its server gives the same client the same address.
            self.forget(of).map_err(|error| not_removed(&error))?;
        }
        let acquiring = self.begin(of)?;
        let acquired = tokio::select! {
            acquired = self.acquire(of, netns, &options) => acquired,
            () = acquiring.cancelled.notified() => Err(Error::new(code::TRY_AGAIN, "the lease is no longer wanted")
                .details("DEL of the same attachment came meanwhile")),
        };
        let mut counts = self.counts.borrow_mut();
        match acquired {
            Ok(record) => {
                counts.acquired += 1;
                let lease = record.lease.clone();
                tracing::info!(
                    "{of}: {} leased by {} for {} s",
                    lease.address,
                    lease.server,
                    lease.seconds
                );
                self.insert(record, false);
                Ok(lease)
            }
            Err(error) => {
                counts.not_acquired += 1;
                tracing::warn!("{of}: {error}");
                Err(error)
            }
        }
    }

    fn begin<'a>(&'a self, of: &'a Key) -> Result<Acquiring<'a>> {
        let mut all = self.acquiring.borrow_mut();
        if all.contains_key(of) {
            let msg = "another call leases an address for this attachment";
            return Err(Error::new(code::TRY_AGAIN, msg).details("the runtime tries again"));
        }
        let cancelled = Rc::new(Notify::new());
        all.insert(of.clone(), Rc::clone(&cancelled));
        Ok(Acquiring { leases: self, of, cancelled })
    }

    async fn acquire(&self, of: &Key, netns: &str, options: &Options) -> Result<Record> {
        tracing::info!("{of}: looking for a server");
        let netns_on_host = self.flags.on_host(netns);
        let pod = Pod { netns: netns_on_host, ifname: of.ifname.clone(), known: None };
        let (port, namespace) = open(pod).await.map_err(|missing| no_link(of, &missing))?;
        let identity =
            Identity { mac: port.mac(), id: of.client(), options, broadcast: self.flags.broadcast };
        let client = Client { port: &port, identity, flags: &self.flags };
        let limit = self.flags.resend_timeout;
        let bound = client.acquire(None, limit).await.map_err(|why| no_lease(of, &why, limit))?;
        let record = self.record(of, netns, namespace, &port, options, bound);
        self.store.write(&record).map_err(|error| {
            client.give_back(&record.lease, Mac(record.server_mac));
            Error::io("cannot write the DHCP lease", &error).also("it is given back")
        })?;
        Ok(record)
    }

    fn record(
        &self,
        of: &Key,
        netns: &str,
        namespace: (u64, u64),
        port: &Port,
        options: &Options,
        bound: Bound,
    ) -> Record {
        Record {
            boot: self.boot.clone(),
            of: of.clone(),
            netns: netns.to_owned(),
            namespace,
            mac: port.mac().0,
            options: options.clone(),
            lease: bound.lease,
            server_mac: bound.server_mac.0,
            since: bound.since.as_millis() as u64,
            lost: None,
        }
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

fn not_removed(error: &io::Error) -> Error {
    Error::io("cannot remove the DHCP lease", error)
}

fn no_link(of: &Key, missing: &Missing) -> Error {
    let msg = format!("cannot use {:?} of the pod to find a DHCP server", of.ifname);
    Error::new(code::KERNEL, msg)
        .details(format!("{missing}; the main plugin makes the link before it asks for an address"))
}

/// The reference's words where no server answers.
fn no_lease(of: &Key, why: &Failure, limit: Duration) -> Error {
    match why {
        Failure::Silence => Error::new(code::TRY_AGAIN, "no more tries: no DHCP server answers")
            .details(format!(
                "{} of the pod was asked for {} s; is a server on its link, and does the bridge reach it?",
                of.ifname,
                limit.as_secs()
            )),
        Failure::Link(_) => Error::new(code::KERNEL, "no DHCP lease").details(why.to_string()),
        _ => Error::new(code::NO_ADDRESS, "no DHCP lease").details(why.to_string()),
    }
}
