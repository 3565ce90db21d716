//! The leases of host-local: files named by address, in a folder for each network.

use super::records::age_of;
use crate::places;
use std::net::IpAddr;
use std::path::Path;

/// A lease.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lease {
    /// The network.
    pub network: String,
    /// The address.
    pub address: IpAddr,
    /// The container.
    pub container: String,
    /// The interface; empty in leases of old releases.
    pub ifname: String,
    /// Seconds since it was written.
    pub age: u64,
}

/// Every lease; without the folder there are none.
///
/// # Errors
/// A folder cannot be read.
pub fn read(data_dir: &Path) -> Result<Vec<Lease>, String> {
    let mut leases = Vec::new();
    for network in places::names(data_dir)?.unwrap_or_default() {
        // Files, and Ferrule's own folder, are no networks.
        if network.starts_with('.') {
            continue;
        }
        let folder = data_dir.join(&network);
        for name in places::names(&folder)?.unwrap_or_default() {
            let Ok(address) = name.parse() else { continue };
            let path = folder.join(&name);
            let Ok(Some(text)) = places::text(&path) else { continue };
            let mut lines = text.lines().map(str::trim);
            let mut line = || lines.next().unwrap_or_default().to_owned();
            let (container, ifname) = (line(), line());
            let lease =
                Lease { network: network.clone(), address, container, ifname, age: age_of(&path) };
            leases.extend(Some(lease).filter(|lease| !lease.container.is_empty()));
        }
    }
    Ok(leases)
}
