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
    /// The host end's first byte is 0xfe, so that a bridge whose MAC address is not pinned, and
    /// which takes the lowest of its ports' (net/bridge/br_stp_if.c), keeps that of an uplink.
    pub fn mac(&self, first: u8) -> [u8; 6] {
        let digest = self.digest();
        [first, digest[11], digest[12], digest[13], digest[14], digest[15]]
    }

    /// What marks kernel objects as this attachment's: hash, network, container, interface, as
    /// much of it as fits into `limit` bytes. The hash comes first and always fits. A chained plugin
    /// is named before it; the plugin that made the attachment is not.
    pub fn label(&self, chained: Option<&str>, limit: usize) -> String {
        let plain = |c: char| if c.is_ascii_alphanumeric() || "_.-".contains(c) { c } else { '?' };
        // An interface name may hold a quote, which would break out of a saved nft ruleset.
        let ifname: String = self.ifname.chars().map(plain).collect();
        let by = chained.map_or_else(String::new, |plugin| format!(".{plugin}"));
        let mut label =
            format!("ferrule{by} {} {} {} {ifname}", self.hash(), self.network, self.container_id);
        label.truncate(limit);
        label
    }
}

/// What an [`Attachment::label`] says. Where it was cut short, the parts of the attachment are; the
/// hash is whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Label {
    /// The chained plugin, if it is one's.
    pub chained: Option<String>,
    /// [`Attachment::hash`].
    pub hash: String,
    /// The attachment.
    pub attachment: Attachment,
}

impl Label {
    /// Reads a label; `None` for a text that is none.
    pub fn read(label: &str) -> Option<Label> {
        let mut words = label.split(' ');
        let chained = match words.next()?.strip_prefix("ferrule")? {
            "" => None,
            plugin => Some(plugin.strip_prefix('.').filter(|name| !name.is_empty())?.to_owned()),
        };
        let hash = words.next().filter(|hash| hash.len() == 32)?.to_owned();
        let mut part = || words.next().unwrap_or_default();
        Some(Label { chained, hash, attachment: Attachment::new(part(), part(), part()) })
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
        assert_eq!(
            attachment.label(None, 255),
            format!("ferrule {} ferrule c1 eth0", attachment.hash())
        );
        assert_eq!(attachment.label(None, 40), format!("ferrule {}", attachment.hash()));
    }

    #[test]
    fn a_label_is_read_again() {
        let attachment = Attachment::new("n", "c", "eth0");
        let label = attachment.label(None, 255);
        let hash = attachment.hash();
        let read = Label { chained: None, hash, attachment: attachment.clone() };
        assert_eq!(Label::read(&label), Some(read.clone()));
        let label = attachment.label(Some("tuning"), 255);
        assert!(label.starts_with(&format!("ferrule.tuning {} n c", attachment.hash())));
        assert_eq!(Label::read(&label), Some(Label { chained: Some("tuning".into()), ..read }));
        let hash = attachment.hash();
        let others = [
            "ferrule abc",
            &format!("other {hash} n"),
            &format!("ferrule. {hash}"),
            &format!("ferrulex {hash}"),
        ];
        assert!(others.iter().all(|label| Label::read(label).is_none()));
    }

    #[test]
    fn a_label_is_plain() {
        let attachment = Attachment::new("n", "c", "\"ä; drop");
        assert!(attachment.label(None, 255).ends_with(" n c ????drop"));
    }

    #[test]
    fn parts_cannot_be_shifted() {
        let one = Attachment::new("a", "bc", "d").hash();
        assert_ne!(one, Attachment::new("ab", "c", "d").hash());
        assert_ne!(one, Attachment::new("a", "b", "cd").hash());
    }
}
