//! DEL and GC: both tear attachments down by their records, DEL where there is none by
//! `prevResult`, and else by the names that derive from the attachment.

use crate::config::Config;
use crate::plan::{alias, comment};
use crate::{PLUGIN, failed, foreign};
use ::plan::{Kernel, Mac};
use cni::record::{Record, Records};
use cni::{Attachment, Command, Request, Result, Running, code, json, log};
use serde_json::Value;
use std::net::IpAddr;

pub(crate) fn del(request: &Request) -> Result<()> {
    let attachment = request.attachment();
    let claim = Records::new(&Config::run_dir(request), PLUGIN).find(&attachment);
    let record = claim.as_ref().and_then(|claim| claim.record.as_ref());
    let mut kernel = Kernel::open(None).map_err(|error| failed(&error))?;
    let known = kernel.link(::plan::Place::Host, &attachment.host_veth());
    let is_ours = record.is_some() || known.map_err(|error| failed(&error))?.is_some();
    let rest = if is_ours { Ok(()) } else { foreign::release(request, &mut kernel) };
    all([rest, release(request, &mut kernel, &attachment, record)])?;
    if let Some(claim) = claim {
        claim.remove();
    }
    Ok(())
}

/// Removes all that an attachment owns, its lease included, and goes on after errors.
pub(crate) fn release(
    request: &Request,
    kernel: &mut Kernel,
    attachment: &Attachment,
    record: Option<&Record>,
) -> Result<()> {
    // An address may be leased again as soon as IPAM has it: its rules go before.
    let rules = Rules::of(request, record).remove(kernel, attachment);
    // IPAM works beside the kernel's wait for the link's last readers, milliseconds.
    let ipam = start_ipam(request);
    let link = kernel.remove_veth(&attachment.host_veth(), &alias(attachment));
    let ipam = ipam.and_then(|running| running.map_or(Ok(()), Running::done));
    all([rules, link.map_err(|error| failed(&error)), ipam])
}

/// Lets the IPAM plugin free what the attachment leased.
pub(crate) fn ipam(request: &Request) -> Result<()> {
    start_ipam(request)?.map_or(Ok(()), Running::done)
}

fn start_ipam(request: &Request) -> Result<Option<Running>> {
    let Some(ipam) = &request.conf.ipam else { return Ok(None) };
    request.delegate(ipam, Command::Del, &request.stdin).map(Some)
}

/// The first error, with the others behind it.
fn all<const N: usize>(results: [Result<()>; N]) -> Result<()> {
    let errors = results.into_iter().filter_map(Result::err);
    errors.reduce(|first, next| first.also(format!("also: {next}"))).map_or(Ok(()), Err)
}

/// The nftables elements that an attachment may own.
struct Rules {
    addresses: Vec<IpAddr>,
    macspoof: Option<Mac>,
}

impl Rules {
    fn of(request: &Request, record: Option<&Record>) -> Rules {
        if let Some(record) = record {
            return Rules {
                addresses: record.addresses.clone(),
                macspoof: record.macspoof.as_ref().and_then(|mac| mac.parse().ok()),
            };
        }
        // The other keys of the configuration may have become invalid.
        let set = |key| json::get(&request.conf.object, key).and_then(Value::as_bool) == Some(true);
        let result = request.conf.prev_result.clone().unwrap_or_default();
        let pod = result
            .interfaces
            .iter()
            .find(|i| !i.sandbox.is_empty() && i.name == request.env.ifname);
        let addresses = result.ips.iter().map(|ip| ip.address.ip());
        Rules {
            addresses: addresses.filter(|_| set("ipMasq")).collect(),
            macspoof: pod.filter(|_| set("macspoofchk")).and_then(|pod| pod.mac.parse().ok()),
        }
    }

    fn remove(&self, kernel: &mut Kernel, attachment: &Attachment) -> Result<()> {
        if self.addresses.is_empty() && self.macspoof.is_none() {
            return Ok(());
        }
        let comment = comment(attachment);
        let nft = kernel.nft().map_err(|error| failed(&error))?;
        let mut problem = Ok(());
        for address in &self.addresses {
            problem = problem.and(nft.del_masquerade(*address, &comment));
        }
        if let Some(mac) = self.macspoof {
            problem = problem.and(nft.del_macspoof(&attachment.host_veth(), mac.0, &comment));
        }
        problem.map_err(|error| failed(&error.into()))
    }
}

pub(crate) fn gc(request: &Request) -> Result<()> {
    let records = Records::new(&Config::run_dir(request), PLUGIN);
    let mut kernel = Kernel::open(None).map_err(|error| failed(&error))?;
    let mut outcome = Ok(());
    for claim in records.of_network(&request.conf.name)? {
        let Some(record) = &claim.record else { continue };
        let attachment = record.attachment();
        if request.conf.is_valid_attachment(&attachment.container_id, &attachment.ifname) {
            continue;
        }
        log::info(&format!("GC removes {} of {}", attachment.ifname, attachment.container_id));
        let rules = Rules::of(request, Some(record)).remove(&mut kernel, &attachment);
        let link = kernel.remove_veth(&attachment.host_veth(), &alias(&attachment));
        match all([rules, link.map_err(|error| failed(&error))]) {
            Ok(()) => claim.remove(),
            error => outcome = all([outcome, error]),
        }
    }
    let foreign = foreign::gc(request, &mut kernel);
    all([outcome, foreign, delegate_newer(request, Command::Gc)])
}

/// Passes GC or STATUS on to the IPAM plugin; one that is too old to know them is not asked more.
pub(crate) fn delegate_newer(request: &Request, command: Command) -> Result<()> {
    let Some(ipam) = &request.conf.ipam else { return Ok(()) };
    match request.delegate(ipam, command, &request.stdin)?.done() {
        Err(error)
            if error.code == code::INVALID_ENVIRONMENT
                && error.msg.starts_with("unknown CNI_COMMAND") =>
        {
            log::warn(&format!("IPAM plugin {ipam} does not know {}", command.as_str()));
            Ok(())
        }
        done => done,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use cni::Error;

    #[test]
    fn all_errors_are_told() {
        assert_eq!(all([Ok(()), Ok(())]), Ok(()));
        let error = all([Err(Error::new(5, "a")), Ok(()), Err(Error::new(7, "b"))]).unwrap_err();
        assert_eq!((error.code, error.to_string().as_str()), (5, "a: also: b"));
    }
}
