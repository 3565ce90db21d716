//! From TOML to [`Config`], every fault at once.

use super::{Config, Masquerade, Mode, Probe, STATE_DIR, Source, Vxlan, cni};
use crate::bgp;
use daemon::config::value::{
    boolean, cidr, folder, interface, listen, node_name, number, path, socket_folder, text,
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
    config::read(path, |top, faults| whole(top, hostname.as_deref(), faults))
}

/// The keys at the top and the tables; `None` only with a fault.
fn whole(top: &mut Table, hostname: Option<&str>, faults: &mut Faults) -> Option<Config> {
    let named = top.read("node-name", faults, node_name);
    let node_name = match named.or_else(|| hostname.map(str::to_owned)) {
        Some(name) if !name.is_empty() => name,
        _ => {
            faults.add_whole("node-name is missing and the host has no name: write one");
            String::new()
        }
    };
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
    let source = source(top, speaks, faults);
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
    if masquerade.enabled && cluster_cidrs.is_empty() && !listed {
        faults.add_whole(
            "masquerade.enabled is true and cluster-cidrs is empty: write the cluster's pod CIDRs \
             in cluster-cidrs, or pods of other nodes would see the node's address",
        );
    }
    Some(Config {
        node_name,
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

fn source(top: &mut Table, speaks: bool, faults: &mut Faults) -> Option<Source> {
    if top.has("node") {
        return own(top, speaks, faults);
    }
    let mut table = top.table("source", faults);
    let before = faults.count();
    let kind = table.read("type", faults, |value| match text(value)? {
        "file" => Ok(()),
        _ => Err("write \"file\"".to_owned()),
    });
    let path = table.read("path", faults, path);
    table.finish(faults);
    if kind.is_none() && path.is_none() && faults.count() == before {
        faults.add_whole(
            "[source] is missing: write [source], type = \"file\" and \
             path = \"/etc/ferrule/nodes.toml\", or with [bgp] a [node] with addresses and \
             pod-cidrs",
        );
    } else if kind.is_none() && faults.count() == before {
        faults.add_whole("source.type is missing: write type = \"file\" under [source]");
    } else if path.is_none() && faults.count() == before {
        faults.add_whole(
            "source.path is missing: write path = \"/etc/ferrule/nodes.toml\" under [source]",
        );
    }
    kind.and(path).map(|path| Source::File { path })
}

/// `[node]` in the place of a source.
fn own(top: &mut Table, speaks: bool, faults: &mut Faults) -> Option<Source> {
    let mut table = top.table("node", faults);
    let at = table.at();
    let addresses = table.list("addresses", faults, |value, _| {
        let address = text(value)?.parse().ok();
        address.ok_or_else(|| "write an address, as \"192.0.2.11\"".to_owned())
    });
    let pod_cidrs = table.list("pod-cidrs", faults, cidr);
    if addresses.is_empty() || pod_cidrs.is_empty() {
        let what = "[node] wants addresses and pod-cidrs: write what this node has";
        faults.add(at, what);
    }
    table.finish(faults);
    if top.has("source") {
        let mut source = top.table("source", faults);
        faults.add(source.at(), "[source] describes this node, and [node] too: write one");
        let _ = (source.read("type", faults, |_| Ok(())), source.read("path", faults, |_| Ok(())));
    } else if !speaks {
        faults.add(at, "[node] alone names no other node: write [bgp] too, or [source] instead");
    }
    Some(Source::Node { addresses, pod_cidrs })
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
    config::parse(text, |top, faults| whole(top, hostname, faults))
}
