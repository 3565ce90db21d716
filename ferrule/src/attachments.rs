//! The node's attachments, of records, the kernel, leases and what the runtime remembers.

use crate::facts::Facts;
use crate::facts::leases::Lease;
use crate::facts::runtime::Sandbox;
use cni::{Attachment, Label};
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::path::PathBuf;

/// One attachment: an interface of a container on a network.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Attached {
    /// The attachment's hash, as it stands in marks.
    pub hash: String,
    /// The pod, `namespace/name`, where the runtime knows it.
    pub pod: Option<String>,
    /// The container.
    #[serde(rename = "containerID")]
    pub container: String,
    /// The interface in the container.
    pub ifname: String,
    /// The network.
    pub network: String,
    /// Its addresses.
    pub addresses: Vec<IpAddr>,
    /// The host's end of its link.
    pub link: Option<String>,
    /// Seconds since its ADD.
    pub age: Option<u64>,
    /// What it owns, in words.
    pub owns: Vec<String>,
    /// Why it is an orphan: something is left of it, or it is not whole.
    pub orphan: Option<String>,
    /// Its network namespace, where the runtime knows it.
    #[serde(skip)]
    pub netns: Option<PathBuf>,
}

impl Attached {
    fn of(attachment: &Attachment, hash: &str) -> Attached {
        Attached {
            hash: hash.to_owned(),
            container: attachment.container_id.clone(),
            ifname: attachment.ifname.clone(),
            network: attachment.network.clone(),
            ..Attached::default()
        }
    }

    /// What a person calls it: its pod, or its container's first twelve characters.
    #[must_use]
    pub fn name(&self) -> String {
        match &self.pod {
            Some(pod) => pod.clone(),
            None => self.container.chars().take(12).collect(),
        }
    }
}

/// A lease without a record is a plugin's at work for a while.
const AT_WORK: u64 = 60;

/// All attachments, by network, pod and container.
#[must_use]
pub fn list(facts: &Facts) -> Vec<Attached> {
    let mut all = BTreeMap::<String, Attached>::new();
    of_records(facts, &mut all);
    of_links(facts, &mut all);
    of_rules(facts, &mut all);
    of_leases(facts, &mut all);
    for attached in all.values_mut() {
        name(facts, attached);
        attached.addresses.sort();
        attached.addresses.dedup();
    }
    let mut all: Vec<Attached> = all.into_values().collect();
    all.sort_by_key(|one| (one.network.clone(), one.name(), one.ifname.clone()));
    all
}

fn of_records(facts: &Facts, all: &mut BTreeMap<String, Attached>) {
    let net = facts.net();
    for file in facts.records.iter().flatten() {
        let Some(record) = &file.record else { continue };
        let attachment = record.attachment();
        let hash = file.hash().to_owned();
        let attached = all.entry(hash.clone()).or_insert_with(|| Attached::of(&attachment, &hash));
        attached.owns.extend(record.owned.iter().map(ToString::to_string));
        attached.addresses.extend(record.owned.iter().filter_map(attach::Owned::address));
        let named = record.owned.iter().find_map(attach::Owned::pod);
        let named = named.map(|(namespace, name)| format!("{namespace}/{name}"));
        attached.pod = named.or(attached.pod.take());
        if !file.is_main() {
            continue;
        }
        attached.age = Some(file.age);
        attached.link = record.owned.iter().find_map(attach::Owned::host_link).map(str::to_owned);
        let gone = attached.link.as_ref().filter(|link| net.named(link).is_none());
        attached.orphan = match gone {
            _ if file.locked => None,
            Some(link) => Some(format!("its link {link} is gone")),
            None if !record.complete => Some("its ADD was ended before it was done".to_owned()),
            None => None,
        };
    }
}

/// Links of pods whose records are lost.
fn of_links(facts: &Facts, all: &mut BTreeMap<String, Attached>) {
    let veths = facts.net().links.iter().filter(|link| link.kind == "veth");
    for (link, label) in veths.filter_map(|link| Some((link, Label::read(&link.alias)?))) {
        let new = || Attached {
            orphan: None,
            owns: vec![format!("link {}", link.name)],
            ..Attached::of(&label.attachment, &label.hash)
        };
        let attached = all.entry(label.hash.clone()).or_insert_with(new);
        attached.link.get_or_insert_with(|| link.name.clone());
    }
}

/// Rules of attachments of which neither a record nor a link is left.
fn of_rules(facts: &Facts, all: &mut BTreeMap<String, Attached>) {
    let marked = facts.filter.iter().flat_map(|filter| &filter.marked);
    for (mark, owned) in marked {
        let Some(label) = Label::read(mark) else { continue };
        let left = || Attached {
            orphan: Some("rules are left of it, and no link and no record".to_owned()),
            ..Attached::of(&label.attachment, &label.hash)
        };
        let attached = all.entry(label.hash.clone()).or_insert_with(left);
        attached.addresses.extend(owned.address());
        let text = owned.to_string();
        if attached.orphan.is_some() && !attached.owns.contains(&text) {
            attached.owns.push(text);
        }
    }
}

/// Whether anything of the attachment that a lease names lives.
fn lives(facts: &Facts, lease: &Lease) -> bool {
    let same = |sandbox: &Sandbox| {
        sandbox.container == lease.container && sandbox.network == lease.network
    };
    let netns = |sandbox: &Sandbox| sandbox.netns.as_ref().is_none_or(|path| path.exists());
    facts.sandboxes.iter().any(|sandbox| same(sandbox) && netns(sandbox))
}

/// Leases, of which an orphan's attachment is nowhere else.
fn of_leases(facts: &Facts, all: &mut BTreeMap<String, Attached>) {
    let unreadable = facts.records.is_err() || facts.network.is_err();
    let containers: BTreeSet<String> = all.values().map(|one| one.container.clone()).collect();
    for lease in facts.leases.iter().flatten() {
        let attachment = Attachment::new(&lease.network, &lease.container, &lease.ifname);
        let hash = attachment.hash();
        let known = all.contains_key(&hash) || containers.contains(&lease.container);
        let new = || Attached { age: Some(lease.age), ..Attached::of(&attachment, &hash) };
        let attached = all.entry(hash.clone()).or_insert_with(new);
        attached.addresses.push(lease.address);
        if !known && !unreadable && lease.age > AT_WORK && !lives(facts, lease) {
            attached.owns.push(format!("lease of {}", lease.address));
            let why = "its address is leased, and it has no link and no record";
            attached.orphan = Some(why.to_owned());
        }
    }
}

fn name(facts: &Facts, attached: &mut Attached) {
    let same = |sandbox: &&Sandbox| {
        sandbox.container == attached.container && sandbox.network == attached.network
    };
    if let Some(sandbox) = facts.sandboxes.iter().find(same) {
        attached.pod = sandbox.pod.clone().or(attached.pod.take());
        attached.netns.clone_from(&sandbox.netns);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::facts::nothing;
    use crate::facts::records::RecordFile;
    use attach::Owned;
    use attach::record::Record;
    use net::Link;

    fn facts() -> Facts {
        let attachment = Attachment::new("pods", "c1", "eth0");
        let host = attachment.host_veth();
        let record = Record {
            network: "pods".to_owned(),
            container_id: "c1".to_owned(),
            ifname: "eth0".to_owned(),
            owned: vec![Owned::Veth { host: host.clone() }],
            complete: true,
            ..Record::default()
        };
        let name = format!("bridge-{}", attachment.hash());
        let file = RecordFile { name, record: Some(record), age: 70, locked: false };
        let alias = attachment.label(None, 254);
        let link = Link { name: host, kind: "veth".to_owned(), alias, ..Link::default() };
        let mut facts = nothing();
        facts.records = Ok(vec![file]);
        facts.network.as_mut().unwrap().links.push(link);
        facts.leases = Ok(vec![Lease {
            network: "pods".to_owned(),
            address: [10, 1, 0, 2].into(),
            container: "c1".to_owned(),
            ifname: "eth0".to_owned(),
            age: 70,
        }]);
        facts
    }

    #[test]
    fn an_attachment_is_whole_with_link_record_and_lease() {
        let all = list(&facts());
        assert_eq!(all.len(), 1);
        assert_eq!((&all[0].orphan, all[0].name()), (&None, "c1".to_owned()));
        assert_eq!(all[0].addresses, [IpAddr::from([10, 1, 0, 2])]);
        assert_eq!(all[0].owns.len(), 1);
    }

    #[test]
    fn what_lacks_its_link_is_an_orphan() {
        let mut facts = facts();
        facts.network.as_mut().unwrap().links.clear();
        let orphan = list(&facts)[0].orphan.clone().unwrap();
        assert!(orphan.starts_with("its link veth") && orphan.ends_with(" is gone"), "{orphan}");
        facts.records = Ok(vec![]);
        let orphan = list(&facts)[0].orphan.clone().unwrap();
        assert_eq!(orphan, "its address is leased, and it has no link and no record");
        facts.sandboxes.push(Sandbox {
            network: "pods".to_owned(),
            container: "c1".to_owned(),
            pod: Some("shop/db".to_owned()),
            ..Sandbox::default()
        });
        let known = &list(&facts)[0];
        assert_eq!((known.orphan.clone(), known.name()), (None, "shop/db".to_owned()));
    }

    #[test]
    fn a_lost_record_makes_no_orphan() {
        let mut facts = facts();
        facts.records = Ok(vec![]);
        assert_eq!(list(&facts)[0].orphan, None);
    }
}
