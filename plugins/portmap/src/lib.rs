//! The portmap plugin: behind the plugin that attaches a pod, it leads ports of the node to the pod.
//!
//! Configuration ([`Config`]) → plan ([`plan`]), with the links that lead to the pod → [`attach::chain`],
//! which applies, checks and removes.

mod config;
mod foreign;
mod own_port;
pub mod plan;

pub use config::Config;

use attach::{Kernel, Maker, Teardown, chain, failed, keys};
use cni::{CniResult, Error, Plugin, Request, Result, code, log};
use foreign::Reference;
use plan::Plan;

/// The plugin.
pub struct Portmap;

impl Plugin for Portmap {
    fn add(&self, request: &Request) -> Result<CniResult> {
        let config = Config::read(request)?;
        let plan = with_links(request, config, "must be called as chained plugin")?;
        for wanted in plan.of_no_use() {
            log::warn(&format!(
                "hostPort {} leads nowhere: {} has no address of its family",
                wanted.host_port, request.env.ifname
            ));
        }
        chain::add(request, &plan)
    }

    fn del(&self, request: &Request) -> Result<()> {
        attach::del(request, &teardown(request))
    }

    fn check(&self, request: &Request) -> Result<()> {
        let config = Config::read(request)?;
        chain::check(request, &with_links(request, config, "Required prevResult missing")?)
    }

    fn gc(&self, request: &Request) -> Result<()> {
        attach::gc(request, &teardown(request))
    }

    fn status(&self, request: &Request) -> Result<()> {
        Config::read(request)?;
        let probed = Kernel::open(None).and_then(|mut kernel| Ok(kernel.nft()?.probe()?));
        probed.map_err(|error| {
            Error::new(code::NOT_AVAILABLE, "the node cannot map ports").details(error.cause())
        })
    }
}

/// The plan, which depends on the links that lead to the pod. `missing` is the error of a request
/// without a result of the plugins before.
fn with_links(request: &Request, config: Config, missing: &str) -> Result<Plan> {
    let result = request.conf.prev_result.as_ref().ok_or_else(|| {
        Error::config(missing)
            .details("portmap leads ports to an attachment: put it behind a main plugin")
    })?;
    let mut plan = Plan::new(config, request, result);
    if plan.needs_links() {
        let mut kernel = Kernel::open(None).map_err(|error| failed(&error))?;
        let mut links = Vec::new();
        for pod in &mut plan.pods {
            let link = kernel.link_to(pod.address).map_err(|error| failed(&error))?;
            pod.link = link.as_ref().map(|link| link.name.clone());
            links.extend(link.map(|link| (pod.address, link)));
        }
        own_port::warn(&mut kernel, result, &links).map_err(|error| failed(&error))?;
    }
    Ok(plan)
}

/// DEL and GC go by records and marks: the configuration may have become invalid since ADD.
fn teardown(request: &Request) -> Teardown<'static> {
    let maker = Maker::Chained(plan::NAME);
    Teardown { maker, run_dir: keys::run_dir_of(request), foreign: Some(&Reference) }
}
