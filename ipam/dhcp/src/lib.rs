//! The `dhcp` IPAM plugin: leases addresses from DHCP servers by the pod's link. The plugin asks a
//! daemon, the same executable, which speaks to the servers and renews the leases.
//!
//! ```text
//! config.rs     JSON and CNI_ARGS → options that can be sent
//! rpc.rs        the plugin's questions and the daemon's answers
//! message.rs    DHCP messages as bytes
//! frame.rs      Ethernet frames around them
//! usable.rs     what of a lease a pod can use
//! lease.rs      a server's ACK → lease → result
//! timing.rs     pure: when a message is sent again, when a lease is renewed
//! daemon/       the process that keeps the leases
//! ```

pub mod config;
pub mod daemon;
pub mod frame;
pub mod lease;
pub mod message;
pub mod rpc;
pub mod timing;
pub mod usable;

use cni::{CniResult, Error, Plugin, Request, Result, code, log};
use config::Config;
use lease::Lease;
use rpc::{Ask, Key, SOON, Told};
use std::process::ExitCode;

/// The plugin.
#[derive(Clone, Copy, Debug, Default)]
pub struct Dhcp;

impl Plugin for Dhcp {
    fn add(&self, request: &Request) -> Result<CniResult> {
        let config = Config::load(request)?;
        let netns = request.env.netns.as_deref().unwrap_or_else(|| std::path::Path::new(""));
        let netns = std::path::absolute(netns)
            .map_err(|error| Error::io("cannot make CNI_NETNS absolute", &error))?;
        let ask = Ask::Add {
            of: key(request),
            netns: netns.to_string_lossy().into_owned(),
            options: config.options,
        };
        Ok(leased(rpc::ask(&config.socket, &ask, None)?)?.result(config.priority))
    }

    fn del(&self, request: &Request) -> Result<()> {
        let (socket, state) = Config::places(request);
        match rpc::ask(&socket, &Ask::Del { of: key(request) }, Some(SOON)) {
            Err(error) if error.code == code::TRY_AGAIN => {
                daemon::release_without(&state, &key(request), error)
            }
            told => told.map(drop),
        }
    }

    fn check(&self, request: &Request) -> Result<()> {
        let config = Config::load(request)?;
        let told = rpc::ask(&config.socket, &Ask::Check { of: key(request) }, Some(SOON))?;
        compare(request, &leased(told)?)
    }

    fn gc(&self, request: &Request) -> Result<()> {
        let (socket, _) = Config::places(request);
        let valid = request.conf.valid_attachments.as_deref().unwrap_or_default();
        let ask = Ask::Gc { network: request.conf.name.clone(), valid: rpc::valid(valid) };
        rpc::ask(&socket, &ask, Some(SOON)).map(drop)
    }

    fn status(&self, request: &Request) -> Result<()> {
        let config = Config::load(request)?;
        let ask = Ask::Status { network: request.conf.name.clone() };
        match rpc::ask(&config.socket, &ask, Some(SOON)) {
            Ok(Told::Status(problems)) => {
                // A runtime calls the whole node not ready otherwise, for one pod.
                problems.iter().for_each(|problem| log::warn(problem));
                Ok(())
            }
            Ok(_) => Err(unexpected()),
            Err(error) => Err(unready(&config, error)),
        }
    }
}

/// Runs the daemon, or shows what it does; `None` where a runtime calls the plugin.
pub fn command_line(mut arguments: impl Iterator<Item = String>) -> Option<ExitCode> {
    match arguments.next()?.as_str() {
        "daemon" => Some(daemon::run(arguments)),
        "status" => Some(daemon::report::show(arguments)),
        _ => None,
    }
}

fn key(request: &Request) -> Key {
    Key {
        network: request.conf.name.clone(),
        container_id: request.env.container_id.clone(),
        ifname: request.env.ifname.clone(),
    }
}

fn leased(told: Told) -> Result<Lease> {
    match told {
        Told::Lease(lease) => Ok(lease),
        _ => Err(unexpected()),
    }
}

fn unexpected() -> Error {
    Error::new(code::TRY_AGAIN, "the DHCP daemon answers what was not asked")
        .details("plugin and daemon are of different versions: restart the daemon")
}

/// Without a daemon no ADD can be served, and leases that exist are not renewed.
fn unready(config: &Config, error: Error) -> Error {
    let kept = daemon::store::Store::new(&config.state).keys();
    if kept.is_empty() {
        return Error { code: code::NOT_AVAILABLE, ..error };
    }
    let leases = kept.len();
    Error { code: code::LIMITED_CONNECTIVITY, ..error }
        .also(format!("no process renews the {leases} leases of this node"))
}

/// The lease and `prevResult` must have the same address.
fn compare(request: &Request, lease: &Lease) -> Result<()> {
    let prev = request.conf.prev_result.as_ref().ok_or_else(|| {
        Error::config("Required prevResult missing")
            .details("the runtime must pass the result of ADD to CHECK")
    })?;
    let has = prev.ips.iter().any(|ip| ip.address.ip().to_canonical() == lease.address);
    if has {
        return Ok(());
    }
    let msg = format!("dhcp: the leased address {} is not in prevResult", lease.address);
    Err(Error::new(code::CHECK_FAILED, msg).details("restart the pod: it uses another address"))
}
