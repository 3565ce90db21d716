//! From TOML to [`Config`], every fault at once.

use super::{Config, Source};
use crate::control::SOCKET;
use daemon::config::value::{boolean, listen, node_name, number, path, socket_folder, text};
use daemon::config::{self, Faults, Table};
use node::RUN_DIR;
use std::path::Path;
use std::time::Duration;

/// The node's name, as a pod template passes it down (`fieldRef: spec.nodeName`).
const NODE_NAME: &str = "NODE_NAME";

/// Reads and validates a configuration.
///
/// # Errors
/// Every fault, each in words with the file, the line where there is one, the key, the value and
/// the remedy.
pub fn read(path: &Path) -> Result<Config, Vec<String>> {
    let given = std::env::var(NODE_NAME).ok().filter(|name| !name.is_empty());
    let name = given.or_else(config::host_name);
    config::read(path, |top, faults| whole(top, name.as_deref(), faults))
}

/// The keys at the top and the tables; `None` only with a fault.
fn whole(top: &mut Table, name: Option<&str>, faults: &mut Faults) -> Option<Config> {
    let named = top.read("node-name", faults, node_name);
    let node_name = match named.or_else(|| name.map(str::to_owned)) {
        Some(name) if !name.is_empty() => name,
        _ => {
            faults.add_whole("node-name is missing and the host has no name: write one");
            String::new()
        }
    };
    let run_dir =
        top.read("run-dir", faults, socket_folder(SOCKET)).unwrap_or_else(|| RUN_DIR.into());
    let strict = top.read("strict", faults, boolean).unwrap_or(true);
    // A runtime gives up an ADD after minutes; more than seconds help nobody.
    let wait = top.read("add-wait", faults, number(0, 10_000)).unwrap_or(500);
    let source = source(top, faults);
    let mut figures = top.table("metrics", faults);
    let metrics = figures.read("listen", faults, listen);
    figures.finish(faults);
    let add_wait = Duration::from_millis(wait);
    Some(Config { node_name, run_dir, strict, add_wait, source: source?, metrics })
}

enum Kind {
    #[cfg_attr(not(feature = "kubernetes"), expect(dead_code, reason = "needs the API's client"))]
    Kubernetes,
    Files,
}

fn source(top: &mut Table, faults: &mut Faults) -> Option<Source> {
    let mut table = top.table("source", faults);
    let before = faults.count();
    let at = table.at();
    let kind = table.read("type", faults, |value| match text(value)? {
        "kubernetes" => kubernetes(),
        "files" => Ok(Kind::Files),
        _ => Err("write \"kubernetes\" or \"files\"".to_owned()),
    });
    let folder = table.read("path", faults, path);
    let kubeconfig = table.read("kubeconfig", faults, path);
    table.finish(faults);
    let well = faults.count() == before;
    match (kind, folder) {
        (Some(Kind::Kubernetes), None) => return Some(Source::Kubernetes { kubeconfig }),
        (Some(Kind::Files), Some(path)) if kubeconfig.is_none() => {
            return Some(Source::Files { path });
        }
        (Some(Kind::Kubernetes), Some(_)) => {
            faults.add(at, "source.path is for type = \"files\": remove it, or change the type");
        }
        (Some(Kind::Files), Some(_)) => {
            let what = "source.kubeconfig is for type = \"kubernetes\"";
            faults.add(at, format!("{what}: remove it, or change the type"));
        }
        (Some(Kind::Files), None) if well => faults.add(
            at,
            "source.path is missing: write path = \"/etc/ferrule/policy.d\" under [source]",
        ),
        (None, _) if well => faults.add_whole(
            "source.type is missing: write [source] with type = \"kubernetes\", or with \
             type = \"files\" and path = \"/etc/ferrule/policy.d\"",
        ),
        _ => {}
    }
    None
}

#[cfg(feature = "kubernetes")]
fn kubernetes() -> Result<Kind, String> {
    Ok(Kind::Kubernetes)
}

#[cfg(not(feature = "kubernetes"))]
fn kubernetes() -> Result<Kind, String> {
    Err("this policy-sync was built without the feature kubernetes: install one with it, or write \
         \"files\""
        .to_owned())
}

/// [`read`] of a text, on a host of this name.
#[cfg(test)]
pub(super) fn parse(text: &str, name: Option<&str>) -> Result<Config, Vec<String>> {
    config::parse(text, |top, faults| whole(top, name, faults))
}
