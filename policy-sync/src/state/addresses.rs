//! Whose an address is. Several pods may claim one: a pod that has ended or is ending keeps it in its status while it is
//! given to the next. The attachment of a container on this node decides, else the newer pod has it.

use super::items::PodId;
use crate::model::Name;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::IpAddr;

/// A container's interface on this node, by the record of the plugin that attached it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Attachment {
    /// The key that nf_tables' comments have, 32 hexadecimal digits.
    pub key: String,
    /// The network's name.
    pub network: String,
    /// The container's ID.
    pub container: String,
    /// Its addresses.
    pub addresses: Vec<IpAddr>,
    /// The pod that the runtime named, with its UID, which may be empty.
    pub pod: Option<(Name, String)>,
}

/// Claims on addresses.
#[derive(Debug, Default)]
pub(crate) struct Addresses {
    claims: HashMap<IpAddr, Claims>,
    pub attachments: BTreeMap<String, Attached>,
}

/// An attachment, and the pod that it is of.
#[derive(Debug)]
pub(crate) struct Attached {
    pub attachment: Attachment,
    pub pod: Option<PodId>,
}

#[derive(Debug, Default)]
struct Claims {
    /// Sorted by age: the newest last.
    pods: BTreeSet<(String, PodId)>,
    attachments: BTreeSet<String>,
    owner: Option<PodId>,
}

impl Addresses {
    /// The pod that has the address.
    pub fn owner(&self, address: IpAddr) -> Option<PodId> {
        self.claims.get(&address)?.owner
    }

    /// The pods whose status names the address.
    pub fn claimants(&self, address: IpAddr) -> Vec<PodId> {
        let claims = self.claims.get(&address);
        claims.map(|claims| claims.pods.iter().map(|(_, id)| *id).collect()).unwrap_or_default()
    }

    /// A pod's status names an address, or no longer.
    pub fn claim(&mut self, address: IpAddr, created: &str, pod: PodId, holds: bool) {
        let claims = self.claims.entry(address).or_default();
        match holds {
            true => claims.pods.insert((created.to_owned(), pod)),
            false => claims.pods.remove(&(created.to_owned(), pod)),
        };
    }

    /// An attachment has an address, or no longer.
    pub fn attach(&mut self, address: IpAddr, key: &str, holds: bool) {
        let claims = self.claims.entry(address).or_default();
        match holds {
            true => claims.attachments.insert(key.to_owned()),
            false => claims.attachments.remove(key),
        };
    }

    /// Decides anew whose an address is; the pods that had it and have it, where these differ.
    pub fn settle(&mut self, address: IpAddr) -> Vec<PodId> {
        let Some(claims) = self.claims.get_mut(&address) else { return Vec::new() };
        let of = |key: &String| self.attachments.get(key).and_then(|it| it.pod);
        let owner = match claims.attachments.is_empty() {
            true => claims.pods.last().map(|(_, id)| *id),
            false => claims.attachments.iter().rev().find_map(of),
        };
        let before = std::mem::replace(&mut claims.owner, owner);
        if claims.pods.is_empty() && claims.attachments.is_empty() {
            self.claims.remove(&address);
        }
        if before == owner { Vec::new() } else { before.into_iter().chain(owner).collect() }
    }
}
