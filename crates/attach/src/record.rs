//! The record of an attachment: what it owns, written before the kernel is touched.
//!
//! A record is a file below `<run-dir>/attachments/`, which is tmpfs: it dies with the boot as
//! the kernel's state does. It is locked as long as a call works on the attachment. The plugins
//! that this call delegates to inherit the lock, so that after a killed ADD a DEL waits until
//! the orphaned IPAM plugin is done, and frees what that one leased.

use crate::Maker;
use cni::{Attachment, Error, Result, code, files, lock, log};
use nix::fcntl::{FcntlArg, FdFlag, fcntl};
mod contents;

pub use contents::Record;

use contents::Newer;
use std::fs::{self, File};
use std::io::{self, ErrorKind, Read, Seek, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// The records of one plugin.
pub struct Records {
    dir: PathBuf,
    plugin: &'static str,
}

impl Records {
    /// The records of a plugin below `run_dir`.
    pub fn new(run_dir: &Path, maker: Maker) -> Records {
        Records { dir: run_dir.join("attachments"), plugin: maker.records() }
    }

    fn path(&self, attachment: &Attachment) -> PathBuf {
        self.dir.join(format!("{}-{}", self.plugin, attachment.hash()))
    }

    /// Opens the attachment's record, made empty when there is none, and waits for its lock.
    ///
    /// # Errors
    /// Code 5 when the file cannot be made.
    pub fn claim(&self, attachment: &Attachment) -> Result<Claim> {
        let path = self.path(attachment);
        let failed = |error: io::Error| {
            Error::io(format!("cannot write the attachment's record {}", path.display()), &error)
                .also("the directory runDir must be writable")
        };
        let deadline = Instant::now() + PATIENCE;
        self.make_folders().map_err(failed)?;
        match Claim::open(&path, |file| lock_until(file, deadline)) {
            Err(error) if error.kind() == ErrorKind::WouldBlock => Err(busy(&path)),
            claim => newer_refused(&path, claim.map_err(failed)?),
        }
    }

    fn make_folders(&self) -> io::Result<()> {
        self.dir.parent().map_or(Ok(()), files::folder)?;
        files::folder(&self.dir)
    }

    /// Removes what stands in the record's place and cannot be claimed, after all that the
    /// attachment owned is gone. A directory with something in it stays: it is no record of ours.
    ///
    /// # Errors
    /// A file that cannot be removed.
    pub fn discard(&self, attachment: &Attachment) -> io::Result<()> {
        let path = self.path(attachment);
        match files::remove_any(&path) {
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
            Err(error) if path.is_dir() => {
                log::warn(&format!("{} is no record and stays: {error}", path.display()));
                Ok(())
            }
            removed => removed,
        }
    }

    /// Whether the attachment has a record, without waiting for its lock.
    pub fn exists(&self, attachment: &Attachment) -> bool {
        self.path(attachment).exists()
    }

    /// The hashes ([`Attachment::hash`]) of all attachments with a record.
    ///
    /// # Errors
    /// Code 5 when the directory exists but cannot be read.
    pub fn hashes(&self) -> Result<Vec<String>> {
        let failed = |error: io::Error| {
            Error::io(format!("cannot read the records in {}", self.dir.display()), &error)
        };
        let entries = match fs::read_dir(&self.dir) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            entries => entries.map_err(failed)?,
        };
        let prefix = format!("{}-", self.plugin);
        let mut hashes = Vec::new();
        for entry in entries {
            let entry = entry.map_err(failed)?;
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                continue;
            }
            let name = entry.file_name();
            hashes.extend(name.to_string_lossy().strip_prefix(&prefix).map(str::to_owned));
        }
        Ok(hashes)
    }

    /// What the record of a hash says at the moment, without its lock; `None` when it is torn,
    /// not there or newer than this code.
    pub fn peek(&self, hash: &str) -> Option<Record> {
        let text = files::read(&self.dir.join(format!("{}-{hash}", self.plugin)), LIMIT).ok()?;
        Record::parse(&text).ok()?
    }

    /// Opens the record of a hash, made empty when there is none; `None` when another call works
    /// on the attachment.
    ///
    /// # Errors
    /// Code 5 when the file cannot be opened.
    pub fn claim_free(&self, hash: &str) -> Result<Option<Claim>> {
        let path = self.dir.join(format!("{}-{hash}", self.plugin));
        let failed = |error: io::Error| {
            Error::io(format!("cannot open the attachment's record {}", path.display()), &error)
        };
        self.make_folders().map_err(failed)?;
        match Claim::open(&path, lock_free) {
            Ok(claim) => newer_refused(&path, claim).map(Some),
            Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(None),
            Err(error) => Err(failed(error)),
        }
    }
}

/// More than a record of thousands of addresses has, in bytes.
const LIMIT: u64 = 1 << 20;

/// What the attachment owns is known to a newer release alone.
fn newer_refused(path: &Path, claim: (Claim, Option<Newer>)) -> Result<Claim> {
    let (claim, newer) = claim;
    let Some(newer) = newer else { return Ok(claim) };
    let what = format!("the attachment's record {} is of a newer version", path.display());
    Err(Error::new(code::DECODE, what).details(format!(
        "{newer}; nothing was changed; install the release of Ferrule that wrote it, or a newer one"
    )))
}

/// How long another call on the same attachment may take. What holds the lock longer is not one
/// of ours, but a process that an IPAM plugin left behind.
const PATIENCE: Duration = Duration::from_secs(60);

fn lock_until(file: &File, deadline: Instant) -> io::Result<()> {
    let mut waited = false;
    while !lock::try_exclusive(file)? {
        if !waited {
            log::info("waiting for another call on the same attachment to end");
            waited = true;
        }
        if Instant::now() > deadline {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        // flock(2) itself has no time limit.
        std::thread::sleep(Duration::from_millis(5));
    }
    Ok(())
}

fn busy(path: &Path) -> Error {
    let what = "another call on the same attachment is still at work";
    Error::new(code::TRY_AGAIN, what).details(format!(
        "it, or a process that it left behind, has held the lock of {} for {PATIENCE:?}",
        path.display()
    ))
}

fn lock_free(file: &File) -> io::Result<()> {
    if lock::try_exclusive(file)? { Ok(()) } else { Err(io::ErrorKind::WouldBlock.into()) }
}

/// A record, locked until this is dropped; if the process is killed, until every delegated plugin
/// ended that was at work.
pub struct Claim {
    file: File,
    path: PathBuf,
    /// What an earlier call wrote; `None` in a new file or one that a kill left torn.
    pub record: Option<Record>,
}

/// How often a record is opened anew after another call removed it, or after something that is no
/// record was removed from its place.
const ROUNDS: usize = 100;

impl Claim {
    /// Opens and locks a record, made empty when there is none; beside it the version of one that
    /// is newer than this code.
    fn open(
        path: &Path,
        take: impl Fn(&File) -> io::Result<()>,
    ) -> io::Result<(Claim, Option<Newer>)> {
        for _ in 0..ROUNDS {
            match files::options().read(true).write(true).create(true).open(path) {
                Ok(file) => match lock_current(&file, path, &take) {
                    Ok(true) => return Claim::read(file, path),
                    Ok(false) => {}
                    Err(error) => {
                        abandon(&file, path, &error);
                        return Err(error);
                    }
                },
                Err(error) => files::clear(path, error)?,
            }
        }
        Err(io::Error::other("it is removed, or replaced by what is no file, again and again"))
    }

    fn read(file: File, path: &Path) -> io::Result<(Claim, Option<Newer>)> {
        let mut claim = Claim { file, path: path.to_owned(), record: None };
        fcntl(&claim.file, FcntlArg::F_SETFD(FdFlag::empty()))?;
        let mut text = Vec::new();
        Read::by_ref(&mut claim.file).take(LIMIT).read_to_end(&mut text)?;
        match Record::parse(&text) {
            Ok(record) => {
                claim.record = record;
                Ok((claim, None))
            }
            Err(newer) => Ok((claim, Some(newer))),
        }
    }
}

/// Takes the lock of an open record; says whether it is still the one at that path.
fn lock_current(
    file: &File,
    path: &Path,
    take: impl Fn(&File) -> io::Result<()>,
) -> io::Result<bool> {
    let ours = file.metadata()?;
    if !ours.is_file() {
        files::clear(path, files::wrong_kind(&ours))?;
        return Ok(false);
    }
    files::make_private(file, &ours, path);
    take(file)?;
    // The call that held the lock may have removed the file: then we hold that of an unlinked one.
    match fs::metadata(path) {
        Ok(now) => Ok((now.dev(), now.ino()) == (ours.dev(), ours.ino())),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

/// Removes a record that was made a moment ago and cannot be locked, unless another call holds it.
fn abandon(file: &File, path: &Path, error: &io::Error) {
    let free =
        error.kind() != ErrorKind::WouldBlock && !matches!(lock::try_exclusive(file), Ok(false));
    if free && fs::symlink_metadata(path).is_ok_and(|meta| meta.is_file() && meta.len() == 0) {
        let _ = fs::remove_file(path);
    }
}

impl Claim {
    /// Writes the record.
    ///
    /// # Errors
    /// Code 5 when the file cannot be written.
    pub fn write(&mut self, record: &Record) -> Result<()> {
        let text = cni::json::pretty(record);
        let mut put = || -> io::Result<()> {
            self.file.rewind()?;
            self.file.write_all(&text)?;
            self.file.set_len(text.len() as u64)
        };
        put().map_err(|error| {
            let what = format!("cannot write the attachment's record {}", self.path.display());
            Error::io(what, &error)
        })?;
        self.record = Some(record.clone());
        Ok(())
    }

    /// Removes the record: nothing of the attachment is left.
    ///
    /// # Errors
    /// Code 5 when the file cannot be removed.
    pub fn remove(self) -> Result<()> {
        match fs::remove_file(&self.path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                let what = "cannot remove the attachment's record";
                Err(Error::io(format!("{what} {}", self.path.display()), &error))
            }
            _ => Ok(()),
        }
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        // Made by a call that came to nothing.
        let empty = |meta: fs::Metadata| meta.len() == 0 && meta.nlink() > 0;
        if self.record.is_none() && self.file.metadata().is_ok_and(empty) {
            let _ = fs::remove_file(&self.path);
        }
        // A call that ends has waited for the plugins that it ran. What one of those left behind
        // may have inherited the lock, and must not hold up the next call.
        let _ = lock::unlock(&self.file);
    }
}

#[cfg(test)]
mod tests;
