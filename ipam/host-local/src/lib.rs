//! The `host-local` IPAM plugin: leases addresses from ranges, kept in files on the node.
//!
//! ```text
//! config.rs     JSON → types that cannot be wrong
//! range.rs      ranges of addresses
//! allocator.rs  pure: which address next
//! pool.rs       ADD, DEL, CHECK, GC, STATUS over the leases
//! store.rs      the lease files, the lock, what survives a crash
//! disk.rs       its file operations
//! index.rs      which addresses an attachment has, without reading every lease
//! bits.rs       which addresses are free, without asking for each
//! ```
//! A library beside the executable, so that fuzz targets and tests reach the parsers.

pub mod allocator;
pub mod bits;
pub mod config;
mod disk;
pub mod host;
pub mod index;
pub mod lease;
pub mod pool;
pub mod range;
pub mod resolv;
pub mod store;

use cni::{CniResult, Error, Ip, Plugin, Request, Result, code, log};
use config::Config;
use host::Host;
use ipnetwork::IpNetwork;
use lease::Holder;
use pool::Exhausted;
use range::RangeSet;
use std::net::IpAddr;
use store::Store;

/// The plugin.
#[derive(Clone, Debug, Default)]
pub struct HostLocal {
    /// Where the host's identity is read.
    pub host: Host,
}

impl Plugin for HostLocal {
    const ENTERS_NETNS: bool = false;

    fn add(&self, request: &Request) -> Result<CniResult> {
        let config = Config::load(request)?;
        let plan = config.plan()?;
        config.warn();
        let dns = config.resolv_conf.as_deref().map(resolv::read).transpose()?;
        let mut store = Store::open(&config.data_dir, &request.conf.name, &self.host)?;
        let leased = store.lease(&holder(request), &plan)?;
        let ips =
            plan.iter().zip(leased).filter_map(|((set, _), address)| ip(set, address)).collect();
        Ok(CniResult {
            ips,
            routes: config.routes,
            dns: dns.unwrap_or_default(),
            ..CniResult::default()
        })
    }

    fn del(&self, request: &Request) -> Result<()> {
        match self.existing(request)? {
            Some(mut store) => store.release(&holder(request)),
            None => Ok(()),
        }
    }

    fn check(&self, request: &Request) -> Result<()> {
        let config = Config::load(request)?;
        let held = match self.existing(request)? {
            Some(mut store) => store.holds(&holder(request))?,
            None => Vec::new(),
        };
        check(request, &config, &held)
    }

    fn gc(&self, request: &Request) -> Result<()> {
        let Some(mut store) = self.existing(request)? else { return Ok(()) };
        store.collect(&|holder: &Holder| {
            request.conf.is_valid_attachment(&holder.container_id, &holder.ifname)
        })
    }

    fn status(&self, request: &Request) -> Result<()> {
        let config = Config::read(&request.conf)?;
        let full = match self.existing(request)? {
            Some(mut store) => store.exhausted(&config.sets)?,
            None => pool::exhausted_when_new(&config.sets),
        };
        if full.is_empty() {
            return Ok(());
        }
        let figures: Vec<String> = full.iter().map(Exhausted::to_string).collect();
        let error = Error::new(code::NOT_AVAILABLE, "no IP addresses available")
            .details(figures.join(", "))
            .also(full.first().map_or("", Exhausted::remedy));
        if config.ready_when_full {
            // A runtime calls the whole node not ready otherwise, pods that need no address included.
            log::warn(&format!("STATUS is ready all the same: {error}"));
            return Ok(());
        }
        Err(error.also("ipam.statusWhenFull \"ready\", the default, turns this off"))
    }
}

impl HostLocal {
    fn existing<'a>(&'a self, request: &'a Request) -> Result<Option<Store<'a>>> {
        let data_dir = config::data_dir(&request.conf)?;
        Store::existing(&data_dir, &request.conf.name, &self.host)
    }
}

fn holder(request: &Request) -> Holder {
    Holder::new(&request.env.container_id, &request.env.ifname)
}

fn ip(set: &RangeSet, address: IpAddr) -> Option<Ip> {
    let range = set.range_of(address)?;
    let prefix = range.subnet().prefix();
    let address = IpNetwork::new(address, prefix).ok()?;
    Some(Ip { interface: None, address, gateway: Some(range.gateway) })
}

/// The attachment's leases, and `prevResult` where that has addresses of our ranges, must agree.
fn check(request: &Request, config: &Config, held: &[IpAddr]) -> Result<()> {
    let id = &request.env.container_id;
    let failed = |details: String| {
        Error::new(
            code::CHECK_FAILED,
            format!("host-local: Failed to find address added by container {id}"),
        )
        .details(details)
    };
    let network = &request.conf.name;
    if held.is_empty() {
        let ifname = &request.env.ifname;
        return Err(failed(format!("no lease of network {network} names {id} {ifname}")));
    }
    let ours = |address: &IpAddr| config.sets.iter().any(|set| set.range_of(*address).is_some());
    let told = request.conf.prev_result.iter().flat_map(|result| &result.ips);
    let told: Vec<IpAddr> = told.map(|ip| ip.address.ip().to_canonical()).filter(ours).collect();
    if let Some(missing) = told.iter().find(|address| !held.contains(address)) {
        let held: Vec<String> = held.iter().map(ToString::to_string).collect();
        return Err(failed(format!(
            "prevResult has {missing}, which is not leased to it; leased: {}",
            held.join(", ")
        )));
    }
    match held.iter().filter(|address| ours(address)).find(|address| !told.contains(address)) {
        Some(extra) if !told.is_empty() => {
            Err(failed(format!("{extra} is leased to it, but not in prevResult")))
        }
        _ => Ok(()),
    }
}
