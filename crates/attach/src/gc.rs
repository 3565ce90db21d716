//! GC: whatever of the network belongs to no valid attachment goes.
//!
//! Attachments are found by their records, and by what carries our mark in the kernel, since a
//! record may be lost. The marks are listed once, since a list costs as much as there are pods.
//! Those that cannot be removed, or that a call works on just now, count as valid for the IPAM
//! plugin: their addresses are in use.

use crate::del::{all, ask_newer, release_rules, remove_unused};
use crate::record::{Claim, Record, Records};
use crate::{Kernel, Link, Maker, Owned, Teardown, failed};
use cni::{Attachment, Command, Label, Request, Result, log};
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// What the kernel's marks say of an attachment.
#[derive(Default)]
struct Marked {
    attachment: Option<Attachment>,
    /// What carries them, each with its mark.
    owned: Vec<(String, Owned)>,
}

/// An attachment whose link is down and that has no rules; its link is to be removed.
struct Silenced {
    claim: Claim,
    attachment: Attachment,
    link: Option<Link>,
}

/// How many links are removed at once: as many records are open.
const BATCH: usize = 8;

/// Removes all of the network that belongs to no valid attachment.
///
/// # Errors
/// What could not be removed; everything else is gone.
pub fn gc(request: &Request, teardown: &Teardown) -> Result<()> {
    let ipam = request.conf.ipam.as_ref().filter(|_| teardown.maker == Maker::Main);
    let ipam = ipam.map(|ipam| request.delegate(ipam)).transpose()?;
    let mut kernel = Kernel::open(None).map_err(|error| failed(&error))?;
    let records = Records::new(&teardown.run_dir, teardown.maker);
    let mut kept = Vec::new();
    let mut problems = Vec::new();
    let mut silenced = Vec::new();
    for (hash, marked) in candidates(request, &mut kernel, &records, teardown.maker)? {
        match silence(request, &mut kernel, &records, teardown.maker, (&hash, &marked), &mut kept) {
            Ok(found) => silenced.extend(found),
            Err(error) => problems.push(error),
        }
        if silenced.len() == BATCH {
            let batch = std::mem::take(&mut silenced);
            problems.extend(remove(&mut kernel, batch, &mut kept).err());
        }
    }
    problems.extend(remove(&mut kernel, silenced, &mut kept).err());
    problems.extend(remove_unused(&mut kernel).err());
    if let Some(foreign) = teardown.foreign {
        problems.extend(foreign.gc(request, &mut kernel, &mut kept));
    }
    if let Some(ipam) = ipam {
        problems.extend(ask_newer(&ipam, Command::Gc, &with_kept(request, &kept)).err());
    }
    all(problems.into_iter().map(Err))
}

/// Hashes of attachments that are not valid, with what the kernel's marks say of them.
fn candidates(
    request: &Request,
    kernel: &mut Kernel,
    records: &Records,
    maker: Maker,
) -> Result<BTreeMap<String, Marked>> {
    let mut found: BTreeMap<String, Marked> = BTreeMap::new();
    for hash in records.hashes()? {
        found.entry(hash).or_default();
    }
    for (mark, owned) in kernel.marked().map_err(|error| failed(&error))? {
        let label = Label::read(&mark);
        let own = |label: &Label| label.chained.as_deref() == maker.chained();
        if let Some(label) = label.filter(own) {
            let marked = found.entry(label.hash).or_default();
            // Of several the first, an alias where there is one: it holds most of the label.
            marked.attachment.get_or_insert(label.attachment);
            marked.owned.push((mark, owned));
        }
    }
    let valid = request.conf.valid_attachments.iter().flatten();
    for valid in valid {
        let name = &request.conf.name;
        found.remove(&Attachment::new(name, &valid.container_id, &valid.ifname).hash());
    }
    Ok(found)
}

/// Silences an attachment of this network and removes its rules. One that stays goes to `kept`.
fn silence(
    request: &Request,
    kernel: &mut Kernel,
    records: &Records,
    maker: Maker,
    (hash, marked): (&str, &Marked),
    kept: &mut Vec<Attachment>,
) -> Result<Option<Silenced>> {
    let recorded = records.peek(hash).map(|record| record.attachment());
    // A mark may be cut short; the record is whole, unless it is lost.
    let attachment = recorded.or(marked.attachment.clone());
    let attachment = attachment.filter(|attachment| attachment.network == request.conf.name);
    let claim = match records.claim_free(hash) {
        Ok(Some(claim)) => claim,
        busy_or_failed => {
            kept.extend(attachment);
            return busy_or_failed.map(|_| None);
        }
    };
    let Some(attachment) = attachment else {
        if claim.record.is_none() {
            // Torn, or made a moment ago by us: it tells of nothing.
            claim.remove()?;
        }
        return Ok(None);
    };
    log::info(&format!("GC removes {} of {}", attachment.ifname, attachment.container_id));
    let record = claim.record.as_ref();
    let silent = match maker {
        Maker::Main => silence_link(kernel, hash, &attachment.network),
        Maker::Chained(_) => Ok(None),
    };
    let removed = silent.and_then(|link| {
        remove_rules(kernel, maker, marked, record)?;
        Ok(link)
    });
    match removed {
        Ok(link) => Ok(Some(Silenced { claim, attachment, link })),
        Err(error) => {
            kept.push(attachment);
            Err(error)
        }
    }
}

/// Sets the link down. The names come from the hash, which is whole where a mark is cut short.
fn silence_link(kernel: &mut Kernel, hash: &str, network: &str) -> Result<Option<Link>> {
    let host = format!("veth{}", hash.get(..11).unwrap_or(hash));
    let mark = format!("ferrule {hash} {network}");
    kernel.silence_veth(&host, &mark).map_err(|error| failed(&error))
}

/// Removes all but links: what carries marks, and what is recorded.
fn remove_rules(
    kernel: &mut Kernel,
    maker: Maker,
    marked: &Marked,
    record: Option<&Record>,
) -> Result<()> {
    for (mark, owned) in &marked.owned {
        release_rules(kernel, std::slice::from_ref(owned), mark)?;
    }
    if let Some(record) = record {
        release_rules(kernel, &record.owned, &maker.mark(&record.attachment()))?;
    }
    Ok(())
}

/// Removes the links, and then the records.
fn remove(kernel: &mut Kernel, batch: Vec<Silenced>, kept: &mut Vec<Attachment>) -> Result<()> {
    let links: Vec<Link> = batch.iter().filter_map(|one| one.link.clone()).collect();
    if let Err(error) = kernel.remove_links(&links) {
        kept.extend(batch.into_iter().map(|one| one.attachment));
        return Err(failed(&error));
    }
    all(batch.into_iter().map(|one| one.claim.remove()))
}

/// The configuration for the IPAM plugin, in which the attachments that stay are valid.
fn with_kept(request: &Request, kept: &[Attachment]) -> Vec<u8> {
    if kept.is_empty() {
        return request.stdin.clone();
    }
    let mut object = request.conf.object.clone();
    let valid = request.conf.valid_attachments.iter().flatten();
    let mut list: Vec<Value> = valid
        .map(|valid| json!({"containerID": valid.container_id, "ifname": valid.ifname}))
        .collect();
    list.extend(kept.iter().map(|a| json!({"containerID": a.container_id, "ifname": a.ifname})));
    for key in ["cni.dev/valid-attachments", "cni.dev/attachments"] {
        object.insert(key.to_owned(), Value::Array(list.clone()));
    }
    Value::Object(object).to_string().into_bytes()
}
