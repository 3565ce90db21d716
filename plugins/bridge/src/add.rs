//! ADD.

use crate::config::Config;
use crate::plan::{self, Names};
use crate::{PLUGIN, del, failed};
use ::plan::{Item, Kernel, Link, Place};
use cni::record::{Claim, Record, Records};
use cni::{CniResult, Command, Delegate, Error, Interface, Request, Result, Running, code, log};

/// Index of the pod's interface in a result: bridge, host end, pod end.
const POD_INTERFACE: usize = 2;

pub(crate) fn add(request: &Request) -> Result<CniResult> {
    let config = Config::read(request)?;
    let attachment = request.attachment();
    let names = Names::of(&attachment, &config);
    let ipam = request.conf.ipam.as_ref().map(|ipam| request.delegate(ipam)).transpose()?;
    let mut kernel = Kernel::open(request.env.netns.as_deref()).map_err(|e| failed(&e))?;
    let mut claim = Records::new(&config.run_dir, PLUGIN).claim(&attachment)?;
    let live = live_link(&mut kernel, &names)?;
    let unfinished = claim.record.as_ref().is_some_and(|record| !record.complete);
    match (&live, &claim.record) {
        (Some(link), record) if !unfinished => {
            let error = refusal(&names, link);
            // A torn record tells of nothing.
            let removed = if record.is_none() { claim.remove() } else { Ok(()) };
            return Err(removed.err().into_iter().fold(error, |e, also| e.also(also.to_string())));
        }
        // A killed ADD, or a pod that went without DEL: its lease would be in our way.
        (_, Some(record)) => {
            log::info("what an earlier ADD of this attachment left is removed first");
            del::release(request, &mut kernel, &attachment, Some(record))?;
        }
        (_, None) => {}
    }
    let done = Vec::new();
    let mut work = Work { request, config, names, kernel, done, ipam, asked: Asked::No };
    match work.attach(&mut claim) {
        Ok(result) => Ok(result),
        Err(error) => Err(work.undo(claim, error)),
    }
}

fn live_link(kernel: &mut Kernel, names: &Names) -> Result<Option<Link>> {
    kernel.link(Place::Host, &names.host).map_err(|error| failed(&error))
}

fn exists(names: &Names) -> Error {
    let (pod, host) = (&names.pod, &names.host);
    let msg = format!("container veth name ({pod:?}) peer provided ({host:?}) already exists");
    Error::new(code::EXISTS, msg)
}

/// The attachment lives if its host veth exists: the call that made it owns the lease.
fn refusal(names: &Names, link: &Link) -> Error {
    exists(names).details(format!(
        "this attachment is alive (alias {:?}); nothing was changed; DEL removes it",
        link.alias
    ))
}

/// An ADD under way.
struct Work<'a> {
    request: &'a Request,
    config: Config,
    names: Names,
    kernel: Kernel,
    done: Vec<Item>,
    ipam: Option<Delegate>,
    asked: Asked,
}

/// Whether IPAM was asked for a lease.
enum Asked {
    No,
    Running(Running),
    Answered,
}

impl Work<'_> {
    fn attach(&mut self, claim: &mut Claim) -> Result<CniResult> {
        let mut record = Record {
            network: self.names.network.clone(),
            container_id: self.request.env.container_id.clone(),
            ifname: self.names.pod.clone(),
            host_veth: self.names.host.clone(),
            addresses: Vec::new(),
            ipam: self.request.conf.ipam.clone(),
            complete: false,
            macspoof: self.names.pod_mac.filter(|_| self.config.macspoof).map(|m| m.to_string()),
        };
        claim.write(&record)?;
        self.look_into_pod()?;
        self.apply(&plan::bridge(&self.config))?;
        // The lock is ours and no veth of the attachment lives: a lease from now on is ours to
        // undo. So IPAM works beside the making of the link.
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
        record.complete = true;
        claim.write(&record)?;
        Ok(result)
    }

    /// An interface of our name in the pod is found before IPAM is asked for anything.
    fn look_into_pod(&mut self) -> Result<()> {
        let taken = self.kernel.link(Place::Pod, &self.names.pod);
        match taken.map_err(|error| failed(&error))? {
            None => Ok(()),
            Some(link) => Err(exists(&self.names).details(format!(
                "the pod has an interface {:?} already, with the MAC address {}",
                link.name, link.mac
            ))),
        }
    }

    fn apply(&mut self, items: &[Item]) -> Result<()> {
        self.kernel.apply(items, &mut self.done).map_err(|error| failed(&error))
    }

    fn ask_ipam(&mut self) -> Result<()> {
        if let Some(ipam) = &self.ipam {
            self.asked = Asked::Running(ipam.start(Command::Add, &self.request.stdin)?);
        }
        Ok(())
    }

    fn ipam_result(&mut self) -> Result<Option<CniResult>> {
        if self.ipam.is_none() {
            return Ok(None);
        }
        match std::mem::replace(&mut self.asked, Asked::Answered) {
            Asked::Running(running) => running.result().map(Some),
            Asked::No | Asked::Answered => Ok(None),
        }
    }

    /// Waits until the first packet would pass, announces the addresses, and reads what the
    /// kernel made.
    fn settle(&mut self, result: &CniResult) -> Result<Vec<Interface>> {
        let settled = settle(&mut self.kernel, &self.config, &self.names, result);
        let links = settled.map_err(|error| failed(&error))?;
        let sandbox = self.request.env.netns.as_deref().map(|path| path.display().to_string());
        let mut interfaces: Vec<_> = links.iter().map(interface).collect();
        if let Some(pod) = interfaces.get_mut(POD_INTERFACE) {
            pod.sandbox = sandbox.unwrap_or_default();
        }
        Ok(interfaces)
    }

    /// Removes what this call made. The record stays only where something could not be removed.
    fn undo(mut self, claim: Claim, error: Error) -> Error {
        let mut problems: Vec<Error> = self.kernel.remove(&self.done).iter().map(failed).collect();
        let asked = match self.asked {
            Asked::No => false,
            Asked::Running(running) => {
                // It must not lease anything after we freed it; what it says does not matter.
                let _ = running.done();
                true
            }
            Asked::Answered => true,
        };
        if asked {
            problems.extend(del::free(self.request, self.ipam.as_ref()).err());
        }
        if problems.is_empty() {
            problems.extend(claim.remove().err());
        }
        problems.into_iter().fold(error, |error, problem| {
            error.also(format!("and undoing it failed: {problem}; DEL will try again"))
        })
    }
}

/// Waits and announces; returns bridge, host end, pod end, and the VLAN's gateway if there is one.
fn settle(
    kernel: &mut Kernel,
    config: &Config,
    names: &Names,
    result: &CniResult,
) -> ::plan::Result<Vec<Link>> {
    let (host, pod) = if config.pod_up {
        kernel.wait_running(&names.host, &names.pod)?
    } else {
        let host = kernel.known_link(Place::Host, &names.host)?;
        (host, kernel.known_link(Place::Pod, &names.pod)?)
    };
    if config.dad && result.ips.iter().any(|ip| ip.address.is_ipv6()) {
        kernel.wait_for_dad(&names.pod)?;
    }
    let addresses = result.ips.iter().map(|ip| ip.address.ip());
    kernel.wait_reachable(Place::Pod, &names.pod, addresses)?;
    if config.gateway {
        let gateways = result.ips.iter().filter_map(|ip| ip.gateway);
        kernel.wait_reachable(Place::Host, &plan::gateway_link(config), gateways)?;
    }
    if !result.ips.is_empty() {
        kernel.announce(&pod)?;
    }
    let mut links = vec![kernel.known_link(Place::Host, &config.bridge)?, host, pod];
    if config.gateway && config.vlan.is_some() {
        links.push(kernel.known_link(Place::Host, &plan::gateway_link(config))?);
    }
    Ok(links)
}

fn interface(link: &Link) -> Interface {
    Interface {
        name: link.name.clone(),
        mac: link.mac.to_string(),
        mtu: Some(link.mtu),
        ..Interface::default()
    }
}
