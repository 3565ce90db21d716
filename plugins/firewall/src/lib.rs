//! The firewall plugin: behind a plugin that attaches pods, it lets their forwarded packets pass where
//! the node drops what it does not accept, and keeps bridges apart on request.
//!
//! Configuration ([`Config`]) → plan, as an [`attach::chain::Chained`] → [`attach`], which applies,
//! checks and removes.

mod config;
mod plan;

pub use config::Config;

use attach::chain::{self, Chained};
use attach::{Kernel, Maker, Teardown, failed, keys, record};
use cni::{CniResult, Plugin, Request, Result};
use std::path::Path;

/// The plugin.
pub struct Firewall;

impl Plugin for Firewall {
    fn add(&self, request: &Request) -> Result<CniResult> {
        let config = Config::read(request)?;
        chain::needs_result(request, Config::NAME)?;
        chain::add(request, &config)
    }

    fn del(&self, request: &Request) -> Result<()> {
        let recorded = is_recorded(request);
        let removed = attach::del(request, &teardown(request));
        let theirs = if recorded { Ok(()) } else { remove_references(request) };
        removed.and(theirs)
    }

    fn check(&self, request: &Request) -> Result<()> {
        let config = Config::read(request)?;
        chain::needs_result(request, Config::NAME)?;
        chain::check(request, &config)
    }

    fn gc(&self, request: &Request) -> Result<()> {
        attach::gc(request, &teardown(request))
    }

    fn status(&self, request: &Request) -> Result<()> {
        Config::read(request)?;
        let mut kernel = Kernel::open(None).map_err(|error| failed(&error))?;
        let probed = kernel.nft().and_then(|nft| Ok(nft.probe()?));
        probed.map_err(|error| cni::Error { code: cni::code::NOT_AVAILABLE, ..failed(&error) })
    }
}

/// DEL and GC go by records and marks: the configuration may have become invalid since ADD.
fn teardown(request: &Request) -> Teardown<'static> {
    let maker = Maker::Chained(Config::NAME);
    Teardown { maker, run_dir: keys::run_dir_of(request), foreign: None }
}

fn is_recorded(request: &Request) -> bool {
    let run_dir = keys::run_dir_of(request);
    let records = record::Records::new(Path::new(&run_dir), Maker::Chained(Config::NAME));
    records.exists(&request.attachment())
}

/// Removes the rules that the reference made for the addresses of `prevResult`, before its executable
/// was replaced by ours. It finds them by nothing else either.
fn remove_references(request: &Request) -> Result<()> {
    let Some(result) = &request.conf.prev_result else { return Ok(()) };
    let mut kernel = Kernel::open(None).map_err(|error| failed(&error))?;
    for address in plan::addresses(result) {
        let removed = kernel.nft().and_then(|nft| Ok(nft.del_reference_forwarded(address)?));
        match removed {
            Err(attach::Error::Nft(error)) if error.is_unsupported() => {}
            removed => removed.map_err(|error| failed(&error))?,
        }
    }
    Ok(())
}
