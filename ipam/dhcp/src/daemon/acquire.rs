//! ADD: a lease for a pod.

use super::client::pod_of;
use super::exchange::{Bound, Client, Failure, Identity};
use super::keep;
use super::leases::{Leases, not_removed, open};
use super::pod::{Missing, Pod, Port};
use super::store::Record;
use crate::config::Options;
use crate::lease::Lease;
use crate::rpc::Key;
use cni::{Error, Result, code};
use net::Mac;
use std::rc::Rc;
use std::time::Duration;

/// ADD: the lease that the attachment has, or a new one. What ends the wait for it, as a plugin that
/// is killed, ends the exchange too.
///
/// # Errors
/// What the runtime must see.
pub async fn add(leases: &Rc<Leases>, of: &Key, netns: &str, options: Options) -> Result<Lease> {
    let known = leases.with(of, |entry| (entry.record.clone(), entry.record.lost.is_some()));
    if let Some((record, lost)) = known {
        let same = record.netns == netns && pod_of(&record, &leases.flags).look().is_ok();
        if same && !lost {
            return Ok(record.lease);
        }
        // The pod went without DEL; its server gives the same client the same address.
        leases.forget(of).map_err(|error| not_removed(&error))?;
    }
    let acquiring = leases.begin(of)?;
    let acquired = tokio::select! {
        acquired = acquire(leases, of, netns, &options) => acquired,
        () = acquiring.cancelled.notified() => Err(Error::new(code::TRY_AGAIN, "the lease is no longer wanted")
            .details("DEL of the same attachment came meanwhile")),
    };
    let mut counts = leases.counts.borrow_mut();
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
            keep::take_in(leases, record, false);
            Ok(lease)
        }
        Err(error) => {
            counts.not_acquired += 1;
            tracing::warn!("{of}: {error}");
            Err(error)
        }
    }
}

async fn acquire(leases: &Leases, of: &Key, netns: &str, options: &Options) -> Result<Record> {
    tracing::info!("{of}: looking for a server");
    let netns_on_host = leases.flags.on_host(netns);
    let pod = Pod { netns: netns_on_host, ifname: of.ifname.clone(), known: None };
    let (port, namespace) = open(pod).await.map_err(|missing| no_link(of, &missing))?;
    let identity =
        Identity { mac: port.mac(), id: of.client(), options, broadcast: leases.flags.broadcast };
    let client = Client { port: &port, identity, flags: &leases.flags };
    let limit = leases.flags.resend_timeout;
    let bound = client.acquire(None, limit).await.map_err(|why| no_lease(of, &why, limit))?;
    let record = record(leases, of, (netns, namespace), &port, options, bound);
    leases.store.write(&record).map_err(|error| {
        client.give_back(&record.lease, Mac(record.server_mac));
        Error::io("cannot write the DHCP lease", &error).also("it is given back")
    })?;
    Ok(record)
}

fn record(
    leases: &Leases,
    of: &Key,
    (netns, namespace): (&str, (u64, u64)),
    port: &Port,
    options: &Options,
    bound: Bound,
) -> Record {
    Record {
        boot: leases.boot.clone(),
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
