//! The bridge plugin: a veth pair from a Linux bridge into the pod, addresses from an IPAM
//! plugin, and on request a gateway, masquerade, VLANs and a check of source MAC addresses.
//!
//! Configuration ([`Config`]) → plan ([`plan`]) → kernel. `ADD` claims the attachment first: the
//! lock of its record, and no veth of the name that derives from it. The IPAM plugin runs beside
//! the making of the link.
//!
//! Other plugins that give a pod a veth pair are networks of their own ([`Network`]); the rest they
//! share: records, IPAM, undoing, CHECK, and DEL and GC, which go by what was recorded.

mod add;
mod check;
mod config;
mod del;
mod foreign;
pub mod forwarding;
mod gc;
mod network;
pub mod plan;
pub mod ranges;
pub mod routes;

pub use add::add;
pub use check::{check, status};
pub use config::Config;
pub use network::Network;

use cni::{CniResult, Error, Plugin, Request, Result, code};

/// The plugin.
pub struct Bridge;

impl Plugin for Bridge {
    fn add(&self, request: &Request) -> Result<CniResult> {
        add(request, &Config::read(request)?)
    }

    fn del(&self, request: &Request) -> Result<()> {
        del::del(request)
    }

    fn check(&self, request: &Request) -> Result<()> {
        check(request, &Config::read(request)?)
    }

    fn gc(&self, request: &Request) -> Result<()> {
        gc::gc(request)
    }

    fn status(&self, request: &Request) -> Result<()> {
        status(request, &Config::read(request)?)
    }
}

/// The name under which records of attachments are kept.
const PLUGIN: &str = "bridge";

/// A failed plan as the runtime shall see it.
pub fn failed(error: &::plan::Error) -> Error {
    let code = match error {
        ::plan::Error::Conflict(_) => code::EXISTS,
        ::plan::Error::Unsupported(_) => code::UNSUPPORTED_FIELD,
        ::plan::Error::Net(_) | ::plan::Error::Nft(_) => code::KERNEL,
    };
    Error::new(code, error.summary()).details(error.cause())
}
