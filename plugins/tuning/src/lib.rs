//! The tuning plugin: behind a plugin that attached a pod, it sets sysctls of the pod's network
//! namespace and values of its interface; DEL restores those of before.
//!
//! Configuration ([`Config`]) → plan ([`plan`]) → kernel. The record of the attachment holds each
//! value and the one of before; a file as the reference's ([`attach::backup`]) holds the link's too.

mod allowlist;
mod config;
pub mod plan;
mod sysctl;

pub use config::Config;

use attach::backup::Backup;
use attach::chain::{self, Chained};
use attach::record::Records;
use attach::{Foreign, Item, Kernel, Link, Maker, Teardown, keys};
use cni::{Attachment, CniResult, Error, Plugin, Request, Result};
use std::path::Path;

const NAME: &str = "tuning";
const MAKER: Maker = Maker::Chained(NAME);

impl Chained for Config {
    const NAME: &'static str = NAME;

    fn run_dir(&self) -> &Path {
        &self.run_dir
    }

    fn plan(&self, request: &Request, result: &CniResult, _comment: &str) -> Result<Vec<Item>> {
        plan::items(self, &request.env.ifname, result)
    }

    fn result(&self, request: &Request, result: &CniResult) -> CniResult {
        plan::result(self, &request.env.ifname, result)
    }

    fn backup(&self, request: &Request) -> Option<Backup> {
        Some(Backup::new(&self.data_dir, &request.attachment()))
    }
}

/// The plugin.
pub struct Tuning;

impl Plugin for Tuning {
    fn add(&self, request: &Request) -> Result<CniResult> {
        let config = Config::read(request)?;
        allowlist::check(&config.sysctls)?;
        chain::add(request, &config)
    }

    fn del(&self, request: &Request) -> Result<()> {
        let backup = Backup::new(&config::data_dir_of(request), &request.attachment());
        let reference = Reference(&backup);
        attach::del(request, &teardown(request, Some(&reference)))?;
        backup.remove()
    }

    fn check(&self, request: &Request) -> Result<()> {
        chain::check(request, &Config::read(request)?)
    }

    /// The pods' namespaces are not known to GC: what they hold ends with them.
    fn gc(&self, request: &Request) -> Result<()> {
        let run_dir = keys::run_dir_of(request);
        let stale = stale(request, &run_dir)?;
        attach::gc(request, &teardown(request, None))?;
        let records = Records::new(&run_dir, MAKER);
        let mut gone = stale.iter().filter(|attachment| !records.exists(attachment));
        let dir = config::data_dir_of(request);
        gone.try_for_each(|attachment| Backup::new(&dir, attachment).remove())
    }

    fn status(&self, request: &Request) -> Result<()> {
        let config = Config::read(request)?;
        allowlist::check(&config.sysctls)
    }
}

fn teardown<'a>(request: &Request, foreign: Option<&'a dyn Foreign>) -> Teardown<'a> {
    Teardown { maker: MAKER, run_dir: keys::run_dir_of(request), foreign }
}

/// The recorded attachments of the network that GC's list does not hold.
fn stale(request: &Request, run_dir: &Path) -> Result<Vec<Attachment>> {
    let records = Records::new(run_dir, MAKER);
    let conf = &request.conf;
    let recorded = records.hashes()?.into_iter().filter_map(|hash| records.peek(&hash));
    let attachments = recorded.map(|record| record.attachment());
    Ok(attachments
        .filter(|of| {
            of.network == conf.name && !conf.is_valid_attachment(&of.container_id, &of.ifname)
        })
        .collect())
}

/// Attachments that the reference's tuning plugin changed, before its executable was replaced.
struct Reference<'a>(&'a Backup);

impl Foreign for Reference<'_> {
    fn silence(&self, _: &Request, _: &mut Kernel, _: &Attachment) -> Result<Option<Link>> {
        Ok(None)
    }

    fn remove_rules(&self, kernel: &mut Kernel, _: &Attachment) -> Result<()> {
        self.0.restore(kernel)
    }

    fn needs_record(&self) -> bool {
        true
    }

    fn gc(&self, _: &Request, _: &mut Kernel, _: &mut Vec<Attachment>) -> Vec<Error> {
        Vec::new()
    }
}
