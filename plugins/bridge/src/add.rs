//! ADD.

use crate::config::Config;
use crate::plan::{self, Names};
use crate::{PLUGIN, del, failed};
use ::plan::{Item, Kernel, Link, Place};
use cni::record::{Claim, Record, Records};
use cni::{CniResult, Command, Error, Interface, Request, Result, Running, code, log};

/// Index of the pod's interface in a result: bridge, host end, pod end.
const POD_INTERFACE: usize = 2;

pub(crate) fn add(request: &Request) -> Result<CniResult> {
    let config = Config::read(request)?;
    let attachment = request.attachment();
    let names = Names::of(&attachment, &config);
    let mut kernel = Kernel::open(request.env.netns.as_deref()).map_err(|e| failed(&e))?;
    let mut claim = Records::new(&config.run_dir, PLUGIN).claim(&attachment)?;
    if let Err(error) = refuse_live(&mut kernel, &names, claim.record.is_some()) {
        if claim.record.is_none() {
            claim.remove();
        }
        return Err(error);
    }
    if claim.record.is_some() {
        // A killed ADD, or a reboot of the pod without DEL: its lease would be in our way.
        log::info("an unfinished ADD of this attachment is cleaned up first");
        del::release(request, &mut kernel, &attachment, claim.record.as_ref())?;
    }
    let mut work = Work { request, config, names, kernel, done: Vec::new(), ipam: Ipam::Unasked };
    match work.attach(&mut claim) {
        Ok(result) => Ok(result),
        Err(error) => Err(work.undo(claim, error)),
    }
}

/// The attachment lives if its host veth exists: the call that made it owns the lease.
fn refuse_live(kernel: &mut Kernel, names: &Names, recorded: bool) -> Result<()> {
    let Some(link) = kernel.link(Place::Host, &names.host).map_err(|e| failed(&e))? else {
        return Ok(());
    };
    let whose = if recorded { "this attachment" } else { "an attachment without record" };
    Err(Error::new(
        code::EXISTS,
        format!(
            "container veth name ({:?}) peer provided ({:?}) already exists",
            names.pod, names.host
        ),
    )
    .details(format!(
        "{whose} is alive (alias {:?}); nothing was changed; DEL removes it",
        link.alias
    )))
}

/// An ADD under way.
struct Work<'a> {
    request: &'a Request,
    config: Config,
    names: Names,
    kernel: Kernel,
    done: Vec<Item>,
    ipam: Ipam,
}

/// How far the IPAM plugin is.
enum Ipam {
    Unasked,
    Running(Running),
    Asked,
}

impl Work<'_> {
    fn attach(&mut self, claim: &mut Claim) -> Result<CniResult> {
        let mut record = Record {
            network: self.names.network.clone(),
            container_id: self.request.env.container_id.clone(),
            ifname: self.names.pod.clone(),
            host_veth: self.names.host.clone(),
            addresses: Vec::new(),
            macspoof: self.names.pod_mac.filter(|_| self.config.macspoof).map(|m| m.to_string()),
        };
        claim.write(&record)?;
        self.apply(&plan::claim(&self.config, &self.names))?;
        self.ask_ipam()?;
        self.apply(&plan::link(&self.config, &self.names))?;
        let mut result = CniResult::default();
        if let Some(from_ipam) = self.ipam_result()? {
            result = plan::complete(&self.config, from_ipam, POD_INTERFACE)?;
            if self.config.masquerade {
                record.addresses = result.ips.iter().map(|ip| ip.address.ip()).collect();
                claim.write(&record)?;
            }
            self.apply(&plan::layer3(&self.config, &self.names, &result))?;
        }
        let links = self.settle(&result)?;
        result.interfaces = links;
        if !self.request.conf.dns.is_empty() {
            result.dns = self.request.conf.dns.clone();
        }
        Ok(result)
    }

    fn apply(&mut self, items: &[Item]) -> Result<()> {
        self.kernel.apply(items, &mut self.done).map_err(|error| failed(&error))
    }

    fn ask_ipam(&mut self) -> Result<()> {
        if let Some(ipam) = &self.request.conf.ipam {
            let running = self.request.delegate(ipam, Command::Add, &self.request.stdin)?;
            self.ipam = Ipam::Running(running);
        }
        Ok(())
    }

    fn ipam_result(&mut self) -> Result<Option<CniResult>> {
        match std::mem::replace(&mut self.ipam, Ipam::Asked) {
            Ipam::Running(running) => running.result().map(Some),
            other => {
                self.ipam = other;
                Ok(None)
            }
        }
    }

    /// Waits until the first packet would pass, announces the addresses, and reads what the
    /// kernel made.
    fn settle(&mut self, result: &CniResult) -> Result<Vec<Interface>> {
        let names = &self.names;
        let kernel = &mut self.kernel;
        let mut settled = || -> ::plan::Result<Vec<Interface>> {
            if self.config.pod_up {
                kernel.wait_running(&names.host, &names.pod)?;
            }
            if self.config.dad && result.ips.iter().any(|ip| ip.address.is_ipv6()) {
                kernel.wait_for_dad(&names.pod)?;
            }
            let addresses = || result.ips.iter().map(|ip| ip.address.ip());
            kernel.wait_reachable(Place::Pod, &names.pod, addresses())?;
            if self.config.gateway && self.config.vlan.is_none() {
                let gateways = result.ips.iter().filter_map(|ip| ip.gateway);
                kernel.wait_reachable(Place::Host, &self.config.bridge, gateways)?;
            }
            let pod = kernel.known_link(Place::Pod, &names.pod)?;
            if !result.ips.is_empty() {
                kernel.announce(&pod)?;
            }
            let sandbox = self.request.env.netns.as_deref();
            let sandbox = sandbox.map(|path| path.display().to_string()).unwrap_or_default();
            Ok(vec![
                interface(&kernel.known_link(Place::Host, &self.config.bridge)?, String::new()),
                interface(&kernel.known_link(Place::Host, &names.host)?, String::new()),
                interface(&pod, sandbox),
            ])
        };
        settled().map_err(|error| failed(&error))
    }

    /// Removes what this call made. A record stays only where something could not be removed.
    fn undo(mut self, claim: Claim, error: Error) -> Error {
        let mut problems: Vec<Error> = self.kernel.remove(&self.done).iter().map(failed).collect();
        if let Ipam::Running(running) = std::mem::replace(&mut self.ipam, Ipam::Asked) {
            // It must not lease anything after we freed it.
            let _ = running.done();
        } else if matches!(self.ipam, Ipam::Unasked) {
            return finish(claim, error, problems);
        }
        problems.extend(del::ipam(self.request).err());
        finish(claim, error, problems)
    }
}

fn finish(claim: Claim, error: Error, problems: Vec<Error>) -> Error {
    if problems.is_empty() {
        claim.remove();
        return error;
    }
    problems.into_iter().fold(error, |error, problem| {
        error.also(format!("and undoing it failed: {problem}; DEL will try again"))
    })
}

fn interface(link: &Link, sandbox: String) -> Interface {
    Interface {
        name: link.name.clone(),
        mac: link.mac.to_string(),
        mtu: Some(link.mtu),
        sandbox,
        ..Interface::default()
    }
}
