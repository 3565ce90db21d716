//! The bridge plugin: a veth pair from a Linux bridge into the pod, addresses from an IPAM
//! plugin, and on request a gateway, masquerade, VLANs and a check of source MAC addresses.
//!
//! Configuration ([`Config`]) → plan ([`plan`]) → kernel. `ADD` claims the attachment first: the
//! lock of its record, and no veth of the name that derives from it. The IPAM plugin runs beside
//! the making of the link.
//!
//! Other plugins that give a pod a veth pair are networks of their own ([`Network`]); the rest they
//! share: records, IPAM, undoing, CHECK, and DEL and GC, which go by what was recorded.

mod config;
mod foreign;
mod network;
pub mod plan;

pub use config::Config;

use attach::{Maker, Teardown, keys};
use cni::{CniResult, Plugin, Request, Result};
use foreign::Reference;

/// The plugin.
pub struct Bridge;

impl Plugin for Bridge {
    fn add(&self, request: &Request) -> Result<CniResult> {
        attach::add(request, &Config::read(request)?)
    }

    fn del(&self, request: &Request) -> Result<()> {
        attach::del(request, &teardown(request, &Reference))
    }

    fn check(&self, request: &Request) -> Result<()> {
        attach::check(request, &Config::read(request)?)
    }

    fn gc(&self, request: &Request) -> Result<()> {
        attach::gc(request, &teardown(request, &Reference))
    }

    fn status(&self, request: &Request) -> Result<()> {
        attach::status(request, &Config::read(request)?)
    }
}

fn teardown<'a>(request: &Request, reference: &'a Reference) -> Teardown<'a> {
    Teardown { maker: Maker::Main, run_dir: keys::run_dir_of(request), foreign: Some(reference) }
}
