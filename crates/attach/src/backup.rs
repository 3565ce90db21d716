//! The file in which the reference's tuning plugin keeps what a link was before. Ours writes it too,
//! beside its record, so that the executables can be exchanged while pods live, both ways.

use crate::{Item, Kernel, Mac, Setting, failed};
use cni::{Attachment, Error, Result, files};
use serde::{Deserialize, Serialize};
use std::fs;
use std::io::{self, ErrorKind, Write};
use std::path::{Path, PathBuf};

/// Where the reference keeps these files, unless its key dataDir says otherwise.
pub const DEFAULT_DIR: &str = "/run/cni/tuning";

/// More than such a file has, in bytes.
const LIMIT: u64 = 1 << 16;

/// The file of an attachment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Backup {
    path: PathBuf,
    link: String,
}

/// Its contents, as Go writes them: what is zero is left out, but not behind a pointer.
#[derive(Default, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Contents {
    #[serde(skip_serializing_if = "String::is_empty")]
    mac: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    promisc: Option<bool>,
    #[serde(skip_serializing_if = "is_zero")]
    mtu: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    allmulti: Option<bool>,
    #[serde(rename = "txQLen", skip_serializing_if = "Option::is_none")]
    tx_queue_length: Option<u32>,
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_zero(number: &u32) -> bool {
    *number == 0
}

impl Contents {
    fn take(&mut self, setting: &Setting) {
        match setting {
            Setting::Sysctl { .. } => {}
            Setting::Mac { mac, .. } => self.mac = mac.to_string(),
            Setting::Mtu { bytes, .. } => self.mtu = *bytes,
            Setting::Promiscuous { on, .. } => self.promisc = Some(*on),
            Setting::AllMulticast { on, .. } => self.allmulti = Some(*on),
            Setting::TxQueueLength { packets, .. } => self.tx_queue_length = Some(*packets),
        }
    }

    /// In the order in which the reference restores them.
    fn settings(&self, link: &str) -> Vec<Setting> {
        let link = || link.to_owned();
        let mac: Option<Mac> = self.mac.parse().ok();
        let mtu = Some(self.mtu).filter(|mtu| *mtu > 0);
        let queue = self.tx_queue_length;
        [
            mtu.map(|bytes| Setting::Mtu { link: link(), bytes }),
            mac.map(|mac| Setting::Mac { link: link(), mac }),
            self.promisc.map(|on| Setting::Promiscuous { link: link(), on }),
            self.allmulti.map(|on| Setting::AllMulticast { link: link(), on }),
            queue.map(|packets| Setting::TxQueueLength { link: link(), packets }),
        ]
        .into_iter()
        .flatten()
        .collect()
    }
}

impl Backup {
    /// The file of an attachment below a folder.
    pub fn new(dir: &Path, attachment: &Attachment) -> Backup {
        let Attachment { container_id, ifname, .. } = attachment;
        Backup { path: dir.join(format!("{container_id}_{ifname}.json")), link: ifname.clone() }
    }

    /// What the link was before; nothing where there is no file, or a torn one.
    pub fn settings(&self) -> Vec<Setting> {
        let text = files::read(&self.path, LIMIT).unwrap_or_default();
        let contents: Contents = serde_json::from_slice(&text).unwrap_or_default();
        contents.settings(&self.link)
    }

    /// Writes what the items' link was before, and of `saved` what they do not set; without either
    /// there is no file.
    ///
    /// # Errors
    /// Code 5 with the file.
    pub(crate) fn write(&self, items: &[Item], saved: &[Setting]) -> Result<()> {
        let mut contents = Contents::default();
        saved.iter().for_each(|setting| contents.take(setting));
        for item in items {
            if let Item::Setting(change) = item {
                change.from.iter().for_each(|from| contents.take(from));
            }
        }
        if contents.settings(&self.link).is_empty() {
            return self.remove();
        }
        let text = serde_json::to_string_pretty(&contents).unwrap_or_default();
        // Go's indentation by one.
        let put = || -> io::Result<()> {
            self.path.parent().map_or(Ok(()), files::folder)?;
            let options = files::options().write(true).create(true).clone();
            let mut file = files::open_private(&self.path, &options)?;
            let text = text.replace("\n  ", "\n ");
            file.write_all(text.as_bytes())?;
            file.set_len(text.len() as u64)
        };
        put().map_err(|error| {
            let what = format!("cannot write {}", self.path.display());
            Error::io(what, &error).also("dataDir must be writable")
        })
    }

    /// Removes the file.
    ///
    /// # Errors
    /// Code 5 with the file.
    pub fn remove(&self) -> Result<()> {
        match fs::remove_file(&self.path) {
            Err(error) if error.kind() != ErrorKind::NotFound => {
                Err(Error::io(format!("cannot remove {}", self.path.display()), &error))
            }
            _ => Ok(()),
        }
    }

    /// Gives the link what the file says, where no record says it. Goes on after an error.
    ///
    /// # Errors
    /// The kernel's.
    pub fn restore(&self, kernel: &mut Kernel) -> Result<()> {
        let settings = self.settings();
        let mut restored = |from| kernel.restore(from, from).map_err(|error| failed(&error));
        crate::del::all(settings.iter().map(&mut restored).collect::<Vec<_>>())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Change;

    fn attachment() -> Attachment {
        Attachment::new("pods", "c1", "eth0")
    }

    fn link() -> String {
        "eth0".to_owned()
    }

    /// As the reference's v1.10.0 wrote it for `mac`, `mtu`, `promisc`, `allmulti` and `txQLen`.
    const WHOLE: &str = "{\n \"mac\": \"0a:58:0a:01:00:02\",\n \"promisc\": false,\n \"mtu\": 1500,\n \
                         \"allmulti\": false,\n \"txQLen\": 1000\n}";

    #[test]
    fn the_references_file_is_read_and_written_as_it_is() {
        let dir = tempfile::tempdir().unwrap();
        let backup = Backup::new(dir.path(), &attachment());
        assert_eq!(backup.settings(), []);
        let file = dir.path().join("c1_eth0.json");
        fs::write(&file, WHOLE).unwrap();
        let before = backup.settings();
        assert_eq!(before.len(), 5);
        assert_eq!(before[0], Setting::Mtu { link: link(), bytes: 1500 });
        backup.remove().unwrap();
        let item =
            |from: &Setting| Item::Setting(Change { to: from.clone(), from: Some(from.clone()) });
        let items: Vec<Item> = before.iter().map(item).collect();
        backup.write(&items, &[]).unwrap();
        assert_eq!(fs::read_to_string(&file).unwrap(), WHOLE);
        backup.write(&items[..1], &[Setting::AllMulticast { link: link(), on: true }]).unwrap();
        let text = "{\n \"mtu\": 1500,\n \"allmulti\": true\n}";
        assert_eq!(fs::read_to_string(&file).unwrap(), text);
        backup.remove().unwrap();
        backup.remove().unwrap();
    }

    #[test]
    fn sysctls_alone_make_no_file_and_a_torn_one_says_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let backup = Backup::new(dir.path(), &attachment());
        let set = Setting::Sysctl { key: "net/core/somaxconn".to_owned(), value: "1".to_owned() };
        backup.write(&[Item::Setting(Change { to: set.clone(), from: Some(set) })], &[]).unwrap();
        assert!(fs::read_dir(dir.path()).unwrap().next().is_none());
        fs::write(dir.path().join("c1_eth0.json"), &WHOLE[..20]).unwrap();
        assert_eq!(backup.settings(), []);
    }
}
