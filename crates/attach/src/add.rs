//! ADD.

use crate::del::{Gone, asks_by_link};
use crate::hold::Hold;
use crate::record::{Claim, Record, Records};
use crate::{
    Item, Kernel, Link, Maker, Names, Network, Place, Rpfilter, Rule, comment, del, failed,
};
use cni::{
    Attachment, CniResult, Command, Delegate, Error, Interface, Request, Result, Running, code, log,
};

/// Attaches a pod to a network.
///
/// # Errors
/// What the runtime receives; nothing is left of the attachment.
pub fn add<N: Network>(request: &Request, network: &N) -> Result<CniResult> {
    let attachment = request.attachment();
    let names = network.names(&attachment);
    let ipam = request.conf.ipam.as_ref().map(|ipam| request.delegate(ipam)).transpose()?;
    let hold = network.hold(request)?;
    let mut kernel = Kernel::open(request.env.netns.as_deref()).map_err(|e| failed(&e))?;
    let mut claim = Records::new(network.run_dir(), Maker::Main).claim(&attachment)?;
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
            let gone = Gone { attachment: &attachment, record: Some(record), maker: Maker::Main };
            del::release(request, &mut kernel, &gone, None)?;
        }
        (_, None) => {}
    }
    let done = Vec::new();
    let mut work = Work { request, network, names, kernel, done, ipam, asked: Asked::No, hold };
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
struct Work<'a, N> {
    request: &'a Request,
    network: &'a N,
    names: Names,
    kernel: Kernel,
    done: Vec<Item>,
    ipam: Option<Delegate>,
    asked: Asked,
    hold: Option<Hold>,
}

/// Whether IPAM was asked for a lease.
enum Asked {
    No,
    Running(Running),
    Answered,
}

impl<N: Network> Work<'_, N> {
    fn attach(&mut self, claim: &mut Claim) -> Result<CniResult> {
        let link = self.network.link(&self.names);
        let mut record = Record {
            network: self.names.network.clone(),
            container_id: self.request.env.container_id.clone(),
            ifname: self.names.pod.clone(),
            plugin: Maker::Main.records().to_owned(),
            ipam: self.request.conf.ipam.clone(),
            owned: Vec::new(),
            complete: false,
        };
        record.own(&link);
        claim.write(&record)?;
        self.look_into_pod()?;
        self.apply(&self.shared())?;
        // The lock is ours and no veth of the attachment lives: a lease from now on is ours to
        // undo. So IPAM works beside the making of the link, if it needs none.
        let by_link = self.request.conf.ipam.as_deref().is_some_and(asks_by_link);
        if !by_link {
            self.ask_ipam()?;
        }
        self.apply(&link)?;
        if self.kernel.rpfilter_was_made() {
            self.filter_others();
        }
        if by_link {
            self.bring_up(&mut record, claim)?;
            self.ask_ipam()?;
        }
        let mut result = CniResult::default();
        if let Some(from_ipam) = self.ipam_result()? {
            result = self.network.complete(from_ipam)?;
        }
        if !by_link {
            self.network.name(&mut self.names, &result);
        }
        let held = self.held(&result);
        let mut up = self.network.up(&self.names, &result);
        let layer3 = match self.ipam {
            Some(_) => self.network.layer3(&self.names, &result),
            None => Vec::new(),
        };
        if record.own(&held) | record.own(&up) | record.own(&layer3) {
            claim.write(&record)?;
        }
        // No packet of the pod has passed yet: it has no address.
        self.apply(&held)?;
        up.retain(|item| !self.done.contains(item));
        self.apply(&up)?;
        self.apply(&layer3)?;
        let links = self.settle(&result)?;
        self.apply(&self.network.last(&self.names, &result))?;
        self.hold.iter().for_each(|hold| hold.wait(&mut self.kernel, &held));
        result.interfaces = links;
        if !self.request.conf.dns.is_empty() {
            result.dns = self.request.conf.dns.clone();
        }
        record.complete = true;
        claim.write(&record)?;
        Ok(result)
    }

    /// What is shared by all pods, where policies are configured the hooks of the bridge too.
    fn shared(&self) -> Vec<Item> {
        let bridge = self.hold.as_ref().and_then(|hold| hold.bridge.clone());
        self.network.shared().into_iter().chain(bridge.map(Item::Hooks)).collect()
    }

    /// What policies decide on.
    fn held(&self, result: &CniResult) -> Vec<Item> {
        let items = |hold: &Hold| hold.items(self.request, &self.names.comment, result);
        self.hold.as_ref().map(items).unwrap_or_default()
    }

    /// Brings the link up, with the MAC address that it keeps, before IPAM is asked, and waits until
    /// it carries packets.
    fn bring_up(&mut self, record: &mut Record, claim: &mut Claim) -> Result<()> {
        let nothing = CniResult::default();
        let up = self.network.up(&self.names, &nothing);
        if record.own(&up) {
            claim.write(record)?;
        }
        self.apply(&up)?;
        self.settle(&nothing).map(drop)
    }

    /// Gives the pods that live their filters back, after another program flushed nf_tables.
    fn filter_others(&mut self) {
        let records = Records::new(self.network.run_dir(), Maker::Main);
        let own = self.request.attachment().hash();
        let unfiltered = |error: Error| {
            log::warn(&format!("a pod sends from any address after a flush of nf_tables: {error}"));
        };
        let hashes = records.hashes().map_err(unfiltered).unwrap_or_default();
        for hash in hashes.iter().filter(|hash| **hash != own) {
            if records.peek(hash).is_some_and(|record| record.rpfilter().is_some())
                && let Err(error) = self.filter_other(&records, hash)
            {
                unfiltered(error);
            }
        }
    }

    /// Where another call works on the attachment, it decides.
    fn filter_other(&mut self, records: &Records, hash: &str) -> Result<()> {
        let Some(claim) = records.claim_free(hash)? else { return Ok(()) };
        match &claim.record {
            Some(record) => {
                let filter = |link| self.filter(link, &record.attachment());
                record.rpfilter().map_or(Ok(()), filter)
            }
            // Its DEL was faster.
            None => claim.remove(),
        }
    }

    fn filter(&mut self, link: &str, attachment: &Attachment) -> Result<()> {
        let comment = comment(attachment);
        let filter = Rpfilter { link: link.to_owned(), comment };
        let filtered = match self.kernel.link(Place::Host, link) {
            Ok(Some(_)) => {
                self.kernel.apply(&[Item::Rule(Rule::Rpfilter(filter))], &mut Vec::new())
            }
            Ok(None) => Ok(()),
            Err(error) => Err(error),
        };
        filtered.map_err(|error| failed(&error))
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

    /// Waits until the first packet would pass, and reads what the kernel made.
    fn settle(&mut self, result: &CniResult) -> Result<Vec<Interface>> {
        let settled = self.network.settle(&mut self.kernel, &self.names, result);
        let links = settled.map_err(|error| failed(&error))?;
        let sandbox = self.request.env.netns.as_deref().map(|path| path.display().to_string());
        let mut interfaces: Vec<_> = links.iter().map(interface).collect();
        if let Some(pod) = interfaces.get_mut(N::POD_INTERFACE) {
            pod.sandbox = sandbox.unwrap_or_default();
        }
        Ok(interfaces)
    }

    /// Lets IPAM free what it was asked for; returns what failed.
    fn free(&mut self) -> Option<Error> {
        match std::mem::replace(&mut self.asked, Asked::No) {
            Asked::No => return None,
            // It must not lease anything after we freed it; what it says does not matter.
            Asked::Running(running) => drop(running.done()),
            Asked::Answered => {}
        }
        // The IPAM plugin would run in the pod's namespace.
        let at_home = net::not_astray().map_err(|error| failed(&error.into()));
        at_home.and_then(|()| del::free(self.request, self.ipam.as_ref())).err()
    }

    /// Removes what this call made. The record stays only where something could not be removed.
    fn undo(mut self, claim: Claim, error: Error) -> Error {
        // One that leases by the pod's link also gives the lease back by it.
        let by_link = self.ipam.as_ref().is_some_and(|ipam| asks_by_link(ipam.plugin()));
        let mut problems: Vec<Error> = Vec::new();
        if by_link {
            problems.extend(self.free());
        }
        problems.extend(self.kernel.remove(&self.done, &self.names.alias).iter().map(failed));
        if !by_link {
            problems.extend(self.free());
        }
        if problems.is_empty() {
            problems.extend(claim.remove().err());
        }
        del::undone(error, problems)
    }
}

fn interface(link: &Link) -> Interface {
    Interface {
        name: link.name.clone(),
        mac: link.mac.to_string(),
        mtu: Some(link.mtu),
        ..Interface::default()
    }
}
