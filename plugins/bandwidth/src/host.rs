//! The host's end of a pod's veth pair.

use crate::config::Config;
use crate::plan::ifb_names;
use attach::{Kernel, Link, Place, failed};
use cni::{Attachment, CniResult, Error, Label, Request, Result, code, log};

/// Finds the host's end by the pod's interface; the result of the plugins before must list it. The
/// messages are the reference's.
///
/// # Errors
/// Code 7 where the result or the interface does not fit, 100 the kernel's.
pub(crate) fn end(request: &Request, kernel: &mut Kernel, result: &CniResult) -> Result<Link> {
    if result.interfaces.is_empty() {
        return Err(Error::config("no interfaces provided").details(
            "prevResult lists none, and one of the host's is limited; results name interfaces since \
             cniVersion 0.3.0",
        ));
    }
    let ifname = &request.env.ifname;
    let no_peer = |why: &str| {
        let msg = format!("container interface {ifname} has no veth peer");
        Error::config(msg).details(format!(
            "{why}; what a pod sends and receives is limited at the host's end of its veth pair: put \
             bandwidth behind a plugin that makes one, such as bridge"
        ))
    };
    let pod = kernel.link(Place::Pod, ifname).map_err(|error| failed(&error))?;
    let pod = pod.ok_or_else(|| no_peer("it does not exist"))?;
    if pod.kind != "veth" {
        return Err(no_peer(&format!("it is of kind {:?}", pod.kind)));
    }
    let host = kernel.link_of_index(pod.peer).map_err(|error| failed(&error))?;
    let Some(host) = host.filter(|host| host.kind == "veth" && host.peer == pod.index) else {
        let msg = format!("veth peer with index {} is not in host ns", pod.peer);
        return Err(Error::config(msg).details(format!(
            "the other end of {ifname} is in a namespace that this plugin does not run in"
        )));
    };
    let listed = |i: &cni::Interface| i.sandbox.is_empty() && i.name == host.name;
    if !result.interfaces.iter().any(listed) {
        let msg = "no veth peer of container interface found in host ns";
        return Err(Error::new(code::INVALID_CONFIG, msg).details(format!(
            "the other end of {ifname} is {}, which prevResult does not list",
            host.name
        )));
    }
    Ok(host)
}

/// The name of the IFB device for a host's end: that of the attachment's device, or of one that can be
/// made. Another interface of the container may have the reference's name.
///
/// # Errors
/// Code 100 the kernel's.
pub(crate) fn ifb(attachment: &Attachment, kernel: &mut Kernel, host: &Link) -> Result<String> {
    let [first, second] = ifb_names(attachment);
    let taken = is_others(&first, attachment, kernel, host).map_err(|error| failed(&error))?;
    Ok(if taken { second } else { first })
}

fn is_others(
    ifb: &str,
    attachment: &Attachment,
    kernel: &mut Kernel,
    host: &Link,
) -> attach::Result<bool> {
    let Some(link) = kernel.link(Place::Host, ifb)? else { return Ok(false) };
    match Label::read(&link.alias) {
        Some(label) => Ok(label.hash != attachment.hash()),
        // Ours without an alias is down: its maker was killed. The reference's never has one.
        None => Ok(link.up && !kernel.is_redirected(&host.name, ifb)?),
    }
}

/// Bytes of an Ethernet header.
const ETHERNET: u32 = 14;

/// A token bucket drops what is larger than its burst.
pub(crate) fn warn_of_small_bursts(config: &Config, host: &Link) {
    let frame = host.mtu + ETHERNET;
    for (key, limit) in [("ingressBurst", config.ingress), ("egressBurst", config.egress)] {
        if let Some(limit) = limit.filter(|limit| limit.burst < frame) {
            log::warn(&format!(
                "{key} is {} bytes, and packets that are larger are dropped; set it to {} bits or \
                 more, which is a frame of {}",
                limit.burst,
                u64::from(frame) * 8,
                host.name
            ));
        }
    }
}
