//! Reading the whole directory: once after a boot, after changes by others, for GC, and before an
//! address set counts as exhausted.

use super::{Found, Store, Sweep};
use crate::disk::stamp_of;
use crate::host::Id;
use crate::index::{Index, Slot, Stamp};
use crate::lease;
use cni::{Result, files, log};
use std::collections::HashMap;
use std::fs::{self, File};
use std::io::{self, ErrorKind};
use std::net::IpAddr;
use std::path::Path;

/// What [`Store::rescan`] dropped, and could not drop.
#[derive(Default)]
pub(crate) struct Swept {
    pub dropped: usize,
    pub failed: Vec<String>,
}

impl Store<'_> {
    /// Reads the whole directory and makes index and bits anew.
    pub(crate) fn rescan(&mut self, sweep: &Sweep) -> Result<Swept> {
        // By address and holder: a lease that was announced only, for another holder, must not
        // hide the stamp of the one that stands there.
        let old = self.index.iter().flat_map(Index::slots).flatten();
        let known: HashMap<_, Slot> = old.map(|slot| ((slot.address, slot.digest), slot)).collect();
        let machine = self.machine();
        let (mut swept, mut slots, mut taken) = (Swept::default(), Vec::new(), Vec::new());
        self.scanned.clear();
        let entries = fs::read_dir(&self.dir).map_err(|error| self.unreadable(&error))?;
        for entry in entries {
            let entry = entry.map_err(|error| self.unreadable(&error))?;
            let Some(address) = entry.file_name().to_str().and_then(lease::address_of) else {
                continue;
            };
            let (holder, file) = match (self.read(address), sweep) {
                (Found::Lease(holder, file), _) => (holder, file),
                (Found::Torn, Sweep::Unless(_)) => {
                    swept.drop_file(&entry.path());
                    continue;
                }
                (Found::Torn | Found::Nothing, _) => continue,
                (Found::Other, _) => {
                    taken.push(address);
                    continue;
                }
                (Found::Unreadable(error), _) => {
                    swept.failed.push(format!("{}: {error}", entry.path().display()));
                    taken.push(address);
                    slots.extend(known.values().filter(|slot| slot.address == address));
                    continue;
                }
            };
            let digest = holder.digest(self.network);
            let stamp = known.get(&(address, digest)).and_then(|slot| slot.stamp);
            let stamp = stamp.and_then(|stamp| self.confirmed(stamp, &file));
            let slot = Slot { digest, address, id_only: holder.ifname.is_empty(), stamp };
            let unwanted = is_stale(&slot, self.boot, machine)
                || matches!(sweep, Sweep::Unless(wanted) if !wanted(&holder));
            if unwanted && swept.drop_file(&entry.path()) {
                continue;
            }
            slots.push(slot);
            taken.push(address);
            self.scanned.push((address, holder));
        }
        if swept.dropped > 0 {
            let why = match sweep {
                Sweep::Stale => "from before the last boot",
                Sweep::Unless(_) => "not of a valid attachment",
            };
            log::info(&format!("released {} leases {why}", swept.dropped));
        }
        self.all_read = swept.failed.is_empty();
        self.keep(&slots, &taken);
        Ok(swept)
    }

    fn keep(&mut self, slots: &[Slot], taken: &[IpAddr]) {
        self.scanned_now = true;
        self.changed = true;
        let made = match &self.index_withheld {
            None => self.make_own().and_then(|()| Index::create(&self.index_path(), slots)),
            Some(error) => {
                Err(io::Error::other(format!("the present one cannot be read: {error}")))
            }
        };
        self.bits.replace(taken.iter().copied());
        self.index = match made {
            Ok(index) => {
                self.scanned.clear();
                Some(index)
            }
            Err(error) => {
                log::warn(&self.unwritable(&error).to_string());
                self.unmade = error.to_string();
                None
            }
        };
    }

    fn make_own(&self) -> io::Result<()> {
        if self.own.is_dir() { Ok(()) } else { files::make_folder(&self.own, 0o700) }
    }

    /// Our stamp, if it is of this very file.
    fn confirmed(&self, stamp: Stamp, file: &File) -> Option<Stamp> {
        let found = stamp_of(file).ok()?;
        match stamp.file {
            Some(recorded) => (recorded == found).then_some(stamp),
            // Announced, and then the process was killed: but since the same boot, so what stands
            // there is of this boot.
            None => (Some(stamp.boot) == self.boot).then_some(Stamp { file: Some(found), ..stamp }),
        }
    }
}

impl Swept {
    fn drop_file(&mut self, path: &Path) -> bool {
        match fs::remove_file(path) {
            Err(error) if error.kind() != ErrorKind::NotFound => {
                self.failed.push(format!("{}: {error}", path.display()));
                false
            }
            _ => {
                self.dropped += 1;
                true
            }
        }
    }
}

/// A lease is stale when our own record of that very file was written in another boot of this
/// machine: [`Store::confirmed`] drops the record of any other file.
fn is_stale(slot: &Slot, boot: Option<Id>, machine: Option<Id>) -> bool {
    slot.stamp.is_some_and(|stamp| {
        boot.is_some_and(|boot| boot != stamp.boot)
            && stamp.file.is_some()
            && stamp.machine.is_some()
            && stamp.machine == machine
    })
}
