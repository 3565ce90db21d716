//! The client of a record: its pod, what it says of itself, and how it gives its lease back.

use super::exchange::Identity;
use super::flags::Flags;
use super::pod::Pod;
use super::store::Record;
use net::Mac;

/// Opens the pod's link and releases the lease by it. It blocks.
///
/// # Errors
/// The pod is gone, or the kernel refuses; in words.
pub fn give_back(record: &Record, flags: &Flags) -> Result<(), String> {
    let opened = pod_of(record, flags).open().map_err(|missing| missing.to_string())?;
    let identity = identity(record, flags);
    let released = identity.release(&opened.socket, &record.lease, Mac(record.server_mac));
    released.map_err(|error| error.to_string())
}

/// The pod of a record.
pub fn pod_of(record: &Record, flags: &Flags) -> Pod {
    Pod {
        netns: flags.on_host(&record.netns),
        ifname: record.of.ifname.clone(),
        known: Some((record.namespace, record.mac())),
    }
}

/// What a record's client says of itself.
pub fn identity<'a>(record: &'a Record, flags: &Flags) -> Identity<'a> {
    let (mac, broadcast) = (record.mac(), flags.broadcast);
    Identity { mac, id: record.of.client(), options: &record.options, broadcast }
}
