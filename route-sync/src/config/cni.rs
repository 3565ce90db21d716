//! `[cni]`: what the container runtime finds on this node.

use daemon::config::value::{folder, path, text};
use daemon::config::{Faults, Table, Value};
use std::path::PathBuf;

/// Where runtimes look for networks.
const CONF_DIR: &str = "/etc/cni/net.d";
/// The network's file there.
const CONF_NAME: &str = "10-ferrule.conflist";
/// Where runtimes look for plugins.
const BIN_DIR: &str = "/opt/cni/bin";

/// `[cni]`: the network's conflist and the plugins' executables, which the daemon installs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cni {
    /// `template`: what the conflist is made of.
    pub template: PathBuf,
    /// `conf-dir`.
    pub conf_dir: PathBuf,
    /// `conf-name`: the conflist's name there.
    pub conf_name: String,
    /// `bin-dir`.
    pub bin_dir: PathBuf,
    /// `executables`: the folder whose executables are installed into `bin-dir`.
    pub executables: Option<PathBuf>,
}

impl Cni {
    /// The conflist that the runtime reads.
    pub fn conflist(&self) -> PathBuf {
        self.conf_dir.join(&self.conf_name)
    }
}

/// Reads `[cni]`, if there is one.
pub(super) fn read(top: &mut Table, faults: &mut Faults) -> Option<Cni> {
    let there = top.has("cni");
    let mut table = top.table("cni", faults);
    if !there {
        return None;
    }
    let (at, before) = (table.at(), faults.count());
    let template = table.read("template", faults, path);
    if template.is_none() && faults.count() == before {
        faults.add(
            at,
            "cni.template is missing: write the path of a conflist, as template = \
             \"/etc/ferrule/10-ferrule.conflist\"",
        );
    }
    let conf_dir = table.read("conf-dir", faults, folder).unwrap_or_else(|| CONF_DIR.into());
    let conf_name = table.read("conf-name", faults, conf_name).unwrap_or_else(|| CONF_NAME.into());
    let bin_dir = table.read("bin-dir", faults, folder).unwrap_or_else(|| BIN_DIR.into());
    let executables = table.read("executables", faults, folder);
    table.finish(faults);
    let cni = Cni { template: template?, conf_dir, conf_name, bin_dir, executables };
    if cni.template == cni.conflist() {
        faults.add(
            at,
            "cni.template is the conflist itself: write the template's path outside of conf-dir",
        );
    }
    if cni.executables.as_ref() == Some(&cni.bin_dir) {
        faults.add(
            at,
            "cni.executables is bin-dir: write the folder to install from, or leave it out",
        );
    }
    Some(cni)
}

/// A file's name that every runtime reads (libcni `ConfFiles`).
fn conf_name(value: &Value) -> Result<String, String> {
    let name = text(value)?;
    let plain = |c: char| c.is_ascii_alphanumeric() || ['.', '_', '-'].contains(&c);
    let stem = name.strip_suffix(".conflist").unwrap_or_default();
    if stem.is_empty() || stem.starts_with('.') || name.len() > 200 || !name.chars().all(plain) {
        return Err("write a file's name that ends in .conflist, as \"10-ferrule.conflist\", of \
                    letters, digits, \".\", \"_\" and \"-\""
            .to_owned());
    }
    Ok(name.to_owned())
}
