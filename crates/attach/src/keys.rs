//! Keys that every network's configuration has, validated.

use crate::Mac;
use cni::{CniResult, Command, Error, Request, Result, code, log};
use serde::Deserialize;
use std::path::PathBuf;

mod exclude;
pub use exclude::masquerade_exclude;

/// `args.cni` and `runtimeConfig`, as far as they hold a MAC address.
#[derive(Default, Deserialize)]
#[serde(default)]
pub struct WithMac {
    /// `mac`, as written.
    pub mac: String,
}

/// `args`.
#[derive(Default, Deserialize)]
#[serde(default)]
pub struct Args {
    /// `cni`.
    pub cni: WithMac,
}

const DEFAULT_RUN_DIR: &str = "/run/ferrule";

/// `mtu`; `None` for 0, the kernel's default.
///
/// # Errors
/// Code 7 with the value.
pub fn mtu(mtu: i64) -> Result<Option<u32>> {
    match u32::try_from(mtu) {
        Ok(0) => Ok(None),
        // The range of a veth device: ETH_MIN_MTU to ETH_MAX_MTU.
        Ok(mtu @ 68..=65535) => Ok(Some(mtu)),
        _ => Err(Error::config(format!("invalid MTU {mtu}"))
            .details("mtu is 68 to 65535 bytes, at least 1280 for IPv6, or 0 for the default")),
    }
}

/// Whether an MTU is large enough for a result's addresses.
///
/// # Errors
/// Code 7 with both.
pub fn mtu_fits(mtu: Option<u32>, result: &CniResult) -> Result<()> {
    match (mtu, result.ips.iter().find(|ip| ip.address.is_ipv6())) {
        (Some(mtu @ ..1280), Some(ip)) => {
            let msg = format!("MTU {mtu} is too small for the address {}", ip.address);
            Err(Error::config(msg)
                .details("IPv6 needs links of at least 1280 bytes (RFC 8200 section 5); raise mtu"))
        }
        _ => Ok(()),
    }
}

/// `metric`; `None` for 0, the kernel's default.
///
/// # Errors
/// Code 7 with the value.
pub fn metric(metric: i64) -> Result<Option<u32>> {
    match u32::try_from(metric) {
        Ok(metric) => Ok(Some(metric).filter(|metric| *metric > 0)),
        Err(_) => Err(Error::config(format!("invalid metric {metric}"))
            .details("metric is 1 to 4294967295, or 0 for the kernel's default")),
    }
}

/// Accepts an `ipMasqBackend`; warns of one that is served otherwise, if it is `used`.
///
/// # Errors
/// Code 7 with the value.
pub fn masquerade_backend(backend: &str, used: bool) -> Result<()> {
    match backend {
        "" | "auto" | "nftables" => {}
        "iptables" if used => log::warn(
            "ipMasqBackend iptables is served by nftables; an ACCEPT in iptables' nat table does \
             not exempt from it",
        ),
        "iptables" => {}
        other => {
            return Err(Error::config(format!("unknown ipMasqBackend {other:?}"))
                .details("it is nftables, or iptables, which is served by nftables too"));
        }
    }
    Ok(())
}

/// The first of `runtimeConfig.mac`, `args.cni.mac` and MAC in `CNI_ARGS` that is set.
///
/// # Errors
/// Code 7 with the value, 4 for `CNI_ARGS`.
pub fn mac(request: &Request, runtime: &str, args: &str) -> Result<Option<Mac>> {
    if request.env.command == Command::Add {
        request.env.args.only(&["MAC", "IP", "GATEWAY"])?;
    }
    let from_args = request.env.args.get("MAC").unwrap_or_default();
    let candidates = [runtime, args, from_args];
    let Some(text) = candidates.into_iter().find(|text| !text.is_empty()) else {
        return Ok(None);
    };
    let mac: Mac = text.parse().map_err(|error: String| {
        Error::config(format!("couldn't parse MAC address {text:?}")).details(error)
    })?;
    if !mac.is_valid() {
        return Err(Error::new(code::INVALID_CONFIG, format!("invalid MAC address {mac}"))
            .details("a zero or multicast address cannot be an interface's"));
    }
    Ok(Some(mac))
}

/// `runDir`, or the default.
///
/// # Errors
/// Code 7 with a path that is not absolute.
pub fn run_dir(text: &str) -> Result<PathBuf> {
    match text {
        "" => Ok(PathBuf::from(DEFAULT_RUN_DIR)),
        absolute if absolute.starts_with('/') => Ok(PathBuf::from(absolute)),
        other => Err(Error::config(format!("runDir {other:?} is not an absolute path"))),
    }
}

/// `runDir` alone, of a configuration whose other keys may be invalid.
pub fn run_dir_of(request: &Request) -> PathBuf {
    #[derive(Default, Deserialize)]
    #[serde(default, rename_all = "camelCase")]
    struct Only {
        run_dir: String,
    }
    let only: Only = request.conf.decode().unwrap_or_default();
    run_dir(&only.run_dir).unwrap_or_else(|_| PathBuf::from(DEFAULT_RUN_DIR))
}
