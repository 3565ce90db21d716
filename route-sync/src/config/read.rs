//! From TOML to [`Config`], every fault at once.

use super::{Config, Masquerade, Mode, Probe, STATE_DIR, Source, Vxlan, cni, source};
use crate::bgp;
use daemon::config::value::{
    boolean, cidr, folder, interface, listen, node_name, number, socket_folder, text,
};
use daemon::config::{self, Faults, Table, Value};
use node::keeper::SOCKET;
use node::{RUN_DIR, vtep};
use std::path::Path;
use std::time::Duration;

/// Reads and validates a configuration.
///
/// # Errors
/// Every fault, each in words with the file, the line where there is one, the key, the value and
/// the remedy.
pub fn read(path: &Path) -> Result<Config, Vec<String>> {
    let hostname = config::host_name();
    let of_pod = std::env::var("NODE_NAME").ok();
    let names = Names { host: hostname.as_deref(), of_pod: of_pod.as_deref() };
    config::read(path, |top, faults| whole(top, names, faults))
}

/// This node's names, where none is configured.
#[derive(Clone, Copy)]
pub(crate) struct Names<'a> {
    /// The host's.
    pub host: Option<&'a str>,
    /// NODE_NAME of the environment, which a manifest sets to `spec.nodeName`.
    pub of_pod: Option<&'a str>,
}

impl Names<'_> {
    fn of(&self, source: Option<&Source>) -> Option<String> {
        let of_pod = self.of_pod.filter(|_| source.is_some_and(Source::assigns_late));
        let mut names = of_pod.into_iter().chain(self.host);
        names.find(|name| !name.is_empty()).map(str::to_owned)
    }
}

/// The keys at the top and the tables; `None` only with a fault.
fn whole(top: &mut Table, names: Names, faults: &mut Faults) -> Option<Config> {
    let named = top.read("node-name", faults, node_name);
    let mode = top.read("mode", faults, mode).unwrap_or(Mode::Auto);
    let before = faults.count();
    let cluster_cidrs = top.list("cluster-cidrs", faults, cidr);
    let listed = faults.count() > before;
    let service_cidrs = top.list("service-cidrs", faults, cidr);
    let run_dir =
        top.read("run-dir", faults, socket_folder(SOCKET)).unwrap_or_else(|| RUN_DIR.into());
    let state_dir = top.read("state-dir", faults, folder).unwrap_or_else(|| STATE_DIR.into());
    let seconds = top.read("resync-interval", faults, number(0, 86_400)).unwrap_or(60);
    let speaks = top.has("bgp");
    let bgp = bgp::config::read(top, &cluster_cidrs, faults);
    let source = source::read(top, speaks, faults);
    let node_name = named.or_else(|| names.of(source.as_ref()));
    if node_name.is_none() {
        faults.add_whole("node-name is missing and the host has no name: write one");
    }
    let vxlan = vxlan(top, faults);
    let masquerade = masquerade(top, faults);
    let probe = probe(top, faults);
    let mut figures = top.table("metrics", faults);
    let metrics = figures.read("listen", faults, listen);
    figures.finish(faults);
    let cni = cni::read(top, faults);
    if mode == Mode::Vxlan && matches!(source, Some(Source::Node { .. })) {
        faults.add_whole("mode is \"vxlan\" and [node] names no other node: write a [source]");
    }
    // Pods of a listed node are the cluster's in any case (guard/plan.rs).
    let alone = source.as_ref().is_some_and(|source| !source.lists_other_nodes());
    if masquerade.enabled && cluster_cidrs.is_empty() && !listed && alone {
        faults.add_whole(
            "masquerade.enabled is true and cluster-cidrs is empty: write the cluster's pod CIDRs \
             in cluster-cidrs, or pods of other nodes would see the node's address",
        );
    }
    Some(Config {
        node_name: node_name?,
        mode,
        cluster_cidrs,
        service_cidrs,
        run_dir,
        state_dir,
        resync_interval: (seconds > 0).then(|| Duration::from_secs(seconds)),
        source: source?,
        bgp,
        vxlan,
        masquerade,
        probe,
        metrics,
        cni,
    })
}

fn vxlan(top: &mut Table, faults: &mut Faults) -> Vxlan {
    let mut table = top.table("vxlan", faults);
    let vxlan = Vxlan {
        vni: table.read("vni", faults, number(1, 0xff_ffff)).unwrap_or(vtep::VNI),
        port: table.read("port", faults, number(1, u16::MAX)).unwrap_or(vtep::PORT),
        underlay: table.read("underlay", faults, interface),
        prefer_ipv6: table.read("prefer", faults, prefer).unwrap_or(false),
        // 576 is what every IPv4 host takes (RFC 791 section 3.1); 65485 is the kernel's limit
        // for the device (ETH_MAX_MTU less VXLAN_HEADROOM).
        mtu: table.read("mtu", faults, number(576, 65_485)),
    };
    table.finish(faults);
    vxlan
}

fn masquerade(top: &mut Table, faults: &mut Faults) -> Masquerade {
    let mut table = top.table("masquerade", faults);
    let masquerade = Masquerade {
        enabled: table.read("enabled", faults, boolean).unwrap_or(false),
        random_fully: table.read("random-fully", faults, boolean).unwrap_or(true),
        exclude_cidrs: table.list("exclude-cidrs", faults, cidr),
    };
    table.finish(faults);
    masquerade
}

fn probe(top: &mut Table, faults: &mut Faults) -> Option<Probe> {
    let mut table = top.table("probe", faults);
    let enabled = table.read("enabled", faults, boolean).unwrap_or(false);
    let seconds = table.read("interval", faults, number(1, 3600)).unwrap_or(30);
    // One of two is left for those that answered.
    let peers = table.read("peers", faults, number(2, 256)).unwrap_or(16);
    table.finish(faults);
    let interval = Duration::from_secs(seconds);
    enabled.then_some(Probe { interval, peers })
}

fn mode(value: &Value) -> Result<Mode, String> {
    match text(value)? {
        "auto" => Ok(Mode::Auto),
        "direct" => Ok(Mode::Direct),
        "vxlan" => Ok(Mode::Vxlan),
        _ => Err("write \"auto\", \"direct\" or \"vxlan\"".to_owned()),
    }
}

/// Whether IPv6 is preferred.
fn prefer(value: &Value) -> Result<bool, String> {
    match text(value)? {
        "ipv4" => Ok(false),
        "ipv6" => Ok(true),
        _ => Err("write \"ipv4\" or \"ipv6\"".to_owned()),
    }
}

/// [`read`] of a text, on a host of this name.
#[cfg(test)]
pub(crate) fn parse(text: &str, hostname: Option<&str>) -> Result<Config, Vec<String>> {
    parse_with(text, Names { host: hostname, of_pod: None })
}

/// [`parse`] with all of a node's names.
#[cfg(test)]
pub(crate) fn parse_with(text: &str, names: Names) -> Result<Config, Vec<String>> {
    config::parse(text, |top, faults| whole(top, names, faults))
}
