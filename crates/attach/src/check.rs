//! CHECK and STATUS.

use crate::record::Records;
use crate::{Item, Kernel, Maker, Names, Network, del, failed, forwarding};

mod chained;

use cni::{CniResult, Command, Error, Interface, Request, Result, code};

/// Compares an attachment with its network and `prevResult`.
///
/// # Errors
/// What differs.
pub fn check(request: &Request, network: &impl Network) -> Result<()> {
    let Some(result) = &request.conf.prev_result else {
        return Err(Error::config("Required prevResult missing")
            .details("CHECK compares the node with the result of ADD, which the runtime keeps"));
    };
    let pod = pod_interface(request, result)?;
    let names = names(request, network, result, pod);
    let ipam = match &request.conf.ipam {
        Some(ipam) => Some(request.delegate(ipam)?.start(Command::Check, &request.stdin)?),
        None => None,
    };
    let checked = compare(request, network, &names, result);
    ipam.map_or(Ok(()), cni::Running::done)?;
    let differences = checked?;
    if differences.is_empty() {
        return Ok(());
    }
    let msg = format!("{} of {} is not as it was made", names.pod, request.env.container_id);
    Err(Error::new(code::CHECK_FAILED, msg).details(differences.join("; ")))
}

fn compare(
    request: &Request,
    network: &impl Network,
    names: &Names,
    result: &CniResult,
) -> Result<Vec<String>> {
    let mut kernel = Kernel::open(request.env.netns.as_deref()).map_err(|error| failed(&error))?;
    let mut items = network.shared();
    items.extend(network.link(names));
    items.extend(network.up(names, result));
    if request.conf.ipam.is_some() {
        items.extend(network.layer3(names, result));
    }
    items.extend(network.last(names, result));
    chained::excuse(&mut items, request, network.run_dir());
    chained::excuse_moved(&mut items, request, network.run_dir());
    if names.alias.is_empty() {
        items.retain(|item| !is_said_otherwise_by_others(item));
        for item in &mut items {
            if let Item::Bridge(bridge) = item {
                bridge.no_linklocal_learn = false;
            }
        }
    }
    kernel.check(&items).map_err(|error| failed(&error))
}

/// What another suite that made the attachment has rules and settings of its own for.
fn is_said_otherwise_by_others(item: &Item) -> bool {
    matches!(item, Item::Sysctl(_) | Item::Rule(_))
}

/// The pod's interface in the result, which must be in the namespace that we are asked about.
fn pod_interface<'a>(request: &Request, result: &'a CniResult) -> Result<&'a Interface> {
    let name = &request.env.ifname;
    let mut candidates = result.interfaces.iter().filter(|i| !i.sandbox.is_empty());
    let Some(pod) = candidates.find(|interface| &interface.name == name) else {
        return Err(Error::new(code::CHECK_FAILED, format!("prevResult has no interface {name}"))
            .details("its interfaces must hold CNI_IFNAME with a sandbox"));
    };
    if !request.env.is_netns(&pod.sandbox) {
        let netns = request.env.netns.as_deref().unwrap_or_else(|| "".as_ref());
        return Err(Error::new(
            code::CHECK_FAILED,
            format!(
                "Sandbox in prevResult {} doesn't match configured netns: {}",
                pod.sandbox,
                netns.display()
            ),
        ));
    }
    Ok(pod)
}

/// The names of our own attachment, or those that another suite chose, as the result has them.
fn names(request: &Request, network: &impl Network, result: &CniResult, pod: &Interface) -> Names {
    let attachment = request.attachment();
    let ours = network.names(&attachment);
    let pod_mac = pod.mac.parse().ok();
    // A plugin behind this one may set another, and says so in the result, or (before 1.1.0) not.
    let pod_mtu = pod.mtu;
    let recorded = Records::new(network.run_dir(), Maker::Main).exists(&attachment);
    let host = result
        .interfaces
        .iter()
        .find(|interface| interface.sandbox.is_empty() && interface.name.starts_with("veth"));
    match host {
        Some(host) if !recorded && host.name != ours.host => Names {
            host: host.name.clone(),
            host_mac: host.mac.parse().ok(),
            alias: String::new(),
            pod_mac,
            pod_mtu,
            ..ours
        },
        _ => Names { pod_mac, pod_mtu, ..ours },
    }
}

/// Whether ADD could be served.
///
/// # Errors
/// Code 50 or 51 and the reason.
pub fn status(request: &Request, network: &impl Network) -> Result<()> {
    let not_available = |error: Error| Error { code: code::NOT_AVAILABLE, ..error };
    let mut kernel = Kernel::open(None).map_err(|error| not_available(failed(&error)))?;
    if network.needs_nft() {
        let probed = kernel.nft().and_then(|nft| Ok(nft.probe()?));
        probed.map_err(|error| not_available(failed(&error)))?;
    }
    forwarding::status(request, network, &mut kernel)?;
    let ipam = request.conf.ipam.as_ref().map(|ipam| request.delegate(ipam)).transpose();
    let ipam = ipam.map_err(not_available)?;
    ipam.map_or(Ok(()), |ipam| del::ask_newer(&ipam, Command::Status, &request.stdin))
}
