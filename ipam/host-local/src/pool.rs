//! The operations on a network's leases: one locked [`Store`] for each call, all range sets in it.

use crate::allocator;
use crate::lease::{self, Holder};
use crate::range::{RangeSet, Reserved, number};
use crate::store::{Found, Store, Sweep};
use cni::{Error, Result, code, log};
use nix::fcntl::OFlag;
use std::fs::{File, OpenOptions};
use std::io::{self, Read};
use std::net::IpAddr;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::PathBuf;

/// A range set without a free address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exhausted {
    /// Where it stands among the sets.
    pub index: usize,
    /// Its ranges.
    pub set: String,
    /// How many addresses are leased.
    pub leased: u128,
    /// How many there are to lease.
    pub capacity: u128,
}

impl std::fmt::Display for Exhausted {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Exhausted { index, set, leased, capacity } = self;
        if *capacity == 0 {
            return write!(
                f,
                "range set {index} ({set}) has no address to lease: it holds nothing but its \
                 gateway, network or broadcast address"
            );
        }
        write!(f, "range set {index} ({set}): {leased} of {capacity} addresses leased")
    }
}

impl Exhausted {
    /// What to do.
    pub fn remedy(&self) -> &'static str {
        match self.capacity {
            0 => "configure a larger range, or another gateway",
            _ => "delete pods, run GC, or configure a larger range",
        }
    }
}

/// The sets from which nothing can be leased even in a network without leases.
pub fn exhausted_when_new(sets: &[RangeSet]) -> Vec<Exhausted> {
    let empty = sets.iter().enumerate().filter(|(_, set)| set.capacity() == 0);
    empty
        .map(|(index, set)| Exhausted { index, set: set.to_string(), leased: 0, capacity: 0 })
        .collect()
}

fn refused(msg: String) -> Error {
    Error::new(code::NO_ADDRESS, msg)
}

impl Store<'_> {
    /// Leases one address of each set, the requested one where there is one: all or none.
    ///
    /// # Errors
    /// Code 102 when an address is not to be had, 5 when a file cannot be written.
    pub fn lease(
        &mut self,
        holder: &Holder,
        sets: &[(&RangeSet, Option<IpAddr>)],
    ) -> Result<Vec<IpAddr>> {
        let mut leased = Vec::with_capacity(sets.len());
        let mut outcome = self.refuse_duplicate(holder, sets);
        for (index, (set, requested)) in sets.iter().enumerate() {
            if outcome.is_err() {
                break;
            }
            outcome = match requested {
                Some(address) => self.lease_requested(holder, index, set, *address),
                None => self.lease_next(holder, index, set),
            }
            .map(|address| leased.push(address))
            .map_err(|error| in_range(index, error));
        }
        if outcome.is_err() {
            for address in &leased {
                if let Err(error) = self.remove(holder, *address) {
                    log::warn(&format!("cannot remove the lease {address}: {error}"));
                }
            }
        }
        self.finish();
        outcome.map(|()| leased)
    }

    fn refuse_duplicate(
        &mut self,
        holder: &Holder,
        sets: &[(&RangeSet, Option<IpAddr>)],
    ) -> Result<()> {
        let mut held = self.held_by(holder)?;
        held.extend(self.held_by(&holder.id_only())?);
        for (index, (set, _)) in sets.iter().enumerate() {
            // As to the reference, a lease outside of all sets, as after a change of ranges, is
            // no hindrance.
            if let Some(address) = held.iter().find(|address| set.range_of(**address).is_some()) {
                let id = &holder.container_id;
                let error = refused(format!(
                    "{address} has been allocated to {id}, duplicate allocation is not allowed"
                ));
                return Err(in_range(index, error).also(format!(
                    "an earlier ADD of {id} {} was not followed by a DEL; {} shows it",
                    holder.ifname,
                    lease::path(&self.dir, *address).display()
                )));
            }
        }
        Ok(())
    }

    fn lease_requested(
        &mut self,
        holder: &Holder,
        index: usize,
        set: &RangeSet,
        address: IpAddr,
    ) -> Result<IpAddr> {
        let unavailable = || {
            refused(format!("requested IP address {address} is not available in range set {set}"))
        };
        let range = set.range_of(address).ok_or_else(unavailable)?;
        let subnet = range.subnet();
        match set.reserved(range, number(address)) {
            Some(Reserved::Gateway) => {
                return Err(refused(format!("requested ip {address} is subnet's gateway"))
                    .also("request another address, or change the gateway"));
            }
            Some(Reserved::Network) => {
                return Err(unavailable().also(format!("it is the network address of {subnet}")));
            }
            Some(Reserved::Broadcast) => {
                return Err(unavailable().also(format!("it is the broadcast address of {subnet}")));
            }
            None => {}
        }
        if !self.take(address, holder)? {
            let path = lease::path(&self.dir, address);
            return Err(unavailable()
                .also(format!("it is leased already; {} names the holder", path.display())));
        }
        self.last_reserved(index).write(address);
        Ok(address)
    }

    fn lease_next(&mut self, holder: &Holder, index: usize, set: &RangeSet) -> Result<IpAddr> {
        let mut last = self.last_reserved(index);
        loop {
            let Some(address) = allocator::next_free(set, last.address(), &mut self.bits) else {
                if !self.scanned_now {
                    self.rescan(&Sweep::Stale)?;
                    continue;
                }
                let figures = self.figures(index, set);
                let remedy = figures.remedy();
                return Err(refused(format!("no IP addresses available in range set: {set}"))
                    .also(figures)
                    .also(remedy));
            };
            if self.take(address, holder)? {
                last.write(address);
                return Ok(address);
            }
            // The bits missed a lease.
            if !self.scanned_now {
                self.rescan(&Sweep::Stale)?;
            }
            self.bits.put(address, true);
        }
    }

    fn figures(&mut self, index: usize, set: &RangeSet) -> Exhausted {
        Exhausted {
            index,
            set: set.to_string(),
            leased: allocator::count(set, &mut self.bits),
            capacity: set.capacity(),
        }
    }

    /// The addresses that an attachment leases, by lease files that name its interface or, as old
    /// ones, its container alone.
    ///
    /// # Errors
    /// Code 5 when the leases cannot be read.
    pub fn holds(&mut self, holder: &Holder) -> Result<Vec<IpAddr>> {
        let mut held = self.held_by(holder)?;
        held.extend(self.held_by(&holder.id_only())?);
        self.finish();
        Ok(held)
    }

    /// Removes the leases of an attachment, if there are any.
    ///
    /// # Errors
    /// Code 5 naming the leases that cannot be removed.
    pub fn release(&mut self, holder: &Holder) -> Result<()> {
        let mut holder = holder.clone();
        let mut held = self.held_by(&holder)?;
        if held.is_empty() {
            // As the reference does: files of old plugins only where there are no others.
            holder = holder.id_only();
            held = self.held_by(&holder)?;
        }
        let mut failed = Vec::new();
        for address in held {
            if let Err(error) = self.remove(&holder, address) {
                failed.push(format!("{address}: {error}"));
            }
        }
        self.tidy();
        self.finish();
        self.all_removed(&failed)
    }

    /// Removes every lease that `wanted` does not claim, and torn files.
    ///
    /// # Errors
    /// Code 5 naming the leases that cannot be removed.
    pub fn collect(&mut self, wanted: &dyn Fn(&Holder) -> bool) -> Result<()> {
        let swept = self.rescan(&Sweep::Unless(wanted))?;
        self.tidy();
        self.finish();
        self.all_removed(&swept.failed)
    }

    fn all_removed(&self, failed: &[String]) -> Result<()> {
        if failed.is_empty() {
            return Ok(());
        }
        let msg = format!("cannot remove {} leases in {}", failed.len(), self.dir.display());
        Err(Error::new(code::IO, msg).details(failed.join(", ")))
    }

    /// The sets in which no address is free.
    ///
    /// # Errors
    /// Code 5 when the leases cannot be read.
    pub fn exhausted(&mut self, sets: &[RangeSet]) -> Result<Vec<Exhausted>> {
        let mut exhausted = Vec::new();
        for (index, set) in sets.iter().enumerate() {
            if !self.has_free(set)? {
                exhausted.push(self.figures(index, set));
            }
        }
        self.finish();
        Ok(exhausted)
    }

    fn has_free(&mut self, set: &RangeSet) -> Result<bool> {
        loop {
            match allocator::next_free(set, None, &mut self.bits) {
                Some(address) => match self.read(address) {
                    Found::Nothing | Found::Torn => return Ok(true),
                    _ => self.bits.put(address, true),
                },
                None if self.scanned_now => return Ok(false),
                None => {
                    self.rescan(&Sweep::Stale)?;
                }
            }
        }
    }

    fn last_reserved(&self, index: usize) -> LastReserved {
        LastReserved::open(self.dir.join(format!("last_reserved_ip.{index}")))
    }
}

/// A FIFO would hold up the call for ever; a symbolic link was not made by any plugin.
fn options() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.mode(0o600).custom_flags((OFlag::O_NONBLOCK | OFlag::O_NOFOLLOW).bits());
    options
}

fn in_range(index: usize, error: Error) -> Error {
    Error { msg: format!("failed to allocate for range {index}: {}", error.msg), ..error }
}

/// The file by which the next allocation goes on where this one ended. It decides about fairness
/// alone, so no error in it holds up an allocation.
struct LastReserved {
    path: PathBuf,
    file: Option<File>,
    text: Vec<u8>,
}

impl LastReserved {
    fn open(path: PathBuf) -> LastReserved {
        let mut file = options().read(true).write(true).open(&path).ok();
        let mut text = vec![0; 64];
        let length = file.as_mut().map_or(Ok(0), |file| file.read(&mut text)).unwrap_or(0);
        text.truncate(length);
        LastReserved { path, file, text }
    }

    fn address(&self) -> Option<IpAddr> {
        let text = std::str::from_utf8(&self.text).ok()?;
        text.trim().parse().ok().map(|address: IpAddr| address.to_canonical())
    }

    fn write(&mut self, address: IpAddr) {
        let text = address.to_canonical().to_string();
        if let Err(error) = self.try_write(&text) {
            log::warn(&format!("cannot write {}: {error}", self.path.display()));
        }
    }

    /// In place: truncating a file to nothing and writing it, as the reference does, makes ext4
    /// start writing to disk in close(2) (auto_da_alloc): 150 µs instead of 1.
    fn try_write(&mut self, text: &str) -> io::Result<()> {
        let file = match self.file.take() {
            Some(file) => file,
            None => options().write(true).create(true).truncate(false).open(&self.path)?,
        };
        if self.text.len() > text.len() {
            file.set_len(text.len() as u64)?;
        }
        file.write_all_at(text.as_bytes(), 0)
    }
}
