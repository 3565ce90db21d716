//! Whether a pod reaches its own host ports across its bridge.
//!
//! Where br_netfilter is on, a frame whose destination a host port translated to an address behind
//! the same bridge is bridged, and not routed (`br_nf_pre_routing_finish`). The pod's own connection
//! must leave by the port that it came in by, which the bridge refuses unless the port is in hairpin
//! mode, and not isolated (`should_deliver`).

use attach::{Family, Kernel, Link, Place};
use cni::{CniResult, log};
use std::collections::BTreeMap;
use std::net::IpAddr;

/// What makes a port of a bridge send frames back to its pod; `None` where it does.
fn remedy(bridge: &Link, port: &Link) -> Option<&'static str> {
    match (port.hairpin, port.isolated, bridge.promiscuous) {
        (true, false, _) => None,
        (true, true, _) => Some("unset portIsolation"),
        (false, false, false) => Some("set hairpinMode to true"),
        (false, false, true) => Some("unset promiscMode and set hairpinMode to true"),
        (false, true, false) => Some("unset portIsolation and set hairpinMode to true"),
        (false, true, true) => {
            Some("unset portIsolation and promiscMode and set hairpinMode to true")
        }
    }
}

/// The port of a bridge that the plugins before made for the pod.
fn port_of(kernel: &mut Kernel, result: &CniResult, bridge: &Link) -> attach::Result<Option<Link>> {
    for interface in result.interfaces.iter().filter(|interface| interface.sandbox.is_empty()) {
        let link = kernel.link(Place::Host, &interface.name)?;
        if let Some(port) = link.filter(|link| link.master == bridge.index) {
            return Ok(Some(port));
        }
    }
    Ok(None)
}

/// Warns of addresses at which the pod gets no answer from its own host ports. `links`: the node's
/// link to each of its addresses.
///
/// # Errors
/// The kernel could not be asked.
pub fn warn(
    kernel: &mut Kernel,
    result: &CniResult,
    links: &[(IpAddr, Link)],
) -> attach::Result<()> {
    let mut unanswered: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (address, bridge) in links {
        if !kernel.frames_pass_hooks(bridge, Family::of(*address)) {
            continue;
        }
        let Some(port) = port_of(kernel, result, bridge)? else { continue };
        if let Some(remedy) = remedy(bridge, &port) {
            let reason = format!(
                "br_netfilter is on, and port {} of bridge {} sends no frame back to the pod that \
                 it came from; {remedy} in the object of the plugin that attaches the pod",
                port.name, bridge.name
            );
            unanswered.entry(reason).or_default().push(address.to_string());
        }
    }
    for (reason, addresses) in unanswered {
        let addresses = addresses.join(" and ");
        log::warn(&format!("pod {addresses} does not reach its own host ports: {reason}"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_that_sends_frames_back_needs_no_remedy() {
        let port = |hairpin, isolated| Link { hairpin, isolated, ..Link::default() };
        let [plain, promiscuous] =
            [false, true].map(|promiscuous| Link { promiscuous, ..Link::default() });
        assert_eq!(remedy(&plain, &port(true, false)), None);
        assert_eq!(remedy(&promiscuous, &port(true, false)), None);
        for (bridge, port, words) in [
            (&plain, port(false, false), "set hairpinMode to true"),
            (&promiscuous, port(false, false), "unset promiscMode and set hairpinMode to true"),
            (&plain, port(true, true), "unset portIsolation"),
            (&plain, port(false, true), "unset portIsolation and set hairpinMode to true"),
        ] {
            assert_eq!(remedy(bridge, &port), Some(words));
        }
    }
}
