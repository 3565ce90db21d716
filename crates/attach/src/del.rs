//! DEL and GC: both tear attachments down by their records, and where a record is lost by what
//! carries the attachment's hash in the kernel.

use crate::record::{Record, Records};
use crate::{Foreign, Kernel, Maker, Owned, Place, Teardown, failed};
use cni::{Attachment, Command, Delegate, Error, Request, Result, Running, code, log};

/// Detaches a pod from a network.
///
/// # Errors
/// What could not be removed; everything else is gone.
pub fn del(request: &Request, teardown: &Teardown) -> Result<()> {
    let attachment = request.attachment();
    let netns = request.env.netns.as_deref();
    let mut kernel = Kernel::open_lazily(netns).map_err(|error| failed(&error))?;
    let records = Records::new(&teardown.run_dir, teardown.maker);
    let claim = match records.claim(&attachment) {
        Err(error)
            if !matches!(error.code, code::TRY_AGAIN | code::DECODE)
                && !is_needed(request, teardown, &records) =>
        {
            log::warn(&format!("{error}; DEL goes on without the record and its lock"));
            Err(error)
        }
        claim => Ok(claim?),
    };
    let record = claim.as_ref().ok().and_then(|claim| claim.record.as_ref());
    let gone = Gone { attachment: &attachment, record, maker: teardown.maker };
    let released = release(request, &mut kernel, &gone, teardown.foreign);
    if teardown.maker != Maker::Main {
        kernel.leave_netfilter();
    }
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

/// Whether DEL can do nothing without the record.
fn is_needed(request: &Request, teardown: &Teardown, records: &Records) -> bool {
    teardown.foreign.is_some_and(Foreign::needs_record)
        && request.env.netns.is_some()
        && records.exists(&request.attachment())
}

/// Removes all that an attachment owns, its lease included, and goes on after errors.
pub(crate) fn release(
    request: &Request,
    kernel: &mut Kernel,
    gone: &Gone,
    foreign: Option<&dyn Foreign>,
) -> Result<()> {
    let &Gone { attachment, record, maker } = gone;
    let ipam = ipam(request, gone);
    let mark = maker.mark(attachment);
    let links = gone.links();
    let host = attachment.host_veth();
    // One that leases by the pod's link also gives the lease back by it.
    let (ipam, freed_before) = match ipam {
        Ok(Some(ipam)) if asks_by_link(ipam.plugin()) && !is_others(kernel, &host, &mark) => {
            (Ok(None), free(request, Some(&ipam)))
        }
        ipam => (ipam, Ok(())),
    };
    let foreign = match foreign {
        Some(foreign)
            if record.is_none() && (maker != Maker::Main || is_absent(kernel, &host)?) =>
        {
            Some(foreign)
        }
        _ => None,
    };
    // An address may be leased again as soon as IPAM has it: by then no packet of this pod may
    // pass, nor a rule hold, even if this process is killed. A pod whose link is not ours to
    // remove lives on, and keeps its address.
    let mut their_link = None;
    if let Some(foreign) = foreign {
        their_link = foreign.silence(request, kernel, attachment)?;
    } else if let Err(error) = silence(kernel, &links, &mark) {
        if matches!(error, crate::kernel::Error::Conflict(_)) {
            return Err(failed(&error));
        }
        // Then nothing beside: the lease is freed once the link is gone.
        let rules = remove_rules(kernel, gone);
        let freed =
            remove_links(kernel, &links, &mark).and_then(|()| free(request, ipam?.as_ref()));
        return all([freed_before, rules, freed]);
    }
    let theirs = foreign.map_or(Ok(()), |foreign| foreign.remove_rules(kernel, attachment));
    let rules = remove_rules(kernel, gone);
    // IPAM works beside the kernel's wait for the link's last readers, milliseconds.
    let running = ipam.and_then(|ipam| start(request, ipam.as_ref()));
    let removed = match (foreign, their_link) {
        (Some(_), Some(link)) => kernel.remove_link(&link).map_err(|error| failed(&error)),
        (Some(_), None) => Ok(()),
        (None, _) => remove_links(kernel, &links, &mark),
    };
    let freed = running.and_then(|running| running.map_or(Ok(()), Running::done));
    all([freed_before, theirs, rules, removed, freed])
}

/// Whether an IPAM plugin may need the pod's link to find an address and to give it back, as `dhcp`
/// does. These do not.
pub(crate) fn asks_by_link(ipam: &str) -> bool {
    !matches!(ipam, "host-local" | "static")
}

/// Whether the link of the attachment's name carries another mark: its pod lives on.
fn is_others(kernel: &mut Kernel, host: &str, mark: &str) -> bool {
    matches!(kernel.own_veth(host, mark), Err(crate::kernel::Error::Conflict(_)))
}

fn is_absent(kernel: &mut Kernel, host: &str) -> Result<bool> {
    let link = kernel.link(Place::Host, host).map_err(|error| failed(&error))?;
    Ok(link.is_none())
}

/// The IPAM plugin that holds the lease: the one that ADD asked, else the configuration's, which
/// may have been changed since.
fn ipam(request: &Request, gone: &Gone) -> Result<Option<Delegate>> {
    if gone.maker != Maker::Main {
        return Ok(None);
    }
    let recorded = gone.record.and_then(|record| record.ipam.as_ref());
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

/// What a plugin made of an attachment, which ends.
pub(crate) struct Gone<'a> {
    pub(crate) attachment: &'a Attachment,
    pub(crate) record: Option<&'a Record>,
    pub(crate) maker: Maker,
}

impl Gone<'_> {
    /// The links that it owns: those recorded, or without a record the one that a main plugin would
    /// have made.
    fn links(&self) -> Vec<Owned> {
        match (self.record, self.maker) {
            (Some(record), _) => {
                record.owned.iter().filter(|owned| owned.link().is_some()).cloned().collect()
            }
            (None, Maker::Main) => vec![Owned::Veth { host: self.attachment.host_veth() }],
            (None, Maker::Chained(_)) => Vec::new(),
        }
    }
}

fn silence(kernel: &mut Kernel, links: &[Owned], mark: &str) -> crate::kernel::Result<()> {
    let mut names = links.iter().filter_map(Owned::link);
    names.try_for_each(|host| kernel.silence_veth(host, mark).map(drop))
}

fn remove_links(kernel: &mut Kernel, links: &[Owned], mark: &str) -> Result<()> {
    let mut removed = |link| kernel.release(link, mark).map(drop).map_err(|error| failed(&error));
    all(links.iter().rev().map(&mut removed))
}

/// Removes what an attachment owns beside its links: what is recorded, or without a record all that
/// carries its mark.
fn remove_rules(kernel: &mut Kernel, gone: &Gone) -> Result<()> {
    let &Gone { attachment, record, maker } = gone;
    let mark = maker.mark(attachment);
    let whole = match record {
        Some(record) => release_rules(kernel, &record.owned, &mark)?,
        None => {
            let comment = maker.comment(attachment);
            let found = kernel.marked_rules().map_err(|error| failed(&error))?.into_iter();
            let own = found.filter(|(mark, _)| *mark == comment).map(|(_, owned)| owned);
            release_rules(kernel, &own.collect::<Vec<_>>(), &mark)?;
            false
        }
    };
    // An earlier call may have been ended halfway.
    if whole { Ok(()) } else { remove_unused(kernel) }
}

/// Removes what is owned beside links, last first; whether all was there. Goes on after errors.
pub(crate) fn release_rules(kernel: &mut Kernel, owned: &[Owned], mark: &str) -> Result<bool> {
    let mut whole = true;
    let rules = owned.iter().rev().filter(|owned| owned.link().is_none());
    let released = rules.map(|owned| {
        let there = kernel.release(owned, mark).map_err(|error| failed(&error))?;
        whole &= there;
        Ok(())
    });
    all(released.collect::<Vec<_>>())?;
    Ok(whole)
}

/// Removes tables and chains that a call left without elements, as it was killed.
pub(crate) fn remove_unused(kernel: &mut Kernel) -> Result<()> {
    let links = kernel.end_localnet_of_gone_links().and_then(|()| kernel.end_localnet());
    match links.and_then(|()| Ok(kernel.nft()?.del_unused()?)) {
        Err(crate::kernel::Error::Nft(error)) if error.is_unsupported() => Ok(()),
        done => done.map_err(|error| failed(&error)),
    }
}

/// A failed ADD's error, with what could not be undone.
pub(crate) fn undone(error: Error, problems: Vec<Error>) -> Error {
    problems.into_iter().fold(error, |error, problem| {
        error.also(format!("and undoing it failed: {problem}; DEL will try again"))
    })
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

    #[test]
    fn all_errors_are_told() {
        assert_eq!(all([Ok(()), Ok(())]), Ok(()));
        let error = all([Err(Error::new(5, "a")), Ok(()), Err(Error::new(7, "b"))]).unwrap_err();
        assert_eq!((error.code, error.to_string().as_str()), (5, "a: also: b"));
    }
}
