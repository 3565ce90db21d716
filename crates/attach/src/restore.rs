//! Settings in the kernel: noted, changed, compared, and restored.

use crate::compare::{Differences, differs, missing};
use crate::item::Item;
use crate::kernel::{Error, Kernel, Result};
use crate::owned::Owned;
use crate::place::Place;
use crate::setting::Setting;
use net::{link, sysctl};

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
            let written = if value.is_empty() { "\n" } else { value };
            let done = self.pod()?.netns.enter(|| sysctl::write(key, written));
            return done.map_err(|error| refused(value, error).into());
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

/// The kernel's refusal of a value, with the remedy where it is empty.
fn refused(value: &str, error: net::Error) -> net::Error {
    if value.is_empty() && error.reason.is_empty() {
        let reason = "an empty value empties a list, and this is none; give it a value, or leave the key out";
        return net::Error::of(error.what, error.errno, reason);
    }
    error
}

fn no_sysctl(key: &str) -> net::Error {
    net::Error::of(
        format!("find sysctl {key} in the pod"),
        net::ENOENT,
        "this kernel has it not, or not for each network namespace, or its module is not loaded",
    )
}
