//! The vxlan plugin: to a pod it is the bridge plugin, with an MTU and addresses that fit the
//! node's part in a VXLAN overlay. What that part is says `node.json`, which the daemon
//! `route-sync` writes, or without a daemon the configuration.
//!
//! Configuration and node ([`config`]) → the tunnel's device, when it is absent → the bridge
//! plugin's configuration with the tunnel's MTU, and the request with the node's ranges ([`plan`]) →
//! the bridge plugin's network.

mod config;
mod plan;

use attach::{Kernel, Place, TunnelDevice, forwarding};
use bridge::Bridge;
use cni::{CniResult, Error, Plugin, Request, Result, code};
use config::Overlay as Wanted;
use node::{Keeper, Lock};

/// The plugin.
pub struct Overlay;

impl Plugin for Overlay {
    fn add(&self, request: &Request) -> Result<CniResult> {
        let wanted = Wanted::read(request)?;
        let (mut kernel, tunnel, request) = prepare(request, &wanted)?;
        // What the bridge plugin would refuse makes no device.
        let mut config = bridge::Config::over_tunnel(&request, tunnel.mtu)?;
        if wanted.gateways_of_node {
            left_behind(&wanted, code::TRY_AGAIN)?;
            config.address_protocol = node::PROTOCOL;
        }
        request.conf.ipam.as_ref().map(|ipam| request.delegate(ipam)).transpose()?;
        if wanted.daemon {
            leave_to_daemon(&mut kernel, &tunnel, &wanted)?;
        }
        kernel.tunnel(&tunnel, wanted.daemon).map_err(|error| failed(&error))?;
        attach::add(&request, &config)
    }

    fn del(&self, request: &Request) -> Result<()> {
        Bridge.del(&plan::for_teardown(request))
    }

    fn check(&self, request: &Request) -> Result<()> {
        let wanted = Wanted::read(request)?;
        let (mut kernel, tunnel, request) = prepare(request, &wanted)?;
        let config = bridge::Config::over_tunnel(&request, tunnel.mtu)?;
        let differences = kernel.tunnel_differences(&tunnel).map_err(|error| failed(&error))?;
        if !differences.is_empty() {
            let msg = format!("VXLAN device {} is not as it was made", tunnel.name);
            return Err(Error::new(code::CHECK_FAILED, msg).details(differences.join("; ")));
        }
        attach::check(&request, &config)
    }

    fn gc(&self, request: &Request) -> Result<()> {
        Bridge.gc(&plan::for_teardown(request))
    }

    fn status(&self, request: &Request) -> Result<()> {
        let wanted = Wanted::read(request).map_err(|error| unready(request, error))?;
        if wanted.daemon {
            ready(&wanted)?;
        }
        let (_, tunnel, request) = prepare(request, &wanted)?;
        attach::status(&request, &bridge::Config::over_tunnel(&request, tunnel.mtu)?)
    }
}

/// The device, and the request with the node's ranges.
fn prepare(request: &Request, wanted: &Wanted) -> Result<(Kernel, TunnelDevice, Request)> {
    let mut kernel = Kernel::open(None).map_err(|error| failed(&error))?;
    let tunnel = plan::tunnel(&mut kernel, wanted)?;
    let request = plan::with_ranges(request, &wanted.pod_cidrs);
    Ok((kernel, tunnel, request))
}

/// An error where the device is absent and the daemon's to make: one that runs makes it at once,
/// unless it cannot guard the tunnel's port; one that was never in step may have been unable to.
fn leave_to_daemon(kernel: &mut Kernel, tunnel: &TunnelDevice, wanted: &Wanted) -> Result<()> {
    let link = kernel.link(Place::Host, &tunnel.name).map_err(|error| failed(&error))?;
    if link.is_some() || (wanted.synced && !is_held(wanted)?) {
        return Ok(());
    }
    let msg = format!("route-sync has not made VXLAN device {} yet", tunnel.name);
    Err(Error::new(code::TRY_AGAIN, msg)
        .details("`route-sync status` tells why; it makes none whose port it cannot guard"))
}

/// Whether a daemon runs.
fn is_held(wanted: &Wanted) -> Result<bool> {
    Lock::is_held(&wanted.run_dir).map_err(|error| unseen(&error))
}

fn unseen(error: &std::io::Error) -> Error {
    Error::new(code::NOT_AVAILABLE, "cannot tell whether route-sync runs")
        .details(error.to_string())
}

/// Whether the daemon has carried out its node set once, and what it left is not known to be wrong.
/// Traffic flows without it: a stopped daemon does not cost a node with pods its readiness at once.
fn ready(wanted: &Wanted) -> Result<()> {
    if !wanted.synced {
        return Err(not_synced());
    }
    let keeper = Keeper::of(&wanted.run_dir).map_err(|error| unseen(&error))?;
    match (keeper, &wanted.forwarding_off) {
        (Keeper::Lives, Some(sysctl)) => Err(forwarding::off(sysctl)),
        (Keeper::Lives | Keeper::Left, _) => left_behind(wanted, code::NOT_AVAILABLE),
        (Keeper::Hangs, _) => {
            Err(Error::new(code::LIMITED_CONNECTIVITY, "route-sync does not answer")
                .details("routes to other nodes are not kept; see its log, and restart it"))
        }
        (Keeper::Gone, _) => Err(Error::new(code::LIMITED_CONNECTIVITY, "route-sync does not run")
            .details("the routes to other nodes are not kept: it stopped an hour ago or longer, or no pod is on this node; start it")),
    }
}

/// An error of this code while something is left of an earlier pod CIDR of the node: its bridge has
/// another gateway, and no other node reaches what is left.
fn left_behind(wanted: &Wanted, code: u32) -> Result<()> {
    let Some(left) = &wanted.left_behind else { return Ok(()) };
    Err(Error::new(code, format!("an earlier pod CIDR of this node is in use: {left}"))
        .details("delete these pods, or give the node that CIDR again; route-sync does the rest"))
}

fn not_synced() -> Error {
    Error::new(code::NOT_AVAILABLE, "route-sync has not installed the routes to other nodes yet")
        .details("see `route-sync status`; it waits for its node set")
}

/// Without node.json and the keys that would do instead, a daemon is expected.
fn unready(request: &Request, error: Error) -> Error {
    let bare = Wanted::expects_daemon(request);
    if bare { Error { code: code::NOT_AVAILABLE, ..error } } else { error }
}

/// A refused change of the kernel as the runtime receives it.
fn failed(error: &attach::Error) -> Error {
    attach::failed(error)
}
