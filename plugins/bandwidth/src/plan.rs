//! What must exist: pure functions of configuration and names.

use crate::config::{Config, Limit};
use attach::chain::Chained;
use attach::{Ifb, Item, Mac, Maker, Place, RateLimit, Redirect};
use cni::{Attachment, CniResult, Interface, Request, Result};
use sha2::{Digest, Sha512};
use std::fmt::Write as _;
use std::path::Path;

/// The names that the IFB device may have: the reference's, `bwp` and the first 12 hexadecimal digits
/// of SHA-512 over network and container ID, or, where another interface of the container has that one,
/// the same over the interface's name too.
pub fn ifb_names(attachment: &Attachment) -> [String; 2] {
    let Attachment { network, container_id, ifname } = attachment;
    [format!("{network}{container_id}"), format!("{network}{container_id}{ifname}")].map(|text| {
        let digest = Sha512::digest(text);
        digest[..6].iter().fold("bwp".to_owned(), |mut name, byte| {
            // Writing to a String cannot fail.
            let _ = write!(name, "{byte:02x}");
            name
        })
    })
}

/// The MAC address of the IFB device: as no other device of the attachment begins.
fn mac(attachment: &Attachment) -> Mac {
    Mac(attachment.mac(0x06))
}

/// A pod whose link is to be limited.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limited {
    /// The limits.
    pub config: Config,
    /// The host's end of the pod's veth pair.
    pub host: String,
    /// Its MTU in bytes.
    pub mtu: u32,
    /// The IFB device's name.
    pub ifb: String,
    /// Whether the attachment is ours; otherwise what the reference chose is not compared.
    pub ours: bool,
}

impl Limited {
    fn rate_limit(&self, link: &str, limit: Limit) -> Item {
        let Limit { rate, burst } = limit;
        Item::RateLimit(RateLimit { link: link.to_owned(), rate, burst, owned: link == self.host })
    }

    /// What the pod sends, the host's end receives: only what a link sends can be delayed, so it passes
    /// a device of its own.
    fn egress(&self, limit: Limit, attachment: &Attachment) -> Vec<Item> {
        let name = &self.ifb;
        let alias = Maker::Chained(Self::NAME).mark(attachment);
        vec![
            Item::Ifb(Ifb {
                name: name.clone(),
                mac: self.ours.then(|| mac(attachment)),
                alias: if self.ours { alias } else { String::new() },
                mtu: self.mtu,
            }),
            self.rate_limit(name, limit),
            Item::Up(Place::Host, name.clone()),
            Item::Redirect(Redirect { from: self.host.clone(), to: name.clone() }),
        ]
    }
}

impl Chained for Limited {
    const NAME: &'static str = "bandwidth";

    fn run_dir(&self) -> &Path {
        &self.config.run_dir
    }

    fn plan(&self, request: &Request, _: &CniResult, _: &str) -> Result<Vec<Item>> {
        let attachment = request.attachment();
        let egress = self.config.egress.map(|limit| self.egress(limit, &attachment));
        let ingress = self.config.ingress.map(|limit| self.rate_limit(&self.host, limit));
        Ok(egress.into_iter().flatten().chain(ingress).collect())
    }

    fn result(&self, request: &Request, result: &CniResult) -> CniResult {
        let mut result = result.clone();
        if self.config.egress.is_some() {
            let (name, mac) = (self.ifb.clone(), mac(&request.attachment()).to_string());
            result.interfaces.push(Interface { name, mac, ..Interface::default() });
        }
        result
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_device_is_named_as_by_the_reference() {
        // What v1.10.0 prints for network "pods" and container "c1".
        let [first, second] = ifb_names(&Attachment::new("pods", "c1", "eth0"));
        assert_eq!(first, "bwp48c5963fc74e");
        assert_eq!(second.len(), 15);
        assert_ne!(second, first);
    }

    #[test]
    fn a_device_stands_before_packets_are_sent_to_it() {
        let limit = Some(Limit { rate: 1000, burst: 2000 });
        let run_dir = "/run".into();
        let config = Config { ingress: limit, egress: limit, run_dir };
        let (host, ifb) = ("veth0".to_owned(), "bwp48c5963fc74e".to_owned());
        let limited = Limited { config, host, mtu: 1500, ifb: ifb.clone(), ours: true };
        let attachment = Attachment::new("pods", "c1", "eth0");
        let items = limited.egress(Limit { rate: 1000, burst: 2000 }, &attachment);
        let said: Vec<_> = items.iter().map(ToString::to_string).collect();
        assert_eq!(
            said,
            [
                format!("IFB device {ifb}"),
                format!("rate limit of {ifb}"),
                format!("link {ifb}"),
                format!("redirection of veth0 to {ifb}"),
            ]
        );
        // The limit on it goes with it.
        let owned: Vec<_> = items.iter().filter_map(Item::owned).collect();
        assert_eq!(owned.len(), 2);
        assert!(limited.rate_limit("veth0", Limit { rate: 1, burst: 1 }).owned().is_some());
    }
}
