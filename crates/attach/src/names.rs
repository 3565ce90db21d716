//! The names that everything of one attachment carries.

use crate::Mac;
use cni::Attachment;

/// The names that an attachment's items carry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Names {
    /// The network's name.
    pub network: String,
    /// The host end of the veth pair.
    pub host: String,
    /// The host end's MAC address, when it is known.
    pub host_mac: Option<Mac>,
    /// The host end's alias; empty when another suite made it.
    pub alias: String,
    /// The comment of nftables elements.
    pub comment: String,
    /// The pod end of the veth pair.
    pub pod: String,
    /// The pod end's MAC address, when it is known.
    pub pod_mac: Option<Mac>,
    /// The pod end's MTU that CHECK expects, when it is known.
    pub pod_mtu: Option<u32>,
}

/// What an interface alias may hold. (The kernel's 255 when the NUL is not sent; it is.)
const ALIAS_LIMIT: usize = 254;
/// nftables' limit of a comment: 128 bytes with its NUL.
const COMMENT_LIMIT: usize = 127;

/// The alias of an attachment's host veth.
pub fn alias(attachment: &Attachment) -> String {
    attachment.label(None, ALIAS_LIMIT)
}

/// The comment of an attachment's nftables elements.
pub fn comment(attachment: &Attachment) -> String {
    attachment.label(None, COMMENT_LIMIT)
}

/// A plugin, as its records and marks name it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Maker {
    /// The plugin that makes attachments, of whatever type: there is one for each.
    Main,
    /// A plugin that stands behind it, by the name of its executable.
    Chained(&'static str),
}

impl Maker {
    /// What the names of its records begin with: of a main plugin the same as in version 0.1.0.
    pub(crate) fn records(self) -> &'static str {
        match self {
            Maker::Main => "bridge",
            Maker::Chained(name) => name,
        }
    }

    /// Its name in marks; main plugins have none.
    pub(crate) fn chained(self) -> Option<&'static str> {
        match self {
            Maker::Main => None,
            Maker::Chained(name) => Some(name),
        }
    }

    /// What marks all that it made of an attachment. nftables keeps the first 127 bytes.
    pub fn mark(self, attachment: &Attachment) -> String {
        attachment.label(self.chained(), ALIAS_LIMIT)
    }

    /// The mark as the comment of an nftables element.
    pub fn comment(self, attachment: &Attachment) -> String {
        attachment.label(self.chained(), COMMENT_LIMIT)
    }
}

impl Names {
    /// The names of an attachment that is ours, with the MAC address and MTU that its network asks
    /// for.
    pub fn of(attachment: &Attachment, mac: Option<Mac>, mtu: Option<u32>) -> Names {
        Names {
            network: attachment.network.clone(),
            host: attachment.host_veth(),
            host_mac: Some(Mac(attachment.mac(0xfe))),
            alias: alias(attachment),
            comment: comment(attachment),
            pod: attachment.ifname.clone(),
            pod_mac: Some(mac.unwrap_or(Mac(attachment.mac(0x0a)))),
            pod_mtu: mtu,
        }
    }
}
