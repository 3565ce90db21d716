//! Leases on disk, so that they outlive the daemon: `<state>/<hash of the attachment>.json`, each whole
//! or absent.

use crate::config::Options;
use crate::lease::Lease;
use crate::rpc::Key;
use net::Mac;
use nix::time::{ClockId, clock_gettime};
use node::files;
use serde::{Deserialize, Serialize};
use std::fs;
use std::io::{self, ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// More than any record, in bytes.
const LIMIT: u64 = 1 << 20;
/// Only root may see which pods there are.
const MODE: u32 = 0o600;

/// A lease, whose it is, and where its link is found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Record {
    /// The kernel's boot ID: no network namespace survives a boot.
    pub boot: String,
    /// Whose it is.
    pub of: Key,
    /// `CNI_NETNS`.
    pub netns: String,
    /// Device and inode of the namespace.
    pub namespace: (u64, u64),
    /// The link's MAC address.
    pub mac: [u8; 6],
    /// The options of the client's messages.
    pub options: Options,
    /// What the server leased.
    pub lease: Lease,
    /// The MAC address that the server's answers come from: its own, or its router's.
    pub server_mac: [u8; 6],
    /// When it was requested, in milliseconds since the boot ([`now`]).
    pub since: u64,
    /// Why it is over, where it is.
    pub lost: Option<String>,
}

impl Record {
    /// How long ago the lease was requested.
    pub fn age(&self) -> Duration {
        now().saturating_sub(Duration::from_millis(self.since))
    }

    /// The link's MAC address.
    pub fn mac(&self) -> Mac {
        Mac(self.mac)
    }
}

/// The time since the boot, that of a suspended machine included (CLOCK_BOOTTIME): a lease ends while a
/// machine sleeps, and no change of the date moves it.
pub fn now() -> Duration {
    clock_gettime(ClockId::CLOCK_BOOTTIME).map_or(Duration::ZERO, Duration::from)
}

/// The kernel's boot ID; empty where it cannot be read.
pub fn boot() -> String {
    let text = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    text.trim().to_owned()
}

/// The folder of the records.
#[derive(Clone, Debug)]
pub struct Store {
    folder: PathBuf,
}

impl Store {
    /// The records in a folder, which need not exist.
    pub fn new(folder: &Path) -> Store {
        Store { folder: folder.to_owned() }
    }

    fn path(&self, of: &Key) -> PathBuf {
        self.folder.join(of.hash() + ".json")
    }

    /// Writes a record in place of the one before, in one step.
    ///
    /// # Errors
    /// The file system refuses.
    pub fn write(&self, record: &Record) -> io::Result<()> {
        let text = serde_json::to_vec(record).map_err(io::Error::other)?;
        let aside = self.path(&record.of).with_extension("new");
        files::create(&aside, MODE)?.write_all(&text)?;
        fs::rename(&aside, self.path(&record.of))
    }

    /// Removes a record; one that is gone is no error.
    ///
    /// # Errors
    /// The file system refuses.
    pub fn remove(&self, of: &Key) -> io::Result<()> {
        match fs::remove_file(self.path(of)) {
            Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    /// The record of an attachment, if there is one that can be read.
    pub fn read(&self, of: &Key) -> Option<Record> {
        read(&self.path(of)).ok().filter(|record| record.of == *of)
    }

    /// Every record of this boot. Others, and what a killed daemon left of one, are removed.
    ///
    /// # Errors
    /// The folder cannot be read.
    pub fn load(&self) -> io::Result<Vec<Record>> {
        let boot = boot();
        let mut records = Vec::new();
        for entry in fs::read_dir(&self.folder)? {
            let path = entry?.path();
            let why = match path.extension().and_then(|end| end.to_str()) {
                Some("json") => match read(&path) {
                    Ok(record) if record.boot == boot => {
                        records.push(record);
                        continue;
                    }
                    Ok(record) => format!("the lease of {} is from before the boot", record.of),
                    Err(error) => format!("it is no lease: {error}"),
                },
                Some("new") => "it is half a lease".to_owned(),
                _ => continue,
            };
            tracing::warn!("{} is removed: {why}", path.display());
            fs::remove_file(&path)?;
        }
        Ok(records)
    }

    /// The attachments that have records.
    pub fn keys(&self) -> Vec<Key> {
        let entries = fs::read_dir(&self.folder).into_iter().flatten().flatten();
        let records = entries.map(|entry| entry.path());
        let records = records.filter(|path| path.extension().is_some_and(|end| end == "json"));
        records.filter_map(|path| read(&path).ok()).map(|record| record.of).collect()
    }
}

fn read(path: &Path) -> io::Result<Record> {
    serde_json::from_slice(&files::read(path, LIMIT)?).map_err(io::Error::other)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::Ipv4Addr;
    use std::os::unix::fs::PermissionsExt;

    pub fn record(id: &str) -> Record {
        let lease = Lease {
            address: Ipv4Addr::new(10, 0, 0, 9),
            prefix: 24,
            server: Ipv4Addr::new(10, 0, 0, 1),
            routers: vec![],
            classless: vec![],
            classful: vec![],
            dns: crate::lease::Names::default(),
            seconds: 600,
            renewal: 300,
            rebinding: 525,
        };
        let of = Key { network: "n".into(), container_id: id.into(), ifname: "eth0".into() };
        Record {
            boot: boot(),
            of,
            netns: "/run/netns/x".into(),
            namespace: (4, 5),
            mac: [2, 0, 0, 0, 0, 1],
            options: Options::default(),
            lease,
            server_mac: [2, 0, 0, 0, 0, 2],
            since: now().as_millis() as u64,
            lost: None,
        }
    }

    #[test]
    fn records_are_kept_and_removed() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::new(dir.path());
        let one = record("one");
        store.write(&one).unwrap();
        let changed = Record { lost: Some("over".into()), ..one.clone() };
        store.write(&changed).unwrap();
        assert_eq!(store.load().unwrap(), vec![changed.clone()]);
        assert_eq!(store.read(&one.of), Some(changed));
        assert_eq!(store.keys(), vec![one.of.clone()]);
        let mode = store.path(&one.of).metadata().unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        store.remove(&one.of).unwrap();
        store.remove(&one.of).unwrap();
        assert!(store.load().unwrap().is_empty() && one.age() < Duration::from_secs(60));
    }

    #[test]
    fn what_is_no_lease_of_this_boot_is_removed() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::new(dir.path());
        store.write(&Record { boot: "another".into(), ..record("old") }).unwrap();
        store.write(&record("one")).unwrap();
        fs::write(dir.path().join("torn.json"), "{").unwrap();
        fs::write(dir.path().join("half.new"), "").unwrap();
        fs::write(dir.path().join("lock"), "").unwrap();
        assert_eq!(store.load().unwrap().len(), 1);
        let mut left: Vec<_> = fs::read_dir(dir.path()).unwrap().flatten().collect();
        left.sort_by_key(fs::DirEntry::file_name);
        assert_eq!(left.len(), 2, "{left:?}");
        assert!(Store::new(Path::new("/nonexistent")).keys().is_empty());
    }
}
