//! One lease through its life: renewed, rebound, or lost.

use super::client::{identity, pod_of};
use super::exchange::{Bound, Client, Confirm, Failure};
use super::leases::{Leases, open};
use super::pod::Missing;
use super::store::Record;
use crate::rpc::Key;
use crate::timing::{Next, next};
use net::Mac;
use std::io;
use std::rc::Rc;
use std::time::Duration;

/// How often it is looked whether the pod is there still, in between.
const LOOK: Duration = Duration::from_secs(300);

/// Takes up the leases on disk. Pods that went meanwhile are dropped at once.
///
/// # Errors
/// The folder of the leases cannot be read.
pub fn resume(leases: &Rc<Leases>) -> io::Result<()> {
    for record in leases.store.load()? {
        take_in(leases, record, true);
    }
    Ok(())
}

/// Takes a lease in, and keeps it from now on. `reboot`: it was kept by a daemon before this one.
pub fn take_in(leases: &Rc<Leases>, record: Record, reboot: bool) {
    let task = tokio::task::spawn_local(keep(Rc::clone(leases), record.of.clone(), reboot));
    leases.insert(record, task.abort_handle());
}

/// Keeps a lease until it is forgotten. `reboot`: it was kept by a daemon before this one.
async fn keep(leases: Rc<Leases>, of: Key, mut reboot: bool) {
    loop {
        let Some((record, asked)) = leases.with(&of, |entry| (entry.record.clone(), entry.asked))
        else {
            return;
        };
        let due = match record.lost {
            None => next(&record.lease, record.age(), asked),
            Some(_) => Next::Wait(LOOK),
        };
        let goes_on = match due {
            Next::Expire => {
                lose(&leases, &record, "and ended: no server renewed it".to_owned()).await
            }
            _ if reboot && record.lost.is_none() => {
                confirm(&leases, &record, Confirm::Reboot).await
            }
            Next::Renew => confirm(&leases, &record, Confirm::Renew).await,
            Next::Rebind => confirm(&leases, &record, Confirm::Rebind).await,
            Next::Wait(time) => {
                tokio::time::sleep(time.min(LOOK)).await;
                is_there(&leases, &record).await
            }
        };
        reboot = false;
        if !goes_on {
            return;
        }
    }
}

/// Whether the pod is there still; a lease without one is forgotten. Its server keeps it until it ends.
async fn is_there(leases: &Leases, record: &Record) -> bool {
    let pod = pod_of(record, &leases.flags);
    let looked = daemon::background::run(move || pod.look()).await;
    match looked {
        Ok(Err(Missing::Gone(why))) => drop_lease(leases, record, &why),
        _ => true,
    }
}

fn drop_lease(leases: &Leases, record: &Record, why: &str) -> bool {
    let (of, address) = (&record.of, record.lease.address);
    tracing::info!("{of}: the pod is gone, {address} is renewed no more: {why}");
    leases.counts.borrow_mut().dropped += 1;
    if let Err(error) = leases.store.remove(of) {
        tracing::warn!("{of}: cannot remove the lease: {error}");
    }
    // Last: it ends the task that runs this.
    let _ = leases.forget(of);
    false
}

/// Asks for a lease to be confirmed; whether it is kept on.
async fn confirm(leases: &Rc<Leases>, record: &Record, how: Confirm) -> bool {
    let Ok(_turn) = leases.turns.acquire().await else { return false };
    let port = match open(pod_of(record, &leases.flags)).await {
        Ok((port, _)) => port,
        Err(Missing::Gone(why)) => return drop_lease(leases, record, &why),
        Err(Missing::Failed(why)) => return unconfirmed(leases, record, &why),
    };
    let client =
        Client { port: &port, identity: identity(record, &leases.flags), flags: &leases.flags };
    match client.confirm(&record.lease, Mac(record.server_mac), how).await {
        Ok(bound) => confirmed(leases, record, bound),
        Err(failure @ (Failure::Refused(_) | Failure::Other(_) | Failure::Unusable(_))) => {
            leases.counts.borrow_mut().refused += 1;
            tracing::warn!("{}: {}: {failure}", record.of, record.lease.address);
            again(leases, record, &client, failure).await
        }
        // A server that does not answer a daemon's first question may not know the lease (RFC 2131
        // section 4.3.2): its time goes on.
        Err(_) if how == Confirm::Reboot => true,
        Err(failure) => unconfirmed(leases, record, &failure.to_string()),
    }
}

/// After a refusal: a server that lost its memory may lease the same address anew, and the pod goes on.
async fn again(
    leases: &Rc<Leases>,
    record: &Record,
    client: &Client<'_>,
    refusal: Failure,
) -> bool {
    let limit = leases.flags.timeout;
    match client.acquire(Some(record.lease.address), limit).await {
        Ok(bound) => confirmed(leases, record, bound),
        Err(failure) => {
            let other = match failure {
                Failure::Other(address) => format!(", and offers {address}"),
                _ => String::new(),
            };
            lose(leases, record, format!("but {refusal}{other}")).await
        }
    }
}

fn confirmed(leases: &Leases, record: &Record, bound: Bound) -> bool {
    let Bound { lease, since, server_mac } = bound;
    tracing::info!("{}: {} renewed for {} s", record.of, lease.address, lease.seconds);
    leases.counts.borrow_mut().renewed += 1;
    let since = since.as_millis() as u64;
    let record = Record { lease, since, server_mac: server_mac.0, ..record.clone() };
    keep_on_disk(leases, &record);
    let known = leases.with(&record.of.clone(), |entry| {
        if let Some(problem) = entry.problem.take() {
            tracing::info!("{}: over: {problem}", record.of);
        }
        entry.asked = None;
        entry.record = record;
    });
    known.is_some()
}

fn keep_on_disk(leases: &Leases, record: &Record) {
    if let Err(error) = leases.store.write(record) {
        tracing::warn!(
            "{}: cannot write the lease, which a restart would not know: {error}",
            record.of
        );
    }
}

/// It stays as it is until it is asked for again. The first time the log says so.
fn unconfirmed(leases: &Leases, record: &Record, why: &str) -> bool {
    leases.counts.borrow_mut().unanswered += 1;
    let left = record.lease.validity().map(|all| all.saturating_sub(record.age()).as_secs());
    let problem = format!("cannot be renewed: {why}");
    let known = leases.with(&record.of, |entry| {
        entry.asked = Some(record.age());
        if entry.problem.as_ref() != Some(&problem) {
            let (of, address) = (&record.of, record.lease.address);
            let left = left.unwrap_or_default();
            tracing::warn!("{of}: {address} {problem}; the pod loses its network in {left} s");
            entry.problem = Some(problem);
        }
    });
    known.is_some()
}

/// The address is another's from now on: the pod's link goes down, as the reference does it (RFC 2131
/// section 4.4.5: the client must stop using it).
async fn lose(leases: &Leases, record: &Record, why: String) -> bool {
    let (of, address) = (&record.of, record.lease.address);
    leases.counts.borrow_mut().lost += 1;
    tracing::error!(
        "{of}: {address} was leased, {why}; {} of the pod goes down: restart the pod",
        of.ifname
    );
    let pod = pod_of(record, &leases.flags);
    match daemon::background::run(move || pod.set_down()).await {
        Ok(Err(Missing::Gone(why))) => return drop_lease(leases, record, &why),
        Ok(Err(Missing::Failed(why))) => {
            tracing::error!("{of}: cannot set {} down, {address} is used on: {why}", of.ifname);
        }
        _ => {}
    }
    let record = Record { lost: Some(why.clone()), ..record.clone() };
    keep_on_disk(leases, &record);
    let known = leases.with(of, |entry| {
        entry.problem = Some(format!("lost: it was leased, {why}"));
        entry.record = record.clone();
    });
    known.is_some()
}
