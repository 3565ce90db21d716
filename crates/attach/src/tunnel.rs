//! The node's VXLAN device: shared, and with a daemon the daemon's.

use crate::kernel::{Kernel, Result};
use crate::{Mac, Place};
use ipnetwork::IpNetwork;
use net::sysctl;
use net::vxlan::{self, Tunnel, Vxlan};
use std::net::IpAddr;

/// A VXLAN device, up, with its addresses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TunnelDevice {
    /// Its name.
    pub name: String,
    /// The alias by which it is recognised as ours.
    pub alias: &'static str,
    /// VXLAN network identifier.
    pub vni: u32,
    /// UDP port.
    pub port: u16,
    /// The node's address, source of the outer header.
    pub local: IpAddr,
    /// The link that holds the node's address, and carries it unless that leads nowhere.
    pub underlay: String,
    /// Its MTU in bytes.
    pub mtu: u32,
    /// Its MAC address.
    pub mac: Mac,
    /// Its addresses, /32 and /128.
    pub addresses: Vec<IpNetwork>,
}

impl Kernel {
    /// Makes the device. With `keep` one that is there already is left as it is.
    ///
    /// # Errors
    /// The underlay is missing, the name or VNI and port are another's, or the kernel refuses.
    pub fn tunnel(&mut self, device: &TunnelDevice, keep: bool) -> Result<()> {
        if keep && self.link(Place::Host, &device.name)?.is_some_and(|link| link.kind == "vxlan") {
            return Ok(());
        }
        let underlay = self.underlay(device)?;
        vxlan::ensure(&mut self.host, &spec(device, underlay))?;
        forwarding(device).try_for_each(|key| Ok(sysctl::set(&key, "1")?))
    }

    /// The index of the link that its packets leave by; 0: the routes choose.
    fn underlay(&mut self, device: &TunnelDevice) -> Result<u32> {
        let link = self.known_link(Place::Host, &device.underlay)?;
        Ok(if link.leads_nowhere() { 0 } else { link.index })
    }

    /// What of the device differs, in words.
    ///
    /// # Errors
    /// The underlay is missing, or the kernel could not be asked.
    pub fn tunnel_differences(&mut self, device: &TunnelDevice) -> Result<Vec<String>> {
        let underlay = self.underlay(device)?;
        let mut differences = vxlan::differences(&mut self.host, &spec(device, underlay))?;
        for key in forwarding(device) {
            if sysctl::get(&key)?.is_some_and(|value| value != "1") {
                differences
                    .push(format!("{key} is off: pods of other nodes reach none of this one"));
            }
        }
        Ok(differences)
    }
}

/// The switches of its forwarding, for the families that it carries. It inherits those of
/// `conf.default`, which hardened nodes leave off.
fn forwarding(device: &TunnelDevice) -> impl Iterator<Item = String> {
    let carries = |six| device.addresses.iter().any(|address| address.is_ipv6() == six);
    let families = [("ipv4", carries(false)), ("ipv6", carries(true))];
    let carried = families.into_iter().filter(|(_, carried)| *carried);
    carried.map(|(family, _)| format!("net/{family}/conf/{}/forwarding", device.name))
}

fn spec(device: &TunnelDevice, underlay: u32) -> Tunnel<'_> {
    Tunnel {
        device: Vxlan {
            name: &device.name,
            mac: device.mac,
            vni: device.vni,
            port: device.port,
            local: device.local,
            underlay,
            mtu: device.mtu,
        },
        alias: device.alias,
        addresses: &device.addresses,
    }
}
