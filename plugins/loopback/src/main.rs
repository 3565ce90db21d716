//! The `loopback` executable: brings up `lo` in a pod.
//!
//! Whatever `CNI_IFNAME` says, the interface is `lo`, as in the reference.

use attach::{Item, Kernel, Place};
use cni::{CniResult, Error, Interface, Ip, Plugin, Request, Result, code};
use std::process::ExitCode;

const LO: &str = "lo";

fn main() -> ExitCode {
    cni::run(cni::about!(), &Loopback)
}

struct Loopback;

impl Plugin for Loopback {
    const TAKES_ARGS: bool = false;

    fn add(&self, request: &Request) -> Result<CniResult> {
        let mut kernel = open(request)?;
        kernel.apply(&plan(), &mut Vec::new()).map_err(failed)?;
        match &request.conf.prev_result {
            Some(previous) => Ok(previous.clone()),
            None => result(request, &mut kernel),
        }
    }

    fn del(&self, request: &Request) -> Result<()> {
        if request.env.netns.is_none() {
            return Ok(());
        }
        open(request)?.set_down(Place::Pod, LO).map_err(failed)
    }

    fn check(&self, request: &Request) -> Result<()> {
        let differences = open(request)?.check(&plan()).map_err(failed)?;
        if differences.is_empty() {
            return Ok(());
        }
        Err(Error::new(code::CHECK_FAILED, "loopback interface is down")
            .details(differences.join("; ")))
    }

    fn gc(&self, _: &Request) -> Result<()> {
        // What it makes goes with the pod's namespace.
        Ok(())
    }

    fn status(&self, _: &Request) -> Result<()> {
        Ok(())
    }
}

fn plan() -> Vec<Item> {
    vec![Item::Up(Place::Pod, LO.to_owned())]
}

fn open(request: &Request) -> Result<Kernel> {
    Kernel::open(request.env.netns.as_deref()).map_err(failed)
}

fn result(request: &Request, kernel: &mut Kernel) -> Result<CniResult> {
    let mut addresses = kernel.addresses(Place::Pod, LO).map_err(failed)?;
    if let Some(foreign) = addresses.iter().find(|address| !address.ip().is_loopback()) {
        let msg = format!("loopback interface found with non-loopback address {foreign}");
        return Err(Error::new(code::EXISTS, msg)
            .details("remove the address, or leave the loopback plugin out of the configuration"));
    }
    addresses.sort_by_key(|address| address.is_ipv6());
    let sandbox = request.env.netns.as_deref().map(|path| path.display().to_string());
    Ok(CniResult {
        interfaces: vec![Interface {
            name: LO.to_owned(),
            mac: "00:00:00:00:00:00".to_owned(),
            sandbox: sandbox.unwrap_or_default(),
            ..Interface::default()
        }],
        ips: addresses
            .into_iter()
            .map(|address| Ip { interface: Some(0), address, gateway: None })
            .collect(),
        ..CniResult::default()
    })
}

fn failed(error: attach::Error) -> Error {
    Error::new(code::KERNEL, error.summary()).details(error.cause())
}
