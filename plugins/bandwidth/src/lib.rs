//! The bandwidth plugin: limits of what a pod receives and sends, on the host's end of its veth pair.
//!
//! Configuration ([`Config`]) and the host's end, found in the kernel → plan, as an
//! [`attach::chain::Chained`] → [`attach`], which applies, checks and removes.

mod config;
mod host;
mod plan;
mod unrecorded;

pub use config::{Config, Limit};
pub use plan::{Limited, ifb_names};

use attach::chain::{self, Chained};
use attach::keys::run_dir_of;
use attach::record::Records;
use attach::{Kernel, Maker, Teardown, failed};
use cni::{CniResult, Error, Plugin, Request, Result, code};
use unrecorded::Unrecorded;

/// The plugin.
pub struct Bandwidth;

const MAKER: Maker = Maker::Chained(Limited::NAME);

impl Plugin for Bandwidth {
    const TAKES_ARGS: bool = false;

    fn add(&self, request: &Request) -> Result<CniResult> {
        let config = Config::read(request)?;
        let previous = previous(request)?;
        if config.is_unlimited() {
            if !is_recorded(request, &config) {
                return Ok(previous.clone());
            }
            // An earlier call had limits.
            let none = String::new();
            let limited = Limited { config, host: none.clone(), mtu: 0, ifb: none, ours: true };
            return chain::add(request, &limited);
        }
        let mut kernel = open(request)?;
        let host = host::end(request, &mut kernel, previous)?;
        host::warn_of_small_bursts(&config, &host);
        let ifb = host::ifb(&request.attachment(), &mut kernel, &host)?;
        let limited = Limited { config, host: host.name, mtu: host.mtu, ifb, ours: true };
        chain::add_with(request, &limited, || Ok(kernel))
    }

    fn del(&self, request: &Request) -> Result<()> {
        let unrecorded = Unrecorded::of(request);
        attach::del(request, &Teardown { foreign: Some(&unrecorded), ..teardown(request) })
    }

    fn check(&self, request: &Request) -> Result<()> {
        let config = Config::read(request)?;
        let previous = previous(request)?;
        if config.is_unlimited() {
            return Ok(());
        }
        let mut kernel = open(request)?;
        let host = host::end(request, &mut kernel, previous)
            .map_err(|error| Error { code: code::CHECK_FAILED, ..error })?;
        let ours = is_recorded(request, &config);
        let ifb = host::ifb(&request.attachment(), &mut kernel, &host)?;
        let limited = Limited { config, host: host.name, mtu: host.mtu, ifb, ours };
        chain::check_with(request, &limited, || Ok(kernel))
    }

    fn gc(&self, request: &Request) -> Result<()> {
        attach::gc(request, &teardown(request))
    }

    fn status(&self, request: &Request) -> Result<()> {
        Config::read(request).map(drop)
    }
}

fn previous(request: &Request) -> Result<&CniResult> {
    request.conf.prev_result.as_ref().ok_or_else(|| {
        Error::config("must be called as chained plugin").details(
            "Required prevResult missing: put bandwidth behind a main plugin, such as bridge, in a \
             conflist",
        )
    })
}

fn open(request: &Request) -> Result<Kernel> {
    Kernel::open(request.env.netns.as_deref()).map_err(|error| failed(&error))
}

fn is_recorded(request: &Request, config: &Config) -> bool {
    Records::new(&config.run_dir, MAKER).exists(&request.attachment())
}

fn teardown(request: &Request) -> Teardown<'static> {
    Teardown { maker: MAKER, run_dir: run_dir_of(request), foreign: None }
}
