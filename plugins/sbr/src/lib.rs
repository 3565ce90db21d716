//! The sbr plugin (source based routing): what a pod sends from an address of this network goes by this
//! network's interface and gateway, whatever the pod's other networks are.
//!
//! Configuration ([`Config`]) and the pod's routing → plan, as an [`attach::chain::Chained`] → [`attach`],
//! which applies, checks and removes.

mod config;
pub mod plan;

pub use config::Config;
pub use plan::Sourced;

use attach::chain::{self, Chained};
use attach::keys::run_dir_of;
use attach::record::Records;
use attach::{Foreign, Kernel, Link, Maker, Owned, Routing, SourceRouting, Teardown, failed};
use cni::{Attachment, CniResult, Error, Plugin, Request, Result, code, lock};
use std::fs::File;

/// The plugin.
pub struct Sbr;

const MAKER: Maker = Maker::Chained(Sourced::NAME);

impl Plugin for Sbr {
    const TAKES_ARGS: bool = false;

    fn add(&self, request: &Request) -> Result<CniResult> {
        let config = Config::read(request)?;
        let ips = plan::addresses(&request.env.ifname, previous(request)?)?;
        // Two networks of a pod must not choose one table.
        let _lock = lock_pod(request)?;
        if records(&config).exists(&request.attachment()) {
            // The routes that an earlier call moved are in the main table again.
            attach::del(request, &teardown(request, None))?;
        }
        let mut kernel = open(request)?;
        let mut found = kernel.routing(&request.env.ifname).map_err(|error| failed(&error))?;
        if let Some(earlier) = plan::unrecorded(&config, &request.env.ifname, &ips, &found) {
            let owned = Owned::SourceRouting { routing: earlier };
            let released =
                kernel.release(&owned, "").and_then(|_| kernel.routing(&request.env.ifname));
            found = released.map_err(|error| failed(&error))?;
        }
        let routing = plan::routing(&config, &request.env.ifname, &ips, &found);
        chain::add_with(request, &Sourced { config, routing }, || Ok(kernel))
    }

    fn del(&self, request: &Request) -> Result<()> {
        attach::del(request, &teardown(request, Some(&Unrecorded { request })))
    }

    fn check(&self, request: &Request) -> Result<()> {
        let config = Config::read(request)?;
        let ips = plan::addresses(&request.env.ifname, previous(request)?)?;
        let mut kernel = open(request)?;
        let routing = match recorded(request, &config) {
            Some(routing) => routing,
            None => {
                let found = kernel.routing(&request.env.ifname).map_err(|error| failed(&error))?;
                as_found(&config, request, &ips, &found)
            }
        };
        let without: Vec<_> = ips
            .iter()
            .map(|ip| ip.address.ip())
            .filter(|ip| !routing.rules.iter().any(|(source, _)| source == ip))
            .map(|ip| format!("no rule leads packets from {ip} to a table"))
            .collect();
        if !without.is_empty() {
            let msg = format!(
                "{} of {} is not as it was made",
                request.env.ifname, request.env.container_id
            );
            return Err(Error::new(code::CHECK_FAILED, msg).details(without.join("; ")));
        }
        chain::check_with(request, &Sourced { config, routing }, || Ok(kernel))
    }

    /// The pods' namespaces are not known to GC: what they hold ends with them.
    fn gc(&self, request: &Request) -> Result<()> {
        attach::gc(request, &teardown(request, None))
    }

    fn status(&self, request: &Request) -> Result<()> {
        Config::read(request).map(drop)
    }
}

fn previous(request: &Request) -> Result<&CniResult> {
    request.conf.prev_result.as_ref().ok_or_else(|| {
        Error::config("This plugin must be called as chained plugin").details(
            "Required prevResult missing: put sbr behind a main plugin, such as bridge, in a conflist",
        )
    })
}

fn open(request: &Request) -> Result<Kernel> {
    Kernel::open(request.env.netns.as_deref()).map_err(|error| failed(&error))
}

/// The lock of the pod's namespace, which the reference's sbr takes too.
fn lock_pod(request: &Request) -> Result<Option<File>> {
    let Some(path) = request.env.netns.as_deref() else { return Ok(None) };
    let locked = File::open(path).and_then(|file| lock::exclusive(&file).map(|()| file));
    locked.map(Some).map_err(|error| {
        Error::io(format!("cannot lock the network namespace {}", path.display()), &error)
    })
}

fn records(config: &Config) -> Records {
    Records::new(&config.run_dir, MAKER)
}

/// What ADD made, by the attachment's record.
fn recorded(request: &Request, config: &Config) -> Option<SourceRouting> {
    let record = records(config).peek(&request.attachment().hash())?;
    for owned in record.owned {
        if let Owned::SourceRouting { routing } = owned {
            return Some(routing);
        }
    }
    None
}

/// What the reference made, or ours without a record: by the tables that rules name.
fn as_found(
    config: &Config,
    request: &Request,
    ips: &[&cni::Ip],
    found: &Routing,
) -> SourceRouting {
    let mut routing = SourceRouting { link: request.env.ifname.clone(), ..Default::default() };
    for ip in ips {
        let of_ip = |rule: &&(std::net::IpAddr, u32)| {
            rule.0 == ip.address.ip() && config.table.is_none_or(|table| table == rule.1)
        };
        routing.rules.extend(found.rules.iter().find(of_ip));
    }
    routing
}

fn teardown<'a>(request: &Request, foreign: Option<&'a dyn Foreign>) -> Teardown<'a> {
    Teardown { maker: MAKER, run_dir: run_dir_of(request), foreign }
}

/// Rules without a record: the reference's, or ours whose record is lost.
struct Unrecorded<'a> {
    request: &'a Request,
}

impl Foreign for Unrecorded<'_> {
    fn silence(&self, _: &Request, _: &mut Kernel, _: &Attachment) -> Result<Option<Link>> {
        Ok(None)
    }

    fn remove_rules(&self, kernel: &mut Kernel, attachment: &Attachment) -> Result<()> {
        let table = config::table_of(self.request);
        let removed = kernel.remove_rules_of(&attachment.ifname, table);
        removed.map_err(|error| failed(&error))
    }

    fn gc(&self, _: &Request, _: &mut Kernel, _: &mut Vec<Attachment>) -> Vec<Error> {
        Vec::new()
    }
}
