//! The configuration of the bgp plugin, and what the node's daemon says of the node.

use attach::Mac;
use attach::keys::{self, Args, WithMac};
use attach::ranges;
use cni::{Error, Request, Result, code};
use ipnetwork::IpNetwork;
use node::{Keeper, Node};
use serde::Deserialize;
use std::path::{Path, PathBuf};

/// What a network wants of its pods.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// `ipMasq`.
    pub masquerade: bool,
    /// `ipMasqExclude`.
    pub exclude: Vec<IpNetwork>,
    /// `mtu` in bytes. Without it ADD takes the node's; then CHECK expects none.
    pub mtu: Option<u32>,
    /// `metric`: that of routes without a priority.
    pub metric: Option<u32>,
    /// From `CNI_ARGS`, `args.cni.mac` or `runtimeConfig.mac`.
    pub mac: Option<Mac>,
    /// `acceptRa`.
    pub accept_ra: bool,
    /// The pod CIDRs of this node.
    pub pod_cidrs: Vec<IpNetwork>,
    /// `runDir`.
    pub run_dir: PathBuf,
}

/// The keys; they mean what the bridge plugin's mean.
#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Wire {
    ip_masq: bool,
    ip_masq_backend: String,
    ip_masq_exclude: Vec<String>,
    mtu: i64,
    metric: i64,
    accept_ra: bool,
    run_dir: String,
    args: Args,
    runtime_config: WithMac,
}

impl Config {
    /// Reads and validates the keys; the request's ranges are [`with_ranges`] already.
    ///
    /// # Errors
    /// Code 7 naming key and value, 4 for `CNI_ARGS`.
    pub fn read(request: &Request) -> Result<Config> {
        let wire: Wire = request.conf.decode()?;
        keys::masquerade_backend(&wire.ip_masq_backend, wire.ip_masq)?;
        let exclude = keys::masquerade_exclude(&wire.ip_masq_exclude, wire.ip_masq)?;
        let mtu = keys::mtu(wire.mtu)?;
        let metric = keys::metric(wire.metric)?;
        let mac = keys::mac(request, &wire.runtime_config.mac, &wire.args.cni.mac)?;
        let run_dir = keys::run_dir(&wire.run_dir)?;
        let Some(ipam) = &request.conf.ipam else {
            return Err(Error::config("ipam is missing").details(
                "a pod of this plugin is reached by its address: set ipam.type, as host-local",
            ));
        };
        let pod_cidrs = ranges::of(&request.conf.object);
        if pod_cidrs.is_empty() && ipam == "host-local" {
            let msg =
                format!("there is no {}, and ipam has no ranges", Node::path(&run_dir).display());
            return Err(
                Error::config(msg).details("start route-sync, which writes it, or set ipam.ranges")
            );
        }
        let (masquerade, accept_ra) = (wire.ip_masq, wire.accept_ra);
        Ok(Config { masquerade, exclude, mtu, metric, mac, accept_ra, pod_cidrs, run_dir })
    }
}

/// What the daemon says of the node, if it ever ran.
///
/// # Errors
/// Code 7 where its file cannot be read.
pub(crate) fn node(request: &Request) -> Result<Option<Node>> {
    let run_dir = keys::run_dir_of(request);
    Node::read(&run_dir).map_err(|error| Error::config(error.to_string()))
}

/// The request with the node's CIDRs as host-local's ranges where there are none.
pub(crate) fn with_ranges(request: &Request, node: Option<&Node>) -> Request {
    let mut object = request.conf.object.clone();
    ranges::fill(&mut object, node.map(|node| node.pod_cidrs.as_slice()).unwrap_or_default());
    request.with_keys(object)
}

/// Whether a daemon tells other nodes of this one's pods.
///
/// # Errors
/// Code 50 and the reason.
pub(crate) fn ready(run_dir: &Path, node: Option<&Node>) -> Result<()> {
    let unready =
        |msg: &str, details: String| Err(Error::new(code::NOT_AVAILABLE, msg).details(details));
    let keeper = match Keeper::of(run_dir) {
        Ok(keeper) => keeper,
        Err(error) => return unready("cannot tell whether route-sync runs", error.to_string()),
    };
    match node {
        Some(_) if keeper == Keeper::Gone => unready(
            "route-sync does not run",
            "this node's pod CIDRs are not announced: it stopped an hour ago or longer, or no pod is on this node; start it"
                .to_owned(),
        ),
        Some(_) if keeper == Keeper::Hangs => unready(
            "route-sync does not answer",
            "this node's pod CIDRs are not announced; see its log, and restart it".to_owned(),
        ),
        None => {
            let path = Node::path(run_dir);
            let details =
                format!("there is no {}; start route-sync, or wait for it", path.display());
            unready("route-sync has not said yet what this node is", details)
        }
        Some(Node { bgp: None, .. }) => unready(
            "route-sync runs without BGP",
            "this node's pod CIDRs are not announced; add [bgp] to its configuration"
                .to_owned(),
        ),
        Some(Node { synced: false, .. }) => unready(
            "route-sync has not installed the routes to other nodes yet",
            "see `route-sync status`".to_owned(),
        ),
        Some(Node { forwarding_off: Some(off), .. }) if keeper == Keeper::Lives => {
            Err(attach::forwarding::off(off))
        }
        Some(node) => match node.left_behind() {
            Some(left) => unready(
                &format!("an earlier pod CIDR of this node is in use: {left}"),
                "delete these pods, or give the node that CIDR again".to_owned(),
            ),
            None => Ok(()),
        },
    }
}

#[cfg(test)]
mod tests;
