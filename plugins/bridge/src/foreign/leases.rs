//! host-local's leases as they lie on disk: which attachment an address is leased to.
//!
//! Leases are the IPAM plugin's, and bridge has no other business with them. Here they are the
//! only evidence: the reference marks no link, so that nothing but the address on a veth's other
//! end says whose it is. CHECK of the IPAM plugin would not do: the reference's host-local is
//! content with any lease of the attachment, and does not look at the address.

use cni::{Attachment, Request, files, json};
use std::fs;
use std::net::IpAddr;
use std::path::PathBuf;

const DATA_DIR: &str = "/var/lib/cni/networks";
/// More than a container ID from the environment can be long.
const LIMIT: u64 = 256 << 10;

/// The leases of one network.
pub(super) struct Leases {
    network: String,
    dir: PathBuf,
}

impl Leases {
    /// Those of the request's network; `None` where IPAM is not host-local.
    pub(super) fn of(request: &Request) -> Option<Leases> {
        if request.conf.ipam.as_deref() != Some("host-local") {
            return None;
        }
        let ipam = json::get(&request.conf.object, "ipam")?.as_object()?;
        let dir = match json::get(ipam, "dataDir") {
            None => DATA_DIR,
            Some(dir) => Some(dir.as_str()?).filter(|dir| !dir.is_empty()).unwrap_or(DATA_DIR),
        };
        let network = request.conf.name.clone();
        Some(Leases { dir: PathBuf::from(dir).join(&network), network })
    }

    /// Whom an address is leased to, if that is known for sure.
    pub(super) fn holder(&self, address: IpAddr) -> Option<Attachment> {
        let content = files::read(&self.dir.join(address.to_string()), LIMIT).ok()?;
        let (container, ifname) = holder_in(std::str::from_utf8(&content).ok()?)?;
        Some(Attachment::new(&self.network, container, ifname))
    }

    /// All that hold a lease; one of two families twice.
    pub(super) fn holders(&self) -> Vec<Attachment> {
        let entries = fs::read_dir(&self.dir).into_iter().flatten().flatten();
        let names = entries.filter_map(|entry| entry.file_name().into_string().ok());
        let addresses = names.filter_map(|name| name.parse().ok());
        addresses.filter_map(|address| self.holder(address)).collect()
    }
}

/// Container and interface in a lease file. One that a crash left torn, or of an old plugin that
/// wrote the container alone, tells of no attachment.
fn holder_in(content: &str) -> Option<(&str, &str)> {
    let (container, ifname) = content.trim().split_once('\n')?;
    let container = container.trim_end();
    let whole = |text: &str| !text.is_empty() && !text.contains(|c: char| c.is_whitespace());
    (whole(container) && whole(ifname)).then_some((container, ifname))
}

#[cfg(test)]
mod tests {
    use super::holder_in;

    #[test]
    fn contents() {
        for content in ["c1\r\neth0", " c1\r\neth0\n", "c1\neth0"] {
            assert_eq!(holder_in(content), Some(("c1", "eth0")), "{content:?}");
        }
        for content in ["", "c1", "c1\r\n", "\r\neth0", "c1\r\neth0\r\nx", "c 1\r\neth0"] {
            assert_eq!(holder_in(content), None, "{content:?}");
        }
    }
}
