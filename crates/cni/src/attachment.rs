//! The key that everything of one attachment derives from.

use sha2::{Digest, Sha256};
use std::fmt::Write as _;

/// One interface of one container on one network: the spec's unique tuple, plus the network.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Attachment {
    /// `name` of the network configuration.
    pub network: String,
    /// `CNI_CONTAINERID`.
    pub container_id: String,
    /// `CNI_IFNAME`.
    pub ifname: String,
}

impl Attachment {
    /// The attachment of these three.
    pub fn new(network: &str, container_id: &str, ifname: &str) -> Attachment {
        Attachment {
            network: network.to_owned(),
            container_id: container_id.to_owned(),
            ifname: ifname.to_owned(),
        }
    }

    /// The first 16 bytes of the SHA-256 of the three, which none of them can hold a NUL in.
    pub fn digest(&self) -> [u8; 16] {
        let text = format!("{}\0{}\0{}", self.network, self.container_id, self.ifname);
        let mut digest = [0; 16];
        digest.copy_from_slice(&Sha256::digest(text)[..16]);
        digest
    }

    /// [`Attachment::digest`] as 32 hexadecimal digits.
    pub fn hash(&self) -> String {
        self.digest().iter().fold(String::new(), |mut text, byte| {
            // Writing to a String cannot fail.
            let _ = write!(text, "{byte:02x}");
            text
        })
    }

    /// The name of the host end of its veth pair: `veth` and 11 hexadecimal digits, 15 bytes, all
    /// that the kernel's IFNAMSIZ allows.
    pub fn host_veth(&self) -> String {
        format!("veth{}", &self.hash()[..11])
    }

    /// A MAC address of its own: locally administered, unicast, and of the given first byte.
    /// The host end's first byte is 0xfe, so that a bridge whose MAC address nobody pinned, and
    /// which takes the lowest of its ports' (net/bridge/br_stp_if.c), keeps that of an uplink.
    pub fn mac(&self, first: u8) -> [u8; 6] {
        let digest = self.digest();
        [first, digest[11], digest[12], digest[13], digest[14], digest[15]]
    }

    /// What marks kernel objects as this attachment's: hash, network, container, interface, as
    /// much of it as fits into `limit` bytes. The hash comes first and always fits.
    pub fn label(&self, limit: usize) -> String {
        let plain = |c: char| if c.is_ascii_alphanumeric() || "_.-".contains(c) { c } else { '?' };
        // An interface name may hold a quote, which would break out of a saved nft ruleset.
        let ifname: String = self.ifname.chars().map(plain).collect();
        let mut label =
            format!("ferrule {} {} {} {ifname}", self.hash(), self.network, self.container_id);
        label.truncate(limit);
        label
    }
}

impl Attachment {
    /// Hash and parts of an attachment, of a [`Attachment::label`]. Where the label was cut short,
    /// the parts are; the hash is whole.
    pub fn of_label(label: &str) -> Option<(String, Attachment)> {
        let mut words = label.split(' ');
        if words.next() != Some("ferrule") {
            return None;
        }
        let hash = words.next().filter(|hash| hash.len() == 32)?.to_owned();
        let mut part = || words.next().unwrap_or_default();
        Some((hash, Attachment::new(part(), part(), part())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_pinned() {
        // These names stand in kernels of running nodes: a change would orphan them.
        let attachment = Attachment::new("ferrule", "c1", "eth0");
        assert_eq!(attachment.hash(), "25645e0e3dd634fcc348d5bc1e0d8d49");
        assert_eq!(attachment.host_veth().len(), 15);
        assert_eq!(attachment.mac(0xfe)[0], 0xfe);
        assert_eq!(attachment.label(255), format!("ferrule {} ferrule c1 eth0", attachment.hash()));
        assert_eq!(attachment.label(40), format!("ferrule {}", attachment.hash()));
    }

    #[test]
    fn a_label_is_read_again() {
        let attachment = Attachment::new("n", "c", "eth0");
        let label = attachment.label(255);
        assert_eq!(Attachment::of_label(&label), Some((attachment.hash(), attachment)));
        assert_eq!(Attachment::of_label("ferrule abc"), None);
        assert_eq!(Attachment::of_label("other 25645e0e3dd634fcc348d5bc1e0d8d49 n c eth0"), None);
    }

    #[test]
    fn a_label_is_plain() {
        let attachment = Attachment::new("n", "c", "\"ä; drop");
        assert!(attachment.label(255).ends_with(" n c ????drop"));
    }

    #[test]
    fn parts_cannot_be_shifted() {
        let one = Attachment::new("a", "bc", "d").hash();
        assert_ne!(one, Attachment::new("ab", "c", "d").hash());
        assert_ne!(one, Attachment::new("a", "b", "cd").hash());
    }
}
