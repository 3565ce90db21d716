//! The leases of a network on disk, under the reference's lock.
//!
//! `<dataDir>/<network>/` is as the reference keeps it, and everything of ours is beside it in
//! `<dataDir>/.ferrule/<network>/`: the reference takes any file below its directory whose content
//! matches for a lease.
//!
//! # When the index is complete
//! The [index](crate::index) answers "which addresses has this attachment" without reading every
//! lease, so it must be known to miss none, though the reference, and people, change the directory
//! too, and though a process of ours may be killed at any instruction. The directory tells: each
//! creation, removal or renaming of an entry sets its mtime and ctime from one reading of the
//! clock, hence to the same value (ext4, xfs, btrfs, tmpfs:
//! `inode_set_mtime_to_ts(dir, inode_set_ctime_current(dir))`). As the last step of an operation
//! we set mtime to another value than ctime, and write both into the index. While the directory
//! still has both, no process changed it; a change by any, also by an operation of ours that did
//! not come to its end, makes them equal again, and no step of the clock can hide it. ctime cannot
//! be set at will, so neither can a restored backup. Then the directory is read whole, once, and
//! the index made anew. Where a file system does not keep an mtime that was set, each operation
//! reads the whole directory, as the reference does always.
//!
//! # Crashes
//! A lease is written aside and renamed into place: it is whole or absent. Its slot in the index
//! is written before, as an announcement, and completed after it. No fsync: what a crash of the
//! machine can lose is worth nothing, as no network namespace survives it.

use crate::bits::Bits;
use crate::disk::{
    create_new, create_new_at, lock_dir, lock_existing, move_new, read_small, sign, stamp_of,
    times_mended,
};
use crate::host::{Host, Id};
use crate::index::{Digest, Index, Slot, Stamp};
use crate::lease::{self, Holder};
use cni::{Error, Result, log};
use nix::errno::Errno;
use nix::fcntl::OFlag;
use std::cell::OnceCell;
use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind};
use std::net::IpAddr;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

mod rescan;

/// The leases of one network, locked until this is dropped.
pub struct Store<'a> {
    pub(crate) network: &'a str,
    pub(crate) dir: PathBuf,
    own: PathBuf,
    host: &'a Host,
    machine: OnceCell<Option<Id>>,
    boot: Option<Id>,
    _lock: File,
    /// `None` only when it cannot be written: then `scanned` serves.
    pub(crate) index: Option<Index>,
    scanned: Vec<(IpAddr, Holder)>,
    pub(crate) bits: Bits,
    /// Whether every lease met could be read, or dropped: if not, the next operation tries again.
    all_read: bool,
    /// Why the index that is there cannot be read now: then it is left for better times, since it
    /// holds the stamps.
    index_withheld: Option<io::Error>,
    /// Why there is no index.
    unmade: String,
    /// Whether this operation has read the whole directory.
    pub(crate) scanned_now: bool,
    /// Whether the directory or the index differ from what the index's header says.
    pub(crate) changed: bool,
}

/// What to do with the leases met in reading the whole directory.
pub(crate) enum Sweep<'a> {
    /// Drop those from before the last boot.
    Stale,
    /// Drop also what GC does not name, and torn files.
    Unless(&'a dyn Fn(&Holder) -> bool),
}

/// What stands at the place of a lease.
pub(crate) enum Found {
    Lease(Holder, File),
    /// A regular file that is no lease: empty, or torn by a crash.
    Torn,
    Nothing,
    /// Not a regular file: not ours to judge, so its address is taken.
    Other,
    /// Perhaps a lease, so its address is taken, and whom it belongs to is not known.
    Unreadable(io::Error),
}

impl<'a> Store<'a> {
    /// Opens and locks the leases of a network, and makes their directory if there is none.
    ///
    /// # Errors
    /// Code 5 when the directory cannot be made, locked or read.
    pub fn open(data_dir: &Path, network: &'a str, host: &'a Host) -> Result<Store<'a>> {
        let dir = data_dir.join(network);
        let lock = lock_dir(&dir).map_err(|error| unlockable(&dir, &error))?;
        Store::of(data_dir, network, host, lock)
    }

    /// As [`Store::open`]; `None` when there are no leases: then nothing is created.
    ///
    /// # Errors
    /// As [`Store::open`].
    pub fn existing(data_dir: &Path, network: &'a str, host: &'a Host) -> Result<Option<Self>> {
        let dir = data_dir.join(network);
        let lock = lock_existing(&dir).map_err(|error| unlockable(&dir, &error))?;
        lock.map(|lock| Store::of(data_dir, network, host, lock)).transpose()
    }

    fn of(data_dir: &Path, network: &'a str, host: &'a Host, lock: File) -> Result<Store<'a>> {
        let own = data_dir.join(".ferrule").join(network);
        let bits = Bits::new(&own);
        let mut store = Store {
            network,
            dir: data_dir.join(network),
            own,
            host,
            machine: OnceCell::new(),
            boot: host.boot(),
            _lock: lock,
            index: None,
            scanned: Vec::new(),
            bits,
            all_read: true,
            index_withheld: None,
            unmade: String::new(),
            scanned_now: false,
            changed: false,
        };
        store.load()?;
        Ok(store)
    }

    fn load(&mut self) -> Result<()> {
        let now = times_mended(&self.dir).map_err(|error| self.unreadable(&error))?;
        self.index = match Index::open(&self.index_path()) {
            Ok(index) => Some(index),
            Err(error) => {
                let lost = matches!(
                    error.kind(),
                    ErrorKind::NotFound | ErrorKind::InvalidData | ErrorKind::UnexpectedEof
                );
                let path = self.index_path();
                let withheld = !lost && path.metadata().is_ok_and(|meta| meta.is_file());
                self.index_withheld = Some(error).filter(|_| withheld);
                None
            }
        };
        let complete = self.index.as_ref().is_some_and(|index| {
            index.header.boot == self.boot && index.header.directory == Some(now)
        });
        if !complete {
            self.rescan(&Sweep::Stale)?;
        }
        Ok(())
    }

    fn machine(&self) -> Option<Id> {
        *self.machine.get_or_init(|| self.host.machine())
    }

    fn index_path(&self) -> PathBuf {
        self.own.join("index")
    }

    fn unreadable(&self, error: &io::Error) -> Error {
        Error::io(format!("cannot read the leases in {}", self.dir.display()), error)
    }

    /// The error of an index that cannot be kept.
    pub(crate) fn unwritable(&self, error: &io::Error) -> Error {
        Error::io(format!("cannot write the index of leases in {}", self.own.display()), error)
            .also("the file system needs free space, and ipam.dataDir must be writable")
    }

    /// What stands at the place of an address's lease.
    pub(crate) fn read(&self, address: IpAddr) -> Found {
        // A FIFO would hold up the call for ever; a symbolic link was not made by any plugin.
        let flags = OFlag::O_NONBLOCK | OFlag::O_NOFOLLOW;
        let opened = OpenOptions::new()
            .read(true)
            .custom_flags(flags.bits())
            .open(lease::path(&self.dir, address));
        let mut file = match opened {
            Ok(file) => file,
            Err(error) if error.kind() == ErrorKind::NotFound => return Found::Nothing,
            Err(error) => return unreadable(&lease::path(&self.dir, address), error),
        };
        let content = match read_small(&mut file) {
            Ok(content) => content,
            Err(error) => return unreadable(&lease::path(&self.dir, address), error),
        };
        match Holder::parse(&content) {
            Some(holder) => Found::Lease(holder, file),
            None if file.metadata().is_ok_and(|meta| meta.is_file()) => Found::Torn,
            None => Found::Other,
        }
    }

    /// The addresses that this very holder leases. Slots that say otherwise than the files are
    /// dropped.
    pub(crate) fn held_by(&mut self, holder: &Holder) -> Result<Vec<IpAddr>> {
        let slots = match self.find(holder) {
            Err(error) if !self.scanned_now => {
                log::warn(&format!("{error}; the index is made anew"));
                self.rescan(&Sweep::Stale)?;
                self.find(holder)
            }
            found => found,
        };
        let mut held = Vec::new();
        for address in slots.map_err(|error| self.unreadable(&error))? {
            match self.read(address) {
                // A process killed while it shifted slots may have left one twice.
                Found::Lease(found, _) if found == *holder && held.contains(&address) => {}
                Found::Lease(found, _) if found == *holder => held.push(address),
                Found::Unreadable(error) => {
                    let path = lease::path(&self.dir, address);
                    return Err(Error::io(format!("cannot read {}", path.display()), &error));
                }
                // A file that was written in place shows in no time of the directory: whose leases
                // these are by now only reading all of them tells.
                Found::Lease(..) if !self.scanned_now => {
                    self.rescan(&Sweep::Stale)?;
                    return self.held_by(holder);
                }
                _ => self.forget(holder, address),
            }
        }
        Ok(held)
    }

    fn find(&self, holder: &Holder) -> io::Result<Vec<IpAddr>> {
        let Some(index) = &self.index else {
            let same = self.scanned.iter().filter(|(_, other)| other == holder);
            return Ok(same.map(|(address, _)| *address).collect());
        };
        if holder.ifname.is_empty() && index.header.id_only == 0 {
            return Ok(Vec::new());
        }
        let slots = index.find(&holder.digest(self.network))?;
        Ok(slots.into_iter().map(|(_, slot)| slot.address).collect())
    }

    /// Removes a lease's slot. Where that fails the index is given up, to be made anew by the
    /// next operation.
    fn forget(&mut self, holder: &Holder, address: IpAddr) {
        self.changed = true;
        let digest = holder.digest(self.network);
        if let Some(index) = &mut self.index
            && let Err(error) = index.remove(&digest, address)
        {
            log::warn(&self.unwritable(&error).to_string());
            self.index = None;
            let _ = fs::remove_file(self.index_path());
        }
    }

    /// Removes a lease.
    ///
    /// # Errors
    /// The file cannot be removed.
    pub(crate) fn remove(&mut self, holder: &Holder, address: IpAddr) -> io::Result<()> {
        self.changed = true;
        match fs::remove_file(lease::path(&self.dir, address)) {
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        self.forget(holder, address);
        self.bits.put(address, false);
        Ok(())
    }

    /// Leases an address, whole or not at all; says whether it was free.
    ///
    /// # Errors
    /// Code 5 when a file cannot be written: then nothing of the lease is left.
    pub(crate) fn take(&mut self, address: IpAddr, holder: &Holder) -> Result<bool> {
        let digest = holder.digest(self.network);
        self.changed = true;
        let (place, slot) = self.announce(digest, address, holder)?;
        let placed = self.place(address, holder).and_then(|file| {
            let (Some(file), Some(index)) = (&file, &self.index) else { return Ok(false) };
            if let Some(stamp) = slot.stamp {
                let stamp = Some(Stamp { file: Some(stamp_of(file)?), ..stamp });
                index.put(place, &Slot { stamp, ..slot })?;
            }
            Ok(true)
        });
        match placed {
            Ok(true) => self.bits.put(address, true),
            Ok(false) => self.forget(holder, address),
            Err(error) => {
                let what = format!("cannot write the lease {}", self.dir.join("").display());
                let what = format!("{what}{address}");
                let error = Error::io(what, &error)
                    .also("the file system needs free space, and ipam.dataDir must be writable");
                self.give_back(holder, address);
                return Err(error);
            }
        }
        Ok(matches!(placed, Ok(true)))
    }

    /// Undoes a lease after a failure: by the time it stood, it is ours.
    fn give_back(&mut self, holder: &Holder, address: IpAddr) {
        if matches!(self.read(address), Found::Lease(found, _) if found == *holder) {
            if let Err(error) = self.remove(holder, address) {
                log::warn(&format!("cannot remove the lease {address}: {error}"));
            }
        } else {
            self.forget(holder, address);
        }
    }

    fn announce(
        &mut self,
        digest: Digest,
        address: IpAddr,
        holder: &Holder,
    ) -> Result<(u64, Slot)> {
        let machine = self.machine();
        let stamp = self.boot.map(|boot| Stamp { file: None, boot, machine });
        let slot = Slot { digest, address, id_only: holder.ifname.is_empty(), stamp };
        let insert = |store: &mut Store| match &mut store.index {
            Some(index) => index.insert(&slot),
            None => Err(io::Error::other(store.unmade.clone())),
        };
        let place = match insert(self) {
            Err(error) if error.kind() == ErrorKind::InvalidData && !self.scanned_now => {
                self.rescan(&Sweep::Stale)?;
                insert(self)
            }
            done => done,
        };
        Ok((place.map_err(|error| self.unwritable(&error))?, slot))
    }

    /// Writes a lease aside and moves it into place, if the place is free.
    fn place(&self, address: IpAddr, holder: &Holder) -> io::Result<Option<File>> {
        let aside = self.own.join("new");
        let target = lease::path(&self.dir, address);
        let content = holder.content();
        let file = create_new(&aside, &content)?;
        let mut moved = move_new(&aside, &target);
        if moved == Err(Errno::EEXIST) && matches!(self.read(address), Found::Torn) {
            // No process is about to complete it, since the lock is ours.
            fs::remove_file(&target)?;
            moved = move_new(&aside, &target);
        }
        let placed = match moved {
            Ok(()) => return Ok(Some(file)),
            Err(Errno::EEXIST) => Ok(None),
            // The directory is a mount point of its own: then the lease is written where it
            // stands. What a crash leaves torn there is no lease to us.
            Err(Errno::EXDEV) => create_new_at(&target, &content),
            Err(error) => Err(error.into()),
        };
        self.tidy();
        placed
    }

    /// Removes what a killed ADD may have left aside.
    pub(crate) fn tidy(&self) {
        let _ = fs::remove_file(self.own.join("new"));
    }

    /// Ends an operation: from here on the index is complete, until a process changes the
    /// directory. A failure is repaired by the next operation, which reads the directory.
    pub(crate) fn finish(&mut self) {
        if !self.changed {
            return;
        }
        let Some(index) = &mut self.index else { return };
        index.header.boot = self.boot;
        index.header.directory = if self.all_read { sign(&self.dir) } else { None };
        if let Err(error) = index.save() {
            log::warn(&format!("cannot write the index of leases: {error}"));
        }
        self.changed = false;
    }
}

fn unlockable(dir: &Path, error: &io::Error) -> Error {
    Error::io(format!("cannot lock the leases in {}", dir.display()), error)
        .also("ipam.dataDir must be a directory that can be written")
}

fn unreadable(path: &Path, error: io::Error) -> Found {
    let regular = path.symlink_metadata().map_or(true, |meta| meta.is_file());
    if regular { Found::Unreadable(error) } else { Found::Other }
}

#[cfg(test)]
mod tests;
