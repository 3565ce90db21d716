//! Values of the pod that were there before an attachment changed them: it owns the change, and its
//! end restores the value of before.

use crate::compare::{Differences, differs, missing};
use crate::item::Place;
use crate::kernel::{Error, Kernel, Result};
use crate::{Item, Owned};
use net::{Link, Mac, link, sysctl};
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
    /// What shall be.
    pub to: Setting,
    /// What was, once it is known; never of a sysctl that cannot be read.
    pub from: Option<Setting>,
}

impl Change {
    /// What the attachment owns of it: nothing where nothing was changed.
    pub(crate) fn owned(&self) -> Option<Owned> {
        let from = self.from.clone().filter(|from| *from != self.to)?;
        Some(Owned::Setting { to: self.to.clone(), from })
    }
}

impl Setting {
    /// The key of a sysctl, or the link's name.
    fn name(&self) -> &str {
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
    fn is_equal(&self, other: &Setting) -> bool {
        match (self, other) {
            (Setting::Sysctl { key, value }, Setting::Sysctl { key: of, value: other }) => {
                key == of && is_same_value(value, other)
            }
            _ => self == other,
        }
    }

    /// The same thing's value at a link.
    fn of_link(&self, found: &Link) -> Setting {
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
    fn value(&self) -> String {
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

impl Kernel {
    /// Notes what the things that items set are before. Where one has the wanted value already and
    /// `saved` holds another, an earlier ADD of the attachment made it so, and that other one is noted.
    ///
    /// # Errors
    /// The pod has no such link or sysctl.
    pub(crate) fn note_before(&mut self, items: &mut [Item], saved: &[Setting]) -> Result<()> {
        for item in items {
            let Item::Setting(change) = item else { continue };
            let present = self.present(&change.to)?;
            let made = present.as_ref().is_some_and(|present| present.is_equal(&change.to));
            let earlier = saved.iter().find(|saved| made && saved.is_same_thing(&change.to));
            change.from = earlier.cloned().or(present);
        }
        Ok(())
    }

    /// What a thing is now; `None` for a sysctl that can only be written.
    fn present(&mut self, setting: &Setting) -> Result<Option<Setting>> {
        match setting {
            Setting::Sysctl { key, .. } => {
                let read = self.pod()?.netns.enter(|| match sysctl::get(key) {
                    Err(error) if error.is_read_only() => Ok(None),
                    Ok(None) => Err(no_sysctl(key)),
                    found => found,
                })?;
                Ok(read.map(|value| Setting::Sysctl { key: key.clone(), value }))
            }
            Setting::Mac { .. }
            | Setting::Mtu { .. }
            | Setting::Promiscuous { .. }
            | Setting::AllMulticast { .. }
            | Setting::TxQueueLength { .. } => {
                let found = self.known_link(Place::Pod, setting.name())?;
                Ok(Some(setting.of_link(&found)))
            }
        }
    }

    pub(crate) fn set(&mut self, setting: &Setting) -> Result<()> {
        if let Setting::Sysctl { key, value } = setting {
            // Writing nothing at all is no change; a line without anything empties a list.
            let value = if value.is_empty() { "\n" } else { value };
            return Ok(self.pod()?.netns.enter(|| sysctl::write(key, value))?);
        }
        let index = self.index(Place::Pod, setting.name())?;
        let verb = match setting {
            Setting::Sysctl { .. } => return Ok(()),
            Setting::Mac { link, mac } => link::set_mac(index, *mac, link),
            Setting::Mtu { link, bytes } => link::set_mtu(index, *bytes, link),
            Setting::Promiscuous { link, on } => link::set_promiscuous(index, *on, link),
            Setting::AllMulticast { link, on } => link::set_all_multicast(index, *on, link),
            Setting::TxQueueLength { link, packets } => {
                link::set_tx_queue_length(index, *packets, link)
            }
        };
        Ok(self.pod()?.socket.set(&verb)?)
    }

    pub(crate) fn check_setting(&mut self, wanted: &Setting) -> Result<Differences> {
        Ok(match self.present(wanted) {
            Err(Error::Net(error)) if error.is_gone() => missing(),
            Ok(Some(found)) if !found.is_equal(wanted) => {
                differs("value", found.value(), wanted.value())
            }
            found => found.map(|_| Differences::new())?,
        })
    }

    /// Gives a thing the value of before. A link's gets it whatever it is by now, as with the
    /// reference; a sysctl, which another attachment of the pod may have set since, only if it is
    /// still as this one set it. In a DEL without the pod's namespace there is nothing to restore,
    /// nor where the link is gone.
    ///
    /// # Errors
    /// The kernel's.
    pub fn restore(&mut self, to: &Setting, from: &Setting) -> Result<()> {
        if !self.has_pod() {
            return Ok(());
        }
        let restored = match from {
            Setting::Sysctl { .. } if !self.is_still(to)? => Ok(()),
            _ => self.set(from),
        };
        match restored {
            Err(Error::Net(error)) if error.is_gone() => Ok(()),
            restored => restored,
        }
    }

    /// Whether a thing is as it was set.
    fn is_still(&mut self, set: &Setting) -> Result<bool> {
        match self.present(set) {
            Err(Error::Net(error)) if error.is_gone() => Ok(false),
            found => Ok(found?.is_some_and(|found| found.is_equal(set))),
        }
    }

    /// Leaves out of what an earlier ADD owned the settings that are not as it set them: the pod of
    /// then is gone, and this one never had them.
    pub(crate) fn retain_set(&mut self, owned: &mut Vec<Owned>) -> Result<()> {
        let mut kept = Vec::with_capacity(owned.len());
        for one in owned.drain(..) {
            let Owned::Setting { to, .. } = &one else {
                kept.push(one);
                continue;
            };
            if self.is_still(to)? {
                kept.push(one);
            }
        }
        *owned = kept;
        Ok(())
    }
}

fn no_sysctl(key: &str) -> net::Error {
    net::Error::of(
        format!("find sysctl {key} in the pod"),
        net::ENOENT,
        "this kernel has it not, or not for each network namespace, or its module is not loaded",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

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
