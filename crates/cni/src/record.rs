//! The record of an attachment: what it owns, written before the kernel is touched.
//!
//! A record is a file below `<run-dir>/attachments/`, which is tmpfs: it dies with the boot as
//! the kernel's state does. It is locked as long as a call works on the attachment. The plugins
//! that this call delegates to inherit the lock, so that after a killed ADD a DEL waits until
//! the orphaned IPAM plugin is done, and frees what that one leased.

use crate::attachment::Attachment;
use crate::error::{Error, Result, code};
use crate::{lock, log};
use nix::fcntl::{FcntlArg, FdFlag, fcntl};
use serde::{Deserialize, Serialize};
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, Write};
use std::net::IpAddr;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// What a plugin made, or was about to make, for one attachment.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Record {
    /// The network's name.
    pub network: String,
    /// The container.
    #[serde(rename = "containerID")]
    pub container_id: String,
    /// The interface in the container.
    pub ifname: String,
    /// The host end of the veth pair.
    pub host_veth: String,
    /// The addresses that masquerade elements may exist for.
    pub addresses: Vec<IpAddr>,
    /// The pod's MAC address, where elements against spoofing it may exist.
    pub macspoof: Option<String>,
    /// Whether its host veth may have a reverse path filter.
    pub rpfilter: bool,
    /// The IPAM plugin that holds its lease.
    pub ipam: Option<String>,
    /// ADD succeeded. Without it, and unlocked, the record is of a killed ADD.
    pub complete: bool,
}

impl Record {
    /// The attachment recorded.
    pub fn attachment(&self) -> Attachment {
        Attachment::new(&self.network, &self.container_id, &self.ifname)
    }
}

/// The records of one plugin.
pub struct Records {
    dir: PathBuf,
    plugin: String,
}

impl Records {
    /// The records of `plugin` below `run_dir`.
    pub fn new(run_dir: &Path, plugin: &str) -> Records {
        Records { dir: run_dir.join("attachments"), plugin: plugin.to_owned() }
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
        let mut options = OpenOptions::new();
        options.create(true).mode(0o600);
        let mut claim = Claim::open(&path, &options, lock_soon);
        if claim.as_ref().is_err_and(|error| error.kind() == io::ErrorKind::NotFound) {
            fs::create_dir_all(&self.dir).map_err(failed)?;
            claim = Claim::open(&path, &options, lock_soon);
        }
        match claim {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Err(busy(&path)),
            claim => claim.map_err(failed),
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
            let name = entry.map_err(failed)?.file_name();
            hashes.extend(name.to_string_lossy().strip_prefix(&prefix).map(str::to_owned));
        }
        Ok(hashes)
    }

    /// What the record of a hash says at the moment, without its lock; `None` when it is torn or
    /// not there.
    pub fn peek(&self, hash: &str) -> Option<Record> {
        let text = fs::read(self.dir.join(format!("{}-{hash}", self.plugin))).ok()?;
        serde_json::from_slice(&text).ok()
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
        fs::create_dir_all(&self.dir).map_err(failed)?;
        match Claim::open(&path, OpenOptions::new().create(true).mode(0o600), lock_free) {
            Ok(claim) => Ok(Some(claim)),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(None),
            Err(error) => Err(failed(error)),
        }
    }
}

/// How long another call on the same attachment may take. What holds the lock longer is not one
/// of ours, but a process that an IPAM plugin left behind.
const PATIENCE: Duration = Duration::from_secs(60);

fn lock_soon(file: &File) -> io::Result<()> {
    let deadline = Instant::now() + PATIENCE;
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

impl Claim {
    fn open(
        path: &Path,
        options: &OpenOptions,
        take: fn(&File) -> io::Result<()>,
    ) -> io::Result<Claim> {
        loop {
            let file = options.clone().read(true).write(true).open(path)?;
            take(&file)?;
            // Whoever held the lock may have removed the file: then the lock is of no name.
            if !fs::metadata(path).is_ok_and(|now| {
                file.metadata().is_ok_and(|ours| (now.dev(), now.ino()) == (ours.dev(), ours.ino()))
            }) {
                continue;
            }
            let mut claim = Claim { file, path: path.to_owned(), record: None };
            fcntl(&claim.file, FcntlArg::F_SETFD(FdFlag::empty()))?;
            let mut text = Vec::new();
            claim.file.read_to_end(&mut text)?;
            claim.record = serde_json::from_slice(&text).ok();
            return Ok(claim);
        }
    }

    /// Writes the record.
    ///
    /// # Errors
    /// Code 5 when the file cannot be written.
    pub fn write(&mut self, record: &Record) -> Result<()> {
        let text = crate::json::pretty(record);
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
mod tests {
    use super::*;

    #[test]
    fn a_record_is_found_again_until_removed() {
        let dir = tempfile::tempdir().unwrap();
        let records = Records::new(dir.path(), "bridge");
        let attachment = Attachment::new("n", "c", "eth0");
        assert!(!records.exists(&attachment));
        let mut claim = records.claim(&attachment).unwrap();
        assert_eq!(claim.record, None);
        let record = Record { network: "n".into(), host_veth: "veth1".into(), ..Record::default() };
        claim.write(&record).unwrap();
        assert!(records.claim_free(&attachment.hash()).unwrap().is_none(), "it is locked");
        drop(claim);
        assert_eq!(records.hashes().unwrap(), [attachment.hash()]);
        assert!(Records::new(dir.path(), "x").hashes().unwrap().is_empty());
        let found = records.claim_free(&attachment.hash()).unwrap().unwrap();
        assert_eq!(found.record.as_ref(), Some(&record));
        found.remove().unwrap();
        assert!(!records.exists(&attachment));
    }

    #[test]
    fn a_claim_that_came_to_nothing_leaves_no_file() {
        let dir = tempfile::tempdir().unwrap();
        let records = Records::new(dir.path(), "bridge");
        let attachment = Attachment::new("n", "c", "eth0");
        drop(records.claim(&attachment).unwrap());
        assert!(!records.exists(&attachment));
        // Removed by its owner, and made anew by another call before the owner lets go.
        let mut claim = records.claim(&attachment).unwrap();
        fs::remove_file(&claim.path).unwrap();
        let next = records.claim(&attachment).unwrap();
        claim.record = None;
        drop(claim);
        assert!(records.exists(&attachment));
        next.remove().unwrap();
    }

    #[test]
    fn a_torn_record_is_none_and_a_shorter_one_leaves_no_tail() {
        let dir = tempfile::tempdir().unwrap();
        let records = Records::new(dir.path(), "bridge");
        let attachment = Attachment::new("n", "c", "eth0");
        let mut claim = records.claim(&attachment).unwrap();
        let long = Record { network: "n".repeat(500), ..Record::default() };
        claim.write(&long).unwrap();
        claim.write(&Record::default()).unwrap();
        let path = claim.path.clone();
        drop(claim);
        assert_eq!(records.claim(&attachment).unwrap().record, Some(Record::default()));
        fs::write(path, "{\"network\": \"n").unwrap();
        assert_eq!(records.claim(&attachment).unwrap().record, None);
    }
}
