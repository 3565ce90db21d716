//! Attachments that the reference made, before its binaries were replaced by ours: DEL and GC
//! remove the whole of them, found by what the reference derives names from, and by the lease.

mod leases;

use crate::config::Config;
use attach::{Foreign, Kernel, Link, Place, failed};
use cni::{Attachment, Error, Interface, Request, Result, Version, json, log};
use leases::Leases;
use serde_json::Value;

/// How the aliases of our own links begin.
const OURS: &str = "ferrule ";

/// The reference's plugins.
pub(crate) struct Reference;

impl Foreign for Reference {
    fn silence(
        &self,
        request: &Request,
        kernel: &mut Kernel,
        attachment: &Attachment,
    ) -> Result<Option<Link>> {
        silence(request, kernel, attachment)
    }

    /// Whatever the configuration says today: it may have been another when ADD ran.
    fn remove_rules(&self, kernel: &mut Kernel, attachment: &Attachment) -> Result<()> {
        remove_rules(kernel, attachment)
    }

    fn gc(&self, request: &Request, kernel: &mut Kernel, kept: &mut Vec<Attachment>) -> Vec<Error> {
        gc(request, kernel, kept)
    }
}

fn silence(
    request: &Request,
    kernel: &mut Kernel,
    attachment: &Attachment,
) -> Result<Option<Link>> {
    let found = find_link(request, kernel, attachment).map_err(|error| failed(&error))?;
    if let Some(link) = &found {
        log::info(&format!("{} was made by another suite", link.name));
        kernel.silence(link).map_err(|error| failed(&error))?;
    }
    if found.is_some() || named_by_result(request).is_some() {
        warn_of_legacy(request);
    }
    Ok(found)
}

fn remove_rules(kernel: &mut Kernel, attachment: &Attachment) -> Result<()> {
    let Attachment { network, container_id, ifname } = attachment;
    let nft = kernel.nft();
    settled(nft.and_then(|nft| Ok(nft.del_reference(network, container_id, ifname)?)))
}

fn gc(request: &Request, kernel: &mut Kernel, kept: &mut Vec<Attachment>) -> Vec<Error> {
    let mut problems = Vec::new();
    if let Some(leases) = Leases::of(request) {
        problems.extend(gc_living(request, kernel, &leases, kept));
        problems.extend(settled(gc_spoof_checks(request, kernel, &leases)).err());
    }
    if is_set(request, "ipMasq") {
        let valid = request.conf.valid_attachments.iter().flatten();
        let valid: Vec<_> = valid.map(|v| (v.container_id.as_str(), v.ifname.as_str())).collect();
        let nft = kernel.nft();
        let removed = nft.and_then(|nft| Ok(nft.gc_reference(&request.conf.name, &valid)?));
        problems.extend(settled(removed).err());
    }
    problems
}

fn gc_living(
    request: &Request,
    kernel: &mut Kernel,
    leases: &Leases,
    kept: &mut Vec<Attachment>,
) -> Vec<Error> {
    let living = match living(request, kernel, leases) {
        Ok(living) => living,
        Err(error) => return vec![failed(&error)],
    };
    let mut problems = Vec::new();
    for (link, attachment) in living {
        if is_valid(request, &attachment) {
            continue;
        }
        let Attachment { container_id, ifname, .. } = &attachment;
        log::info(&format!("GC removes {ifname} of {container_id}, made by another suite"));
        let silent = kernel.silence(&link).map_err(|error| failed(&error));
        let removed = silent
            .and_then(|()| remove_rules(kernel, &attachment))
            .and_then(|()| kernel.remove_link(&link).map_err(|error| failed(&error)));
        if let Err(error) = removed {
            problems.push(error);
            kept.push(attachment);
        }
    }
    problems
}

/// Checks of source MAC addresses that outlived their pods. Neither chain nor jump names the
/// network; the lease that is still there does.
fn gc_spoof_checks(request: &Request, kernel: &mut Kernel, leases: &Leases) -> attach::Result<()> {
    let mut stale = Vec::new();
    for (port, chain) in kernel.nft()?.reference_macspoofs()? {
        if kernel.link(Place::Host, &port)?.is_none() {
            stale.push(chain);
        }
    }
    if stale.is_empty() {
        return Ok(());
    }
    let chain_of = |a: &Attachment| attach::reference_macspoof_chain(&a.container_id, &a.ifname);
    let (valid, gone): (Vec<_>, Vec<_>) =
        leases.holders().into_iter().partition(|holder| is_valid(request, holder));
    // Container IDs and interfaces may hold the hyphen that parts them in a chain's name.
    let valid: Vec<String> = valid.iter().map(chain_of).collect();
    let gone: Vec<String> = gone.iter().map(chain_of).collect();
    for chain in stale.iter().filter(|chain| gone.contains(*chain) && !valid.contains(*chain)) {
        kernel.nft()?.del_reference_macspoof(chain)?;
    }
    Ok(())
}

fn is_valid(request: &Request, attachment: &Attachment) -> bool {
    request.conf.is_valid_attachment(&attachment.container_id, &attachment.ifname)
}

fn is_set(request: &Request, key: &str) -> bool {
    json::get(&request.conf.object, key).and_then(Value::as_bool) == Some(true)
}

/// A kernel without nf_tables holds no rules.
fn settled(removed: attach::Result<()>) -> Result<()> {
    match removed {
        Err(attach::Error::Nft(error)) if error.is_unsupported() => Ok(()),
        removed => removed.map_err(|error| failed(&error)),
    }
}

/// The host end of the attachment's veth pair, if it is known for certain: prevResult names it,
/// or the address on its other end is leased to the attachment.
fn find_link(
    request: &Request,
    kernel: &mut Kernel,
    attachment: &Attachment,
) -> attach::Result<Option<Link>> {
    if let Some(host) = named_by_result(request) {
        let link = kernel.link(Place::Host, &host.name)?.filter(is_foreign);
        return Ok(link.filter(|link| link.mac.to_string().eq_ignore_ascii_case(&host.mac)));
    }
    let leases = Leases::of(request);
    if let Some(leases) = &leases {
        let living = living(request, kernel, leases)?.into_iter();
        let mut found = living.filter(|(_, holder)| holder == attachment);
        if let Some((link, _)) = found.next() {
            return Ok(Some(link));
        }
    }
    // Before 0.4.0 DEL has no prevResult, and the namespace tells, unless its address is
    // another's. From then on it may be another pod's: its own end will take the link away.
    if request.conf.version >= Version::V0_4_0 {
        return Ok(None);
    }
    let Some(link) = by_namespace(request, kernel)? else { return Ok(None) };
    let holder = match &leases {
        Some(leases) => holder(kernel, leases, &link)?,
        None => None,
    };
    Ok(Some(link).filter(|_| holder.is_none_or(|holder| holder == *attachment)))
}

/// The host end as prevResult names it.
fn named_by_result(request: &Request) -> Option<&Interface> {
    let interfaces = &request.conf.prev_result.as_ref()?.interfaces;
    interfaces.iter().find(|host| host.sandbox.is_empty() && host.name.starts_with("veth"))
}

fn is_foreign(link: &Link) -> bool {
    link.kind == "veth" && !link.alias.starts_with(OURS)
}

/// The ports of the network's bridge that are not ours, each with the attachment that the
/// address on its other end is leased to. Where two ports claim one attachment, neither counts.
fn living(
    request: &Request,
    kernel: &mut Kernel,
    leases: &Leases,
) -> attach::Result<Vec<(Link, Attachment)>> {
    let mut found = Vec::new();
    for port in kernel.ports(&Config::bridge(request))?.into_iter().filter(is_foreign) {
        // One of our own ADD may have no alias yet, or none any more.
        let other = |holder: &Attachment| holder.host_veth() != port.name;
        if let Some(holder) = holder(kernel, leases, &port)?.filter(other) {
            found.push((port, holder));
        }
    }
    let claimed: Vec<Attachment> = found.iter().map(|(_, holder)| holder.clone()).collect();
    found.retain(|(_, holder)| claimed.iter().filter(|other| *other == holder).count() == 1);
    Ok(found)
}

/// The one attachment that the addresses on a port's other end are leased to, if that end has
/// the attachment's name.
fn holder(kernel: &mut Kernel, leases: &Leases, port: &Link) -> attach::Result<Option<Attachment>> {
    let Some((pod, addresses)) = kernel.far_end(port)? else { return Ok(None) };
    let mut holders = addresses.into_iter().filter_map(|address| leases.holder(address));
    let Some(holder) = holders.next().filter(|holder| holder.ifname == pod.name) else {
        return Ok(None);
    };
    Ok(holders.all(|other| other == holder).then_some(holder))
}

fn by_namespace(request: &Request, kernel: &mut Kernel) -> attach::Result<Option<Link>> {
    let Some(netns) = request.env.netns.as_deref() else { return Ok(None) };
    let mut inside = match Kernel::open(Some(netns)) {
        Ok(inside) => inside,
        // Gone, and the link with it.
        Err(error) => {
            log::info(&format!("{}: {}", error.summary(), error.cause()));
            return Ok(None);
        }
    };
    let Some(pod) = inside.link(Place::Pod, &request.env.ifname)? else { return Ok(None) };
    let host = kernel.link_of_index(pod.peer)?.filter(is_foreign);
    Ok(host.filter(|host| pod.kind == "veth" && pod.peer_netns.is_some() && host.peer == pod.index))
}

/// iptables-legacy keeps its rules where nf_tables does not see them.
fn warn_of_legacy(request: &Request) {
    let lists_nat = |path| {
        let tables = std::fs::read_to_string(path).unwrap_or_default();
        tables.lines().any(|table| table == "nat")
    };
    let files = ["/proc/net/ip_tables_names", "/proc/net/ip6_tables_names"];
    if is_set(request, "ipMasq") && files.into_iter().any(lists_nat) {
        log::warn(&format!(
            "the kernel holds rules of iptables-legacy; those of container {} stay: see \
             iptables-legacy -t nat -S",
            request.env.container_id
        ));
    }
}
