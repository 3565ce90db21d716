//! The vrf plugin: a pod's interface becomes a port of a VRF device in the pod, with a routing table of
//! its own.
//!
//! Configuration ([`Config`]) → plan, as an [`attach::chain::Chained`] → [`attach`], which applies, checks
//! and removes.

mod config;
mod plan;

pub use config::Config;

use attach::chain::{self, Chained};
use attach::keys::run_dir_of;
use attach::{Foreign, Kernel, Link, Maker, Teardown, failed};
use cni::{Attachment, CniResult, Error, Plugin, Request, Result};

/// The plugin.
pub struct Vrf;

const MAKER: Maker = Maker::Chained(Config::NAME);

impl Plugin for Vrf {
    const TAKES_ARGS: bool = false;

    fn add(&self, request: &Request) -> Result<CniResult> {
        let config = Config::read(request)?;
        chain::needs_result(request, Config::NAME)?;
        chain::add(request, &config)
    }

    /// Without a record by the configuration's name, as the reference.
    fn del(&self, request: &Request) -> Result<()> {
        let named = Config::read(request).ok().map(|config| Named { vrf: config.name });
        let foreign = named.as_ref().map(|named| named as &dyn Foreign);
        attach::del(request, &Teardown { foreign, ..teardown(request) })
    }

    fn check(&self, request: &Request) -> Result<()> {
        let config = Config::read(request)?;
        chain::needs_result(request, Config::NAME)?;
        chain::check(request, &config)
    }

    /// The pods' namespaces are not known to GC: what they hold ends with them.
    fn gc(&self, request: &Request) -> Result<()> {
        attach::gc(request, &teardown(request))
    }

    fn status(&self, request: &Request) -> Result<()> {
        Config::read(request).map(drop)
    }
}

fn teardown(request: &Request) -> Teardown<'static> {
    Teardown { maker: MAKER, run_dir: run_dir_of(request), foreign: None }
}

/// A VRF device of a name, where no record says what ADD made.
struct Named {
    vrf: String,
}

impl Foreign for Named {
    fn silence(&self, _: &Request, _: &mut Kernel, _: &Attachment) -> Result<Option<Link>> {
        Ok(None)
    }

    fn remove_rules(&self, kernel: &mut Kernel, attachment: &Attachment) -> Result<()> {
        kernel.leave_vrf(&attachment.ifname, &self.vrf).map_err(|error| failed(&error))
    }

    fn gc(&self, _: &Request, _: &mut Kernel, _: &mut Vec<Attachment>) -> Vec<Error> {
        Vec::new()
    }
}
