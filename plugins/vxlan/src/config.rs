//! The vxlan plugin's own keys, and the node's part in the overlay.

use attach::ranges;
use cni::{Error, Request, Result, code};
use ipnetwork::IpNetwork;
use node::{Node, RUN_DIR};
use serde::Deserialize;
use std::net::IpAddr;
use std::path::PathBuf;

/// What the plugin needs to know of the overlay.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Overlay {
    /// `runDir`.
    pub(crate) run_dir: PathBuf,
    /// A daemon said so, in node.json; otherwise the configuration did.
    pub(crate) daemon: bool,
    /// The gateways' addresses follow from node.json, and go when that says otherwise.
    pub(crate) gateways_of_node: bool,
    /// What is left of earlier pod CIDRs of the node, in words.
    pub(crate) left_behind: Option<String>,
    /// A sysctl of forwarding that is off and that the daemon cannot set.
    pub(crate) forwarding_off: Option<String>,
    /// The daemon has carried out its node set.
    pub(crate) synced: bool,
    /// VXLAN network identifier.
    pub(crate) vni: u32,
    /// UDP port.
    pub(crate) port: u16,
    /// The link that carries the tunnel.
    pub(crate) underlay: String,
    /// The node's address on it; `None` where the link has to be asked.
    pub(crate) local: Option<IpAddr>,
    /// MTU of device and pods in bytes; `None` where the link has to be asked.
    pub(crate) mtu: Option<u32>,
    /// The node's pod CIDRs.
    pub(crate) pod_cidrs: Vec<IpNetwork>,
}

/// The keys; those of the bridge plugin are its own matter.
#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Wire {
    run_dir: String,
    vni: Option<u64>,
    port: Option<u64>,
    underlay: String,
}

impl Overlay {
    /// Reads and validates.
    ///
    /// # Errors
    /// Code 7 naming key and value.
    pub(crate) fn read(request: &Request) -> Result<Overlay> {
        let wire: Wire = request.conf.decode()?;
        let run_dir = PathBuf::from(if wire.run_dir.is_empty() { RUN_DIR } else { &wire.run_dir });
        let node = Node::read(&run_dir).map_err(|error| Error::config(error.to_string()))?;
        match node {
            Some(node) => {
                let ranges = ranges::of(&request.conf.object);
                Ok(Overlay {
                    gateways_of_node: ranges.is_empty(),
                    ..of_node(&wire, run_dir, node)?
                })
            }
            None => of_keys(&wire, run_dir, ranges::of(&request.conf.object)),
        }
    }

    /// Whether the configuration alone says nothing of a tunnel, so that only a daemon can.
    pub(crate) fn expects_daemon(request: &Request) -> bool {
        let wire: Wire = request.conf.decode().unwrap_or_default();
        wire.vni.is_none() && wire.port.is_none() && wire.underlay.is_empty()
    }
}

/// node.json decides; a key that says something else is an error rather than ignored.
fn of_node(wire: &Wire, run_dir: PathBuf, node: Node) -> Result<Overlay> {
    let left_behind = node.left_behind();
    let Some(vxlan) = node.vxlan else {
        return Err(Error::config("route-sync runs without a tunnel (mode = \"direct\")")
            .details("set its mode to \"auto\" or \"vxlan\", or use the plugin type \"bridge\""));
    };
    let differs = |key: &str, is: String, wanted: String| {
        let msg = format!("{key} is {is} here, and {wanted} in {}/node.json", run_dir.display());
        Err(Error::new(code::INVALID_CONFIG, msg)
            .details(format!("route-sync's configuration decides: leave {key} out")))
    };
    match (wire.vni, wire.port) {
        (Some(vni), _) if vni != u64::from(vxlan.vni) => {
            return differs("vni", vni.to_string(), vxlan.vni.to_string());
        }
        (_, Some(port)) if port != u64::from(vxlan.port) => {
            return differs("port", port.to_string(), vxlan.port.to_string());
        }
        _ => {}
    }
    if !wire.underlay.is_empty() && wire.underlay != vxlan.underlay {
        return differs(
            "underlay",
            format!("{:?}", wire.underlay),
            format!("{:?}", vxlan.underlay),
        );
    }
    Ok(Overlay {
        run_dir,
        daemon: true,
        gateways_of_node: true,
        left_behind,
        forwarding_off: node.forwarding_off,
        synced: node.synced,
        vni: vxlan.vni,
        port: vxlan.port,
        underlay: vxlan.underlay,
        local: Some(vxlan.local),
        mtu: Some(node.mtu),
        pod_cidrs: node.pod_cidrs,
    })
}

/// Without a daemon the configuration has to say all of it.
fn of_keys(wire: &Wire, run_dir: PathBuf, pod_cidrs: Vec<IpNetwork>) -> Result<Overlay> {
    let missing = [
        (wire.vni.is_none(), "vni"),
        (wire.port.is_none(), "port"),
        (wire.underlay.is_empty(), "underlay"),
    ];
    let missing: Vec<&str> = missing.iter().filter(|(is, _)| *is).map(|(_, key)| *key).collect();
    if !missing.is_empty() {
        let msg = format!(
            "there is no {}/node.json, and the configuration has no {}",
            run_dir.display(),
            missing.join(", ")
        );
        return Err(Error::config(msg).details(
            "start route-sync, which writes it, or set vni, port, underlay and ipam.ranges",
        ));
    }
    let vni = wire.vni.and_then(|vni| u32::try_from(vni).ok());
    let Some(vni) = vni.filter(|vni| (1..=node::vtep::MAX_VNI).contains(vni)) else {
        return Err(Error::config(format!("invalid vni {}", wire.vni.unwrap_or_default()))
            .details("a VXLAN network identifier is 1 to 16777215"));
    };
    let port = wire.port.and_then(|port| u16::try_from(port).ok()).filter(|port| *port > 0);
    let Some(port) = port else {
        return Err(Error::config(format!("invalid port {}", wire.port.unwrap_or_default()))
            .details("a UDP port is 1 to 65535; VXLAN's own is 4789"));
    };
    if pod_cidrs.is_empty() {
        return Err(Error::config("ipam has no ranges").details(
            "without route-sync's node.json the node's pod CIDRs must stand in ipam.ranges",
        ));
    }
    Ok(Overlay {
        run_dir,
        daemon: false,
        gateways_of_node: false,
        left_behind: None,
        forwarding_off: None,
        synced: false,
        vni,
        port,
        underlay: wire.underlay.clone(),
        local: None,
        mtu: None,
        pod_cidrs,
    })
}

#[cfg(test)]
mod tests;
