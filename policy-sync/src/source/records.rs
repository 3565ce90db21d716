//! The attachments of this node, by the records that the plugins keep of them: `<run-dir>/attachments/bridge-<key>`, the
//! same for every plugin that attaches pods. A record has a pod's addresses before the API server has.

use super::folder::Folder;
use super::update::Update;
use crate::model::Name;
use crate::state::Attachment;
use node::files;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::sync::mpsc::Sender;

/// The folder of records in the run directory.
const FOLDER: &str = "attachments";
/// How the records of plugins that attach pods begin.
const PREFIX: &str = "bridge-";
/// More than any record has, in bytes.
const LIMIT: u64 = 1 << 20;
/// Between two readings of a folder that cannot be watched.
const UNWATCHED: Duration = Duration::from_secs(10);

/// A record, with as much of it as is needed here. Fields of later versions are none of ours.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Record {
    #[serde(default)]
    network: String,
    #[serde(default, rename = "containerID")]
    container_id: String,
    #[serde(default)]
    owned: Vec<Owned>,
    /// Of version 0.1.0.
    #[serde(default)]
    addresses: Vec<IpAddr>,
}

/// One thing that an attachment owns: those with an address have the pod's.
#[derive(Debug, Deserialize)]
struct Owned {
    #[serde(default)]
    kind: String,
    #[serde(default)]
    address: Option<IpAddr>,
    #[serde(default)]
    pod: Option<Pod>,
}

#[derive(Debug, Deserialize)]
struct Pod {
    #[serde(default)]
    namespace: String,
    #[serde(default)]
    name: String,
    #[serde(default)]
    uid: String,
}

/// Kinds of owned things whose address is the pod's.
const WITH_ADDRESS: [&str; 3] = ["held", "masquerade", "podRoute"];

impl Record {
    fn attachment(self, key: &str) -> Attachment {
        let mut addresses = self.addresses;
        let mut pod = None;
        for owned in self.owned {
            if WITH_ADDRESS.contains(&owned.kind.as_str()) {
                addresses.extend(owned.address);
            }
            let named = owned.pod.filter(|pod| !pod.namespace.is_empty() && !pod.name.is_empty());
            pod = pod.or(named.map(|pod| (Name::new(pod.namespace, pod.name), pod.uid)));
        }
        addresses.sort_unstable();
        addresses.dedup();
        let (network, container) = (self.network, self.container_id);
        Attachment { key: key.to_owned(), network, container, addresses, pod }
    }
}

/// Sends the attachments until the receiver is dropped.
pub async fn run(run_dir: PathBuf, updates: Sender<Update>) {
    let path = run_dir.join(FOLDER);
    let mut folder = Folder::new(&path);
    let mut known = Known::default();
    let mut last = None;
    loop {
        let update = match known.read(&path) {
            Ok(attachments) => (last.as_ref() != Some(&attachments)).then(|| {
                last = Some(attachments.clone());
                Update::Attachments(attachments)
            }),
            Err(error) => {
                last = None;
                let why =
                    format!("cannot read the plugins' records in {}: {error}", path.display());
                Some(Update::Failed { kind: "attachments", why })
            }
        };
        if let Some(update) = update
            && updates.send(update).await.is_err()
        {
            return;
        }
        let changed = match &mut folder {
            Ok(folder) => folder.changed().await.map_err(|error| error.to_string()),
            Err(error) => Err(error.to_string()),
        };
        if let Err(error) = changed {
            tracing::warn!("cannot watch {}: {error}; looking again in 10 s", path.display());
            tokio::time::sleep(UNWATCHED).await;
            folder = Folder::new(&path);
        }
    }
}

/// Records as they were read, by the time and size that their files had then: only those that changed are read again.
#[derive(Debug, Default)]
struct Known(BTreeMap<String, (Stamp, Option<Attachment>)>);

type Stamp = (std::time::SystemTime, u64);

impl Known {
    fn read(&mut self, path: &Path) -> io::Result<BTreeMap<String, Attachment>> {
        let entries = match fs::read_dir(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(BTreeMap::new()),
            entries => entries?,
        };
        let mut found = BTreeMap::new();
        for entry in entries {
            let entry = entry?;
            let name = entry.file_name();
            let name = name.to_string_lossy();
            let Some(key) = name.strip_prefix(PREFIX) else { continue };
            // It may be gone by now.
            let Ok(meta) = entry.metadata() else { continue };
            let stamp = (meta.modified()?, meta.len());
            let known = self.0.remove(key);
            let record = match known {
                Some((before, Some(record))) if before == stamp => Some(record),
                // One that is torn is being written: it is read when that is done.
                known => read(&entry.path(), key).or(known.and_then(|(_, record)| record)),
            };
            found.insert(key.to_owned(), (stamp, record));
        }
        self.0 = found;
        let known = self.0.iter();
        Ok(known.filter_map(|(key, (_, record))| Some((key.clone(), record.clone()?))).collect())
    }
}

fn read(path: &Path, key: &str) -> Option<Attachment> {
    let text = files::read(path, LIMIT).ok()?;
    let record: Record = serde_json::from_slice(&text).ok()?;
    Some(record.attachment(key))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;
    use tokio::sync::mpsc;

    fn record(address: &str, pod: &str) -> String {
        json!({
            "version": 1, "network": "pods", "containerID": "c1", "ifname": "eth0",
            "owned": [
                {"kind": "veth", "host": "veth1"},
                {"kind": "masquerade", "address": address},
                {"kind": "held", "address": address, "pod": {"namespace": "x", "name": pod, "uid": "u"}},
                {"kind": "setting", "to": {"address": "never"}},
            ],
        })
        .to_string()
    }

    #[tokio::test]
    async fn records_come_are_torn_and_go() {
        let dir = tempfile::tempdir().unwrap();
        let run_dir = dir.path().canonicalize().unwrap();
        let (sender, mut updates) = mpsc::channel(1);
        tokio::spawn(run(run_dir.clone(), sender));
        let mut next = async || {
            let next = tokio::time::timeout(Duration::from_secs(20), updates.recv()).await;
            match next.expect("nothing was sent").unwrap() {
                Update::Attachments(all) => all,
                other => panic!("{other:?}"),
            }
        };
        assert!(next().await.is_empty());
        fs::create_dir(run_dir.join(FOLDER)).unwrap();
        let file = run_dir.join(FOLDER).join("bridge-k1");
        fs::write(run_dir.join(FOLDER).join("portmap-k1"), record("10.0.0.9", "other")).unwrap();
        fs::write(&file, record("10.0.0.1", "a")).unwrap();
        let all = next().await;
        assert_eq!(all.len(), 1);
        assert_eq!(all["k1"].addresses, ["10.0.0.1".parse::<IpAddr>().unwrap()]);
        assert_eq!(all["k1"].pod, Some((Name::new("x", "a"), "u".to_owned())));
        fs::write(&file, "{\"version\"").unwrap();
        fs::write(&file, record("10.0.0.2", "a")).unwrap();
        assert_eq!(next().await["k1"].addresses, ["10.0.0.2".parse::<IpAddr>().unwrap()]);
        fs::remove_file(&file).unwrap();
        assert!(next().await.is_empty());
    }

    #[test]
    fn records_of_version_0_1_0_have_their_addresses() {
        let text =
            r#"{"version": 1, "network": "n", "containerID": "c", "addresses": ["fd00::1"]}"#;
        let record: Record = serde_json::from_str(text).unwrap();
        assert_eq!(record.attachment("k").addresses, ["fd00::1".parse::<IpAddr>().unwrap()]);
    }
}
