//! The record of an attachment: what it owns, written before the kernel is touched.
//!
//! A record is a file below `<run-dir>/attachments/`, which is tmpfs: it dies with the boot as
//! the kernel's state does. It is locked as long as a call works on the attachment. The plugins
//! that this call delegates to inherit the lock, so that after a killed ADD a DEL waits until
//! the orphaned IPAM plugin is done, and frees what that one leased.

use crate::attachment::Attachment;
use crate::error::{Error, Result};
use crate::{lock, log};
use nix::fcntl::{FcntlArg, FdFlag, fcntl};
use serde::{Deserialize, Serialize};
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, Write};
use std::net::IpAddr;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

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
        fs::create_dir_all(&self.dir).map_err(failed)?;
        Claim::open(&path, OpenOptions::new().create(true).mode(0o600), lock_now).map_err(failed)
    }

    /// Opens the attachment's record if there is one, and waits for its lock.
    pub fn find(&self, attachment: &Attachment) -> Option<Claim> {
        Claim::open(&self.path(attachment), &mut OpenOptions::new(), lock_now).ok()
    }

    /// The records of a network that no call works on at the moment.
    ///
    /// # Errors
    /// Code 5 when the directory exists but cannot be read.
    pub fn of_network(&self, network: &str) -> Result<Vec<Claim>> {
        let entries = match fs::read_dir(&self.dir) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => {
                let what = format!("cannot read the records in {}", self.dir.display());
                return Err(Error::io(what, &error));
            }
            Ok(entries) => entries,
        };
        let prefix = format!("{}-", self.plugin);
        let ours = entries
            .flatten()
            .filter(|entry| entry.file_name().to_string_lossy().starts_with(&prefix))
            .filter_map(|entry| Claim::open(&entry.path(), &mut OpenOptions::new(), lock_free).ok())
            .filter(|claim| claim.record.as_ref().is_some_and(|r| r.network == network));
        Ok(ours.collect())
    }
}

fn lock_now(file: &File) -> io::Result<()> {
    if !lock::try_exclusive(file)? {
        log::info("waiting for another call on the same attachment to end");
        lock::exclusive(file)?;
    }
    Ok(())
}

fn lock_free(file: &File) -> io::Result<()> {
    if lock::try_exclusive(file)? { Ok(()) } else { Err(io::ErrorKind::WouldBlock.into()) }
}

/// A record, locked until this is dropped and every delegated plugin ended.
pub struct Claim {
    file: File,
    path: PathBuf,
    /// What an earlier call wrote; `None` in a new file or one that a kill left torn.
    pub record: Option<Record>,
}

impl Claim {
    fn open(
        path: &Path,
        options: &mut OpenOptions,
        take: fn(&File) -> io::Result<()>,
    ) -> io::Result<Claim> {
        loop {
            let mut file = options.read(true).write(true).open(path)?;
            take(&file)?;
            // Whoever held the lock may have removed the file: then the lock is of no name.
            if !fs::metadata(path).is_ok_and(|now| {
                file.metadata().is_ok_and(|ours| (now.dev(), now.ino()) == (ours.dev(), ours.ino()))
            }) {
                continue;
            }
            fcntl(&file, FcntlArg::F_SETFD(FdFlag::empty()))?;
            let mut text = Vec::new();
            file.read_to_end(&mut text)?;
            let record = serde_json::from_slice(&text).ok();
            return Ok(Claim { file, path: path.to_owned(), record });
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
    pub fn remove(self) {
        if let Err(error) = fs::remove_file(&self.path) {
            log::warn(&format!("cannot remove {}: {error}", self.path.display()));
        }
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
        assert!(records.find(&attachment).is_none());
        let mut claim = records.claim(&attachment).unwrap();
        let record = Record { network: "n".into(), host_veth: "veth1".into(), ..Record::default() };
        claim.write(&record).unwrap();
        assert!(records.of_network("n").unwrap().is_empty(), "a locked record is left alone");
        drop(claim);
        assert_eq!(records.of_network("n").unwrap().len(), 1);
        assert_eq!(records.of_network("other").unwrap().len(), 0);
        assert_eq!(Records::new(dir.path(), "x").of_network("n").unwrap().len(), 0);
        let found = records.find(&attachment).unwrap();
        assert_eq!(found.record.as_ref(), Some(&record));
        found.remove();
        assert!(records.find(&attachment).is_none());
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
        assert_eq!(records.find(&attachment).unwrap().record, Some(Record::default()));
        fs::write(path, "{\"network\": \"n").unwrap();
        assert_eq!(records.find(&attachment).unwrap().record, None);
    }
}
