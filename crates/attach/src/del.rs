//! DEL and GC: both tear attachments down by their records, and where a record is lost by what
//! carries the attachment's hash in the kernel.

use crate::record::{Record, Records};
use crate::{Foreign, Kernel, Mac, PLUGIN, Place, SubnetRoute, Teardown, alias, comment, failed};
use cni::{Attachment, Command, Delegate, Request, Result, Running, code, log};
use ipnetwork::IpNetwork;

/// Detaches a pod from a network.
///
/// # Errors
/// What could not be removed; everything else is gone.
pub fn del(request: &Request, teardown: &Teardown) -> Result<()> {
    let attachment = request.attachment();
    let mut kernel = Kernel::open(None).map_err(|error| failed(&error))?;
    let records = Records::new(&teardown.run_dir, PLUGIN);
    let claim = match records.claim(&attachment) {
        Err(error) if !matches!(error.code, code::TRY_AGAIN | code::DECODE) => {
            log::warn(&format!("{error}; DEL goes on without the record and its lock"));
            Err(error)
        }
        claim => Ok(claim?),
    };
    let record = claim.as_ref().ok().and_then(|claim| claim.record.as_ref());
    let released = release(request, &mut kernel, &attachment, record, teardown.foreign);
    let removed = match claim {
        // What could not be removed is found by it again; an empty one tells of nothing.
        Ok(claim) if released.is_ok() || claim.record.is_none() => claim.remove(),
        Ok(_) => Ok(()),
        // That none can be made is no fault of DEL's, nor that something else stands in its place.
        Err(error) if released.is_ok() => records.discard(&attachment).map_err(|_| error),
        Err(_) => Ok(()),
    };
    all([released, removed])
}

/// Removes all that an attachment owns, its lease included, and goes on after errors.
pub(crate) fn release(
    request: &Request,
    kernel: &mut Kernel,
    attachment: &Attachment,
    record: Option<&Record>,
    foreign: Option<&dyn Foreign>,
) -> Result<()> {
    let ipam = ipam(request, record);
    let host = attachment.host_veth();
    let mut absent = || kernel.link(Place::Host, &host).map(|link| link.is_none());
    let foreign = match foreign {
        Some(foreign) if record.is_none() && absent().map_err(|error| failed(&error))? => {
            Some(foreign)
        }
        _ => None,
    };
    // An address may be leased again as soon as IPAM has it: by then no packet of this pod may
    // pass, nor a rule hold, even if this process is killed. A pod whose link is not ours to
    // remove lives on, and keeps its address.
    let link = if let Some(foreign) = foreign {
        foreign.silence(request, kernel, attachment)?
    } else {
        let alias = alias(attachment);
        match kernel.silence_veth(&host, &alias) {
            Ok(link) => link,
            Err(error @ crate::kernel::Error::Conflict(_)) => return Err(failed(&error)),
            Err(_) => {
                // Then nothing beside: the lease is freed once the link is gone.
                let rules = remove_rules(kernel, attachment, record);
                let removed = kernel.remove_veth(&host, &alias).map_err(|error| failed(&error));
                let freed = removed.and_then(|()| free(request, ipam?.as_ref()));
                return all([rules, freed]);
            }
        }
    };
    let theirs = foreign.map_or(Ok(()), |foreign| foreign.remove_rules(kernel, attachment));
    let rules = remove_rules(kernel, attachment, record);
    // IPAM works beside the kernel's wait for the link's last readers, milliseconds.
    let running = ipam.and_then(|ipam| start(request, ipam.as_ref()));
    let removed = link.map_or(Ok(()), |link| kernel.remove_link(&link));
    let freed = running.and_then(|running| running.map_or(Ok(()), Running::done));
    all([theirs, rules, removed.map_err(|error| failed(&error)), freed])
}

/// The IPAM plugin that holds the lease: the one that ADD asked, else the configuration's, which
/// may have been changed since.
fn ipam(request: &Request, record: Option<&Record>) -> Result<Option<Delegate>> {
    let recorded = record.and_then(|record| record.ipam.as_ref());
    match (recorded.map(|ipam| request.delegate(ipam)), &request.conf.ipam) {
        (Some(Ok(recorded)), _) => Ok(Some(recorded)),
        (_, Some(configured)) => request.delegate(configured).map(Some),
        (Some(Err(error)), None) => Err(error),
        (None, None) => Ok(None),
    }
}

fn start(request: &Request, ipam: Option<&Delegate>) -> Result<Option<Running>> {
    ipam.map(|ipam| ipam.start(Command::Del, &request.stdin)).transpose()
}

/// Lets the IPAM plugin free what the attachment leased.
pub(crate) fn free(request: &Request, ipam: Option<&Delegate>) -> Result<()> {
    start(request, ipam)?.map_or(Ok(()), Running::done)
}

/// The first error, with the others behind it.
pub(crate) fn all(results: impl IntoIterator<Item = Result<()>>) -> Result<()> {
    let errors = results.into_iter().filter_map(Result::err);
    errors.reduce(|first, next| first.also(format!("also: {next}"))).map_or(Ok(()), Err)
}

/// Removes the attachment's nftables elements: those recorded, or without a record all that
/// carry its hash.
pub(crate) fn remove_rules(
    kernel: &mut Kernel,
    attachment: &Attachment,
    record: Option<&Record>,
) -> Result<()> {
    let Some(record) = record else {
        let comment = comment(attachment);
        let removed = match kernel.nft() {
            Ok(nft) => nft.del_owned(|found| found == comment).map_err(Into::into),
            Err(error) => Err(error),
        };
        return match removed {
            // Then there are none.
            Err(crate::kernel::Error::Nft(error)) if error.is_unsupported() => Ok(()),
            removed => removed.map_err(|error| failed(&error)),
        };
    };
    match remove_recorded(kernel, attachment, record)? {
        true => Ok(()),
        // An earlier call may have been ended halfway.
        false => kernel.nft().and_then(|nft| Ok(nft.del_unused()?)).map_err(|error| failed(&error)),
    }
}

/// Removes the elements that a record tells of; says whether all were there.
pub(crate) fn remove_recorded(
    kernel: &mut Kernel,
    attachment: &Attachment,
    record: &Record,
) -> Result<bool> {
    let routes = remove_routes(kernel, record);
    let comment = comment(attachment);
    let macspoof = record.macspoof.as_ref().and_then(|mac| mac.parse::<Mac>().ok());
    if record.addresses.is_empty() && macspoof.is_none() && !record.rpfilter {
        return routes.map(|()| true);
    }
    let nft = kernel.nft().map_err(|error| failed(&error))?;
    let mut problem = Ok(());
    let mut all_there = true;
    for address in &record.addresses {
        let removed = nft.del_masquerade(*address, &comment);
        problem = problem.and(removed.map(|there| all_there &= there));
    }
    if let Some(mac) = macspoof {
        problem = problem.and(nft.del_macspoof(&attachment.host_veth(), mac.0, &comment));
    }
    if record.rpfilter {
        problem = problem.and(nft.del_rpfilter(&attachment.host_veth(), &comment));
    }
    all([problem.map_err(|error| failed(&error.into())), routes]).map(|()| all_there)
}

fn remove_routes(kernel: &mut Kernel, record: &Record) -> Result<()> {
    all(record.routes.iter().map(|(link, address)| {
        let route = SubnetRoute { link: link.clone(), pod: IpNetwork::from(*address) };
        kernel.remove_pod_route(&route).map_err(|error| failed(&error))
    }))
}

/// Passes GC or STATUS on to the IPAM plugin. One older than these commands misses a container
/// or does not know the command; it is not asked more.
pub(crate) fn ask_newer(ipam: &Delegate, command: Command, stdin: &[u8]) -> Result<()> {
    match ipam.start(command, stdin)?.done() {
        Err(error) if matches!(error.code, code::UNKNOWN_CONTAINER | code::INVALID_ENVIRONMENT) => {
            let command = command.as_str();
            log::warn(&format!("the IPAM plugin does not serve {command}: {error}"));
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
