//! The node's VXLAN device: shared, and with a daemon the daemon's.

use crate::kernel::{Kernel, Result};
use crate::{Mac, Place};
use ipnetwork::IpNetwork;
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
        Ok(())
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
        Ok(vxlan::differences(&mut self.host, &spec(device, underlay))?)
    }
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
