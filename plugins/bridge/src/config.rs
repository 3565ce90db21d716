//! The configuration of the bridge plugin: JSON in, types that cannot be wrong out.

use attach::Mac;
use attach::keys::{self, Args, WithMac};
use cni::{Error, Request, Result, ifname, json};
use ipnetwork::IpNetwork;
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
    /// `ipMasqExclude`.
    pub exclude: Vec<IpNetwork>,
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
    is_gateway: Option<bool>,
    is_default_gateway: Option<bool>,
    force_address: bool,
    ip_masq: bool,
    ip_masq_backend: String,
    ip_masq_exclude: Vec<String>,
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

const DEFAULT_BRIDGE: &str = "cni0";

impl Config {
    /// Reads and validates the plugin's keys.
    ///
    /// # Errors
    /// Code 7 naming key and value, 4 for `CNI_ARGS`.
    pub fn read(request: &Request) -> Result<Config> {
        Config::of(request.conf.decode()?, request)
    }

    /// The same for a network whose pods send through a tunnel: where the keys say nothing, the bridge
    /// is the pods' default gateway, and their MTU is the tunnel's.
    ///
    /// # Errors
    /// As [`Config::read`], and an MTU of more bytes than the tunnel carries.
    pub fn over_tunnel(request: &Request, mtu: u32) -> Result<Config> {
        let mut wire: Wire = request.conf.decode()?;
        if wire.mtu > i64::from(mtu) {
            return Err(Error::config(format!("invalid MTU {}", wire.mtu))
                .details(format!("the tunnel carries {mtu} bytes; leave mtu out, or lower it")));
        }
        if wire.mtu == 0 {
            wire.mtu = i64::from(mtu);
        }
        wire.is_default_gateway.get_or_insert(wire.is_gateway != Some(false));
        wire.is_gateway.get_or_insert(true);
        Config::of(wire, request)
    }

    fn of(wire: Wire, request: &Request) -> Result<Config> {
        refuse_contradictions(&wire, request)?;
        let bridge = if wire.bridge.is_empty() { DEFAULT_BRIDGE.to_owned() } else { wire.bridge };
        valid_bridge_name(&bridge)?;
        let vlan = valid_vlan(wire.vlan)?;
        let default_gateway = wire.is_default_gateway == Some(true);
        let gateway = wire.is_gateway == Some(true) || default_gateway;
        if let (Some(id), true) = (vlan, gateway) {
            valid_bridge_name(&vlan_device(&bridge, id))?;
        }
        keys::masquerade_backend(&wire.ip_masq_backend, wire.ip_masq)?;
        Ok(Config {
            bridge,
            gateway,
            default_gateway,
            force_address: wire.force_address,
            address_protocol: 0,
            masquerade: wire.ip_masq,
            exclude: keys::masquerade_exclude(&wire.ip_masq_exclude, wire.ip_masq)?,
            mtu: keys::mtu(wire.mtu)?,
            metric: keys::metric(wire.metric)?,
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
            mac: keys::mac(request, &wire.runtime_config.mac, &wire.args.cni.mac)?,
            run_dir: keys::run_dir(&wire.run_dir)?,
        })
    }

    /// `bridge` alone, of a configuration whose other keys may have become invalid.
    pub fn bridge(request: &Request) -> String {
        let bridge = json::get(&request.conf.object, "bridge").and_then(Value::as_str);
        bridge.filter(|name| !name.is_empty()).unwrap_or(DEFAULT_BRIDGE).to_owned()
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

/// The name of the device that holds the gateway's address of a VLAN.
pub fn vlan_device(bridge: &str, id: u16) -> String {
    format!("{bridge}.{id}")
}

fn valid_bridge_name(name: &str) -> Result<()> {
    if ifname::fault(name).is_none() {
        return Ok(());
    }
    Err(Error::config(format!("invalid bridge name {name:?}"))
        .details("an interface name has at most 15 bytes, without / : % or spaces"))
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

#[cfg(test)]
pub(crate) mod tests;
