//! Values of the pod that were there before an attachment changed them: it owns the change, and its
//! end restores the value of before.

use net::{Link, Mac};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::mem::discriminant;

/// A value of a link of the pod, or of a sysctl in its namespace.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "of", rename_all = "camelCase")]
pub enum Setting {
    /// A sysctl.
    Sysctl {
        /// The key with slashes: `net/core/somaxconn`.
        key: String,
        /// The value.
        value: String,
    },
    /// The MAC address of a link.
    Mac {
        /// The link's name.
        link: String,
        /// The address.
        #[serde(with = "crate::owned::mac_text")]
        mac: Mac,
    },
    /// The MTU of a link.
    Mtu {
        /// The link's name.
        link: String,
        /// Bytes.
        bytes: u32,
    },
    /// Whether a link takes the frames of every receiver.
    Promiscuous {
        /// The link's name.
        link: String,
        /// It does.
        on: bool,
    },
    /// Whether a link takes the frames of every multicast group.
    AllMulticast {
        /// The link's name.
        link: String,
        /// It does.
        on: bool,
    },
    /// The length of a link's transmit queue.
    TxQueueLength {
        /// The link's name.
        link: String,
        /// Packets.
        packets: u32,
    },
}

/// A setting, and what it was before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// The value to set.
    pub to: Setting,
    /// What was, once it is known; never of a sysctl that cannot be read.
    pub from: Option<Setting>,
}

impl Setting {
    /// The key of a sysctl, or the link's name.
    pub(crate) fn name(&self) -> &str {
        match self {
            Setting::Sysctl { key: name, .. }
            | Setting::Mac { link: name, .. }
            | Setting::Mtu { link: name, .. }
            | Setting::Promiscuous { link: name, .. }
            | Setting::AllMulticast { link: name, .. }
            | Setting::TxQueueLength { link: name, .. } => name,
        }
    }

    /// Whether both are values of one thing.
    pub fn is_same_thing(&self, other: &Setting) -> bool {
        discriminant(self) == discriminant(other) && self.name() == other.name()
    }

    /// Whether both are one value of one thing; numbers of a sysctl however they are written.
    pub(crate) fn is_equal(&self, other: &Setting) -> bool {
        match (self, other) {
            (Setting::Sysctl { key, value }, Setting::Sysctl { key: of, value: other }) => {
                key == of && is_same_value(value, other)
            }
            _ => self == other,
        }
    }

    /// The same thing's value at a link.
    pub(crate) fn of_link(&self, found: &Link) -> Setting {
        let link = found.name.clone();
        match self {
            Setting::Sysctl { .. } => self.clone(),
            Setting::Mac { .. } => Setting::Mac { link, mac: found.mac },
            Setting::Mtu { .. } => Setting::Mtu { link, bytes: found.mtu },
            Setting::Promiscuous { .. } => Setting::Promiscuous { link, on: found.promiscuous },
            Setting::AllMulticast { .. } => Setting::AllMulticast { link, on: found.all_multicast },
            Setting::TxQueueLength { .. } => {
                Setting::TxQueueLength { link, packets: found.tx_queue_length }
            }
        }
    }

    /// The value as a text.
    pub(crate) fn value(&self) -> String {
        match self {
            Setting::Sysctl { value, .. } => format!("{value:?}"),
            Setting::Mac { mac, .. } => mac.to_string(),
            Setting::Mtu { bytes, .. } => bytes.to_string(),
            Setting::Promiscuous { on, .. } | Setting::AllMulticast { on, .. } => on.to_string(),
            Setting::TxQueueLength { packets, .. } => packets.to_string(),
        }
    }
}

impl fmt::Display for Setting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Setting::Sysctl { key, .. } => write!(f, "sysctl {key}"),
            Setting::Mac { link, .. } => write!(f, "MAC address of {link}"),
            Setting::Mtu { link, .. } => write!(f, "MTU of {link}"),
            Setting::Promiscuous { link, .. } => write!(f, "promiscuous mode of {link}"),
            Setting::AllMulticast { link, .. } => write!(f, "all-multicast mode of {link}"),
            Setting::TxQueueLength { link, .. } => write!(f, "transmit queue length of {link}"),
        }
    }
}

/// The kernel prints tabs between the parts of a value, and each number in base 10.
fn is_same_value(one: &str, two: &str) -> bool {
    let parts = |text: &str| text.split_whitespace().map(plain).collect::<Vec<_>>();
    parts(one) == parts(two)
}

/// A part of a value, a number in base 10: the kernel reads `0x10` and `010` as C does (lib/kstrtox.c).
fn plain(part: &str) -> String {
    let (sign, digits) = match part.strip_prefix('-') {
        Some(digits) => ("-", digits),
        None => ("", part),
    };
    let number = match digits.as_bytes() {
        [b'0', b'x' | b'X', ..] => u64::from_str_radix(&digits[2..], 16),
        [b'0', ..] if digits.len() > 1 => u64::from_str_radix(digits, 8),
        _ => digits.parse(),
    };
    number.map_or_else(|_| part.to_owned(), |number| format!("{sign}{number}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Owned;

    #[test]
    fn values_are_compared_as_the_kernel_reads_them() {
        for (one, two) in
            [("1024 65000", "1024\t65000"), ("0x10", "16"), ("010", "8"), ("-1", "-1"), ("", "")]
        {
            assert!(is_same_value(one, two), "{one:?} {two:?}");
        }
        for (one, two) in [("1", "2"), ("1 2", "12"), ("cubic", "reno"), ("", "0"), ("-1", "1")] {
            assert!(!is_same_value(one, two), "{one:?} {two:?}");
        }
    }

    #[test]
    fn what_is_as_it_was_is_not_owned() {
        let mtu = |bytes| Setting::Mtu { link: "eth0".to_owned(), bytes };
        let change = |from| Change { to: mtu(1400), from };
        assert_eq!(change(None).owned(), None);
        assert_eq!(change(Some(mtu(1400))).owned(), None);
        let owned = Owned::Setting { to: mtu(1400), from: mtu(1500) };
        assert_eq!(change(Some(mtu(1500))).owned(), Some(owned));
    }
}
