//! The tuning plugin's configuration: JSON → types that cannot be wrong.

use crate::sysctl::{self, Sysctl};
use attach::{Mac, backup, keys};
use cni::{Command, Error, Request, Result, code};
use duplicates::find_duplicate;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::path::PathBuf;

mod duplicates;

/// What the network wants of the pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// `sysctl`, in the order in which they are written.
    pub sysctls: Vec<Sysctl>,
    /// `mac`.
    pub mac: Option<Mac>,
    /// `mtu` in bytes.
    pub mtu: Option<u32>,
    /// `promisc`: false leaves the interface as it is.
    pub promiscuous: bool,
    /// `allmulti`.
    pub all_multicast: Option<bool>,
    /// `txQLen` in packets.
    pub tx_queue_length: Option<u32>,
    /// `dataDir`.
    pub data_dir: PathBuf,
    /// `runDir`.
    pub run_dir: PathBuf,
}

type Sysctls = BTreeMap<String, Option<String>>;

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Wire {
    sysctl: Sysctls,
    mac: String,
    mtu: i64,
    promisc: bool,
    allmulti: Option<bool>,
    #[serde(rename = "txQLen")]
    tx_queue_length: Option<i64>,
    data_dir: String,
    run_dir: String,
    runtime_config: keys::WithMac,
    args: Args,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Args {
    cni: CniArgs,
}

/// `args.cni`, which comes before all other places.
#[derive(Default, Deserialize)]
#[serde(default)]
struct CniArgs {
    sysctl: Sysctls,
    mac: Option<String>,
    mtu: Option<i64>,
    promisc: Option<bool>,
    allmulti: Option<bool>,
    #[serde(rename = "txQLen")]
    tx_queue_length: Option<i64>,
}

impl Config {
    /// Reads and validates the configuration.
    ///
    /// # Errors
    /// Code 7 with key and value, 4 for `CNI_ARGS`.
    pub fn read(request: &Request) -> Result<Config> {
        let wire: Wire = request.conf.decode()?;
        if let Some(key) = find_duplicate(&request.stdin) {
            return Err(sysctl::twice(&key, &key));
        }
        if request.env.command == Command::Add {
            request.env.args.only(&["MAC", "IP", "GATEWAY"])?;
        }
        let args = wire.args.cni;
        let in_env = request.env.args.get("MAC").unwrap_or_default();
        let places = [wire.runtime_config.mac.as_str(), in_env, wire.mac.as_str()];
        let set = places.into_iter().find(|text| !text.is_empty()).unwrap_or_default();
        Ok(Config {
            sysctls: sysctls(wire.sysctl, args.sysctl, &request.env.ifname)?,
            mac: mac(args.mac.as_deref().unwrap_or(set))?,
            mtu: keys::mtu(args.mtu.unwrap_or(wire.mtu))?,
            promiscuous: args.promisc.unwrap_or(wire.promisc),
            all_multicast: args.allmulti.or(wire.allmulti),
            tx_queue_length: tx_queue_length(args.tx_queue_length.or(wire.tx_queue_length))?,
            data_dir: data_dir(&wire.data_dir)?,
            run_dir: keys::run_dir(&wire.run_dir)?,
        })
    }
}

/// Those of `args.cni` replace those of the same name, however it is spelled.
fn sysctls(own: Sysctls, args: Sysctls, ifname: &str) -> Result<Vec<Sysctl>> {
    let texts = |of: Sysctls| of.into_iter().map(|(key, value)| (key, value.unwrap_or_default()));
    let args = sysctl::all(texts(args), ifname)?;
    let replaced = |sysctl: &Sysctl| args.iter().any(|other| other.path == sysctl.path);
    let own = sysctl::all(texts(own), ifname)?.into_iter().filter(|sysctl| !replaced(sysctl));
    let all = own.chain(args.iter().cloned()).map(|sysctl| (sysctl.key, sysctl.value));
    sysctl::all(all, ifname)
}

fn mac(text: &str) -> Result<Option<Mac>> {
    if text.is_empty() {
        return Ok(None);
    }
    let mac: Mac = text.parse().map_err(|error: String| {
        Error::config(format!("invalid args {text} for MAC addr")).details(error)
    })?;
    if !mac.is_valid() {
        return Err(Error::new(code::INVALID_CONFIG, format!("invalid MAC address {mac}"))
            .details("a zero or multicast address cannot be an interface's"));
    }
    Ok(Some(mac))
}

fn tx_queue_length(packets: Option<i64>) -> Result<Option<u32>> {
    let Some(packets) = packets else { return Ok(None) };
    u32::try_from(packets).map(Some).map_err(|_| {
        Error::config(format!("invalid txQLen {packets}"))
            .details("txQLen is 0 to 4294967295 packets")
    })
}

fn data_dir(text: &str) -> Result<PathBuf> {
    match text {
        "" => Ok(PathBuf::from(backup::DEFAULT_DIR)),
        absolute if absolute.starts_with('/') => Ok(PathBuf::from(absolute)),
        other => Err(Error::config(format!("dataDir {other:?} is not an absolute path"))),
    }
}

/// `dataDir` alone, of a configuration whose other keys may be invalid.
pub(crate) fn data_dir_of(request: &Request) -> PathBuf {
    #[derive(Default, Deserialize)]
    #[serde(default, rename_all = "camelCase")]
    struct Only {
        data_dir: String,
    }
    let only: Only = request.conf.decode().unwrap_or_default();
    data_dir(&only.data_dir).unwrap_or_else(|_| PathBuf::from(backup::DEFAULT_DIR))
}

#[cfg(test)]
mod tests;
