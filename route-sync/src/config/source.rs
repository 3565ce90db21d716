//! `[source]`, and `[node]` in its place.

use super::Source;
use daemon::config::value::{cidr, path, text};
use daemon::config::{Faults, Table};
use std::path::PathBuf;

/// `source.type`.
#[derive(Clone, Copy)]
enum Kind {
    File,
    #[cfg(feature = "kubernetes")]
    Kubernetes,
}

/// What `source.type` may be.
const KINDS: &str = if cfg!(feature = "kubernetes") {
    "write \"file\" or \"kubernetes\""
} else {
    "write \"file\""
};

fn kind(name: &str) -> Result<Kind, String> {
    match name {
        "file" => Ok(Kind::File),
        #[cfg(feature = "kubernetes")]
        "kubernetes" => Ok(Kind::Kubernetes),
        #[cfg(not(feature = "kubernetes"))]
        "kubernetes" => {
            Err("this route-sync was built without it; install one that was built with \
                             the feature kubernetes, as it is by default, or write \"file\""
                .to_owned())
        }
        _ => Err(KINDS.to_owned()),
    }
}

/// Reads the source; `None` only with a fault. `speaks`: there is `[bgp]`.
pub(super) fn read(top: &mut Table, speaks: bool, faults: &mut Faults) -> Option<Source> {
    if top.has("node") {
        return own(top, speaks, faults);
    }
    let mut table = top.table("source", faults);
    let before = faults.count();
    let kind = table.read("type", faults, |value| kind(text(value)?));
    let file = table.read("path", faults, path);
    let kubeconfig = table.read("kubeconfig", faults, path);
    table.finish(faults);
    if faults.count() > before {
        return None;
    }
    of(kind, file, kubeconfig).map_err(|fault| faults.add_whole(fault)).ok()
}

/// The source of these keys, each of them valid by itself.
fn of(
    kind: Option<Kind>,
    file: Option<PathBuf>,
    kubeconfig: Option<PathBuf>,
) -> Result<Source, &'static str> {
    match (kind, file, kubeconfig) {
        (None, None, None) => Err("[source] is missing: write [source], type = \"file\" and \
                                   path = \"/etc/ferrule/nodes.toml\", or with [bgp] a [node] with \
                                   addresses and pod-cidrs, or on a Kubernetes cluster \
                                   type = \"kubernetes\""),
        (None, _, _) => Err("source.type is missing: write type = \"file\" under [source]"),
        (Some(Kind::File), None, _) => Err("source.path is missing: write \
                                            path = \"/etc/ferrule/nodes.toml\" under [source]"),
        (Some(Kind::File), Some(_), Some(_)) => {
            Err("source.kubeconfig belongs to type \"kubernetes\": leave it out")
        }
        (Some(Kind::File), Some(path), None) => Ok(Source::File { path }),
        #[cfg(feature = "kubernetes")]
        (Some(Kind::Kubernetes), Some(_), _) => {
            Err("source.path belongs to type \"file\": leave it out")
        }
        #[cfg(feature = "kubernetes")]
        (Some(Kind::Kubernetes), None, kubeconfig) => Ok(Source::Kubernetes { kubeconfig }),
    }
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
        for key in ["type", "path", "kubeconfig"] {
            let _ = source.read(key, faults, |_| Ok(()));
        }
    } else if !speaks {
        faults.add(at, "[node] alone names no other node: write [bgp] too, or [source] instead");
    }
    Some(Source::Node { addresses, pod_cidrs })
}
