//! The configuration of the bridge plugin: JSON in, types that cannot be wrong out.

use crate::plan::vlan_device;
use cni::{Command, Error, Request, Result, code, json, log};
use plan::Mac;
use serde::Deserialize;
use serde_json::Value;
use std::collections::BTreeSet;
use std::path::PathBuf;

/// What a network wants of its pods and its bridge. Keys and defaults are the reference's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// `bridge`.
    pub bridge: String,
    /// `isGateway`, or implied by `isDefaultGateway`.
    pub gateway: bool,
    /// `isDefaultGateway`.
    pub default_gateway: bool,
    /// `forceAddress`.
    pub force_address: bool,
    /// What the gateway's address is marked with; 0, for nothing, unless a plugin that is built on
    /// this one says otherwise.
    pub address_protocol: u8,
    /// `ipMasq`.
    pub masquerade: bool,
    /// `mtu` in bytes; `None` leaves the kernel's default.
    pub mtu: Option<u32>,
    /// `metric`: that of routes without a priority; `None` for 0.
    pub metric: Option<u32>,
    /// `hairpinMode`.
    pub hairpin: bool,
    /// `promiscMode`.
    pub promiscuous: bool,
    /// `vlan`; `None` for 0.
    pub vlan: Option<u16>,
    /// The IDs of `vlanTrunk`, ascending.
    pub trunk: Vec<u16>,
    /// `preserveDefaultVlan`.
    pub keep_default_vlan: bool,
    /// `macspoofchk`.
    pub macspoof: bool,
    /// `enabledad`.
    pub dad: bool,
    /// Not `disableContainerInterface`.
    pub pod_up: bool,
    /// `portIsolation`.
    pub isolated: bool,
    /// `acceptRa`: router advertisements and redirects of neighbours may configure the pod.
    pub accept_ra: bool,
    /// From `CNI_ARGS`, `args.cni.mac` or `runtimeConfig.mac`.
    pub mac: Option<Mac>,
    /// `runDir`.
    pub run_dir: PathBuf,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Wire {
    bridge: String,
    is_gateway: bool,
    is_default_gateway: bool,
    force_address: bool,
    ip_masq: bool,
    ip_masq_backend: String,
    mtu: i64,
    metric: i64,
    hairpin_mode: bool,
    promisc_mode: bool,
    vlan: i64,
    vlan_trunk: Vec<Trunk>,
    preserve_default_vlan: bool,
    macspoofchk: bool,
    enabledad: bool,
    disable_container_interface: bool,
    port_isolation: bool,
    accept_ra: bool,
    args: Args,
    runtime_config: WithMac,
    run_dir: String,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Trunk {
    #[serde(rename = "minID")]
    min_id: Option<i64>,
    #[serde(rename = "maxID")]
    max_id: Option<i64>,
    id: Option<i64>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Args {
    cni: WithMac,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct WithMac {
    mac: String,
}

const DEFAULT_BRIDGE: &str = "cni0";
const DEFAULT_RUN_DIR: &str = "/run/ferrule";

impl Config {
    /// Reads and validates the plugin's keys.
    ///
    /// # Errors
    /// Code 7 naming key and value, 4 for `CNI_ARGS`.
    pub fn read(request: &Request) -> Result<Config> {
        let wire: Wire = request.conf.decode()?;
        refuse_contradictions(&wire, request)?;
        let bridge = if wire.bridge.is_empty() { DEFAULT_BRIDGE.to_owned() } else { wire.bridge };
        valid_bridge_name(&bridge)?;
        let vlan = valid_vlan(wire.vlan)?;
        let gateway = wire.is_gateway || wire.is_default_gateway;
        if let (Some(id), true) = (vlan, gateway) {
            valid_bridge_name(&vlan_device(&bridge, id))?;
        }
        valid_backend(&wire.ip_masq_backend, wire.ip_masq)?;
        Ok(Config {
            bridge,
            gateway,
            default_gateway: wire.is_default_gateway,
            force_address: wire.force_address,
            address_protocol: 0,
            masquerade: wire.ip_masq,
            mtu: valid_mtu(wire.mtu)?,
            metric: valid_metric(wire.metric)?,
            hairpin: wire.hairpin_mode,
            promiscuous: wire.promisc_mode,
            vlan,
            trunk: trunk(&wire.vlan_trunk)?,
            keep_default_vlan: wire.preserve_default_vlan,
            macspoof: wire.macspoofchk,
            dad: wire.enabledad,
            pod_up: !wire.disable_container_interface,
            isolated: wire.port_isolation,
            accept_ra: wire.accept_ra,
            mac: mac(request, &wire.runtime_config.mac, &wire.args.cni.mac)?,
            run_dir: run_dir(&wire.run_dir)?,
        })
    }

    /// `bridge` alone, of a configuration whose other keys may have become invalid.
    pub fn bridge(request: &Request) -> String {
        let bridge = json::get(&request.conf.object, "bridge").and_then(Value::as_str);
        bridge.filter(|name| !name.is_empty()).unwrap_or(DEFAULT_BRIDGE).to_owned()
    }

    /// `runDir` alone, of a configuration whose other keys may have become invalid.
    pub fn run_dir(request: &Request) -> PathBuf {
        #[derive(Default, Deserialize)]
        #[serde(default, rename_all = "camelCase")]
        struct Only {
            run_dir: String,
        }
        let only: Only = request.conf.decode().unwrap_or_default();
        run_dir(&only.run_dir).unwrap_or_else(|_| PathBuf::from(DEFAULT_RUN_DIR))
    }
}

fn refuse_contradictions(wire: &Wire, request: &Request) -> Result<()> {
    if wire.hairpin_mode && wire.promisc_mode {
        return Err(Error::config("cannot set hairpin mode and promiscuous mode at the same time")
            .details(
                "a promiscuous bridge answers hairpin frames itself; unset one of \
                      hairpinMode and promiscMode",
            ));
    }
    if wire.disable_container_interface && request.conf.ipam.is_some() {
        return Err(Error::config("cannot use IPAM when DisableContainerInterface flag is set")
            .details(
                "an interface that stays down holds no routes; remove ipam or \
                      disableContainerInterface",
            ));
    }
    Ok(())
}

fn valid_bridge_name(name: &str) -> Result<()> {
    let wrong = |c: char| c == '/' || c == ':' || c == '%' || c.is_whitespace() || c.is_control();
    if name.len() > 15 || matches!(name, "." | "..") || name.contains(wrong) {
        return Err(Error::config(format!("invalid bridge name {name:?}"))
            .details("an interface name has at most 15 bytes, without / : % or spaces"));
    }
    Ok(())
}

fn valid_backend(backend: &str, used: bool) -> Result<()> {
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

fn valid_mtu(mtu: i64) -> Result<Option<u32>> {
    match u32::try_from(mtu) {
        Ok(0) => Ok(None),
        // The range of a veth device: ETH_MIN_MTU to ETH_MAX_MTU.
        Ok(mtu @ 68..=65535) => Ok(Some(mtu)),
        _ => Err(Error::config(format!("invalid MTU {mtu}"))
            .details("mtu is 68 to 65535 bytes, at least 1280 for IPv6, or 0 for the default")),
    }
}

fn valid_metric(metric: i64) -> Result<Option<u32>> {
    match u32::try_from(metric) {
        Ok(metric) => Ok(Some(metric).filter(|metric| *metric > 0)),
        Err(_) => Err(Error::config(format!("invalid metric {metric}"))
            .details("metric is 1 to 4294967295, or 0 for the kernel's default")),
    }
}

fn valid_vlan(id: i64) -> Result<Option<u16>> {
    match u16::try_from(id) {
        Ok(0) => Ok(None),
        Ok(id @ 1..=4094) => Ok(Some(id)),
        _ => Err(Error::config(format!("invalid VLAN ID {id} (must be between 0 and 4094)"))),
    }
}

fn trunk(entries: &[Trunk]) -> Result<Vec<u16>> {
    let id = |value: i64, name: &str| match u16::try_from(value) {
        Ok(id @ 1..=4094) => Ok(id),
        _ => Err(Error::config(format!("incorrect trunk {name} parameter"))
            .details(format!("vlanTrunk {name} is {value}; a VLAN ID is 1 to 4094"))),
    };
    let alone = |missing: &str| {
        Err(Error::config(format!(
            "minID and maxID should be configured simultaneously, {missing} is missing"
        )))
    };
    let mut ids = BTreeSet::new();
    for entry in entries {
        match (entry.min_id, entry.max_id) {
            (Some(min), Some(max)) => {
                let (min, max) = (id(min, "minID")?, id(max, "maxID")?);
                if max < min {
                    return Err(Error::config("minID is greater than maxID in trunk parameter")
                        .details(format!("vlanTrunk has minID {min} and maxID {max}")));
                }
                ids.extend(min..=max);
            }
            (None, Some(_)) => return alone("minID"),
            (Some(_), None) => return alone("maxID"),
            (None, None) => {}
        }
        if let Some(single) = entry.id {
            ids.insert(id(single, "id")?);
        }
    }
    Ok(ids.into_iter().collect())
}

/// The first of `runtimeConfig.mac`, `args.cni.mac` and MAC in `CNI_ARGS` that is set.
fn mac(request: &Request, runtime: &str, args: &str) -> Result<Option<Mac>> {
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

fn run_dir(text: &str) -> Result<PathBuf> {
    match text {
        "" => Ok(PathBuf::from(DEFAULT_RUN_DIR)),
        absolute if absolute.starts_with('/') => Ok(PathBuf::from(absolute)),
        other => Err(Error::config(format!("runDir {other:?} is not an absolute path"))),
    }
}

#[cfg(test)]
pub(crate) mod tests;
