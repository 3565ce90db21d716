//! What differs between the plugins that attach a pod by a veth pair.

use crate::hold::Hold;
use crate::{Item, Kernel, Link, Names};
use cni::{Attachment, CniResult, Request, Result};
use std::path::Path;

/// Which links of the node pass on what the pods send.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Forwarder {
    /// None: the pods have no gateway here.
    None,
    /// One link for all pods.
    Link(String),
    /// Each pod's own.
    EachPods,
}

/// A network's configuration, and what it makes of an attachment. All but [`Network::settle`] are
/// pure functions.
pub trait Network {
    /// Index of the pod's interface in a result.
    const POD_INTERFACE: usize;

    /// `runDir`.
    fn run_dir(&self) -> &Path;

    /// The names that an attachment's items carry.
    fn names(&self, attachment: &Attachment) -> Names;

    /// What must exist before IPAM is asked, shared by all pods.
    fn shared(&self) -> Vec<Item>;

    /// The link, as far as it needs no address: the veth pair and what belongs to it.
    fn link(&self, names: &Names) -> Vec<Item>;

    /// What an IPAM plugin's result becomes.
    ///
    /// # Errors
    /// Code 7 where it does not fit the network.
    fn complete(&self, from_ipam: CniResult) -> Result<CniResult>;

    /// Names that a result decides: none, unless a network says otherwise.
    fn name(&self, _names: &mut Names, _result: &CniResult) {}

    /// Both ends of the link, up, and what must hold before.
    fn up(&self, names: &Names, result: &CniResult) -> Vec<Item>;

    /// What exists because of addresses and routes: a completed result's.
    fn layer3(&self, names: &Names, result: &CniResult) -> Vec<Item>;

    /// Items applied once the link carries packets.
    fn last(&self, _names: &Names, _result: &CniResult) -> Vec<Item> {
        Vec::new()
    }

    /// Waits until the first packet would pass; gives the links of the result.
    ///
    /// # Errors
    /// The kernel's.
    fn settle(
        &self,
        kernel: &mut Kernel,
        names: &Names,
        result: &CniResult,
    ) -> crate::kernel::Result<Vec<Link>>;

    /// How ADD holds the pod back until policy-sync has decided on it; `None` where no policies are
    /// configured on the node.
    ///
    /// # Errors
    /// Code 7 where policy-sync's file cannot be read: the pod would start without its policies.
    fn hold(&self, _request: &Request) -> Result<Option<Hold>> {
        Ok(None)
    }

    /// Which links of the node pass on what the pods send.
    fn forwarder(&self) -> Forwarder;

    /// Whether nf_tables is required.
    fn needs_nft(&self) -> bool;
}
