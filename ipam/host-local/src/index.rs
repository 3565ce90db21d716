//! Which addresses an attachment leases: a hash table in one file, and the stamps of the leases.
//!
//! One file and not one for each attachment: ADD makes one inode fewer (a third of its time on
//! disk), and an index of 60,000 leases that the reference made is one file to write, not 60,000.
//! A slot is 128 bytes and lies within one page, so that a killed process leaves it written whole
//! or not at all: write(2) looks for a fatal signal only between pages (mm/filemap.c,
//! generic_perform_write). What a crash of the machine leaves is found by the checksums, and then
//! the index is made anew. Open addressing with linear probing; deletion shifts back what follows,
//! so there are no tombstones and 20,000 pods leave no trace.

use crate::host::Id;
use cni::files;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::net::{IpAddr, Ipv6Addr};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

const SIZE: usize = 128;
const MAGIC: &[u8; 8] = b"ferrule1";
const LEAST: u64 = 256;

/// The key of an attachment.
pub type Digest = [u8; 16];

/// A file's time: seconds and nanoseconds.
pub type Time = (i64, i64);

/// What we recorded of a lease file that we made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamp {
    /// Its inode and the time of its last change; `None` in a slot that announces a lease which is
    /// about to be made.
    pub file: Option<(u64, Time)>,
    /// The boot in which it was made.
    pub boot: Id,
    /// The machine on which it was made, when it had an ID.
    pub machine: Option<Id>,
}

/// One lease of one attachment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Slot {
    /// Its holder.
    pub digest: Digest,
    /// The address.
    pub address: IpAddr,
    /// Whether the lease names a container alone, as old ones do.
    pub id_only: bool,
    /// Our record of the file; `None` when another program made it.
    pub stamp: Option<Stamp>,
}

/// What the index says of itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Header {
    capacity: u64,
    /// Slots in use.
    pub used: u64,
    /// Leases that name a container alone.
    pub id_only: u64,
    /// mtime and ctime of the lease directory after our last operation; `None` when unknown.
    pub directory: Option<(Time, Time)>,
    /// The boot of our last operation.
    pub boot: Option<Id>,
}

/// The index, open.
pub struct Index {
    file: File,
    path: PathBuf,
    /// Written by [`Index::save`].
    pub header: Header,
}

fn damaged(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("the index is damaged: {what}"))
}

impl Index {
    /// Opens the index.
    ///
    /// # Errors
    /// There is none, or it is damaged.
    pub fn open(path: &Path) -> io::Result<Index> {
        let file = OpenOptions::new().read(true).write(true).open(path)?;
        let mut record = [0; SIZE];
        file.read_exact_at(&mut record, 0)?;
        let header = Header::decode(&record).ok_or_else(|| damaged("its header"))?;
        let length = header.capacity.checked_add(1).and_then(|n| n.checked_mul(SIZE as u64));
        if length != Some(file.metadata()?.len()) {
            return Err(damaged("its length"));
        }
        Ok(Index { file, path: path.to_owned(), header })
    }

    /// Makes the index anew, aside and then in place of the old one.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn create(path: &Path, slots: &[Slot]) -> io::Result<Index> {
        let aside = path.with_extension("new");
        // Left by a killed process, or a link to who knows where.
        let _ = fs::remove_file(&aside);
        let made = Index::fill(&aside, path, slots);
        let rename = || fs::rename(&aside, path);
        // A directory of its name is in the way of a rename.
        let place = || rename().or_else(|error| files::clear(path, error).and_then(|()| rename()));
        let moved = made.and_then(|index| place().map(|()| index));
        moved.inspect_err(|_| drop(fs::remove_file(&aside)))
    }

    fn fill(aside: &Path, path: &Path, slots: &[Slot]) -> io::Result<Index> {
        let capacity = (slots.len() as u64 * 2).next_power_of_two().max(LEAST);
        let mut options = OpenOptions::new();
        let file = options.read(true).write(true).create_new(true).mode(0o600).open(aside)?;
        file.set_len((capacity + 1) * SIZE as u64)?;
        let header = Header { capacity, ..Header::default() };
        let mut index = Index { file, path: path.to_owned(), header };
        let mut in_order: Vec<&Slot> = slots.iter().collect();
        in_order.sort_by_key(|slot| index.home(&slot.digest));
        for slot in in_order {
            index.insert_unless_full(slot)?;
        }
        index.save()?;
        Ok(index)
    }

    /// Writes the header.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn save(&self) -> io::Result<()> {
        self.file.write_all_at(&self.header.encode(), 0)
    }

    /// The slots of an attachment, with their places.
    ///
    /// # Errors
    /// The index cannot be read, or is damaged.
    pub fn find(&self, digest: &Digest) -> io::Result<Vec<(u64, Slot)>> {
        let mut found = Vec::new();
        self.probe(digest, |place, slot| {
            if let Some(slot) = slot.filter(|slot| slot.digest == *digest) {
                found.push((place, slot));
            }
        })?;
        Ok(found)
    }

    /// Adds a slot, and says where.
    ///
    /// # Errors
    /// The index cannot be read or written, or is damaged.
    pub fn insert(&mut self, slot: &Slot) -> io::Result<u64> {
        if (self.header.used + 1) * 3 > self.header.capacity * 2 {
            let header = self.header;
            let slots: Vec<Slot> = self.slots().into_iter().collect::<io::Result<_>>()?;
            *self = Index::create(&self.path, &slots)?;
            self.header.directory = header.directory;
            self.header.boot = header.boot;
        }
        self.insert_unless_full(slot)
    }

    fn insert_unless_full(&mut self, slot: &Slot) -> io::Result<u64> {
        let mut free = None;
        self.probe(&slot.digest, |place, slot| {
            if slot.is_none() {
                free = Some(place);
            }
        })?;
        let place = free.ok_or_else(|| damaged("it is full"))?;
        self.put(place, slot)?;
        self.header.used += 1;
        self.header.id_only += u64::from(slot.id_only);
        Ok(place)
    }

    /// Replaces the slot at a place.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn put(&self, place: u64, slot: &Slot) -> io::Result<()> {
        self.file.write_all_at(&slot.encode(), self.offset(place))
    }

    /// Removes a slot, and shifts back those after it that were displaced by it.
    ///
    /// # Errors
    /// The index cannot be read or written, or is damaged.
    pub fn remove(&mut self, digest: &Digest, address: IpAddr) -> io::Result<()> {
        let found = self.find(digest)?;
        let Some((place, slot)) = found.into_iter().find(|(_, slot)| slot.address == address)
        else {
            return Ok(());
        };
        let capacity = self.header.capacity;
        let distance = |from: u64, to: u64| (to + capacity - from) % capacity;
        let mut hole = place;
        for step in 1..capacity {
            let at = (place + step) % capacity;
            let Some(next) = self.get(at)? else { break };
            let home = self.home(&next.digest);
            // It may move to the hole unless that comes before its home.
            if distance(home, at) >= distance(hole, at) {
                self.put(hole, &next)?;
                hole = at;
            }
        }
        self.file.write_all_at(&[0; SIZE], self.offset(hole))?;
        self.header.used = self.header.used.saturating_sub(1);
        self.header.id_only = self.header.id_only.saturating_sub(u64::from(slot.id_only));
        Ok(())
    }

    /// Every slot; an error for each that is damaged or cannot be read.
    pub fn slots(&self) -> Vec<io::Result<Slot>> {
        let mut slots = Vec::new();
        let mut records = vec![0; SIZE * LEAST as usize];
        for first in (0..self.header.capacity).step_by(LEAST as usize) {
            match self.file.read_exact_at(&mut records, self.offset(first)) {
                Ok(()) => slots
                    .extend(records.chunks_exact(SIZE).filter_map(|r| Slot::decode(r).transpose())),
                Err(error) => slots.push(Err(error)),
            }
        }
        slots
    }

    /// Visits the slots from the digest's home to the first empty one, that included.
    fn probe(&self, digest: &Digest, mut visit: impl FnMut(u64, Option<Slot>)) -> io::Result<()> {
        const RUN: u64 = 8;
        let mut place = self.home(digest);
        let mut seen = 0;
        let mut records = [0; RUN as usize * SIZE];
        while seen < self.header.capacity {
            let run = RUN.min(self.header.capacity - place);
            let records = &mut records[..run as usize * SIZE];
            self.file.read_exact_at(records, self.offset(place))?;
            for record in records.chunks_exact(SIZE) {
                let slot = Slot::decode(record)?;
                visit(place, slot);
                if slot.is_none() {
                    return Ok(());
                }
                place += 1;
            }
            place %= self.header.capacity;
            seen += run;
        }
        Ok(())
    }

    fn get(&self, place: u64) -> io::Result<Option<Slot>> {
        let mut record = [0; SIZE];
        self.file.read_exact_at(&mut record, self.offset(place))?;
        Slot::decode(&record)
    }

    fn home(&self, digest: &Digest) -> u64 {
        number(digest, 0) % self.header.capacity
    }

    fn offset(&self, place: u64) -> u64 {
        (place + 1) * SIZE as u64
    }
}

fn number(record: &[u8], at: usize) -> u64 {
    let mut bytes = [0; 8];
    bytes.copy_from_slice(&record[at..at + 8]);
    u64::from_le_bytes(bytes)
}

fn id(record: &[u8], at: usize) -> Id {
    let mut id = [0; 16];
    id.copy_from_slice(&record[at..at + 16]);
    id
}

fn time(record: &[u8], at: usize) -> Time {
    (number(record, at) as i64, number(record, at + 8) as i64)
}

/// FNV-1a over all but the last eight bytes, which hold it.
fn checksum(record: &[u8]) -> u64 {
    record[..SIZE - 8].iter().fold(0xcbf2_9ce4_8422_2325, |sum, byte| {
        (sum ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

struct Record([u8; SIZE]);

impl Record {
    fn number(&mut self, at: usize, number: u64) {
        self.bytes(at, &number.to_le_bytes());
    }

    fn time(&mut self, at: usize, time: Time) {
        self.number(at, time.0 as u64);
        self.number(at + 8, time.1 as u64);
    }

    fn bytes(&mut self, at: usize, bytes: &[u8]) {
        self.0[at..at + bytes.len()].copy_from_slice(bytes);
    }

    fn sealed(mut self) -> [u8; SIZE] {
        self.number(SIZE - 8, checksum(&self.0));
        self.0
    }
}

impl Header {
    fn encode(&self) -> [u8; SIZE] {
        let mut record = Record([0; SIZE]);
        record.bytes(0, MAGIC);
        record.number(8, self.capacity);
        record.number(16, self.used);
        record.number(24, self.id_only);
        if let Some((mtime, ctime)) = self.directory {
            record.0[32] |= 1;
            record.time(40, mtime);
            record.time(56, ctime);
        }
        if let Some(boot) = self.boot {
            record.0[32] |= 2;
            record.bytes(72, &boot);
        }
        record.sealed()
    }

    fn decode(record: &[u8; SIZE]) -> Option<Header> {
        let sealed = record.starts_with(MAGIC) && number(record, SIZE - 8) == checksum(record);
        let header = Header {
            capacity: number(record, 8),
            used: number(record, 16),
            id_only: number(record, 24),
            directory: (record[32] & 1 != 0).then(|| (time(record, 40), time(record, 56))),
            boot: (record[32] & 2 != 0).then(|| id(record, 72)),
        };
        let counts = header.used <= header.capacity && header.id_only <= header.capacity;
        let sized = header.capacity >= LEAST && header.capacity.is_power_of_two();
        (sealed && counts && sized).then_some(header)
    }
}

impl Slot {
    fn encode(&self) -> [u8; SIZE] {
        let mut record = Record([0; SIZE]);
        record.bytes(0, &self.digest);
        let octets = match self.address {
            IpAddr::V4(v4) => v4.to_ipv6_mapped().octets(),
            IpAddr::V6(v6) => v6.octets(),
        };
        record.bytes(16, &octets);
        record.0[32] = 1 | u8::from(self.address.is_ipv6()) << 1 | u8::from(self.id_only) << 2;
        if let Some(stamp) = self.stamp {
            record.0[32] |= 8;
            record.bytes(64, &stamp.boot);
            if let Some((inode, ctime)) = stamp.file {
                record.0[32] |= 16;
                record.number(40, inode);
                record.time(48, ctime);
            }
            if let Some(machine) = stamp.machine {
                record.0[32] |= 32;
                record.bytes(80, &machine);
            }
        }
        record.sealed()
    }

    fn decode(record: &[u8]) -> io::Result<Option<Slot>> {
        if record.iter().all(|byte| *byte == 0) {
            return Ok(None);
        }
        if number(record, SIZE - 8) != checksum(record) {
            return Err(damaged("a slot"));
        }
        let flag = |bit: u8| record[32] & bit != 0;
        let address = Ipv6Addr::from(id(record, 16));
        let address = match address.to_ipv4_mapped() {
            Some(v4) if !flag(2) => IpAddr::V4(v4),
            _ => IpAddr::V6(address),
        };
        let stamp = flag(8).then(|| Stamp {
            file: flag(16).then(|| (number(record, 40), time(record, 48))),
            boot: id(record, 64),
            machine: flag(32).then(|| id(record, 80)),
        });
        Ok(Some(Slot { digest: id(record, 0), address, id_only: flag(4), stamp }))
    }
}

#[cfg(test)]
mod tests;
