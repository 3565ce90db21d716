//! DEL of an attachment that the reference made, before its binaries were replaced by ours: the
//! whole of it, found by what the reference derives names from.

use crate::failed;
use ::plan::{Kernel, Link, Place};
use cni::{Interface, Request, Result, Version, json, log};
use serde_json::Value;

/// How the aliases of our own links begin.
const OURS: &str = "ferrule ";

/// Removes link and rules of an attachment that is not ours, as far as there are any.
pub(crate) fn release(request: &Request, kernel: &mut Kernel) -> Result<()> {
    let rules = remove_rules(request, kernel);
    let link = match find_link(request, kernel) {
        Ok(Some(link)) => {
            log::info(&format!("{} was made by another suite", link.name));
            warn_of_legacy(request);
            kernel.remove_link(&link)
        }
        done => done.map(drop),
    };
    rules.and(link.map_err(|error| failed(&error)))
}

/// Removes the rules of attachments that are not in GC's list of valid ones.
pub(crate) fn gc(request: &Request, kernel: &mut Kernel) -> Result<()> {
    if !is_set(request, "ipMasq") {
        return Ok(());
    }
    let valid = request.conf.valid_attachments.iter().flatten();
    let valid: Vec<_> = valid.map(|v| (v.container_id.as_str(), v.ifname.as_str())).collect();
    let removed = kernel.nft().and_then(|nft| Ok(nft.gc_reference(&request.conf.name, &valid)?));
    removed.map_err(|error| failed(&error))
}

fn is_set(request: &Request, key: &str) -> bool {
    json::get(&request.conf.object, key).and_then(Value::as_bool) == Some(true)
}

/// Whatever the configuration says today: it may have been another when ADD ran.
fn remove_rules(request: &Request, kernel: &mut Kernel) -> Result<()> {
    let env = &request.env;
    let removed = kernel.nft().and_then(|nft| {
        Ok(nft.del_reference(&request.conf.name, &env.container_id, &env.ifname)?)
    });
    match removed {
        // Then there are none.
        Err(::plan::Error::Nft(error)) if error.is_unsupported() => Ok(()),
        removed => removed.map_err(|error| failed(&error)),
    }
}

/// The host end of the veth pair, if it can be told for sure.
fn find_link(request: &Request, kernel: &mut Kernel) -> ::plan::Result<Option<Link>> {
    let link = match &request.conf.prev_result {
        Some(result) => {
            let host = result.interfaces.iter().find(|interface| is_host_veth(interface));
            match host {
                Some(host) => {
                    let link = kernel.link(Place::Host, &host.name)?;
                    link.filter(|link| link.mac.to_string().eq_ignore_ascii_case(&host.mac))
                }
                None => None,
            }
        }
        // Before 0.4.0 DEL has no prevResult, and the namespace tells. From then on a namespace
        // without prevResult may be another pod's by now: its own end will take the link away.
        None if request.conf.version < Version::V0_4_0 => by_namespace(request, kernel)?,
        None => None,
    };
    Ok(link.filter(|link| link.kind == "veth" && !link.alias.starts_with(OURS)))
}

fn is_host_veth(interface: &Interface) -> bool {
    interface.sandbox.is_empty() && interface.name.starts_with("veth")
}

fn by_namespace(request: &Request, kernel: &mut Kernel) -> ::plan::Result<Option<Link>> {
    let Some(netns) = request.env.netns.as_deref() else { return Ok(None) };
    let mut inside = Kernel::open(Some(netns))?;
    let Some(pod) = inside.link(Place::Pod, &request.env.ifname)? else { return Ok(None) };
    let host = kernel.link_of_index(pod.peer)?;
    Ok(host.filter(|host| pod.kind == "veth" && pod.peer_elsewhere && host.peer == pod.index))
}

/// iptables-legacy keeps its rules where nf_tables does not see them.
fn warn_of_legacy(request: &Request) {
    let tables = std::fs::read_to_string("/proc/net/ip_tables_names").unwrap_or_default();
    if is_set(request, "ipMasq") && tables.lines().any(|table| table == "nat") {
        log::warn(&format!(
            "the kernel holds rules of iptables-legacy; those of container {} stay: see \
             iptables-legacy -t nat -S",
            request.env.container_id
        ));
    }
}
