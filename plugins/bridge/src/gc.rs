//! GC: whatever of the network belongs to no valid attachment goes.
//!
//! Attachments are found by their records, and by what carries our mark in the kernel, since a
//! record may be lost. Those that cannot be removed, or that a call works on just now, count as
//! valid for the IPAM plugin: their addresses are in use.

use crate::config::Config;
use crate::del::ask_newer;
use crate::{PLUGIN, failed, foreign};
use ::plan::Kernel;
use cni::record::Records;
use cni::{Attachment, Command, Request, Result, log};
use serde_json::{Value, json};
use std::collections::BTreeMap;

pub(crate) fn gc(request: &Request) -> Result<()> {
    let ipam = request.conf.ipam.as_ref().map(|ipam| request.delegate(ipam)).transpose()?;
    let mut kernel = Kernel::open(None).map_err(|error| failed(&error))?;
    let records = Records::new(&Config::run_dir(request), PLUGIN);
    let mut kept = Vec::new();
    let mut problems = Vec::new();
    for (hash, marked) in candidates(request, &mut kernel, &records)? {
        problems.extend(collect(request, &mut kernel, &records, &hash, marked, &mut kept).err());
    }
    problems.extend(foreign::gc(request, &mut kernel, &mut kept));
    if let Some(ipam) = ipam {
        problems.extend(ask_newer(&ipam, Command::Gc, &with_kept(request, &kept)).err());
    }
    problems
        .into_iter()
        .reduce(|first, next| first.also(format!("also: {next}")))
        .map_or(Ok(()), Err)
}

/// Hashes of attachments that are not valid, with what the kernel's marks say of them.
fn candidates(
    request: &Request,
    kernel: &mut Kernel,
    records: &Records,
) -> Result<BTreeMap<String, Option<Attachment>>> {
    let mut found = BTreeMap::new();
    for hash in records.hashes()? {
        found.insert(hash, None);
    }
    let mut marks = kernel.aliases().map_err(|error| failed(&error))?;
    match kernel.nft().and_then(|nft| Ok(nft.owned()?)) {
        Ok(owned) => {
            marks.extend(owned.masquerades.into_iter().map(|(_, comment)| comment));
            marks.extend(owned.macspoofs.into_iter().map(|(_, _, comment)| comment));
        }
        Err(::plan::Error::Nft(error)) if error.is_unsupported() => {}
        Err(error) => return Err(failed(&error)),
    }
    for mark in marks {
        if let Some((hash, attachment)) = Attachment::of_label(&mark) {
            found.insert(hash, Some(attachment));
        }
    }
    let valid = request.conf.valid_attachments.iter().flatten();
    for valid in valid {
        let name = &request.conf.name;
        found.remove(&Attachment::new(name, &valid.container_id, &valid.ifname).hash());
    }
    Ok(found)
}

/// Removes an attachment of this network, but for its lease. One that stays goes to `kept`.
fn collect(
    request: &Request,
    kernel: &mut Kernel,
    records: &Records,
    hash: &str,
    marked: Option<Attachment>,
    kept: &mut Vec<Attachment>,
) -> Result<()> {
    let recorded = records.peek(hash).map(|record| record.attachment());
    // A mark may be cut short; the record is whole, unless it is lost.
    let attachment = recorded.clone().or(marked);
    let attachment = attachment.filter(|attachment| attachment.network == request.conf.name);
    let claim = match records.claim_free(hash) {
        Ok(Some(claim)) => claim,
        busy_or_failed => {
            kept.extend(attachment);
            return busy_or_failed.map(drop);
        }
    };
    let Some(attachment) = attachment else {
        if claim.record.is_none() {
            // Torn, or made a moment ago by us: it tells of nothing.
            claim.remove();
        }
        return Ok(());
    };
    log::info(&format!("GC removes {} of {}", attachment.ifname, attachment.container_id));
    match remove(kernel, hash, &attachment) {
        Ok(()) => {
            claim.remove();
            Ok(())
        }
        Err(error) => {
            kept.push(attachment);
            Err(failed(&error))
        }
    }
}

/// Removes link and rules. The names come from the hash, which is whole where a mark is cut short.
fn remove(kernel: &mut Kernel, hash: &str, attachment: &Attachment) -> ::plan::Result<()> {
    let host = format!("veth{}", hash.get(..11).unwrap_or(hash));
    let mark = format!("ferrule {hash} {}", attachment.network);
    let link = kernel.silence_veth(&host, &mark)?;
    let owns = |mark: &str| Attachment::of_label(mark).is_some_and(|(found, _)| found == hash);
    match kernel.nft().and_then(|nft| Ok(nft.del_owned(owns)?)) {
        Err(::plan::Error::Nft(error)) if error.is_unsupported() => {}
        removed => removed?,
    }
    link.map_or(Ok(()), |link| kernel.remove_link(&link))
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
