//! A sample of a chained plugin, which docs/adding-a-plugin.md walks through: behind `bridge`, it
//! drops frames that a pod sends from another MAC address than its own.

use attach::chain::{self, Chained};
use attach::{Item, Macspoof, Maker, Rule, Teardown, keys};
use cni::{CniResult, Error, Plugin, Request, Result};
use serde::Deserialize;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

#[allow(dead_code, reason = "the tests compile this file as a module")]
fn main() -> ExitCode {
    cni::run(cni::about!(), &Macguard)
}

/// What the network wants.
struct Config {
    /// `runDir`.
    run_dir: PathBuf,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Wire {
    run_dir: String,
}

impl Config {
    fn read(request: &Request) -> Result<Config> {
        let wire: Wire = request.conf.decode()?;
        Ok(Config { run_dir: keys::run_dir(&wire.run_dir)? })
    }
}

impl Chained for Config {
    const NAME: &'static str = "macguard";

    fn run_dir(&self) -> &Path {
        &self.run_dir
    }

    fn plan(&self, request: &Request, result: &CniResult, comment: &str) -> Result<Vec<Item>> {
        let missing = |what: &str| Error::config(format!("prevResult has no {what}"));
        let mut interfaces = result.interfaces.iter();
        let pod =
            interfaces.clone().find(|i| i.name == request.env.ifname && !i.sandbox.is_empty());
        let host = interfaces.find(|i| i.sandbox.is_empty() && i.name.starts_with("veth"));
        let pod = pod.ok_or_else(|| missing("interface of the pod"))?;
        let host = host.ok_or_else(|| missing("veth of the host"))?;
        let mac: attach::Mac = pod.mac.parse().map_err(|_| missing("MAC address of the pod"))?;
        let check = Macspoof { port: host.name.clone(), mac, comment: comment.to_owned() };
        Ok(vec![Item::Rule(Rule::Macspoof(check))])
    }
}

/// The plugin.
pub struct Macguard;

/// DEL and GC go by records and marks: the configuration may have become invalid since ADD.
fn teardown(request: &Request) -> Teardown<'static> {
    let maker = Maker::Chained(Config::NAME);
    Teardown { maker, run_dir: keys::run_dir_of(request), foreign: None }
}

impl Plugin for Macguard {
    fn add(&self, request: &Request) -> Result<CniResult> {
        chain::add(request, &Config::read(request)?)
    }

    fn del(&self, request: &Request) -> Result<()> {
        attach::del(request, &teardown(request))
    }

    fn check(&self, request: &Request) -> Result<()> {
        chain::check(request, &Config::read(request)?)
    }

    fn gc(&self, request: &Request) -> Result<()> {
        attach::gc(request, &teardown(request))
    }

    fn status(&self, request: &Request) -> Result<()> {
        Config::read(request).map(drop)
    }
}
