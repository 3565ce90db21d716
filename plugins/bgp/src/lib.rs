//! The bgp plugin: a pod on a veth pair with addresses of its own, /32 and /128, and a route of the
//! host to each. No bridge: everything the pod sends is routed. Other nodes hear of the node's pods
//! from the daemon `route-sync`, by BGP.
//!
//! Configuration and node ([`Config`]) → plan, as an [`attach::Network`] → [`attach`], which applies,
//! checks and removes.

mod config;
mod plan;

pub use config::Config;

use attach::keys::run_dir_of;
use attach::{Kernel, Maker, Teardown};
use cni::{CniResult, Plugin, Request, Result};
use config::{node, ready, with_ranges};

/// The plugin.
pub struct Bgp;

impl Plugin for Bgp {
    fn add(&self, request: &Request) -> Result<CniResult> {
        let node = node(request)?;
        let request = with_ranges(request, node.as_ref());
        let mut config = Config::read(&request)?;
        if config.mtu.is_none() {
            config.mtu = match node {
                Some(node) => Some(node.mtu),
                None => underlay_mtu()?,
            };
        }
        attach::add(&request, &config)
    }

    fn del(&self, request: &Request) -> Result<()> {
        attach::del(&for_teardown(request), &teardown(request))
    }

    fn check(&self, request: &Request) -> Result<()> {
        let request = with_ranges(request, node(request)?.as_ref());
        attach::check(&request, &Config::read(&request)?)
    }

    fn gc(&self, request: &Request) -> Result<()> {
        attach::gc(&for_teardown(request), &teardown(request))
    }

    fn status(&self, request: &Request) -> Result<()> {
        let run_dir = run_dir_of(request);
        let node = node(request)?;
        ready(&run_dir, node.as_ref())?;
        let request = with_ranges(request, node.as_ref());
        attach::status(&request, &Config::read(&request)?)
    }
}

/// What removes needs no node.json, and takes from it what it can.
fn for_teardown(request: &Request) -> Request {
    with_ranges(request, node(request).unwrap_or_default().as_ref())
}

/// No other suite attaches pods as this plugin does: there is nothing of others to find.
fn teardown(request: &Request) -> Teardown<'static> {
    Teardown { maker: Maker::Main, run_dir: run_dir_of(request), foreign: None }
}

/// The MTU of the link by which the node reaches the world.
fn underlay_mtu() -> Result<Option<u32>> {
    let uplink = Kernel::open(None).and_then(|mut kernel| kernel.uplink());
    Ok(uplink.map_err(|error| attach::failed(&error))?.map(|link| link.mtu))
}
